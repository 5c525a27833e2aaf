//! What is written of a network, and to which files.

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use striate_graph::{Graph, InputSpec, Op, ParamSource, Shape};

use super::encode::ModelFile;
use super::nodes::{Nodes, signed};
use super::proto;
use crate::atomic::{write_both, write_output};
use crate::{FormatError, INPUT, MODEL};

/// The versions of ONNX's set of operators that are written.
pub const OPSETS: RangeInclusive<i64> = 13..=23;

/// The most bytes of a message of protobuf.
const MAX_MESSAGE: u64 = i32::MAX as u64;

/// How a network is written.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Version of the set of operators, one of [`OPSETS`].
    pub opset: i64,
    /// Whether the weights go to a second file beside the model, `NAME.onnx.data` of `NAME.onnx`.
    /// Models of more than 2 GiB, which protobuf cannot hold, are always written so.
    pub external: bool,
    /// How pictures are prepared for the weights.
    pub input: Option<&'a InputSpec>,
    /// The name of the network.
    pub model: Option<&'a str>,
}

impl Default for Options<'_> {
    /// Version 17 of the operators, one file.
    fn default() -> Self {
        Options { opset: 17, external: false, input: None, model: None }
    }
}

/// Writes a network with its weights, whole or not at all. With a second file both are, that one
/// first.
///
/// The input is called `input`, outputs after the heads (`logits`), nodes after the nodes of the
/// graph, weights after its tensors (`conv1.weight`); the batch is of any size, `N`. Dropout, which
/// does nothing but in training, is left out. Values are read piece by piece.
///
/// # Errors
/// [`FormatError::Unwritable`] if the weights are of another network, the version is not one of
/// [`OPSETS`], [`Options::input`] makes no sense, or a layer needs too large a constant;
/// [`FormatError::Io`] if a file cannot be written, or the weights cannot be read.
pub fn write(
    path: &Path,
    graph: &Graph,
    params: &dyn ParamSource,
    options: &Options<'_>,
) -> Result<(), FormatError> {
    let unwritable = |reason| FormatError::Unwritable { place: path.display().to_string(), reason };
    if *params.layout() != graph.layout() {
        return Err(unwritable(String::from("the weights are of another network than the graph")));
    }
    let nodes = Nodes::new(graph, params.layout()).map_err(unwritable)?;
    let model = model(options).map_err(unwritable)?;
    let network = description(graph, &nodes, options.model.unwrap_or("striate"));
    let whole = ModelFile::new(&model, &network, &nodes, None);
    if !options.external && whole.len() <= MAX_MESSAGE {
        return write_output(path, |to| whole.write(to, params));
    }
    let (data, location) = beside(path).map_err(unwritable)?;
    let lean = ModelFile::new(&model, &network, &nodes, Some(&location));
    if lean.len() > MAX_MESSAGE {
        return Err(unwritable(String::from("all but the weights is more than 2 GiB")));
    }
    write_both(path, |to| lean.write(to, params), &data, |to| lean.write_data(to, params))
}

/// The file of the weights, and what the model calls it.
fn beside(path: &Path) -> Result<(PathBuf, String), String> {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else {
        return Err(String::from(
            "a model with a second file needs a name, and that in UTF-8: choose another",
        ));
    };
    let location = format!("{name}.data");
    Ok((path.with_file_name(&location), location))
}

/// All but the graph.
fn model(options: &Options<'_>) -> Result<proto::Model, String> {
    let version = options.opset;
    // The file's version in the first release of ONNX with these operators.
    let ir_version = match version {
        13..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        _ => {
            let (first, last) = (OPSETS.start(), OPSETS.end());
            return Err(format!(
                "found version {version} of the operators, expected {first} to {last}"
            ));
        }
    };
    let mut metadata_props = Vec::new();
    if let Some(input) = options.input {
        input.check()?;
        let json = serde_json::to_string(input).map_err(|error| error.to_string())?;
        metadata_props.push(entry(INPUT, json));
    }
    metadata_props.extend(options.model.map(|name| entry(MODEL, name.to_owned())));
    Ok(proto::Model {
        ir_version,
        producer_name: String::from("striate"),
        producer_version: String::from(env!("CARGO_PKG_VERSION")),
        graph: None,
        opset_import: vec![proto::OperatorSet { domain: String::new(), version }],
        metadata_props,
    })
}

