//! A check under way: one derivative after another, and then the cause.

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cause::{Cause, Compared, agrees};
use super::on_batch::not_finite;
use super::report::{Entry, ParameterReport, Verdict};
use super::slope::{Ground, Point, Shape, look_along, noise_of};
use super::subject::{Claim, Part, Shift, Subject};
use crate::error::{Error, Result};

/// A check under way.
pub(super) struct Run<S> {
    subject: S,
    pub claim: Claim,
    pub ground: Ground,
    pub evaluations: usize,
    rng: ChaCha8Rng,
}

/// The least step, in units of the last place of the point.
const LEAST_STEP: f64 = 64.0;

/// A kink of a smaller share of the slope is rounding.
const SLIGHT_KINK: f64 = 1e-3;

/// How often the steps of the noise measurement are changed.
const NOISE_TRIES: usize = 3;

/// A tolerance above this share of the slope says nothing, unless what it lets pass makes no difference to the loss.
const INCONCLUSIVE: f64 = 0.01;

impl<S: Subject> Run<S> {
    pub(super) fn begin(mut subject: S, claim: Claim, seed: u64) -> Result<Self> {
        let Claim { values, analytic, .. } = &claim;
        if let Some(at) = analytic.iter().position(|g| !g.is_finite()) {
            return Err(Error::setting("gradient", format!("element {at} is {}", analytic[at])));
        }
        let epsilon = subject.epsilon();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let signs: Vec<f64> = values.iter().map(|_| if rng.random() { 1.0 } else { -1.0 }).collect();
        let mut samples = [0.0; 7];
        let mut quiet = None;
        let mut evaluations = claim.precision.evaluations;
        let mut tiny = epsilon.powf(0.75);
        for _ in 0..NOISE_TRIES {
            for (k, sample) in samples.iter_mut().enumerate() {
                let step = |(v, s): (&f64, &f64)| subject.round(v + s * k as f64 * tiny * v.abs().max(1.0));
                let moved: Vec<f64> = values.iter().zip(&signs).map(step).collect();
                *sample = subject.loss(&moved)?;
                evaluations += 1;
            }
            let change = samples.iter().map(|sample| (sample - samples[0]).abs()).fold(0.0, f64::max);
            if change > epsilon.sqrt() * samples[0].abs() {
                // Steps so large that the shape of the loss shows would pass it off as rounding.
                if quiet.is_some() {
                    break;
                }
                tiny /= 1e3;
                continue;
            }
            quiet = Some(samples);
            if change > 0.0 {
                break;
            }
            // Steps so small that the loss does not change at all show no rounding either.
            tiny *= 1e3;
        }
        if !samples[0].is_finite() {
            return Err(not_finite(samples[0]));
        }
        let (noise, tries) = subject.noise(values)?;
        evaluations += tries;
        let noise = noise.max(noise_of(&quiet.unwrap_or(samples), epsilon));
        let ground = Ground { value: samples[0], noise, epsilon };
        Ok(Run { subject, claim, ground, evaluations, rng })
    }

    /// A derivative along a random direction of one parameter: each entry moved up or down in proportion to its size, so
    /// that entries of features of all scales take part.
    pub(super) fn along(&mut self, part: &Part) -> Result<Entry> {
        let range = part.start..part.start + part.length;
        let values = &self.claim.values;
        let largest = values[range.clone()].iter().map(|v| v.abs()).fold(0.0, f64::max);
        let stand_in = if largest > 0.0 { largest } else { 1.0 };
        let size = |i: usize| if values[i] == 0.0 { stand_in } else { values[i].abs() };
        let length = range.clone().map(|i| (size(i) / stand_in).powi(2)).sum::<f64>().sqrt() * stand_in;
        let shares: Vec<(usize, f64)> = range.map(|i| (i, size(i) / length)).collect();
        let direction: Vec<(usize, f64)> =
            shares.into_iter().map(|(i, share)| (i, if self.rng.random() { share } else { -share })).collect();
        self.derivative(&direction, None, part.start)
    }

    /// The derivative by one entry.
    pub(super) fn entry(&mut self, part: &Part, flat: usize) -> Result<Entry> {
        self.derivative(&[(flat, 1.0)], Some(index_in(part, flat)), flat)
    }

