//! Loss and gradient of a line through one column: nothing need be kept between forward and back.

use num_traits::Zero;

use super::element::Element;
use super::lanes::{Lanes, first_lanes, load};
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
pub(super) const PIECE: usize = 1024;

impl<T: Element> Kernel<T> for ColumnLoss<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> f64 {
        let mut sums = PieceSums { loss: 0.0, gradient: [T::zero(); 2] };
        for (inputs, targets) in self.inputs.chunks(PIECE).zip(self.targets.chunks(PIECE)) {
            sums = sums.plus(PieceSums::of::<V>(inputs, targets, [self.weight, self.bias], self.loss));
        }
        let [weight_gradient, bias_gradient] = sums.gradient.map(|sum| sum * gradient_factor(self.loss));
        *self.weight_gradient = weight_gradient;
        if let [gradient] = self.bias_gradient {
            *gradient = bias_gradient;
        }
        sums.loss
    }
}

/// What the sums of a piece's gradient are to be multiplied by. Of squared errors, whose derivative is `2 (p - y)`, they are
/// half of it.
#[inline(always)]
pub(super) fn gradient_factor<T: Element>(loss: OutputLoss<T>) -> T {
    match loss {
        OutputLoss::SquaredError => T::one() + T::one(),
        OutputLoss::Huber { .. } | OutputLoss::Logistic { .. } => T::one(),
    }
}

/// The sums of the losses of rows, and of their gradient by weight and bias but for [its factor](gradient_factor).
#[derive(Clone, Copy)]
pub(super) struct PieceSums<T> {
    pub loss: f64,
    pub gradient: [T; 2],
}

impl<T: Element> PieceSums<T> {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        let [weight, bias] = self.gradient;
        PieceSums { loss: self.loss + other.loss, gradient: [weight + other.gradient[0], bias + other.gradient[1]] }
    }

    /// Those of up to [`PIECE`] rows of outputs `weight input + bias`.
    #[inline(always)]
    pub fn of<V: Lanes<Element = T>>(inputs: &[T], targets: &[T], layer: [T; 2], loss: OutputLoss<T>) -> Self {
        match loss {
            // Known to the compiler in the loop.
            OutputLoss::SquaredError => Self::in_chains::<V, 4>(inputs, targets, layer, OutputLoss::SquaredError),
            // They have work enough between two additions.
            OutputLoss::Huber { .. } | OutputLoss::Logistic { .. } => {
                Self::in_chains::<V, 2>(inputs, targets, layer, loss)
            }
        }
    }

    /// Adds in `N` chains, that one addition need not wait for the one before.
    #[inline(always)]
    fn in_chains<V: Lanes<Element = T>, const N: usize>(
        inputs: &[T],
        targets: &[T],
        [weight, bias]: [T; 2],
        loss: OutputLoss<T>,
    ) -> Self {
        let (weight, bias) = (V::splat(weight), V::splat(bias));
        let mut chains = [Chain::<V>::zero(); N];
        let (mut place, length) = (0, inputs.len().min(targets.len()));
        let (inputs, targets) = (inputs.as_ptr(), targets.as_ptr());
        // SAFETY: no place is read from `length` on.
        unsafe {
            while place + N * V::LANES <= length {
                for (c, chain) in chains.iter_mut().enumerate() {
                    let at = place + c * V::LANES;
                    let (x, y) = (V::load(inputs.add(at)), V::load(targets.add(at)));
                    chain.add(x, loss, x.mul_add(weight, bias), y, V::LANES);
                }
                place += N * V::LANES;
            }
            while place < length {
                let count = (length - place).min(V::LANES);
                let (x, y): (V, V) = (load(inputs.add(place), count), load(targets.add(place), count));
                chains[0].add(x, loss, x.mul_add(weight, bias), y, count);
                place += count;
            }
        }
        let mut left = N;
        while left > 1 {
            left /= 2;
            for c in 0..left {
                let chain = chains[c + left];
                chains[c].merge(chain);
            }
        }
        let Chain { loss, derivative, product } = chains[0];
        let [product, derivative, loss, _] = V::sums([product, derivative, loss, V::splat(T::zero())]);
        PieceSums { loss: loss.as_f64(), gradient: [product, derivative] }
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

    /// Adds inputs `x`, outputs and targets `y` of so many rows.
    #[inline(always)]
    fn add(&mut self, x: V, loss: OutputLoss<V::Element>, output: V, y: V, count: usize) {
        let derivative = if loss == OutputLoss::SquaredError {
            let error = first_lanes(output.sub(y), count);
            self.loss = error.mul_add(error, self.loss);
            error
        } else {
            let (value, derivative) = loss.of(output, y);
            self.loss = self.loss.add(first_lanes(value, count));
            first_lanes(derivative, count)
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
}