/// The graph, but for what is stored with it.
fn description(graph: &Graph, nodes: &Nodes<'_>, name: &str) -> proto::Graph {
    let described = graph.nodes().iter().zip(&nodes.values);
    // Dropout has the name of what it reads; outputs and the input are no inner values.
    let inner = described.filter(|(node, name)| {
        let outer = nodes.outputs.contains(name) || **name == nodes.input;
        !outer && !matches!(node.op, Op::Dropout(_))
    });
    let outputs = graph.outputs().iter().zip(&nodes.outputs);
    proto::Graph {
        node: nodes.nodes.clone(),
        name: name.to_owned(),
        initializer: Vec::new(),
        input: vec![value(&nodes.input, graph.input())],
        output: outputs.map(|(out, name)| value(name, graph.node(out.node).shape)).collect(),
        value_info: inner.map(|(node, name)| value(name, node.shape)).collect(),
    }
}

/// A value of a batch of any size.
fn value(name: &str, shape: Shape) -> proto::Value {
    let batch = proto::Extent::Name(String::from("N"));
    let extents = shape.extents().into_iter().map(|n| proto::Extent::Number(signed(n)));
    let dim = [batch].into_iter().chain(extents);
    let dim = dim.map(|extent| proto::Dimension { extent: Some(extent) }).collect();
    let shape = Some(proto::Shape { dim });
    let tensor = Some(proto::TensorType { element: proto::tensor::FLOAT, shape });
    proto::Value { name: name.to_owned(), of: Some(proto::Type { tensor }) }
}

