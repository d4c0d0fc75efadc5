//! Models: from a row of features to a row of outputs, and back from the outputs' gradient to the parameters'.
//!
//! Like a loss, a model is written for **one row**: batches, threads and accumulation windows are sums of rows.

mod linear;

use ndarray::{Array2, ArrayView2, CowArray, Ix2};

use crate::error::{Error, Result};
use crate::kernels::{RowIndex, Rows};
use crate::parameter::Parameter;
use crate::scalar::Scalar;

pub use linear::{Init, Linear};

/// A model, written for one row.
pub trait Model<T: Scalar>: Send + Sync {
    /// Features of a row.
    fn inputs(&self) -> usize;

    /// Outputs of a row.
    fn outputs(&self) -> usize;

    /// The parameters, always in the same order.
    fn parameters(&self) -> &[Parameter<T>];

    /// The parameters, to change.
    fn parameters_mut(&mut self) -> &mut [Parameter<T>];

    /// Writes the outputs (`[outputs]`) of one row (`[inputs]`).
    fn forward_row(&self, input: &[T], output: &mut [T]);

    /// Adds one row's gradient to `gradient`: that of all parameters, one after another in their order, each row
    /// by row. `output_gradient` is `[outputs]`.
    fn backward_row(&self, input: &[T], output_gradient: &[T], gradient: &mut [T]);

    /// Writes the outputs of several rows, `[rows, outputs]`. Default: [`forward_row`](Model::forward_row) for each.
    fn forward_rows(&self, rows: &Rows<'_, T>, outputs: &mut [T]) {
        let each = self.outputs();
        for (place, input) in rows.iter().enumerate() {
            self.forward_row(input, &mut outputs[place * each..(place + 1) * each]);
        }
    }

    /// Adds the gradient of several rows to `gradient`, as [`backward_row`](Model::backward_row) does, which is the
    /// default for each. `output_gradient` is `[rows, outputs]`.
    fn backward_rows(&self, rows: &Rows<'_, T>, output_gradient: &[T], gradient: &mut [T]) {
        let each = self.outputs();
        for (place, input) in rows.iter().enumerate() {
            self.backward_row(input, &output_gradient[place * each..(place + 1) * each], gradient);
        }
    }

    /// Writes the gradient of all parameters, summed over these rows, over `gradient`, one parameter after another.
    /// `output_gradient` is `[rows, outputs]`. Training takes the first rows of a shard by this way and the others by
    /// [`backward_rows`](Model::backward_rows): both must give the same numbers. Default: zeros, and that method.
    fn backward_rows_anew(&self, rows: &Rows<'_, T>, output_gradient: &[T], gradient: &mut [T]) {
        gradient.fill(T::zero());
        self.backward_rows(rows, output_gradient, gradient);
    }

    /// The outputs of a batch, `[rows, outputs]`. `inputs` is `[rows, inputs]`.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if the rows have another number of features.
    fn forward(&self, inputs: ArrayView2<'_, T>) -> Result<Array2<T>> {
        check_columns("inputs", self.inputs(), &inputs)?;
        let inputs = inputs.as_standard_layout();
        let mut outputs = Array2::zeros((inputs.nrows(), self.outputs()));
        self.forward_rows(&all_rows(&inputs), outputs.as_slice_mut().expect("standard layout"));
        Ok(outputs)
    }

    /// A backward pass: adds the batch's gradient to that of each parameter, and notes it in their ledgers.
    /// `inputs` is `[rows, inputs]`, `output_gradient` `[rows, outputs]`.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if the two do not fit the model or each other.
    fn backward(&mut self, inputs: ArrayView2<'_, T>, output_gradient: ArrayView2<'_, T>) -> Result<()> {
        check_columns("inputs", self.inputs(), &inputs)?;
        let expected = [inputs.nrows(), self.outputs()];
        if output_gradient.shape() != expected {
            return Err(Error::shape("output gradient", &expected, output_gradient.shape()));
        }
        let (inputs, output_gradient) = (inputs.as_standard_layout(), output_gradient.as_standard_layout());
        let mut gradient = vec![T::zero(); parameter_count(self.parameters())];
        let output_gradient = output_gradient.as_slice().expect("standard layout");
        self.backward_rows(&all_rows(&inputs), output_gradient, &mut gradient);
        accumulate(self.parameters_mut(), &gradient)
    }

    /// For a model that is `weight input + bias` and nothing else, the values of its only parameters: the weight, `[outputs,
    /// inputs]`, which comes first, and the bias, `[outputs]`, or none. The curvature of its loss is then known from the
    /// data, and training goes forward and back in one pass with losses that kernels know
    /// ([`output_loss`](crate::Loss::output_loss), [`softmax_loss`](crate::Loss::softmax_loss)), **without** calling
    /// `forward_rows` and the methods that go backward: a model that changes them leaves this as it is. It does not change
    /// during a run but for the values. Default: `None`, it is another model.
    fn linear_layer(&self) -> Option<[&[T]; 2]> {
        None
    }

