//! Richardson's extrapolation of central differences to a step of 0, for one output.

use super::probe::Slope;
use crate::scalar::Scalar;

/// What each step is divided by to get the next. No whole number: steps that are whole multiples of each other can
/// all be near whole periods of a function, and then agree on a wrong slope.
pub(super) const RATIO: f64 = 1.7;

/// The first step, in units of the scale. Large, because extrapolation needs no small step.
pub(super) const FIRST_STEP: f64 = 0.13;

/// Entries in a row. More would draw on steps so much larger that they say nothing about the point.
const COLUMNS: usize = 8;

/// How many times their errors two entries must be apart to contradict each other. Well above 1, because the rounding
/// of a careless function exceeds the noise known here.
const FAR: f64 = 10.0;

/// The extrapolation tableau of Ridders (1982), as in Press et al., *Numerical Recipes*, section 5.7.
///
/// Row `i` begins with the central difference of step `h_i = h_0 / r^i`. Its error is a series in `h^2`, so that
/// `(r^2j T[i][j-1] - T[i-1][j-1]) / (r^2j - 1)` has lost the term in `h^(2j)`. An entry's error is taken to be its
/// larger distance from the two it was made of, plus the noise that reaches it from the function's rounding.
///
/// Ridders takes the entry of least error. Here it also has to stand up to smaller steps, because entries can agree by
/// accident: in the scatter of a function that loses digits inside, or when their steps reach across a pole or a kink.
/// So the best entry of each row is charged with what the best of the next row knows against it, and a finer row that
/// is far off overrules it.
#[derive(Debug, Clone, Default)]
pub(super) struct Tableau<T> {
    row: [Slope<T>; COLUMNS],
    rows: usize,
    /// The entry of least error in the last row.
    finest: Option<Extrapolated<T>>,
    best: Option<Extrapolated<T>>,
    settled: bool,
}

/// An entry of the tableau.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extrapolated<T> {
    pub value: T,
    pub error: T,
}

impl<T: Scalar> Extrapolated<T> {
    /// Whether this, from smaller steps, shows that `other` is wrong from the first digit.
    fn refutes(self, other: Self) -> bool {
        let apart = (self.value - other.value).abs();
        apart > T::from_f64(FAR) * (self.error + other.error) && apart + apart > self.value.abs()
    }

    /// Whether this, from smaller steps, leaves open the first digit of `other`, which claims to know more.
    fn doubts(self, other: Self) -> bool {
        let open = self.error.max((self.value - other.value).abs());
        self.error > T::from_f64(FAR) * other.error && open + open > self.value.abs()
    }
}

impl<T: Scalar> Tableau<T> {
    /// Adds the row that begins with the central difference of the next smaller step, which may be `small`: a good
    /// entry is then enough. A settled tableau takes no more: steps that another output still needs would only bring it noise.
    pub fn push(&mut self, central: Slope<T>, small: bool) {
        if self.settled {
            return;
        }
        let above = self.row;
        self.row[0] = central;
        let mut weight = T::one();
        let previous = self.finest.take();
        for j in 1..COLUMNS.min(self.rows + 1) {
            weight *= T::from_f64(RATIO * RATIO);
            let (finer, coarser) = (self.row[j - 1], above[j - 1]);
            let value = finer.value + (finer.value - coarser.value) / (weight - T::one());
            let noise = (weight * finer.noise + coarser.noise) / (weight - T::one());
            self.row[j] = Slope { value, noise };
            let error = (value - finer.value).abs().max((value - coarser.value).abs()) + noise;
            if error.is_finite() && self.finest.is_none_or(|finest| error < finest.error) {
                self.finest = Some(Extrapolated { value, error });
            }
        }
        self.rows += 1;
        if let (Some(previous), Some(finest)) = (previous, self.finest) {
            // A step smaller by the ratio has noise larger by the ratio.
            let against = finest.error.max((finest.value - previous.value).abs()) / T::from_f64(RATIO);
            let confirmed = Extrapolated { value: previous.value, error: previous.error.max(against) };
            if self.best.is_none_or(|best| confirmed.error < best.error || confirmed.refutes(best)) {
                self.best = Some(confirmed);
            }
        }
        self.settled = self.settles(small);
    }

    /// The answer; `None` before the third row.
    pub fn best(&self) -> Option<Extrapolated<T>> {
        self.best
    }

    /// Whether a further row could not better the answer.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether to stop: the noise alone of a further row would exceed the error of the best entry, or steps are `small`
    /// and the entry is good; and the last row does not put it in doubt.
    fn settles(&self, small: bool) -> bool {
        let (Some(best), Some(finest)) = (self.best, self.finest) else { return false };
        let noise_of_next = self.row[0].noise * T::from_f64(RATIO);
        let good = best.error <= T::epsilon().cbrt() * best.value.abs();
        (best.error <= noise_of_next || small && good) && !finest.doubts(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_series_of_two_terms_is_gone_from_the_third_row_on() {
        let mut tableau = Tableau::default();
        for i in 0..5 {
            let h = RATIO.powi(-i);
            tableau.push(Slope { value: 3.0 + 5.0 * h.powi(2) - 7.0 * h.powi(4), noise: 0.0 }, false);
            assert!(i < 2 || (tableau.row[2].value - 3.0).abs() < 1e-14, "row {i}: {:?}", tableau.row);
        }
        let best = tableau.best().unwrap();
        assert!((best.value - 3.0).abs() <= best.error && best.error < 1e-14, "{best:?}");
    }

    #[test]
    fn the_noise_of_the_function_is_a_floor_under_the_error() {
        let mut tableau = Tableau::default();
        for i in 0..3 {
            assert!(!tableau.is_settled(), "row {i}");
            tableau.push(Slope { value: 1.0, noise: 1e-16 * RATIO.powi(i) }, false);
        }
        assert!(tableau.best().unwrap().error >= 1e-16);
        assert!(tableau.is_settled());
    }

    #[test]
    fn finer_rows_refute_what_coarse_ones_agreed_on() {
        let mut tableau = Tableau::default();
        for value in [0.0_f64, 1e-9, 1.0, 7.0, 7.0, 7.0] {
            tableau.push(Slope { value, noise: 1e-16 }, false);
        }
        assert!((tableau.best().unwrap().value - 7.0).abs() < 1e-12, "{:?}", tableau.best());
    }

    #[test]
    fn rows_that_disagree_are_reported_as_error_and_not_settled() {
        let mut tableau = Tableau::default();
        for value in [1.0, -1.0, 1.0, -1.0, 1.0] {
            tableau.push(Slope { value, noise: 1e-16 }, false);
        }
        assert!(!tableau.is_settled());
        assert!(tableau.best().unwrap().error > 1.0);
    }
}
