//! The safetensors format: the length of a header in 8 little-endian bytes, the header, values.
//!
//! The header is a JSON object of tensors (`dtype`, `shape`, `data_offsets` among the values) and
//! `__metadata__`, a map from text to text. The values are without gap or overlap. Types and the
//! form of an entry are the `safetensors` crate's; the header is read and checked here because the
//! crate says neither which tensor is wrong nor where, and written here because it writes metadata
//! in random order.

mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use safetensors::tensor::TensorInfo;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{self, Room};
use crate::{Dtype, Element, Format, FormatError, Listing, StoredTensor};

pub(crate) use write::write;

const METADATA: &str = "__metadata__";

/// Bytes of the header's length.
const LENGTH: u64 = 8;

/// The most bytes of memory that a byte of the header becomes: a tensor without values is described
/// in some fifty, and kept, sorted and listed in some hundred.
pub(crate) const EXPANSION: u64 = 16;

/// Reads the header and leaves `source`, of `len` bytes, at the first value. Every number is
/// checked: the ranges of the tensors fill exactly what is left.
pub(crate) fn listing(
    source: &mut impl Read,
    len: u64,
    place: String,
    room: &Room,
) -> Result<Listing, FormatError> {
    let bytes = header(source, len, &place, room)?;
    let values = len - LENGTH - bytes.len() as u64;
    match serde_json::from_slice::<Header>(&bytes) {
        Ok(Header { count, .. }) if count > limits::TENSORS => Err(FormatError::TooLarge {
            place,
            found: format!("a header of {count} tensors"),
            limit: format!("{} tensors", limits::TENSORS),
        }),
        Ok(Header { metadata, tensors, .. }) => {
            let tensors = stored(tensors, values, len - values, &place)?;
            Ok(Listing { place, format: Format::Safetensors, tensors, metadata })
        }
        Err(error) => {
            let text = error.to_string();
            let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
            Err(FormatError::Malformed {
                place,
                offset: LENGTH + position(&bytes, &error) as u64,
                found: format!("a header with a mistake ({})", what.escape_debug()),
                expected: String::from(
                    "JSON with `dtype`, `shape` and `data_offsets` for each tensor: copy or \
                     download the file again",
                ),
            })
        }
    }
}

/// The bytes of the header.
fn header(
    source: &mut impl Read,
    len: u64,
    place: &str,
    room: &Room,
) -> Result<Vec<u8>, FormatError> {
    let malformed = |offset, found: String, expected: &str| FormatError::Malformed {
        place: place.to_owned(),
        offset,
        found,
        expected: expected.to_owned(),
    };
    if len < LENGTH {
        let found = format!("the end of a file of {len} bytes");
        let expected = "a weight file, of which none is so short: copy or download it again";
        return Err(malformed(len, found, expected));
    }
    let mut first = [0; LENGTH as usize];
    source.read_exact(&mut first).map_err(FormatError::io("read", place.as_ref()))?;
    let claimed = u64::from_le_bytes(first);
    if claimed > len - LENGTH {
        let foreign = FOREIGN.iter().find(|(magic, ..)| first.starts_with(magic));
        if let Some((_, found, advice)) = foreign {
            return Err(FormatError::Unsupported {
                place: place.to_owned(),
                found: String::from(*found),
                expected: format!("a safetensors file: {advice}"),
            });
        }
        let mut brace = Vec::new();
        let read = source.take(1).read_to_end(&mut brace);
        read.map_err(FormatError::io("read", place.as_ref()))?;
        if !matches!(brace[..], [] | [b'{']) {
            return Err(FormatError::Unsupported {
                place: place.to_owned(),
                found: String::from("a file of no format that is known"),
                expected: String::from(KNOWN),
            });
        }
        let found = format!("a header of {claimed} bytes in a file of {len}");
        let expected = "a whole safetensors file: if it is one, copy or download it again";
        return Err(malformed(0, found, expected));
    }
    if claimed > limits::HEADER {
        return Err(FormatError::TooLarge {
            place: place.to_owned(),
            found: format!("a header of {claimed} bytes"),
            limit: format!("{} bytes", limits::HEADER),
        });
    }
    room.take(EXPANSION * claimed, place, || format!("a header of {claimed} bytes"))?;
    let mut bytes = vec![0; claimed as usize];
    source.read_exact(&mut bytes).map_err(FormatError::io("read", place.as_ref()))?;
    match bytes.first() {
        Some(b'{') => Ok(bytes),
        Some(byte) => {
            let found = format!("`{}`", byte.escape_ascii());
            Err(malformed(LENGTH, found, "`{`, the beginning of a safetensors header"))
        }
        None => Err(malformed(0, String::from("a header of 0 bytes"), "at least `{}`")),
    }
}

