use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use striate_graph::{Graph, InputSpec, Naming, ParamSource, Params};

use crate::tensors::{Values, Writing};
use crate::{
    Dtype, Format, FormatError, Listing, StoredParams, TensorFile, matching, pytorch, read,
    safetensors,
};

/// The key of the metadata under which an [`InputSpec`] is stored, as JSON.
pub const INPUT: &str = "striate.input";

/// The key of the metadata under which the number of classes is stored, where it is not the
/// network's own.
pub const CLASSES: &str = "striate.classes";

/// The key of the metadata under which the name of the network is stored.
pub const MODEL: &str = "striate.model";

/// The weights of a network, and what else their file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The weights. Connections that the network leaves out are zero, whatever the file holds.
    pub params: Params,
    /// How pictures are prepared for these weights, if the file says so.
    pub input: Option<InputSpec>,
    /// The metadata, but for the preparation.
    pub metadata: BTreeMap<String, String>,
    /// Tensors with a NaN or an infinity, as the file calls them.
    pub not_finite: Vec<String>,
    /// Tensors of the file that the network has no use for: counters of batches and what the
    /// caller said to ignore.
    pub ignored: Vec<String>,
}

/// Reads the weights of a network from a file or the directory of a checkpoint.
///
/// Tensors may be called as the naming says or after their nodes, in one file too, and all may be
/// behind `module.`, as `DataParallel` writes them; `*.num_batches_tracked` is ignored.
///
/// # Errors
/// [`FormatError::Mismatch`] with every tensor that is missing, unexpected, or of another shape;
/// [`FormatError::Metadata`] if the preparation stored with the weights makes no sense; as
/// [`read`].
pub fn load(path: &Path, graph: &Graph, naming: &Naming) -> Result<Loaded, FormatError> {
    read(path)?.load(graph, naming, &[])
}

/// [`load`], from a file that is in memory already; `place` is what errors call it.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(
    bytes: &[u8],
    place: &str,
    graph: &Graph,
    naming: &Naming,
) -> Result<Loaded, FormatError> {
    TensorFile::parse(bytes.to_vec(), place)?.load(graph, naming, &[])
}

/// Writes the weights of a network to a file, called as the naming says, whole or not at all:
/// PyTorch's format if its name ends in `.pth` or `.pt`, else safetensors. The same weights, naming
/// and metadata give the same bytes. [`INPUT`] in `metadata` is replaced by `input`. Of the weights
/// no more is in memory than is written at a time.
///
/// # Errors
/// [`FormatError::Unwritable`] if the weights are of another network, a value is too large for the
/// type, or `input` makes no sense; [`FormatError::Io`] if the file cannot be written.
pub fn save(
    path: &Path,
    graph: &Graph,
    params: &dyn ParamSource,
    naming: &Naming,
    input: Option<&InputSpec>,
    metadata: &BTreeMap<String, String>,
    dtype: Dtype,
) -> Result<(), FormatError> {
    let unwritable = |reason| FormatError::Unwritable { place: path.display().to_string(), reason };
    if *params.layout() != graph.layout() {
        return Err(unwritable(String::from("the weights are of another network than the graph")));
    }
    let mut metadata = metadata.clone();
    metadata.remove(INPUT);
    if let Some(input) = input {
        input.check().map_err(unwritable)?;
        let json = serde_json::to_string(input).map_err(|error| unwritable(error.to_string()))?;
        metadata.insert(String::from(INPUT), json);
    }
    let keys = matching::keys(graph, params.layout(), naming);
    let layout = params.layout().params().iter();
    let tensors: Vec<_> = keys
        .iter()
        .zip(layout)
        .map(|(name, param)| Writing {
            name,
            shape: &param.slot.shape,
            values: Values::Of(params, param),
        })
        .collect();
    match Format::of(path) {
        Some(Format::PyTorch) => pytorch::write(path, &tensors, &metadata, dtype),
        Some(_) | None => safetensors::write(path, &tensors, &metadata, dtype),
    }
}

