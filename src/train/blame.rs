//! Traces a loss or gradient that is not finite to the row, column and parameter it came from.
//!
//! The gradient of one row is the row times its residual, so the culprit can be named exactly. Nothing here runs, or
//! costs anything, before a number is not finite or a run has diverged.

use crate::data::Dataset;
use crate::error::{Cause, Culprit};
use crate::kernels::RowIndex;
use crate::loss::{Loss, Target};
use crate::model::{Model, parameter_count};
use crate::parameter::Parameter;
use crate::scalar::Scalar;

/// A value this many times as large as every other of its column stands out.
const STANDS_OUT: f64 = 20.0;

/// What the trainer knows of a step whose loss or gradient is not finite.
pub(super) struct FailedStep<'a> {
    /// The rows of the effective batch.
    pub rows: RowIndex<'a>,
    /// Its mean loss.
    pub loss: f64,
    /// Whether the loss had grown beyond its start before this step.
    pub grown: bool,
}

/// Who is to blame, what happened, and the remedy.
pub(super) struct Verdict {
    pub culprit: Culprit,
    pub what: String,
    pub help: String,
}

/// Traces a failed step. Costs a pass over the batch and one over the data.
pub(super) fn trace<T, M, L>(model: &M, loss: &L, data: &Dataset<T>, step: &FailedStep<'_>) -> Verdict
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
{
    let quantity = match step.loss.is_finite() {
        true => "a gradient is not finite".to_owned(),
        false => format!("the loss is {}", step.loss),
    };
    let worst = worst_row(model, loss, data, step.rows);
    let outliers = Outliers::of(data);
    let untouched = model.parameters().iter().all(|p| p.values().iter().all(|v| v.is_zero()));
    let mut culprit = blank(Cause::Overflow);
    culprit.parameter = worst.element.map(|element| named_element(model.parameters(), element));
    if let Some(cell) = outliers.in_row(worst.row) {
        culprit.cause = Cause::Data;
        cell.accuse(data, &mut culprit);
    } else if let (true, Some(cell)) = (step.grown, outliers.worst()) {
        culprit.cause = Cause::Data;
        cell.accuse(data, &mut culprit);
    } else {
        culprit.cause = match (step.grown, untouched) {
            (true, _) => Cause::Diverged,
            (false, true) => Cause::Data,
            (false, false) => Cause::Overflow,
        };
        largest_cell(data, worst.row).accuse(data, &mut culprit);
    }
    match culprit.cause {
        Cause::Data => {
            let value = culprit.value.unwrap_or(f64::NAN);
            let still = if untouched { ", with all parameters still 0" } else { "" };
            let what = format!("{quantity}: {culprit} is {value:e}{}{still}: too large for {}", of(&culprit), T::NAME);
            Verdict { culprit, what, help: "mend the value or leave its row out, or scale the column down".into() }
        }
        Cause::Overflow => {
            let most = culprit.value.map_or(String::new(), |value| format!(" ({value:e})"));
            let what = format!("{quantity}: the logits overflow {} at {culprit}{most}{}", T::NAME, of(&culprit));
            Verdict { culprit, what, help: "scale the features or the target down, or start from zeros".into() }
        }
        Cause::Diverged => {
            let (element, value) = largest_parameter(model.parameters());
            let inputs = model.inputs();
            culprit.feature = feature_of(&model.parameters()[element.0], element.1, inputs);
            culprit.column = culprit.feature.map(|feature| data.feature_names()[feature].clone());
            culprit.place = data.place(worst.row).map(|place| match &culprit.column {
                Some(column) => place.in_column(column),
                None => place,
            });
            let (name, index) = named_element(model.parameters(), element);
            let what = format!(
                "the run diverged: {quantity}, first at {culprit}; the largest parameter is {name}[{index}] = {value:e}"
            );
            culprit.parameter = Some((name, index));
            culprit.value = Some(value);
            Verdict { culprit, what, help: "lower the learning rate, or leave it out to have it chosen".into() }
        }
    }
}

/// When an update that overflowed was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// With its gradient still at hand.
    AtOnce,
    /// By a later batch, whose gradient has taken its place.
    Late,
}