/// How files begin that are often taken for safetensors, what they are, and what to do.
const FOREIGN: [(&[u8], &str, &str); 6] = [
    (b"\x80\x02", "a Python pickle", RESAVE),
    (b"\x80\x03", "a Python pickle", RESAVE),
    (b"\x80\x04", "a Python pickle", RESAVE),
    (b"version ", "a Git LFS pointer", "fetch the file itself with `git lfs pull`"),
    (b"<!", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
];

const KNOWN: &str = "weights: safetensors, .pth, .weights.h5, .h5, .keras, .caffemodel or .onnx";

const RESAVE: &str = "load and save it again in PyTorch, or with safetensors.torch.save_file";

/// Where serde_json stopped, in bytes of the header.
fn position(header: &[u8], error: &serde_json::Error) -> usize {
    let lines = header.split_inclusive(|&byte| byte == b'\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    before + error.column().saturating_sub(1)
}

/// The tensors in the order of their values, if these fill the `values` bytes from `start` on.
fn stored(
    tensors: BTreeMap<String, TensorInfo>,
    values: u64,
    start: u64,
    place: &str,
) -> Result<Vec<StoredTensor>, FormatError> {
    let malformed = |offset: usize, found: String, expected: String| FormatError::Malformed {
        place: place.to_owned(),
        offset: start.saturating_add(offset as u64),
        found,
        expected,
    };
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let mut end = 0;
    let mut stored = Vec::with_capacity(tensors.len());
    for (name, TensorInfo { dtype, shape, data_offsets: (from, to) }) in tensors {
        let quoted = format!("`{}`", name.escape_debug());
        if from != end {
            let found = format!("the values of {quoted} from {from} to {to}");
            let expected = format!("them from {end} on, without gap or overlap");
            return Err(malformed(from, found, expected));
        }
        let volume = shape.iter().try_fold(dtype.bitsize(), |n, &extent| n.checked_mul(extent));
        let size = volume.filter(|bits| bits % 8 == 0).map(|bits| bits / 8);
        if size.is_none() || to.checked_sub(from) != size {
            let found = format!("{quoted}, {dtype} of shape {shape:?}, from {from} to {to}");
            let expected = match size {
                Some(size) => format!("{size} bytes"),
                None => String::from("a number of whole bytes below 2^61"),
            };
            return Err(malformed(from, found, expected));
        }
        end = to;
        let (element, range) = (element(dtype), from..to);
        stored.push(StoredTensor {
            name,
            shape,
            element,
            range,
            strides: None,
            ordinal: None,
            held: None,
        });
    }
    if end as u64 != values {
        let found = format!("{values} bytes of values");
        let expected = if end as u64 > values {
            format!("{end}: the file is cut off, copy or download it again")
        } else {
            format!("{end}: something else follows, copy or download it again")
        };
        return Err(malformed(end.min(values as usize), found, expected));
    }
    Ok(stored)
}

fn element(dtype: safetensors::Dtype) -> Element {
    match dtype.to_string().as_str() {
        "F64" => Element::Float(Dtype::F64),
        "F32" => Element::Float(Dtype::F32),
        "F16" => Element::Float(Dtype::F16),
        "BF16" => Element::Float(Dtype::BF16),
        other => Element::Other(other.to_owned()),
    }
}

struct Header {
    metadata: BTreeMap<String, String>,
    /// No more than are allowed.
    tensors: BTreeMap<String, TensorInfo>,
    /// How many there are.
    count: usize,
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA, &self.metadata)?;
        }
        for (name, info) in &self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut metadata = None;
        let (mut tensors, mut count) = (BTreeMap::new(), 0);
        while let Some(name) = map.next_key::<String>()? {
            let explain = |error: A::Error| A::Error::custom(format!("`{name}`: {error}"));
            let known = if name == METADATA {
                metadata.replace(map.next_value().map_err(explain)?).is_some()
            } else {
                count += 1;
                let info = map.next_value().map_err(explain)?;
                count <= limits::TENSORS && tensors.insert(name.clone(), info).is_some()
            };
            if known {
                return Err(A::Error::custom(format!("`{name}` is given twice")));
            }
        }
        Ok(Header { metadata: metadata.unwrap_or_default(), tensors, count })
    }
}

#[cfg(test)]
mod tests {
    use super::write::tests::good;
    use super::*;
    use crate::TensorFile;

