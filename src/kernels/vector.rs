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

/// The index of the first element that is NaN or infinite.
pub fn first_non_finite<T: Scalar>(a: &[T]) -> Option<usize> {
    a.iter().position(|x| !x.is_finite())
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

    #[test]
    fn the_first_non_finite_element_is_found() {
        assert_eq!(first_non_finite(&[1.0, f64::NAN, f64::INFINITY]), Some(1));
        assert_eq!(first_non_finite(&[1.0_f32, f32::MAX]), None);
    }
}
