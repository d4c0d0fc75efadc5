//! How the cells of a row become its target and its weight.

use super::category::{Categories, UNKNOWN, category};
use super::csv::{CellContent, Cursor, Heading, Table, list};
use super::features::missing_value;
use super::kept::KeptRows;
use super::schema::{Schema, Task};
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Rows whose classes are looked up together.
const TOGETHER: usize = 64;

/// The targets of some rows.
#[derive(Debug, Clone)]
pub(crate) enum TargetColumn<T> {
    /// One value a row.
    Values(Vec<T>),
    Classes(Vec<usize>),
}

impl Schema {
    /// The targets of the rows kept; `target` is their column.
    pub(crate) fn targets<T: Scalar>(
        &self,
        table: &Table<T>,
        target: usize,
        keep: &KeptRows,
    ) -> Result<TargetColumn<T>> {
        Ok(match self.task {
            Task::Regression => TargetColumn::Values(numbers(table, target, keep, "the target must be a number")?),
            Task::Binary => {
                let value = |class| T::from_f64(class as f64);
                TargetColumn::Values(self.class_indices(table, target, keep, value)?)
            }
            Task::Multiclass => TargetColumn::Classes(self.class_indices(table, target, keep, |class| class)?),
        })
    }

    /// What `each` makes of the index of each row's class.
    fn class_indices<T: Scalar, C: Default + Clone + Send>(
        &self,
        table: &Table<T>,
        target: usize,
        keep: &KeptRows,
        each: impl Fn(usize) -> C + Sync,
    ) -> Result<Vec<C>> {
        let categories = Categories::new(&self.classes, &table.column(target).texts);
        keep.values(|part, indices| {
            let (mut categories, mut cursor) = (categories.clone(), Cursor::default());
            for (first, indices) in (0..).step_by(TOGETHER).zip(indices.chunks_mut(TOGETHER)) {
                let rows = (first..first + indices.len()).map(|index| part.row(index));
                if categories.are_few() {
                    // NaN, like a cell that is no number, has no class.
                    let mut values = [T::nan(); TOGETHER];
                    for (value, row) in values.iter_mut().zip(rows.clone()) {
                        *value = table.number(row, target);
                    }
                    let classes = &categories.of_few_numbers(&values)[..indices.len()];
                    if classes.iter().all(|&class| class != UNKNOWN) {
                        for (index, &class) in indices.iter_mut().zip(classes) {
                            *index = each(class as usize);
                        }
                        continue;
                    }
                }
                for (index, row) in indices.iter_mut().zip(rows) {
                    let cell = table.cell(row, target, &mut cursor);
                    let class = match cell {
                        CellContent::Number(value) => categories.of_number(value),
                        CellContent::Text(code) => categories.of_text(code),
                        CellContent::Missing => None,
                    };
                    *index = each(class.ok_or_else(|| self.no_class(table, target, row, cell))?);
                }
            }
            Ok(())
        })
    }

    // A function of its own, not to slow down the loop over all rows.
    #[cold]
    fn no_class<T: Scalar>(&self, table: &Table<T>, target: usize, row: usize, cell: CellContent<T>) -> Error {
        if let CellContent::Missing = cell {
            return missing_value(table.place(row, target), "a row without a target can only be dropped");
        }
        let text = category(table, target, cell).unwrap_or_default();
        let what = format!("the class \"{text}\" was not seen in training");
        let help = format!("the classes are {}", list(self.classes.iter().map(String::as_str)));
        Error::data(table.place(row, target), what, help)
    }
}

/// The numbers of a column in the rows kept.
fn numbers<T: Scalar>(table: &Table<T>, column: usize, keep: &KeptRows, what: &str) -> Result<Vec<T>> {
    keep.values(|part, values| {
        let mut cursor = Cursor::default();
        for (row, value) in part.iter().zip(values) {
            *value = match table.cell(row, column, &mut cursor) {
                CellContent::Number(value) => value,
                CellContent::Missing => {
                    return Err(missing_value(table.place(row, column), "--missing drop leaves such rows out"));
                }
                CellContent::Text(code) => {
                    let text = &table.column(column).texts[code as usize];
                    let what = format!("\"{text}\" is not a number: {what}");
                    return Err(Error::data(table.place(row, column), what, "for classes, use --loss cross-entropy"));
                }
            };
        }
        Ok(())
    })
}

/// The sample weights of the rows kept.
pub(crate) fn weights<T: Scalar>(table: &Table<T>, column: usize, keep: &KeptRows) -> Result<Vec<T>> {
    numbers(table, column, keep, "a sample weight must be a number")
}

/// The same, none of them negative and not all of them 0.
pub(crate) fn checked_weights<T: Scalar>(table: &Table<T>, column: usize, keep: &KeptRows) -> Result<Vec<T>> {
    let weights = weights(table, column, keep)?;
    refuse_negative(table, column, &weights, keep)?;
    if weights.iter().all(|w| w.is_zero()) {
        return Err(all_zero(table.heading(), column));
    }
    Ok(weights)
}

fn refuse_negative<T: Scalar>(table: &Table<T>, column: usize, weights: &[T], keep: &KeptRows) -> Result<()> {
    let Some(at) = weights.iter().position(|w| *w < T::zero()) else { return Ok(()) };
    let what = format!("the sample weight {} is negative", weights[at]);
    Err(Error::data(table.place(keep.row(at), column), what, "weights count rows: 0 or more"))
}

fn all_zero(heading: &Heading, column: usize) -> Error {
    Error::data(heading.column(column), "every sample weight is 0", "weights count rows: some must be above 0")
}

/// Finds what is wrong with the targets and weights of a table that comes in pieces, in the order in which
/// [`Schema::encode`] would: a target anywhere before any weight, and no number before a negative one.
pub(crate) struct LabelCheck<'a> {
    schema: &'a Schema,
    no_number: Option<Error>,
    negative: Option<Error>,
    any_weight: bool,
}

impl<'a> LabelCheck<'a> {
    pub(crate) fn new(schema: &'a Schema) -> Self {
        LabelCheck { schema, no_number: None, negative: None, any_weight: false }
    }

    /// Looks at a piece, whose columns are the target and the sample weight.
    pub(crate) fn add<T: Scalar>(&mut self, labels: &Table<T>) -> Result<()> {
        let keep = KeptRows::Range(0..labels.rows());
        self.schema.targets(labels, 0, &keep)?;
        if self.schema.sample_weight.is_none() || self.no_number.is_some() {
            return Ok(());
        }
        match weights(labels, 1, &keep) {
            Err(error) => self.no_number = Some(error),
            Ok(weights) => {
                self.any_weight |= weights.iter().any(|w| !w.is_zero());
                self.negative = self.negative.take().or(refuse_negative(labels, 1, &weights, &keep).err());
            }
        }
        Ok(())
    }

    /// The verdict on all of the file with this heading.
    pub(crate) fn finish(self, heading: &Heading) -> Result<()> {
        match (self.no_number.or(self.negative), &self.schema.sample_weight) {
            (Some(error), _) => Err(error),
            (None, Some(weight)) if !self.any_weight => Err(all_zero(heading, heading.column_named(weight)?)),
            _ => Ok(()),
        }
    }
}
