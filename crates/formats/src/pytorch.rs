//! PyTorch's format: since 1.6 a zip archive, uncompressed, of a pickle that describes the tensors
//! and of the storages they are views of.
//!
//! A file holds a `state_dict`, or a dictionary with one in it, as training scripts save. The pickle
//! is read by [`pickle`], which executes nothing.

mod directory;
mod foreign;
pub(crate) mod legacy;
mod pickle;
mod write;

pub(crate) use write::write;

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

use zip::CompressionMethod;

use crate::limits::{self, Room};
use crate::{Dtype, Element, Format, FormatError, Listing, StoredTensor, archive};
use pickle::{Heap, Refused, Storage, Value, View};
use striate_tensor::strided::Axis;

/// How such a file begins.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// The entry with what a file of ours says besides, as JSON.
const METADATA: &str = "striate.json";

/// Under which keys training scripts save the state_dict, those first that are meant for inference.
const STATES: [&str; 6] =
    ["state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net"];

/// What is in the file. The ranges of the tensors count from its first byte.
pub(crate) fn listing(
    zip: &mut archive::Archive<'_>,
    place: String,
    room: &Room,
) -> Result<Listing, FormatError> {
    let archive = Archive::of(zip, &place, room)?;
    let (heap, root, _) = run(&archive.program, &place, archive.start, room)?;
    tensors(&heap, root, archive, place)
}

/// What a pickle makes that begins at a byte of the file, and where it ends.
fn run(
    program: &[u8],
    place: &str,
    start: u64,
    room: &Room,
) -> Result<(Heap, Value, usize), FormatError> {
    pickle::run(program, place, room).map_err(|refused| match refused {
        Refused::Malformed(at, found, expected) => FormatError::Malformed {
            place: place.to_owned(),
            offset: start + at as u64,
            found,
            expected: expected.to_owned(),
        },
        Refused::Foreign(found) => match foreign::names(program) {
            names if names.is_empty() => FormatError::Unsupported {
                place: place.to_owned(),
                found: format!("{found} in its pickle, which might execute anything"),
                expected: String::from("tensors and plain values alone"),
            },
            names => FormatError::Foreign { place: place.to_owned(), names },
        },
        Refused::TooLarge(error) => error,
    })
}

/// The tensors of the state_dict, where they are in the file.
fn tensors(
    heap: &Heap,
    root: Value,
    archive: Archive,
    place: String,
) -> Result<Listing, FormatError> {
    let state = state(heap, root).ok_or_else(|| FormatError::Unsupported {
        place: place.clone(),
        found: String::from("no dictionary of tensors by name"),
        expected: format!("a state_dict, itself or as one of {}", STATES.join(", ")),
    })?;
    let mut tensors = Vec::with_capacity(state.len());
    for (name, tensor) in state {
        let view = &heap.tensors[tensor];
        let stored = archive.tensor(name, view, &heap.storages[view.storage]);
        tensors.push(stored.map_err(|found| FormatError::Malformed {
            place: place.clone(),
            offset: archive.start,
            found: format!("`{}`, {found}", name.escape_debug()),
            expected: String::from("a view of a storage in the file: copy or download it again"),
        })?);
    }
    tensors.sort_by(|a, b| (a.range.start, &a.name).cmp(&(b.range.start, &b.name)));
    Ok(Listing { place, format: Format::PyTorch, tensors, metadata: archive.metadata })
}

