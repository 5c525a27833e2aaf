use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use striate_tensor::Tensor;

use crate::{Dtype, Element, FormatError, safetensors};

/// What a directory with weights, a checkpoint, calls them.
const IN_DIRECTORY: &str = "model.safetensors";

/// The most bytes of values that are read: 8 GiB.
const MAX_VALUES: u64 = 1 << 33;

/// A tensor as a file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// What the file calls it.
    pub name: String,
    /// Extents, the last axis fastest. Their product is known not to overflow.
    pub shape: Vec<usize>,
    /// What it holds.
    pub element: Element,
    /// Where its bytes are among the values.
    pub(crate) range: Range<usize>,
}

/// What is in a weight file: all but the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The file, or what the caller called the bytes.
    pub place: String,
    /// All tensors, in the order of their values in the file.
    pub tensors: Vec<StoredTensor>,
    /// What else the file says.
    pub metadata: BTreeMap<String, String>,
}

/// A weight file in memory: what is in it, and the values.
#[derive(Clone, Debug)]
pub struct TensorFile {
    listing: Listing,
    /// The values of all tensors as stored, little-endian.
    values: Vec<u8>,
}

/// Reads a weight file, or the one in the directory of a checkpoint (`runs/lenet5/best`).
///
/// # Errors
/// [`FormatError`] if it cannot be read, is no safetensors file, or is not whole; a file of more
/// than 8 GiB is too large. Nothing is allocated before the sizes that the file claims are checked.
pub fn read(path: &Path) -> Result<TensorFile, FormatError> {
    let (mut file, len, place) = open(path)?;
    TensorFile::from(&mut file, len, place)
}

/// Reads what is in a weight file, but not the values.
///
/// # Errors
/// As [`read`].
pub fn list(path: &Path) -> Result<Listing, FormatError> {
    let (mut file, len, place) = open(path)?;
    safetensors::listing(&mut file, len, place)
}

fn open(path: &Path) -> Result<(File, u64, String), FormatError> {
    let inside = path.join(IN_DIRECTORY);
    let path = if inside.is_file() { &inside } else { path };
    let kind = fs::metadata(path).map_err(FormatError::io("read", path))?;
    if !kind.is_file() {
        let found = if kind.is_dir() { "a directory without one" } else { "a device or a pipe" };
        let best = path.join("best");
        let advice = if best.join(IN_DIRECTORY).is_file() {
            format!(": try {}", best.display())
        } else {
            String::from(", such as `best` or `last` of a run")
        };
        return Err(FormatError::Unsupported {
            place: path.display().to_string(),
            found: String::from(found),
            expected: format!("a weight file, or a directory that holds `{IN_DIRECTORY}`{advice}"),
        });
    }
    let file = File::open(path).map_err(FormatError::io("read", path))?;
    let len = file.metadata().map_err(FormatError::io("read", path))?.len();
    Ok((file, len, path.display().to_string()))
}

impl TensorFile {
    /// Reads a weight file that is in memory already; `place` is what errors call it.
    ///
    /// # Errors
    /// As [`read`].
    pub fn parse(bytes: &[u8], place: &str) -> Result<TensorFile, FormatError> {
        let mut source = bytes;
        TensorFile::from(&mut source, bytes.len() as u64, place.to_owned())
    }

    fn from(source: &mut impl Read, len: u64, place: String) -> Result<TensorFile, FormatError> {
        let listing = safetensors::listing(source, len, place)?;
        let stored = listing.tensors.last().map_or(0, |tensor| tensor.range.end);
        let too_large = |limit: String| FormatError::TooLarge {
            place: listing.place.clone(),
            found: format!("{stored} bytes of values"),
            limit,
        };
        if stored as u64 > MAX_VALUES {
            return Err(too_large(format!("{MAX_VALUES} bytes")));
        }
        let mut values = Vec::new();
        if values.try_reserve_exact(stored).is_err() {
            return Err(too_large(String::from("the memory of this machine")));
        }
        let read = source.take(stored as u64).read_to_end(&mut values);
        let place = &listing.place;
        read.map_err(FormatError::io("read", place.as_ref()))?;
        if values.len() < stored {
            // It had as many when it was opened.
            return Err(FormatError::Malformed {
                place: place.clone(),
                offset: len - (stored - values.len()) as u64,
                found: String::from("the end of the file"),
                expected: format!("{len} bytes: it was cut off while being read, read it again"),
            });
        }
        Ok(TensorFile { listing, values })
    }