impl TensorFile {
    /// The weights of a network, as [`load`] reads them. Tensors that the network does not have
    /// are ignored if they are called by one of the names in `ignored` or are inside it: `aux1`
    /// stands for `aux1.fc1.weight` and the rest of that head.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(
        self,
        graph: &Graph,
        naming: &Naming,
        ignored: &[&str],
    ) -> Result<Loaded, FormatError> {
        let stored = self.weights(graph, naming, ignored)?;
        let mut params = Params::zeros(graph);
        for param in Arc::clone(params.layout()).params() {
            stored.piece(param, 0, &mut params.values_mut()[param.range.clone()])?;
        }
        Ok(Loaded {
            params,
            input: stored.input().cloned(),
            metadata: stored.metadata(),
            not_finite: stored.not_finite(),
            ignored: stored.ignored().to_vec(),
        })
    }

    /// The weights of a network, to be read when they are asked for: of more memory than is read at
    /// a time there is no need. Otherwise as [`load`](TensorFile::load).
    ///
    /// # Errors
    /// As [`load`]; if the file is cut off later, who reads the weights is told.
    pub fn weights(
        self,
        graph: &Graph,
        naming: &Naming,
        ignored: &[&str],
    ) -> Result<StoredParams, FormatError> {
        StoredParams::new(self, graph, naming, ignored)
    }
}

impl Listing {
    /// How many classes the weights tell apart, if the file says so.
    ///
    /// # Errors
    /// [`FormatError::Metadata`] if what it says is no such number.
    pub fn classes(&self) -> Result<Option<usize>, FormatError> {
        let Some(text) = self.metadata.get(CLASSES) else { return Ok(None) };
        match text.parse() {
            Ok(classes @ 1..) => Ok(Some(classes)),
            Ok(0) | Err(_) => Err(FormatError::Metadata {
                place: self.place.clone(),
                key: String::from(CLASSES),
                found: format!("`{}`", text.escape_debug()),
                expected: String::from("the number of classes, from 1 on"),
            }),
        }
    }