/// The tensors of the state_dict. Of a name that is given twice the last counts, as in Python.
fn state(heap: &Heap, root: Value) -> Option<BTreeMap<&str, usize>> {
    let entries = |value: Value| -> Vec<(&str, Value)> {
        let Value::Dict(dict) = value else { return Vec::new() };
        let named = heap.dicts[dict].iter().filter_map(|(key, value)| {
            let Value::Text(key) = *key else { return None };
            Some((heap.texts[key].as_str(), *value))
        });
        named.collect()
    };
    let tensors = |value: Value| -> BTreeMap<&str, usize> {
        let tensors = entries(value).into_iter().filter_map(|(name, value)| {
            if let Value::Tensor(tensor) = value { Some((name, tensor)) } else { None }
        });
        tensors.collect()
    };
    let own = tensors(root);
    if !own.is_empty() {
        return Some(own);
    }
    let inside: BTreeMap<&str, Value> = entries(root).into_iter().collect();
    let states = STATES.iter().filter_map(|key| inside.get(key)).map(|value| tensors(*value));
    states.into_iter().find(|tensors| !tensors.is_empty())
}

/// A zip archive: its pickle, and where the storages are.
struct Archive {
    program: Vec<u8>,
    /// Byte at which the pickle begins.
    start: u64,
    storages: BTreeMap<String, Range<u64>>,
    /// What a file of ours says besides.
    metadata: BTreeMap<String, String>,
}

impl Archive {
    fn of(
        zip: &mut archive::Archive<'_>,
        place: &str,
        room: &Room,
    ) -> Result<Archive, FormatError> {
        let broken = |error| archive::broken(place, error);
        let unsupported = |found: String, expected: &str| FormatError::Unsupported {
            place: place.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        let mut entries: BTreeMap<String, (usize, Range<u64>)> = BTreeMap::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index).map_err(broken)?;
            let name = entry.name().map_err(broken)?.into_owned();
            if name.split('/').nth(1) == Some("code") {
                return Err(unsupported(
                    String::from("a program of TorchScript"),
                    "tensors alone: in PyTorch, torch.save(torch.jit.load(…).state_dict(), …)",
                ));
            }
            if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
                let found = format!("`{}`, compressed or encrypted", name.escape_debug());
                return Err(unsupported(found, "an archive as torch.save makes, uncompressed"));
            }
            let start = entry.data_start().unwrap_or(0);
            entries.insert(name, (index, start..start + entry.compressed_size()));
        }
        let root = entries.keys().find_map(|name| {
            name.strip_suffix("data.pkl").filter(|root| root.matches('/').count() <= 1)
        });
        let Some(root) = root.map(str::to_owned) else {
            let found = String::from("a zip archive without `data.pkl`");
            return Err(unsupported(found, "one that torch.save made"));
        };
        let mut contents =
            |name: &str, limit: u64| -> Result<Option<(u64, Vec<u8>)>, FormatError> {
                let Some((index, range)) = entries.get(name) else { return Ok(None) };
                let len = range.end - range.start;
                let found = || format!("`{}` of {len} bytes", name.escape_debug());
                if len > limit {
                    return Err(FormatError::TooLarge {
                        place: place.to_owned(),
                        found: found(),
                        limit: format!("{limit} bytes"),
                    });
                }
                room.take(len, place, found)?;
                let mut bytes = Vec::new();
                let mut entry = zip.by_index(*index).map_err(broken)?;
                entry.read_to_end(&mut bytes).map_err(|error| broken(error.into()))?;
                Ok(Some((range.start, bytes)))
            };
        if let Some((_, order)) = contents(&format!("{root}byteorder"), 64)?
            && order.trim_ascii() != b"little"
        {
            let found = format!("values in {} order", order.escape_ascii());
            return Err(unsupported(found, "little: save them on such a machine"));
        }
        let pickle = contents(&format!("{root}data.pkl"), limits::PICKLE)?;
        let (start, program) = pickle.unwrap_or_default();
        let said = contents(&format!("{root}{METADATA}"), limits::METADATA)?;
        let metadata = said.map_or(Ok(BTreeMap::new()), |(start, json)| {
            serde_json::from_slice(&json).map_err(|error| FormatError::Malformed {
                place: place.to_owned(),
                offset: start,
                found: format!("`{METADATA}`: {error}"),
                expected: String::from("texts by name, as JSON"),
            })
        })?;
        let data = format!("{root}data/");
        let storages = entries
            .into_iter()
            .filter_map(|(name, (_, range))| Some((name.strip_prefix(&data)?.to_owned(), range)));
        Ok(Archive { program, start, storages: storages.collect(), metadata })
    }

    /// A tensor of a storage; else what is wrong with it.
    fn tensor(&self, name: &str, view: &View, storage: &Storage) -> Result<StoredTensor, String> {
        let all = self.storages.get(&storage.key).ok_or("whose storage is not in the file")?;
        let len = u64::try_from(storage.len).ok();
        let bytes = len.and_then(|len| len.checked_mul(element(storage.element).1));
        let bytes = bytes.filter(|bytes| *bytes <= all.end - all.start);
        let (element, size) = element(view.element);
        let len = (bytes.ok_or("whose storage is cut off")? / size) as usize;
        let numbers = |numbers: &[i64]| -> Option<Vec<usize>> {
            numbers.iter().map(|&number| usize::try_from(number).ok()).collect()
        };
        let what = || format!("of shape {:?} and strides {:?}", view.shape, view.strides);
        let (Some(shape), Some(strides), Ok(offset)) =
            (numbers(&view.shape), numbers(&view.strides), usize::try_from(view.offset))
        else {
            return Err(what());
        };
        let volume = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        // One behind the last value.
        let steps = shape.iter().zip(&strides);
        let last = steps.clone().try_fold(offset, |last, (&extent, &stride)| {
            last.checked_add(extent.saturating_sub(1).checked_mul(stride)?)
        });
        let (Some(volume), Some(last)) = (volume, last) else { return Err(what()) };
        if shape.len() != strides.len() {
            return Err(what());
        }
        if volume == 0 {
            let range = all.start as usize..all.start as usize;
            return Ok(StoredTensor {
                name: name.to_owned(),
                shape,
                element,
                range,
                strides: None,
                ordinal: None,
                held: None,
            });
        }
        // A value that is there many times, as `expand` makes, would make a small file large.
        if last >= len || volume > len {
            return Err(format!("{}, in a storage of {len} values", what()));
        }
        let mut dense = 1;
        let is_dense = steps.rev().all(|(&extent, &stride)| {
            let fits = extent == 1 || stride == dense;
            dense *= extent;
            fits
        });
        let at = |value: usize| (all.start + value as u64 * size) as usize;
        let range = at(offset)..at(last + 1);
        let axes = shape.iter().zip(&strides).map(|(&extent, &stride)| Axis::new(extent, stride));
        let strides = (!is_dense).then(|| axes.collect());
        Ok(StoredTensor {
            name: name.to_owned(),
            shape,
            element,
            range,
            strides,
            ordinal: None,
            held: None,
        })
    }
}

