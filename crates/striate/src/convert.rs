use std::collections::BTreeMap;
use std::path::Path;

use striate_exec::{Backend, Interpreter, Options};
use striate_formats::{
    CLASSES, Dtype, Element, Format, Listing, MODEL, caffe, onnx, save, save_keras,
};
use striate_graph::op::Role;
use striate_graph::{Graph, InputSpec, Naming, Param, ParamSource, Params};
use striate_tensor::{Rng, Tensor};
use striate_zoo::{Architecture, Config, Edition};

use crate::{Model, ModelError, is_definition};

/// What became of a file of weights.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The network whose weights they are, or the file that defines it.
    pub network: String,
    /// What was read.
    pub from: Format,
    /// What was written.
    pub to: Format,
    /// Every parameter, in the order of the network.
    pub tensors: Vec<Converted>,
    /// Tensors of the file that the network has no use for.
    pub ignored: Vec<String>,
    /// Whether how pictures are prepared was stored, and is again.
    pub input: bool,
    /// What one should know.
    pub warnings: Vec<String>,
    /// What both files make of the same pictures, if it was asked for.
    pub verified: Option<Verified>,
}

/// A tensor on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The parameter.
    pub param: String,
    /// What the file calls it.
    pub from: String,
    /// Extents of the parameter.
    pub shape: Vec<usize>,
    /// What its values were.
    pub dtype: String,
    /// Whether its axes were put in another order.
    pub turned: bool,
}

/// How far two files are apart.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Parameters that are not the same to the bit.
    pub changed: usize,
    /// For each layer the largest difference, as a share of the largest value of that layer.
    pub layers: Vec<(String, f64)>,
}

impl Verified {
    /// Whether both files are one network but for rounding.
    pub fn agrees(&self) -> bool {
        self.layers.iter().all(|(_, error)| *error <= 1e-4)
    }

