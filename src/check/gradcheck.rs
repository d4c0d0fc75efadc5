//! The check itself.

use ndarray::ArrayView2;
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cause::{Cause, Compared, agrees};
use super::report::{Entry, ParameterReport, Report, Verdict};
use super::slope::{Ground, Point, Shape, look_along, noise_of};
use super::subject::{Claimed, Closure, Facts, OnBatch, Part, Shift, Subject, lay_out};
use crate::error::{Error, Result};
use crate::loss::{Loss, Reduction, Targets};
use crate::model::Model;
use crate::scalar::Scalar;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every entry of the gradient: a dozen or two evaluations of the loss for each.
    Entries,
    /// So many random directions for each parameter, whatever its size; every entry if one of them fails.
    Directions(usize),
}

/// A gradient check, to be set up and then run.
#[derive(Debug, Clone)]
pub struct GradCheck {
    mode: Mode,
    reduction: Reduction,
    weight_decay: f64,
    most_entries: usize,
    seed: u64,
    shapes: Vec<(String, Vec<usize>)>,
    facts: Facts,
}

impl Default for GradCheck {
    fn default() -> Self {
        GradCheck::new()
    }
}

impl GradCheck {
    /// Every entry, of the mean loss without weight decay.
    pub fn new() -> Self {
        GradCheck {
            mode: Mode::Entries,
            reduction: Reduction::Mean,
            weight_decay: 0.0,
            most_entries: 2000,
            seed: 0,
            shapes: Vec::new(),
            facts: Facts::default(),
        }
    }

    /// What is compared. Default: [`Mode::Entries`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How a batch's losses become one number. Default: [`Reduction::Mean`].
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Adds `weight_decay / 2 |value|^2` of the parameters that decay to the loss of a model, and its derivative to the
    /// gradient. Default: 0.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Checks a random choice of at most so many entries of each parameter. Default: 2000.
    pub fn most_entries(mut self, entries: usize) -> Self {
        self.most_entries = entries;
        self
    }

    /// The seed of random directions and choices. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// For a function: names and shapes of the parameters that its argument holds, one after another. Default: one
    /// parameter, `x`.
    pub fn shapes(mut self, shapes: &[(&str, &[usize])]) -> Self {
        self.shapes = shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
        self
    }

    /// For a function: the rows of its batch, which a wrong factor may be. Default: unknown.
    pub fn rows(mut self, rows: usize) -> Self {
        self.facts.rows = Some(rows);
        self
    }

    /// For a function: its outputs, which a wrong factor may be. Default: unknown.
    pub fn outputs(mut self, outputs: usize) -> Self {
        self.facts.outputs = Some(outputs);
        self
    }

    /// The micro-batches whose gradients were accumulated, which a wrong factor may be. Default: unknown.
    pub fn accumulate(mut self, passes: usize) -> Self {
        self.facts.accumulate = Some(passes);
        self
    }

    /// Checks a gradient that was worked out for a function of parameters, `at` and `analytic` of one length.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if lengths differ; [`Setting`](crate::ErrorKind::Setting) if the function or the
    /// gradient is not finite at the point.
    pub fn function<T: Scalar>(&self, f: impl FnMut(&[T]) -> T, at: &[T], analytic: &[T]) -> Result<Report> {
        if analytic.len() != at.len() {
            return Err(Error::shape("analytic gradient", &[at.len()], &[analytic.len()]));
        }
        let shapes = if self.shapes.is_empty() { vec![("x".to_owned(), vec![at.len()])] } else { self.shapes.clone() };
        let parts = lay_out(shapes.into_iter());
        let length: usize = parts.iter().map(|part| part.length).sum();
        if length != at.len() {
            return Err(Error::shape("parameters", &[length], &[at.len()]));
        }
        let numbers = |values: &[T]| values.iter().map(|v| v.as_f64()).collect();
        let (values, analytic) = (numbers(at), numbers(analytic));
        self.run(Closure { f, parts, facts: self.facts.clone(), values, analytic, scratch: Vec::new() })
    }

