use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use striate_graph::{Param, ParamSource};
use striate_tensor::strided::Axis;

use crate::Dtype;
use crate::disk::Disk;
use crate::parts::{self, Placed};
use crate::positioned::Positioned;

/// Bytes that wait for others.
const WAITING: usize = 1 << 16;

/// Bytes that are read again at a time.
const PIECE: usize = 1 << 18;

/// A file that is written from begin to end, but for values of parameters: these are left out, and
/// written by several threads where they belong, at last or, if that is asked for, at once
/// ([`ahead`](Output::ahead)).
pub(crate) struct Output<'w> {
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
        let (disk, waiting) = (Disk::new(file), Vec::with_capacity(WAITING));
        Output { disk, end: 0, waiting, values: Vec::new(), known: 0 }
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
        parts::write(&self.disk, slice::from_ref(&placed))?;
        self.known = placed.bytes().end;
        Ok(Ahead { file: self.disk.file(), bytes: placed.bytes() })
    }

    /// Writes all that is left out.
    pub(crate) fn place(&mut self) -> io::Result<()> {
        self.flush()?;
        parts::write(&self.disk, &mem::take(&mut self.values))
    }

    /// The file, with all that belongs there.
    pub(crate) fn finish(mut self) -> io::Result<File> {
        self.place()?;
        self.disk.finish()
    }

    /// Writes what is next.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
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
}
