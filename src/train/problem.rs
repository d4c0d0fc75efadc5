//! Rows taken forward to their losses and back to sums, by one thread.

use crate::data::Dataset;
use crate::kernels::{self, Aligned, Batches, ColumnDescent, OutputLoss, RowIndex, RowTargets, Rows, SoftmaxRoom};
use crate::loss::{Loss, LossSum, Targets};
use crate::model::Model;
use crate::scalar::Scalar;

/// Bytes of features that are read from memory once and then from the cache: a tile of rows goes forward and back before
/// the next.
const TILE_BYTES: usize = 256 * 1024;
const TILE_ROWS: (usize, usize) = (16, 256);

/// Rows in memory, their layout asked for once.
pub(crate) struct Samples<'a, T> {
    /// One row after another.
    features: &'a [T],
    /// Features of a row.
    width: usize,
    targets: Targets<'a, T>,
}

impl<'a, T: Scalar> Samples<'a, T> {
    /// The rows of a data set.
    #[inline(always)]
    pub fn of(data: &'a Dataset<T>) -> Self {
        Samples { features: data.all_features(), width: data.features().ncols(), targets: data.targets() }
    }

    #[inline(always)]
    fn rows<'b>(&self, index: RowIndex<'b>, ahead: RowIndex<'b>) -> Rows<'b, T>
    where
        'a: 'b,
    {
        Rows::new(self.features, self.width, index).ahead(ahead)
    }

    /// What a pass over all rows, so many, needs again and again, where the kernels know the loss of one output.
    pub fn one_output<L: Loss<T> + ?Sized>(&self, loss: &L, rows: usize) -> Option<OneOutput<'a, T>> {
        let all = RowIndex::range(0, rows);
        let (loss, targets) = (loss.output_loss()?, self.targets.single_values()?);
        Some(OneOutput { rows: self.rows(all, RowIndex::NONE), targets, loss, weight: targets.total_weight(all) })
    }

    /// Batches of rows up to one in which no row counts, where the kernels know the loss as that of a softmax. None, if
    /// there is no such batch.
    pub fn batches<'b, L: Loss<T> + ?Sized>(
        &'b self,
        loss: &'b L,
        classes: usize,
        rows: RowIndex<'b>,
        each: usize,
    ) -> Option<Batches<'b, T>> {
        let labels = self.targets.labels(loss.softmax_loss()?)?;
        let batch = |number: usize| rows.part(number * each, (number + 1) * each);
        let counts = |number: &usize| batch(*number).iter().any(|row| labels.counts(row));
        let counting = (0..rows.len().div_ceil(each)).take_while(counts).count();
        let rows = rows.part(0, counting * each);
        let (matrix, width) = (self.features, self.width);
        (counting > 0).then_some(Batches { matrix, width, classes, rows, each, labels })
    }
}

/// A model, its loss, and the rows they are applied to.
pub(crate) struct Problem<'a, T, M: ?Sized, L: ?Sized> {
    pub model: &'a M,
    pub loss: &'a L,
    pub samples: &'a Samples<'a, T>,
}

impl<T, M: ?Sized, L: ?Sized> Clone for Problem<'_, T, M, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, M: ?Sized, L: ?Sized> Copy for Problem<'_, T, M, L> {}

