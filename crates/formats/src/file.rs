use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use striate_graph::MAX_VOLUME;
use striate_tensor::Tensor;
use striate_tensor::strided::{self, Axis};
use zerocopy::IntoBytes;

use crate::limits::{self, Limits, Room};
use crate::source::Source;
use crate::{
    Dtype, Element, Format, FormatError, archive, caffe, keras, onnx, pytorch, safetensors,
};

/// What a directory with weights, a checkpoint, calls them.
const IN_DIRECTORY: &str = "model.safetensors";

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
    /// How the values lie in the range, where they do not simply follow each other: the last axis
    /// is the fastest, and an axis of the shape may be several here.
    pub(crate) strides: Option<Vec<Axis>>,
    /// In a file of Keras's, what the tensor is called after the class of its layer and how many of
    /// that class come before it in the model: `conv2d_3.weight`.
    pub(crate) ordinal: Option<String>,
    /// Its bytes, where the file does not have them as they are: the range is as long.
    pub(crate) held: Option<Arc<[u8]>>,
}

impl StoredTensor {
    /// Whether its values are put in another order when they are read.
    pub fn is_turned(&self) -> bool {
        self.strides.is_some()
    }

    /// Where values are put in another order: of each axis how many there are and how many values of
    /// the file it is from one to the next, the last axis the fastest. An axis of the shape may be
    /// several here.
    pub fn steps(&self) -> Option<Vec<(usize, usize)>> {
        let axes = self.strides.as_ref()?.iter();
        Some(axes.map(|axis| (axis.extent, axis.stride)).collect())
    }

    /// Bytes of its values in the file.
    pub fn bytes(&self) -> usize {
        self.range.len()
    }
}

/// What is in a weight file: all but the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The file, or what the caller called the bytes.
    pub place: String,
    /// What it is, by its contents.
    pub format: Format,
    /// All tensors, in the order of their values in the file.
    pub tensors: Vec<StoredTensor>,
    /// What else the file says.
    pub metadata: BTreeMap<String, String>,
}

/// A weight file: what is in it, and its values, which are read when they are asked for.
#[derive(Debug)]
pub struct TensorFile {
    listing: Listing,
    source: Source,
    /// Byte of the source from which the tensors' ranges count.
    start: u64,
    /// Of tensors whose values do not follow each other, the parts that were gathered last.
    panels: Mutex<VecDeque<Panel>>,
}

/// What a reader of a format finds in a source.
pub(crate) struct Contents {
    pub(crate) listing: Listing,
    /// Byte from which the tensors' ranges count.
    pub(crate) start: u64,
    /// Where the values are, if the file has them compressed.
    pub(crate) values: Option<Source>,
}

/// Rows of a tensor, in order.
#[derive(Debug)]
struct Panel {
    tensor: StoredTensor,
    first: usize,
    values: Arc<Vec<f32>>,
}

/// How many panels are kept: more than one, for threads that read side by side.
const PANELS: usize = 2;

/// Values that are read at a time: they are in the caches when they are looked at.
const PIECE: usize = 1 << 14;

/// Bytes of another type that are read at a time. A multiple of the size of every type.
const ROOM: usize = 1 << 14;

/// Reads a weight file, or the one in the directory of a checkpoint (`runs/lenet5/best`).
///
/// # Errors
/// [`FormatError`] if it cannot be read, is of no format that is known, is not whole, or holds more
/// than tensors and plain values; [`FormatError::TooLarge`] if it is beyond the limits, which are
/// those of the process. Nothing is allocated before the sizes that the file claims are checked.
pub fn read(path: &Path) -> Result<TensorFile, FormatError> {
    read_within(path, &Limits::current())
}

/// [`read`] within limits of the caller's.
///
/// # Errors
/// As [`read`].
pub fn read_within(path: &Path, limits: &Limits) -> Result<TensorFile, FormatError> {
    let (source, place) = open(path)?;
    TensorFile::of_source(source, place, limits)
}

/// Reads what is in a weight file, but not the values.
///
/// # Errors
/// As [`read`].
pub fn list(path: &Path) -> Result<Listing, FormatError> {
    list_within(path, &Limits::current())
}

/// [`list`] within limits of the caller's.
///
/// # Errors
/// As [`read`].
pub fn list_within(path: &Path, limits: &Limits) -> Result<Listing, FormatError> {
    let (source, place) = open(path)?;
    Ok(contents(&source, place, &Room::within(limits))?.listing)
}

