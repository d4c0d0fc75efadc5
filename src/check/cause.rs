//! What most likely went wrong, read off the analytic and the numerical gradient as a whole.

use std::fmt;

use serde::Serialize;

use super::report::{Entry, Verdict};
use super::subject::{Claim, Facts, Part};

/// What a constant factor between a wrong gradient and the right one may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactorMeaning {
    /// 2: the derivative of a square, or two passes added up.
    Two,
    /// 1/2: the 2 of a square's derivative left out.
    Half,
    /// The rows of the batch: a gradient summed where the loss is a mean.
    BatchSize,
    /// One by the rows of the batch: a gradient averaged where the loss is a sum, or averaged twice.
    OneOverBatchSize,
    /// The number of outputs.
    Outputs,
    /// One by the number of outputs.
    OneOverOutputs,
    /// The number of accumulated micro-batches: their mean gradients added up and not divided.
    Accumulation,
    /// One by the number of accumulated micro-batches.
    OneOverAccumulation,
}

/// What most likely went wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// The gradient points the wrong way: it is the negative of the right one.
    Sign {
        /// The only parameter it is true of; none: of all.
        parameter: Option<String>,
    },
    /// The gradient is a multiple of the right one.
    Factor {
        /// The factor.
        factor: f64,
        /// What it may stand for; empty: nothing known.
        meanings: Vec<FactorMeaning>,
        /// The only parameter it is true of; none: of all.
        parameter: Option<String>,
    },
    /// The gradient is that of the mean, and the loss is the sum.
    MeanAgainstSum,
    /// The gradient is that of the sum, and the loss is the mean.
    SumAgainstMean,
    /// The gradient is the right one transposed.
    Transposed {
        /// The parameter.
        parameter: String,
    },
    /// The gradient is zero where the loss does change.
    Missing {
        /// The parameter.
        parameter: String,
    },
    /// The bias's gradient is a mean over rows, or that of a single row, where it is a sum.
    UnsummedBias {
        /// The parameter.
        parameter: String,
    },
    /// The loss has an L2 penalty that the gradient lacks.
    MissingRegulariser {
        /// The factor of the value that is missing from the gradient.
        weight_decay: f64,
    },
    /// The gradient has an L2 penalty that the loss lacks.
    ExtraRegulariser {
        /// The factor of the value that is too much in the gradient.
        weight_decay: f64,
    },
    /// A row is not counted.
    RowMissing {
        /// The row of the batch, from 0.
        row: usize,
    },
    /// A row is counted twice.
    RowTwice {
        /// The row of the batch, from 0.
        row: usize,
    },
    /// Rows of inputs and targets are joined one off.
    RowsShifted,
    /// Class indices are one off: counted from 1, say.
    ClassesShifted,
    /// The gradient of one output is zero.
    OutputMissing {
        /// The output, from 0.
        output: usize,
    },
    /// Backward passes were added to a gradient that a step had used, or to one that was not zeroed.
    StaleAccumulation {
        /// Passes in the gradient.
        passes: u64,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of =
            |parameter: &Option<String>| parameter.as_ref().map_or(String::new(), |name| format!(" of \"{name}\""));
        match self {
            Cause::Sign { parameter } => {
                write!(f, "the sign: the gradient{} is the negative of the right one", of(parameter))
            }
            Cause::Factor { factor, meanings, parameter } => {
                write!(f, "a constant factor: the gradient{} is {factor:.6} times the right one", of(parameter))?;
                let meanings: Vec<&str> = meanings.iter().map(|meaning| meaning.as_str()).collect();
                if !meanings.is_empty() {
                    write!(f, ", which is {}", meanings.join(" or "))?;
                }
                Ok(())
            }
            Cause::MeanAgainstSum => write!(f, "the gradient is that of the mean, the loss is the sum"),
            Cause::SumAgainstMean => write!(f, "the gradient is that of the sum, the loss is the mean"),
            Cause::Transposed { parameter } => write!(f, "the gradient of \"{parameter}\" is transposed"),
            Cause::Missing { parameter } => write!(f, "the gradient of \"{parameter}\" is missing: it is all zero"),
            Cause::UnsummedBias { parameter } => {
                write!(f, "the gradient of \"{parameter}\" is not summed over the rows of the batch")
            }
            Cause::MissingRegulariser { weight_decay } => {
                write!(f, "a regulariser is missing: the gradient lacks {weight_decay:.6} times the value")
            }
            Cause::ExtraRegulariser { weight_decay } => {
                write!(
                    f,
                    "a regulariser that the loss has not: the gradient has {weight_decay:.6} times the value too much"
                )
            }
            Cause::RowMissing { row } => write!(f, "row {row} of the batch is not counted"),
            Cause::RowTwice { row } => write!(f, "row {row} of the batch is counted twice"),
            Cause::RowsShifted => {
                write!(f, "rows are one off: a row's gradient meets its neighbour's inputs or target")
            }
            Cause::ClassesShifted => write!(f, "classes are one off: they count from 0"),
            Cause::OutputMissing { output } => write!(f, "the gradient of output {output} is zero"),
            Cause::StaleAccumulation { passes } => {
                write!(
                    f,
                    "stale accumulation: the gradient holds {passes} backward passes; call `zero_grad` before each"
                )
            }
        }
    }
}