    /// The layer that is furthest apart.
    pub fn worst(&self) -> Option<&(String, f64)> {
        self.layers.iter().max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// The networks whose weights a file has, every tensor in its shape, with the number of classes.
pub fn fits(listing: &Listing) -> Vec<(&'static Architecture, usize)> {
    let fit = |entry: &'static Architecture| {
        let graph = entry.build(&entry.config()).ok()?;
        let classes = classes(entry, &graph, listing).unwrap_or(graph.classes());
        let config = Config { classes, ..entry.config() };
        let graph = match classes == graph.classes() {
            true => graph,
            false => entry.build(&config).ok()?,
        };
        let whole = entry.build(&Config { heads: true, ..config }).ok()?;
        let naming = listing.naming(&graph, entry.namings());
        let fits = listing.fits(&graph, naming) || listing.fits(&whole, naming);
        fits.then_some((entry, classes))
    };
    striate_zoo::all().filter_map(fit).collect()
}

/// How many classes the last weights of a file tell apart.
fn classes(entry: &Architecture, graph: &Graph, listing: &Listing) -> Option<usize> {
    let layout = graph.layout();
    let last = layout.params().iter().rfind(|param| param.slot.role == Role::Weight)?;
    let naming = listing.naming(graph, entry.namings());
    listing.find(graph, naming, &last.name)?.shape.first().copied()
}

/// Reads weights of one format and writes them in another, as the name of the new file asks for.
///
/// Without a `network` it is the one that the file names, or the first that it fits; a warning says
/// so. How pictures are prepared goes with the weights, where the format has room for it. With
/// `verify` both files are run on the same picture, drawn at random. `opset` is the version of the
/// operators in ONNX.
///
/// # Errors
/// [`ModelError::Convert`] if it is not known what to write, or no network fits; as
/// [`Model::open`]; [`ModelError::Format`] if the format cannot hold the network.
pub fn convert(
    from: &Path,
    to: &Path,
    network: Option<&str>,
    dtype: Dtype,
    opset: i64,
    verify: bool,
) -> Result<Conversion, ModelError> {
    let target = target(to, dtype)?;
    let listing = striate_formats::list(from)?;
    let mut warnings = Vec::new();
    let entry = match network.or(listing.metadata.get(MODEL).map(String::as_str)) {
        Some(name) => Some(striate_zoo::find(name)?),
        None => guessed(&listing, &mut warnings),
    };
    let model = match entry {
        Some(entry) => {
            let graph = entry.build(&entry.config())?;
            let classes = match listing.classes()? {
                Some(classes) => classes,
                None => classes(entry, &graph, &listing).unwrap_or(graph.classes()),
            };
            Model::open_with(entry, from, Some(classes))?
        }
        // A network of its own.
        None if is_definition(from) => Model::of_file(from, None)?,
        None => {
            return Err(ModelError::Convert {
                place: listing.place.clone(),
                found: String::from(
                    "fits none of the networks by names and shapes: say which with --model",
                ),
            });
        }
    };
    warnings.extend(model.warnings.iter().cloned());
    let known = input(&model).is_some();
    if !model.input_is_stored {
        let rest = match known {
            true => "taken to be as Caffe usually does it",
            false => "nor will what is written",
        };
        let from = from.display();
        warnings.push(format!("{from} does not say how pictures are prepared for it, {rest}"));
    }
    if known && target == Format::Caffe {
        warnings.push(format!("{} cannot say how pictures are prepared for it", to.display()));
    }
    write(&model, to, target, dtype, opset)?;
    let not_finite = model.params.not_finite();
    if !not_finite.is_empty() {
        warnings.push(format!("{} hold a NaN or an infinity", not_finite.join(", ")));
    }
    let tensors = model.params.sources().map(|(param, stored)| Converted {
        param: param.name.clone(),
        from: stored.name.clone(),
        shape: param.slot.shape.clone(),
        dtype: match &stored.element {
            Element::Float(dtype) => dtype.to_string(),
            Element::Other(other) => other.clone(),
        },
        turned: stored.is_turned(),
    });
    Ok(Conversion {
        network: model.name.clone(),
        from: listing.format,
        to: target,
        tensors: tensors.collect(),
        ignored: model.params.ignored().to_vec(),
        input: known && target != Format::Caffe,
        warnings,
        verified: if verify { Some(verified(&model, to)?) } else { None },
    })
}

/// How pictures are prepared for the weights, as far as their file tells.
fn input(model: &Model) -> Option<&InputSpec> {
    let stored = model.input_is_stored.then_some(&model.input);
    stored.or(model.params.assumed_input())
}

/// What the new file is to be.
fn target(to: &Path, dtype: Dtype) -> Result<Format, ModelError> {
    let wrong = |found: String| ModelError::Convert { place: to.display().to_string(), found };
    let format = Format::of(to).ok_or_else(|| {
        wrong(String::from(
            "found a name that tells no format, expected one that ends in .safetensors, .pth, \
             .weights.h5, .caffemodel or .onnx",
        ))
    })?;
    let whole = format == Format::Keras && !to.to_string_lossy().ends_with(".weights.h5");
    if whole {
        return Err(wrong(String::from("Keras's weights are written as .weights.h5 alone")));
    }
    let halves = matches!(format, Format::Safetensors | Format::PyTorch);
    if dtype != Dtype::F32 && !halves {
        return Err(wrong(format!("{dtype} is for safetensors and .pth alone")));
    }
    Ok(format)
}

/// The first network that the weights fit; a warning names all.
fn guessed(listing: &Listing, warnings: &mut Vec<String>) -> Option<&'static Architecture> {
    let fits: Vec<&Architecture> = fits(listing).into_iter().map(|(entry, _)| entry).collect();
    let names: Vec<&str> = fits.iter().map(|entry| entry.name).collect();
    match fits[..] {
        [] => None,
        [entry] => {
            warnings.push(format!("taken for {}, by names and shapes", entry.name));
            Some(entry)
        }
        [entry, ..] => {
            let others = names[1..].join(", ");
            warnings.push(format!(
                "taken for {}, by names and shapes; {others} would fit as well, and compute something \
                 else: --model says which",
                entry.name
            ));
            Some(entry)
        }
    }
}