// What gets rows is in line, so that which rows they are need not be copied through memory.
impl<T: Scalar, M: Model<T> + ?Sized, L: Loss<T> + ?Sized> Problem<'_, T, M, L> {
    /// Writes the gradient of rows over `gradient`, and returns their loss, where that is done in one pass: the model is a
    /// linear layer, and the kernels know the loss.
    #[inline(always)]
    fn one_pass(
        &self,
        index: RowIndex<'_>,
        ahead: RowIndex<'_>,
        gradient: &mut [T],
        room: Option<&mut SoftmaxRoom<T>>,
    ) -> Option<LossSum> {
        let outputs = self.model.outputs();
        if outputs != 1 {
            return self.several_outputs(outputs, index, ahead, gradient, room);
        }
        let (loss, targets) = (self.loss.output_loss()?, self.samples.targets.single_values()?);
        let layer = linear_layer(self.model, outputs, gradient.len())?;
        let loss = loss_and_gradient(&self.samples.rows(index, ahead), targets, loss, layer, gradient);
        Some(LossSum { loss, weight: targets.total_weight(index) })
    }

    // A function of its own: what it needs on the stack would slow down the other.
    #[inline(never)]
    fn several_outputs(
        &self,
        outputs: usize,
        index: RowIndex<'_>,
        ahead: RowIndex<'_>,
        gradient: &mut [T],
        room: Option<&mut SoftmaxRoom<T>>,
    ) -> Option<LossSum> {
        let labels = self.samples.targets.labels(self.loss.softmax_loss()?)?;
        let layer = linear_layer(self.model, outputs, gradient.len())?;
        let gradient = gradient.split_at_mut(layer[0].len()).into();
        kernels::linear_softmax(&self.samples.rows(index, ahead), outputs, layer, labels, gradient, room?)
    }
}

/// Weight and bias of a model that is a linear layer with so many parameters. One that is not all there goes the long way.
#[inline(always)]
pub(super) fn linear_layer<T, M>(model: &M, outputs: usize, parameters: usize) -> Option<[&[T]; 2]>
where
    T: Scalar,
    M: Model<T> + ?Sized,
{
    let layer = model.linear_layer()?;
    let [weight, bias] = layer;
    let fits = weight.len() == model.inputs() * outputs
        && (bias.is_empty() || bias.len() == outputs)
        && weight.len() + bias.len() == parameters;
    fits.then_some(layer)
}

/// Writes the gradient of a linear layer of one output over `gradient`, and returns the loss.
#[inline(always)]
fn loss_and_gradient<T: Scalar>(
    rows: &Rows<'_, T>,
    targets: RowTargets<'_, T>,
    loss: OutputLoss<T>,
    layer: [&[T]; 2],
    gradient: &mut [T],
) -> f64 {
    let gradient = gradient.split_at_mut(layer[0].len()).into();
    kernels::linear_loss(rows, layer, targets, loss, gradient)
}

/// Rows of one output, and a loss that the kernels know.
pub(super) struct OneOutput<'a, T> {
    rows: Rows<'a, T>,
    targets: RowTargets<'a, T>,
    loss: OutputLoss<T>,
    /// What the rows count together.
    weight: f64,
}

impl<'a, T: Scalar> OneOutput<'a, T> {
    /// Writes the gradient of a linear layer over `gradient`, and returns the loss.
    #[inline(always)]
    pub fn sum(&self, layer: [&[T]; 2], gradient: &mut [T]) -> LossSum {
        let loss = loss_and_gradient(&self.rows, self.targets, self.loss, layer, gradient);
        LossSum { loss, weight: self.weight }
    }

    /// Descent from weight and bias, if a row is a single number and counts once, and the rows are few.
    pub fn column_descent(&self, weight: T, bias: Option<T>, lr: T) -> Option<ColumnDescent<'a, T>> {
        let &OneOutput { ref rows, targets: RowTargets { values: targets, weights: None }, loss, .. } = self else {
            return None;
        };
        let inputs = rows.contiguous().filter(|_| rows.width() == 1)?;
        let targets = &targets[..inputs.len()];
        let descent = ColumnDescent { inputs, targets, loss, lr, weight, bias };
        descent.is_short().then_some(descent)
    }
}

/// One thread's room to work in.
#[derive(Debug)]
pub(super) struct Scratch<T> {
    /// `[tile, outputs]`, or fewer while no more rows have come at once: one pass needs none.
    logits: Aligned<T>,
    output_gradient: Aligned<T>,
    /// Where there are several outputs: it is large, and to ask the system for it takes as long as a hundred short steps.
    room: Option<Box<SoftmaxRoom<T>>>,
    /// Rows of a tile.
    tile: usize,
    outputs: usize,
    /// What the squares of a part of a shared step's gradient add up to, block by block.
    pub squares: Vec<T>,
}