/// What is in a source, within the limits of every format.
fn contents(source: &Source, place: String, room: &Room) -> Result<Contents, FormatError> {
    let contents = recognised(source, place, room)?;
    let Listing { place, tensors, .. } = &contents.listing;
    let too_large = |found: String, limit: String| {
        Err(FormatError::TooLarge { place: place.clone(), found, limit })
    };
    if tensors.len() > limits::TENSORS {
        let found = format!("a file of {} tensors", tensors.len());
        return too_large(found, format!("{} tensors", limits::TENSORS));
    }
    for StoredTensor { name, shape, .. } in tensors {
        if name.len() > limits::NAME {
            let found = format!("the name of a tensor, {} bytes,", name.len());
            return too_large(found, format!("{} bytes", limits::NAME));
        }
        let name = name.escape_debug();
        if shape.len() > limits::AXES {
            let found = format!("`{name}` of {} axes", shape.len());
            return too_large(found, format!("{} axes", limits::AXES));
        }
        let volume = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        if volume.is_none_or(|volume| volume > MAX_VOLUME) {
            let found = format!("`{name}` of shape {shape:?}");
            return too_large(found, format!("{MAX_VOLUME} values"));
        }
    }
    Ok(contents)
}

/// What is in a source, by the format that its first bytes tell.
fn recognised(source: &Source, place: String, room: &Room) -> Result<Contents, FormatError> {
    let len = source.len();
    let mut head = [0; caffe::SNIFFED];
    let sniffed = head.len().min(usize::try_from(len).unwrap_or(usize::MAX));
    let first = &mut head[..sniffed];
    source.read(0, first).map_err(FormatError::io("read", place.as_ref()))?;
    if first.starts_with(keras::MAGIC) {
        return keras::contents(source, 0..len, &keras::Config::default(), place, room);
    }
    if first.starts_with(pytorch::MAGIC) {
        let mut zip = archive::open(source, &place, room)?;
        if let Some(contents) = keras::archive(&mut zip, source, &place, room)? {
            return Ok(contents);
        }
        let listing = pytorch::listing(&mut zip, place, room)?;
        return Ok(Contents { listing, start: 0, values: None });
    }
    if caffe::is_model(first) {
        let listing = caffe::listing(&mut source.reader(), len, place, room)?;
        return Ok(Contents { listing, start: 0, values: None });
    }
    if onnx::is_model(first) {
        return onnx::contents(source, place, room);
    }
    if first.starts_with(pytorch::legacy::MAGIC) {
        let listing = pytorch::legacy::listing(source.reader(), len, &place, room)?;
        return Ok(Contents { listing, start: 0, values: None });
    }
    let listing = safetensors::listing(&mut source.reader(), len, place, room)?;
    // The values are the last.
    let stored = listing.tensors.last().map_or(0, |tensor| tensor.range.end) as u64;
    Ok(Contents { listing, start: len - stored, values: None })
}

/// A weight file, or the one in a directory, and what it is called.
pub(crate) fn open(path: &Path) -> Result<(Source, String), FormatError> {
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
    let source = File::open(path).and_then(Source::disk).map_err(FormatError::io("read", path))?;
    Ok((source, path.display().to_string()))
}

/// Whether all are, in a loop of vectors.
fn finite(values: &[f32]) -> bool {
    values.iter().fold(true, |all, value| all & value.is_finite())
}

impl TensorFile {
    /// Reads a weight file that is in memory already; `place` is what errors call it.
    ///
    /// # Errors
    /// As [`read`].
    pub fn parse(
        bytes: impl Into<Cow<'static, [u8]>>,
        place: &str,
    ) -> Result<TensorFile, FormatError> {
        TensorFile::parse_within(bytes, place, &Limits::current())
    }

    /// [`parse`](TensorFile::parse) within limits of the caller's.
    ///
    /// # Errors
    /// As [`read`].
    pub fn parse_within(
        bytes: impl Into<Cow<'static, [u8]>>,
        place: &str,
        limits: &Limits,
    ) -> Result<TensorFile, FormatError> {
        TensorFile::of_source(Source::memory(bytes), place.to_owned(), limits)
    }

    pub(crate) fn of_source(
        source: Source,
        place: String,
        limits: &Limits,
    ) -> Result<TensorFile, FormatError> {
        let room = Room::within(limits);
        TensorFile::of(contents(&source, place, &room)?, source, &room)
    }

    pub(crate) fn of(
        contents: Contents,
        source: Source,
        room: &Room,
    ) -> Result<TensorFile, FormatError> {
        let Contents { listing, start, values } = contents;
        let floats = |t: &&StoredTensor| matches!(t.element, Element::Float(_));
        let floats = listing.tensors.iter().filter(floats);
        let volumes = floats.map(|tensor| tensor.shape.iter().product::<usize>() as u64);
        let count = volumes.fold(0, u64::saturating_add);
        room.take(count.saturating_mul(4), &listing.place, || format!("{count} values"))?;
        let source = values.unwrap_or(source);
        Ok(TensorFile { listing, source, start, panels: Mutex::default() })
    }

