//! A model of a file: what is fed to it, its nodes, its weights where they lie.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use striate_graph::{MAX_VOLUME, Naming, Shape};

use super::constant::{Constant, Holds};
use super::files::Files;
use super::import::{Import, Known, Network};
use super::modules::Modules;
use super::operator::Operator;
use super::schema;
use super::view::View;
use crate::file::Contents;
use crate::limits::{COMPUTED_AXES, Limits, Room};
use crate::protobuf::message::{Message, Value};
use crate::protobuf::wire::Wire;
use crate::source::Source;
use crate::{Format, FormatError, Listing, Model, Port, Ports, TensorFile};

/// The first and the newest version of the set of operators whose meaning is known here.
const OLDEST: usize = 7;
const NEWEST: usize = 27;

/// How the names end that we give to weights: with the leaves of the tensors of a layer.
const LEAVES: [&str; 4] = [".weight", ".bias", ".running_mean", ".running_var"];

/// How a model is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// What is fed, where the file does not say its size, or another is wanted.
    pub input: Option<Shape>,
    /// Whether the network ends in logits: a softmax at its end is left out.
    pub logits: bool,
}

/// Reads a network with its weights.
///
/// Nodes are called as in the file, after their output where they have no name; where PyTorch's
/// exporters wrote the way to a module, `/layer1/layer1.0/conv1/Conv`, after that: `layer1.0.conv1`. The
/// first output of the graph is called `logits`, others as in the file; [`Model::ports`] says what the
/// file calls them and how large they are. Weights stay in the file, or in the one beside it, until they
/// are read; only files in the folder of the model or below are opened.
///
/// # Errors
/// [`FormatError::Unsupported`] with the node, its operator and the version of the set of operators if
/// no operation of ours does the same; [`FormatError::Malformed`] if the file is damaged; as
/// [`read`](crate::read).
pub fn read(path: &Path, options: &ReadOptions) -> Result<Model, FormatError> {
    let place = path.display().to_string();
    let source = File::open(path).and_then(Source::disk).map_err(FormatError::io("read", path))?;
    model(source, folder_of(path), &place, options, &Limits::current())
}

/// [`read`] of a model that is in memory with all its weights; `place` is what errors call it.
///
/// # Errors
/// As [`read`].
pub fn parse(
    bytes: impl Into<Cow<'static, [u8]>>,
    place: &str,
    options: &ReadOptions,
) -> Result<Model, FormatError> {
    model(Source::memory(bytes), None, place, options, &Limits::current())
}