    /// Sets every gradient to zero where a window begins, and returns how many backward passes were thrown away
    /// unstepped, of which the next step warns.
    fn zero_grad(&mut self) -> u64 {
        zero_grad(self.parameters_mut())
    }

    /// The same model in double precision, its parameters of the same values: a gradient check of single precision needs
    /// it, as it needs [`Loss::in_f64`](crate::Loss::in_f64). Default: `None`, there is none.
    ///
    /// ```
    /// use gradus::{Linear, Model};
    ///
    /// let model = Linear::from_parts(ndarray::array![[0.1_f32]], None)?;
    /// let double = model.in_f64().expect("every `Linear` has one");
    /// assert_eq!(double.parameters()[0].values(), [0.1_f32 as f64]);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    fn in_f64(&self) -> Option<Box<dyn Model<f64>>> {
        None
    }

    /// Sets every gradient to zero to leave a window out on purpose, and returns how many backward passes were thrown
    /// away. No step warns of it.
    fn discard_grad(&mut self) -> u64 {
        discard_grad(self.parameters_mut())
    }
}

/// The number of elements of all parameters together.
pub fn parameter_count<T: Scalar>(parameters: &[Parameter<T>]) -> usize {
    parameters.iter().map(Parameter::len).sum()
}

/// Adds one backward pass's gradient of all parameters, one after another, to each.
///
/// # Errors
/// [`Shape`](crate::ErrorKind::Shape) if its length is not that of all parameters together.
pub fn accumulate<T: Scalar>(parameters: &mut [Parameter<T>], gradient: &[T]) -> Result<()> {
    each_part(parameters, [gradient], |parameter, [own]| parameter.accumulate(own))
}

/// Puts `sum / divisor` in place of the gradient of all parameters, one after another: zeros and one backward pass.
///
/// # Errors
/// [`Shape`](crate::ErrorKind::Shape) if the sum's length is not that of all parameters together.
pub fn replace_gradients<T: Scalar>(parameters: &mut [Parameter<T>], sum: &[T], divisor: T) -> Result<()> {
    each_part(parameters, [sum], |parameter, [own]| parameter.replace_gradient(own, divisor))
}

/// The same, of the sum of two sums, which are added on the way.
pub(crate) fn replace_gradients_of_sum<T: Scalar>(
    parameters: &mut [Parameter<T>],
    sums: [&[T]; 2],
    divisor: T,
) -> Result<()> {
    each_part(parameters, sums, |parameter, own| parameter.replace_gradient_of_sum(own, divisor))
}

/// Gives each parameter its part of gradients of all.
fn each_part<T: Scalar, const N: usize>(
    parameters: &mut [Parameter<T>],
    gradients: [&[T]; N],
    mut give: impl FnMut(&mut Parameter<T>, [&[T]; N]) -> Result<()>,
) -> Result<()> {
    let count = parameter_count(parameters);
    if let Some(gradient) = gradients.iter().find(|gradient| gradient.len() != count) {
        return Err(Error::shape("gradient", &[count], &[gradient.len()]));
    }
    let mut start = 0;
    for parameter in parameters {
        let end = start + parameter.len();
        give(parameter, gradients.map(|gradient| &gradient[start..end]))?;
        start = end;
    }
    Ok(())
}

/// Sets every gradient to zero, and returns the largest number of backward passes thrown away unstepped.
pub fn zero_grad<T: Scalar>(parameters: &mut [Parameter<T>]) -> u64 {
    parameters.iter_mut().map(Parameter::zero_grad).max().unwrap_or(0)
}

/// The same for a window that is left out on purpose: no step warns of it.
pub fn discard_grad<T: Scalar>(parameters: &mut [Parameter<T>]) -> u64 {
    parameters.iter_mut().map(Parameter::discard_grad).max().unwrap_or(0)
}

/// All rows of an array in standard layout.
fn all_rows<'a, T>(inputs: &'a CowArray<'_, T, Ix2>) -> Rows<'a, T> {
    let (len, width) = inputs.dim();
    Rows::new(inputs.as_slice().expect("standard layout"), width, RowIndex::range(0, len))
}

fn check_columns<T>(what: &str, columns: usize, array: &ArrayView2<'_, T>) -> Result<()> {
    if array.ncols() == columns { Ok(()) } else { Err(Error::shape(what, &[array.nrows(), columns], array.shape())) }
}
