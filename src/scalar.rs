//! The number types that everything is generic over.

use std::fmt::{Debug, Display};

use ndarray::ScalarOperand;

use crate::kernels::Element;

/// `f32` or `f64`. Sealed: the kernels are written for these two.
pub trait Scalar: Element + ScalarOperand + Debug + Display {
    /// The type's name in model files and messages: `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// The bytes of the value, the least significant first.
    fn little_endian(self) -> Vec<u8>;

    /// The value of as many bytes as the type has, the least significant first.
    ///
    /// # Panics
    /// If there are more or fewer.
    fn from_little_endian(bytes: &[u8]) -> Self;

    /// Appends the bytes of each value, the least significant first.
    fn write_bytes(values: &[Self], bytes: &mut Vec<u8>);

    /// Appends the value of each few bytes, the least significant first; fewer at the end are left out.
    fn read_bytes(bytes: &[u8], values: &mut Vec<Self>);

    /// The nearest value to a decimal number, infinite where it is too large; `None` for other text.
    fn parse_decimal(text: &str) -> Option<Self>;

    /// The value of the decimal number that `bytes` begin with, as for [`parse_decimal`](Scalar::parse_decimal), and its
    /// length.
    fn parse_decimal_prefix(bytes: &[u8]) -> Option<(Self, usize)>;
}

macro_rules! scalar {
    ($T:ident) => {
        impl Scalar for $T {
            const NAME: &'static str = stringify!($T);

            fn little_endian(self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }

            fn from_little_endian(bytes: &[u8]) -> Self {
                <$T>::from_le_bytes(bytes.try_into().expect("as many bytes as the type has"))
            }

            fn write_bytes(values: &[Self], bytes: &mut Vec<u8>) {
                let start = bytes.len();
                bytes.resize(start + size_of_val(values), 0);
                for (bytes, value) in bytes[start..].chunks_exact_mut(size_of::<Self>()).zip(values) {
                    bytes.copy_from_slice(&value.to_le_bytes());
                }
            }

            fn read_bytes(bytes: &[u8], values: &mut Vec<Self>) {
                let value =
                    |bytes: &[u8]| Self::from_le_bytes(bytes.try_into().expect("as many bytes as the type has"));
                values.extend(bytes.chunks_exact(size_of::<Self>()).map(value));
            }

            fn parse_decimal(text: &str) -> Option<Self> {
                fast_float2::parse(text).ok()
            }

            fn parse_decimal_prefix(bytes: &[u8]) -> Option<(Self, usize)> {
                fast_float2::parse_partial(bytes).ok()
            }
        }
    };
}

scalar!(f32);
scalar!(f64);
