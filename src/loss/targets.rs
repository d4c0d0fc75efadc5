//! Targets: what a loss compares the model's outputs with.

use ndarray::{Array, Dimension};

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{RowLabels, RowTargets, SoftmaxLoss};
use crate::scalar::Scalar;

/// What a loss takes as targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// One number for each output.
    Values,
    /// One class index a row.
    Classes,
}

/// The target of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target<'a, T> {
    /// One number for each output.
    Values(&'a [T]),
    /// The index of the true class.
    Class(usize),
}

impl<'a, T> Target<'a, T> {
    /// The values, for a loss whose [`target_kind`](crate::Loss::target_kind) is `Values`.
    ///
    /// # Panics
    /// If the target is a class, which a checked batch never passes to such a loss.
    pub fn values(self) -> &'a [T] {
        match self {
            Target::Values(values) => values,
            Target::Class(_) => panic!("the loss declares value targets and was given a class"),
        }
    }

    /// The class, for a loss whose [`target_kind`](crate::Loss::target_kind) is `Classes`.
    ///
    /// # Panics
    /// If the target is values, which a checked batch never passes to such a loss.
    pub fn class(self) -> usize {
        match self {
            Target::Class(class) => class,
            Target::Values(_) => panic!("the loss declares class targets and was given values"),
        }
    }
}

/// The targets of a batch, borrowed, with a weight for each row where there are any.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a, T> {
    data: Data<'a, T>,
    weights: Option<&'a [T]>,
}

#[derive(Debug, Clone, Copy)]
enum Data<'a, T> {
    Values {
        /// Row by row.
        values: &'a [T],
        shape: &'a [usize],
        /// Values of a row.
        outputs: usize,
    },
    Classes(&'a [usize]),
}

impl<'a, T: Scalar> Targets<'a, T> {
    /// Values, `[rows, outputs]`.
    ///
    /// Any array is taken here; one of another shape, `[rows]` say, is refused when it is used, never broadcast.
    ///
    /// # Panics
    /// If the array is not in standard (row-major) layout; `as_standard_layout()` mends that.
    pub fn values<D: Dimension>(values: &'a Array<T, D>) -> Self {
        let shape = values.shape();
        let values = values.as_slice().expect("targets must be in standard (row-major) layout");
        let outputs = shape.iter().skip(1).product();
        Targets { data: Data::Values { values, shape, outputs }, weights: None }
    }

    /// Class indices, `[rows]`, counted from 0.
    pub fn classes(classes: &'a [usize]) -> Self {
        Targets { data: Data::Classes(classes), weights: None }
    }

    /// The same with a weight for each row, `[rows]`. Default: every row counts once.
    pub fn weighted(mut self, weights: &'a [T]) -> Self {
        self.weights = Some(weights);
        self
    }

    /// Whether they are values or classes.
    pub fn kind(&self) -> TargetKind {
        match self.data {
            Data::Values { .. } => TargetKind::Values,
            Data::Classes(_) => TargetKind::Classes,
        }
    }

    /// The rows' weights, where there are any.
    pub fn sample_weights(&self) -> Option<&'a [T]> {
        self.weights
    }

    /// One value a row, where every row has one.
    pub(crate) fn single_values(&self) -> Option<RowTargets<'a, T>> {
        match self.data {
            Data::Values { values, outputs: 1, .. } => Some(RowTargets { values, weights: self.weights }),
            _ => None,
        }
    }

    /// The classes, for a loss.
    pub(crate) fn labels(&self, loss: SoftmaxLoss<'a>) -> Option<RowLabels<'a, T>> {
        match self.data {
            Data::Classes(classes) => Some(RowLabels { classes, weights: self.weights, loss }),
            Data::Values { .. } => None,
        }
    }

    /// The target of one row, counted from 0.
    pub fn row(&self, row: usize) -> Target<'_, T> {
        match &self.data {
            Data::Classes(classes) => Target::Class(classes[row]),
            Data::Values { values, outputs, .. } => Target::Values(&values[row * outputs..(row + 1) * outputs]),
        }
    }

    /// Refuses what does not fit `rows` rows and `outputs` outputs: another kind, another shape, a class out of
    /// range, a value or weight that is not finite, a negative weight.
    pub(crate) fn check(&self, kind: TargetKind, rows: usize, outputs: usize) -> Result<()> {
        match (&self.data, kind) {
            (Data::Values { shape, .. }, TargetKind::Values) => {
                if *shape != [rows, outputs] {
                    return Err(Error::shape("targets", &[rows, outputs], shape));
                }
                self.check_values(|value| value.is_finite(), "is not finite")?;
            }
            (Data::Classes(classes), TargetKind::Classes) => {
                if classes.len() != rows {
                    return Err(Error::shape("targets", &[rows], &[classes.len()]));
                }
                if let Some(row) = first_refused(classes, |class| class < outputs) {
                    let label = classes[row];
                    return Err(ErrorKind::Label { row, label, classes: outputs }.into());
                }
            }
            (_, TargetKind::Values) => {
                return Err(Error::setting("targets", "this loss takes values, not class indices"));
            }
            (_, TargetKind::Classes) => {
                return Err(Error::setting("targets", "this loss takes class indices, not values"));
            }
        }
        if let Some(weights) = self.weights {
            if weights.len() != rows {
                return Err(Error::shape("sample weights", &[rows], &[weights.len()]));
            }
            if let Some(row) = first_refused(weights, |w| w.is_finite() && w >= T::zero()) {
                let why = format!("row {row} has weight {}; it must be finite and not negative", weights[row]);
                return Err(Error::setting("sample weights", why));
            }
        }
        Ok(())
    }

    /// Refuses the first value that `accepts` turns down.
    pub(crate) fn check_values(&self, accepts: impl Fn(T) -> bool, why: &'static str) -> Result<()> {
        if let Data::Values { values, outputs, .. } = &self.data
            && let Some(at) = first_refused(values, accepts)
        {
            let value = values[at].as_f64();
            return Err(ErrorKind::Target { row: at / outputs, output: at % outputs, value, why }.into());
        }
        Ok(())
    }
}

