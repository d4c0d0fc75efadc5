//! Rows that look wrong: a label that a fit on other rows contradicts, a value far from where its column lies.

use super::columns::class_of;
use super::krylov::{Krylov, Matrix};
use super::spectrum::WORK;
use crate::data::{Dataset, permutation};
use crate::error::{ErrorKind, Result};
use crate::kernels;
use crate::loss::{Loss, Target};
use crate::model::{Linear, Model, parameter_count};
use crate::optim::SgdConfig;
use crate::scalar::Scalar;
use crate::train::auto::{self, Given};
use crate::train::{Curvature, TrainConfig, Trainer};

/// How rows are looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuspectOptions {
    /// The rows listed of each kind. Default: 10.
    pub rows: usize,
    /// The parts the rows are cut into; each is judged by a fit on the others. Default: 5.
    pub folds: usize,
    /// The times that is done, each with another cut. Default: 3.
    pub rounds: usize,
    /// The weight decay of the fits. Default: 0.01.
    pub weight_decay: f64,
    /// The seed of the cuts. Default: 0.
    pub seed: u64,
}

impl Default for SuspectOptions {
    fn default() -> Self {
        SuspectOptions { rows: 10, folds: 5, rounds: 3, weight_decay: 0.01, seed: 0 }
    }
}

/// A row whose target a fit on other rows contradicts.
#[derive(Debug, Clone, PartialEq)]
pub struct Mislabelled {
    /// The row, from 0.
    pub row: usize,
    /// What the other rows make of it: the likeliest class, or the number.
    pub predicted: f64,
    /// The probability the other rows give its class; `None` for numbers.
    pub probability: Option<f64>,
    /// How far the prediction is from the target: for classes `1 - probability`.
    pub residual: f64,
}

/// A row whose features lie far from the others'.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistyped {
    /// The row, from 0.
    pub row: usize,
    /// `|residual| |row|`: the norm of the row's gradient under a fit on other rows.
    pub gradient_norm: f64,
    /// The row's weight in its own prediction, from 0 to 1; `None` for data too large to measure it.
    pub leverage: Option<f64>,
    /// The feature that lies farthest out.
    pub feature: usize,
    /// How many standard deviations of the other rows it lies from their mean; infinite where they do not vary.
    pub deviations: f64,
}

/// The rows that look most wrong, the worst first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Suspects {
    /// By the residual.
    pub mislabelled: Vec<Mislabelled>,
    /// By the gradient norm and the leverage.
    pub mistyped: Vec<Mistyped>,
    /// Rows per hundred whose class the other rows would have predicted; `None` for numbers.
    pub accuracy: Option<f64>,
}

/// The multiplications that the fits may take.
const FIT_WORK: f64 = 2e9;

/// The most epochs of a fit.
const FIT_EPOCHS: f64 = 150.0;

/// The share of the rows that the second look leaves out of its fits.
const DISTRUSTED: f64 = 0.03;

/// What is looked at.
struct Subject<'a, T, L: ?Sized> {
    data: &'a Dataset<T>,
    loss: &'a L,
    outputs: usize,
    bias: bool,
    curvature: &'a Curvature,
    options: &'a SuspectOptions,
}

/// What the fits on other rows say of a row, added up over the rounds.
#[derive(Clone, Default)]
struct Verdict {
    /// The loss of its target.
    loss: f64,
    /// The length of the gradient with respect to the logits.
    residual: f64,
    /// Probabilities of the classes, or the number.
    outputs: Vec<f64>,
}

