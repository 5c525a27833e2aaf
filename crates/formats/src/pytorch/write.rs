//! What `torch.save(state_dict)` writes, so that `torch.load(weights_only=True)` reads it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::METADATA;
use super::directory::Directory;
use crate::atomic::write_output;
use crate::checksum::Checksum;
use crate::output::Output;
use crate::tensors::{Values, Writing, check};
use crate::{Dtype, FormatError};

/// The folder in which the archive has all its entries.
const ROOT: &str = "archive";

/// Writes tensors in the order given, and metadata in an entry of its own that PyTorch passes over.
pub(crate) fn write(
    path: &Path,
    tensors: &[Writing<'_>],
    metadata: &BTreeMap<String, String>,
    dtype: Dtype,
) -> Result<(), FormatError> {
    check(path, tensors, dtype)?;
    let unwritable = |reason| FormatError::Unwritable { place: path.display().to_string(), reason };
    let metadata = serde_json::to_vec(metadata).map_err(|error| unwritable(error.to_string()))?;
    let program = program(tensors, dtype);
    write_output(path, |output| {
        let mut entries = Entries { directory: Directory::default(), output };
        entries.bytes("data.pkl", &program)?;
        entries.bytes("byteorder", b"little")?;
        for (i, tensor) in tensors.iter().enumerate() {
            entries.tensor(&format!("data/{i}"), tensor, dtype)?;
        }
        entries.bytes("version", b"3\n")?;
        entries.bytes(METADATA, &metadata)?;
        entries.finish()
    })
}

struct Entries<'a, 'w> {
    output: &'a mut Output<'w>,
    directory: Directory,
}

impl<'w> Entries<'_, 'w> {
    /// Begins an entry; its bytes are to be shown to the checksum.
    fn begin(&mut self, name: &str, len: usize) -> io::Result<Arc<Checksum>> {
        let name = format!("{ROOT}/{name}");
        let (header, checksum) = self.directory.header(self.output.end(), name, len as u64);
        self.output.write_all(&header)?;
        Ok(checksum)
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, bytes.len())?.part().see(bytes, 0);
        self.output.write_all(bytes)
    }

    fn tensor(&mut self, name: &str, tensor: &Writing<'w>, dtype: Dtype) -> io::Result<()> {
        match tensor.values {
            Values::Here(values) => {
                let mut bytes = Vec::new();
                dtype.encode(values, &mut bytes);
                self.bytes(name, &bytes)
            }
            Values::Of(source, param) => {
                let checksum = self.begin(name, tensor.len() * dtype.size())?;
                self.output.summed(source, param, dtype, checksum)
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        // After that all checksums are known.
        self.output.place()?;
        for (at, checksum) in self.directory.checksums() {
            self.output.replace(&checksum, at)?;
        }
        self.output.write_all(&self.directory.end(self.output.end()))
    }
}

/// The pickle: an ordered dictionary of tensors, each the whole of a storage of its own.
fn program(tensors: &[Writing<'_>], dtype: Dtype) -> Vec<u8> {
    let mut pickle = Pickle(b"\x80\x02".to_vec());
    let storage = match dtype {
        Dtype::F64 => "DoubleStorage",
        Dtype::F32 => "FloatStorage",
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
    };
    pickle.ordered();
    pickle.push(b"(");
    for (i, tensor) in tensors.iter().enumerate() {
        let shape = tensor.shape;
        pickle.text(tensor.name);
        pickle.global("torch._utils", "_rebuild_tensor_v2");
        pickle.push(b"((");
        pickle.text("storage");
        pickle.global("torch", storage);
        pickle.text(&i.to_string());
        pickle.text("cpu");
        pickle.number(tensor.len());
        pickle.push(b"tQ");
        pickle.number(0);
        pickle.tuple(shape);
        let strides = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product());
        pickle.tuple(&strides.collect::<Vec<usize>>());
        // Asks for no gradients, has no hooks.
        pickle.push(b"\x89");
        pickle.ordered();
        pickle.push(b"tR");
    }
    pickle.push(b"u.");
    pickle.0
}

struct Pickle(Vec<u8>);

impl Pickle {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.push(b"X");
        self.push(&(text.len() as u32).to_le_bytes());
        self.push(text.as_bytes());
    }

    fn number(&mut self, number: usize) {
        match u32::try_from(number) {
            Ok(small) if small <= i32::MAX as u32 => {
                self.push(b"J");
                self.push(&small.to_le_bytes());
            }
            // Eight bytes and one for the sign.
            Ok(_) | Err(_) => {
                self.push(b"\x8a\x09");
                self.push(&(number as u64).to_le_bytes());
                self.push(b"\0");
            }
        }
    }

    fn tuple(&mut self, numbers: &[usize]) {
        self.push(b"(");
        numbers.iter().for_each(|&number| self.number(number));
        self.push(b"t");
    }

    fn global(&mut self, module: &str, name: &str) {
        self.push(format!("c{module}\n{name}\n").as_bytes());
    }

    fn ordered(&mut self) {
        self.global("collections", "OrderedDict");
        self.push(b")R");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use striate_graph::{Graph, Init, ParamSource, Params, Shape};
    use striate_tensor::Rng;
    use striate_tensor::strided::Axis;
    use zip::ZipArchive;

    use super::*;
    use crate::parts::tests::Stored;
    use crate::{TensorFile, read};

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights.pth");
        let values: Vec<f32> = (0..24).map(|i| i as f32 - 3.5).collect();
        let tensor =
            |name, shape, n: usize| Writing { name, shape, values: Values::Here(&values[..n]) };
        let tensors = [
            tensor("b", &[2, 3, 4], 24),
            tensor("a.ä", &[5], 5),
            tensor("s", &[], 1),
            tensor("none", &[0, 3], 0),
        ];
        let metadata = BTreeMap::from([(String::from("striate.model"), String::from("\"x\""))]);
        for dtype in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16] {
            write(&path, &tensors, &metadata, dtype).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            write(&path, &tensors, &metadata, dtype).unwrap();
            assert_eq!(bytes, std::fs::read(&path).unwrap(), "the same every time");
            let file = read(&path).unwrap();
            assert_eq!(file.listing().metadata, metadata);
            assert_eq!(file.listing().tensors.len(), 4);
            for Writing { name, shape, .. } in &tensors {
                let found = file.listing().tensors.iter().find(|t| t.name == *name).unwrap();
                assert_eq!(found.shape, *shape, "{name}");
                let expected = &values[..shape.iter().product()];
                assert_eq!(file.tensor(found).unwrap().data(), expected, "{name} {dtype}");
            }
            assert!(TensorFile::parse(bytes, "bytes").is_ok());
        }
    }

    /// Weights as Keras stores them, which are written in several parts of many runs.
    #[test]
    fn checksums_are_those_of_the_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights.pth");
        let graph = Graph::build(Shape::map(40, 7, 7), |x| x.flatten().at("fc").linear(120));
        let params = Params::init(&graph.unwrap(), &Init::LeCun, &Rng::new(1));
        let axes = [(120, 1), (40, 120), (7, 7 * 40 * 120), (7, 40 * 120)];
        let stored = Stored(params.clone(), axes.map(|(n, s)| Axis::new(n, s)));
        let shapes: [&[usize]; 2] = [&[120, 1960], &[120]];
        let params = stored.layout().params();
        let tensors: Vec<Writing<'_>> = (params.iter().zip(["weight", "bias"]).zip(shapes))
            .map(|((param, name), shape)| Writing {
                name,
                shape,
                values: Values::Of(&stored, param),
            })
            .collect();
        for dtype in [Dtype::F64, Dtype::F32, Dtype::F16] {
            write(&path, &tensors, &BTreeMap::new(), dtype).unwrap();
            let mut zip = ZipArchive::new(File::open(&path).unwrap()).unwrap();
            zip.validate_header_consistency().unwrap();
            for i in 0..zip.len() {
                // At its end the sum is compared.
                zip.by_index(i).unwrap().read_to_end(&mut Vec::new()).unwrap();
            }
            let file = read(&path).unwrap();
            for (tensor, param) in file.listing().tensors.iter().zip(params) {
                let found = file.tensor(tensor).unwrap();
                let near = |a: &f32, b: &f32| (a - b).abs() <= 1e-3 * b.abs().max(1e-3);
                let expected = &stored.0.values()[param.range.clone()];
                assert!(found.data().iter().zip(expected).all(|(a, b)| near(a, b)), "{dtype}");
            }
        }
    }

    #[test]
    fn numbers_of_any_size() {
        let mut pickle = Pickle(Vec::new());
        [7, 1 << 31, 1 << 40].into_iter().for_each(|n| pickle.number(n));
        let expected: [&[u8]; 3] = [
            &[b'J', 7, 0, 0, 0],
            &[0x8a, 9, 0, 0, 0, 0x80, 0, 0, 0, 0, 0],
            &[0x8a, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        ];
        assert_eq!(pickle.0, expected.concat());
    }
}
