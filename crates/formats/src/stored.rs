use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use striate_graph::op::Role;
use striate_graph::{Graph, InputSpec, Naming, Op, Param, ParamLayout, ParamSource, SourceError};
use striate_tensor::strided::{self, Axis};

use crate::matching::Matching;
use crate::{FormatError, INPUT, MismatchError, Misshapen, StoredTensor, TensorFile, caffe};

/// The weights of a network where they are stored: all but their values is read and checked, the
/// values are read when they are asked for, by as many threads as like.
#[derive(Debug)]
pub struct StoredParams {
    file: TensorFile,
    graph: Graph,
    layout: ParamLayout,
    tensors: Vec<Stored>,
    input: Option<InputSpec>,
    assumed: Option<InputSpec>,
    ignored: Vec<String>,
}

/// A parameter in its file.
#[derive(Debug)]
struct Stored {
    tensor: StoredTensor,
    /// Whether a NaN or an infinity was read.
    not_finite: AtomicBool,
}

impl StoredParams {
    pub(crate) fn new(
        file: TensorFile,
        graph: &Graph,
        naming: &Naming,
        ignored: &[&str],
    ) -> Result<StoredParams, FormatError> {
        let listing = file.listing();
        let layout = graph.layout();
        let matching = Matching::of(listing, graph, &layout, naming);
        let (ignored, unexpected): (Vec<_>, Vec<_>) =
            matching.unused.iter().partition(|tensor| matching.ignores(tensor, ignored));
        let mut mismatch =
            MismatchError { unexpected: names(&unexpected), ..MismatchError::default() };
        let mut tensors = Vec::new();
        for ((param, key), stored) in layout.params().iter().zip(matching.keys).zip(matching.stored)
        {
            let expected = &param.slot.shape;
            match stored {
                None => mismatch.missing.push(key),
                Some(stored) if stored.shape != *expected => mismatch.misshapen.push(Misshapen {
                    name: stored.name.clone(),
                    found: stored.shape.clone(),
                    expected: expected.clone(),
                }),
                Some(stored) => {
                    let not_finite = AtomicBool::new(false);
                    let tensor = channels_first(graph, param, stored);
                    tensors.push(Stored { tensor, not_finite });
                }
            }
        }
        if !mismatch.is_empty() {
            return Err(FormatError::Mismatch { place: listing.place.clone(), source: mismatch });
        }
        for stored in &tensors {
            file.dtype(&stored.tensor)?;
        }
        let assumed = caffe::preparation(&listing.metadata, graph.input());
        let (input, ignored) = (listing.input()?, names(&ignored));
        Ok(StoredParams { graph: graph.clone(), file, layout, tensors, input, assumed, ignored })
    }

    /// Each parameter, and the tensor of the file that it is.
    pub fn sources(&self) -> impl Iterator<Item = (&Param, &StoredTensor)> {
        self.layout.params().iter().zip(self.tensors.iter().map(|stored| &stored.tensor))
    }

    /// How pictures are prepared for these weights, if the file says so.
    pub fn input(&self) -> Option<&InputSpec> {
        self.input.as_ref()
    }

    /// How pictures are usually prepared for weights of such a file, if its format tells: Caffe's are
    /// blue, green and red less a mean.
    pub fn assumed_input(&self) -> Option<&InputSpec> {
        self.assumed.as_ref()
    }

