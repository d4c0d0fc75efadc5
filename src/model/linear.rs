//! The linear model.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Ix1, Ix2};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::Uniform;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Model;
use crate::error::{Error, Result};
use crate::kernels::{self, Rows};
use crate::parameter::Parameter;
use crate::scalar::Scalar;

/// How parameters start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Init {
    /// All zero: right for a convex loss, and the default.
    #[default]
    Zeros,
    /// Uniform between `-1/sqrt(inputs)` and `1/sqrt(inputs)`, as `torch.nn.Linear` starts.
    Uniform {
        /// The seed.
        seed: u64,
    },
}

/// `output = weight input + bias`: weight `[outputs, inputs]`, bias `[outputs]`, as `torch.nn.Linear`.
#[derive(Debug, Clone)]
pub struct Linear<T> {
    /// The weight, then the bias if there is one.
    parameters: Vec<Parameter<T>>,
    inputs: usize,
    outputs: usize,
}

impl<T: Scalar> Linear<T> {
    /// A model with a bias, all zero. The bias takes part in weight decay, as in PyTorch.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Linear::from_parts(Array2::zeros((outputs, inputs)), Some(Array1::zeros(outputs)))
            .expect("the shapes are made to fit")
    }

    /// A model without a bias, all zero.
    pub fn without_bias(inputs: usize, outputs: usize) -> Self {
        Linear::from_parts(Array2::zeros((outputs, inputs)), None).expect("there is no bias to misfit")
    }

    /// A model of the given weight `[outputs, inputs]` and bias `[outputs]`.
    ///
    /// # Errors
    /// [`Shape`](crate::ErrorKind::Shape) if the bias is not `[outputs]`.
    pub fn from_parts(weight: Array2<T>, bias: Option<Array1<T>>) -> Result<Self> {
        let (outputs, inputs) = weight.dim();
        let mut parameters = vec![Parameter::new("weight", weight)];
        if let Some(bias) = bias {
            if bias.len() != outputs {
                return Err(Error::shape("bias", &[outputs], &[bias.len()]));
            }
            parameters.push(Parameter::new("bias", bias));
        }
        Ok(Linear { parameters, inputs, outputs })
    }

    /// Sets all parameters to their starting values. Default: zeros.
    pub fn initialized(mut self, init: Init) -> Self {
        if let Init::Uniform { seed } = init {
            let bound = 1.0 / (self.inputs.max(1) as f64).sqrt();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let range = Uniform::new_inclusive(-bound, bound).expect("the bounds are finite and in order");
            for parameter in &mut self.parameters {
                let start = Array1::random_using(parameter.len(), range, &mut rng);
                for (value, start) in parameter.values_mut().iter_mut().zip(start) {
                    *value = T::from_f64(start);
                }
            }
        }
        self
    }

    /// The weight, `[outputs, inputs]`.
    pub fn weight(&self) -> ArrayView2<'_, T> {
        self.parameters[0].value().into_dimensionality::<Ix2>().expect("made as a matrix")
    }

    /// The bias, `[outputs]`, if there is one.
    pub fn bias(&self) -> Option<ArrayView1<'_, T>> {
        let bias = self.parameters.get(1)?;
        Some(bias.value().into_dimensionality::<Ix1>().expect("made as a vector"))
    }
}

impl<T: Scalar> Model<T> for Linear<T> {
    fn inputs(&self) -> usize {
        self.inputs
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn parameters(&self) -> &[Parameter<T>] {
        &self.parameters
    }

    fn parameters_mut(&mut self) -> &mut [Parameter<T>] {
        &mut self.parameters
    }

    fn linear_layer(&self) -> Option<[&[T]; 2]> {
        let bias = self.parameters.get(1).map_or(&[][..], Parameter::values);
        Some([self.parameters[0].values(), bias])
    }

    fn forward_row(&self, input: &[T], output: &mut [T]) {
        let weight = self.parameters[0].values();
        for (k, output) in output.iter_mut().enumerate() {
            *output = kernels::dot(&weight[k * self.inputs..(k + 1) * self.inputs], input);
        }
        if let Some(bias) = self.parameters.get(1) {
            kernels::add(output, bias.values());
        }
    }

    fn backward_row(&self, input: &[T], output_gradient: &[T], gradient: &mut [T]) {
        let (weight, bias) = gradient.split_at_mut(self.inputs * self.outputs);
        for (k, &g) in output_gradient.iter().enumerate() {
            kernels::add_scaled(&mut weight[k * self.inputs..(k + 1) * self.inputs], g, input);
        }
        if !bias.is_empty() {
            kernels::add(bias, output_gradient);
        }
    }

    fn forward_rows(&self, rows: &Rows<'_, T>, outputs: &mut [T]) {
        let bias = self.parameters.get(1).map_or(&[][..], Parameter::values);
        kernels::linear_forward(rows, self.parameters[0].values(), bias, outputs);
    }

    fn backward_rows(&self, rows: &Rows<'_, T>, output_gradient: &[T], gradient: &mut [T]) {
        let (weight, bias) = gradient.split_at_mut(self.inputs * self.outputs);
        kernels::linear_backward(rows, output_gradient, weight, bias);
    }

    fn backward_rows_anew(&self, rows: &Rows<'_, T>, output_gradient: &[T], gradient: &mut [T]) {
        let (weight, bias) = gradient.split_at_mut(self.inputs * self.outputs);
        kernels::linear_backward_anew(rows, output_gradient, weight, bias);
    }

    fn in_f64(&self) -> Option<Box<dyn Model<f64>>> {
        let parameters = self.parameters.iter().map(Parameter::in_f64).collect();
        Some(Box::new(Linear { parameters, inputs: self.inputs, outputs: self.outputs }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::Ledger;
    use ndarray::array;

    #[test]
    fn forward_and_backward_of_two_outputs_by_hand() {
        let weight = array![[1.0, 2.0], [3.0, -1.0]];
        let mut model = Linear::from_parts(weight, Some(array![0.5, -0.5])).unwrap();
        let x = array![[1.0, 1.0], [2.0, 0.0]];
        assert_eq!(model.forward(x.view()).unwrap(), array![[3.5, 1.5], [2.5, 5.5]]);

        model.backward(x.view(), array![[1.0, 0.0], [10.0, 1.0]].view()).unwrap();
        let [weight, bias] = model.parameters() else { panic!("two parameters") };
        assert_eq!(weight.gradients(), [21.0, 1.0, 2.0, 0.0]);
        assert_eq!(bias.gradients(), [11.0, 1.0]);
        assert_eq!(weight.ledger(), Ledger::Pending { passes: 1 });
        assert_eq!(model.zero_grad(), 1);
    }

    #[test]
    fn rows_of_the_wrong_width_are_refused() {
        let mut model = Linear::<f64>::new(2, 1);
        assert!(model.forward(array![[1.0]].view()).is_err());
        assert!(model.backward(array![[1.0, 2.0]].view(), array![[1.0, 2.0]].view()).is_err());
        assert!(Linear::from_parts(array![[1.0]], Some(array![1.0, 2.0])).is_err());
    }

    #[test]
    fn a_uniform_start_is_a_function_of_the_seed_and_within_its_bound() {
        let start = |seed| {
            let model = Linear::<f64>::new(16, 3).initialized(Init::Uniform { seed });
            model.parameters().iter().flat_map(|p| p.values().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(start(1), start(1));
        assert_ne!(start(1), start(2));
        assert!(start(1).iter().all(|v| v.abs() <= 0.25));
        assert!(start(1).iter().any(|v| v.abs() > 0.2));
    }
}
