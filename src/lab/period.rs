//! The period of an oscillation, measured and by theory.

use std::f64::consts::TAU;

/// The mean distance of the peaks of a series, in steps; `None` if it has fewer than two.
///
/// A peak lies on the parabola through its highest value and the two beside it.
pub fn period(values: &[f64]) -> Option<f64> {
    let peaks: Vec<f64> = values
        .windows(3)
        .enumerate()
        .filter(|(_, w)| w[0] < w[1] && w[1] >= w[2])
        .map(|(at, w)| at as f64 + 1.0 + (w[0] - w[2]) / (2.0 * (w[0] - 2.0 * w[1] + w[2])))
        .collect();
    let (first, last) = (peaks.first()?, peaks.last()?);
    (peaks.len() > 1).then(|| (last - first) / (peaks.len() - 1) as f64)
}

/// The period of full-batch SGD whose gradients are never zeroed, along a direction of this curvature:
/// `2 pi / acos(1 - lr curvature / 2)` steps; `None` where it diverges, from `lr curvature = 4` on.
///
/// A sum of all gradients so far is momentum 1: `x'' = -lr k x` in steps, an oscillation that nothing dampens.
pub fn undamped_period(lr: f64, curvature: f64) -> Option<f64> {
    let product = lr * curvature;
    (product > 0.0 && product < 4.0).then(|| TAU / (1.0 - product / 2.0).acos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_of_a_cosine_is_found_between_the_steps() {
        for period_of in [5.3, 10.0, 17.7] {
            let wave: Vec<f64> = (0..100).map(|step| (TAU * step as f64 / period_of).cos()).collect();
            let found = period(&wave).unwrap();
            assert!((found - period_of).abs() < 0.02, "{found} {period_of}");
        }
        assert_eq!(period(&[3.0, 2.0, 1.0]), None);
        assert_eq!(period(&[1.0, 2.0, 1.0, 0.5]), None, "one peak has no distance");
    }

    #[test]
    fn momentum_one_on_a_parabola_swings_with_the_period_of_theory() {
        for (lr, curvature) in [(0.01, 4.0), (0.1, 3.0), (0.5, 2.0)] {
            let (mut x, mut sum) = (1.0, 0.0);
            let trace: Vec<f64> = (0..400)
                .map(|_| {
                    let before = x;
                    sum += curvature * x;
                    x -= lr * sum;
                    before
                })
                .collect();
            let (found, expected) = (period(&trace).unwrap(), undamped_period(lr, curvature).unwrap());
            assert!((found - expected).abs() < 0.02 * expected, "{found} {expected}");
        }
        assert_eq!(undamped_period(2.0, 2.0), None);
    }
}