    /// Puts tensors beside those of the file that hold their own bytes, unless it has them.
    pub(crate) fn add(&mut self, held: Vec<StoredTensor>) {
        let names: HashSet<_> = self.listing.tensors.iter().map(|t| t.name.clone()).collect();
        self.listing.tensors.extend(held.into_iter().filter(|t| !names.contains(&t.name)));
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
        let len = stored.shape.iter().product();
        let mut data = Vec::new();
        if data.try_reserve_exact(len).is_err() {
            return Err(self.no_room(stored));
        }
        data.resize(len, 0.0);
        self.piece(stored, 0, &mut data)?;
        Ok(Tensor::new(&stored.shape, data).expect("a listing has checked shapes"))
    }

    /// The type of a tensor's values.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] if they are no floating-point numbers.
    pub(crate) fn dtype(&self, stored: &StoredTensor) -> Result<Dtype, FormatError> {
        match &stored.element {
            Element::Float(dtype) => Ok(*dtype),
            Element::Other(other) => Err(FormatError::Unsupported {
                place: self.listing.place.clone(),
                found: format!("`{}` of type {other}", stored.name.escape_debug()),
                expected: String::from("F64, F32, F16 or BF16: convert it first"),
            }),
        }
    }

    /// Writes values of one of its tensors, from the `from`-th on, to where they belong, and says
    /// whether all are finite.
    ///
    /// # Panics
    /// If the tensor has fewer.
    pub(crate) fn piece(
        &self,
        stored: &StoredTensor,
        from: usize,
        to: &mut [f32],
    ) -> Result<bool, FormatError> {
        let Some(axes) = &stored.strides else { return self.following(stored, from, to) };
        self.gathered(stored, axes, from, to)?;
        Ok(to.chunks(PIECE).all(finite))
    }

    /// A view of the range of a tensor, from the `at`-th value on, and whether all are finite.
    pub(crate) fn gather(
        &self,
        stored: &StoredTensor,
        at: usize,
        axes: &[Axis],
        to: &mut [f32],
    ) -> Result<bool, FormatError> {
        let mut finite = true;
        let read = |skipped: usize, to: &mut [f32]| {
            finite &= self.following(stored, at + skipped, to)?;
            Ok(())
        };
        strided::gather(axes, read, to)?;
        Ok(finite || to.chunks(PIECE).all(self::finite))
    }

    /// Values of the range of a tensor, from the `from`-th on, as they follow each other, and whether
    /// all are finite.
    fn following(
        &self,
        stored: &StoredTensor,
        from: usize,
        to: &mut [f32],
    ) -> Result<bool, FormatError> {
        let dtype = self.dtype(stored)?;
        let (skipped, len) = (from * dtype.size(), to.len() * dtype.size());
        assert!(skipped + len <= stored.range.len(), "a piece of the tensor");
        let mut at = self.start + (stored.range.start + skipped) as u64;
        let mut all = true;
        for to in to.chunks_mut(PIECE) {
            self.decoded(stored, dtype, at, to)?;
            all &= finite(to);
            at += (to.len() * dtype.size()) as u64;
        }
        Ok(all)
    }

    fn decoded(
        &self,
        stored: &StoredTensor,
        dtype: Dtype,
        at: u64,
        to: &mut [f32],
    ) -> Result<(), FormatError> {
        if dtype == Dtype::F32 {
            self.fill(stored, at, to.as_mut_bytes())?;
            to.iter_mut().for_each(|value| *value = f32::from_bits(u32::from_le(value.to_bits())));
            return Ok(());
        }
        let mut room = [0; ROOM];
        for (i, to) in to.chunks_mut(ROOM / dtype.size()).enumerate() {
            let room = &mut room[..to.len() * dtype.size()];
            self.fill(stored, at + (i * ROOM) as u64, room)?;
            dtype.decode(room, to);
        }
        Ok(())
    }

    /// Bytes of a tensor from one on.
    fn fill(&self, stored: &StoredTensor, at: u64, to: &mut [u8]) -> Result<(), FormatError> {
        if let Some(held) = &stored.held {
            let from = at - self.start - stored.range.start as u64;
            to.copy_from_slice(&held[from as usize..][..to.len()]);
            return Ok(());
        }
        self.source.read(at, to).map_err(|error| self.unread(stored, error))
    }

    /// Values of a tensor with strides, from the `from`-th on.
    fn gathered(
        &self,
        stored: &StoredTensor,
        axes: &[Axis],
        mut from: usize,
        mut to: &mut [f32],
    ) -> Result<(), FormatError> {
        let inner = strided::inner(axes);
        while !to.is_empty() {
            let mut rows = strided::panel(axes, from / inner);
            if from == rows.start * inner && to.len() >= rows.len() * inner {
                // More rows together are read in longer pieces.
                rows.end = rows.start + to.len() / inner;
            }
            let (first, volume) = (rows.start * inner, rows.len() * inner);
            let len = (first + volume - from).min(to.len());
            let (now, later) = to.split_at_mut(len);
            if len == volume {
                self.rows(stored, axes, rows, now)?;
            } else {
                let values = self.panel(stored, axes, rows)?;
                now.copy_from_slice(&values[from - first..][..len]);
            }
            from += len;
            to = later;
        }
        Ok(())
    }

