//! Keras's formats: `.weights.h5` and `.keras` of Keras 3, and the `.h5` of those before, of weights
//! and of whole models.
//!
//! All keep the tensors in HDF5, which `hdf5-reader` reads. Here they get the names and shapes that
//! the rest of the project has: a layer's `kernel`, height × width × in × out, is its `weight`, out ×
//! in × height × width, and the file's order is left to the strides.

mod archive;
mod hdf5;
mod layers;
mod order;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::file::Contents;
use crate::source::Source;
use crate::{FormatError, Listing};
use hdf5::{Dataset, Hdf5};
use layers::{Class, Layer};

pub(crate) use archive::{Config, contents as archive};
pub(crate) use order::{flattened, ordinals};

/// How HDF5 begins.
pub(crate) const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";

/// What is in the HDF5 file in that section of a source. The ranges of the tensors count from its
/// first byte.
pub(crate) fn contents(
    source: &Source,
    section: Range<u64>,
    config: &Config,
    place: String,
) -> Result<Contents, FormatError> {
    let file = Hdf5::open(source, section.clone(), &place)?;
    let (metadata, mut layers) = match legacy(&file)? {
        Some((metadata, layers)) => (metadata, layers),
        None => (BTreeMap::new(), current(&file, config)?),
    };
    if layers.is_empty() {
        return Err(FormatError::Unsupported {
            place,
            found: String::from("an HDF5 file without the layers of a Keras model"),
            expected: String::from(
                "one that Keras saved: model.save_weights(\"….weights.h5\"), model.save(…)",
            ),
        });
    }
    layers::number_from_zero(&mut layers);
    let stored = layers.iter().flat_map(|layer| &layer.datasets);
    let values = file.decoded(stored)?.map(Source::memory);
    let mut tensors = Vec::new();
    let mut decoded = 0;
    for layer in &layers {
        for mut tensor in layer.tensors() {
            if values.is_some() {
                // One after the other, as they were decoded.
                tensor.range = decoded..decoded + tensor.range.len();
                decoded = tensor.range.end;
            }
            tensors.push(tensor);
        }
    }
    tensors.sort_by(|a, b| (a.range.start, &a.name).cmp(&(b.range.start, &b.name)));
    if let Some(pair) = layers::twice(&tensors) {
        return Err(file.malformed(
            format!("two tensors called `{}`", pair.escape_debug()),
            "a name for each layer",
        ));
    }
    let start = if values.is_some() { 0 } else { section.start };
    Ok(Contents { listing: Listing { place, tensors, metadata }, start, values })
}

/// The layers of Keras 1 and 2, and of Keras 3's legacy format: the names of layers and weights are
/// attributes.
type Legacy = (BTreeMap<String, String>, Vec<Layer>);

fn legacy(file: &Hdf5) -> Result<Option<Legacy>, FormatError> {
    let root = match file.strings("", "layer_names")? {
        Some(_) => "",
        None => "model_weights",
    };
    let Some(names) = file.strings(root, "layer_names")? else { return Ok(None) };
    let mut metadata = BTreeMap::new();
    for key in ["keras_version", "backend"] {
        if let Some([value]) = file.strings(root, key)?.as_deref() {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let mut layers = Vec::new();
    let mut counts: HashMap<Class, usize> = HashMap::new();
    for name in names {
        let group = format!("{root}/{name}");
        let weights = file.strings(&group, "weight_names")?.unwrap_or_default();
        // A model inside the model is one layer, whose weights say of which of its own they are.
        let owner = |weight: &str| weight.rsplit('/').nth(1).map(str::to_owned);
        let mut owners: Vec<Option<String>> = weights.iter().map(|w| owner(w)).collect();
        owners.dedup();
        let several = owners.len() > 1;
        for owner_of in owners {
            let own = weights.iter().filter(|weight| !several || owner(weight) == owner_of);
            let datasets: Vec<(String, Dataset)> = own
                .map(|weight| Ok((weight.clone(), file.dataset(&format!("{group}/{weight}"))?)))
                .collect::<Result<_, FormatError>>()?;
            let (leaves, class) = layers::by_name(&datasets);
            let ordinal = class.map(|class| {
                let count = counts.entry(class).or_default();
                *count += 1;
                (class, *count - 1)
            });
            let name = if several { owner_of } else { None }.unwrap_or_else(|| name.clone());
            let datasets = datasets.into_iter().map(|(_, dataset)| dataset).collect();
            layers.push(Layer { name, ordinal, leaves, datasets });
        }
    }
    Ok(Some((metadata, layers)))
}

/// The layers of Keras 3, and of 2.13's files like them: groups called after the class of a layer
/// and its number among those of the class, in which the tensors are numbered. What the layer is
/// called is an attribute, or in a configuration beside, or nowhere.
fn current(file: &Hdf5, config: &Config) -> Result<Vec<Layer>, FormatError> {
    let mut layers = Vec::new();
    for root in ["layers", "_layer_checkpoint_dependencies"] {
        for path in file.groups(root)? {
            let Some(variables) = path.strip_suffix("/vars") else { continue };
            let group = &variables[root.len() + 1..];
            let named = match file.strings(&path, "name")?.as_deref() {
                Some([name]) => Some(name.clone()),
                Some(_) | None => config.names.get(group).cloned(),
            };
            let mut datasets = Vec::new();
            while let Some(dataset) = file.find(&format!("{path}/{}", datasets.len()))? {
                datasets.push(dataset);
            }
            let (class, number) = layers::class_and_number(group);
            let (leaves, class) = match class {
                Some(class) => (class.leaves(datasets.len()), Some(class)),
                None => ((0..datasets.len()).map(|i| i.to_string()).collect(), None),
            };
            // The group's own name could be taken for that of another layer.
            let name = named.unwrap_or_else(|| format!("{root}/{group}"));
            let ordinal = class.map(|class| (class, number));
            layers.push(Layer { name, ordinal, leaves, datasets });
        }
    }
    Ok(layers)
}