impl<T: Scalar> Scratch<T> {
    /// For a model of so many inputs and outputs, and so many blocks of squares: a step allocates only for more rows than any
    /// before had.
    pub fn new(inputs: usize, outputs: usize, blocks: usize) -> Self {
        let row_bytes = (inputs * size_of::<T>()).max(1);
        let tile = (TILE_BYTES / row_bytes).clamp(TILE_ROWS.0, TILE_ROWS.1);
        Scratch {
            logits: Aligned::zeros(0),
            output_gradient: Aligned::zeros(0),
            room: (outputs > 1).then(Box::default),
            tile,
            outputs,
            squares: Vec::with_capacity(blocks),
        }
    }

    /// Writes the gradient of rows over `gradient`, that of all parameters one after another, and returns their loss. Asks
    /// memory for the rows ahead. In line as are `Problem`'s.
    #[inline(always)]
    pub fn sum_rows<M, L>(
        &mut self,
        problem: &Problem<'_, T, M, L>,
        rows: RowIndex<'_>,
        ahead: RowIndex<'_>,
        gradient: &mut [T],
    ) -> LossSum
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        if let Some(loss) = problem.one_pass(rows, ahead, gradient, self.room.as_deref_mut()) {
            return loss;
        }
        let (mut sum, mut anew) = (LossSum::default(), true);
        let tile = evenly(rows.len(), self.tile);
        self.each_tile(problem, rows, ahead, tile, |input, output_gradient, tile| {
            if std::mem::take(&mut anew) {
                problem.model.backward_rows_anew(input, output_gradient, gradient);
            } else {
                problem.model.backward_rows(input, output_gradient, gradient);
            }
            sum += tile;
        });
        if anew {
            gradient.fill(T::zero());
        }
        sum
    }

    /// The loss of rows, with nothing but the forward pass.
    pub fn loss_of<M, L>(&mut self, problem: &Problem<'_, T, M, L>, rows: RowIndex<'_>) -> LossSum
    where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        let mut sum = LossSum::default();
        self.each_tile(problem, rows, RowIndex::NONE, self.tile, |_, _, tile| sum += tile);
        sum
    }

    /// Takes rows forward to their losses, `tile` at a time, and hands on each tile, what comes back to its outputs, and
    /// its loss. `ahead` are the rows after these.
    fn each_tile<M, L>(
        &mut self,
        problem: &Problem<'_, T, M, L>,
        rows: RowIndex<'_>,
        ahead: RowIndex<'_>,
        tile: usize,
        mut f: impl FnMut(&Rows<'_, T>, &[T], LossSum),
    ) where
        M: Model<T> + ?Sized,
        L: Loss<T> + ?Sized,
    {
        let most = rows.len().min(tile) * self.outputs;
        if self.logits.len() < most {
            (self.logits, self.output_gradient) = (Aligned::zeros(most), Aligned::zeros(most));
        }
        let mut place = 0;
        while place < rows.len() {
            let now = rows.part(place, place + tile);
            place += now.len();
            let next = rows.part(place, place + tile);
            let input = problem.samples.rows(now, if next.is_empty() { ahead } else { next });
            let logits = &mut self.logits[..now.len() * self.outputs];
            let output_gradient = &mut self.output_gradient[..now.len() * self.outputs];
            problem.model.forward_rows(&input, logits);
            let value = problem.loss.weighted_rows(logits, &problem.samples.targets, now, output_gradient);
            f(&input, output_gradient, value);
        }
    }
}

/// The least rows of which no more pieces are needed than of `most`: pieces of about one length.
fn evenly(rows: usize, most: usize) -> usize {
    if rows <= most { rows.max(1) } else { rows.div_ceil(rows.div_ceil(most)) }
}
