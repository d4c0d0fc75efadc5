//! How far a regression ended from the least-squares solution, in loss and in parameters.

use std::fmt::Write;

use gradus::diagnose::least_squares;
use gradus::{Linear, Result, Scalar};
use ndarray::{Array1, Array2};
use serde_json::{Value, json};

use super::output::{count, figure};
use super::prepare::{Prepared, source_columns};

/// A run's parameters beside those of least squares, in the data's own units.
pub struct Comparison {
    /// The least mean squared error, and the run's.
    least: f64,
    reached: f64,
    determined: bool,
    parameters: Vec<Compared>,
    /// Where the data leave parameters open: what they determine all the same, and the names of what they do not.
    instead: Option<Instead>,
}

struct Compared {
    name: String,
    reached: f64,
    least_squares: f64,
    /// None where the data leave the parameter open.
    standard_error: Option<f64>,
}

/// What can be told of parameters that the data do not determine one by one.
struct Instead {
    /// Parameters that are determined, differences of a text's values from its first, and the bias at the first values.
    sums: Vec<Compared>,
    /// The features of the first values.
    first_values: Vec<String>,
    /// The columns of which nothing can be told.
    open: Vec<String>,
}

/// More parameters than this are for `--json` alone.
const SHOWN: usize = 12;

impl Comparison {
    /// Compares a trained model whose mean squared error is `reached`; `None` for a loss that is not MSE or not finite,
    /// or data so large that it would take as long as training.
    pub fn of<T: Scalar>(prepared: &Prepared<T>, reached: f64) -> Result<Option<Self>> {
        let model = &prepared.model;
        let bias = model.bias().is_some();
        // Rows whose steps were left out may cost anything: there is nothing to compare.
        if prepared.loss_name != "mse" || !reached.is_finite() {
            return Ok(None);
        }
        let Some(solved) = least_squares(&prepared.data, bias) else { return Ok(None) };
        let own_units = OwnUnits::of(prepared, bias, solved.parameters.len())?;
        let weights = Array2::from_shape_fn(model.weight().dim(), |(k, c)| model.weight()[[k, c]].as_f64());
        let run = weights.iter().copied().chain(model.bias().map(|bias| bias[0].as_f64())).collect::<Vec<f64>>();
        let compared = |name: String, sum: &[f64]| {
            let a = own_units.standardised(sum);
            Compared {
                name,
                reached: dot(&a, &run),
                least_squares: dot(&a, &solved.parameters),
                standard_error: solved.standard_error(&a),
            }
        };
        let count = solved.parameters.len();
        let names = prepared.data.feature_names().iter().cloned().chain(bias.then(|| "bias".to_owned()));
        let parameters = names.enumerate().map(|(at, name)| compared(name, &unit(at, count))).collect();
        let is_determined = |sum: &[f64]| solved.is_determined(&own_units.standardised(sum));
        let instead = (!solved.determined).then(|| Instead::of(prepared, bias, is_determined, compared));
        Ok(Some(Comparison { least: solved.mse, reached, determined: solved.determined, parameters, instead }))
    }

    /// What is set against least squares: each parameter, or what is determined instead.
    fn compared(&self) -> &[Compared] {
        self.instead.as_ref().map_or(&self.parameters, |instead| &instead.sums)
    }

    /// The largest distance of a parameter from least squares, in its standard errors.
    fn farthest(&self) -> Option<f64> {
        let distance =
            |p: &Compared| Some((p.reached - p.least_squares).abs() / p.standard_error.filter(|e| *e > 0.0)?);
        let distances: Option<Vec<f64>> = self.compared().iter().map(distance).collect();
        distances.filter(|all| !all.is_empty()).map(|all| all.into_iter().fold(0.0, f64::max))
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
        let parameters = match self.instead.as_ref().map_or(0, |instead| instead.open.len()) {
            0 => parameters,
            _ if self.compared().is_empty() => parameters,
            open => format!("{parameters}; {} left open", count(open, "column")),
        };
        format!("MSE {}, this run {above}; {parameters}", figure(self.least))
    }

