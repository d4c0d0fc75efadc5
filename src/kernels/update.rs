//! The arithmetic of an optimizer's step.

use crate::scalar::Scalar;

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
pub fn sgd_update<T: Scalar>(values: &mut [T], gradients: &[T], buffer: &mut [T], update: SgdUpdate<T>) {
    let SgdUpdate { lr, sign, weight_decay, momentum, keep, nesterov } = update;
    if momentum == T::zero() {
        for (value, &gradient) in values.iter_mut().zip(gradients) {
            *value -= lr * (sign * gradient + weight_decay * *value);
        }
        return;
    }
    for ((value, &gradient), buf) in values.iter_mut().zip(gradients).zip(buffer) {
        let g = sign * gradient + weight_decay * *value;
        *buf = momentum * *buf + keep * g;
        *value -= lr * if nesterov { g + momentum * *buf } else { *buf };
    }
}

/// Limits every element to `-limit ..= limit`.
pub fn clamp<T: Scalar>(values: &mut [T], limit: T) {
    for value in values {
        *value = value.max(-limit).min(limit);
    }
}