    /// How pictures are prepared for the weights, if the file says so.
    ///
    /// # Errors
    /// [`FormatError::Metadata`] if what it says makes no sense.
    pub fn input(&self) -> Result<Option<InputSpec>, FormatError> {
        let Some(json) = self.metadata.get(INPUT) else { return Ok(None) };
        let parsed = serde_json::from_str::<InputSpec>(json).map_err(|error| error.to_string());
        let checked = parsed.and_then(|input| input.check().map(|()| input));
        checked.map(Some).map_err(|found| FormatError::Metadata {
            place: self.place.clone(),
            key: String::from(INPUT),
            found,
            expected: String::from("how pictures are prepared, as JSON of an InputSpec"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MismatchError, Misshapen, list, weights_sha256, write_tensors};
    use striate_graph::{Init, Shape};
    use striate_tensor::{Rng, View};

    const NAMING: Naming = Naming {
        rules: &[("fc", "classifier"), ("bn", "norm")],
        sequences: &[("conv", "features")],
        ..Naming::NODES
    };

    /// What `NAMING` calls the parameters, in the order of the layout.
    const KEYS: [&str; 8] = [
        "features.0.weight",
        "features.0.bias",
        "norm.weight",
        "norm.bias",
        "classifier.weight",
        "classifier.bias",
        "norm.running_mean",
        "norm.running_var",
    ];

    fn network() -> Graph {
        Graph::build(Shape::map(2, 4, 4), |x| {
            let x = x.at("conv").conv(3, 3).table(&["X.X", "XX."]).at("bn").batch_norm();
            x.flatten().at("fc").linear(2)
        })
        .unwrap()
    }

    fn weights() -> Params {
        Params::init(&network(), &Init::LeCun, &Rng::new(1))
    }

    /// Loads a file in which the parameters are called so; an empty name leaves one out.
    fn load_named<'n>(
        params: &'n Params,
        names: impl IntoIterator<Item = &'n str>,
        more: &[(&'n str, View<'n>)],
        ignored: &[&str],
    ) -> Result<Loaded, FormatError> {
        let views = params.iter().map(|(p, data)| View { shape: &p.slot.shape, data });
        let mut tensors: Vec<_> = names.into_iter().zip(views).collect();
        tensors.retain(|(name, _)| !name.is_empty());
        tensors.extend(more);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        write_tensors(&path, &tensors).unwrap();
        read(&path).unwrap().load(&network(), &NAMING, ignored)
    }

    fn mismatch(loaded: Result<Loaded, FormatError>) -> MismatchError {
        match loaded {
            Err(FormatError::Mismatch { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        let (graph, params) = (network(), weights());
        let input = InputSpec { mean: vec![0.1, 0.7, 1e-7], ..InputSpec::imagenet(256, 224) };
        let metadata = BTreeMap::from([
            (String::from("epoch"), String::from("3")),
            (String::from(INPUT), String::from("stale")),
        ]);
        let save = |dtype| {
            save(&path, &graph, &params, &NAMING, Some(&input), &metadata, dtype).unwrap();
            std::fs::read(&path).unwrap()
        };
        assert_eq!(save(Dtype::F32), save(Dtype::F32));
        let listing = list(&path).unwrap();
        let mut found: Vec<_> = listing.tensors.iter().map(|t| t.name.as_str()).collect();
        found.sort_by_key(|name| KEYS.iter().position(|key| key == name));
        assert_eq!(found, KEYS);
        assert_eq!(listing.find(&graph, &NAMING, "fc.weight").unwrap().shape, [2, 48]);
        assert_eq!(listing.find(&graph, &NAMING, "fc.scale"), None);

        // By the directory, as a checkpoint is named.
        let loaded = load(directory.path(), &graph, &NAMING).unwrap();
        assert_eq!(weights_sha256(&loaded.params), weights_sha256(&params));
        assert_eq!(loaded.input, Some(input.clone()));
        assert_eq!(loaded.metadata, BTreeMap::from([("epoch".into(), "3".into())]));
        assert!(loaded.not_finite.is_empty() && loaded.ignored.is_empty());

        for (dtype, error) in [(Dtype::F16, 1.0 / 2048.0), (Dtype::BF16, 1.0 / 256.0)] {
            let bytes = save(dtype);
            let loaded = load_bytes(&bytes, "bytes", &graph, &NAMING).unwrap();
            for (found, exact) in loaded.params.values().iter().zip(params.values()) {
                assert!((found - exact).abs() <= exact.abs() * error + 1e-7, "{found} {exact}");
            }
        }
    }

    #[test]
    fn names_are_the_files_or_the_nodes_or_both() {
        let params = weights();
        let nodes: Vec<_> = params.iter().map(|(param, _)| param.name.as_str()).collect();
        let mixed: Vec<_> = (0..8).map(|i| if i % 3 == 0 { nodes[i] } else { KEYS[i] }).collect();
        let counter = View { shape: &[], data: &[7.0] };
        for names in [nodes, KEYS.to_vec(), mixed] {
            let loaded = load_named(&params, names.clone(), &[], &[]).unwrap();
            assert_eq!(loaded.params, params);
            let wrapped: Vec<_> = names.iter().map(|name| format!("module.{name}")).collect();
            let more = [("module.norm.num_batches_tracked", counter)];
            let names = wrapped.iter().map(String::as_str);
            let loaded = load_named(&params, names, &more, &[]).unwrap();
            assert_eq!(loaded.params, params);
            assert_eq!(loaded.ignored, ["module.norm.num_batches_tracked"]);
        }
    }

    #[test]
    fn a_name_that_is_another_layers_key_is_that_layers() {
        // Each layer is called in files as the other is in the graph.
        const SWAPPED: Naming = Naming::rules(&[("a", "b"), ("b", "a")]);
        let graph =
            Graph::build(Shape::map(1, 1, 1), |x| x.flatten().at("a").linear(1).at("b").linear(1))
                .unwrap();
        let params = Params::init(&graph, &Init::LeCun, &Rng::new(1));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        save(&path, &graph, &params, &SWAPPED, None, &BTreeMap::new(), Dtype::F32).unwrap();
        assert_eq!(load(&path, &graph, &SWAPPED).unwrap().params, params);
        let partial = [("a.weight", View { shape: &[1, 1], data: &[1.0] })];
        write_tensors(&path, &partial).unwrap();
        let missing = mismatch(load(&path, &graph, &SWAPPED)).missing;
        assert_eq!(missing, ["b.weight", "b.bias", "a.bias"]);
    }

    #[test]
    fn every_mismatch_is_listed() {
        let params = weights();
        let names = ["", "features.0.bias", "norm.weight", "norm.bias", "", "", KEYS[6], KEYS[7]];
        let flat = View { shape: &[2, 1, 1, 1], data: &[0.0; 2] };
        let more = [("classifier.bias", flat), ("aux1.fc.weight", flat), ("aux10.bias", flat)];
        let all = mismatch(load_named(&params, names, &more, &[]));
        assert_eq!(all.missing, ["features.0.weight", "classifier.weight"]);
        assert_eq!(all.unexpected, ["aux1.fc.weight", "aux10.bias"]);
        let bias = Misshapen {
            name: String::from("classifier.bias"),
            found: vec![2, 1, 1, 1],
            expected: vec![2],
        };
        assert_eq!(all.misshapen, [bias]);
        let some = mismatch(load_named(&params, names, &more, &["aux1"]));
        assert_eq!(some.unexpected, ["aux10.bias"]);
        assert_eq!(some.misshapen, all.misshapen);

        // Given twice, under both names.
        let conv = View { shape: &[3], data: &[0.0; 3] };
        let twice = mismatch(load_named(&params, KEYS, &[("conv.bias", conv)], &[]));
        assert_eq!(twice.unexpected, ["conv.bias"]);
    }

    #[test]
    fn heads_are_ignored_on_request() {
        let head = View { shape: &[1], data: &[0.0] };
        let params = weights();
        let more = [("aux1.fc.bias", head), ("aux2", head)];
        let loaded = load_named(&params, KEYS, &more, &["aux1", "aux2", "norm"]).unwrap();
        assert_eq!(loaded.ignored, ["aux1.fc.bias", "aux2"]);
        assert_eq!(loaded.params, params);
    }

    #[test]
    fn absent_connections_are_severed_and_what_is_not_finite_is_named() {
        let (exact, mut params) = (weights(), weights());
        params.get_mut("conv.weight").unwrap()[2 * 9] = 5.0;
        params.get_mut("fc.bias").unwrap()[1] = f32::NEG_INFINITY;
        params.get_mut("bn.running_var").unwrap()[0] = f32::NAN;
        let loaded = load_named(&params, KEYS, &[], &[]).unwrap();
        assert_eq!(loaded.params.get("conv.weight"), exact.get("conv.weight"));
        assert_eq!(loaded.not_finite, ["classifier.bias", "norm.running_var"]);
    }

    #[test]
    fn a_preparation_that_makes_no_sense_is_refused() {
        let good = serde_json::to_string(&InputSpec::digits(2, 0.1, 0.3)).unwrap();
        let cases = [
            ("{", "EOF while parsing"),
            ("{\"crop\":[1,1]}", "missing field"),
            (&good.replace("[0.1]", "[0.1,0.2]"), "1 channels need 1 means"),
            (&good.replace("\"border\"", "\"brim\""), "unknown field `brim`"),
        ];
        for (json, expected) in cases {
            let metadata = BTreeMap::from([(String::from(INPUT), String::from(json))]);
            let (place, tensors) = (String::from("file"), vec![]);
            let listing = Listing { place, format: Format::Safetensors, tensors, metadata };
            let error = listing.input().unwrap_err().to_string();
            assert!(error.starts_with("file: metadata `striate.input`: found "), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_saved_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        std::fs::write(&path, b"old").unwrap();
        let (graph, mut params) = (network(), weights());
        params.get_mut("bn.running_var").unwrap()[0] = 1e6;
        let other = graph.prune(&[graph.find("bn").unwrap()]);
        let senseless = InputSpec { mean: vec![], ..InputSpec::imagenet(256, 224) };
        let save = |graph, input, dtype| {
            let saved = save(&path, graph, &params, &NAMING, input, &BTreeMap::new(), dtype);
            saved.unwrap_err().to_string()
        };
        let errors = [
            (save(&other, None, Dtype::F32), "are of another network"),
            (save(&graph, None, Dtype::F16), "`norm.running_var` holds 1000000, which is too"),
            (save(&graph, Some(&senseless), Dtype::F32), "3 channels need 3 means"),
        ];
        for (error, expected) in errors {
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
}
