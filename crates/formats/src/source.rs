use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::positioned::Positioned;

/// The bytes of a file, in memory or where they are, for as many readers as like.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Memory(Arc<Cow<'static, [u8]>>),
    Disk {
        file: Arc<Positioned>,
        len: u64,
    },
    /// One after the other, each with the byte at which it begins. Nobody reads across a border.
    Several(Arc<[(u64, Source)]>),
}

impl Source {
    pub(crate) fn memory(bytes: impl Into<Cow<'static, [u8]>>) -> Source {
        Source::Memory(Arc::new(bytes.into()))
    }

    pub(crate) fn disk(file: File) -> io::Result<Source> {
        let len = file.metadata()?.len();
        Ok(Source::Disk { file: Arc::new(Positioned::new(file)), len })
    }

    /// Several as one.
    pub(crate) fn several(sources: impl IntoIterator<Item = Source>) -> Source {
        let mut end = 0;
        let placed = |source: Source| {
            let start = end;
            end += source.len();
            (start, source)
        };
        Source::Several(sources.into_iter().map(placed).collect())
    }

    /// How many there are, or were when the file was opened.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Source::Memory(bytes) => bytes.len() as u64,
            Source::Disk { len, .. } => *len,
            Source::Several(sources) => sources.last().map_or(0, |(at, last)| at + last.len()),
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
            Source::Several(sources) => {
                let (at, source) = of(sources, at)?;
                source.read(at, to)
            }
        }
    }

    /// From the first byte on, one after the other.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { source: self, at: 0 }
    }
}

/// The source that has this byte, and which of its bytes it is.
fn of(sources: &[(u64, Source)], at: u64) -> io::Result<(u64, &Source)> {
    let before = sources.partition_point(|(start, _)| *start <= at);
    let found = before.checked_sub(1).and_then(|i| sources.get(i));
    let (start, source) = found.ok_or(ErrorKind::UnexpectedEof)?;
    Ok((at - start, source))
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
