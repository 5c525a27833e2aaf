use std::fmt;
use std::io::{self, Write};

use half::{bf16, f16};
use zerocopy::IntoBytes;

/// How the values of a tensor are stored, if they can become `f32`. In memory all are `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Double precision; read by rounding to the nearest `f32`.
    F64,
    /// Single precision.
    #[default]
    F32,
    /// Half precision, 5 bits of exponent and 10 of fraction.
    F16,
    /// The upper half of an `f32`: 8 bits of exponent and 7 of fraction.
    BF16,
}

/// What a file says its tensors hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// Values that can become `f32`.
    Float(Dtype),
    /// Anything else, as the format calls it: listed, never converted.
    Other(String),
}

impl Dtype {
    /// Bytes a value.
    pub fn size(self) -> usize {
        match self {
            Dtype::F64 => 8,
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
        }
    }

    /// Whether a finite value stays finite when rounded to this type. What is not finite stays so.
    pub(crate) fn holds(self, value: f32) -> bool {
        !value.is_finite()
            || match self {
                Dtype::F64 | Dtype::F32 => true,
                Dtype::F16 => f16::from_f32(value).is_finite(),
                Dtype::BF16 => bf16::from_f32(value).is_finite(),
            }
    }

    /// Reads little-endian values.
    pub(crate) fn decode(self, bytes: &[u8], to: &mut [f32]) {
        fn fill<const N: usize>(bytes: &[u8], to: &mut [f32], value: impl Fn([u8; N]) -> f32) {
            let (values, _) = bytes.as_chunks();
            to.iter_mut().zip(values).for_each(|(to, bytes)| *to = value(*bytes));
        }
        match self {
            Dtype::F64 => fill(bytes, to, |b| f64::from_le_bytes(b) as f32),
            Dtype::F32 => fill(bytes, to, f32::from_le_bytes),
            Dtype::F16 => fill(bytes, to, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => fill(bytes, to, |b| bf16::from_le_bytes(b).to_f32()),
        }
    }

    /// The values as little-endian bytes, which are put into `room` if they have to be.
    pub(crate) fn bytes<'a>(self, values: &'a [f32], room: &'a mut Vec<u8>) -> &'a [u8] {
        if self == Dtype::F32 && cfg!(target_endian = "little") {
            return values.as_bytes();
        }
        room.clear();
        self.encode(values, room);
        room
    }

    /// Writes little-endian values.
    pub(crate) fn write(self, values: &[f32], to: &mut dyn Write) -> io::Result<()> {
        let mut room = Vec::new();
        values.chunks(1 << 16).try_for_each(|values| to.write_all(self.bytes(values, &mut room)))
    }

    /// Appends little-endian values, rounded to nearest, ties to even.
    pub(crate) fn encode(self, values: &[f32], to: &mut Vec<u8>) {
        fn fill<const N: usize>(values: &[f32], to: &mut [u8], bytes: impl Fn(f32) -> [u8; N]) {
            let (room, _) = to.as_chunks_mut();
            room.iter_mut().zip(values).for_each(|(to, value)| *to = bytes(*value));
        }
        let before = to.len();
        to.resize(before + values.len() * self.size(), 0);
        let to = &mut to[before..];
        match self {
            Dtype::F64 => fill(values, to, |v| f64::from(v).to_le_bytes()),
            Dtype::F32 => fill(values, to, f32::to_le_bytes),
            Dtype::F16 => fill(values, to, |v| f16::from_f32(v).to_le_bytes()),
            Dtype::BF16 => fill(values, to, |v| bf16::from_f32(v).to_le_bytes()),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Dtype::F64 => "F64",
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::BF16 => "BF16",
        })
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Float(dtype) => dtype.fmt(f),
            Element::Other(name) => f.pad(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_what_can_hold_them() {
        let exact = [0.0, -0.0, 1.0, -2.5, f32::INFINITY, f32::NEG_INFINITY];
        for dtype in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16] {
            let (mut bytes, mut back) = (Vec::new(), [7.0; 6]);
            dtype.encode(&exact, &mut bytes);
            dtype.decode(&bytes, &mut back);
            assert_eq!(bytes.len(), 6 * dtype.size());
            assert_eq!(back.map(f32::to_bits), exact.map(f32::to_bits), "{dtype}");
        }
    }

    #[test]
    fn half_precision_rounds_to_even_and_has_a_limit() {
        let mut bytes = Vec::new();
        Dtype::BF16.encode(&[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0], &mut bytes);
        let mut back = [0.0; 2];
        Dtype::BF16.decode(&bytes, &mut back);
        assert_eq!(back, [1.0, 1.0 + 4.0 / 256.0]);
        assert!(Dtype::F16.holds(65_504.0) && !Dtype::F16.holds(65_520.0));
        assert!(Dtype::BF16.holds(65_520.0) && !Dtype::BF16.holds(f32::MAX));
        assert!(Dtype::F16.holds(f32::NAN));
    }

    #[test]
    fn doubles_beyond_single_precision_become_infinite() {
        let mut back = [0.0];
        Dtype::F64.decode(&1e300f64.to_le_bytes(), &mut back);
        assert_eq!(back, [f32::INFINITY]);
    }
}
