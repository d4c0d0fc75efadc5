//! Finds where a loss or gradient that is not finite came from.

use crate::data::Dataset;
use crate::loss::Loss;
use crate::model::Model;
use crate::scalar::Scalar;

/// What is not finite in this effective batch, and the remedy. Costs a pass over the batch; called only on failure.
pub(super) fn blame_non_finite<T, M, L>(
    model: &M,
    loss: &L,
    data: &Dataset<T>,
    rows: &[u32],
    batch_loss: f64,
) -> (String, String)
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
{
    let largest = largest_parameter(model);
    let quantity =
        if batch_loss.is_finite() { "a gradient is".to_owned() } else { format!("the loss is {batch_loss}") };
    let place = first_bad_row(model, loss, data, rows).map_or(String::new(), |row| match data.place(row) {
        Some(place) => format!(", first at {place}"),
        None => format!(", first at row {row}"),
    });
    let quantity = if batch_loss.is_finite() { format!("{quantity} not finite") } else { quantity };
    let Some((name, index, value)) = largest.filter(|(_, _, value)| value.abs() > T::zero()) else {
        let what = format!("{quantity}{place}, with all parameters still 0: the data overflow {}", T::NAME);
        return (what, "scale the features or the target down".into());
    };
    let what =
        format!("the run diverged: {quantity}{place}; the largest parameter is {name}[{index}] = {:e}", value.as_f64());
    (what, "lower the learning rate, or leave it out to have it chosen".into())
}

/// The parameter element of the largest magnitude: its parameter's name, its index and value.
fn largest_parameter<T: Scalar, M: Model<T> + ?Sized>(model: &M) -> Option<(&str, usize, T)> {
    let all = model.parameters().iter().flat_map(|parameter| {
        parameter.values().iter().enumerate().map(|(index, &value)| (parameter.name(), index, value))
    });
    all.fold(None, |largest, candidate| match largest {
        Some((_, _, value)) if candidate.2.abs() <= value.abs() => largest,
        _ => Some(candidate),
    })
}

/// The first row whose outputs, loss or gradient are not finite.
fn first_bad_row<T, M, L>(model: &M, loss: &L, data: &Dataset<T>, rows: &[u32]) -> Option<usize>
where
    T: Scalar,
    M: Model<T> + ?Sized,
    L: Loss<T> + ?Sized,
{
    let targets = data.targets();
    let mut logits = vec![T::zero(); model.outputs()];
    let mut gradient = logits.clone();
    rows.iter().map(|&row| row as usize).find(|&row| {
        model.forward_row(data.row(row), &mut logits);
        let value = loss.weighted_row(&logits, &targets, row, &mut gradient);
        let finite = |values: &[T]| values.iter().all(|v| v.is_finite());
        !(finite(&logits) && finite(&gradient) && value.loss.is_finite())
    })
}