/// A folder may be the current one.
fn folder_of(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

/// A model whose first file is `source`, and the others in the folder.
pub(super) fn model(
    source: Source,
    folder: Option<PathBuf>,
    place: &str,
    options: &ReadOptions,
    limits: &Limits,
) -> Result<Model, FormatError> {
    let room = Room::within(limits);
    let message = Wire::new(source.reader(), place, &room).message(schema::MODEL, source.len())?;
    let refused = |found: String, expected: &str| FormatError::Unsupported {
        place: place.to_owned(),
        found,
        expected: expected.to_owned(),
    };
    let files = Files::new(source.clone(), folder);
    let graph = message.message("graph");
    let opset = opset(&message).map_err(|found| refused(found, "operators of ONNX's own set"))?;
    let outputs: Vec<&str> = values(graph, "output").collect();
    let built = |(name, found): (String, String)| {
        refused(format!("`{}`: {found}", name.escape_debug()), "a network that can be built")
    };

    let (mut import, port) = begin(graph, files, options).map_err(built)?;
    for node in graph.messages(&["node"]) {
        let operator = Operator::new(node, opset);
        import.node(&operator).map_err(|found| {
            let (name, kind) = (operator.name.escape_debug(), operator.kind.escape_debug());
            refused(
                format!("`{name}` ({kind}, opset {opset}): {found}"),
                "a network that can be built",
            )
        })?;
    }
    let (batch, channels_last) = (port.0.shape[0], port.1);
    let all = import.source();
    let network = import.finish(&outputs, options.logits).map_err(built)?;
    let ports = Ports {
        input: port.0,
        channels_last,
        outputs: outputs
            .iter()
            .zip(&network.outputs)
            .map(|(name, extents)| {
                let extents = extents.iter().copied().map(Some);
                Port {
                    name: (*name).to_owned(),
                    shape: [batch].into_iter().chain(extents).collect(),
                }
            })
            .collect(),
    };
    let Network { graph, mut weights, mut warnings, .. } = network;
    if opset > NEWEST {
        warnings.push(format!("opset {opset} is newer than what is known here, {NEWEST}"));
    }
    let layout = graph.layout();
    let tensors = layout.params().iter().filter_map(|param| {
        let weight = weights.remove(&param.name)?;
        let shape = match weight.view.volume() == param.range.len() {
            true => param.slot.shape.clone(),
            false => weight.extents(),
        };
        Some(weight.stored(param.name.clone(), shape))
    });
    let listing = Listing {
        place: place.to_owned(),
        format: Format::Onnx,
        tensors: tensors.collect(),
        metadata: metadata(&message),
    };
    let file = TensorFile::of(Contents { listing, start: 0, values: None }, all, &room)?;
    let params = file.weights(&graph, &Naming::NODES, &[])?;
    let input = params.input().cloned();
    Ok(Model { graph, params, input, warnings, ports: Some(ports) })
}

/// The weights that a model holds, called as there, without what is only computed with.
pub(crate) fn contents(
    source: &Source,
    place: String,
    room: &Room,
) -> Result<Contents, FormatError> {
    let message = Wire::new(source.reader(), &place, room).message(schema::MODEL, source.len())?;
    let folder = match source {
        Source::Disk { .. } => folder_of(Path::new(&place)),
        Source::Memory(_) | Source::Several(_) => None,
    };
    let mut files = Files::new(source.clone(), folder);
    // What we write beside the weights is called after its node as well, and after no leaf of weights.
    let ours = message.texts("producer_name").last() == Some("striate");
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for tensor in message.message("graph").messages(&["initializer"]) {
        let name = tensor.texts("name").last().unwrap_or_default();
        let refused = |found: String| FormatError::Unsupported {
            place: place.clone(),
            found: format!("`{}`: {found}", name.escape_debug()),
            expected: String::from("weights as ONNX stores them"),
        };
        if !names.insert(name) {
            return Err(refused(String::from("a second tensor of that name")));
        }
        let constant = Constant::read(tensor, &mut files).map_err(refused)?;
        let extents = constant.extents();
        let weighs = LEAVES.iter().any(|leaf| name.ends_with(leaf));
        let computes = extents.is_empty() || (ours && name.contains('/') && !weighs);
        if !computes && matches!(constant.holds, Holds::Floats(_)) {
            tensors.push(constant.stored(name.to_owned(), extents));
        }
    }
    let listing = Listing { metadata: metadata(&message), tensors, place, format: Format::Onnx };
    Ok(Contents { listing, start: 0, values: Some(files.source()) })
}

/// Whether a file that begins so is a model: the version of its format comes first.
pub(crate) fn is_model(first: &[u8]) -> bool {
    let is_safetensors = first.len() > 8 && first[4..9] == *b"\0\0\0\0{";
    match first {
        [0x08, 1..=0x20, next, ..] => {
            matches!(next, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72) && !is_safetensors
        }
        _ => false,
    }
}

fn metadata(model: &Message) -> BTreeMap<String, String> {
    let text = |entry: &Message, key| entry.texts(key).last().unwrap_or_default().to_owned();
    let entries = model.messages(&["metadata_props"]);
    entries.map(|entry| (text(entry, "key"), text(entry, "value"))).collect()
}

/// The version of ONNX's own operators.
fn opset(model: &Message) -> Result<usize, String> {
    let own = model
        .messages(&["opset_import"])
        .filter(|set| matches!(set.texts("domain").last().unwrap_or_default(), "" | "ai.onnx"));
    let version = own.last().ok_or("no version of ONNX's operators")?.size("version")?.unwrap_or(0);
    if version < OLDEST {
        return Err(format!(
            "version {version} of the operators, the first that is read is {OLDEST}"
        ));
    }
    Ok(version)
}

/// What the inputs or outputs are called.
fn values<'m>(graph: &'m Message, list: &'static str) -> impl Iterator<Item = &'m str> {
    let all = graph.all(list).filter_map(|value| {
        let Value::Message(value) = value else { return None };
        Some(value)
    });
    all.map(|value| value.texts("name").last().unwrap_or_default())
}

/// Constants and what is fed.
fn begin<'m>(
    graph: &'m Message,
    mut files: Files,
    options: &ReadOptions,
) -> Result<(Import<'m>, (Port, bool)), (String, String)> {
    let mut constants = Vec::new();
    let mut stored = HashSet::new();
    for tensor in graph.messages(&["initializer"]) {
        let name = tensor.texts("name").last().unwrap_or_default();
        let constant =
            Constant::read(tensor, &mut files).map_err(|found| (name.to_owned(), found))?;
        stored.insert(name);
        constants.push((name, constant));
    }
    let mut uses: HashMap<&str, usize> = HashMap::new();
    let read = graph.messages(&["node"]).flat_map(|node| {
        // What is read by a branch is read, whether it is taken or not.
        node.texts("input").chain(Operator::read_inside(node))
    });
    read.chain(values(graph, "output")).for_each(|name| *uses.entry(name).or_default() += 1);

    // Before version 4 of the format, constants were inputs, too.
    let fed: Vec<&Message> = graph
        .messages(&["input"])
        .filter(|input| !input.texts("name").last().is_some_and(|name| stored.contains(name)))
        .collect();
    let &[input] = fed.as_slice() else {
        let names: Vec<&str> = fed.iter().flat_map(|input| input.texts("name").last()).collect();
        let found = format!("{} are fed ({}), expected one", fed.len(), names.join(", "));
        return Err((String::from("inputs"), found));
    };
    let name = input.texts("name").last().unwrap_or_default();
    let failed = |found: String| (name.to_owned(), found);
    let tensor = input.message("type").message("tensor_type");
    let element = tensor.size("elem_type").map_err(failed)?.unwrap_or(0);
    let holds = i32::try_from(element).ok().and_then(Holds::of);
    if !matches!(holds, Some(Holds::Floats(_))) {
        return Err(failed(format!("is fed values of type {element}, expected floats")));
    }
    let dims = tensor
        .message("shape")
        .messages(&["dim"])
        .map(|dim| Ok(dim.size("dim_value")?.filter(|extent| *extent > 0)));
    let mut dims = dims.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let last = channels_last(graph, name) && dims.len() == 4;
    let (shape, view) = fed_shape(&mut dims, last, options.input).map_err(failed)?;
    let mut import = Import::new(files, dims[0].unwrap_or(1), uses, Modules::of(graph));
    import.input(name, shape, view).map_err(failed)?;
    for (name, constant) in constants {
        let known = Known::Constant(constant);
        import.define(name, known).map_err(|found| (name.to_owned(), found))?;
    }
    Ok((import, (Port { name: name.to_owned(), shape: dims }, last)))
}

