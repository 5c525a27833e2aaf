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
mod section;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::file::Contents;
use crate::limits::Room;
use crate::source::Source;
use crate::{CLASSES, Format, FormatError, INPUT, Listing, MODEL};
use hdf5::{Dataset, Hdf5};
use layers::{Class, Layer};

pub(crate) use archive::{Config, contents as archive};
pub(crate) use order::ordinals;
pub use write::save_keras;

/// How HDF5 begins.
pub(crate) const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";

/// What is in the HDF5 file in that section of a source. The ranges of the tensors count from its
/// first byte.
pub(crate) fn contents(
    source: &Source,
    section: Range<u64>,
    config: &Config,
    place: String,
    room: &Room,
) -> Result<Contents, FormatError> {
    let file = Hdf5::open(source, section.clone(), &place, room)?;
    let (metadata, mut layers) = match legacy(&file)? {
        Some((metadata, layers)) => (metadata, layers),
        None => (own_metadata(&file)?, current(&file, config)?),
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
    Ok(Contents {
        listing: Listing { place, format: Format::Keras, tensors, metadata },
        start,
        values,
    })
}

/// The layers of Keras 1 and 2, and of Keras 3's legacy format: the names of layers and weights are
/// attributes.
type Legacy = (BTreeMap<String, String>, Vec<Layer>);

fn legacy(file: &Hdf5) -> Result<Option<Legacy>, FormatError> {
    let mut root = file.root()?;
    if let Some(inside) = file.child(&root, "model_weights")? {
        root = inside;
    }
    let Some(names) = file.strings(&root, "layer_names")? else { return Ok(None) };
    let mut metadata = BTreeMap::new();
    for key in ["keras_version", "backend"] {
        if let Some([value]) = file.strings(&root, key)?.as_deref() {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let mut groups = file.children(&root)?;
    let mut layers = Vec::new();
    let mut counts: HashMap<Class, usize> = HashMap::new();
    for name in names {
        let Some(group) = groups.remove(&name) else {
            let found = format!("no group `{}`", name.escape_debug());
            return Err(file.malformed(found, "the layer that is listed: download the file again"));
        };
        let weights = file.strings(&group, "weight_names")?.unwrap_or_default();
        let mut inside = HashMap::new();
        for (path, group) in file.walk(group)? {
            let datasets = file.datasets(&group)?.into_iter();
            inside.extend(datasets.map(|(name, dataset)| (format!("{path}/{name}"), dataset)));
        }
        let mut take = |weight: &str| {
            inside.remove(&format!("/{weight}")).ok_or_else(|| {
                let found = format!("no dataset `{}`", weight.escape_debug());
                file.malformed(found, "the one that is listed: download the file again")
            })
        };
        // A model inside the model is one layer, whose weights say of which of its own they are.
        let owner = |weight: &String| weight.rsplit('/').nth(1).map(str::to_owned);
        let owners = || weights.chunk_by(|a, b| owner(a) == owner(b));
        let several = owners().count() > 1;
        for own in owners() {
            let datasets: Vec<(String, Dataset)> = (own.iter())
                .map(|weight| Ok((weight.clone(), take(weight)?)))
                .collect::<Result<_, FormatError>>()?;
            let (leaves, class) = layers::by_name(&datasets);
            let ordinal = class.map(|class| {
                let count = counts.entry(class).or_default();
                *count += 1;
                (class, *count - 1)
            });
            let inner = if several { owner(&own[0]) } else { None };
            let name = inner.unwrap_or_else(|| name.clone());
            let datasets = datasets.into_iter().map(|(_, dataset)| dataset).collect();
            layers.push(Layer { name, ordinal, leaves, datasets });
        }
    }
    Ok(Some((metadata, layers)))
}

/// What this project says of weights it wrote.
fn own_metadata(file: &Hdf5) -> Result<BTreeMap<String, String>, FormatError> {
    let (root, mut metadata) = (file.root()?, BTreeMap::new());
    for key in [INPUT, CLASSES, MODEL] {
        if let Some([value]) = file.strings(&root, key)?.as_deref() {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    Ok(metadata)
}

/// The layers of Keras 3, and of 2.13's files like them: groups called after the class of a layer
/// and its number among those of the class, in which the tensors are numbered. What the layer is
/// called is an attribute, or in a configuration beside, or nowhere.
fn current(file: &Hdf5, config: &Config) -> Result<Vec<Layer>, FormatError> {
    let mut layers = Vec::new();
    for root in ["layers", "_layer_checkpoint_dependencies"] {
        let Some(group) = file.child(&file.root()?, root)? else { continue };
        for (path, variables) in file.walk(group)? {
            let Some(group) = path.strip_suffix("/vars") else { continue };
            let group = group.trim_start_matches('/');
            let named = match file.strings(&variables, "name")?.as_deref() {
                Some([name]) => Some(name.clone()),
                Some(_) | None => config.names.get(group).cloned(),
            };
            let mut numbered = file.datasets(&variables)?;
            let datasets: Vec<Dataset> =
                (0..).map_while(|number: usize| numbered.remove(&number.to_string())).collect();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Cursor, Write};

    use striate_graph::op::Conv2d;
    use striate_graph::{Graph, Init, InputSpec, Naming, ParamSource, Params, Shape};
    use striate_tensor::Rng;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use crate::{Dtype, FormatError, MODEL, TensorFile, save, save_keras};

    /// What `make.py` there had Keras save.
    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("../tests/keras/", $name)).as_slice()
        };
    }

    const NAMES: Naming = Naming::rules(&[("bn1", "batch_normalization")]);

    fn parse(bytes: &[u8]) -> Result<TensorFile, FormatError> {
        TensorFile::parse(bytes.to_vec(), "bytes")
    }

    /// The network of `make.py`.
    fn network() -> Graph {
        Graph::build(Shape::map(2, 4, 5), |x| {
            let x = x.at("c1").conv((3, 2), 3).pad(0).at("bn1").batch_norm().eps(1e-3).no_scale();
            let x = x.at("d1").conv((1, 2), 6).pad(0).groups(3).relu();
            x.flatten().at("bn").batch_norm().eps(1e-3).at("fc").linear(4)
        })
        .unwrap()
    }

    fn expected() -> Params {
        let file = parse(file!("expected.safetensors")).unwrap();
        file.load(&network(), &Naming::NODES, &[]).unwrap().params
    }

    #[test]
    fn every_format_holds_the_same() {
        let graph = network();
        let conv = graph.node(graph.find("d1").unwrap());
        assert!(matches!(&conv.op, striate_graph::Op::Conv2d(Conv2d { groups: 3, .. })));
        for (name, bytes) in [
            ("model.weights.h5", file!("model.weights.h5")),
            ("chunked.weights.h5", file!("chunked.weights.h5")),
            ("legacy.h5", file!("legacy.h5")),
            ("whole.h5", file!("whole.h5")),
            ("model.keras", file!("model.keras")),
            ("deflated.keras", file!("deflated.keras")),
        ] {
            let loaded = parse(bytes).unwrap().load(&graph, &NAMES, &[]);
            let loaded = loaded.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(loaded.params, expected(), "{name}");
            let version = loaded.metadata.get("keras_version");
            assert_eq!(version.is_some(), !name.contains("weights"), "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.weights.h5");
        let (graph, params) = (network(), expected());
        let input = InputSpec::imagenet(256, 224);
        let own = BTreeMap::from([(MODEL.to_owned(), String::from("a name"))]);
        save_keras(&path, &graph, &params, &NAMES, Some(&input), &own).unwrap();
        let loaded = crate::load(&path, &graph, &NAMES).unwrap();
        assert_eq!((loaded.params, loaded.input), (params.clone(), Some(input)));
        assert_eq!(loaded.metadata, own);
        let stored = crate::read(&path).unwrap().weights(&graph, &NAMES, &[]).unwrap();
        let again = directory.path().join("again.weights.h5");
        save_keras(&again, &graph, &stored, &NAMES, stored.input(), &own).unwrap();
        assert!(std::fs::read(&again).unwrap() == std::fs::read(&path).unwrap());
        // Of its own kind, to the byte that Keras reads.
        let theirs = parse(file!("model.weights.h5")).unwrap();
        let ours = crate::read(&path).unwrap();
        for tensor in &theirs.listing().tensors {
            let same = ours.listing().tensors.iter().find(|own| own.ordinal == tensor.ordinal);
            assert_eq!(ours.tensor(same.unwrap()).unwrap(), theirs.tensor(tensor).unwrap());
        }

        let other = Graph::build(Shape::Flat(1), |x| x.at("rbf").rbf(vec![vec![true]])).unwrap();
        let codes = Params::zeros(&other);
        let none = BTreeMap::new();
        let error = save_keras(&path, &graph, &codes, &NAMES, None, &none).unwrap_err();
        assert!(matches!(error, FormatError::Unwritable { .. }), "{error}");
    }

    #[test]
    fn what_is_larger_than_is_turned_at_a_time_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        // A row of the file has the pixels of a map, a row here what an output reads.
        let graph = Graph::build(Shape::map(512, 7, 7), |x| x.flatten().at("fc").linear(401));
        let (graph, none) = (graph.unwrap(), BTreeMap::new());
        let mut params = Params::init(&graph, &Init::LeCun, &Rng::new(1));
        params.get_mut("fc.weight").unwrap()[9_999_999] = f32::INFINITY;
        let keras = |name: &str, weights: &dyn ParamSource| {
            save_keras(&path(name), &graph, weights, &Naming::NODES, None, &none).unwrap();
            std::fs::read(path(name)).unwrap()
        };
        let ours = |name: &str, weights: &dyn ParamSource| {
            let naming = &Naming::NODES;
            save(&path(name), &graph, weights, naming, None, &none, Dtype::F32).unwrap();
            std::fs::read(path(name)).unwrap()
        };
        let written = keras("there.weights.h5", &params);
        let stored = || crate::read(&path("there.weights.h5")).unwrap();
        assert_eq!(stored().load(&graph, &Naming::NODES, &[]).unwrap().params, params);
        let stored = stored().weights(&graph, &Naming::NODES, &[]).unwrap();
        assert!(keras("again.weights.h5", &stored) == written, "turned and turned back");
        assert_eq!(stored.not_finite(), ["fc.weight"]);
        let same = ours("back.safetensors", &stored) == ours("ours.safetensors", &params);
        assert!(same, "turned back");
    }

    #[test]
    fn layers_that_keras_is_taught_are_written_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.weights.h5");
        let graph = Graph::build(Shape::map(1, 4, 4), |x| {
            let x = x.at("s2").subsample(2, 2).at("s4").subsample(2, 2).flatten();
            x.at("rbf").rbf(vec![vec![true], vec![false]])
        })
        .unwrap();
        let params = Params::init(&graph, &Init::LeCun, &Rng::new(1));
        save_keras(&path, &graph, &params, &Naming::NODES, None, &BTreeMap::new()).unwrap();
        assert_eq!(crate::load(&path, &graph, &Naming::NODES).unwrap().params, params);
    }

    #[test]
    fn names_are_those_of_the_layers() {
        let names = |bytes: &[u8]| -> Vec<String> {
            let mut tensors = parse(bytes).unwrap().listing().tensors.clone();
            tensors.sort_by(|a, b| a.name.cmp(&b.name));
            tensors.into_iter().map(|tensor| tensor.name).collect()
        };
        let all = names(file!("model.weights.h5"));
        assert_eq!(all[..2], ["batch_normalization.bias", "batch_normalization.running_mean"]);
        assert!(all.contains(&String::from("fc.weight")), "{all:?}");
        assert_eq!(names(file!("model.keras")), all);
        assert_eq!(names(file!("legacy.h5")), all);
        // Without names these are no layers' of another edition.
        assert_eq!(names(file!("tiny_chunked.weights.h5"))[0], "layers/dense.bias");
        assert_eq!(parse(file!("tiny.h5")).unwrap().listing().tensors[0].shape, [3, 2]);
    }

    #[test]
    fn what_is_no_model_is_refused() {
        let error = parse(file!("loop.weights.h5")).unwrap_err().to_string();
        assert!(error.contains("`again` linked twice, expected a tree of groups"), "{error}");
        let error = parse(b"\x89HDF\r\n\x1a\nversion of a kind nobody knows").unwrap_err();
        assert!(matches!(error, FormatError::Malformed { .. }), "{error}");
    }

    /// An archive as Keras makes it, but of this.
    fn archive(config: &[u8], weights: &[u8], method: CompressionMethod) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        for (name, bytes) in [("config.json", config), ("model.weights.h5", weights)] {
            zip.start_file(name, options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn an_archive_is_what_it_says() {
        let (stored, deflated) = (CompressionMethod::Stored, CompressionMethod::Deflated);
        let tiny = file!("tiny.weights.h5");
        for method in [stored, deflated] {
            let file = parse(&archive(b"{\"config\":{}}", tiny, method)).unwrap();
            assert_eq!(file.listing().tensors.len(), 2);
            let error = parse(&archive(b"{", tiny, method)).unwrap_err().to_string();
            assert!(error.starts_with("bytes: metadata `config.json`: found EOF"), "{error}");
            let nested = [b"{\"config\":".repeat(5000), b"}".repeat(5000)].concat();
            assert!(parse(&archive(&nested, tiny, method)).is_err());
            // Sixteen million zeros in some thousand bytes are no HDF5 file.
            let error = parse(&archive(b"{\"config\":{}}", &[0; 1 << 24], method)).unwrap_err();
            assert!(matches!(error, FormatError::Malformed { .. }), "{error}");
        }
        // The first entry's size, in its own header and in the directory, is a lie.
        let mut bomb = archive(b"{\"config\":{}}", tiny, deflated);
        let sizes: Vec<usize> = (0..bomb.len() - 4)
            .filter(|&at| bomb[at..at + 4] == (tiny.len() as u32).to_le_bytes())
            .collect();
        for at in sizes {
            bomb[at..at + 4].copy_from_slice(&(u32::MAX - 1).to_le_bytes());
        }
        let error = parse(&bomb).unwrap_err();
        assert!(matches!(error, FormatError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        for bytes in [file!("tiny.weights.h5"), file!("tiny.h5"), file!("tiny_chunked.weights.h5")]
        {
            for len in 8..bytes.len() {
                assert!(parse(&bytes[..len]).is_err(), "{len} of {}", bytes.len());
            }
        }
        for bytes in [file!("tiny.keras"), file!("deflated.keras")] {
            for len in (0..bytes.len()).step_by(7) {
                assert!(parse(&bytes[..len]).is_err(), "{len} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_harmless() {
        // Every bit of the first two, and a sample of those that have the same structures.
        for (bytes, step) in [
            (file!("tiny.weights.h5"), 1),
            (file!("tiny_chunked.weights.h5"), 1),
            (file!("tiny.h5"), 5),
            (file!("deflated.keras"), 5),
            (file!("tiny.keras"), 11),
        ] {
            for bit in (0..bytes.len() * 8).step_by(step) {
                let mut flipped = bytes.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let Ok(file) = parse(&flipped) else { continue };
                for stored in &file.listing().tensors {
                    if let Ok(tensor) = file.tensor(stored) {
                        assert_eq!(tensor.shape(), stored.shape, "bit {bit}");
                    }
                }
            }
        }
    }
}
