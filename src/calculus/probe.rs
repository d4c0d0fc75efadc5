//! A function on a straight line through a point, and its slope between two places on the line.

use crate::error::{Error, Result};
use crate::kernels;
use crate::scalar::Scalar;

/// Which way the line runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Direction<'a, T> {
    /// Along one coordinate.
    Axis(usize),
    /// Along a vector as long as the point, its largest element 1 or -1.
    Along(&'a [T]),
}

/// The function's values at one place on the line.
pub(super) struct Sample<T> {
    /// How far along the direction the place is: the step actually taken, after rounding.
    offset: T,
    values: Vec<T>,
}

/// The rise between two samples over the distance between them, for one output.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slope<T> {
    pub value: T,
    /// What rounding alone can make of the value: [`Probe::slopes`].
    pub noise: T,
}

/// Evaluates a function on lines through a point, and counts.
pub(super) struct Probe<'a, T, F> {
    f: F,
    point: &'a [T],
    /// The point, moved for one evaluation and moved back.
    moved: Vec<T>,
    outputs: Option<usize>,
    pub evaluations: usize,
}

impl<'a, T: Scalar, V: AsRef<[T]>, F: FnMut(&[T]) -> V> Probe<'a, T, F> {
    /// Refuses a point without coordinates, or with one that is not finite.
    pub fn new(f: F, point: &'a [T]) -> Result<Self> {
        if point.is_empty() {
            let help = "pass at least one coordinate";
            return Err(Error::domain("f", [], "there is no input to differentiate by", help));
        }
        if let Some(index) = point.iter().position(|x| !x.is_finite()) {
            let why = format!("coordinate {index} of the point is not finite");
            return Err(Error::domain("f", as_f64(point), why, "a derivative exists at finite points only"));
        }
        Ok(Probe { f, point, moved: point.to_vec(), outputs: None, evaluations: 0 })
    }

    /// The length that relative steps are multiplied by: `max(1, |x|)`, `x` the coordinate that moves. Along a
    /// vector `|x|` is the largest `|x_j e_j|`.
    pub fn scale(&self, direction: Direction<'_, T>) -> T {
        let size = match direction {
            Direction::Axis(index) => self.point[index].abs(),
            Direction::Along(e) => largest(self.point.iter().zip(e).map(|(&x, &e)| x * e)),
        };
        size.max(T::one())
    }

    /// The values a step along the direction; a step of 0 gives those of the point. Values may be infinite or NaN.
    pub fn sample(&mut self, direction: Direction<'_, T>, step: T) -> Result<Sample<T>> {
        let offset = match direction {
            Direction::Axis(index) => {
                self.moved[index] = self.point[index] + step;
                self.moved[index] - self.point[index]
            }
            Direction::Along(e) => {
                // Each coordinate is rounded on its own: the step taken is the projection on the direction.
                let mut taken = T::zero();
                for ((moved, &x), &e) in self.moved.iter_mut().zip(self.point).zip(e) {
                    *moved = x + step * e;
                    taken += (*moved - x) * e;
                }
                taken / kernels::sum_of_squares(e)
            }
        };
        let values = (self.f)(&self.moved).as_ref().to_vec();
        self.evaluations += 1;
        let outputs = *self.outputs.get_or_insert(values.len());
        if values.len() != outputs {
            let what = format!("outputs of f in evaluation {}", self.evaluations);
            return Err(Error::shape(what, &[outputs], &[values.len()]));
        }
        let sample = Sample { offset, values };
        self.restore(direction);
        Ok(sample)
    }

    /// The slope of every output between two samples, or `None` if a value, a slope or the step is not finite.
    ///
    /// The noise counts one rounding of each value (`epsilon |f|`, what the best libraries promise) and one of the
    /// argument inside `f` (`epsilon/2 |x| |f'|`), both over the distance.
    pub fn slopes(&self, direction: Direction<'_, T>, ahead: &Sample<T>, behind: &Sample<T>) -> Option<Vec<Slope<T>>> {
        let distance = ahead.offset - behind.offset;
        if !distance.is_finite() {
            return None;
        }
        let size = match direction {
            Direction::Axis(index) => self.point[index].abs(),
            Direction::Along(e) => largest(self.point.iter().zip(e).filter(|(_, e)| **e != T::zero()).map(|(&x, _)| x)),
        };
        let slope = |(&a, &b): (&T, &T)| {
            let value = (a - b) / distance;
            let noise = T::epsilon() * a.abs() + T::epsilon() * b.abs() + T::epsilon() * size * value.abs();
            value.is_finite().then(|| Slope { value, noise: noise / distance.abs() })
        };
        ahead.values.iter().zip(&behind.values).map(slope).collect()
    }

    /// The error that names the place where the function is not finite, or says that the difference overflows.
    pub fn not_finite(&self, direction: Direction<'_, T>, samples: [&Sample<T>; 2], help: &str) -> Error {
        let sample = samples.into_iter().find(|s| s.values.iter().any(|v| !v.is_finite()));
        let Some(Sample { offset, values }) = sample else {
            return self.overflow();
        };
        let output = values.iter().position(|v| !v.is_finite()).expect("found above");
        let mut place = as_f64(self.point);
        match direction {
            Direction::Axis(index) => place[index] += offset.as_f64(),
            Direction::Along(e) => {
                for (x, e) in place.iter_mut().zip(e) {
                    *x += offset.as_f64() * e.as_f64();
                }
            }
        }
        let mut why = match values.len() {
            1 => format!("the value is {}", values[output]),
            _ => format!("output {output} is {}", values[output]),
        };
        match direction {
            _ if offset.is_zero() => why += ", at the point itself",
            Direction::Axis(index) => {
                why += &format!(", {:e} from the point in coordinate {index}", offset.as_f64());
            }
            Direction::Along(_) => why += &format!(", {:e} from the point", offset.as_f64()),
        }
        Error::domain("f", place, why, help)
    }

    /// The error of finite values whose difference quotient is not finite.
    pub fn overflow(&self) -> Error {
        let why = "the step, or the slope between two values nearby, is too large for a number";
        Error::domain("f", as_f64(self.point), why, "scale the point or the function down")
    }

    fn restore(&mut self, direction: Direction<'_, T>) {
        match direction {
            Direction::Axis(index) => self.moved[index] = self.point[index],
            Direction::Along(_) => self.moved.copy_from_slice(self.point),
        }
    }
}

/// The largest magnitude, 0 for none.
pub(super) fn largest<T: Scalar>(values: impl Iterator<Item = T>) -> T {
    values.fold(T::zero(), |largest, x| largest.max(x.abs()))
}

pub(super) fn as_f64<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|x| x.as_f64()).collect()
}