/// Looks for suspicious rows in standardised data, by fits of a linear model, each on a part of the rows and judging
/// the others. `curvature` is that of the data, for the fits' learning rate; `bias` says whether the model has one.
///
/// # Errors
/// If the loss does not take the targets.
pub fn suspects<T, L>(
    data: &Dataset<T>,
    loss: &L,
    outputs: usize,
    bias: bool,
    curvature: &Curvature,
    options: &SuspectOptions,
) -> Result<Suspects>
where
    T: Scalar,
    L: Loss<T> + ?Sized,
{
    if data.rows() < 2 || options.rows == 0 {
        return Ok(Suspects::default());
    }
    let subject = Subject { data, loss, outputs, bias, curvature, options };
    // Two looks: the second by fits that leave out what looks worst at the first, and so are not led astray by it.
    let mut trusted = vec![true; data.rows()];
    let first = judge(&subject, 1, &trusted)?;
    let mut order: Vec<usize> = (0..data.rows()).collect();
    order.sort_by(|&a, &b| first[b].loss.total_cmp(&first[a].loss));
    order.iter().take((DISTRUSTED * data.rows() as f64) as usize).for_each(|&row| trusted[row] = false);
    let verdicts = judge(&subject, options.rounds.max(1), &trusted)?;
    let targets = data.targets();
    let classes: Option<Vec<usize>> = (0..data.rows()).map(|row| class_of(&targets, row)).collect();
    let classes = classes.filter(|_| loss.classifies());
    let mut suspects = Suspects::default();

    let judged = (0..data.rows()).map(|row| {
        let verdict = &verdicts[row];
        match &classes {
            Some(classes) => {
                let predicted = largest(&verdict.outputs);
                let probability = verdict.outputs[classes[row]];
                Mislabelled {
                    row,
                    predicted: predicted as f64,
                    probability: Some(probability),
                    residual: 1.0 - probability,
                }
            }
            None => {
                let target = if let Target::Values(values) = targets.row(row) { values[0].as_f64() } else { f64::NAN };
                let predicted = verdict.outputs[0];
                Mislabelled { row, predicted, probability: None, residual: (predicted - target).abs() }
            }
        }
    });
    suspects.mislabelled = judged.collect();
    if let Some(classes) = &classes {
        let right = suspects.mislabelled.iter().filter(|m| m.predicted == classes[m.row] as f64).count();
        suspects.accuracy = Some(right as f64 / data.rows() as f64);
    }
    suspects.mislabelled.sort_by(|a, b| b.residual.total_cmp(&a.residual));
    suspects.mislabelled.truncate(options.rows);
    suspects.mistyped = mistyped(data, bias, &verdicts, options.rows);
    Ok(suspects)
}

fn largest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |most, i| if values[i] > values[most] { i } else { most })
}