/// A text by its name.
pub(super) fn entry(key: &str, value: String) -> proto::Entry {
    proto::Entry { key: key.to_owned(), value }
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use prost::Message;
    use striate_graph::op::Tanh;
    use striate_graph::{Drawn, Init, Param, ParamLayout, Params, SourceError};
    use striate_tensor::Rng;

    use super::*;
    use crate::onnx::nodes::line;

    fn network() -> Graph {
        Graph::build(Shape::map(3, 9, 9), |x| {
            let x = x.at("conv1").conv(3, 4).stride(2).pad([0, 1, 1, 0]).no_bias().batch_norm();
            let x = x.relu().max_pool(2, 2).ceil();
            x.within("aux", |x| x.global_avg_pool().flatten().at("fc").linear(2)).output("aux");
            x.flatten().dropout(0.5).at("fc").linear(5)
        })
        .unwrap()
    }

    fn drawn(graph: &Graph) -> Params {
        Params::init(graph, &Init::LeCun, &Rng::new(1))
    }

    fn read(path: &Path) -> proto::Model {
        proto::Model::decode(fs::read(path).unwrap().as_slice()).unwrap()
    }

    /// The model of a network.
    fn written(graph: &Graph, options: &Options<'_>) -> (proto::Model, proto::Graph) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.onnx");
        write(&path, graph, &drawn(graph), options).unwrap();
        let mut model = read(&path);
        let network = model.graph.take().unwrap();
        (model, network)
    }

    #[test]
    fn all_is_called_as_in_the_network() {
        let (input, model) = (InputSpec::imagenet(10, 9), Some("tiny"));
        let options = Options { opset: 21, input: Some(&input), model, ..Options::default() };
        let (model, network) = written(&network(), &options);
        assert_eq!((model.ir_version, model.opset_import[0].version), (10, 21));
        assert_eq!((model.producer_name.as_str(), network.name.as_str()), ("striate", "tiny"));
        let json = serde_json::to_string(&input).unwrap();
        let metadata = [entry("striate.input", json), entry("striate.model", "tiny".into())];
        assert_eq!(model.metadata_props, metadata);
        let expected = [
            "Conv(input, conv1.weight) → conv1",
            "BatchNormalization(conv1, conv1.bn.weight, conv1.bn.bias, conv1.bn.running_mean, \
             conv1.bn.running_var) → conv1.bn",
            "Relu(conv1.bn) → conv1.relu",
            "MaxPool(conv1.relu) → conv1.pool",
            "GlobalAveragePool(conv1.pool) → aux.pool",
            "Flatten(aux.pool) → aux.flatten",
            "Gemm(aux.flatten, aux.fc.weight, aux.fc.bias) → aux",
            "Flatten(conv1.pool) → conv1.flatten",
            "Gemm(conv1.flatten, fc.weight, fc.bias) → logits",
        ];
        assert_eq!(network.node.iter().map(line).collect::<Vec<_>>(), expected);
        let names: Vec<_> = network.node.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names[..2], ["conv1", "conv1.bn"]);
        assert_eq!([names[6], names[8]], ["aux.fc", "fc"]);
        assert_eq!(network.input, [value("input", Shape::map(3, 9, 9))]);
        let outputs = [value("logits", Shape::Flat(5)), value("aux", Shape::Flat(2))];
        assert_eq!(network.output, outputs);
        let known: Vec<_> = network.value_info.iter().map(|value| value.name.as_str()).collect();
        assert_eq!(known.len(), 7);
        assert_eq!(network.value_info[0], value("conv1", Shape::map(4, 4, 4)));
    }

    #[test]
    fn weights_are_stored_as_they_are() {
        let graph = network();
        let (_, network) = written(&graph, &Options::default());
        let params = drawn(&graph);
        assert_eq!(network.initializer.len(), params.layout().params().len());
        for tensor in &network.initializer {
            let view = params.get(&tensor.name).unwrap();
            let dims: Vec<_> = view.shape.iter().copied().map(signed).collect();
            assert_eq!((&tensor.dims, tensor.data_type), (&dims, proto::tensor::FLOAT));
            let bytes: Vec<u8> = view.data.iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(tensor.raw_data, bytes, "{}", tensor.name);
        }
    }

    #[test]
    fn weights_may_be_beside() {
        let graph = Graph::build(Shape::map(1, 1, 3), |x| {
            x.flatten().at("fc1").linear(1).at("fc2").linear(1 << 18).at("t").tanh(Tanh::LECUN)
        })
        .unwrap();
        let params = drawn(&graph);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("small.onnx");
        let options = Options { external: true, ..Options::default() };
        write(&path, &graph, &params, &options).unwrap();
        let data = fs::read(directory.path().join("small.onnx.data")).unwrap();
        let tensors = read(&path).graph.unwrap().initializer;
        let mut starts = Vec::new();
        for tensor in tensors {
            let Some(view) = params.get(&tensor.name) else {
                assert_eq!((tensor.data_location, tensor.raw_data.len()), (0, 4));
                continue;
            };
            assert_eq!((tensor.data_location, tensor.raw_data.len()), (1, 0));
            let [location, offset, length] = &tensor.external_data[..] else { panic!() };
            assert_eq!(
                (location.key.as_str(), &location.value[..]),
                ("location", "small.onnx.data")
            );
            assert_eq!([offset.key.as_str(), &length.key], ["offset", "length"]);
            let [start, len] = [offset, length].map(|entry| entry.value.parse::<usize>().unwrap());
            let bytes: Vec<u8> = view.data.iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(data[start..start + len], bytes);
            starts.push(start);
        }
        // The large ones at pages.
        assert_eq!(starts, [0, 12, 1 << 16, (1 << 16) + (1 << 20)]);
        assert_eq!(data.len(), (1 << 16) + (2 << 20));
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        let graph = network();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.onnx");
        let refused = |graph: &Graph, params: &dyn ParamSource, options: &Options<'_>| {
            let error = write(&path, graph, params, options).unwrap_err().to_string();
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{error}");
            error
        };
        let params = drawn(&graph);
        for opset in [i64::MIN, 12, 24, i64::MAX] {
            let error = refused(&graph, &params, &Options { opset, ..Options::default() });
            assert!(error.ends_with("of the operators, expected 13 to 23"), "{error}");
        }
        let other = Graph::build(Shape::map(1, 1, 1), |x| x.relu()).unwrap();
        let error = refused(&other, &params, &Options::default());
        assert!(error.contains("of another network"), "{error}");
        let input = InputSpec { mean: vec![], ..InputSpec::imagenet(10, 9) };
        refused(&graph, &params, &Options { input: Some(&input), ..Options::default() });
        let vast = Graph::build(Shape::map(1, 30_000, 1), |x| x.adaptive_avg_pool((20_001, 1)));
        let vast = vast.unwrap();
        let error = refused(&vast, &drawn(&vast), &Options::default());
        assert!(error.contains("a constant of 600030000 values"), "{error}");
        for external in [false, true] {
            let broken = Broken(graph.layout());
            let error = refused(&graph, &broken, &Options { external, ..Options::default() });
            assert!(error.starts_with("cannot write "), "{error}");
        }
    }

    struct Broken(ParamLayout);

    impl ParamSource for Broken {
        fn layout(&self) -> &ParamLayout {
            &self.0
        }

        fn read(&self, _: &Param, _: usize, _: &mut [f32]) -> Result<(), SourceError> {
            Err(SourceError::new(io::Error::from(io::ErrorKind::UnexpectedEof)))
        }
    }

    #[test]
    fn values_may_come_from_anywhere() {
        let graph = Graph::build(Shape::map(2, 6, 6), |x| x.at("s").subsample((3, 2), 2)).unwrap();
        let rng = Rng::new(1);
        let directory = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
        write(&a, &graph, &drawn(&graph), &Options::default()).unwrap();
        write(&b, &graph, &Drawn::new(&graph, &Init::LeCun, &rng), &Options::default()).unwrap();
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        let weight = &read(&a).graph.unwrap().initializer[0];
        let values = drawn(&graph);
        let spread = values.get("s.weight").unwrap().data.iter();
        let spread: Vec<u8> = spread.flat_map(|v| v.to_le_bytes().repeat(6)).collect();
        assert_eq!((&weight.dims, &weight.raw_data), (&vec![2, 1, 3, 2], &spread));
    }
}