    /// Checks the gradient that a model and a loss give on a batch: inputs `[rows, inputs]`. The model comes back with the
    /// values it had and empty gradients.
    ///
    /// # Errors
    /// If the batch does not fit the model or the loss, or the loss or gradient is not finite.
    pub fn model<T, M, L>(
        &self,
        model: &mut M,
        loss: &L,
        inputs: ArrayView2<'_, T>,
        targets: &Targets<'_, T>,
    ) -> Result<Report>
    where
        T: Scalar,
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        self.on_batch(model, loss, inputs, targets, Claimed::Computed)
    }

    /// Checks the gradient that stands in a model's parameters, after a loop written by hand, against the loss of a
    /// batch: the effective batch, where it was accumulated. The ledger tells a stale gradient by name. The model comes
    /// back as it was, gradients included, unless the gradient is wrong: then its gradients come back empty.
    ///
    /// # Errors
    /// As [`model`](GradCheck::model); [`MissingGradient`](crate::ErrorKind::MissingGradient) if a parameter has none.
    pub fn standing<T, M, L>(
        &self,
        model: &mut M,
        loss: &L,
        inputs: ArrayView2<'_, T>,
        targets: &Targets<'_, T>,
    ) -> Result<Report>
    where
        T: Scalar,
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        self.on_batch(model, loss, inputs, targets, Claimed::Standing)
    }

    fn on_batch<T, M, L>(
        &self,
        model: &mut M,
        loss: &L,
        inputs: ArrayView2<'_, T>,
        targets: &Targets<'_, T>,
        claimed: Claimed,
    ) -> Result<Report>
    where
        T: Scalar,
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        if inputs.nrows() == 0 {
            return Err(Error::setting("batch", "it has no rows"));
        }
        let settings = (self.reduction, self.weight_decay, self.facts.accumulate);
        self.run(OnBatch::new(model, loss, inputs, targets, settings, claimed)?)
    }

    fn run(&self, subject: impl Subject) -> Result<Report> {
        let mut run = Run::begin(subject, self.seed)?;
        let parts = run.subject.parts().to_vec();
        let mut parameters = Vec::new();
        if let Mode::Directions(count) = self.mode {
            for part in &parts {
                let entries = (0..count.max(1)).map(|_| run.along(part)).collect::<Result<Vec<_>>>()?;
                parameters.push(ParameterReport::new(part.name.clone(), part.shape.clone(), entries));
            }
        }
        let failed = parameters.iter().any(|parameter| parameter.verdict == Verdict::Wrong);
        if failed || parameters.is_empty() {
            parameters.clear();
            for part in &parts {
                let chosen = run.choose(part, self.most_entries);
                let entries = chosen.into_iter().map(|i| run.entry(part, i)).collect::<Result<Vec<_>>>()?;
                parameters.push(ParameterReport::new(part.name.clone(), part.shape.clone(), entries));
            }
        }
        let verdict = parameters.iter().map(|parameter| parameter.verdict).max().unwrap_or(Verdict::Correct);
        let cause = if verdict == Verdict::Wrong { run.cause(&parts, &parameters)? } else { None };
        let Run { ground, evaluations, .. } = run;
        Ok(Report { verdict, cause, parameters, evaluations, noise: ground.noise, loss: ground.value })
    }
}

/// A check under way.
struct Run<S> {
    subject: S,
    values: Vec<f64>,
    analytic: Vec<f64>,
    ground: Ground,
    evaluations: usize,
    rng: ChaCha8Rng,
}

/// The least step, in units of the last place of the point.
const LEAST_STEP: f64 = 64.0;

/// A kink of a smaller share of the slope is rounding.
const SLIGHT_KINK: f64 = 1e-3;

/// How often the steps of the noise measurement are changed.
const NOISE_TRIES: usize = 3;

/// A tolerance above this share of the slope says nothing, unless what it lets pass makes no difference to the loss.
const INCONCLUSIVE: f64 = 0.1;

impl<S: Subject> Run<S> {
    fn begin(mut subject: S, seed: u64) -> Result<Self> {
        let (values, analytic) = (subject.values().to_vec(), subject.analytic().to_vec());
        if let Some(at) = analytic.iter().position(|g| !g.is_finite()) {
            return Err(Error::setting("gradient", format!("element {at} is {}", analytic[at])));
        }
        let epsilon = subject.epsilon();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let signs: Vec<f64> = values.iter().map(|_| if rng.random() { 1.0 } else { -1.0 }).collect();
        let mut samples = [0.0; 7];
        let mut evaluations = 0;
        let mut tiny = epsilon.powf(0.75);
        for _ in 0..NOISE_TRIES {
            for (k, sample) in samples.iter_mut().enumerate() {
                let step = |(v, s): (&f64, &f64)| subject.round(v + s * k as f64 * tiny * v.abs().max(1.0));
                let moved: Vec<f64> = values.iter().zip(&signs).map(step).collect();
                *sample = subject.loss(&moved)?;
                evaluations += 1;
            }
            let change = samples.iter().map(|sample| (sample - samples[0]).abs()).fold(0.0, f64::max);
            if change == 0.0 {
                // Steps so small that the loss does not change at all show no rounding either.
                tiny *= 1e3;
            } else if change > epsilon.sqrt() * samples[0].abs() {
                // Steps so large that the shape of the loss shows would pass it off as rounding.
                tiny /= 1e3;
            } else {
                break;
            }
        }
        if !samples[0].is_finite() {
            let why = format!("it is {} where the gradient is to be checked", samples[0]);
            return Err(Error::setting("loss", why));
        }
        let ground = Ground { value: samples[0], noise: noise_of(&samples, epsilon), epsilon };
        Ok(Run { subject, values, analytic, ground, evaluations, rng })
    }