    /// The metadata, but for the preparation.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = self.file.listing().metadata.clone();
        metadata.remove(INPUT);
        metadata
    }

    /// Tensors with a NaN or an infinity, as the file calls them, among the values read so far.
    pub fn not_finite(&self) -> Vec<String> {
        let found = self.tensors.iter().filter(|stored| stored.not_finite.load(Ordering::Relaxed));
        found.map(|stored| stored.tensor.name.clone()).collect()
    }

    /// Tensors of the file that the network has no use for.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// [`ParamSource::read`] with an error of this crate.
    pub(crate) fn piece(
        &self,
        param: &Param,
        from: usize,
        to: &mut [f32],
    ) -> Result<(), FormatError> {
        let stored = self.tensor(param);
        stored.note(self.file.piece(&stored.tensor, from, to)?);
        self.graph.sever(param, from, to);
        Ok(())
    }

    fn tensor(&self, param: &Param) -> &Stored {
        let index = self.layout.position(&param.name).expect("a tensor of this layout");
        &self.tensors[index]
    }

    /// A view of a parameter as a view of the values in the file, if it is one and all are read.
    fn in_file(&self, param: &Param, from: usize, view: &[Axis]) -> Option<(usize, Vec<Axis>)> {
        let node = &self.graph.node(param.node).op;
        if matches!(node, Op::Conv2d(conv) if conv.table.is_some()) {
            return None;
        }
        match &self.tensor(param).tensor.strides {
            Some(axes) => strided::composed(axes, from, view),
            None => Some((from, view.to_vec())),
        }
    }
}

impl Stored {
    fn note(&self, finite: bool) {
        if !finite {
            self.not_finite.store(true, Ordering::Relaxed);
        }
    }
}

impl ParamSource for StoredParams {
    fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    fn read(&self, param: &Param, from: usize, to: &mut [f32]) -> Result<(), SourceError> {
        self.piece(param, from, to).map_err(SourceError::new)
    }

    /// What is turned in the file is turned once.
    fn gather(
        &self,
        param: &Param,
        from: usize,
        view: &[Axis],
        to: &mut [f32],
    ) -> Result<(), SourceError> {
        let Some((at, axes)) = self.in_file(param, from, view) else {
            return strided::gather(view, |at, to| self.read(param, from + at, to), to);
        };
        let stored = self.tensor(param);
        let finite = self.file.gather(&stored.tensor, at, &axes, to).map_err(SourceError::new)?;
        stored.note(finite);
        Ok(())
    }

    fn stored(&self, param: &Param) -> Option<&[Axis]> {
        self.tensor(param).tensor.strides.as_deref()
    }
}

/// The tensor with the axis of what its node reads in our order, where that was a map and is
/// flattened channels last in the file's framework.
fn channels_first(graph: &Graph, param: &Param, stored: &StoredTensor) -> StoredTensor {
    let node = graph.node(param.node);
    let weighs = matches!(node.op, Op::Linear(_)) && param.slot.role == Role::Weight;
    let of_inputs = weighs || matches!(node.op, Op::BatchNorm(_));
    let mut tensor = stored.clone();
    if !of_inputs || stored.ordinal.is_none() {
        return tensor;
    }
    let Some([c, h, w]) = graph.flattened(node) else { return tensor };
    let dense = || vec![Axis::new(c * h * w, 1)];
    let mut axes = tensor.strides.unwrap_or_else(dense);
    if let Some(Axis { stride, .. }) = axes.pop() {
        axes.extend(
            [(c, stride), (h, w * c * stride), (w, c * stride)].map(|(n, s)| Axis::new(n, s)),
        );
    }
    tensor.strides = Some(axes);
    tensor
}