/// Where the first number is that `accepts` turns down. Many are looked at before it is asked whether there was one: a
/// question for each takes several times as long.
fn first_refused<N: Copy>(numbers: &[N], accepts: impl Fn(N) -> bool) -> Option<usize> {
    const MANY: usize = 64;
    let all_accepted = |numbers: &&[N]| numbers.iter().fold(true, |all, &number| all & accepts(number));
    let accepted = numbers.chunks(MANY).take_while(all_accepted).count() * MANY;
    let left = numbers.get(accepted..)?;
    left.iter().position(|&number| !accepts(number)).map(|place| accepted + place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BinaryCrossEntropy, CrossEntropy, Loss, Mse, Reduction};
    use ndarray::{Array2, array};

    fn refused(loss: &dyn Loss<f64>, outputs: usize, targets: &Targets<'_, f64>) -> String {
        let logits = Array2::zeros((3, outputs));
        loss.evaluate(logits.view(), targets, Reduction::Mean).unwrap_err().to_string()
    }

    #[test]
    fn what_would_broadcast_or_be_guessed_is_refused() {
        let flat = array![1.0, 2.0, 3.0];
        let nan = array![[1.0], [f64::NAN], [3.0]];
        let half = array![[1.0], [0.0], [1.5]];
        let column = array![[1.0], [2.0], [3.0]];
        let cases: Vec<(&str, String)> = vec![
            ("insert_axis", refused(&Mse, 1, &Targets::values(&flat))),
            ("expected [3, 2]", refused(&Mse, 2, &Targets::values(&column))),
            ("row 1, output 0: NaN is not finite", refused(&Mse, 1, &Targets::values(&nan))),
            ("row 2, output 0: 1.5", refused(&BinaryCrossEntropy::new(), 1, &Targets::values(&half))),
            ("class 3 is out of range for 3", refused(&CrossEntropy::new(), 3, &Targets::classes(&[0, 3, 1]))),
            ("expected [3]", refused(&CrossEntropy::new(), 3, &Targets::classes(&[0, 1]))),
            ("takes class indices", refused(&CrossEntropy::new(), 1, &Targets::values(&column))),
            ("takes values", refused(&Mse, 1, &Targets::classes(&[0, 0, 0]))),
            ("row 1 has weight -1", refused(&Mse, 1, &Targets::values(&column).weighted(&[1.0, -1.0, 1.0]))),
            ("add up to 0", refused(&Mse, 1, &Targets::values(&column).weighted(&[0.0; 3]))),
        ];
        for (expected, message) in cases {
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        }
    }

    #[test]
    fn the_first_of_many_that_is_refused_is_found_wherever_it_is() {
        for count in [0, 1, 63, 64, 65, 128, 200] {
            assert_eq!(first_refused(&vec![1; count], |number| number > 0), None, "{count}");
            for place in 0..count {
                let mut numbers = vec![1; count];
                (numbers[place], numbers[count - 1]) = (0, 0);
                assert_eq!(first_refused(&numbers, |number| number > 0), Some(place), "{count}");
            }
        }
    }

    #[test]
    fn a_row_of_weight_two_counts_as_two_rows() {
        let logits = array![[1.0], [4.0], [4.0]];
        let zeros = array![[0.0], [0.0], [0.0]];
        let twice = Mse.evaluate(logits.view(), &Targets::values(&zeros), Reduction::Mean).unwrap();
        let logits = array![[1.0], [4.0]];
        let zeros = array![[0.0], [0.0]];
        let targets = Targets::values(&zeros).weighted(&[1.0, 2.0]);
        let weighted = Mse.evaluate(logits.view(), &targets, Reduction::Mean).unwrap();
        assert_eq!(weighted.loss, twice.loss);
        assert_eq!(weighted.gradient[[1, 0]], 2.0 * twice.gradient[[1, 0]]);
        assert_eq!(weighted.weight, 3.0);
    }
}
