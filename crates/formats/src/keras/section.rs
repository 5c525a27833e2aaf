//! The bytes of an HDF5 file, with a guard. The structures of HDF5 may point at each other as they
//! like, so that a small file says the same name a million times, or that a million groups have the
//! same header: each is bounded, all of them together are not. Here is what bounds them.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use hdf5_reader::error::Error;
use hdf5_reader::{Storage, StorageBuffer};

use crate::limits::{NAMES, REREAD, REREAD_BESIDE};
use crate::source::Source;

/// A part of a source as the crate wants it. Offsets and lengths in it have eight bytes.
pub(super) struct Section {
    source: Source,
    bytes: Range<u64>,
    seen: Mutex<Seen>,
}

/// What has been read so far.
#[derive(Default)]
struct Seen {
    /// Bytes in all.
    bytes: u64,
    /// Bytes of names.
    names: u64,
    /// Where the names of the group are that is being read.
    heap: Range<u64>,
    /// The longest name that the last heap of links may hold.
    longest: u64,
}

impl Section {
    pub(super) fn new(source: Source, bytes: Range<u64>) -> Section {
        Section { source, bytes, seen: Mutex::default() }
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let available = Storage::len(self).saturating_sub(offset);
        if len as u64 > available {
            return Err(Error::UnexpectedEof { offset, needed: len as u64, available });
        }
        let mut room = vec![0; len];
        self.source.read(self.bytes.start + offset, &mut room)?;
        Ok(room)
    }

    /// The names in a node of a group's tree, which are where the last heap said.
    fn names(&self, heap: &Range<u64>, node: &[u8]) -> Result<u64, Error> {
        const HEADER: usize = 8;
        const ENTRY: usize = 40;
        let (entries, rest) = node[HEADER..].as_chunks::<ENTRY>();
        if entries.is_empty() || !rest.is_empty() {
            return Ok(0);
        }
        let len = usize::try_from(heap.end - heap.start).unwrap_or(usize::MAX);
        let texts = self.read(heap.start, len)?;
        let longest = |at: usize| {
            let text = texts.get(at..).unwrap_or_default();
            let most = NAMES as usize;
            text.iter().take(most).position(|byte| *byte == 0).unwrap_or(text.len().min(most))
        };
        let mut names = 0;
        for entry in entries {
            let (name, link) = (number(&entry[..8]), number(&entry[24..28]));
            let name = usize::try_from(name).unwrap_or(usize::MAX);
            names += longest(name) as u64;
            // A soft link, whose text is in the heap too.
            if number(&entry[16..20]) == 2 {
                names += longest(link as usize) as u64;
            }
            if names > NAMES {
                break;
            }
        }
        Ok(names)
    }

    /// Counts what a piece of the file stands for.
    fn guard(&self, piece: &[u8]) -> Result<(), Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let too_many = |what: &str, limit: u64| {
            Err(Error::ResourceLimit(format!("{what} of more than {limit} bytes")))
        };
        seen.bytes += piece.len() as u64;
        match piece.first_chunk() {
            Some(b"HEAP") if piece.len() >= 32 => {
                let (len, start) = (number(&piece[8..16]), number(&piece[24..32]));
                seen.heap = start..start.saturating_add(len);
            }
            Some(b"SNOD") if piece.len() > 8 => {
                let heap = seen.heap.clone();
                seen.bytes += (heap.end - heap.start).min(Storage::len(self));
                seen.names += self.names(&heap, piece)?;
            }
            Some(b"FRHP") if piece.len() >= 14 => seen.longest = number(&piece[10..14]),
            // A record of a link has eleven bytes at least, and each is for a name.
            Some(b"BTLF" | b"BTIN") => {
                seen.names += (piece.len() as u64 / 11).saturating_mul(seen.longest);
            }
            Some(_) | None => {}
        }
        let limit = Storage::len(self).saturating_mul(REREAD).saturating_add(REREAD_BESIDE);
        if seen.bytes > limit {
            return too_many("structures that are read again and again,", limit);
        }
        if seen.names > NAMES {
            return too_many("names", NAMES);
        }
        Ok(())
    }
}

impl Storage for Section {
    fn len(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer, Error> {
        let piece = self.read(offset, len)?;
        self.guard(&piece)?;
        Ok(StorageBuffer::from_vec(piece))
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