    /// What is in it.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// The values of one of its tensors.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] if they are no floating-point numbers.
    pub fn tensor(&self, stored: &StoredTensor) -> Result<Tensor, FormatError> {
        let (dtype, bytes) = self.floats(stored)?;
        let mut data = vec![0.0; bytes.len() / dtype.size()];
        dtype.decode(bytes, &mut data);
        Ok(Tensor::new(&stored.shape, data).expect("a listing has checked shapes"))
    }

    /// Writes the values of one of its tensors to where they belong.
    pub(crate) fn copy(&self, stored: &StoredTensor, to: &mut [f32]) -> Result<(), FormatError> {
        let (dtype, bytes) = self.floats(stored)?;
        dtype.decode(bytes, to);
        Ok(())
    }

    fn floats(&self, stored: &StoredTensor) -> Result<(Dtype, &[u8]), FormatError> {
        match &stored.element {
            Element::Float(dtype) => Ok((*dtype, &self.values[stored.range.clone()])),
            Element::Other(other) => Err(FormatError::Unsupported {
                place: self.listing.place.clone(),
                found: format!("`{}` of type {other}", stored.name.escape_debug()),
                expected: String::from("F64, F32, F16 or BF16: convert it first"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dtype: &str, size: usize, len: u64) -> Vec<u8> {
        let header = format!(
            r#"{{"x":{{"dtype":"{dtype}","shape":[{}],"data_offsets":[0,{len}]}}}}"#,
            len / size as u64
        );
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes
    }

    #[test]
    fn every_floating_type_becomes_f32() {
        let one_and_minus_two: [(&str, &[u8]); 4] = [
            ("F64", &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0]),
            ("F32", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]),
            ("F16", &[0, 0x3c, 0, 0xc0]),
            ("BF16", &[0x80, 0x3f, 0, 0xc0]),
        ];
        for (dtype, values) in one_and_minus_two {
            let mut bytes = file(dtype, values.len() / 2, values.len() as u64);
            bytes.extend(values);
            let file = TensorFile::parse(&bytes, "bytes").unwrap();
            let stored = &file.listing().tensors[0];
            assert_eq!(stored.element.to_string(), dtype);
            assert_eq!(file.tensor(stored).unwrap().data(), [1.0, -2.0]);
        }
    }

    #[test]
    fn other_types_are_listed_but_not_converted() {
        for (dtype, size) in [("I64", 8), ("U8", 1), ("BOOL", 1), ("F8_E4M3", 1)] {
            let mut bytes = file(dtype, size, 8);
            bytes.extend([0; 8]);
            let file = TensorFile::parse(&bytes, "bytes").unwrap();
            let stored = &file.listing().tensors[0];
            assert_eq!(stored.element, Element::Other(String::from(dtype)));
            let error = file.tensor(stored).unwrap_err().to_string();
            let expected = format!("bytes: found `x` of type {dtype}, expected F64, F32, F16");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn values_beyond_the_limit_are_not_allocated() {
        let stored = MAX_VALUES + 4;
        let header = file("F32", 4, stored);
        let len = header.len() as u64 + stored;
        let error = TensorFile::from(&mut &header[..], len, String::from("bytes")).unwrap_err();
        assert!(matches!(error, FormatError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_refused() {
        let header = file("F32", 4, 8);
        let len = header.len() as u64 + 8;
        let error = TensorFile::from(&mut &header[..], len, String::from("bytes")).unwrap_err();
        assert!(error.to_string().contains("found the end of the file"), "{error}");
    }

    #[test]
    fn a_path_is_a_file_or_a_directory_with_one() {
        let directory = tempfile::tempdir().unwrap();
        let missing = read(&directory.path().join("none")).unwrap_err();
        assert!(matches!(missing, FormatError::Io { what: "read", .. }), "{missing}");
        let without = read(directory.path()).unwrap_err().to_string();
        assert!(without.contains("found a directory without one"), "{without}");
        assert!(without.contains("`model.safetensors`, such as `best`"), "{without}");
        let run = tempfile::tempdir().unwrap();
        let best = run.path().join("best");
        fs::create_dir(&best).unwrap();
        fs::write(best.join(IN_DIRECTORY), []).unwrap();
        let advice = format!("`model.safetensors`: try {}", best.display());
        assert!(read(run.path()).unwrap_err().to_string().ends_with(&advice));
        let inside = directory.path().join(IN_DIRECTORY);
        fs::write(&inside, []).unwrap();
        let empty = list(&inside).unwrap_err().to_string();
        assert!(empty.contains("byte 0: found the end of a file of 0 bytes"), "{empty}");
        fs::write(&inside, b"\x02\0\0\0\0\0\0\0{}").unwrap();
        let listing = list(directory.path()).unwrap();
        assert_eq!(listing, *read(&inside).unwrap().listing());
        assert_eq!(listing.place, inside.display().to_string());
    }
}
