//! The number types the kernels are written for, and the registers that hold them.

use std::iter::Sum;
use std::ops::{AddAssign, DivAssign, MulAssign, SubAssign};

use num_traits::Float;

use super::backward::Backward;
use super::column_descent::{Descended, SupervisedSteps};
use super::column_loss::ColumnLoss;
use super::columns::{MeasureColumns, Standardize};
use super::exponential::Series;
use super::forward::Forward;
use super::lanes::{Lanes, Plain};
#[cfg(target_arch = "x86_64")]
use super::lanes_x86;
use super::level::run;
use super::linear_loss::LinearLoss;
use super::linear_softmax::LinearSoftmax;
use super::linear_squared_error::LinearSquaredError;
use super::loss_sum::LossSum;
use super::mean_step::MeanStep;
use super::output_loss::SumOutputLoss;
use super::piece_gradient::PieceGradient;
use super::softmax_half::{HalfBack, HalfForward};
use super::softmax_loss::SoftmaxCrossEntropy;
use super::update::SgdStep;
use super::vector::{Add, AddScaled, Dot, Quotient, QuotientOfSum};

/// Declares the kernels: a method for each, which runs it with the instructions in use.
///
/// They are methods of the number types, not generic functions, so that all their levels are compiled once, with the
/// library, and not again with each program.
macro_rules! kernels {
    ($($method:ident: $Kernel:ident -> $Output:ty;)*) => {
        /// The kernels, compiled for a number type.
        pub trait Compiled: Sized {
            $(#[doc(hidden)]
            fn $method(kernel: $Kernel<'_, Self>) -> $Output;)*
        }

        impl Compiled for f32 {
            $(fn $method(kernel: $Kernel<'_, f32>) -> $Output {
                run(kernel)
            })*
        }

        impl Compiled for f64 {
            $(fn $method(kernel: $Kernel<'_, f64>) -> $Output {
                run(kernel)
            })*
        }
    };
}

kernels! {
    run_forward: Forward -> ();
    run_backward: Backward -> ();
    run_linear_loss: LinearLoss -> f64;
    run_linear_softmax: LinearSoftmax -> Option<LossSum>;
    run_half_forward: HalfForward -> ();
    run_half_back: HalfBack -> ();
    run_piece_gradient: PieceGradient -> LossSum;
    run_column_descent: SupervisedSteps -> Descended<Self>;
    run_column_loss: ColumnLoss -> f64;
    run_linear_squared_error: LinearSquaredError -> Option<f64>;
    run_output_losses: SumOutputLoss -> f64;
    run_softmax_cross_entropy: SoftmaxCrossEntropy -> LossSum;
    run_dot: Dot -> Self;
    run_add: Add -> ();
    run_add_scaled: AddScaled -> ();
    run_quotient: Quotient -> ();
    run_quotient_of_sum: QuotientOfSum -> ();
    run_mean_step: MeanStep -> ();
    run_sgd: SgdStep -> ();
    run_measure_columns: MeasureColumns -> ();
    run_standardize: Standardize -> ();
}

/// `f32` or `f64`, with the vector registers of each instruction set. Sealed.
pub trait Element:
    Float
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
    + Default
    + Send
    + Sync
    + 'static
    + Series
    + Compiled
    + sealed::Sealed
{
    /// Lanes on any machine.
    #[doc(hidden)]
    type Plain: Lanes<Element = Self>;
    /// 256 bits.
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    type Avx2: Lanes<Element = Self>;
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    type Avx512: Lanes<Element = Self>;

    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;

    /// The value as `f64`, exactly.
    fn as_f64(self) -> f64;
}

impl Element for f32 {
    type Plain = Plain<f32>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = lanes_x86::Avx2F32;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = lanes_x86::Avx512F32;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Element for f64 {
    type Plain = Plain<f64>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = lanes_x86::Avx2F64;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = lanes_x86::Avx512F64;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn as_f64(self) -> f64 {
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}