fn names(tensors: &[&StoredTensor]) -> Vec<String> {
    tensors.iter().map(|tensor| tensor.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dtype, read, save, write_tensors};
    use std::fs;
    use striate_graph::{Init, Params, Shape};
    use striate_tensor::{Rng, View};

    const NAMING: Naming = Naming::rules(&[("fc", "classifier")]);

    /// A table leaves connections out, as in LeNet-5's C3.
    fn network() -> Graph {
        Graph::build(Shape::map(2, 4, 4), |x| {
            let x = x.at("conv").conv(3, 3).table(&["X.X", "XX."]).at("bn").batch_norm();
            x.flatten().at("fc").linear(401)
        })
        .unwrap()
    }

    fn saved(directory: &tempfile::TempDir, dtype: Dtype) -> (std::path::PathBuf, Params) {
        let path = directory.path().join("model.safetensors");
        let (graph, metadata) = (network(), BTreeMap::new());
        let params = Params::init(&graph, &Init::LeCun, &Rng::new(1));
        save(&path, &graph, &params, &NAMING, None, &metadata, dtype).unwrap();
        (path, params)
    }

    #[test]
    fn pieces_are_those_of_the_whole() {
        let directory = tempfile::tempdir().unwrap();
        for dtype in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16] {
            let (path, _) = saved(&directory, dtype);
            let params = read(&path).unwrap().load(&network(), &NAMING, &[]).unwrap().params;
            let bytes = fs::read(&path).unwrap();
            let files = [read(&path).unwrap(), TensorFile::parse(bytes, "bytes").unwrap()];
            for file in files {
                let stored = file.weights(&network(), &NAMING, &[]).unwrap();
                assert_eq!(Params::read(&stored).unwrap(), params);
                for (param, values) in params.iter() {
                    // Longer than what is read at a time, and not in step with it.
                    for len in [1, 7, 9001] {
                        for from in (0..values.len()).step_by(len).rev() {
                            let mut piece = vec![f32::NAN; len.min(values.len() - from)];
                            stored.read(param, from, &mut piece).unwrap();
                            assert_eq!(piece, &values[from..][..piece.len()], "{}", param.name);
                        }
                        if values.len() > 1000 && len == 1 {
                            break;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn threads_read_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let (path, params) = saved(&directory, Dtype::F32);
        let stored = read(&path).unwrap().weights(&network(), &NAMING, &[]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..50).for_each(|_| {
                        assert_eq!(Params::read(&stored).unwrap(), params);
                    })
                });
            }
        });
    }

    #[test]
    fn what_is_not_finite_is_told_once_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut params) = saved(&directory, Dtype::F32);
        let graph = network();
        params.get_mut("fc.weight").unwrap()[19_000] = f32::NAN;
        // Where there is no connection it is not read as a weight, but it is in the file.
        let views =
            params.iter().map(|(p, data)| (p.name.as_str(), View { shape: &p.slot.shape, data }));
        let mut tensors: Vec<_> = views.collect();
        let mut conv = params.get("conv.weight").unwrap().data.to_vec();
        conv[2 * 9] = f32::INFINITY;
        tensors[0].1.data = &conv;
        write_tensors(&path, &tensors).unwrap();

        let stored = read(&path).unwrap().weights(&graph, &NAMING, &[]).unwrap();
        assert!(stored.not_finite().is_empty());
        let weight = graph.layout().find("fc.weight").unwrap().clone();
        stored.read(&weight, 19_001, &mut [0.0; 9]).unwrap();
        assert!(stored.not_finite().is_empty());
        stored.read(&weight, 18_999, &mut [0.0; 2]).unwrap();
        assert_eq!(stored.not_finite(), ["fc.weight"]);
        let all = Params::read(&stored).unwrap();
        assert_eq!(stored.not_finite(), ["conv.weight", "fc.weight"]);
        assert_eq!(all.get("conv.weight").unwrap().data[2 * 9], 0.0);
    }

    #[test]
    fn a_file_that_shrinks_between_pieces_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _) = saved(&directory, Dtype::F32);
        let stored = read(&path).unwrap().weights(&network(), &NAMING, &[]).unwrap();
        let len = fs::metadata(&path).unwrap().len();
        fs::File::options().write(true).open(&path).unwrap().set_len(len / 2).unwrap();
        let error = Params::read(&stored).unwrap_err().to_string();
        assert!(error.contains("model.safetensors, byte "), "{error}");
        assert!(error.contains("found the end of the file"), "{error}");
    }

    #[test]
    fn numbers_of_another_kind_are_refused_at_once() {
        let header = r#"{"fc.weight":{"dtype":"I32","shape":[1,1],"data_offsets":[0,4]},
            "fc.bias":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 8]);
        let graph = Graph::build(Shape::map(1, 1, 1), |x| x.flatten().at("fc").linear(1)).unwrap();
        let file = TensorFile::parse(bytes, "bytes").unwrap();
        let error = file.weights(&graph, &Naming::rules(&[]), &[]).unwrap_err().to_string();
        assert!(error.starts_with("bytes: found `fc.weight` of type I32, expected"), "{error}");
    }
}
