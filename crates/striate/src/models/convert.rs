use std::path::{Path, PathBuf};

use striate_formats::{
    Dtype, Element, Format, FormatError, Listing, MODEL, NETWORK, caffe, onnx, save, save_keras,
};
use striate_graph::InputSpec;
use striate_zoo::Edition;

use super::function::function;
use super::inspect::{alike, called_otherwise};
use super::network::Named;
use super::recognise::{classes, computes};
use super::verify::{Verified, verified};
use super::{Choices, Model, ModelError, Network, definition, fits};

/// How a file is converted.
#[derive(Clone, Copy, Debug)]
pub struct Conversion<'a> {
    /// The network whose weights they are: a name of the registry, or a file. Without, it is the one
    /// that the file names or says, or one that it fits; a warning tells which was guessed.
    pub network: Option<&'a str>,
    /// What values become.
    pub dtype: Dtype,
    /// The version of the operators in ONNX.
    pub opset: i64,
    /// Whether what was read and what was written are both run on the same picture, drawn at random.
    pub verify: bool,
}

impl Default for Conversion<'_> {
    fn default() -> Self {
        Conversion { network: None, dtype: Dtype::F32, opset: 17, verify: false }
    }
}

/// What became of a file.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The network whose weights they are.
    pub network: Network,
    /// What was read.
    pub from: Format,
    /// What was written.
    pub to: Format,
    /// Every parameter, in the order of the network.
    pub tensors: Vec<Moved>,
    /// Tensors of the file that the network has no use for.
    pub ignored: Vec<String>,
    /// How pictures are prepared, if that was stored, and is again.
    pub input: Option<InputSpec>,
    /// What one should know.
    pub warnings: Vec<String>,
    /// What both files make of the same picture, if it was asked for.
    pub verified: Option<Verified>,
}

/// A tensor on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The parameter.
    pub param: String,
    /// What the file calls it.
    pub from: String,
    /// Extents of the parameter.
    pub shape: Vec<usize>,
    /// What its values were.
    pub dtype: String,
    /// Where its axes were put in another order: for each how many values it has, and how many values
    /// of the file it is from one to the next.
    pub steps: Option<Vec<(usize, usize)>>,
}

/// Reads weights, or a network with its weights, and writes them in another format, as the name of
/// the new file asks for. What is there under that name stays until the new file is whole.
///
/// How pictures are prepared goes with the weights, where the format has room for it. Weights of a
/// network that is a file are written with its definition.
///
/// # Errors
/// [`ModelError::Convert`] if it is not known what to write, no network fits, or a file would be
/// written over that is read; as [`Model::open`]; [`ModelError::Format`] if the format cannot hold the
/// network.
pub fn convert(from: &Path, to: &Path, how: &Conversion<'_>) -> Result<Converted, ModelError> {
    let target = target(to, how.dtype)?;
    apart(from, to, target, how.network)?;
    if definition::is_prototxt(from) {
        return Err(failed(
            from,
            "a definition without weights: convert the .caffemodel, which takes the \
                   .prototxt beside it, or one named with --model",
        ));
    }
    let listing = striate_formats::list(from)?;
    let mut warnings = Vec::new();
    let (model, own) = source(from, &listing, how.network, &mut warnings)?;
    warnings.extend(model.network.warnings.iter().cloned());
    let input = model.network.input().cloned();
    if !model.input_is_stored {
        let rest = match input {
            Some(_) => "taken to be as Caffe usually does it",
            None => "nor will what is written",
        };
        let from = from.display();
        warnings.push(format!("{from} does not say how pictures are prepared for it, {rest}"));
    }
    let input = if target == Format::Caffe { None } else { input };
    if target == Format::Caffe && model.network.input().is_some() {
        warnings.push(format!("{} cannot say how pictures are prepared for it", to.display()));
    }
    if model.network.is_file() && matches!(target, Format::Keras) {
        warnings.push(format!("{} cannot say of which network it is", to.display()));
    }
    write(&model, to, target, how, input.as_ref())?;
    let not_finite = model.params.not_finite();
    if !not_finite.is_empty() {
        warnings.push(format!("{} hold a NaN or an infinity", not_finite.join(", ")));
    }
    let verified = match how.verify {
        true => Some(verified(&model, own.as_ref(), to)?),
        false => None,
    };
    Ok(Converted {
        from: listing.format,
        to: target,
        tensors: moved(&model),
        ignored: model.params.ignored().to_vec(),
        input,
        warnings,
        verified,
        network: model.network,
    })
}

