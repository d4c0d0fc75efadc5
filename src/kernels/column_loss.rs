//! Loss and gradient of a line through one column: nothing need be kept between forward and back.

use num_traits::Zero;

use super::element::Element;
use super::lanes::{Lanes, load};
use super::level::Kernel;
use super::output_loss::OutputLoss;

/// One output `weight input + bias`, the inputs of rows that lie one after another, and their targets.
pub struct ColumnLoss<'a, T> {
    pub inputs: &'a [T],
    /// As many as the inputs.
    pub targets: &'a [T],
    pub weight: T,
    pub bias: T,
    pub loss: OutputLoss<T>,
    /// Both gradients are written over; that of the bias is empty where there is none.
    pub weight_gradient: &'a mut T,
    pub bias_gradient: &'a mut [T],
}

/// Rows whose losses are added up before they become double: so few keep the precision of their terms.
const PIECE: usize = 1024;

impl<T: Element> Kernel<T> for ColumnLoss<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> f64 {
        match self.loss {
            OutputLoss::SquaredError => self.sum::<V, 4>(),
            // They have work enough between two additions.
            OutputLoss::Huber { .. } | OutputLoss::Logistic { .. } => self.sum::<V, 2>(),
        }
    }
}

impl<T: Element> ColumnLoss<'_, T> {
    /// Adds in so many chains, that one addition need not wait for the one before.
    #[inline(always)]
    fn sum<V: Lanes<Element = T>, const CHAINS: usize>(self) -> f64 {
        let loss = self.loss;
        let (weight, bias) = (V::splat(self.weight), V::splat(self.bias));
        let (mut total, mut bias_gradient, mut weight_gradient) = (0.0, T::zero(), T::zero());
        for (inputs, targets) in self.inputs.chunks(PIECE).zip(self.targets.chunks(PIECE)) {
            let mut chains = [Chain::<V>::zero(); CHAINS];
            let (mut place, length) = (0, inputs.len().min(targets.len()));
            let (inputs, targets) = (inputs.as_ptr(), targets.as_ptr());
            // SAFETY: no place is read from `length` on.
            unsafe {
                while place + CHAINS * V::LANES <= length {
                    for (c, chain) in chains.iter_mut().enumerate() {
                        let at = place + c * V::LANES;
                        let (x, y) = (V::load(inputs.add(at)), V::load(targets.add(at)));
                        chain.add(x, loss, x.mul_add(weight, bias), y);
                    }
                    place += CHAINS * V::LANES;
                }
                while place < length {
                    let count = (length - place).min(V::LANES);
                    let (x, y): (V, V) = (load(inputs.add(place), count), load(targets.add(place), count));
                    let mut chain = Chain::zero();
                    chain.add(x, loss, x.mul_add(weight, bias), y);
                    chains[0].merge(if count < V::LANES { chain.first(count) } else { chain });
                    place += count;
                }
            }
            let mut left = CHAINS;
            while left > 1 {
                left /= 2;
                for c in 0..left {
                    let chain = chains[c + left];
                    chains[c].merge(chain);
                }
            }
            let Chain { loss: value, derivative, product } = chains[0];
            let [value, derivative, product, _] = V::sums([value, derivative, product, V::splat(T::zero())]);
            total += value.as_f64();
            bias_gradient += derivative;
            weight_gradient += product;
        }
        if loss == OutputLoss::SquaredError {
            // The derivative is 2 (p - y).
            bias_gradient += bias_gradient;
            weight_gradient += weight_gradient;
        }
        *self.weight_gradient = weight_gradient;
        if let [gradient] = self.bias_gradient {
            *gradient = bias_gradient;
        }
        total
    }
}

/// Sums over rows: of the loss, of its derivative, and of that times the input; of squared error of half the derivative.
#[derive(Clone, Copy)]
struct Chain<V> {
    loss: V,
    derivative: V,
    product: V,
}

impl<V: Lanes> Chain<V> {
    #[inline(always)]
    fn zero() -> Self {
        let zero = V::splat(V::Element::zero());
        Chain { loss: zero, derivative: zero, product: zero }
    }

    /// Adds inputs `x`, outputs and targets `y`.
    #[inline(always)]
    fn add(&mut self, x: V, loss: OutputLoss<V::Element>, output: V, y: V) {
        let derivative = if loss == OutputLoss::SquaredError {
            let error = output.sub(y);
            self.loss = error.mul_add(error, self.loss);
            error
        } else {
            let (value, derivative) = loss.of(output, y);
            self.loss = self.loss.add(value);
            derivative
        };
        self.derivative = self.derivative.add(derivative);
        self.product = x.mul_add(derivative, self.product);
    }

    #[inline(always)]
    fn merge(&mut self, other: Self) {
        self.loss = self.loss.add(other.loss);
        self.derivative = self.derivative.add(other.derivative);
        self.product = self.product.add(other.product);
    }

    /// What the first lanes hold.
    #[inline(always)]
    fn first(self, count: usize) -> Self {
        Chain {
            loss: self.loss.first(count),
            derivative: self.derivative.first(count),
            product: self.product.first(count),
        }
    }
}
