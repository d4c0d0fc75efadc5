//! Squared error of one output and its gradient, for rows that fill five to eight registers of 512 bits (65 to 128 columns
//! in single precision, 33 to 64 in double): each is read once, and stays in registers on its way forward and back.

use num_traits::Zero;

use super::backward::{fetch, store_strip};
use super::element::Element;
use super::lanes::Lanes;
use super::level::Kernel;
use super::output_loss::OutputLoss;
use super::rows::{Need, Rows, prefetch};

/// A linear layer of one output, rows, and their targets. Runs to nothing where registers are too few, or where other ways
/// are faster: several shorter rows go together, and longer ones have no room.
pub struct LinearSquaredError<'a, T> {
    pub rows: &'a Rows<'a, T>,
    pub weight: &'a [T],
    pub bias: &'a [T],
    /// Those of all rows of the matrix.
    pub targets: &'a [T],
    /// As long as the weight and a row; both gradients are written over.
    pub weight_gradient: &'a mut [T],
    pub bias_gradient: &'a mut [T],
}

impl<T: Element> Kernel<T> for LinearSquaredError<'_, T> {
    type Output = Option<f64>;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> Option<f64> {
        match self.rows.width().div_ceil(V::LANES) {
            _ if V::REGISTERS < 32 => None,
            5 => Some(self.sum::<V, 5>()),
            6 => Some(self.sum::<V, 6>()),
            7 => Some(self.sum::<V, 7>()),
            8 => Some(self.sum::<V, 8>()),
            _ => None,
        }
    }
}

impl<T: Element> LinearSquaredError<'_, T> {
    /// The sum of the errors of rows of `VECTORS` vectors.
    #[inline(always)]
    fn sum<V: Lanes<Element = T>, const VECTORS: usize>(self) -> f64 {
        let width = self.rows.width();
        assert!(
            self.weight.len() == width && self.weight_gradient.len() == width,
            "a weight and a gradient for each column"
        );
        let bias = self.bias.first().copied().unwrap_or(T::zero());
        // SAFETY: weight and gradient are as long as a row, and that is `VECTORS` vectors.
        unsafe {
            let mut layer = Layer::<T, V, VECTORS>::new(self.weight, bias);
            let sum = layer.add(self.rows, self.targets);
            self.bias_gradient.fill(layer.finish(self.weight_gradient));
            sum
        }
    }
}

/// Rows whose addresses are looked up at once, and whose losses are added up before they become double.
const BLOCK: usize = 64;

/// Rows between one that is read and one that is taken to the nearest cache meanwhile.
const NEAR: usize = 8;

/// A linear layer of one output: its weight in `VECTORS` registers, and what has been added to its gradient.
struct Layer<T, V, const VECTORS: usize> {
    weight: [V; VECTORS],
    bias: V,
    /// Numbers of the last vector.
    last: usize,
    weight_gradient: [V; VECTORS],
    bias_gradient: T,
}

/// Some rows: where each begins, its target, and the row that is to be fetched from memory meanwhile.
struct Block<'a, T> {
    rows: &'a Rows<'a, T>,
    /// Those of all rows of the matrix.
    targets_of_all: &'a [T],
    inputs: &'a [*const T],
    targets: &'a [T],
    ahead: &'a [usize],
}

impl<T: Element, V: Lanes<Element = T>, const VECTORS: usize> Layer<T, V, VECTORS> {
    /// A layer of `weight row + bias`.
    ///
    /// # Safety
    /// The weight must be as long as a row: `VECTORS` vectors, the last of them full or not.
    #[inline(always)]
    unsafe fn new(weight: &[T], bias: T) -> Self {
        let last = weight.len() - (VECTORS - 1) * V::LANES;
        // SAFETY: the caller's promise.
        let weight = unsafe { load_row(weight.as_ptr(), last) };
        let weight_gradient = [V::splat(T::zero()); VECTORS];
        Layer { weight, bias: V::splat(bias), last, weight_gradient, bias_gradient: T::zero() }
    }

