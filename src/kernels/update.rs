//! The arithmetic of an optimizer's step.

use super::element::Element;
use super::lanes::Lanes;
use super::level::Kernel;
use super::vector::FEW;

/// The numbers of one SGD step of one parameter.
#[derive(Debug, Clone, Copy)]
pub struct SgdUpdate<T> {
    /// The learning rate.
    pub lr: T,
    /// 1 to descend, -1 to climb.
    pub sign: T,
    /// The factor of the value added to the gradient.
    pub weight_decay: T,
    /// The factor the buffer is kept with; 0: no momentum, and no buffer.
    pub momentum: T,
    /// The share of the gradient that enters the buffer: `1 - dampening`.
    pub keep: T,
    /// Whether the step looks ahead: `g + momentum buf` instead of `buf`.
    pub nesterov: bool,
}

/// One SGD step, in PyTorch's order. `buffer` is as long as the others, or empty without momentum.
pub fn sgd_update<T: Element>(values: &mut [T], gradients: &[T], buffer: &mut [T], update: SgdUpdate<T>) {
    let step = SgdStep { values, gradients, buffer, update };
    if step.values.len() <= FEW {
        return step.each();
    }
    T::run_sgd(step);
}

pub struct SgdStep<'a, T> {
    values: &'a mut [T],
    gradients: &'a [T],
    buffer: &'a mut [T],
    update: SgdUpdate<T>,
}

impl<T: Element> Kernel<T> for SgdStep<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes<Element = T>>(self) {
        self.each();
    }
}

impl<T: Element> SgdStep<'_, T> {
    #[inline(always)]
    fn each(self) {
        let SgdUpdate { lr, sign, weight_decay, momentum, keep, nesterov } = self.update;
        if momentum == T::zero() {
            for (value, &gradient) in self.values.iter_mut().zip(self.gradients) {
                *value -= lr * (sign * gradient + weight_decay * *value);
            }
            return;
        }
        for ((value, &gradient), buf) in self.values.iter_mut().zip(self.gradients).zip(self.buffer) {
            let g = sign * gradient + weight_decay * *value;
            *buf = momentum * *buf + keep * g;
            *value -= lr * if nesterov { g + momentum * *buf } else { *buf };
        }
    }
}

/// Limits every element to `-limit ..= limit`.
pub fn clamp<T: Element>(values: &mut [T], limit: T) {
    for value in values {
        *value = value.max(-limit).min(limit);
    }
}
