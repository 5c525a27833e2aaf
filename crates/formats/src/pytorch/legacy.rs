//! What `torch.save` wrote before PyTorch 1.6: a few pickles one after the other, and the storages.
//!
//! First a number that tells the format, its version, and what machine wrote it; then what was
//! saved; then the keys of the storages, and behind that each storage: how many values, and these.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use super::pickle::{Heap, Value};
use super::{Archive, element, run, tensors};
use crate::limits::{self, Room};
use crate::{FormatError, Listing};

/// How such a file begins: the pickle of 0x1950a86a20f9469cfc6c.
pub(crate) const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// The version of the format; there was no other.
const VERSION: i64 = 1001;

/// What is in the file, of `len` bytes. The ranges of the tensors count from its first byte.
pub(crate) fn listing(
    mut source: impl Read + Seek,
    len: u64,
    place: &str,
    room: &Room,
) -> Result<Listing, FormatError> {
    let mut bytes = Vec::new();
    // Where the pickles end they say themselves.
    let most = limits::PICKLE.min(len).min(room.left());
    room.take(most, place, String::new)?;
    let read = source.by_ref().take(most).read_to_end(&mut bytes);
    read.map_err(FormatError::io("read", place.as_ref()))?;
    let mut at = MAGIC.len();
    let mut next = || -> Result<(Heap, Value), FormatError> {
        let rest = bytes.get(at..).unwrap_or_default();
        let (heap, value, end) = run(rest, place, at as u64, room)?;
        at += end;
        Ok((heap, value))
    };
    let malformed = |offset: u64, found: String| FormatError::Malformed {
        place: place.to_owned(),
        offset,
        found,
        expected: String::from("a whole file of torch.save: copy or download it again"),
    };
    let ((_, version), (machine, about)) = (next()?, next()?);
    if version != Value::Int(VERSION) || !is_little_endian(&machine, about) {
        return Err(FormatError::Unsupported {
            place: place.to_owned(),
            found: String::from("another version, or values in big-endian order"),
            expected: format!("version {VERSION}, in little-endian order: save them again"),
        });
    }
    let (heap, root) = next()?;
    let (names, keys) = next()?;
    let start = at as u64;
    let Value::List(keys) = keys else {
        return Err(malformed(start, String::from("no list of storages")));
    };
    // Which type of values each storage has, and how many.
    let known: BTreeMap<&str, (&str, i64)> = heap
        .storages
        .iter()
        .map(|storage| (storage.key.as_str(), (storage.element, storage.len)))
        .collect();
    let (mut storages, mut offset) = (BTreeMap::new(), start);
    for key in &names.lists[keys] {
        let Value::Text(key) = *key else {
            return Err(malformed(start, String::from("a storage without a name")));
        };
        let key = names.texts[key].as_str();
        let Some(&(kind, expected)) = known.get(key) else {
            let found = format!("storage `{}`, which nothing is a view of", key.escape_debug());
            return Err(malformed(offset, found));
        };
        let mut count = [0; 8];
        let sought =
            source.seek(SeekFrom::Start(offset)).and_then(|_| source.read_exact(&mut count));
        if sought.is_err() || i64::from_le_bytes(count) != expected {
            let found = format!("another length of storage `{}`", key.escape_debug());
            return Err(malformed(offset, found));
        }
        let size = u64::try_from(expected).ok().and_then(|n| n.checked_mul(element(kind).1));
        let begin = offset + 8;
        let end = size.and_then(|size| begin.checked_add(size)).filter(|end| *end <= len);
        let Some(end) = end else {
            let found = format!("storage `{}` of {expected} values", key.escape_debug());
            return Err(malformed(offset, found));
        };
        storages.insert(key.to_owned(), begin..end);
        offset = end;
    }
    let metadata = BTreeMap::new();
    tensors(
        &heap,
        root,
        Archive { program: Vec::new(), start, storages, metadata },
        place.to_owned(),
    )
}

fn is_little_endian(heap: &Heap, about: Value) -> bool {
    let Value::Dict(about) = about else { return false };
    heap.dicts[about].iter().any(|(key, value)| {
        let named = matches!(key, Value::Text(key) if heap.texts[*key] == "little_endian");
        named && *value == Value::Bool(true)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const GOOD: &[u8] = include_bytes!("../../tests/pytorch/legacy.pth");

    fn parse(bytes: &[u8]) -> Result<Listing, FormatError> {
        let room = Room::within(&crate::Limits::default());
        listing(Cursor::new(bytes), bytes.len() as u64, "bytes", &room)
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        assert!(GOOD.starts_with(MAGIC));
        assert_eq!(parse(GOOD).unwrap().tensors.len(), 11);
        for len in 0..GOOD.len() {
            assert!(parse(&GOOD[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_harmless() {
        for bit in 0..8 * GOOD.len() {
            let mut bytes = GOOD.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(listing) = parse(&bytes) {
                let ends = listing.tensors.iter().map(|tensor| tensor.range.end);
                assert!(ends.max().unwrap_or(0) <= bytes.len(), "{bit}");
            }
        }
    }

    #[test]
    fn a_command_is_named_and_refused() {
        let evil = [MAGIC, b"\x80\x02cposix\nsystem\n(X\x04\0\0\0truetR."].concat();
        let error = parse(&evil).unwrap_err().to_string();
        assert!(error.contains("`posix.system`"), "{error}");
    }
}