    /// A file with this header and so many bytes of values.
    fn file(header: &str, values: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + values, 0);
        bytes
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let bytes = good();
        for len in 0..bytes.len() {
            let error = TensorFile::parse(bytes[..len].to_vec(), "bytes").unwrap_err();
            assert!(matches!(error, FormatError::Malformed { .. }), "{len}: {error:?}");
        }
        let longer = [&bytes[..], &[0]].concat();
        let error = TensorFile::parse(longer, "bytes").unwrap_err().to_string();
        assert!(error.contains("found 65 bytes of values, expected 64: something"), "{error}");
    }

    #[test]
    fn a_flipped_bit_is_refused_or_harmless() {
        let bytes = good();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(file) = TensorFile::parse(flipped.clone(), "bytes") else { continue };
            // What is accepted, the reference reader accepts and understands alike.
            let theirs = safetensors::SafeTensors::deserialize(&flipped).unwrap();
            assert_eq!(file.listing().tensors.len(), theirs.len(), "bit {bit}");
            for stored in &file.listing().tensors {
                let tensor = theirs.tensor(&stored.name).unwrap();
                assert_eq!(tensor.shape(), stored.shape);
                assert_eq!(tensor.dtype().to_string(), stored.element.to_string());
                if let Ok(ours) = file.tensor(stored) {
                    assert_eq!(ours.shape(), stored.shape);
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_where() {
        let x = |shape: &str, offsets: &str| {
            format!(r#"{{"x":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let two = |a: &str, b: &str| {
            let entry = |name: &str, offsets: &str| {
                format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}"#)
            };
            format!("{{{},{}}}", entry("a", a), entry("b", b))
        };
        let cases: [(String, usize, &str); 18] = [
            (String::new(), 4, "byte 0: found a header of 0 bytes, expected at least `{}`"),
            (String::from("[]"), 0, "byte 8: found `[`, expected `{`, the beginning"),
            (
                String::from("{\n\"x\" 1}"),
                0,
                "byte 14: found a header with a mistake (`x`: expected `:`)",
            ),
            (String::from("{} x"), 0, "byte 11: found a header with a mistake (trailing char"),
            (String::from("{\"a\":"), 0, "(`a`: EOF while parsing a value)"),
            (
                String::from(r#"{"__metadata__":{"a":1}}"#),
                0,
                "(`__metadata__`: invalid type: integer",
            ),
            (String::from(r#"{"__metadata__":{},"__metadata__":{}}"#), 0, "is given twice"),
            (String::from(r#"{"x":{"dtype":"F33"}}"#), 0, "(`x`: unknown variant `F33`"),
            (format!("{{\"x\":{}", "[".repeat(100_000)), 0, "(`x`: "),
            (format!("{{\"x\":{{\"y\":{}", "[".repeat(100_000)), 0, "(`x`: "),
            (x("[-1]", "[0,4]"), 0, "invalid value: integer `-1`"),
            (x("[1]", "[0,99999999999999999999]"), 0, "invalid type: floating point"),
            (x("[2]", "[0,4]"), 4, "found `x`, F32 of shape [2], from 0 to 4, expected 8 bytes"),
            (x("[1]", "[4,0]"), 4, "found the values of `x` from 4 to 0, expected them from 0 on"),
            (
                x("[4294967296,4294967296]", "[0,4]"),
                4,
                "expected a number of whole bytes below 2^61",
            ),
            (
                x("[1099511627776]", "[0,4398046511104]"),
                4,
                "found 4 bytes of values, expected 4398046511104",
            ),
            (
                two("[0,4]", "[2,6]"),
                6,
                "found the values of `b` from 2 to 6, expected them from 4 on",
            ),
            (
                two("[0,4]", "[8,12]"),
                12,
                "found the values of `b` from 8 to 12, expected them from 4",
            ),
        ];
        for (header, values, expected) in cases {
            let error = TensorFile::parse(file(&header, values), "x.safetensors").unwrap_err();
            assert!(matches!(error, FormatError::Malformed { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.starts_with("x.safetensors, byte ") && text.contains(expected), "{text}");
        }
        let twice = two("[0,4]", "[4,8]").replace("\"b\"", "\"a\"");
        let error = TensorFile::parse(file(&twice, 8), "bytes").unwrap_err().to_string();
        assert!(error.contains("`a` is given twice"), "{error}");
    }

    #[test]
    fn sizes_are_checked_before_they_are_allocated() {
        let refused = |claimed: u64, len: u64| {
            let bytes = claimed.to_le_bytes();
            let room = Room::within(&crate::Limits::default());
            listing(&mut &bytes[..], len, String::from("bytes"), &room).unwrap_err()
        };
        let too_large = refused(limits::HEADER + 1, 1 << 40);
        assert!(matches!(too_large, FormatError::TooLarge { .. }), "{too_large}");
        for claimed in [9, 1 << 32, u64::MAX] {
            assert!(matches!(refused(claimed, 16), FormatError::Malformed { .. }));
        }
    }

    #[test]
    fn other_formats_are_recognised() {
        for (magic, found, _) in FOREIGN {
            let mut bytes = magic.to_vec();
            bytes.resize(64, b'x');
            let error = TensorFile::parse(bytes, "file").unwrap_err();
            assert!(matches!(error, FormatError::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains(found), "{error}");
        }
    }
}