/// Whether all that is done with the input is to put its last axis second.
fn channels_last(graph: &Message, input: &str) -> bool {
    let mut readers = graph
        .messages(&["node"])
        .filter(|node| node.texts("input").any(|name| name == input))
        .map(|node| Operator::new(node, OLDEST))
        .peekable();
    readers.peek().is_some()
        && readers.all(|reader| {
            let order = reader.ints("perm").ok().flatten();
            reader.kind == "Transpose" && order.as_deref() == Some(&[0, 3, 1, 2])
        })
}

/// The shape of one sample, and how the file sees it; the dimensions that it leaves open are filled
/// in.
fn fed_shape(
    dims: &mut [Option<usize>],
    last: bool,
    given: Option<Shape>,
) -> Result<(Shape, View), String> {
    if !(1..=COMPUTED_AXES).contains(&dims.len()) {
        return Err(format!("is fed a value of {} axes, expected N×C×H×W", dims.len()));
    }
    if let Some(given) = given {
        let mut extents = given.extents();
        if last && extents.len() == 3 {
            extents.rotate_left(1);
        }
        if extents.len() + 1 != dims.len() {
            return Err(format!("is fed {} axes a sample, but {given} is given", dims.len() - 1));
        }
        dims[1..].iter_mut().zip(extents).for_each(|(dim, extent)| *dim = Some(extent));
    }
    let sample: Option<Vec<usize>> = dims[1..].iter().copied().collect();
    let Some(sample) = sample else {
        let dims: Vec<String> =
            dims.iter().map(|dim| dim.map_or(String::from("?"), |n| n.to_string())).collect();
        return Err(format!("is fed {}: give the input's size", dims.join("×")));
    };
    let volume = sample.iter().try_fold(1usize, |volume, &n| volume.checked_mul(n));
    if !volume.is_some_and(|volume| (1..=MAX_VOLUME).contains(&volume)) {
        return Err(format!("is fed {sample:?} values, none or more than {MAX_VOLUME}"));
    }
    let shape = match *sample {
        [] => Shape::Flat(1),
        [n] => Shape::Flat(n),
        [h, w, c] if last => Shape::map(c, h, w),
        [c, h, w] => Shape::map(c, h, w),
        // Pixels of one axis, or of more than two.
        [c, ref rest @ ..] => Shape::map(c, rest.iter().product(), 1),
    };
    let view = match last {
        true => View::dense(&shape.extents()).transposed(&[1, 2, 0]),
        false => Some(View::dense(&sample)),
    };
    Ok((shape, view.ok_or("is fed no map")?))
}
