//! Tensors whose values are known when a model is read: they stay in the file until somebody needs
//! them.

use std::ops::Range;
use std::sync::Arc;

use striate_graph::MAX_VOLUME;

use super::files::Files;
use super::proto;
use super::view::View;
use crate::limits::{COMPUTED, COMPUTED_AXES};
use crate::protobuf::message::{Message, Value};
use crate::source::Source;
use crate::{Dtype, Element, StoredTensor};
use striate_tensor::strided::Axis;

/// What a tensor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Floats(Dtype),
    /// Whole numbers of so many bytes.
    Whole {
        bytes: usize,
        signed: bool,
    },
}

/// Where the values are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Stored(Range<u64>),
    Held(Arc<[u8]>),
}

/// A tensor whose values are known.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    /// How it sees the values at its place.
    pub(super) view: View,
    pub(super) holds: Holds,
    pub(super) place: Place,
}

impl Holds {
    fn size(self) -> usize {
        match self {
            Holds::Floats(dtype) => dtype.size(),
            Holds::Whole { bytes, .. } => bytes,
        }
    }

    /// By `TensorProto.DataType`.
    pub(super) fn of(data_type: i32) -> Option<Holds> {
        let whole = |bytes, signed| Some(Holds::Whole { bytes, signed });
        match data_type {
            proto::tensor::FLOAT => Some(Holds::Floats(Dtype::F32)),
            proto::tensor::FLOAT16 => Some(Holds::Floats(Dtype::F16)),
            proto::tensor::BFLOAT16 => Some(Holds::Floats(Dtype::BF16)),
            proto::tensor::DOUBLE => Some(Holds::Floats(Dtype::F64)),
            proto::tensor::INT64 => whole(8, true),
            proto::tensor::INT32 => whole(4, true),
            proto::tensor::INT8 => whole(1, true),
            proto::tensor::UINT8 | proto::tensor::BOOL => whole(1, false),
            _ => None,
        }
    }
}

impl Constant {
    /// Single-precision values that follow each other.
    pub(super) fn floats(extents: &[usize], values: &[f32]) -> Constant {
        let mut bytes = Vec::with_capacity(4 * values.len());
        Dtype::F32.encode(values, &mut bytes);
        let (view, holds) = (View::dense(extents), Holds::Floats(Dtype::F32));
        Constant { view, holds, place: Place::Held(Arc::from(bytes)) }
    }

    /// One value everywhere.
    pub(super) fn everywhere(extents: &[usize], value: f32) -> Constant {
        Constant { view: View::constant(extents), ..Constant::floats(&[], &[value]) }
    }

    pub(super) fn integers(extents: &[usize], values: &[i64]) -> Constant {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let holds = Holds::Whole { bytes: 8, signed: true };
        Constant { view: View::dense(extents), holds, place: Place::Held(Arc::from(bytes)) }
    }

    /// A `TensorProto`, or what is wrong with it.
    pub(super) fn read(tensor: &Message, files: &mut Files) -> Result<Constant, String> {
        let mut extents = tensor.sizes("dims")?;
        if extents.len() > COMPUTED_AXES {
            return Err(format!("{} axes, the limit is {COMPUTED_AXES}", extents.len()));
        }
        let data_type = tensor.size("data_type")?.unwrap_or(0);
        let holds = i32::try_from(data_type).ok().and_then(Holds::of);
        let holds = holds.ok_or_else(|| {
            format!("values of type {data_type}, expected floats or whole numbers")
        })?;
        let count = extents.iter().try_fold(1usize, |count, &n| count.checked_mul(n));
        let count = count.filter(|count| *count <= MAX_VOLUME);
        let count = count.ok_or_else(|| format!("{extents:?} values, more than {MAX_VOLUME}"))?;
        if count == 0 {
            // Whatever the other extents are.
            extents = vec![0];
        }
        let needed = (count * holds.size()) as u64;
        let location = tensor.size("data_location")?.unwrap_or(0);
        let place = if location == proto::tensor::EXTERNAL as usize {
            Place::Stored(files.external(tensor, needed)?)
        } else {
            within(tensor, holds)?
        };
        let found = match &place {
            Place::Stored(range) => range.end - range.start,
            Place::Held(bytes) => bytes.len() as u64,
        };
        if found != needed {
            return Err(format!("{found} bytes of values, expected {needed} for {extents:?}"));
        }
        Ok(Constant { view: View::dense(&extents), holds, place })
    }

    pub(super) fn extents(&self) -> Vec<usize> {
        self.view.extents()
    }