/// What to say of an update that overflowed though its gradient had not.
pub(super) fn trace_update<T: Scalar>(
    parameters: &[Parameter<T>],
    element: (usize, usize),
    lr: f64,
    found: Found,
) -> Verdict {
    let (name, index) = named_element(parameters, element);
    let mut culprit = blank(Cause::Diverged);
    let gradient = match found {
        Found::AtOnce => format!("gradient {:e}, ", parameters[element.0].gradients()[element.1].as_f64()),
        Found::Late => String::new(),
    };
    let what = format!("the update of {name}[{index}] overflows {}: {gradient}learning rate {lr}", T::NAME);
    culprit.parameter = Some((name, index));
    Verdict { culprit, what, help: "lower the learning rate, or leave it out to have it chosen".into() }
}

/// The one value that stands out from its whole column, if a run that diverged has one.
pub(super) fn outlier<T: Scalar>(data: &Dataset<T>) -> Option<Culprit> {
    let outliers = Outliers::of(data);
    let mut culprit = blank(Cause::Data);
    outliers.worst()?.accuse(data, &mut culprit);
    Some(culprit)
}

fn blank(cause: Cause) -> Culprit {
    Culprit { cause, row: None, place: None, feature: None, column: None, value: None, parameter: None }
}

fn of(culprit: &Culprit) -> String {
    let element = |(name, index): &(String, usize)| format!(" (gradient of {name}[{index}])");
    culprit.parameter.as_ref().map_or(String::new(), element)
}

/// A parameter's place among the parameters, and an element's in it.
fn named_element<T: Scalar>(parameters: &[Parameter<T>], (parameter, index): (usize, usize)) -> (String, usize) {
    (parameters[parameter].name().to_owned(), index)
}

/// The feature an element belongs to: its column in a matrix `[outputs, inputs]`.
fn feature_of<T: Scalar>(parameter: &Parameter<T>, index: usize, inputs: usize) -> Option<usize> {
    let shape = parameter.value().shape().to_vec();
    (shape.len() == 2 && shape[1] == inputs).then(|| index % inputs)
}

fn largest_parameter<T: Scalar>(parameters: &[Parameter<T>]) -> ((usize, usize), f64) {
    let all = parameters.iter().enumerate().flat_map(|(p, parameter)| {
        parameter.values().iter().enumerate().map(move |(index, value)| ((p, index), value.as_f64()))
    });
    all.fold(((0, 0), 0.0), |most, next| if next.1.abs() > most.1.abs() { next } else { most })
}

/// The row a failed step is traced to.
struct WorstRow {
    row: usize,
    /// The element of the gradient to which it adds most: the parameter, and the index in it.
    element: Option<(usize, usize)>,
}