impl FactorMeaning {
    fn as_str(self) -> &'static str {
        match self {
            FactorMeaning::Two => "2 (a square's derivative, or two passes added up)",
            FactorMeaning::Half => "1/2 (a square's derivative without its 2)",
            FactorMeaning::BatchSize => "the batch size (a sum where the loss is a mean)",
            FactorMeaning::OneOverBatchSize => "1/batch size (a mean where the loss is a sum, or averaged twice)",
            FactorMeaning::Outputs => "the number of outputs",
            FactorMeaning::OneOverOutputs => "1/the number of outputs",
            FactorMeaning::Accumulation => "the accumulation count (micro-batch means added up)",
            FactorMeaning::OneOverAccumulation => "1/the accumulation count",
        }
    }
}

/// Relative agreement that a cause must reach at every entry.
const AGREES: f64 = 1e-4;

/// The entries of a gradient, side by side.
pub(super) struct Compared<'a> {
    pub claim: &'a Claim,
    /// The entries that were checked of each part.
    pub entries: &'a [&'a [Entry]],
}

/// Whether a wrong entry is explained: analytic and predicted agree as far as the numbers allow.
pub(super) fn agrees(found: f64, predicted: f64, tolerance: f64) -> bool {
    (found - predicted).abs() <= AGREES * found.abs().max(predicted.abs()) + 4.0 * tolerance
}