    /// As the parameter of that name, of that shape, which has as many values.
    pub(super) fn stored(&self, name: String, shape: Vec<usize>) -> StoredTensor {
        let (range, held) = match &self.place {
            Place::Stored(range) => (range.start as usize..range.end as usize, None),
            Place::Held(bytes) => (0..bytes.len(), Some(bytes.clone())),
        };
        let element = match self.holds {
            Holds::Floats(dtype) => Element::Float(dtype),
            Holds::Whole { bytes, signed } => {
                Element::Other(format!("{}{}", if signed { "I" } else { "U" }, 8 * bytes))
            }
        };
        let strides = (!self.view.is_dense()).then(|| self.view.steps());
        StoredTensor { name, shape, element, range, strides, ordinal: None, held }
    }

    /// Its values as floats.
    pub(super) fn to_floats(&self, source: &Source) -> Result<Vec<f32>, String> {
        let bytes = self.bytes(source)?;
        let values = match self.holds {
            Holds::Floats(dtype) => {
                let mut values = vec![0.0; bytes.len() / dtype.size()];
                dtype.decode(&bytes, &mut values);
                values
            }
            Holds::Whole { .. } => self.whole(&bytes).iter().map(|value| *value as f32).collect(),
        };
        Ok(arranged(&values, &self.view.steps()))
    }

    /// Its values as whole numbers; fractions are cut off.
    pub(super) fn to_integers(&self, source: &Source) -> Result<Vec<i64>, String> {
        if let Holds::Floats(_) = self.holds {
            return Ok(self.to_floats(source)?.into_iter().map(|value| value as i64).collect());
        }
        let bytes = self.bytes(source)?;
        Ok(arranged(&self.whole(&bytes), &self.view.steps()))
    }

    fn whole(&self, bytes: &[u8]) -> Vec<i64> {
        let Holds::Whole { bytes: size, signed } = self.holds else { return Vec::new() };
        let value = |bytes: &[u8]| {
            let negative = signed && bytes.last().is_some_and(|byte| *byte >= 0x80);
            let mut whole = [if negative { 0xff } else { 0 }; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            i64::from_le_bytes(whole)
        };
        bytes.chunks_exact(size).map(value).collect()
    }

    fn bytes(&self, source: &Source) -> Result<Vec<u8>, String> {
        let count = match &self.place {
            Place::Stored(range) => (range.end - range.start) as usize / self.holds.size(),
            Place::Held(bytes) => bytes.len() / self.holds.size(),
        };
        if count > COMPUTED || self.view.volume() > COMPUTED {
            return Err(format!("a computation on more than {COMPUTED} values"));
        }
        match &self.place {
            Place::Held(bytes) => Ok(bytes.to_vec()),
            Place::Stored(range) => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                source.read(range.start, &mut bytes).map_err(|error| error.to_string())?;
                Ok(bytes)
            }
        }
    }
}

/// The values of a tensor that are in the model.
fn within(tensor: &Message, holds: Holds) -> Result<Place, String> {
    if let Some(raw) = tensor.get("raw_data") {
        let Value::Bytes(range) = raw else { return Err(String::from("no bytes in `raw_data`")) };
        return Ok(Place::Stored(range.clone()));
    }
    let list = match holds {
        Holds::Floats(Dtype::F32) => "float_data",
        Holds::Floats(Dtype::F64) => "double_data",
        Holds::Floats(Dtype::F16 | Dtype::BF16) => "int32_data",
        Holds::Whole { bytes: 8, .. } => "int64_data",
        Holds::Whole { .. } => "int32_data",
    };
    if list.starts_with("int") {
        let values = tensor.numbers(list)?.into_iter();
        let bytes = values.flat_map(|v| (v as i64).to_le_bytes().into_iter().take(holds.size()));
        return Ok(Place::Held(bytes.collect()));
    }
    let mut lists = tensor.all(list);
    match (lists.next(), lists.next()) {
        (None, _) => Ok(Place::Held(Arc::from([]))),
        (Some(Value::Packed(_, range)), None) => Ok(Place::Stored(range.clone())),
        (Some(Value::Unpacked(_, bytes)), None) => Ok(Place::Held(Arc::from(bytes.as_slice()))),
        _ => Err(format!("`{list}` in several pieces: save it with a newer version of onnx")),
    }
}

/// Values in the order of a view of them.
fn arranged<T: Copy>(values: &[T], steps: &[Axis]) -> Vec<T> {
    if let [] | [Axis { stride: 1, .. }] = steps {
        return values.to_vec();
    }
    let mut at = vec![0];
    for step in steps {
        at = at.iter().flat_map(|at| (0..step.extent).map(move |i| at + i * step.stride)).collect();
    }
    at.into_iter().map(|at| values[at]).collect()
}
