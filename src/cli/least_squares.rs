//! How far a regression ended from the least-squares solution, in loss and in parameters.

use std::fmt::Write;

use gradus::diagnose::{LeastSquares, least_squares};
use gradus::{Linear, Result, Scalar};
use ndarray::{Array1, Array2};
use serde_json::{Value, json};

use super::output::figure;
use super::prepare::Prepared;

/// A run's parameters beside those of least squares, in the data's own units.
pub struct Comparison {
    /// The least mean squared error, and the run's.
    least: f64,
    reached: f64,
    determined: bool,
    parameters: Vec<Compared>,
}

struct Compared {
    name: String,
    reached: f64,
    least_squares: f64,
    /// None where the data leave the parameter open.
    standard_error: Option<f64>,
}

/// More parameters than this are for `--json` alone.
const SHOWN: usize = 12;

impl Comparison {
    /// Compares a trained model whose mean squared error is `reached`; `None` for a loss that is not MSE, or data so
    /// large that it would take as long as training.
    pub fn of<T: Scalar>(prepared: &Prepared<T>, reached: f64) -> Result<Option<Self>> {
        let model = &prepared.model;
        let bias = model.bias().is_some();
        if prepared.loss_name != "mse" {
            return Ok(None);
        }
        let Some(solved) = least_squares(&prepared.data, bias) else { return Ok(None) };
        let own_units = OwnUnits { prepared, width: prepared.data.features().ncols(), bias };
        let weights = Array2::from_shape_fn(model.weight().dim(), |(k, c)| model.weight()[[k, c]].as_f64());
        let run = weights.iter().copied().chain(model.bias().map(|bias| bias[0].as_f64())).collect::<Vec<f64>>();
        let (run, best) = (own_units.fold(&run)?, own_units.fold(&solved.parameters)?);
        let errors = own_units.standard_errors(&solved)?;
        let names = prepared.data.feature_names().iter().cloned().chain(bias.then(|| "bias".to_owned()));
        let parameters = names
            .zip(run.into_iter().zip(best).zip(errors))
            .map(|(name, ((reached, least_squares), standard_error))| Compared {
                name,
                reached,
                least_squares,
                standard_error,
            })
            .collect();
        Ok(Some(Comparison { least: solved.mse, reached, determined: solved.determined, parameters }))
    }

    /// The largest distance of a parameter from least squares, in its standard errors.
    fn farthest(&self) -> Option<f64> {
        let distance =
            |p: &Compared| Some((p.reached - p.least_squares).abs() / p.standard_error.filter(|e| *e > 0.0)?);
        let distances: Option<Vec<f64>> = self.parameters.iter().map(distance).collect();
        distances.map(|all| all.into_iter().fold(0.0, f64::max))
    }

    /// The line of the table, and the parameters below it.
    pub fn line(&self) -> String {
        // Below these there is nothing but rounding.
        const LEAST_PERCENT: f64 = 1e-6;
        const LEAST_ERRORS: f64 = 1e-3;
        let above = match self.reached - self.least {
            excess if self.least <= 0.0 => format!("{excess:.1e} above it"),
            excess if 100.0 * excess < LEAST_PERCENT * self.least => format!("less than {LEAST_PERCENT:e} % above it"),
            excess => format!("{:.1e} % above it", 100.0 * excess / self.least),
        };
        let parameters = match (self.farthest(), self.determined) {
            (Some(farthest), _) if farthest < LEAST_ERRORS => {
                format!("parameters within {LEAST_ERRORS} standard errors")
            }
            (Some(farthest), _) => format!("parameters within {farthest:.1e} standard errors"),
            (None, true) => "parameters without standard errors".to_owned(),
            (None, false) => "the data leave its parameters open".to_owned(),
        };
        format!("MSE {}, this run {above}; {parameters}", figure(self.least))
    }

    /// The parameters as a table; nothing where they are many.
    pub fn table(&self) -> String {
        if self.parameters.len() > SHOWN || !self.determined {
            return String::new();
        }
        let width = self.parameters.iter().map(|p| p.name.chars().count()).max().unwrap_or(0).max(9);
        let mut text = format!(
            "\n{:<width$}  {:>14}  {:>14}  {:>14}\n",
            "parameter", "this run", "least squares", "standard error"
        );
        for p in &self.parameters {
            let error = p.standard_error.map_or("-".to_owned(), figure);
            let (name, reached, best) = (&p.name, figure(p.reached), figure(p.least_squares));
            let _ = writeln!(text, "{name:<width$}  {reached:>14}  {best:>14}  {error:>14}");
        }
        text
    }

    pub fn json(&self) -> Value {
        let parameters: Vec<Value> = self
            .parameters
            .iter()
            .map(|p| {
                json!({
                    "name": p.name,
                    "value": p.reached,
                    "least_squares": p.least_squares,
                    "standard_error": p.standard_error,
                })
            })
            .collect();
        json!({
            "mse": self.least,
            "excess": self.reached - self.least,
            "relative_excess": (self.reached - self.least) / self.least,
            "determined": self.determined,
            "farthest_in_standard_errors": self.farthest(),
            "parameters": parameters,
        })
    }
}

/// The way from standardised parameters to those of the data's own units, which is linear.
struct OwnUnits<'a, T: Scalar> {
    prepared: &'a Prepared<T>,
    width: usize,
    bias: bool,
}

impl<T: Scalar> OwnUnits<'_, T> {
    fn fold(&self, parameters: &[f64]) -> Result<Vec<f64>> {
        let weight = Array2::from_shape_fn((1, self.width), |(_, c)| parameters[c]);
        let bias = self.bias.then(|| Array1::from_elem(1, parameters[self.width]));
        let model = Linear::from_parts(weight, bias)?;
        let model = self.prepared.standardizer.as_ref().map_or(Ok(model.clone()), |s| s.fold(&model))?;
        Ok(model.weight().iter().copied().chain(model.bias().map(|bias| bias[0])).collect())
    }

    /// Of each parameter in the data's own units, which is a sum of standardised ones.
    fn standard_errors(&self, solved: &LeastSquares) -> Result<Vec<Option<f64>>> {
        let count = solved.parameters.len();
        // Column i is what the i-th standardised parameter adds to each.
        let unit = |i: usize| (0..count).map(|j| if i == j { 1.0 } else { 0.0 }).collect::<Vec<f64>>();
        let columns = (0..count).map(|i| self.fold(&unit(i))).collect::<Result<Vec<_>>>()?;
        let row = |j: usize| columns.iter().map(|column| column[j]).collect::<Vec<f64>>();
        Ok((0..count).map(|j| solved.standard_error(&row(j))).collect())
    }
}