/// The first row whose own outputs, loss or gradient are not finite; where each is and only the sum or the norm
/// overflows, the row that adds most.
fn worst_row<T, M, L>(model: &M, loss: &L, data: &Dataset<T>, rows: RowIndex<'_>) -> WorstRow
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
{
    let targets = data.targets();
    let mut logits = vec![T::zero(); model.outputs()];
    let mut output_gradient = logits.clone();
    let mut gradient = vec![T::zero(); parameter_count(model.parameters())];
    let mut most = (rows.at(0), 0, -1.0);
    for row in rows.iter() {
        model.forward_row(data.row(row), &mut logits);
        let value = loss.weighted_row(&logits, &targets, row, &mut output_gradient);
        gradient.fill(T::zero());
        model.backward_row(data.row(row), &output_gradient, &mut gradient);
        let size = |v: &T| if v.is_finite() { v.as_f64().abs() } else { f64::INFINITY };
        let largest = gradient.iter().map(size).enumerate();
        let (index, size) = largest.fold((0, -1.0), |most, next| if next.1 > most.1 { next } else { most });
        let finite = size.is_finite() && value.loss.is_finite() && logits.iter().all(|v| v.is_finite());
        if !finite || size > most.2 {
            most = (row, index, size);
        }
        if !finite {
            break;
        }
    }
    let (row, mut index, _) = most;
    let element = model.parameters().iter().enumerate().find_map(|(p, parameter)| {
        if index < parameter.len() {
            return Some((p, index));
        }
        index -= parameter.len();
        None
    });
    WorstRow { row, element }
}

/// A cell of the data, or a target.
struct Cell {
    row: usize,
    /// None: the target.
    feature: Option<usize>,
    value: f64,
}

impl Cell {
    /// Writes the cell into a culprit.
    fn accuse<T: Scalar>(&self, data: &Dataset<T>, culprit: &mut Culprit) {
        let column =
            self.feature.map_or_else(|| data.target_name(), |feature| &data.feature_names()[feature]).to_owned();
        culprit.row = Some(self.row);
        culprit.place = data.place(self.row).map(|place| place.in_column(&column));
        culprit.feature = self.feature;
        culprit.column = Some(column);
        culprit.value = Some(self.value);
    }
}

/// The largest magnitude of a row: of its features, or of its target if that is larger still.
fn largest_cell<T: Scalar>(data: &Dataset<T>, row: usize) -> Cell {
    let mut cell = Cell { row, feature: None, value: target_of(data, row) };
    for (feature, value) in data.row(row).iter().enumerate() {
        let value = value.as_f64();
        if !value.is_finite() || value.abs() > cell.value.abs() {
            cell = Cell { row, feature: Some(feature), value };
        }
        if !value.is_finite() {
            break;
        }
    }
    cell
}

/// The largest target value of a row; 0 for a class.
fn target_of<T: Scalar>(data: &Dataset<T>, row: usize) -> f64 {
    match data.targets().row(row) {
        Target::Class(_) => 0.0,
        Target::Values(values) => {
            values.iter().fold(0.0, |most: f64, v| if v.as_f64().abs() > most.abs() { v.as_f64() } else { most })
        }
    }
}

/// The values that stand out from all others of their columns: at most one a column.
struct Outliers(Vec<(Cell, f64)>);

impl Outliers {
    fn of<T: Scalar>(data: &Dataset<T>) -> Self {
        let width = data.features().ncols();
        // For each column, the target last: the row of the largest magnitude, that magnitude, and the next.
        let mut largest = vec![(0, 0.0_f64, 0.0_f64); width + 1];
        for row in 0..data.rows() {
            let target = target_of(data, row);
            let values = data.row(row).iter().map(|v| v.as_f64()).chain([target]);
            for ((at, first, second), value) in largest.iter_mut().zip(values) {
                let size = if value.is_finite() { value.abs() } else { f64::INFINITY };
                if size > *first {
                    (*at, *second, *first) = (row, *first, size);
                } else {
                    *second = second.max(size);
                }
            }
        }
        let stand_out = largest.iter().enumerate().filter_map(|(column, &(row, first, second))| {
            let next = if second > 0.0 { second } else { 1.0 };
            let feature = (column < width).then_some(column);
            let value = feature.map_or_else(|| target_of(data, row), |feature| data.row(row)[feature].as_f64());
            // Logarithms: the quotient itself may overflow, and two columns then look alike.
            (first / next >= STANDS_OUT).then(|| (Cell { row, feature, value }, first.ln() - next.ln()))
        });
        Outliers(stand_out.collect())
    }

    /// The cell of a row that stands out most.
    fn in_row(&self, row: usize) -> Option<&Cell> {
        Self::most(self.0.iter().filter(|(cell, _)| cell.row == row))
    }

    /// The cell that stands out most of all.
    fn worst(&self) -> Option<&Cell> {
        Self::most(self.0.iter())
    }

    fn most<'a>(cells: impl Iterator<Item = &'a (Cell, f64)>) -> Option<&'a Cell> {
        cells.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(cell, _)| cell)
    }
}
