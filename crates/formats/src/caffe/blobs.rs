//! The values of a network's layers, as tensors that lie where they lie in the file.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use super::message::{Message, Value};
use super::net::{Layer, merged};
use crate::limits::Room;
use crate::{Dtype, Element, FormatError, StoredTensor};
use striate_tensor::strided::Axis;

/// A blob: what is in it, if that is so many values as its shape says.
struct Blob {
    shape: Vec<usize>,
    dtype: Dtype,
    range: Range<u64>,
    /// Its bytes, where they do not follow each other in the file.
    held: Option<Vec<u8>>,
}

/// All blobs of the layers, called after them: `conv1.weight`, `conv1.bias`.
///
/// Caffe's BatchNorm and the Scale behind it are one layer here, called after the first, and the
/// statistics are divided by their factor, which Caffe stores beside them. Blobs of layers that are
/// not known are numbered.
pub(super) fn tensors(
    layers: &[Layer],
    source: &mut (impl Read + Seek),
    place: &str,
    room: &Room,
) -> Result<Vec<StoredTensor>, FormatError> {
    let merged = merged(layers);
    let mut tensors = Vec::new();
    for (layer, merged) in layers.iter().zip(merged) {
        let refused = |i: usize, found: String| FormatError::Unsupported {
            place: place.to_owned(),
            found: format!("blob {i} of `{}` ({}) {found}", layer.name.escape_debug(), layer.kind),
            expected: String::from("values as Caffe saves them: copy or download it again"),
        };
        let mut blobs = Vec::new();
        for (i, message) in layer.message.messages(&["blobs"]).enumerate() {
            blobs.push(blob(message, source, place, room)?.map_err(|found| refused(i, found))?);
        }
        let called = |leaf: &str| {
            let name = merged.map_or(layer.name, |norm| layers[norm].name);
            format!("{name}.{leaf}")
        };
        match (layer.kind, blobs.len()) {
            (_, 0) => {}
            ("BatchNorm", 3) => {
                blobs[2].pay(place, room)?;
                let factor = blobs[2].values(source, place)?;
                let &[factor] = factor.as_slice() else {
                    return Err(refused(2, format!("of {} values, for a factor", factor.len())));
                };
                // As Caffe has it, where nothing was seen yet.
                let factor = if factor == 0.0 { 0.0 } else { 1.0 / factor };
                for (mut blob, leaf) in blobs.into_iter().zip(["running_mean", "running_var"]) {
                    blob.pay(place, room)?;
                    let mut values = blob.values(source, place)?;
                    values.iter_mut().for_each(|value| *value *= factor);
                    let mut bytes = Vec::with_capacity(4 * values.len());
                    Dtype::F32.encode(&values, &mut bytes);
                    (blob.dtype, blob.held) = (Dtype::F32, Some(bytes));
                    tensors.push(blob.stored(called(leaf), Some(1)));
                }
            }
            ("BatchNorm", len) => {
                return Err(refused(len - 1, String::from("as the last, not as the third")));
            }
            ("Convolution" | "InnerProduct" | "Scale", 1 | 2) => {
                let rank = match layer.kind {
                    "Convolution" => 4,
                    "InnerProduct" => 2,
                    _ => 1,
                };
                let attributes = layer.attributes("inner_product_param");
                let transposed =
                    attributes.flag("transpose", false).map_err(|found| refused(0, found))?;
                for (blob, (leaf, rank)) in blobs.into_iter().zip([("weight", rank), ("bias", 1)]) {
                    let mut stored = blob.stored(called(leaf), Some(rank));
                    if let ("weight", true, &[inputs, outputs]) =
                        (leaf, transposed, stored.shape.as_slice())
                    {
                        stored.shape = vec![outputs, inputs];
                        stored.strides =
                            Some(vec![Axis::new(outputs, 1), Axis::new(inputs, outputs)]);
                    }
                    // What is one with no BatchNorm is a 1×1 convolution of each channel.
                    if let ("Scale", None, "weight", 1) =
                        (layer.kind, merged, leaf, stored.shape.len())
                    {
                        stored.shape.extend([1; 3]);
                    }
                    tensors.push(stored);
                }
            }
            _ => {
                for (i, blob) in blobs.into_iter().enumerate() {
                    tensors.push(blob.stored(called(&i.to_string()), None));
                }
            }
        }
    }
    Ok(tensors)
}

