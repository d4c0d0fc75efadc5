//! Steps of a softmax that one thread makes, with both halves of the columns.

use super::apart::Apart;
use super::column_descent::Decision;
use super::element::Element;
use super::exchange::Exchange;
use super::rows::Need;
use super::softmax_descent::{Batches, Pieces, Progress, Side, StepSupervisor, UnderWay};
use super::softmax_half::{Half, PieceRows};

/// Steps of one thread that has both halves. A piece of rows goes forward and back before the next one.
pub(super) struct LoneSteps<'a, T> {
    pub halves: &'a mut [Apart<Half<T>>; 2],
    pub side: &'a mut Side<T>,
    pub exchange: &'a mut Exchange<T>,
    pub batches: &'a Batches<'a, T>,
    pub supervisor: &'a mut dyn StepSupervisor,
}

impl<T: Element> LoneSteps<'_, T> {
    /// Takes them.
    pub fn run(self) -> Progress {
        let LoneSteps { halves, side, exchange, batches, supervisor } = self;
        let mut blocks = halves.each_ref().map(|half| half.block());
        // One piece after another in the place of the first.
        let numbers = Pieces::of_step(batches, 1).numbers(0);
        let mut logits = exchange.logits_of_both().map(|logits| &mut logits[numbers.clone()]);
        let mut progress = Progress::NONE;
        for step in 1..=batches.count() {
            let (batch, lr) = (batches.batch(step), T::from_f64(supervisor.lr()));
            let pieces = Pieces::of_step(batches, step);
            let distance = batch.distance_ahead(Need::Soon).max(pieces.room().min(batch.len()));
            let mut under_way = UnderWay::new(side, batches, pieces);
            for piece in 0..pieces.count() {
                let places = pieces.rows(piece);
                for ((half, block), logits) in halves.iter_mut().zip(&mut blocks).zip(&mut logits) {
                    let rows = PieceRows { batch, places: places.clone(), distance, labels: batches.labels };
                    // SAFETY: `Rows::new` has found each row's numbers to be there, and the block is of this half.
                    unsafe { half.forward(block, rows, logits, pieces.room()) };
                }
                let logits = logits.each_ref().map(|logits| &**logits);
                under_way.take(logits, batch.index().part(places.start, places.end));
                for (half, block) in halves.iter_mut().zip(&blocks) {
                    // SAFETY: `forward` has found these rows, and a piece has no more of them than it has room for.
                    unsafe { half.back(block, under_way.gradient(), piece == 0) };
                }
            }
            let (cost, bias_square) = under_way.make_step(lr);
            let [first, second] = halves.each_mut().map(|half| half.make_step(T::from_f64(cost.weight), lr));
            let decision = supervisor.step(cost, (first + second).as_f64() + bias_square.as_f64());
            progress.count(decision);
            if decision != Decision::Refused {
                halves.iter_mut().for_each(|half| half.swap_values());
                side.swap_values();
            }
            if progress.is_over {
                break;
            }
        }
        progress
    }
}
