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
    if values.len() <= FEW {
        return update.step(values, gradients, buffer);
    }
    T::run_sgd(SgdStep { values, gradients, buffer, update });
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
        self.update.step(self.values, self.gradients, self.buffer);
    }
}

impl<T: Element> SgdUpdate<T> {
    #[inline(always)]
    fn step(self, values: &mut [T], gradients: &[T], buffer: &mut [T]) {
        let SgdUpdate { lr, sign, weight_decay, momentum, keep, nesterov } = self;
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
}

/// Limits every element to `-limit ..= limit`. NaN stays NaN.
pub fn clamp<T: Element>(values: &mut [T], limit: T) {
    for value in values {
        // Not `min` and `max`, which would make a number of NaN.
        if *value > limit {
            *value = limit;
        } else if *value < -limit {
            *value = -limit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::test_levels::{numbers, on_every_level};

    #[test]
    fn every_level_steps_alike_to_the_bit() {
        on_every_level(|| {
            for (n, momentum) in [(1, 0.0), (3, 0.9), (37, 0.0), (37, 0.9)] {
                let start: Vec<f64> = numbers(n, 1);
                let (mut values, gradients, mut buffer) = (start.clone(), numbers(n, 2), numbers(n, 3));
                let before: Vec<f64> = buffer.clone();
                let update =
                    SgdUpdate { lr: 0.1, sign: 1.0, weight_decay: 0.01, momentum, keep: 0.5, nesterov: momentum > 0.0 };
                sgd_update(&mut values, &gradients, &mut buffer, update);
                for i in 0..n {
                    let g = gradients[i] + 0.01 * start[i];
                    let buf = momentum * before[i] + 0.5 * g;
                    let step = if momentum > 0.0 { g + momentum * buf } else { g };
                    assert_eq!(values[i], start[i] - 0.1 * step);
                }
            }
        });
    }

    #[test]
    fn clamping_keeps_what_is_no_number() {
        let mut values = [3.0, -3.0, 0.5, f64::NAN];
        clamp(&mut values, 1.0);
        assert_eq!(values[..3], [1.0, -1.0, 0.5]);
        assert!(values[3].is_nan());
    }
}
