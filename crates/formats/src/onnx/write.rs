//! The file: a message of protobuf whose weights are written as they are read.

use std::ffi::OsString;
use std::io::{self, Write};
use std::iter;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use striate_graph::{Graph, InputSpec, Op, ParamSource, Shape};

use super::nodes::{Initializer, Nodes, Values, signed};
use super::proto;
use crate::{Dtype, FormatError, INPUT, MODEL, write_atomically};

/// The versions of ONNX's set of operators that are written.
pub const OPSETS: RangeInclusive<i64> = 13..=23;

/// What of a message is protobuf's limit.
const MAX_MESSAGE: u64 = i32::MAX as u64;

/// Tensors of so many bytes begin where a page can be mapped, on any system.
const LARGE: u64 = 1 << 20;
const PAGE: u64 = 1 << 16;

/// Values that are read at a time.
const PIECE: usize = 1 << 14;

/// How a network is written.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Version of the set of operators, one of [`OPSETS`].
    pub opset: i64,
    /// Whether the weights go to a file of their own beside the model, `NAME.onnx.data`. Models of
    /// more than 2 GiB, which protobuf cannot hold, are always written so.
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

/// Writes a network with its weights, whole or not at all. With a second file that is written
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
    let within = ModelFile::new(model.clone(), graph, &nodes, None);
    if !options.external && within.len() <= MAX_MESSAGE {
        return write_atomically(path, |to| within.write(to, params));
    }
    let (data, location) = beside(path).map_err(unwritable)?;
    let without = ModelFile::new(model, graph, &nodes, Some(&location));
    write_atomically(&data, |to| without.write_data(to, params))?;
    write_atomically(path, |to| without.write(to, params))
}

/// The file of the weights, and what the model calls it.
fn beside(path: &Path) -> Result<(PathBuf, String), String> {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".data");
    match name.to_str() {
        Some(location) => Ok((path.with_file_name(location), location.to_owned())),
        None => Err(String::from(
            "the name is not UTF-8, as that of a model with a second file has to be: choose another",
        )),
    }
}

/// All but the graph.
fn model(options: &Options<'_>) -> Result<proto::Model, String> {
    let version = options.opset;
    // The first release of ONNX with a set of operators had this version of the file.
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

/// The model, encoded but for the values.
struct ModelFile<'n> {
    model: Vec<u8>,
    graph: Vec<u8>,
    initializers: Vec<Encoded<'n>>,
}

/// A tensor, encoded up to its values.
struct Encoded<'n> {
    head: Vec<u8>,
    place: Place,
    values: &'n Values<'n>,
}

/// Where the values of a tensor are written.
#[derive(Clone, Copy)]
enum Place {
    /// Behind the head, so many bytes.
    Within(u64),
    /// At this byte of the other file.
    Beside(u64),
}

impl<'n> ModelFile<'n> {
    fn new(
        model: proto::Model,
        graph: &Graph,
        nodes: &'n Nodes<'_>,
        location: Option<&str>,
    ) -> ModelFile<'n> {
        let mut end = 0;
        let encode = |initializer| Encoded::new(initializer, location, &mut end);
        let initializers = nodes.initializers.iter().map(encode).collect();
        let described = graph.nodes().iter().zip(&nodes.values);
        // Dropout has the name of what it reads, outputs and the input are no inner values.
        let inner = described.filter(|(node, name)| {
            let outer = nodes.outputs.contains(name) || **name == nodes.input;
            !outer && !matches!(node.op, Op::Dropout(_))
        });
        let outputs = graph.outputs().iter().zip(&nodes.outputs);
        let description = proto::Graph {
            node: nodes.nodes.clone(),
            name: model
                .metadata_props
                .iter()
                .find(|entry| entry.key == MODEL)
                .map_or_else(|| String::from("striate"), |entry| entry.value.clone()),
            initializer: Vec::new(),
            input: vec![value(&nodes.input, graph.input())],
            output: outputs.map(|(out, name)| value(name, graph.node(out.node).shape)).collect(),
            value_info: inner.map(|(node, name)| value(name, node.shape)).collect(),
        };
        ModelFile { model: model.encode_to_vec(), graph: description.encode_to_vec(), initializers }
    }

    /// Bytes of the graph.
    fn graph_len(&self) -> u64 {
        let initializers = self.initializers.iter().map(Encoded::len);
        self.graph.len() as u64 + initializers.sum::<u64>()
    }

    /// Bytes of the model, a few too many.
    fn len(&self) -> u64 {
        self.model.len() as u64 + self.graph_len() + 16
    }

    fn write(&self, to: &mut dyn Write, params: &dyn ParamSource) -> io::Result<()> {
        to.write_all(&self.model)?;
        to.write_all(&opened(7, self.graph_len()))?;
        to.write_all(&self.graph)?;
        for Encoded { head, place, values } in &self.initializers {
            to.write_all(head)?;
            if let Place::Within(_) = place {
                write_values(to, values, params)?;
            }
        }
        Ok(())
    }

    fn write_data(&self, to: &mut dyn Write, params: &dyn ParamSource) -> io::Result<()> {
        let mut at = 0;
        for Encoded { place, values, .. } in &self.initializers {
            let Place::Beside(start) = *place else { continue };
            io::copy(&mut io::Read::take(io::repeat(0), start - at), to)?;
            write_values(to, values, params)?;
            at = start + bytes(values);
        }
        Ok(())
    }
}

