use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
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
/// written by several threads where they belong, at last or, if that is asked for, at once
/// ([`ahead`](Output::ahead)).
pub(crate) struct Output<'w> {
    file: Arc<Positioned>,
    disk: Disk,
    /// Bytes up to here are written, or will be.
    end: u64,
    /// The bytes that follow.
    waiting: Vec<u8>,
    values: Vec<Placed<'w>>,
    /// From the end up to here bytes are written ahead.
    known: u64,
}

impl<'w> Output<'w> {
    pub(crate) fn new(file: File) -> Output<'w> {
        let (file, waiting) = (Arc::new(Positioned::new(file)), Vec::with_capacity(WAITING));
        let disk = Disk::new(&file, SYNCED);
        Output { file, disk, end: 0, waiting, values: Vec::new(), known: 0 }
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
        parts::write(&self.file, slice::from_ref(&placed), &self.disk)?;
        self.known = placed.bytes().end;
        Ok(Ahead { file: Arc::clone(&self.file), bytes: placed.bytes() })
    }

    /// Writes all that is left out.
    pub(crate) fn place(&mut self) -> io::Result<()> {
        self.flush()?;
        parts::write(&self.file, &mem::take(&mut self.values), &self.disk)
    }

    /// The file, with all that belongs there.
    pub(crate) fn finish(mut self) -> io::Result<File> {
        self.place()?;
        let Output { file, mut disk, .. } = self;
        disk.wait()?;
        drop(disk);
        let file = Arc::into_inner(file).ok_or_else(|| io::Error::other("it is still read"))?;
        Ok(file.into_file())
    }

    /// Writes what is next.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.disk.written(bytes.len())
    }
}

/// Brings a file to the disk while more is written, so that little is left to wait for.
pub(crate) struct Disk {
    file: Arc<Positioned>,
    /// Bytes that are brought there at a time.
    together: usize,
    state: Mutex<Writing>,
}

/// Bytes that are not yet brought to the disk, and who brings others.
#[derive(Default)]
struct Writing {
    bytes: usize,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Disk {
    fn new(file: &Arc<Positioned>, together: usize) -> Disk {
        Disk { file: Arc::clone(file), together, state: Mutex::default() }
    }

    /// So many bytes more are written.
    pub(crate) fn written(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += bytes;
        let idle = state.thread.as_ref().is_none_or(JoinHandle::is_finished);
        if state.bytes >= self.together && idle {
            state.wait()?;
            let file = Arc::clone(&self.file);
            // Without a thread more is left for the end.
            state.thread = thread::Builder::new().spawn(move || file.sync_data()).ok();
            state.bytes = 0;
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).wait()
    }
}

impl Writing {
    fn wait(&mut self) -> io::Result<()> {
        let ended = |_| Err(io::Error::other("a thread that synced ended"));
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(ended))
    }
}

impl Drop for Disk {
    /// Nobody has the file any more when it is removed. What went wrong was told to who waited.
    fn drop(&mut self) {
        let _ = self.wait();
    }
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
            let piece = &mut room[..(end - begin).min(PIECE as u64) as usize];
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

#[cfg(test)]
mod tests {
    use striate_graph::{Graph, Init, Params, Shape};
    use striate_tensor::Rng;
    use striate_tensor::strided;

    use super::*;

    /// Of one tensor that is more than a part, and one that is small.
    fn params() -> Params {
        let graph = Graph::build(Shape::map(1, 1, 400), |x| x.flatten().at("fc").linear(300));
        Params::init(&graph.unwrap(), &Init::LeCun, &Rng::new(1))
    }

    fn encoded(dtype: Dtype, values: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        dtype.encode(values, &mut bytes);
        bytes
    }

    #[test]
    fn values_of_any_type_are_where_they_belong() {
        let params = params();
        let [weight, bias] = params.layout().params() else { panic!("two tensors") };
        let transposed = [Axis::new(400, 1), Axis::new(300, 400)];
        let mut columns = vec![0.0; 400 * 300];
        let read = |at: usize, to: &mut [f32]| params.read(weight, at, to);
        strided::gather(&transposed, read, &mut columns).unwrap();
        let values = |param: &Param| &params.values()[param.range.clone()];
        for dtype in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16] {
            let mut output = Output::new(tempfile::tempfile().unwrap());
            output.write_all(b"head").unwrap();
            output.values(&params, weight, None, dtype).unwrap();
            output.write_all(&vec![7; 3 * WAITING]).unwrap();
            output.values(&params, weight, Some(transposed.to_vec()), dtype).unwrap();
            let each = vec![Axis::new(300, 1), Axis::new(3, 0)];
            output.values(&params, bias, Some(each), dtype).unwrap();
            let ahead = output.ahead(&params, weight, dtype).unwrap();
            ahead.pieces(&mut |bytes| output.write_all(bytes)).unwrap();
            output.write_all(b"tail").unwrap();

            let file = Positioned::new(output.finish().unwrap());
            let repeated: Vec<f32> = values(bias).iter().flat_map(|&v| [v; 3]).collect();
            let expected = [
                b"head".to_vec(),
                encoded(dtype, values(weight)),
                vec![7; 3 * WAITING],
                encoded(dtype, &columns),
                encoded(dtype, &repeated),
                encoded(dtype, values(weight)),
                b"tail".to_vec(),
            ];
            let expected = expected.concat();
            let mut found = vec![0; expected.len()];
            file.read_exact_at(&mut found, 0).unwrap();
            assert!(found == expected, "{dtype}");
            assert!(file.read_exact_at(&mut [0], expected.len() as u64).is_err(), "{dtype}");
        }
    }

    #[test]
    fn what_is_written_goes_to_the_disk_meanwhile() {
        let file = Arc::new(Positioned::new(tempfile::tempfile().unwrap()));
        let mut disk = Disk::new(&file, 1000);
        let begun = |disk: &Disk| disk.state.lock().unwrap().thread.is_some();
        disk.written(999).unwrap();
        assert!(!begun(&disk));
        disk.written(1).unwrap();
        assert!(begun(&disk));
        disk.wait().unwrap();
        // Another's failure is told.
        let failing = || Err(io::ErrorKind::StorageFull.into());
        disk.state.get_mut().unwrap().thread = Some(thread::spawn(failing));
        assert_eq!(disk.wait().unwrap_err().kind(), io::ErrorKind::StorageFull);
        drop(disk);
        assert!(Arc::into_inner(file).is_some());
    }
}
