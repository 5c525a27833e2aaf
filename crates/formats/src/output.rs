use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

use striate_graph::{Param, ParamSource};
use striate_tensor::strided::Axis;

use crate::Dtype;
use crate::checksum::Checksum;
use crate::disk::Disk;
use crate::parts::{self, Placed};

/// Bytes that wait for others.
const WAITING: usize = 1 << 16;

/// A file that is written from begin to end, but for values of parameters: these are left out, and
/// written at last, by several threads, where they belong.
pub(crate) struct Output<'w> {
    disk: Disk,
    /// Bytes up to here are written, or will be.
    end: u64,
    /// The bytes that follow.
    waiting: Vec<u8>,
    values: Vec<Placed<'w>>,
}

impl<'w> Output<'w> {
    pub(crate) fn new(file: File) -> Output<'w> {
        let (disk, waiting) = (Disk::new(file), Vec::with_capacity(WAITING));
        Output { disk, end: 0, waiting, values: Vec::new() }
    }

    /// Values of a parameter are next: all in our order, or those of a view.
    pub(crate) fn values(
        &mut self,
        source: &'w dyn ParamSource,
        param: &'w Param,
        view: Option<Vec<Axis>>,
        dtype: Dtype,
    ) -> io::Result<()> {
        self.next(|at| Placed::new(source, param, view, dtype, at))
    }

    /// All values of a parameter are next, in our order, and their bytes have a checksum.
    pub(crate) fn summed(
        &mut self,
        source: &'w dyn ParamSource,
        param: &'w Param,
        dtype: Dtype,
        checksum: Arc<Checksum>,
    ) -> io::Result<()> {
        self.next(|at| Placed::new(source, param, None, dtype, at).summed(checksum))
    }

    fn next(&mut self, values: impl FnOnce(u64) -> Placed<'w>) -> io::Result<()> {
        self.flush()?;
        let placed = values(self.end);
        self.end = placed.bytes().end;
        self.values.push(placed);
        Ok(())
    }

    /// Writes all that is left out.
    pub(crate) fn place(&mut self) -> io::Result<()> {
        self.flush()?;
        parts::write(&self.disk, &mem::take(&mut self.values))
    }

    /// Bytes of the file up to here: what is next begins there.
    pub(crate) fn end(&self) -> u64 {
        self.end + self.waiting.len() as u64
    }

    /// Puts other bytes in the place of some that are written.
    pub(crate) fn replace(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.flush()?;
        self.disk.write_all_at(bytes, at)
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

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
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
    use crate::positioned::Positioned;

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
            let checksum = Arc::new(Checksum::new((weight.range.len() * dtype.size()) as u64));
            output.summed(&params, weight, dtype, checksum.clone()).unwrap();
            output.write_all(b"fail").unwrap();
            output.place().unwrap();
            assert_eq!(checksum.value(), crc32fast::hash(&encoded(dtype, values(weight))));
            let tail = output.end() - 4;
            output.replace(b"t", tail).unwrap();

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
