//! Files that say what a network is.

use std::fs;
use std::path::{Path, PathBuf};

use striate_formats::{Format, Listing, MODEL, Model, TensorFile, caffe, onnx};
use striate_graph::{Graph, Naming, Shape};

use super::{Choices, ModelError, Network, fits};

/// What kind of file it is.
enum Kind {
    /// Caffe's text.
    Prototxt,
    /// Caffe's text and its weights, in one.
    Caffemodel,
    Onnx,
    /// Weights that say what network they are of.
    Weights(TensorFile, Graph),
}

/// How a `.prototxt` is told: it is plain text, and has no mark.
const PROTOTXT: [&str; 2] = ["prototxt", "pbtxt"];

/// Whether a file is called as one that says what a network is, or as one of weights.
pub fn is_network_file(path: &Path) -> bool {
    is_prototxt(path) || Format::of(path).is_some()
}

/// Whether a file is called as Caffe's definitions are.
pub(crate) fn is_prototxt(path: &Path) -> bool {
    path.extension().is_some_and(|found| PROTOTXT.iter().any(|e| found.eq_ignore_ascii_case(e)))
}

/// The network of a file, with the weights of another one if `weights` names one.
pub(crate) fn read(
    path: &Path,
    weights: Option<&Path>,
    choices: &Choices,
) -> Result<Network, ModelError> {
    let shape = choices.input.map(|[c, h, w]| Shape::map(c, h, w));
    let network = match Kind::of(path)? {
        Kind::Prototxt => match weights {
            // What Caffe's layers have and ours have not is known to the reader of both.
            Some(weights) if is_caffe(weights)? => {
                let model = caffe::read(weights, Some(path), shape)?;
                return checked(of_model(path, model, &weights.display().to_string()), choices);
            }
            Some(_) | None => {
                let (graph, warnings) = caffe::define(path, shape)?;
                Network::of_file(&file_name(path), graph).and(None, warnings, None)
            }
        },
        Kind::Caffemodel => {
            let model = caffe::read(path, beside(path).as_deref(), shape)?;
            of_model(path, model, &path.display().to_string())
        }
        Kind::Onnx => {
            let options = onnx::ReadOptions { input: shape, logits: choices.logits };
            of_model(path, onnx::read(path, &options)?, &path.display().to_string())
        }
        Kind::Weights(file, graph) => of_weights(path, file, graph, shape)?,
    };
    let network = checked(network, choices)?;
    match weights {
        Some(path) => network.with_weights(path),
        None => Ok(network),
    }
}

/// [`read`] with weights in any case: those of a `.prototxt` are in the `.caffemodel` of the same name
/// beside it, if no others are named.
pub(crate) fn read_with_weights(
    path: &Path,
    weights: Option<&Path>,
    choices: &Choices,
) -> Result<Network, ModelError> {
    let beside = path.with_extension("caffemodel");
    let beside = (is_prototxt(path) && beside.is_file()).then_some(beside);
    read(path, weights.or(beside.as_deref()), choices)
}

/// The files that [`read`] looks at.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let beside = if Format::of(path) == Some(Format::Caffe) { beside(path) } else { None };
    [path.to_owned()].into_iter().chain(beside).collect()
}

/// Refuses what cannot be chosen of a network that is written down.
fn checked(network: Network, choices: &Choices) -> Result<Network, ModelError> {
    let classes = network.graph.classes();
    let fixed = |says: String, choice| {
        Err(ModelError::Fixed { place: network.mark().to_owned(), says, choice })
    };
    if choices.classes.is_some_and(|wanted| wanted != classes) {
        return fixed(format!("tells {classes} classes apart"), "--classes");
    }
    if choices.heads {
        return fixed(String::from("has the outputs that it has"), "--heads");
    }
    Ok(network)
}

impl Kind {
    fn of(path: &Path) -> Result<Kind, ModelError> {
        let refused = |found: &str, advice: String| ModelError::NoNetwork {
            place: path.display().to_string(),
            found: found.to_owned(),
            advice,
        };
        // What cannot be opened is told by its reader.
        let found = fs::metadata(path).ok();
        if found.as_ref().is_some_and(|found| found.is_file() && found.len() == 0) {
            return Err(refused("an empty file", String::new()));
        }
        if is_prototxt(path) {
            return Ok(Kind::Prototxt);
        }
        match Format::of(path) {
            Some(Format::Caffe) => return Ok(Kind::Caffemodel),
            Some(Format::Onnx) => return Ok(Kind::Onnx),
            Some(Format::Safetensors | Format::PyTorch | Format::Keras) | None => {}
        }
        let file = match striate_formats::read(path) {
            Ok(file) => file,
            Err(_) if found.is_some_and(|found| found.is_dir()) => {
                let advice = ", or the directory of a checkpoint of such a network";
                return Err(refused("a directory", advice.to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        match (file.listing().format, file.listing().network()?) {
            (_, Some(graph)) => Ok(Kind::Weights(file, graph)),
            (Format::Caffe, None) => Ok(Kind::Caffemodel),
            (Format::Onnx, None) => Ok(Kind::Onnx),
            (format @ (Format::Safetensors | Format::PyTorch | Format::Keras), None) => {
                let found = format!("weights ({format}) that do not say of which network");
                Err(refused(&found, advice(file.listing())))
            }
        }
    }
}

/// What to do with weights.
fn advice(listing: &Listing) -> String {
    let names: Vec<&str> = fits(listing).iter().map(|(entry, _)| entry.name).collect();
    let place = &listing.place;
    match names[..] {
        [] => String::from(
            "; they fit none of these: name a file of their network, and them with --weights",
        ),
        [first, ..] => {
            format!("; they fit {}: write {first} --weights {place}", names.join(", "))
        }
    }
}

fn of_model(path: &Path, model: Model, place: &str) -> Network {
    let Model { graph, params, input, warnings, ports } = model;
    let network = Network::of_file(&file_name(path), graph).and(input, warnings, ports);
    network.weighed(params, place.to_owned())
}

fn of_weights(
    path: &Path,
    file: TensorFile,
    graph: Graph,
    shape: Option<Shape>,
) -> Result<Network, ModelError> {
    let graph = match shape {
        None => graph,
        Some(shape) => {
            let (mut nodes, outputs) = graph.parts();
            if let Some(first) = nodes.first_mut() {
                first.op = striate_graph::Op::Input(shape);
            }
            Graph::assemble(nodes, &outputs)?
        }
    };
    // Of a checkpoint the name of the file says nothing.
    let name = file.listing().metadata.get(MODEL).cloned().unwrap_or_else(|| file_name(path));
    let params = file.weights(&graph, &Naming::DOTS, &[])?;
    Ok(Network::of_file(&name, graph).weighed(params, path.display().to_string()))
}

/// The definition that lies beside a `.caffemodel`.
fn beside(path: &Path) -> Option<PathBuf> {
    let definition = path.with_extension(PROTOTXT[0]);
    definition.is_file().then_some(definition)
}

pub(crate) fn is_caffe(path: &Path) -> Result<bool, ModelError> {
    Ok(striate_formats::list(path)?.format == Format::Caffe)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