impl<'n> Encoded<'n> {
    /// With the values of learned tensors at `location`, from the byte `end` on. Runtimes want the
    /// values of others, shapes among them, when they read the model.
    fn new(initializer: &'n Initializer<'_>, location: Option<&str>, end: &mut u64) -> Encoded<'n> {
        let Initializer { name, dims, values } = initializer;
        let data_type = match values {
            Values::Learned(..) | Values::Floats(_) => proto::tensor::FLOAT,
            Values::Integers(_) => proto::tensor::INT64,
        };
        let dims = dims.iter().copied().map(signed).collect();
        let mut tensor =
            proto::Tensor { dims, data_type, name: name.clone(), ..proto::Tensor::default() };
        let length = bytes(values);
        let place = match (location, values) {
            (Some(location), Values::Learned(..)) => {
                let start = if length >= LARGE { end.next_multiple_of(PAGE) } else { *end };
                *end = start + length;
                tensor.data_location = proto::tensor::EXTERNAL;
                tensor.external_data = vec![
                    entry("location", location.to_owned()),
                    entry("offset", start.to_string()),
                    entry("length", length.to_string()),
                ];
                Place::Beside(start)
            }
            (Some(_) | None, _) => Place::Within(length),
        };
        let mut tensor = tensor.encode_to_vec();
        if let Place::Within(length) = place {
            tensor.extend(opened(9, length));
        }
        let mut encoded = Encoded { head: tensor, place, values };
        encoded.head = [opened(5, encoded.len()), encoded.head].concat();
        encoded
    }

    /// Bytes in the model.
    fn len(&self) -> u64 {
        let values = match self.place {
            Place::Within(bytes) => bytes,
            Place::Beside(_) => 0,
        };
        self.head.len() as u64 + values
    }
}

/// The begin of a field of so many bytes.
fn opened(tag: u32, bytes: u64) -> Vec<u8> {
    let mut begin = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut begin);
    encode_varint(bytes, &mut begin);
    begin
}

fn bytes(values: &Values<'_>) -> u64 {
    match values {
        Values::Learned(param, times) => 4 * (param.range.len() * times) as u64,
        Values::Floats(values) => 4 * values.len() as u64,
        Values::Integers(values) => 8 * values.len() as u64,
    }
}

fn write_values(
    to: &mut dyn Write,
    values: &Values<'_>,
    params: &dyn ParamSource,
) -> io::Result<()> {
    let mut encoded = Vec::new();
    match values {
        Values::Learned(param, times) => {
            let (len, step) = (param.range.len(), (PIECE / times).max(1));
            let mut piece = vec![0.0; step.min(len)];
            for from in (0..len).step_by(step) {
                let piece = &mut piece[..step.min(len - from)];
                params.read(param, from, piece).map_err(io::Error::other)?;
                let repeated = piece.iter().flat_map(|&value| iter::repeat_n(value, *times));
                Dtype::F32.encode(&repeated.collect::<Vec<_>>(), &mut encoded);
                to.write_all(&encoded)?;
                encoded.clear();
            }
        }
        Values::Floats(values) => Dtype::F32.encode(values, &mut encoded),
        Values::Integers(values) => encoded.extend(values.iter().flat_map(|v| v.to_le_bytes())),
    }
    to.write_all(&encoded)
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

fn entry(key: &str, value: String) -> proto::Entry {
    proto::Entry { key: key.to_owned(), value }
}