fn failed(place: &Path, found: impl Into<String>) -> ModelError {
    ModelError::Convert { place: place.display().to_string(), found: found.into() }
}

/// What the new file is to be.
fn target(to: &Path, dtype: Dtype) -> Result<Format, ModelError> {
    let wrong = |found: &str| Err(failed(to, found));
    if definition::is_prototxt(to) {
        return wrong("a .prototxt is written beside its .caffemodel: name that");
    }
    let Some(format) = Format::of(to) else {
        return wrong(
            "found a name that tells no format, expected one that ends in .safetensors, .pth, \
             .weights.h5, .caffemodel or .onnx",
        );
    };
    if format == Format::Keras && !to.to_string_lossy().ends_with(".weights.h5") {
        return wrong(
            "Keras's weights are written as .weights.h5 alone: load them into the model that \
             `striate code … --to keras` writes, and model.save() makes the rest of them",
        );
    }
    if dtype != Dtype::F32 && !matches!(format, Format::Safetensors | Format::PyTorch) {
        return wrong(&format!("{dtype} is for safetensors and .pth alone"));
    }
    Ok(format)
}

/// Refuses to write over what is read.
fn apart(from: &Path, to: &Path, target: Format, network: Option<&str>) -> Result<(), ModelError> {
    let mut written = vec![to.to_owned()];
    match target {
        Format::Caffe => written.push(to.with_extension("prototxt")),
        Format::Onnx => written.push(beside(to)),
        Format::Safetensors | Format::PyTorch | Format::Keras => {}
    }
    let mut read = definition::files(from);
    read.push(from.join("model.safetensors"));
    read.push(beside(from));
    read.extend(network.map(PathBuf::from));
    let place = |path: &PathBuf| path.canonicalize().ok().filter(|path| path.is_file());
    let read: Vec<PathBuf> = read.iter().filter_map(place).collect();
    match written.iter().find(|path| place(path).is_some_and(|path| read.contains(&path))) {
        Some(same) => Err(failed(same, "is read, and would be written over: choose another name")),
        None => Ok(()),
    }
}

/// Where ONNX has large weights.
fn beside(model: &Path) -> PathBuf {
    let mut name = model.as_os_str().to_owned();
    name.push(".data");
    name.into()
}