/// A blob, or what is wrong with it.
fn blob(
    message: &Message,
    source: &mut (impl Read + Seek),
    place: &str,
    room: &Room,
) -> Result<Result<Blob, String>, FormatError> {
    let pieces: Vec<&Value> = message.all("data").chain(message.all("double_data")).collect();
    let mut blob = Blob { shape: Vec::new(), dtype: Dtype::F32, range: 0..0, held: None };
    match pieces.as_slice() {
        [] => {}
        [Value::Packed(dtype, range)] => (blob.dtype, blob.range) = (*dtype, range.clone()),
        several => {
            let mut held = Vec::new();
            for (i, piece) in several.iter().enumerate() {
                let dtype = match piece {
                    Value::Packed(dtype, range) => {
                        let part = Blob { range: range.clone(), dtype: *dtype, ..Blob::default() };
                        part.pay(place, room)?;
                        held.extend(part.bytes(source, place)?);
                        *dtype
                    }
                    Value::Unpacked(dtype, values) => {
                        held.extend(values);
                        *dtype
                    }
                    Value::Text(_)
                    | Value::Word(_)
                    | Value::Number(_)
                    | Value::Message(_)
                    | Value::Bytes(_) => {
                        return Ok(Err(String::from("of something else than values")));
                    }
                };
                if i > 0 && dtype != blob.dtype {
                    return Ok(Err(String::from("of values of two types")));
                }
                blob.dtype = dtype;
            }
            blob.range = 0..held.len() as u64;
            blob.held = Some(held);
        }
    }
    Ok(shape(message).and_then(|shape| {
        let len = (blob.range.end - blob.range.start) / blob.dtype.size() as u64;
        let volume = shape.iter().try_fold(1u64, |n, extent| n.checked_mul(*extent as u64));
        blob.shape = shape;
        let found = || format!("of shape {:?} with {len} values", blob.shape);
        if volume == Some(len) { Ok(()) } else { Err(found()) }.map(|()| blob)
    }))
}

/// The extents; those of before 2014 are always four.
fn shape(message: &Message) -> Result<Vec<usize>, String> {
    if message.get("shape").is_some() {
        return message.message("shape").sizes("dim");
    }
    let legacy = ["num", "channels", "height", "width"].map(|name| message.size(name));
    legacy.into_iter().map(|extent| Ok(extent?.unwrap_or(0))).collect()
}

impl Default for Blob {
    fn default() -> Blob {
        Blob { shape: Vec::new(), dtype: Dtype::F32, range: 0..0, held: None }
    }
}

impl Blob {
    /// Of `rank` axes if the others are before them and 1 long, as old files have them.
    fn stored(self, name: String, rank: Option<usize>) -> StoredTensor {
        let Blob { mut shape, dtype, range, held } = self;
        while rank.is_some_and(|rank| shape.len() > rank) && shape[0] == 1 {
            shape.remove(0);
        }
        let start = range.start as usize;
        let len = held.as_ref().map_or(range.end - range.start, |held| held.len() as u64);
        StoredTensor {
            name,
            shape,
            element: Element::Float(dtype),
            range: start..start + len as usize,
            strides: None,
            ordinal: None,
            held: held.map(Arc::from),
        }
    }

    /// For its bytes and their copy, before they are read.
    fn pay(&self, place: &str, room: &Room) -> Result<(), FormatError> {
        let len = self.range.end - self.range.start;
        room.take(len.saturating_mul(4), place, || format!("a blob of {len} bytes"))
    }

    fn bytes(&self, source: &mut (impl Read + Seek), place: &str) -> Result<Vec<u8>, FormatError> {
        if let Some(held) = &self.held {
            return Ok(held.clone());
        }
        // The file is that long.
        let mut bytes = vec![0; (self.range.end - self.range.start) as usize];
        let sought = source.seek(SeekFrom::Start(self.range.start));
        let read = sought.and_then(|_| source.read_exact(&mut bytes));
        read.map_err(FormatError::io("read", place.as_ref()))?;
        Ok(bytes)
    }

    fn values(
        &self,
        source: &mut (impl Read + Seek),
        place: &str,
    ) -> Result<Vec<f32>, FormatError> {
        let bytes = self.bytes(source, place)?;
        let mut values = vec![0.0; bytes.len() / self.dtype.size()];
        self.dtype.decode(&bytes, &mut values);
        Ok(values)
    }
}
