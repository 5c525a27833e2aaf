use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::slice;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use striate_graph::{Param, ParamSource};
use striate_tensor::strided::Axis;

use crate::Dtype;
use crate::parts::{self, Placed};
use crate::positioned::Positioned;

/// Bytes that wait for others.
const WAITING: usize = 1 << 16;

/// Bytes that are read again at a time.
const PIECE: usize = 1 << 18;

/// Bytes that are brought to the disk at a time.
const SYNCED: usize = 1 << 26;

/// A file that is written from begin to end, but for values of parameters: these are left out, and
/// written at last, where they belong, by several threads. Another brings to the disk what is
/// written, so that little is left to wait for.
pub(crate) struct Output<'w> {
    file: Arc<Positioned>,
    /// Bytes up to here are written, or will be.
    end: u64,
    /// The bytes that follow.
    waiting: Vec<u8>,
    values: Vec<Placed<'w>>,
    /// Bytes up to here are written, those after the end too.
    known: u64,
    /// Who brings it to the disk, and who tells how much there is.
    sync: JoinHandle<io::Result<()>>,
    written: Sender<usize>,
}

impl<'w> Output<'w> {
    pub(crate) fn new(file: File) -> Output<'w> {
        let (file, waiting) = (Arc::new(Positioned::new(file)), Vec::with_capacity(WAITING));
        let (written, told) = mpsc::channel();
        let shared = Arc::clone(&file);
        let sync = thread::spawn(move || sync(&shared, told));
        Output { file, end: 0, waiting, values: Vec::new(), known: 0, sync, written }
    }

    /// Values of a parameter are next: all in our order, or those of a view.
    pub(crate) fn values(
        &mut self,
        source: &'w dyn ParamSource,
        param: &'w Param,
        view: Option<Vec<Axis>>,
        dtype: Dtype,
    ) -> io::Result<()> {
        self.flush()?;
        let placed = Placed::new(source, param, view, dtype, self.end);
        self.end = placed.bytes().end;
        self.values.push(placed);
        Ok(())
    }

    /// Writes values of a parameter at once, and hands out their bytes in order, for who has to see
    /// them and then writes them a second time, which does nothing.
    pub(crate) fn ahead(
        &mut self,
        source: &dyn ParamSource,
        param: &Param,
        dtype: Dtype,
    ) -> io::Result<Ahead> {
        self.flush()?;
        let placed = Placed::new(source, param, None, dtype, self.end);
        parts::write(&self.file, slice::from_ref(&placed), &self.written)?;
        self.known = placed.bytes().end;
        Ok(Ahead { file: Arc::clone(&self.file), bytes: placed.bytes() })
    }

    /// The file, with all that belongs there.
    pub(crate) fn finish(mut self) -> io::Result<File> {
        self.place()?;
        let Output { file, sync, written, .. } = self;
        drop(written);
        sync.join().unwrap_or_else(|_| Err(io::Error::other("the thread that synced ended")))?;
        Ok(Arc::into_inner(file).expect("that thread had the other").into_file())
    }

    /// Writes all that waits.
    fn place(&mut self) -> io::Result<()> {
        self.flush()?;
        parts::write(&self.file, &mem::take(&mut self.values), &self.written)
    }

    /// Writes what is next, and more is expected.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        parts::tell(&self.written, bytes.len());
        Ok(())
    }
}

/// Brings a file to the disk while others write, who tell how much they wrote.
fn sync(file: &Positioned, written: Receiver<usize>) -> io::Result<()> {
    let mut waiting = 0;
    for bytes in written {
        waiting += bytes;
        if waiting >= SYNCED {
            file.sync_data()?;
            waiting = 0;
        }
    }
    Ok(())
}

/// Bytes that are written before who writes the rest of the file comes to them.
pub(crate) struct Ahead {
    file: Arc<Positioned>,
    bytes: Range<u64>,
}

impl Ahead {
    /// Hands out the bytes, piece by piece.
    pub(crate) fn pieces(self, see: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut room = vec![0; PIECE];
        let Ahead { file, bytes: Range { start, end } } = self;
        (start..end).step_by(PIECE).try_for_each(|begin| {
            let piece = &mut room[..PIECE.min((end - begin) as usize)];
            file.read_exact_at(piece, begin)?;
            see(piece)
        })
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.end < self.known {
            let len = usize::try_from(self.known - self.end).unwrap_or(usize::MAX);
            let len = len.min(bytes.len());
            self.end += len as u64;
            return Ok(len);
        }
        if self.waiting.len() + bytes.len() > WAITING {
            self.flush()?;
        }
        if bytes.len() >= WAITING {
            self.append(bytes)?;
        } else {
            self.waiting.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let waiting = mem::take(&mut self.waiting);
        self.append(&waiting)?;
        self.waiting = waiting;
        self.waiting.clear();
        Ok(())
    }
}