    /// A derivative along a random direction of one parameter: each entry moved up or down in proportion to its size, so
    /// that entries of features of all scales take part.
    fn along(&mut self, part: &Part) -> Result<Entry> {
        let range = part.start..part.start + part.length;
        let largest = self.values[range.clone()].iter().map(|v| v.abs()).fold(0.0, f64::max);
        let stand_in = if largest > 0.0 { largest } else { 1.0 };
        let size = |i: usize| if self.values[i] == 0.0 { stand_in } else { self.values[i].abs() };
        let length = range.clone().map(|i| (size(i) / stand_in).powi(2)).sum::<f64>().sqrt() * stand_in;
        let shares: Vec<(usize, f64)> = range.map(|i| (i, size(i) / length)).collect();
        let direction: Vec<(usize, f64)> =
            shares.into_iter().map(|(i, share)| (i, if self.rng.random() { share } else { -share })).collect();
        self.derivative(&direction, None, part.start)
    }

    /// The derivative by one entry.
    fn entry(&mut self, part: &Part, flat: usize) -> Result<Entry> {
        self.derivative(&[(flat, 1.0)], Some(index_in(part, flat)), flat)
    }

    fn derivative(&mut self, direction: &[(usize, f64)], index: Option<Vec<usize>>, flat: usize) -> Result<Entry> {
        let Run { subject, values, analytic, ground, evaluations, .. } = self;
        let slope: f64 = direction.iter().map(|&(i, d)| analytic[i] * d).sum();
        let unit = direction.iter().map(|&(i, _)| values[i].abs()).fold(1.0, f64::max);
        let rounding = |&(i, d): &(usize, f64)| LEAST_STEP * ground.epsilon * (values[i] / d).abs();
        let least = direction.iter().map(rounding).fold(0.0, f64::max);
        let mut moved = values.clone();
        let finding = look_along(*ground, unit, least, |t| {
            *evaluations += 1;
            let mut predicted = 0.0;
            for &(i, d) in direction {
                moved[i] = subject.round(values[i] + t * d);
                predicted += analytic[i] * (moved[i] - values[i]);
            }
            Ok(Point { value: subject.loss(&moved)?, predicted })
        })?;
        let numerical = slope + finding.defect;
        let size = slope.abs().max(numerical.abs());
        // Each entry of the analytic gradient is rounded too, and along a direction they may cancel.
        let entries: f64 = direction.iter().map(|&(i, d)| (analytic[i] * d).abs()).sum();
        let tolerance = finding.tolerance + 16.0 * ground.epsilon * size.max(entries);
        let shape = match finding.shape {
            Shape::Kink { left, right } if (right - left).abs() <= SLIGHT_KINK * size => Shape::Smooth,
            shape => shape,
        };
        let verdict = match shape {
            // A central difference that agrees across a kink does so by symmetry.
            Shape::Kink { left, right } if left.min(right) <= tolerance && left.max(right) >= -tolerance => {
                Verdict::Kink
            }
            Shape::Kink { .. } => Verdict::Wrong,
            _ if finding.defect.is_nan() => Verdict::Inconclusive,
            Shape::Rounded if finding.defect.abs() > tolerance => Verdict::Inconclusive,
            Shape::Smooth if finding.defect.abs() > 2.0 * tolerance => Verdict::Wrong,
            Shape::Smooth if finding.defect.abs() > tolerance => Verdict::Inconclusive,
            _ => {
                // Too little is known of the slope, and of the loss too: what a step of the parameter's own size makes.
                let of_slope = tolerance > INCONCLUSIVE * size.max(finding.scale).max(entries);
                let of_loss = tolerance * unit > ground.epsilon.sqrt() * ground.value.abs();
                let hidden = of_slope && of_loss && tolerance > 0.0;
                if hidden { Verdict::Inconclusive } else { Verdict::Correct }
            }
        };
        let relative_error = finding.defect.abs() / (slope.abs() + numerical.abs() + 1e-8);
        Ok(Entry { index, analytic: slope, numerical, tolerance, relative_error, verdict, flat })
    }

    /// All entries of a parameter, or a random choice of so many, in order.
    fn choose(&mut self, part: &Part, most: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = if part.length <= most {
            (0..part.length).collect()
        } else {
            index::sample(&mut self.rng, part.length, most).into_vec()
        };
        chosen.sort_unstable();
        chosen.into_iter().map(|i| part.start + i).collect()
    }