/// Fits and judges: what the trusted rows outside its part say of each row, over some rounds.
fn judge<T, L>(subject: &Subject<'_, T, L>, rounds: usize, trusted: &[bool]) -> Result<Vec<Verdict>>
where
    T: Scalar,
    L: Loss<T> + ?Sized,
{
    let Subject { data, loss, outputs, options, .. } = *subject;
    let (rows, width) = data.features().dim();
    let folds = options.folds.clamp(2, rows);
    let classes = if loss.classifies() { outputs.max(2) } else { 1 };
    let mut verdicts = vec![Verdict { outputs: vec![0.0; classes], ..Verdict::default() }; rows];
    let work = (rows * (width + 1) * outputs * folds * rounds) as f64;
    let epochs = (FIT_WORK / work).clamp(2.0, FIT_EPOCHS) as usize;
    let targets = data.targets();
    let share = 1.0 / rounds as f64;
    let mut order = Vec::new();
    for round in 1..=rounds {
        permutation(&mut order, rows, options.seed, round);
        for fold in 0..folds {
            let part = |held_out: bool| {
                let rows = order.iter().enumerate().filter(move |(at, _)| (at % folds == fold) == held_out);
                rows.map(|(_, row)| *row as usize)
            };
            let mut fitted: Vec<usize> = part(false).filter(|&row| trusted[row]).collect();
            if fitted.is_empty() {
                fitted = part(false).collect();
            }
            let model = fit(subject, &data.select(&fitted), epochs)?;
            let mut logits = vec![T::zero(); outputs];
            let mut gradient = logits.clone();
            for row in part(true) {
                model.forward_row(data.row(row), &mut logits);
                let value = loss.row(&logits, targets.row(row), &mut gradient);
                let verdict = &mut verdicts[row];
                verdict.loss += share * value.loss.as_f64();
                verdict.residual += share * kernels::sum_of_squares(&gradient).as_f64().sqrt();
                for (sum, output) in verdict.outputs.iter_mut().zip(probabilities(&logits, loss.classifies())) {
                    *sum += share * output;
                }
            }
        }
    }
    Ok(verdicts)
}

/// The class probabilities of logits, a single one being that of the second of two classes; or the numbers themselves.
fn probabilities<T: Scalar>(logits: &[T], classifies: bool) -> Vec<f64> {
    match logits {
        _ if !classifies => logits.iter().map(|z| z.as_f64()).collect(),
        [logit] => {
            let second = kernels::sigmoid(*logit).as_f64();
            vec![1.0 - second, second]
        }
        _ => {
            let mut all = vec![T::zero(); logits.len()];
            kernels::softmax(logits, &mut all);
            all.iter().map(|p| p.as_f64()).collect()
        }
    }
}

/// A short fit on some of the rows.
fn fit<T, L>(subject: &Subject<'_, T, L>, data: &Dataset<T>, epochs: usize) -> Result<Linear<T>>
where
    T: Scalar,
    L: Loss<T> + ?Sized,
{
    let Subject { loss, outputs, bias, curvature, options, .. } = *subject;
    let width = data.features().ncols();
    let mut model = if bias { Linear::new(width, outputs) } else { Linear::without_bias(width, outputs) };
    if let Some(bias) = model.parameters_mut().get_mut(1) {
        bias.set_decays(false);
    }
    let weight_decay = options.weight_decay * loss.curvature().unwrap_or(1.0);
    let given = Given { epochs: Some(epochs), weight_decay, accumulate: 1, ..Given::default() };
    let plan = auto::plan(curvature, data.rows(), parameter_count(model.parameters()), &given);
    // A part of the rows may curve more steeply than all of them.
    const MARGIN: f64 = 0.7;
    let mut sgd = SgdConfig::new(MARGIN * plan.lr).momentum(plan.momentum).weight_decay(weight_decay).build()?;
    let config = TrainConfig {
        epochs: plan.epochs,
        batch_size: plan.batch_size,
        schedule: plan.schedule,
        seed: options.seed,
        ..TrainConfig::default()
    };
    match Trainer::new(config)?.fit(&mut model, loss, &mut sgd, data) {
        // The parameters are finite, and a row that lies so far out stands out under any.
        Err(error) if !matches!(error.kind(), ErrorKind::NonFinite { .. } | ErrorKind::Diverged { .. }) => Err(error),
        _ => Ok(model),
    }
}

/// The rows of the largest gradient norm times leverage, each with its most outlying feature.
fn mistyped<T: Scalar>(data: &Dataset<T>, bias: bool, verdicts: &[Verdict], most: usize) -> Vec<Mistyped> {
    let ones = vec![1.0; data.rows()];
    let matrix = Matrix::new(data, &ones, bias, WORK);
    let all = matrix.rows() == data.rows() && matrix.columns() < data.rows().min(400);
    let leverages = all.then(|| Krylov::of(&matrix, vec![0.0; matrix.rows()], matrix.columns()).leverages);
    let one = f64::from(u8::from(bias));
    let gradient_norm =
        |row: usize| verdicts[row].residual * (kernels::sum_of_squares(data.row(row)).as_f64() + one).sqrt();
    // A classifier may be sure of a row however far out it lies: the mean keeps its leverage in the product.
    let mean = (0..data.rows()).map(gradient_norm).sum::<f64>() / data.rows() as f64;
    let score = |row: usize| (mean + gradient_norm(row)) * leverages.as_ref().map_or(1.0, |all| all[row]);
    let mut rows: Vec<(usize, f64)> = (0..data.rows()).map(|row| (row, score(row))).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    rows.truncate(most);
    if data.features().ncols() == 0 {
        return Vec::new();
    }
    let moments = moments(data);
    let mistyped = |(row, _): &(usize, f64)| {
        let row = *row;
        let far = |feature: usize| deviations(data, &moments, row, feature);
        let feature = (0..moments.len()).fold(0, |most, f| if far(f) > far(most) { f } else { most });
        let leverage = leverages.as_ref().map(|all| all[row]);
        Mistyped { row, gradient_norm: gradient_norm(row), leverage, feature, deviations: far(feature) }
    };
    // A row of nothing but means lies nowhere far out.
    rows.iter().map(mistyped).filter(|mistyped| mistyped.deviations > 0.0).collect()
}

/// The sum and the sum of squares of each feature.
fn moments<T: Scalar>(data: &Dataset<T>) -> Vec<(f64, f64)> {
    let mut moments = vec![(0.0, 0.0); data.features().ncols()];
    for row in 0..data.rows() {
        for ((sum, squares), x) in moments.iter_mut().zip(data.row(row)) {
            *sum += x.as_f64();
            *squares += x.as_f64() * x.as_f64();
        }
    }
    moments
}

/// How many standard deviations of the other rows a value lies from their mean.
fn deviations<T: Scalar>(data: &Dataset<T>, moments: &[(f64, f64)], row: usize, feature: usize) -> f64 {
    let x = data.row(row)[feature].as_f64();
    let n = (data.rows() - 1) as f64;
    let (sum, squares) = moments[feature];
    let mean = (sum - x) / n;
    let variance = ((squares - x * x) / n - mean * mean).max(0.0);
    let far = (x - mean).abs();
    // Of a difference of two sums of squares no less than this is known.
    let rounding = 4.0 * f64::EPSILON * n.sqrt() * squares / n;
    match (far == 0.0, variance > rounding) {
        (true, _) => 0.0,
        (false, true) => far / variance.sqrt(),
        (false, false) => f64::INFINITY,
    }
}
