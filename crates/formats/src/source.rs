use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::positioned::Positioned;

/// The bytes of a file, in memory or where they are, for as many readers as like.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Memory(Arc<Cow<'static, [u8]>>),
    Disk { file: Arc<Positioned>, len: u64 },
}

impl Source {
    pub(crate) fn memory(bytes: impl Into<Cow<'static, [u8]>>) -> Source {
        Source::Memory(Arc::new(bytes.into()))
    }

    pub(crate) fn disk(file: File) -> io::Result<Source> {
        let len = file.metadata()?.len();
        Ok(Source::Disk { file: Arc::new(Positioned::new(file)), len })
    }

    /// How many there are, or were when the file was opened.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Source::Memory(bytes) => bytes.len() as u64,
            Source::Disk { len, .. } => *len,
        }
    }

    /// As many as there is room for, from one on; where they are in memory, these.
    pub(crate) fn bytes<'a>(&'a self, at: u64, room: &'a mut [u8]) -> io::Result<&'a [u8]> {
        match self {
            Source::Memory(bytes) => part(bytes, at, room.len()),
            Source::Disk { file, .. } => {
                file.read_exact_at(room, at)?;
                Ok(room)
            }
        }
    }

    /// Fills `to` from one on.
    pub(crate) fn read(&self, at: u64, to: &mut [u8]) -> io::Result<()> {
        match self {
            Source::Memory(bytes) => {
                to.copy_from_slice(part(bytes, at, to.len())?);
                Ok(())
            }
            Source::Disk { file, .. } => file.read_exact_at(to, at),
        }
    }

    /// From the first byte on, one after the other.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { source: self, at: 0 }
    }
}

fn part(bytes: &[u8], at: u64, len: usize) -> io::Result<&[u8]> {
    let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
    from.and_then(|bytes| bytes.get(..len)).ok_or_else(|| ErrorKind::UnexpectedEof.into())
}

/// A [`Source`] read in order.
pub(crate) struct Reader<'s> {
    source: &'s Source,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = self.source.len().saturating_sub(self.at);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(to.len());
        self.source.read(self.at, &mut to[..len])?;
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.source.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
