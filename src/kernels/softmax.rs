//! Softmax, log-sum-exp and their two-class forms, finite for any finite logits.

use super::element::Element;

/// Writes the softmax of `logits` to `probabilities` and returns the log-sum-exp of the logits.
/// Both slices have one length, at least 1.
///
/// The largest logit **of this row** is subtracted first: no exponent is above 0, so nothing overflows.
pub fn softmax<T: Element>(logits: &[T], probabilities: &mut [T]) -> T {
    debug_assert_eq!(logits.len(), probabilities.len());
    let largest = max(logits);
    let mut sum = T::zero();
    for (p, &z) in probabilities.iter_mut().zip(logits) {
        *p = (z - largest).exp();
        sum += *p;
    }
    for p in probabilities {
        *p /= sum;
    }
    largest + sum.ln()
}

/// `ln(sum exp(z))` of one row, with the row's largest logit taken out first.
pub fn log_sum_exp<T: Element>(logits: &[T]) -> T {
    let largest = max(logits);
    let sum: T = logits.iter().map(|&z| (z - largest).exp()).sum();
    largest + sum.ln()
}

/// `1 / (1 + exp(-z))`, without overflow on either side.
pub fn sigmoid<T: Element>(z: T) -> T {
    if z >= T::zero() {
        T::one() / (T::one() + (-z).exp())
    } else {
        let e = z.exp();
        e / (T::one() + e)
    }
}

/// `ln(1 + exp(z))`, without overflow.
pub fn softplus<T: Element>(z: T) -> T {
    z.max(T::zero()) + (-z.abs()).exp().ln_1p()
}

fn max<T: Element>(values: &[T]) -> T {
    values.iter().copied().fold(T::neg_infinity(), T::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn softmax_of_a_known_row() {
        // Figures of NumPy 2 for [1, 2, 0.5].
        let mut p = [0.0; 3];
        let lse = softmax(&[1.0, 2.0, 0.5], &mut p);
        let expected = [0.23122389762214907, 0.6285317192117624, 0.14024438316608848];
        for (p, e) in p.into_iter().zip(expected) {
            let (p, e): (f64, f64) = (p, e);
            assert!((p - e).abs() < 1e-16, "{p} {e}");
        }
        assert!((lse - (2.0 - 0.6285317192117624_f64.ln())).abs() < 1e-15);
    }

    #[test]
    fn sigmoid_and_softplus_at_the_ends_of_the_range() {
        for z in [-1e300_f64, -745.0, -1.0, 0.0, 1.0, 745.0, 1e300] {
            assert!(sigmoid(z).is_finite() && softplus(z).is_finite(), "{z}");
            assert!((sigmoid(z) + sigmoid(-z) - 1.0).abs() < 1e-15, "{z}");
        }
        assert_eq!(softplus(1e300), 1e300);
        assert_eq!(softplus(-1e300), 0.0);
    }

    proptest! {
        #[test]
        fn rows_are_finite_and_sum_to_one_for_any_finite_logits(
            logits in prop::collection::vec(
                prop_oneof![-1e3..1e3f64, prop::num::f64::NORMAL, Just(f64::MAX), Just(f64::MIN)], 1..40)
        ) {
            let mut p = vec![0.0; logits.len()];
            softmax(&logits, &mut p);
            prop_assert!(p.iter().all(|p| p.is_finite() && (0.0..=1.0).contains(p)));
            prop_assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }

        #[test]
        fn rows_are_finite_in_single_precision_too(
            logits in prop::collection::vec(prop::num::f32::NORMAL, 1..40)
        ) {
            let mut p = vec![0.0; logits.len()];
            softmax(&logits, &mut p);
            prop_assert!(p.iter().all(|p| p.is_finite()));
            prop_assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}
