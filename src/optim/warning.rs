//! What a step says of the gradients it found, without refusing them.

use std::fmt;

use crate::parameter::Parameter;
use crate::scalar::Scalar;

/// Something a step noticed about the gradients, that does not end the run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GradientWarning {
    /// A step was taken with a stale gradient, under [`StaleGradient::Warn`](super::StaleGradient::Warn).
    Stale {
        /// The parameter's name.
        parameter: String,
        /// The step just taken, from 1.
        step: u64,
        /// The step that had used the gradient.
        used_by: u64,
        /// Backward passes added since.
        passes: u64,
    },
    /// `zero_grad` has thrown away backward passes that no step had used: it was called inside a window, or the step
    /// before it was left out.
    Unstepped {
        /// The parameter's name: of those with the most passes, the first.
        parameter: String,
        /// The step just taken, from 1.
        step: u64,
        /// Backward passes thrown away since the step before.
        passes: u64,
    },
}

impl GradientWarning {
    /// What it is, in a word: `stale_gradient` or `unstepped_gradient`.
    pub fn code(&self) -> &'static str {
        match self {
            GradientWarning::Stale { .. } => "stale_gradient",
            GradientWarning::Unstepped { .. } => "unstepped_gradient",
        }
    }

    /// What `zero_grad` has thrown away of these parameters before step number `step`. Optimizers ask before they mark
    /// the gradients as spent.
    pub fn unstepped<T: Scalar>(parameters: &[Parameter<T>], step: u64) -> Option<Self> {
        let mut most: Option<&Parameter<T>> = None;
        for parameter in parameters.iter().filter(|parameter| parameter.thrown_away() > 0) {
            if most.is_none_or(|most| parameter.thrown_away() > most.thrown_away()) {
                most = Some(parameter);
            }
        }
        let most = most?;
        Some(GradientWarning::Unstepped { parameter: most.name().to_owned(), step, passes: most.thrown_away() })
    }
}

impl fmt::Display for GradientWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GradientWarning::Stale { parameter, step, used_by, passes } => write!(
                f,
                "stale gradient: step {step} used the gradient of \"{parameter}\" that step {used_by} had already \
                 used, with {passes} backward pass(es) added; call `zero_grad` between a step and the next backward \
                 pass"
            ),
            GradientWarning::Unstepped { parameter, step, passes } => write!(
                f,
                "unstepped gradient: before step {step} `zero_grad` threw away {passes} backward pass(es) of \
                 \"{parameter}\" that no step had used; call it only where a window begins, and `discard_grad` to \
                 leave a window out on purpose"
            ),
        }
    }
}