fn write(
    model: &Model,
    to: &Path,
    format: Format,
    dtype: Dtype,
    opset: i64,
) -> Result<(), ModelError> {
    let Model { name, entry, graph, params, .. } = model;
    let params = &**params;
    let input = input(model);
    let mut metadata: BTreeMap<String, String> = model.params.metadata();
    if let Some(entry) = entry {
        metadata.insert(String::from(MODEL), String::from(entry.name));
        if graph.classes() != entry.config().classes {
            metadata.insert(String::from(CLASSES), graph.classes().to_string());
        }
    }
    let own = |edition: Edition| {
        let own = entry.filter(|entry| entry.edition == edition);
        own.map_or(Naming::NODES, |entry| entry.naming)
    };
    match format {
        Format::Safetensors | Format::PyTorch => {
            let naming = entry.map_or(Naming::NODES, |entry| entry.naming);
            save(to, graph, params, &naming, input, &metadata, dtype)?;
        }
        Format::Keras => {
            save_keras(to, graph, params, &own(Edition::Keras), input, &metadata)?;
        }
        Format::Caffe => {
            let naming = entry.and_then(|entry| entry.also.first()).unwrap_or(&Naming::NODES);
            let definition = to.with_extension("prototxt");
            caffe::write(to, &definition, name, graph, &whole(model)?, naming)?;
        }
        Format::Onnx => {
            let model = entry.map(|entry| entry.name);
            let options = onnx::Options { opset, input, model, ..onnx::Options::default() };
            onnx::write(to, graph, params, &options)?;
        }
    }
    Ok(())
}

/// All weights, in memory.
fn whole(model: &Model) -> Result<Params, ModelError> {
    in_memory(&*model.params, &model.weights)
}

fn in_memory(params: &dyn ParamSource, place: &str) -> Result<Params, ModelError> {
    let place = place.to_owned();
    Params::read(params).map_err(|error| ModelError::Convert { place, found: error.to_string() })
}

/// What is written is read again, and both are run by their definition.
fn verified(model: &Model, to: &Path) -> Result<Verified, ModelError> {
    let (graph, found) = match Format::of(to) {
        // The network is the file's, too.
        Some(Format::Onnx) => {
            let again = onnx::read(to, &onnx::ReadOptions::default())?;
            (again.graph, in_memory(&again.params, &to.display().to_string())?)
        }
        _ => match model.entry {
            Some(entry) => {
                let again = Model::open_with(entry, to, Some(model.graph.classes()))?;
                (again.graph.clone(), whole(&again)?)
            }
            None => {
                let file = striate_formats::read(to)?;
                let loaded = file.weights(&model.graph, &Naming::NODES, &[])?;
                (model.graph.clone(), in_memory(&loaded, &to.display().to_string())?)
            }
        },
    };
    let params = whole(model)?;
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    let is_same = |(param, values): &(&Param, &[f32])| {
        found.get(&param.name).is_some_and(|found| bits(found.data) == bits(values))
    };
    let changed = params.iter().filter(|pair| !is_same(pair)).count();
    let mut rng = Rng::new(0);
    let shape = model.graph.input();
    let values = (0..shape.volume()).map(|_| rng.normal()).collect();
    let picture = Tensor::new(&shape.batched(1), values).expect("as many values as the shape has");
    let run = |graph: &Graph, params: &Params| {
        let keep = graph.iter().map(|(id, _)| id).collect();
        let options = Options { batch: 1, keep, ..Options::default() };
        let network = Interpreter.compile(graph, params, &options);
        network.map_err(|error| error.into()).and_then(|mut network| network.run(&picture))
    };
    let (expected, found) = (run(&model.graph, &params)?, run(&graph, &found)?);
    // ONNX has no layer for what does nothing.
    let layers = expected.iter().filter_map(|(name, a)| Some((name, a, found.get(name)?)));
    let apart = |(name, a, b): (&str, &Tensor, &Tensor)| {
        let largest = a.data().iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
        let pairs = a.data().iter().zip(b.data());
        let worst = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max);
        (name.to_owned(), worst / largest.max(f64::MIN_POSITIVE))
    };
    Ok(Verified { changed, layers: layers.map(apart).collect() })
}
