//! Losses and models whose gradients are wrong, and a loss to spoil.

use gradus::{
    BinaryCrossEntropy, Linear, Loss, LossValue, Model, Parameter, Reduction, Result, RowLoss, Target, TargetKind,
    Targets,
};
use ndarray::{Array1, Array2, ArrayView2};

/// A loss whose gradient is spoilt row by row.
pub struct SpoiltRow<L>(pub L, pub fn(&[f64], Target<'_, f64>, &mut [f64]));

impl<L: Loss<f64>> Loss<f64> for SpoiltRow<L> {
    fn name(&self) -> &'static str {
        "spoilt"
    }
    fn target_kind(&self) -> TargetKind {
        self.0.target_kind()
    }
    fn row(&self, logits: &[f64], target: Target<'_, f64>, gradient: &mut [f64]) -> RowLoss<f64> {
        let value = self.0.row(logits, target, gradient);
        (self.1)(logits, target, gradient);
        value
    }
}

/// A loss whose gradient is spoilt for the batch as a whole.
pub struct SpoiltBatch<L>(pub L, pub fn(&mut Array2<f64>));

impl<L: Loss<f64>> Loss<f64> for SpoiltBatch<L> {
    fn name(&self) -> &'static str {
        "spoilt"
    }
    fn target_kind(&self) -> TargetKind {
        self.0.target_kind()
    }
    fn row(&self, logits: &[f64], target: Target<'_, f64>, gradient: &mut [f64]) -> RowLoss<f64> {
        self.0.row(logits, target, gradient)
    }
    fn evaluate(
        &self,
        logits: ArrayView2<'_, f64>,
        targets: &Targets<'_, f64>,
        reduction: Reduction,
    ) -> Result<LossValue<f64>> {
        let mut value = self.0.evaluate(logits, targets, reduction)?;
        (self.1)(&mut value.gradient);
        Ok(value)
    }
}

/// A loss whose gradient is that of another.
pub struct GradientOf<A, B>(pub A, pub B);

impl<A: Loss<f64>, B: Loss<f64>> Loss<f64> for GradientOf<A, B> {
    fn name(&self) -> &'static str {
        "two losses"
    }
    fn target_kind(&self) -> TargetKind {
        self.0.target_kind()
    }
    fn row(&self, logits: &[f64], target: Target<'_, f64>, gradient: &mut [f64]) -> RowLoss<f64> {
        let value = self.0.row(logits, target, gradient);
        self.1.row(logits, target, gradient);
        value
    }
}

/// What spoils a backward pass: inputs, gradient of the outputs, and the gradient of weight and bias to be changed.
pub type Spoil = fn(ArrayView2<'_, f64>, ArrayView2<'_, f64>, &mut Array2<f64>, &mut Array1<f64>);

/// A linear model whose backward pass over a batch is spoilt.
pub struct SpoiltModel(pub Linear<f64>, pub Spoil);

impl Model<f64> for SpoiltModel {
    fn inputs(&self) -> usize {
        self.0.inputs()
    }
    fn outputs(&self) -> usize {
        self.0.outputs()
    }
    fn parameters(&self) -> &[Parameter<f64>] {
        self.0.parameters()
    }
    fn parameters_mut(&mut self) -> &mut [Parameter<f64>] {
        self.0.parameters_mut()
    }
    fn forward_row(&self, input: &[f64], output: &mut [f64]) {
        self.0.forward_row(input, output);
    }
    fn backward_row(&self, input: &[f64], output_gradient: &[f64], gradient: &mut [f64]) {
        self.0.backward_row(input, output_gradient, gradient);
    }
    fn backward(&mut self, inputs: ArrayView2<'_, f64>, output_gradient: ArrayView2<'_, f64>) -> Result<()> {
        let mut weight = output_gradient.t().dot(&inputs);
        let mut bias = output_gradient.sum_axis(ndarray::Axis(0));
        (self.1)(inputs, output_gradient, &mut weight, &mut bias);
        let [w, b] = self.parameters_mut() else { panic!("two parameters") };
        w.accumulate(weight.as_standard_layout().as_slice().unwrap())?;
        b.accumulate(bias.as_slice().unwrap())
    }
}

/// Each class's own sigmoid, against a class index.
pub struct Probabilities;

impl Loss<f64> for Probabilities {
    fn name(&self) -> &'static str {
        "one sigmoid a class"
    }
    fn target_kind(&self) -> TargetKind {
        TargetKind::Classes
    }
    fn row(&self, logits: &[f64], target: Target<'_, f64>, gradient: &mut [f64]) -> RowLoss<f64> {
        let onehot: Vec<f64> = (0..logits.len()).map(|k| f64::from(u8::from(k == target.class()))).collect();
        BinaryCrossEntropy::new().row(logits, Target::Values(&onehot), gradient)
    }
}
