//! Steps of a softmax that one thread makes, with both halves of the columns.

use super::apart::Apart;
use super::column_descent::Decision;
use super::element::Element;
use super::exchange::Exchange;
use super::lanes::Lanes;
use super::level::Kernel;
use super::rows::Need;
use super::softmax_descent::{Batches, Progress, Side, StepSupervisor, UnderWay, piece_rows, pieces};
use super::softmax_half::Half;

/// Steps of one thread that has both halves. A piece of rows goes forward and back before the next one.
pub struct LoneSteps<'a, T> {
    pub(super) halves: &'a mut [Apart<Half<T>>; 2],
    pub(super) side: &'a mut Side<T>,
    pub(super) exchange: &'a mut Exchange<T>,
    pub(super) batches: &'a Batches<'a, T>,
    pub(super) supervisor: &'a mut dyn StepSupervisor,
}

impl<T: Element> Kernel<T> for LoneSteps<'_, T> {
    type Output = Progress;

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) -> Progress {
        let LoneSteps { halves, side, exchange, batches, supervisor } = self;
        let Batches { classes, labels, .. } = *batches;
        let piece_rows = piece_rows::<V>(batches);
        let mut blocks = halves.each_ref().map(|half| half.block());
        let mut logits = exchange.logits_of_both().map(|logits| &mut logits[..piece_rows * classes]);
        let mut progress = Progress::NONE;
        for step in 1..=batches.count() {
            let (rows, lr) = (batches.batch(step), T::from_f64(supervisor.lr()));
            let distance = rows.distance_ahead(Need::Soon).max(piece_rows.min(rows.len()));
            let mut under_way = UnderWay::<V>::new(side, batches);
            for (place, count) in pieces(rows.len(), piece_rows) {
                for ((half, block), logits) in halves.iter_mut().zip(&mut blocks).zip(&mut logits) {
                    for &row in block.find(&rows, place, count, distance) {
                        labels.prefetch(row);
                    }
                    // SAFETY: `Rows::new` has found each row's numbers to be there.
                    unsafe { half.forward::<V>(block, logits, piece_rows) };
                }
                under_way.take(logits.each_ref().map(|logits| &**logits), rows.index().part(place, place + count));
                for (half, block) in halves.iter_mut().zip(&blocks) {
                    // SAFETY: as above, and the piece has room for `piece_rows`.
                    unsafe { half.back::<V>(block, &under_way.piece, place == 0) };
                }
            }
            let (cost, bias_square) = under_way.make_step(lr);
            let [first, second] = halves.each_mut().map(|half| half.make_step::<V>(T::from_f64(cost.weight), lr));
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