    fn cause(&mut self, parts: &[Part], parameters: &[ParameterReport]) -> Result<Option<Cause>> {
        let facts = self.subject.facts().clone();
        let (analytic, values) = (self.analytic.clone(), self.values.clone());
        let compared = Compared {
            parts,
            entries: parameters.iter().map(|parameter| parameter.entries.as_slice()).collect(),
            analytic: &analytic,
            values: &values,
            facts: &facts,
        };
        let entries: Vec<&Entry> = parameters.iter().flat_map(|parameter| &parameter.entries).collect();
        if let Some(cause) = compared.of_the_whole() {
            return Ok(Some(cause));
        }
        for (shift, gradient) in self.subject.mended()? {
            self.evaluations += 1;
            if entries.iter().all(|e| agrees(gradient[e.flat], e.numerical, e.tolerance)) {
                let cause = if shift == Shift::Rows { Cause::RowsShifted } else { Cause::ClassesShifted };
                return Ok(Some(cause));
            }
        }
        match self.one_row(&entries, parts)? {
            Some(cause) => Ok(Some(cause)),
            None => Ok(compared.of_a_part()),
        }
    }

    /// Whether what is lacking or too much is the gradient of one row, or a bias has that of one row alone.
    fn one_row(&mut self, entries: &[&Entry], parts: &[Part]) -> Result<Option<Cause>> {
        let lacking: Vec<f64> = entries.iter().map(|e| e.numerical - e.analytic).collect();
        if let Some((row, sign)) = self.row_that_explains(entries, &lacking)? {
            let cause = if sign > 0.0 { Cause::RowMissing { row } } else { Cause::RowTwice { row } };
            return Ok(Some(cause));
        }
        for part in parts.iter().filter(|part| part.shape.len() == 1 && parts.len() > 1) {
            let within = |e: &&&Entry| (part.start..part.start + part.length).contains(&e.flat);
            let own: Vec<&Entry> = entries.iter().filter(within).copied().collect();
            let analytic: Vec<f64> = own.iter().map(|e| e.analytic).collect();
            let wrong = own.iter().any(|e| e.verdict == Verdict::Wrong);
            if wrong && self.row_that_explains(&own, &analytic)?.is_some_and(|(_, sign)| sign > 0.0) {
                return Ok(Some(Cause::UnsummedBias { parameter: part.name.clone() }));
            }
        }
        Ok(None)
    }

    /// The row whose gradient, or its negative, is what these entries are: compared along random directions, with the
    /// slopes of each row's loss.
    fn row_that_explains(&mut self, entries: &[&Entry], gradient: &[f64]) -> Result<Option<(usize, f64)>> {
        const DIRECTIONS: usize = 3;
        const EXPLAINED: f64 = 1e-3;
        let step = self.ground.epsilon.cbrt();
        let (mut along, mut slopes) = (Vec::new(), Vec::<Vec<f64>>::new());
        for _ in 0..DIRECTIONS {
            let signs: Vec<f64> = entries.iter().map(|_| if self.rng.random() { 1.0 } else { -1.0 }).collect();
            along.push(gradient.iter().zip(&signs).map(|(g, s)| s * g).sum::<f64>());
            let mut at = |t: f64| {
                let mut moved = self.values.clone();
                for (entry, s) in entries.iter().zip(&signs) {
                    moved[entry.flat] += t * s;
                }
                self.evaluations += 1;
                self.subject.row_losses(&moved)
            };
            let (ahead, behind) = (at(step)?, at(-step)?);
            slopes.push(ahead.iter().zip(&behind).map(|(a, b)| (a - b) / (2.0 * step)).collect());
        }
        let explains = |row: usize, sign: f64| {
            let largest = slopes.iter().map(|s| s[row].abs()).fold(0.0, f64::max);
            let close = |(s, along): (&Vec<f64>, &f64)| (along - sign * s[row]).abs() <= EXPLAINED * largest;
            largest > 0.0 && slopes.iter().zip(&along).all(close)
        };
        let candidates = (0..slopes[0].len()).flat_map(|row| [(row, 1.0), (row, -1.0)]);
        Ok(candidates.into_iter().find(|&(row, sign)| explains(row, sign)))
    }
}

/// The index of a place in the flat gradient within its parameter.
fn index_in(part: &Part, flat: usize) -> Vec<usize> {
    let mut rest = flat - part.start;
    let mut index: Vec<usize> = part
        .shape
        .iter()
        .rev()
        .map(|&length| {
            let here = rest % length;
            rest /= length;
            here
        })
        .collect();
    index.reverse();
    index
}