    fn derivative(&mut self, direction: &[(usize, f64)], index: Option<Vec<usize>>, flat: usize) -> Result<Entry> {
        let Run { subject, claim, ground, evaluations, .. } = self;
        let Claim { values, analytic, precision, .. } = &*claim;
        let sum = |of: &dyn Fn(usize, f64) -> f64| direction.iter().map(|&(i, d)| of(i, d)).sum::<f64>();
        let slope = sum(&|i, d| analytic[i] * d);
        let precise = sum(&|i, d| precision.precise[i] * d);
        let unit = direction.iter().map(|&(i, _)| values[i].abs()).fold(1.0, f64::max);
        let rounding = |&(i, d): &(usize, f64)| LEAST_STEP * ground.epsilon * (values[i] / d).abs();
        let least = direction.iter().map(rounding).fold(0.0, f64::max);
        let mut moved = values.clone();
        let finding = look_along(*ground, unit, least, |t| {
            *evaluations += 1;
            let mut predicted = 0.0;
            for &(i, d) in direction {
                moved[i] = subject.round(values[i] + t * d);
                predicted += precision.precise[i] * (moved[i] - values[i]);
            }
            Ok(Point { value: subject.loss(&moved)?, predicted })
        })?;
        let numerical = precise + finding.defect;
        // What is looked at along the line is the gradient in the digits of the loss; what is judged is the claimed one.
        let apart = precise - slope;
        let defect = finding.defect + apart;
        let size = slope.abs().max(numerical.abs());
        // Each entry of the analytic gradient is rounded too, and along a direction they may cancel.
        let entries = sum(&|i, d| (analytic[i] * d).abs());
        let rounding = sum(&|i, d| claim.rounding(i) * d.abs());
        let grain = sum(&|i, d| precision.grain[i] * d.abs());
        let tolerance = (finding.tolerance + 16.0 * ground.epsilon * size.max(entries) + rounding).max(grain);
        // What an entry may be compared with that was rounded in another way.
        let leeway = tolerance + sum(&|i, d| precision.bound[i] * d.abs());
        let shape = match finding.shape {
            Shape::Kink { left, right } if (right - left).abs() <= SLIGHT_KINK * size => Shape::Smooth,
            shape => shape,
        };
        let verdict = match shape {
            // A central difference that agrees across a kink does so by symmetry.
            Shape::Kink { left, right }
                if left.min(right) + apart <= tolerance && left.max(right) + apart >= -tolerance =>
            {
                Verdict::Kink
            }
            Shape::Kink { .. } => Verdict::Wrong,
            _ if defect.is_nan() => Verdict::Inconclusive,
            Shape::Rounded if defect.abs() > tolerance => Verdict::Inconclusive,
            Shape::Smooth if defect.abs() > 2.0 * tolerance => Verdict::Wrong,
            Shape::Smooth if defect.abs() > tolerance => Verdict::Inconclusive,
            _ => {
                // Too little is known of the slope, and of the loss too: what a step of the parameter's own size makes.
                let of_slope = tolerance > INCONCLUSIVE * size.max(finding.scale).max(entries);
                let of_loss = tolerance * unit > ground.epsilon.sqrt() * ground.value.abs();
                let hidden = of_slope && of_loss && tolerance > grain;
                if hidden { Verdict::Inconclusive } else { Verdict::Correct }
            }
        };
        let relative_error = defect.abs() / (slope.abs() + numerical.abs() + 1e-8);
        Ok(Entry { index, analytic: slope, numerical, tolerance, relative_error, verdict, flat, leeway })
    }

    /// All entries of a parameter, or a random choice of so many, in order; none of a frozen one.
    pub(super) fn choose(&mut self, part: &Part, most: usize) -> Vec<usize> {
        if part.frozen {
            return Vec::new();
        }
        let mut chosen: Vec<usize> = if part.length <= most {
            (0..part.length).collect()
        } else {
            index::sample(&mut self.rng, part.length, most).into_vec()
        };
        chosen.sort_unstable();
        chosen.into_iter().map(|i| part.start + i).collect()
    }

    pub(super) fn cause(&mut self, parts: &[Part], parameters: &[ParameterReport]) -> Result<Option<Cause>> {
        let by_part: Vec<&[Entry]> = parameters.iter().map(|parameter| parameter.entries.as_slice()).collect();
        let entries: Vec<&Entry> = parameters.iter().flat_map(|parameter| &parameter.entries).collect();
        if let Some(cause) = (Compared { claim: &self.claim, entries: &by_part }).of_the_whole() {
            return Ok(Some(cause));
        }
        for (shift, gradient) in self.subject.mended()? {
            self.evaluations += 1;
            if entries.iter().all(|e| agrees(gradient[e.flat], e.numerical, e.leeway)) {
                let cause = if shift == Shift::Rows { Cause::RowsShifted } else { Cause::ClassesShifted };
                return Ok(Some(cause));
            }
        }
        match self.one_row(&entries, parts)? {
            Some(cause) => Ok(Some(cause)),
            None => Ok(Compared { claim: &self.claim, entries: &by_part }.of_a_part()),
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
                let mut moved = self.claim.values.clone();
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