/// The type of values, and the bytes of one.
fn element(name: &str) -> (Element, u64) {
    match name {
        "F64" => (Element::Float(Dtype::F64), 8),
        "F32" => (Element::Float(Dtype::F32), 4),
        "F16" => (Element::Float(Dtype::F16), 2),
        "BF16" => (Element::Float(Dtype::BF16), 2),
        "C128" => (Element::Other(name.to_owned()), 16),
        "C64" | "I64" | "U64" => (Element::Other(name.to_owned()), 8),
        "I32" | "U32" => (Element::Other(name.to_owned()), 4),
        "I16" | "U16" => (Element::Other(name.to_owned()), 2),
        other => (Element::Other(other.to_owned()), 1),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::TensorFile;

    /// What `make.py` there had PyTorch save.
    const STATE: &[u8] = include_bytes!("../tests/pytorch/state.pth");
    const CHECKPOINT: &[u8] = include_bytes!("../tests/pytorch/checkpoint.pth");
    const SAME: &[u8] = include_bytes!("../tests/pytorch/state.safetensors");
    const LEGACY: &[u8] = include_bytes!("../tests/pytorch/legacy.pth");
    const MODULE: &[u8] = include_bytes!("../tests/pytorch/module.pth");
    const DEFLATED: &[u8] = include_bytes!("../tests/pytorch/deflated.pth");

    fn parse(bytes: &[u8]) -> Result<TensorFile, FormatError> {
        TensorFile::parse(bytes.to_vec(), "bytes")
    }

    /// An archive with this pickle, and `values` in storage 0.
    fn archive(program: &[u8], values: &[u8]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, bytes) in [("x/data.pkl", program), ("x/data/0", values)] {
            zip.start_file(name, stored).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// A number of any size, as a pickle has it.
    fn long(number: i64) -> Vec<u8> {
        [&[0x8a, 8][..], &number.to_le_bytes()].concat()
    }

    fn tuple(numbers: &[i64]) -> Vec<u8> {
        [&b"("[..], &numbers.iter().flat_map(|n| long(*n)).collect::<Vec<_>>(), b"t"].concat()
    }

    /// A pickle of a dictionary with a tensor `x` in storage `key` of `len` values.
    fn program(key: &str, len: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
        let text = |text: &str| [&[b'X', text.len() as u8, 0, 0, 0], text.as_bytes()].concat();
        let parts = [
            b"\x80\x02}".to_vec(),
            text("x"),
            b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
            text("storage"),
            b"ctorch\nFloatStorage\n".to_vec(),
            text(key),
            text("cpu"),
            long(len),
            b"tQ".to_vec(),
            long(offset),
            tuple(shape),
            tuple(strides),
            b"\x89}tRs.".to_vec(),
        ];
        parts.concat()
    }

    #[test]
    fn what_pytorch_saved_is_what_it_held() {
        let expected = parse(SAME).unwrap();
        for (bytes, prefix) in [(STATE, ""), (CHECKPOINT, "module.")] {
            let file = parse(bytes).unwrap();
            assert_eq!(file.listing().tensors.len(), expected.listing().tensors.len());
            for theirs in &expected.listing().tensors {
                let name = format!("{prefix}{}", theirs.name);
                let ours = file.listing().tensors.iter().find(|ours| ours.name == name).unwrap();
                assert_eq!(
                    (&ours.shape, &ours.element),
                    (&theirs.shape, &theirs.element),
                    "{name}"
                );
                if let Element::Float(_) = ours.element {
                    assert_eq!(
                        file.tensor(ours).unwrap(),
                        expected.tensor(theirs).unwrap(),
                        "{name}"
                    );
                }
            }
        }
        let strided = parse(STATE).unwrap();
        let strided = strided.listing().tensors.iter().filter(|tensor| tensor.strides.is_some());
        assert_eq!(strided.count(), 2);
    }

    #[test]
    fn what_was_saved_before_archives_is_the_same() {
        let (legacy, expected) = (parse(LEGACY).unwrap(), parse(SAME).unwrap());
        assert_eq!(legacy.listing().format, Format::PyTorch);
        assert_eq!(legacy.listing().tensors.len(), expected.listing().tensors.len());
        for stored in &expected.listing().tensors {
            let found = legacy.listing().tensors.iter().find(|t| t.name == stored.name).unwrap();
            assert_eq!((&found.shape, &found.element), (&stored.shape, &stored.element));
            if matches!(stored.element, Element::Float(_)) {
                assert_eq!(legacy.tensor(found).unwrap(), expected.tensor(stored).unwrap());
            }
        }
    }

    #[test]
    fn nothing_but_tensors_is_let_in() {
        let call = archive(b"cposix\nsystem\n(X\x02\0\0\0lstR.", &[]);
        let new = archive(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x01x\x85R.", &[]);
        let object = archive(b"\x80\x04}\x8c\x01x\x8c\x01a\x8c\x01b\x93)\x81s.", &[]);
        let inst = archive(b"(X\x01\0\0\0ximodule\nName\n.", &[]);
        for (bytes, found) in [
            (&call[..], "found `posix.system` in its pickle"),
            (&new, "found `builtins.eval` in its pickle"),
            (&object, "found `a.b` in its pickle"),
            (&inst, "found `module.Name` in its pickle"),
            (MODULE, "found `torch.nn.modules.linear.Linear`, `__builtin__.set` in"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(matches!(error, FormatError::Foreign { .. }), "{found}: {error:?}");
            assert!(error.to_string().contains(found), "{found}: {error}");
        }
        for (bytes, found) in [
            (DEFLATED, "compressed or encrypted"),
            (&archive(b"}.", &[]), "found no dictionary of tensors by name"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(matches!(error, FormatError::Unsupported { .. }), "{found}: {error:?}");
            assert!(error.to_string().contains(found), "{found}: {error}");
        }
    }

    #[test]
    fn a_tensor_lies_within_its_storage() {
        let values: Vec<u8> = (0..6u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
        let read = |program: &[u8]| parse(&archive(program, &values));
        let file = read(&program("0", 6, 1, &[2, 2], &[1, 3])).unwrap();
        assert_eq!(file.tensor(&file.listing().tensors[0]).unwrap().data(), [1.0, 4.0, 2.0, 5.0]);
        let file = read(&program("0", 6, 3, &[1, 3], &[77, 1])).unwrap();
        assert_eq!(file.tensor(&file.listing().tensors[0]).unwrap().data(), [3.0, 4.0, 5.0]);
        let most = i64::MAX;
        for wrong in [
            program("1", 6, 0, &[6], &[1]),
            program("0", 7, 0, &[6], &[1]),
            program("0", -1, 0, &[6], &[1]),
            program("0", most, 0, &[6], &[1]),
            program("0", 6, 1, &[6], &[1]),
            program("0", 6, -1, &[6], &[1]),
            program("0", 6, most, &[2], &[most]),
            program("0", 6, 0, &[7], &[1]),
            program("0", 6, 0, &[-1], &[1]),
            program("0", 6, 0, &[2], &[-1]),
            program("0", 6, 0, &[2], &[1, 1]),
            // A million million values, all the same one.
            program("0", 6, 0, &[1_000_000, 1_000_000], &[0, 0]),
            program("0", 6, 0, &[most, most, 4], &[0, 0, 0]),
            program("0", 6, 0, &[2; 65], &[0; 65]),
        ] {
            let error = read(&wrong).unwrap_err();
            assert!(matches!(error, FormatError::Malformed { .. }), "{error:?}");
        }
    }

    #[test]
    fn values_that_hold_themselves_are_no_trouble() {
        // d = {}; d["x"] = d; and a list in itself.
        for cycle in [&b"}q\0X\x01\0\0\0xh\0s."[..], b"]q\0h\0a."] {
            let error = parse(&archive(cycle, &[])).unwrap_err();
            assert!(error.to_string().contains("no dictionary of tensors"), "{error}");
        }
        // Dictionaries made of the same hundred pairs again and again.
        let pairs = b"(X\x01\0\0\0aNta".repeat(100);
        let head = b"ccollections\nOrderedDict\nq\0]";
        let mut program = [&head[..], &pairs, b"\x85q\x01"].concat();
        program.extend(b"h\0h\x01R0".repeat(1000));
        program.push(b'.');
        let error = parse(&archive(&program, &[])).unwrap_err();
        assert!(error.to_string().contains("more entries than bytes"), "{error}");
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        for len in 0..STATE.len() {
            assert!(parse(&STATE[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_harmless() {
        for bit in 0..STATE.len() * 8 {
            let mut flipped = STATE.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(file) = parse(&flipped) else { continue };
            for stored in &file.listing().tensors {
                if let Ok(tensor) = file.tensor(stored) {
                    assert_eq!(tensor.shape(), stored.shape, "bit {bit}");
                }
            }
        }
    }
}