    /// Rows of a tensor with strides.
    fn rows(
        &self,
        stored: &StoredTensor,
        axes: &[Axis],
        rows: Range<usize>,
        to: &mut [f32],
    ) -> Result<(), FormatError> {
        let (skipped, axes) = strided::part(axes, rows);
        self.gather(stored, skipped, &axes, to).map(drop)
    }

    /// The same, kept for who reads the rest of them.
    fn panel(
        &self,
        stored: &StoredTensor,
        axes: &[Axis],
        rows: Range<usize>,
    ) -> Result<Arc<Vec<f32>>, FormatError> {
        let mut panels = self.panels.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |panel: &&Panel| panel.first == rows.start && panel.tensor == *stored;
        if let Some(panel) = panels.iter().find(known) {
            return Ok(panel.values.clone());
        }
        let oldest = if panels.len() == PANELS { panels.pop_back() } else { None };
        let mut values = oldest.and_then(|panel| Arc::into_inner(panel.values)).unwrap_or_default();
        let volume = rows.len() * strided::inner(axes);
        if values.try_reserve_exact(volume.saturating_sub(values.len())).is_err() {
            return Err(self.no_room(stored));
        }
        values.resize(volume, 0.0);
        let first = rows.start;
        self.rows(stored, axes, rows, &mut values)?;
        let values = Arc::new(values);
        panels.push_front(Panel { tensor: stored.clone(), first, values: values.clone() });
        Ok(values)
    }

    fn no_room(&self, stored: &StoredTensor) -> FormatError {
        let len: usize = stored.shape.iter().product();
        FormatError::TooLarge {
            place: self.listing.place.clone(),
            found: format!("`{}` of {len} values", stored.name.escape_debug()),
            limit: String::from("the memory of this machine"),
        }
    }

    fn unread(&self, stored: &StoredTensor, error: std::io::Error) -> FormatError {
        let place = self.listing.place.clone();
        if error.kind() != ErrorKind::UnexpectedEof {
            return FormatError::io("read", place.as_ref())(error);
        }
        // It had as many bytes when it was opened.
        let end = self.start + stored.range.end as u64;
        FormatError::Malformed {
            place,
            offset: end,
            found: String::from("the end of the file before it"),
            expected: String::from("as many bytes as before: it was cut off while being read"),
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
            let file = TensorFile::parse(bytes, "bytes").unwrap();
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
            let file = TensorFile::parse(bytes, "bytes").unwrap();
            let stored = &file.listing().tensors[0];
            assert_eq!(stored.element, Element::Other(String::from(dtype)));
            let error = file.tensor(stored).unwrap_err().to_string();
            let expected = format!("bytes: found `x` of type {dtype}, expected F64, F32, F16");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn values_beyond_the_limit_are_not_allocated() {
        let stored = limits::MEMORY + 4;
        let header = file("F32", 4, stored);
        let (len, room) = (header.len() as u64 + stored, Room::within(&Limits::default()));
        let place = String::from("bytes");
        let listing = safetensors::listing(&mut &header[..], len, place, &room).unwrap();
        let contents = Contents { listing, start: 0, values: None };
        let error = TensorFile::of(contents, Source::memory(&[][..]), &room).unwrap_err();
        assert!(matches!(error, FormatError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn memory_is_that_of_the_values_as_they_are_read() {
        let mut bytes = file("F16", 2, 2000);
        let header = bytes.len() as u64 - 8;
        bytes.extend([0; 2000]);
        let needed = safetensors::EXPANSION * header + 4000;
        let within = |memory| TensorFile::parse_within(bytes.clone(), "x", &Limits { memory });
        assert!(within(needed).is_ok());
        let error = within(needed - 1).unwrap_err().to_string();
        let expected = format!("the limit is {} bytes, which --max-memory raises", needed - 1);
        assert!(error.contains("1000 values, 4000 bytes in memory"), "{error}");
        assert!(error.ends_with(&expected), "{error}");
        let error = within(1).unwrap_err().to_string();
        assert!(error.starts_with("x: a header of"), "{error}");
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shrinks.safetensors");
        let mut bytes = file("F32", 4, 8);
        bytes.extend([0; 8]);
        fs::write(&path, &bytes).unwrap();
        let file = read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = file.tensor(&file.listing().tensors[0]).unwrap_err();
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
