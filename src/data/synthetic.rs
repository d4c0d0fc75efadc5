//! Synthetic data sets, each a function of its seed, written as CSV so that they take the way of any file.

use std::f64::consts::PI;
use std::str::FromStr;

use ndarray::Array1;
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::{Normal, Uniform};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result, check_non_negative};

/// A synthetic data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synthetic {
    /// `y = 2.5 x + 1 + noise`, x evenly from 0 to 10.
    Line,
    /// `y = 1.5 x1 - 2 x2 + 0.8 x3 + 0.5 + noise`, features standard normal.
    Plane,
    /// Three round clouds, named a, b and c, at (0, 3), (-3, -2) and (3, -2).
    Blobs,
    /// Two half circles that reach into each other, named upper and lower.
    Moons,
}

/// How a synthetic data set is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyntheticOptions {
    /// Rows. Default: 100 for the line, 200 for the plane, 300 for blobs and moons.
    pub rows: Option<usize>,
    /// Standard deviation of the noise. Default: 0.5 for the line, 0.1 for the plane, 1 for blobs, 0.1 for moons.
    pub noise: Option<f64>,
    /// The seed. Default: 0.
    pub seed: u64,
}

impl Synthetic {
    /// All of them.
    pub const ALL: [Synthetic; 4] = [Synthetic::Line, Synthetic::Plane, Synthetic::Blobs, Synthetic::Moons];

    /// The name: `line`, `plane`, `blobs` or `moons`.
    pub fn name(self) -> &'static str {
        match self {
            Synthetic::Line => "line",
            Synthetic::Plane => "plane",
            Synthetic::Blobs => "blobs",
            Synthetic::Moons => "moons",
        }
    }

    /// The name of the target's column, the last one.
    pub fn target(self) -> &'static str {
        match self {
            Synthetic::Line | Synthetic::Plane => "y",
            Synthetic::Blobs | Synthetic::Moons => "class",
        }
    }

    /// The data set as CSV text with a header. Numbers are written so that they read back to the same bits.
    ///
    /// # Errors
    /// [`Setting`](crate::ErrorKind::Setting) if there are no rows or the noise is negative or not finite.
    pub fn csv(self, options: SyntheticOptions) -> Result<String> {
        let (default_rows, default_noise) = match self {
            Synthetic::Line => (100, 0.5),
            Synthetic::Plane => (200, 0.1),
            Synthetic::Blobs => (300, 1.0),
            Synthetic::Moons => (300, 0.1),
        };
        let rows = options.rows.unwrap_or(default_rows);
        let noise = options.noise.unwrap_or(default_noise);
        if rows == 0 {
            return Err(Error::setting("rows", "0 must be at least 1"));
        }
        check_non_negative("noise", noise)?;
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let mut draw = Draw { rows, rng: &mut rng };
        Ok(match self {
            Synthetic::Line => line(&mut draw, noise),
            Synthetic::Plane => plane(&mut draw, noise),
            Synthetic::Blobs => blobs(&mut draw, noise),
            Synthetic::Moons => moons(&mut draw, noise),
        })
    }
}

impl FromStr for Synthetic {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = Synthetic::ALL.into_iter().find(|set| set.name() == name);
        known.ok_or_else(|| {
            let names = Synthetic::ALL.map(Synthetic::name).join(", ");
            Error::setting("synthetic data", format!("there is no \"{name}\"; there are {names}"))
        })
    }
}

struct Draw<'a> {
    rows: usize,
    rng: &'a mut ChaCha8Rng,
}

impl Draw<'_> {
    fn normal(&mut self, deviation: f64) -> Array1<f64> {
        let normal = Normal::new(0.0, deviation).expect("the deviation is finite and not negative");
        Array1::random_using(self.rows, normal, self.rng)
    }

    fn uniform(&mut self, low: f64, high: f64) -> Array1<f64> {
        Array1::random_using(self.rows, Uniform::new(low, high).expect("low is below high"), self.rng)
    }
}

fn rows(header: &str, rows: usize, row: impl Fn(usize) -> String) -> String {
    let mut csv = format!("{header}\n");
    for i in 0..rows {
        csv.push_str(&row(i));
        csv.push('\n');
    }
    csv
}

fn line(draw: &mut Draw<'_>, noise: f64) -> String {
    let x = Array1::linspace(0.0, 10.0, draw.rows);
    let y: Array1<f64> = 2.5 * &x + 1.0 + draw.normal(noise);
    rows("x,y", draw.rows, |i| format!("{},{}", x[i], y[i]))
}

fn plane(draw: &mut Draw<'_>, noise: f64) -> String {
    let [x1, x2, x3] = [draw.normal(1.0), draw.normal(1.0), draw.normal(1.0)];
    let y: Array1<f64> = 1.5 * &x1 - 2.0 * &x2 + 0.8 * &x3 + 0.5 + draw.normal(noise);
    rows("x1,x2,x3,y", draw.rows, |i| format!("{},{},{},{}", x1[i], x2[i], x3[i], y[i]))
}

fn blobs(draw: &mut Draw<'_>, noise: f64) -> String {
    const CENTRES: [(f64, f64, &str); 3] = [(0.0, 3.0, "a"), (-3.0, -2.0, "b"), (3.0, -2.0, "c")];
    let (dx, dy) = (draw.normal(noise), draw.normal(noise));
    rows("x1,x2,class", draw.rows, |i| {
        let (x, y, class) = CENTRES[i % 3];
        format!("{},{},{class}", x + dx[i], y + dy[i])
    })
}

fn moons(draw: &mut Draw<'_>, noise: f64) -> String {
    let angle = draw.uniform(0.0, PI);
    let (dx, dy) = (draw.normal(noise), draw.normal(noise));
    rows("x1,x2,class", draw.rows, |i| {
        let (sin, cos) = angle[i].sin_cos();
        let (x, y, class) = if i % 2 == 0 { (cos, sin, "upper") } else { (1.0 - cos, 0.5 - sin, "lower") };
        format!("{},{},{class}", x + dx[i], y + dy[i])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: SyntheticOptions = SyntheticOptions { rows: None, noise: None, seed: 0 };

    #[test]
    fn each_set_is_a_function_of_its_seed() {
        for set in Synthetic::ALL {
            assert_eq!(set.csv(PLAIN).unwrap(), set.csv(PLAIN).unwrap());
            assert_ne!(set.csv(PLAIN).unwrap(), set.csv(SyntheticOptions { seed: 1, ..PLAIN }).unwrap());
            assert_eq!(set.name().parse::<Synthetic>().unwrap(), set);
        }
        assert!("spiral".parse::<Synthetic>().unwrap_err().to_string().contains("line, plane, blobs, moons"));
    }

    #[test]
    fn without_noise_the_line_is_exact() {
        let csv = Synthetic::Line.csv(SyntheticOptions { rows: Some(3), noise: Some(0.0), seed: 0 }).unwrap();
        assert_eq!(csv, "x,y\n0,1\n5,13.5\n10,26\n");
    }

    #[test]
    fn senseless_options_are_refused() {
        assert!(Synthetic::Line.csv(SyntheticOptions { rows: Some(0), ..PLAIN }).is_err());
        assert!(Synthetic::Line.csv(SyntheticOptions { noise: Some(-1.0), ..PLAIN }).is_err());
    }
}