impl Compared<'_> {
    /// A cause that explains all entries of the gradient at once.
    pub(super) fn of_the_whole(&self) -> Option<Cause> {
        if let Some(passes) = self.claim.facts.stale_passes {
            return Some(Cause::StaleAccumulation { passes });
        }
        self.scaled(&(0..self.claim.parts.len()).collect::<Vec<_>>(), None)
    }

    /// A cause that explains the parts that are wrong.
    pub(super) fn of_a_part(&self) -> Option<Cause> {
        let is_wrong = |&part: &usize| self.entries[part].iter().any(|e| e.verdict == Verdict::Wrong);
        let wrong: Vec<usize> = (0..self.claim.parts.len()).filter(is_wrong).collect();
        let of_parts = match wrong[..] {
            [only] => self.of_one_part(only),
            _ => wrong.iter().find_map(|&part| self.transposed(part)),
        };
        of_parts.or_else(|| self.regulariser()).or_else(|| self.output_missing(&wrong))
    }

    fn of_one_part(&self, part: usize) -> Option<Cause> {
        let name = &self.claim.parts[part].name;
        let zero = self.entries[part].iter().all(|entry| entry.analytic == 0.0);
        if zero {
            return Some(Cause::Missing { parameter: name.clone() });
        }
        let is_bias = self.claim.parts[part].shape.len() == 1 && self.claim.parts.len() > 1;
        let scaled = self.scaled(&[part], Some(name.clone()));
        match &scaled {
            Some(Cause::Factor { meanings, .. }) if is_bias && meanings.contains(&FactorMeaning::OneOverBatchSize) => {
                Some(Cause::UnsummedBias { parameter: name.clone() })
            }
            Some(_) => scaled,
            None => self.transposed(part),
        }
    }

    fn all(&self, parts: &[usize]) -> impl Iterator<Item = &Entry> {
        parts.iter().flat_map(|&part| self.entries[part].iter()).collect::<Vec<_>>().into_iter()
    }

    /// The gradient of these parts as a multiple of the numerical one.
    fn scaled(&self, parts: &[usize], parameter: Option<String>) -> Option<Cause> {
        let entries: Vec<&Entry> = self.all(parts).collect();
        // Scaled first, so that no square overflows or vanishes.
        let unit = entries.iter().map(|e| e.numerical.abs()).fold(0.0, f64::max);
        let (mut dot, mut square) = (0.0, 0.0);
        for entry in &entries {
            dot += entry.analytic / unit * (entry.numerical / unit);
            square += (entry.numerical / unit).powi(2);
        }
        let factor = dot / square;
        if !factor.is_finite() || factor.abs() < 1e-9 || (factor - 1.0).abs() < AGREES {
            return None;
        }
        let explained = |e: &&Entry| agrees(e.analytic, factor * e.numerical, factor.abs() * e.leeway);
        if !entries.iter().all(explained) {
            return None;
        }
        if (factor + 1.0).abs() < AGREES {
            return Some(Cause::Sign { parameter });
        }
        if parameter.is_none() {
            match (self.claim.facts.summed, self.claim.facts.weight) {
                (Some(true), Some(weight)) if near(factor, 1.0 / weight) => return Some(Cause::MeanAgainstSum),
                (Some(false), Some(weight)) if near(factor, weight) => return Some(Cause::SumAgainstMean),
                _ => {}
            }
        }
        Some(Cause::Factor { factor, meanings: self.meanings(factor), parameter })
    }

    fn meanings(&self, factor: f64) -> Vec<FactorMeaning> {
        let count = |count: Option<usize>| count.filter(|&count| count > 1).map(|count| count as f64);
        let Facts { rows, outputs, accumulate, .. } = self.claim.facts;
        let candidates = [
            (Some(2.0), FactorMeaning::Two, FactorMeaning::Half),
            (count(rows), FactorMeaning::BatchSize, FactorMeaning::OneOverBatchSize),
            (count(outputs), FactorMeaning::Outputs, FactorMeaning::OneOverOutputs),
            (count(accumulate), FactorMeaning::Accumulation, FactorMeaning::OneOverAccumulation),
        ];
        let mut meanings = Vec::new();
        for (value, times, divided) in candidates {
            let Some(value) = value else { continue };
            meanings.extend(near(factor, value).then_some(times));
            meanings.extend(near(factor, 1.0 / value).then_some(divided));
        }
        meanings
    }

    /// What is lacking is one multiple of the value, in the parts that are wrong.
    fn regulariser(&self) -> Option<Cause> {
        let everything: Vec<usize> = (0..self.claim.parts.len()).collect();
        let entries: Vec<&Entry> = self.all(&everything).collect();
        let wrong = |e: &&&Entry| e.verdict == Verdict::Wrong;
        let value = |e: &Entry| self.claim.values[e.flat];
        let (mut dot, mut square) = (0.0, 0.0);
        for entry in entries.iter().filter(wrong) {
            dot += (entry.numerical - entry.analytic) * value(entry);
            square += value(entry) * value(entry);
        }
        let decay = dot / square;
        // One entry fits any multiple.
        if !decay.is_finite() || entries.iter().filter(wrong).count() < 2 {
            return None;
        }
        let explained = entries.iter().filter(wrong).all(|e| {
            let lacking = e.numerical - e.analytic;
            (lacking - decay * value(e)).abs() <= 1e-3 * lacking.abs() + 4.0 * e.leeway
        });
        // A whole part is penalised or none of it.
        let whole = self.entries.iter().all(|entries| {
            let touched = entries.iter().any(|e| e.verdict == Verdict::Wrong);
            !touched
                || entries.iter().all(|e| (decay * value(e)).abs() <= 8.0 * e.leeway || e.verdict == Verdict::Wrong)
        });
        if !(explained && whole) {
            return None;
        }
        if decay > 0.0 {
            Some(Cause::MissingRegulariser { weight_decay: decay })
        } else {
            Some(Cause::ExtraRegulariser { weight_decay: -decay })
        }
    }

    fn transposed(&self, part: usize) -> Option<Cause> {
        let Part { name, shape, start, .. } = &self.claim.parts[part];
        let [rows, columns] = shape[..] else { return None };
        if rows < 2 || columns < 2 {
            return None;
        }
        // Written as [columns, rows] and read as [rows, columns], whatever the shape.
        let explained = self.entries[part].iter().all(|e| {
            let own = e.flat - start;
            let (i, j) = (own / columns, own % columns);
            let other = start + j * rows + i;
            agrees(self.claim.analytic[other], e.numerical, e.leeway)
        });
        explained.then(|| Cause::Transposed { parameter: name.clone() })
    }

    /// All that is wrong belongs to one output, and is zero.
    fn output_missing(&self, wrong: &[usize]) -> Option<Cause> {
        let outputs = self.claim.facts.outputs.filter(|&outputs| outputs > 1)?;
        let mut found = None;
        for &part in wrong {
            let Part { shape, start, .. } = &self.claim.parts[part];
            if shape.first() != Some(&outputs) {
                return None;
            }
            let width = shape[1..].iter().product::<usize>().max(1);
            for entry in self.entries[part].iter().filter(|e| e.verdict == Verdict::Wrong) {
                let output = (entry.flat - start) / width;
                if entry.analytic != 0.0 || found.is_some_and(|found| found != output) {
                    return None;
                }
                found = Some(output);
            }
        }
        // With every entry of the model zero, or a parameter of one row, no single output stands out.
        found.map(|output| Cause::OutputMissing { output })
    }
}

fn near(factor: f64, value: f64) -> bool {
    (factor / value - 1.0).abs() < AGREES
}