    /// Adds the gradient of rows, and returns the sum of their losses. `targets` holds the values of all rows of the matrix.
    /// Meanwhile rows further on are fetched.
    ///
    /// # Safety
    /// Rows must be as long as the weight.
    #[inline(always)]
    unsafe fn add(&mut self, rows: &Rows<'_, T>, targets: &[T]) -> f64 {
        let (mut inputs, mut ahead) = ([std::ptr::null(); BLOCK], [0; BLOCK]);
        let mut of_rows = [T::zero(); BLOCK];
        let (mut total, mut place) = (0.0, 0);
        while place < rows.len() {
            let count = (rows.len() - place).min(BLOCK);
            rows.addresses(place, &mut inputs[..count]);
            let targets_of_rows = rows.index().gather(place, targets, &mut of_rows[..count]);
            rows.rows_ahead(place, rows.distance_ahead(Need::Once), &mut ahead[..count]);
            let block = Block {
                rows,
                targets_of_all: targets,
                inputs: &inputs[..count],
                targets: targets_of_rows,
                ahead: &ahead[..count],
            };
            // Both the same in every lane.
            let (mut loss, mut derivative) = (V::splat(T::zero()), V::splat(T::zero()));
            for place in 0..count {
                // SAFETY: the caller's promise.
                let of_row = unsafe { self.forward_and_back(&block, place) };
                (loss, derivative) = (loss.add(of_row.0), derivative.add(of_row.1));
            }
            total += loss.first(1).sum().as_f64();
            self.bias_gradient += derivative.first(1).sum();
            place += count;
        }
        total
    }

    /// Adds the gradient of the row at a place. Returns its loss and the derivative of that, in every lane.
    ///
    /// # Safety
    /// Rows must be as long as the weight.
    #[inline(always)]
    unsafe fn forward_and_back(&mut self, block: &Block<'_, T>, place: usize) -> (V, V) {
        block.fetch::<V>(place, VECTORS);
        // SAFETY: the caller's promise.
        let x: [V; VECTORS] = unsafe { load_row(block.inputs[place], self.last) };
        let output = V::splat(self.product(&x)).add(self.bias);
        let (loss, derivative) = OutputLoss::SquaredError.of(output, V::splat(block.targets[place]));
        for (sum, x) in self.weight_gradient.iter_mut().zip(x) {
            *sum = x.mul_add(derivative, *sum);
        }
        (loss, derivative)
    }

    /// The product of weight and row.
    #[inline(always)]
    fn product(&self, x: &[V; VECTORS]) -> T {
        // Two chains, so that one addition need not wait for the one before.
        let mut chains = [V::splat(T::zero()); 2];
        for (vector, (x, &weight)) in x.iter().zip(&self.weight).enumerate() {
            let chain = &mut chains[vector % 2];
            *chain = if vector < 2 { x.mul(weight) } else { x.mul_add(weight, *chain) };
        }
        chains[0].add(chains[1]).sum()
    }

    /// Writes the gradient of the weight, and returns that of the bias.
    ///
    /// # Safety
    /// The gradient must be as long as the weight.
    #[inline(always)]
    unsafe fn finish(self, weight_gradient: &mut [T]) -> T {
        // SAFETY: the caller's promise.
        unsafe { store_strip(self.weight_gradient, weight_gradient.as_mut_ptr(), self.last) };
        self.bias_gradient
    }
}

impl<T: Element> Block<'_, T> {
    /// Asks memory for the row ahead of a place and its target, and the nearest cache for a row that is read very soon.
    #[inline(always)]
    fn fetch<V: Lanes<Element = T>>(&self, place: usize, vectors: usize) {
        let width = self.rows.width();
        let ahead = self.ahead[place];
        prefetch(self.targets_of_all.as_ptr().wrapping_add(ahead), Need::Soon);
        fetch::<V>(self.rows.address(ahead), Need::Once, 0, vectors, width);
        if let Some(&soon) = self.inputs.get(place + NEAR) {
            fetch::<V>(soon, Need::Now, 0, vectors, width);
        }
    }
}

/// Loads a row of several vectors, of which the last has `last` numbers, without asking whether those fill it: to load fewer
/// costs no more.
///
/// # Safety
/// They must be readable.
#[inline(always)]
unsafe fn load_row<V: Lanes, const VECTORS: usize>(from: *const V::Element, last: usize) -> [V; VECTORS] {
    const { assert!(VECTORS > 1, "the last vector is read with numbers before it") };
    let mut row = [V::splat(V::Element::zero()); VECTORS];
    for (vector, lanes) in row.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *lanes = unsafe {
            let from = from.add(vector * V::LANES);
            if vector + 1 == VECTORS { V::load_end(from, last) } else { V::load(from) }
        };
    }
    row
}