    /// The parameters as a table; nothing where they are many.
    pub fn table(&self) -> String {
        let compared = self.compared();
        if compared.len() > SHOWN || compared.is_empty() {
            return String::new();
        }
        let width = compared.iter().map(|p| p.name.chars().count()).max().unwrap_or(0).max(9);
        let mut text = format!(
            "\n{:<width$}  {:>14}  {:>14}  {:>14}\n",
            "parameter", "this run", "least squares", "standard error"
        );
        for p in compared {
            let error = p.standard_error.map_or("-".to_owned(), figure);
            let (name, reached, best) = (&p.name, figure(p.reached), figure(p.least_squares));
            let _ = writeln!(text, "{name:<width$}  {reached:>14}  {best:>14}  {error:>14}");
        }
        if let Some(Instead { first_values, open, .. }) = &self.instead {
            if !first_values.is_empty() {
                let first = first_values.join(", ");
                let _ = writeln!(text, "of a text only differences are determined; the bias is for {first}");
            }
            if !open.is_empty() {
                let _ = writeln!(text, "left open, since other columns make them up: {}", open.join(", "));
            }
        }
        text
    }

    pub fn json(&self) -> Value {
        let each = |compared: &[Compared]| -> Vec<Value> {
            let one = |p: &Compared| {
                json!({
                    "name": p.name,
                    "value": p.reached,
                    "least_squares": p.least_squares,
                    "standard_error": p.standard_error,
                })
            };
            compared.iter().map(one).collect()
        };
        json!({
            "mse": self.least,
            "excess": self.reached - self.least,
            "relative_excess": (self.reached - self.least) / self.least,
            "determined": self.determined,
            "farthest_in_standard_errors": self.farthest(),
            "parameters": each(&self.parameters),
            "determined_sums": self.instead.as_ref().map(|instead| each(&instead.sums)),
        })
    }
}

impl Instead {
    fn of<T: Scalar>(
        prepared: &Prepared<T>,
        bias: bool,
        is_determined: impl Fn(&[f64]) -> bool,
        compared: impl Fn(String, &[f64]) -> Compared,
    ) -> Self {
        let names = prepared.data.feature_names();
        let count = names.len() + usize::from(bias);
        let (mut sums, mut first_values, mut open) = (Vec::new(), Vec::new(), Vec::new());
        let mut at_first_values = unit(names.len(), count);
        for column in source_columns(&prepared.schema) {
            let first = column.features.start;
            if column.features.clone().all(|feature| is_determined(&unit(feature, count))) {
                sums.extend(column.features.map(|feature| compared(names[feature].clone(), &unit(feature, count))));
                continue;
            }
            let difference = |feature: usize| {
                let mut sum = unit(feature, count);
                sum[first] = -1.0;
                sum
            };
            let others = first + 1..column.features.end;
            if !column.one_hot || !others.clone().all(|feature| is_determined(&difference(feature))) {
                open.push(column.name);
                continue;
            }
            let value = |feature: usize| names[feature].strip_prefix(&format!("{}=", column.name)).unwrap_or_default();
            let name = |feature: usize| format!("{}: {} - {}", column.name, value(feature), value(first));
            sums.extend(others.map(|feature| compared(name(feature), &difference(feature))));
            first_values.push(names[first].clone());
            at_first_values[first] = 1.0;
        }
        if bias && is_determined(&at_first_values) {
            sums.push(compared("bias".to_owned(), &at_first_values));
        } else if bias {
            open.push("bias".to_owned());
        }
        Instead { sums, first_values, open }
    }
}

/// The vector that picks one of `count` parameters; all of it is 0 for one beyond them.
fn unit(at: usize, count: usize) -> Vec<f64> {
    (0..count).map(|i| if i == at { 1.0 } else { 0.0 }).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The way from standardised parameters to those of the data's own units, which is linear.
struct OwnUnits {
    /// What each standardised parameter adds to each in own units.
    columns: Vec<Vec<f64>>,
}

impl OwnUnits {
    fn of<T: Scalar>(prepared: &Prepared<T>, bias: bool, count: usize) -> Result<Self> {
        let width = prepared.data.features().ncols();
        let fold = |parameters: &[f64]| {
            let weight = Array2::from_shape_fn((1, width), |(_, c)| parameters[c]);
            let bias = bias.then(|| Array1::from_elem(1, parameters[width]));
            let model = Linear::from_parts(weight, bias)?;
            let model = prepared.standardizer.as_ref().map_or(Ok(model.clone()), |s| s.fold(&model))?;
            Ok(model.weight().iter().copied().chain(model.bias().map(|bias| bias[0])).collect())
        };
        Ok(OwnUnits { columns: (0..count).map(|i| fold(&unit(i, count))).collect::<Result<_>>()? })
    }

    /// A sum of parameters in own units as one of standardised parameters.
    fn standardised(&self, sum: &[f64]) -> Vec<f64> {
        self.columns.iter().map(|column| dot(column, sum)).collect()
    }
}
