//! Keeps parameters finite: a step whose update overflows is taken back.

use super::stopping::{restore, snapshot};
use crate::kernels;
use crate::parameter::Parameter;
use crate::scalar::Scalar;

/// Rows between two looks at all parameters, while nothing is large.
const ROWS: usize = 256;

/// The same while steps are plain: no number of updates that [`Guard::before`] lets pass comes near overflow, and where
/// threads have shared the step, a look waits for what others have written.
const PLAIN_ROWS: usize = 4096;

/// Watches the parameters. While they and updates are far from overflowing it looks at them once in a while, and at the end
/// of each epoch; once a parameter or an update is that long, or a first value that large, before and after every step.
pub(super) struct Guard<T> {
    /// Magnitudes beyond this are near enough to be watched: the fourth root of the largest number.
    near: f64,
    watching: bool,
    rows: usize,
    /// Values known to be finite: those of the start, or the last since it watches.
    last: Vec<Vec<T>>,
}

impl<T: Scalar> Guard<T> {
    /// For a run that starts from these values.
    pub(super) fn new(initial: Vec<Vec<T>>) -> Self {
        let near = T::max_value().as_f64().sqrt().sqrt();
        let watching = initial.iter().flatten().any(|v| v.as_f64().abs() > near);
        Guard { near, watching, rows: 0, last: initial }
    }

    /// Whether neither what was before an update nor the update, whose length has this square, is large enough to be watched.
    pub(super) fn is_at_ease(&self, squared_length: f64) -> bool {
        !self.watching && squared_length <= self.near * self.near
    }

    /// Before an update whose length has a square of the order of `squared_length`.
    pub(super) fn before(&mut self, parameters: &[Parameter<T>], squared_length: f64) {
        self.watching |= squared_length.is_nan() || squared_length > self.near * self.near;
        if self.watching {
            for (last, parameter) in self.last.iter_mut().zip(parameters) {
                last.copy_from_slice(parameter.values());
            }
        }
    }

    /// After an update over `rows` rows: puts finite values back if one is not, and says which: the parameter,
    /// and the index in it. A `plain` update has the length that [`before`](Guard::before) was told; one with weight decay or
    /// momentum may be longer.
    pub(super) fn after(
        &mut self,
        parameters: &mut [Parameter<T>],
        rows: usize,
        plain: bool,
    ) -> Option<(usize, usize)> {
        self.rows += rows;
        let most = if plain { PLAIN_ROWS } else { ROWS };
        if self.watching || self.rows >= most { self.look(parameters) } else { None }
    }

    /// Looks at all parameters.
    pub(super) fn look(&mut self, parameters: &mut [Parameter<T>]) -> Option<(usize, usize)> {
        self.rows = 0;
        // Where the squares add up to that of a large number at most, none is larger, and none is NaN.
        let square = self.near * self.near;
        if parameters.iter().all(|parameter| kernels::sum_of_squares(parameter.values()).as_f64() <= square) {
            return None;
        }
        let bad = parameters
            .iter()
            .enumerate()
            .find_map(|(p, parameter)| parameter.values().iter().position(|v| !v.is_finite()).map(|index| (p, index)));
        if bad.is_some() {
            restore(parameters, &self.last);
        } else if !self.watching {
            self.watching = true;
            self.last = snapshot(parameters);
        }
        bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn an_update_that_overflows_is_taken_back() {
        let mut parameters = [Parameter::new("w", array![1.0, 2.0])];
        let mut guard = Guard::new(snapshot(&parameters));
        parameters[0].values_mut()[0] = 3.0;
        guard.before(&parameters, 1e300);
        parameters[0].values_mut()[1] = f64::INFINITY;
        assert_eq!(guard.after(&mut parameters, 1, false), Some((0, 1)));
        assert_eq!(parameters[0].values(), [3.0, 2.0]);
    }

    #[test]
    fn what_grows_unseen_is_found_in_a_while_and_never_kept() {
        let mut parameters = [Parameter::new("w", array![1.0])];
        let mut guard = Guard::new(snapshot(&parameters));
        guard.before(&parameters, 1.0);
        parameters[0].values_mut()[0] = f64::NAN;
        assert_eq!(guard.after(&mut parameters, 1, false), None);
        assert_eq!(guard.look(&mut parameters), Some((0, 0)));
        assert_eq!(parameters[0].values(), [1.0]);
    }
}
