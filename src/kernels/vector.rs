//! Dot products, rank-1 updates and sums on slices of one length.

use crate::scalar::Scalar;

/// Partial sums kept side by side: enough for the compiler to fill its vector registers, and a fixed
/// number, so that a sum has the same bits everywhere.
const LANES: usize = 8;

/// `sum a[i] * b[i]`. Both slices have one length.
pub fn dot<T: Scalar>(a: &[T], b: &[T]) -> T {
    debug_assert_eq!(a.len(), b.len());
    let mut lanes = [T::zero(); LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail = (a_chunks.remainder(), b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (&a, &b)) in tail.0.iter().zip(tail.1).enumerate() {
        lanes[lane] += a * b;
    }
    sum_lanes(lanes)
}

/// `sum a[i]^2`.
pub fn sum_of_squares<T: Scalar>(a: &[T]) -> T {
    dot(a, a)
}

/// `sum (a[i] + alpha * b[i])^2`. Both slices have one length.
pub fn sum_of_squared_sums<T: Scalar>(a: &[T], alpha: T, b: &[T]) -> T {
    debug_assert_eq!(a.len(), b.len());
    let mut sum = T::zero();
    for (&a, &b) in a.iter().zip(b) {
        let element = a + alpha * b;
        sum += element * element;
    }
    sum
}

/// `y[i] += alpha * x[i]`: one row of a rank-1 update. Both slices have one length.
pub fn add_scaled<T: Scalar>(y: &mut [T], alpha: T, x: &[T]) {
    debug_assert_eq!(y.len(), x.len());
    for (y, &x) in y.iter_mut().zip(x) {
        *y += alpha * x;
    }
}

/// `y[i] += x[i]`. Both slices have one length.
pub fn add<T: Scalar>(y: &mut [T], x: &[T]) {
    debug_assert_eq!(y.len(), x.len());
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// `y[i] *= factor`.
pub fn scale<T: Scalar>(y: &mut [T], factor: T) {
    for y in y {
        *y *= factor;
    }
}

/// `y[i] /= divisor`.
pub fn divide<T: Scalar>(y: &mut [T], divisor: T) {
    for y in y {
        *y /= divisor;
    }
}

fn sum_lanes<T: Scalar>(lanes: [T; LANES]) -> T {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_products_of_whole_numbers_are_exact_at_every_length() {
        for n in 0..70 {
            let a: Vec<f64> = (0..n).map(|i| i as f64 - 7.0).collect();
            let b: Vec<f64> = (0..n).map(|i| (3 * i % 11) as f64).collect();
            let expected: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(dot(&a, &b), expected, "length {n}");
        }
    }

    #[test]
    fn a_scaled_row_is_added_in_place() {
        let mut y = [1.0, 2.0, 3.0];
        add_scaled(&mut y, 2.0, &[10.0, 20.0, 30.0]);
        assert_eq!(y, [21.0, 42.0, 63.0]);
    }
}
