//! What finds the bugs of the lab, for any loop: each gives a message, or `None` when nothing is wrong.

use ndarray::{Array2, Axis};

use crate::check::Report;
use crate::data::Dataset;
use crate::error::{ErrorKind, Result};
use crate::loss::Mse;
use crate::optim::GradientWarning;
use crate::train::{Curvature, curvature};

/// The message of an error of the expected kind; any other error is passed on.
///
/// # Errors
/// Those of `result` that are not `expected`.
pub fn refusal<R>(result: Result<R>, expected: impl Fn(&ErrorKind) -> bool) -> Result<Option<String>> {
    match result {
        Ok(_) => Ok(None),
        Err(error) if expected(error.kind()) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// What an optimizer's first warning prints, and how many backward passes `zero_grad` has thrown away since.
pub fn warning(first: &GradientWarning, unstepped_passes: u64) -> String {
    let mut message = format!("warning: {first}");
    if matches!(first, GradientWarning::Unstepped { passes, .. } if unstepped_passes > *passes) {
        message += &format!("\nthat is told once, and counted: {unstepped_passes} backward passes in all");
    }
    message
}

/// What a gradient check found, in a line or two; [`GradCheck::standing`] checks what a loop has accumulated.
///
/// [`GradCheck::standing`]: crate::check::GradCheck::standing
pub fn gradient(report: &Report) -> Option<String> {
    if report.passed() {
        return None;
    }
    let table = report.to_string();
    let mut message = table.lines().last().unwrap_or_default().to_owned();
    if let Some((parameter, worst)) = report.worst() {
        let index = worst.index.as_ref().map_or(String::new(), |index| format!("{index:?}"));
        message += &format!(
            "\nthe gradient of {}{index} is {:.6}, and the slope of the loss is {:.6}",
            parameter.name, worst.analytic, worst.numerical
        );
    }
    Some(message)
}

/// Compares a learning rate with where full-batch steps stop being stable, `2 (1 + momentum) / curvature`: exact for
/// [`Mse`], a bound for other losses.
pub fn learning_rate(lr: f64, momentum: f64, curvature: &Curvature) -> Option<String> {
    let limit = 2.0 * (1.0 + momentum) / curvature.full_batch;
    (lr >= limit).then(|| {
        format!(
            "the learning rate {lr:.6} is not stable for these data: it must be below {limit:.6} (the curvature is \
             {:.4})\nhelp: take {:.6} or less",
            curvature.full_batch,
            limit / 2.0
        )
    })
}

/// The condition number above which plain steps cross the flattest direction too slowly to be of use.
const ILL_CONDITIONED: f64 = 1e4;

/// Bounds the condition number of the mean squared error from below: by the steepest direction's curvature against the
/// least of any single feature.
///
/// # Errors
/// None for a data set, whose features are finite.
pub fn conditioning(data: &Dataset<f64>) -> Result<Option<String>> {
    let mut flattest: Option<(f64, &str)> = None;
    for (column, name) in data.feature_names().iter().enumerate() {
        let alone = data.features().select(Axis(1), &[column]);
        let alone = Dataset::with_values(alone, Array2::zeros((data.rows(), 1)))?;
        let own = curvature(&alone, &Mse, 1, false).map_or(0.0, |own| own.full_batch);
        if own > 0.0 && flattest.is_none_or(|(least, _)| own < least) {
            flattest = Some((own, name));
        }
    }
    let (Some((least, name)), Some(all)) = (flattest, curvature(data, &Mse, 1, true)) else { return Ok(None) };
    let (steepest, condition) = (all.full_batch, all.full_batch / least);
    Ok((condition > ILL_CONDITIONED).then(|| {
        format!(
            "the condition number is at least {condition:.0}: the steepest direction, of curvature {steepest:.3e}, \
             allows no learning rate above {:.2e}, with which \"{name}\", of curvature {least:.3e}, hardly moves\n\
             help: standardise the features (`Standardizer`; `gradus train` does)",
            2.0 / steepest
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::GradCheck;
    use crate::error::Error;

    #[test]
    fn errors_of_another_kind_are_passed_on() {
        let shape = || Err::<(), _>(Error::shape("targets", &[1], &[2]));
        assert!(refusal(shape(), |kind| matches!(kind, ErrorKind::Shape { .. })).unwrap().is_some());
        assert!(refusal(shape(), |kind| matches!(kind, ErrorKind::Label { .. })).is_err());
        assert_eq!(refusal(Ok(()), |_| true).unwrap(), None);
    }

    #[test]
    fn a_gradient_check_is_told_in_its_verdict_and_worst_entry() {
        let check = |analytic: f64| GradCheck::new().function(|p: &[f64]| p[0] * p[0], &[3.0], &[analytic]).unwrap();
        assert_eq!(gradient(&check(6.0)), None);
        let message = gradient(&check(-6.0)).unwrap();
        assert!(message.starts_with("verdict: WRONG; likely cause: the sign"), "{message}");
        assert!(message.contains("x[0] is -6.000000, and the slope of the loss is 6.000000"), "{message}");
    }

    #[test]
    fn a_warning_is_told_with_its_count_where_more_came_after_it() {
        let warned = GradientWarning::Unstepped { parameter: "w".into(), step: 1, passes: 3 };
        assert!(!warning(&warned, 3).contains("in all"));
        assert!(warning(&warned, 12).ends_with(": 12 backward passes in all"));
    }

    #[test]
    fn momentum_raises_the_limit() {
        let curvature = Curvature { full_batch: 4.0, largest_row: 4.0, rows: 1 };
        assert_eq!(learning_rate(0.49, 0.0, &curvature), None);
        assert!(learning_rate(0.5, 0.0, &curvature).unwrap().contains("below 0.500000"));
        assert_eq!(learning_rate(0.94, 0.9, &curvature), None);
    }

    #[test]
    fn scales_that_differ_by_a_thousand_are_ill_conditioned() {
        let scaled = |by: f64| {
            let cell = |(i, j): (usize, usize)| ((i * (j + 2)) % 7) as f64 * if j == 1 { by } else { 1.0 };
            Dataset::with_values(Array2::from_shape_fn((20, 2), cell), Array2::zeros((20, 1))).unwrap()
        };
        assert_eq!(conditioning(&scaled(1.0)).unwrap(), None);
        assert!(conditioning(&scaled(1000.0)).unwrap().unwrap().contains("\"c1\""));
    }
}