/// The weights as those of a network, and the network that their file says itself, if it does.
fn source(
    from: &Path,
    listing: &Listing,
    network: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<(Model, Option<Network>), ModelError> {
    let choices = Choices::default();
    let says = matches!(listing.format, Format::Onnx | Format::Caffe)
        || listing.metadata.contains_key(NETWORK);
    let read = |logits| definition::read(from, None, &Choices { logits, ..choices });
    let named = listing.metadata.get(MODEL).map(String::as_str);
    let named = named.filter(|_| !listing.metadata.contains_key(NETWORK));
    let entry = match (network, named) {
        (Some(name), _) => match Named::of(name)? {
            Named::Entry(entry) => entry,
            Named::File(path) => {
                let network = definition::read(path, Some(from), &choices)?;
                return Ok((Model::of(network)?, None));
            }
        },
        (None, Some(name)) => striate_zoo::find(name).map_err(|unknown| {
            failed(from, format!("holds weights of {name}, which is no file that is known: name it with --model; {unknown}"))
        })?,
        (None, None) => {
            let own = if says { Some(read(false)) } else { None };
            match recognised(listing, own.as_ref(), warnings)? {
                Some(entry) => entry,
                None => {
                    // Nobody but the file knows it.
                    let own = own.unwrap_or_else(|| read(false))?;
                    warnings.extend(called_otherwise(&alike(&own)));
                    return Ok((Model::of(own.clone())?, Some(own)));
                }
            }
        }
    };
    let graph = entry.build(&entry.config())?;
    let classes = match listing.classes()? {
        Some(classes) => classes,
        None => classes(entry, &graph, listing).unwrap_or(graph.classes()),
    };
    let model = Model::of_entry(entry, from, Some(classes))?;
    // Its own network counts if it is one, and of the same input.
    let own = if says { read(true).ok() } else { None };
    let own = own.filter(|own| own.graph.input() == model.network.graph.input());
    Ok((model, own))
}

/// The network of the registry that has these weights; none if the file says another one itself.
fn recognised(
    listing: &Listing,
    own: Option<&Result<Network, ModelError>>,
    warnings: &mut Vec<String>,
) -> Result<Option<&'static striate_zoo::Architecture>, ModelError> {
    let mut fits = fits(listing);
    if let Some(Ok(own)) = own {
        let wanted = function(&own.graph);
        fits.retain(|(entry, _)| computes(entry, &own.graph, wanted));
        if let [(entry, _), ..] = fits[..] {
            warnings.push(format!("taken for {}, which computes the same", entry.name));
        }
        return Ok(fits.first().map(|(entry, _)| *entry));
    }
    let names: Vec<&str> = fits.iter().map(|(entry, _)| entry.name).collect();
    match (fits.first(), own) {
        (Some((entry, _)), _) => {
            let more = match names[1..].join(", ") {
                others if others.is_empty() => String::new(),
                others => format!(
                    "; {others} would fit as well, and compute something else: --model says which"
                ),
            };
            warnings.push(format!("taken for {}, by names and shapes{more}", entry.name));
            Ok(Some(entry))
        }
        // Why it is no network of its own is told.
        (None, Some(_)) => Ok(None),
        (None, None) => Err(ModelError::Convert {
            place: listing.place.clone(),
            found: String::from(
                "fits none of the networks by names and shapes: say which with --model, a name or a \
                 file",
            ),
        }),
    }
}

fn write(
    model: &Model,
    to: &Path,
    format: Format,
    how: &Conversion<'_>,
    input: Option<&InputSpec>,
) -> Result<(), FormatError> {
    let Model { network, params, .. } = model;
    let (graph, params) = (&network.graph, &**params);
    let mut metadata = params.metadata();
    metadata.remove(NETWORK);
    metadata.extend(network.metadata());
    match format {
        Format::Safetensors | Format::PyTorch => {
            save(to, graph, params, network.naming(), input, &metadata, how.dtype)
        }
        Format::Keras => {
            metadata.remove(NETWORK);
            save_keras(to, graph, params, network.naming_of(Edition::Keras), input, &metadata)
        }
        Format::Caffe => {
            let naming = network.naming_of(Edition::Caffe);
            caffe::write(to, &to.with_extension("prototxt"), &network.name, graph, params, naming)
        }
        Format::Onnx => {
            // Of a network that is a file the new file says itself what it is.
            let model = network.entry().map(|entry| entry.name);
            let options = onnx::Options { opset: how.opset, input, model, ..Default::default() };
            onnx::write(to, graph, params, &options)
        }
    }
}

/// Every parameter, and where it came from.
fn moved(model: &Model) -> Vec<Moved> {
    let tensors = model.params.sources().map(|(param, stored)| Moved {
        param: param.name.clone(),
        from: stored.name.clone(),
        shape: param.slot.shape.clone(),
        dtype: match &stored.element {
            Element::Float(dtype) => dtype.to_string(),
            Element::Other(other) => other.clone(),
        },
        steps: stored.steps(),
    });
    tensors.collect()
}
