use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use striate_formats::{CLASSES, Listing, MODEL, NETWORK, Ports, StoredParams, definition};
use striate_graph::{
    ChannelOrder, Graph, Init, InputSpec, Naming, Op, ParamSource, Params, Resize, Shape,
    SourceError,
};
use striate_tensor::Tensor;
use striate_zoo::{Architecture, Config, DataSet, Edition, Training};

use super::{ModelError, definition as file};

/// A network that somebody named: an entry of the registry, or a file that says what it is.
#[derive(Clone, Debug)]
pub struct Network {
    /// What it is called: the name of the entry, or that of the file without its ending.
    pub name: String,
    /// The network itself.
    pub graph: Graph,
    /// Its weights, if its file holds them or another was named.
    pub weights: Option<Weights>,
    /// What the file calls what is fed and what comes out, if its format has names for them.
    pub ports: Option<Ports>,
    /// What one should know of how the file was read.
    pub warnings: Vec<String>,
    origin: Origin,
    /// How pictures are prepared, as the file of the network has it.
    input: Option<InputSpec>,
    /// What files call the parameters of each node.
    #[cfg(feature = "render")]
    keys: Vec<String>,
}

/// Weights where they are stored.
#[derive(Clone, Debug)]
pub struct Weights {
    /// The weights, which are read when the network is compiled.
    pub params: Arc<StoredParams>,
    /// Where they are from: a file, or `embedded`.
    pub place: String,
}

#[derive(Clone, Debug)]
enum Origin {
    Entry(&'static Architecture),
    /// The name of its file.
    File(String),
}

/// What is chosen of a network. The rest is as it was published, or as the file has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Classes to tell apart.
    pub classes: Option<usize>,
    /// Channels, height and width of the input.
    pub input: Option<[usize; 3]>,
    /// Whether auxiliary classifiers, used in training alone, are part of it.
    pub heads: bool,
    /// Whether a network of a file is to end in logits: a softmax at its end is left out.
    pub logits: bool,
}

impl Choices {
    /// The entry's own choices where none is made.
    fn config(&self, entry: &Architecture) -> Config {
        let default = entry.config();
        Config {
            classes: self.classes.unwrap_or(default.classes),
            input: self.input.unwrap_or(default.input),
            heads: self.heads,
        }
    }
}

/// What somebody named.
pub(crate) enum Named<'n> {
    Entry(&'static Architecture),
    File(&'n Path),
}

impl Named<'_> {
    /// A name of the registry is that, whatever files there are.
    pub(crate) fn of(name: &str) -> Result<Named<'_>, ModelError> {
        match striate_zoo::find(name) {
            Ok(entry) => Ok(Named::Entry(entry)),
            // What cannot be looked at (permissions) is told by whoever reads it.
            Err(_) if !matches!(Path::new(name).try_exists(), Ok(false)) => {
                Ok(Named::File(Path::new(name)))
            }
            Err(unknown) => Err(unknown.into()),
        }
    }
}

impl Network {
    /// The network of a name from the registry or of a file: Caffe's `.prototxt` or `.caffemodel`
    /// (with the `.prototxt` of the same name beside it, if there is one), ONNX, or weights of ours
    /// that say what network they are of. With `weights` these are taken, all of which must fit.
    ///
    /// # Errors
    /// [`ModelError`] if there is neither, the file is no network or cannot be read, the network
    /// cannot be built so, or the weights are of another.
    pub fn open(
        name: &str,
        weights: Option<&Path>,
        choices: &Choices,
    ) -> Result<Network, ModelError> {
        match Named::of(name)? {
            Named::Entry(entry) => {
                let network = Network::of_entry(entry, &choices.config(entry))?;
                match weights {
                    Some(path) => network.with_weights(path),
                    None => Ok(network),
                }
            }
            Named::File(path) => file::read(path, weights, choices),
        }
    }

    /// An entry of the registry.
    pub(crate) fn of_entry(
        entry: &'static Architecture,
        config: &Config,
    ) -> Result<Network, ModelError> {
        let graph = entry.build(config)?;
        Ok(Network {
            #[cfg(feature = "render")]
            keys: entry.naming.keys(&graph),
            origin: Origin::Entry(entry),
            ..Network::of_file(entry.name, graph)
        })
    }

    /// A network that a file of this name says.
    pub(crate) fn of_file(name: &str, graph: Graph) -> Network {
        let stem = PathBuf::from(name).with_extension("").display().to_string();
        Network {
            name: stem,
            graph,
            weights: None,
            ports: None,
            warnings: Vec::new(),
            origin: Origin::File(name.to_owned()),
            input: None,
            #[cfg(feature = "render")]
            keys: Vec::new(),
        }
    }

    /// The same with what its file says besides.
    pub(crate) fn and(
        self,
        input: Option<InputSpec>,
        warnings: Vec<String>,
        ports: Option<Ports>,
    ) -> Network {
        Network { input, warnings, ports, ..self }
    }

    /// The network with the weights of a file, all of which must fit it.
    pub(crate) fn with_weights(self, path: &Path) -> Result<Network, ModelError> {
        let file = striate_formats::read(path)?;
        // The nodes of a file may be called as those of the network that the weights are of.
        let named = file.listing().metadata.get(MODEL).filter(|_| self.is_file());
        let named = named.and_then(|name| striate_zoo::find(name).ok());
        let also = named.into_iter().flat_map(Architecture::namings);
        let naming = file.listing().naming(&self.graph, self.namings().chain(also));
        // What does not fit by its shape says more.
        let other = self.check_name(file.listing());
        let params = file.weights(&self.graph, naming, &[])?;
        other?;
        Ok(self.weighed(params, path.display().to_string()))
    }

    pub(crate) fn weighed(self, params: StoredParams, place: String) -> Network {
        Network { weights: Some(Weights { params: Arc::new(params), place }), ..self }
    }

    /// Editions of one network can have the same shapes and still compute another function.
    pub(crate) fn check_name(&self, file: &Listing) -> Result<(), ModelError> {
        match (self.entry(), file.metadata.get(MODEL)) {
            (Some(entry), Some(found)) if found != entry.name => Err(ModelError::OtherNetwork {
                place: file.place.clone(),
                found: found.clone(),
                network: self.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Its entry in the registry, if it has one.
    pub fn entry(&self) -> Option<&'static Architecture> {
        match self.origin {
            Origin::Entry(entry) => Some(entry),
            Origin::File(_) => None,
        }
    }

    /// Whether it is that of a file.
    pub fn is_file(&self) -> bool {
        self.entry().is_none()
    }

    /// What weights say that they are of: the name of the entry, or of the file.
    pub fn mark(&self) -> &str {
        match &self.origin {
            Origin::Entry(entry) => entry.name,
            Origin::File(name) => name,
        }
    }

    /// Whose edition it is, in a word: `file` of a network that is one.
    pub fn edition(&self) -> &'static str {
        self.entry().map_or("file", |entry| entry.edition.word())
    }

    /// What its parameters are called in files that are written.
    pub fn naming(&self) -> &'static Naming {
        self.entry().map_or(&Naming::DOTS, |entry| &entry.naming)
    }

    /// What its parameters may be called in files that are read, the usual naming first.
    pub fn namings(&self) -> impl Iterator<Item = &'static Naming> {
        let also = self.entry().map_or(&[][..], |entry| entry.also);
        std::iter::once(self.naming()).chain(also)
    }

    /// What its parameters are called in the files of others, if it is one of their editions.
    pub(crate) fn naming_of(&self, edition: Edition) -> &'static Naming {
        match self.entry() {
            Some(entry) if edition == Edition::Caffe && !entry.also.is_empty() => &entry.also[0],
            Some(entry) if entry.edition == edition => &entry.naming,
            None if edition != Edition::Caffe => self.naming(),
            Some(_) | None => &Naming::NODES,
        }
    }

    /// The data it was made for, if that is known: the classes of a file's network are taken for
    /// those of ImageNet if there are as many.
    pub fn data(&self) -> Option<DataSet> {
        let imagenet = || DataSet::ImageNet.classes() == self.graph.classes();
        match self.entry() {
            Some(entry) => Some(entry.data),
            None => imagenet().then_some(DataSet::ImageNet),
        }
    }

    /// How its weights are drawn before training.
    pub fn init(&self) -> Init {
        match (self.entry(), self.normalises()) {
            (Some(entry), _) => entry.init,
            (None, true) => Init::KaimingFanOut,
            (None, false) => Init::KaimingFanIn,
        }
    }

    /// How it is trained: a file's network as the network of the registry that is most like it.
    pub fn training(&self) -> Training {
        let [channels, height, _] = self.graph.input().chw();
        match self.entry() {
            Some(entry) => entry.training,
            None if self.graph.smallest_wins() => Training::Codes,
            None if channels == 1 => Training::Digits,
            None if self.normalises() && height <= 64 => Training::Cifar,
            None if self.normalises() => Training::ResNet,
            None => Training::AlexNet,
        }
    }

    fn normalises(&self) -> bool {
        self.graph.nodes().iter().any(|node| matches!(node.op, Op::BatchNorm(_)))
    }

    /// How pictures are prepared, if the weights or the file of the network say so, or their format
    /// has one way to do it.
    pub fn input(&self) -> Option<&InputSpec> {
        let params = self.weights.as_ref().map(|weights| &weights.params);
        let said = params.and_then(|params| params.input()).or(self.input.as_ref());
        said.or(params.and_then(|params| params.assumed_input()))
    }

    /// Whether the weights or the file say it themselves.
    pub fn says_input(&self) -> bool {
        let params = self.weights.as_ref().map(|weights| &weights.params);
        self.input.is_some() || params.is_some_and(|params| params.input().is_some())
    }

    /// How pictures are prepared: as the [weights say](Self::input), or else as usual.
    pub fn preparation(&self) -> InputSpec {
        let usual = || match self.entry() {
            Some(entry) => (entry.preparation)(),
            None => usual(self.graph.input()),
        };
        self.input().cloned().unwrap_or_else(usual)
    }

    /// What is stored with its weights, so that they are known again.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([(String::from(MODEL), self.mark().to_owned())]);
        match self.entry() {
            Some(entry) if entry.data.classes() != self.graph.classes() => {
                metadata.insert(String::from(CLASSES), self.graph.classes().to_string());
            }
            Some(_) => {}
            None => {
                metadata.insert(String::from(NETWORK), definition(&self.graph));
            }
        }
        metadata
    }

    /// Its weights in memory: those of its file, or else drawn.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] if one is no number; [`ModelError::Format`] if they cannot be read.
    pub fn params(&self, rng: &striate_tensor::Rng) -> Result<Params, ModelError> {
        let Some(Weights { params, place }) = &self.weights else {
            return Ok(Params::init(&self.graph, &self.init(), rng));
        };
        let values = in_memory(&**params, place)?;
        match params.not_finite().into_iter().next() {
            Some(tensor) => Err(ModelError::NotFinite { path: place.into(), tensor }),
            None => Ok(values),
        }
    }

    /// Refuses a network that has more than a value for each class.
    ///
    /// # Errors
    /// [`ModelError::NoClasses`].
    pub fn check_classes(&self) -> Result<(), ModelError> {
        let shape = self.graph.node(self.graph.outputs()[0].node).shape;
        match shape.volume() == shape.channels() {
            true => Ok(()),
            false => Err(ModelError::NoClasses { network: self.name.clone(), shape }),
        }
    }

    /// Pictures × channels × height × width of a tensor as the network of a file is fed, whose axes may
    /// be others.
    ///
    /// # Errors
    /// [`ModelError::Fed`] if it has another shape.
    pub fn fed(&self, images: Tensor) -> Result<Tensor, ModelError> {
        let (input, found) = (self.graph.input(), images.shape());
        let pictures = found.first().copied().unwrap_or(0);
        let (expected, last) = (self.fed_shape(), self.channels_last());
        let known = expected.iter().zip(found).skip(1);
        let fits = expected.len() == found.len()
            && known.clone().all(|(expected, found)| expected.is_none_or(|n| n == *found))
            && pictures > 0
            && found.iter().product::<usize>() == pictures * input.volume();
        if !fits {
            let (network, found) = (self.name.clone(), found.to_vec());
            return Err(ModelError::Fed { network, found, expected });
        }
        let mut data = images.into_data();
        if last {
            let [c, h, w] = input.chw();
            let turn = |picture: &[f32]| -> Vec<f32> {
                let pixel = |i: usize| picture[i % (h * w) * c + i / (h * w)];
                (0..c * h * w).map(pixel).collect()
            };
            data = data.chunks_exact(c * h * w).flat_map(turn).collect();
        }
        Ok(Tensor::new(&input.batched(pictures), data).expect("as many values as before"))
    }

    /// The extents of what is fed, as the network's file has them; none of those that it leaves open.
    pub fn fed_shape(&self) -> Vec<Option<usize>> {
        let usual = || {
            let extents = self.graph.input().extents();
            [None].into_iter().chain(extents.into_iter().map(Some)).collect()
        };
        self.ports.as_ref().map_or_else(usual, |ports| ports.input.shape.clone())
    }

    fn channels_last(&self) -> bool {
        self.ports.as_ref().is_some_and(|ports| ports.channels_last)
    }

    /// What the file of the network calls an output, and its extents there: those of which a graph
    /// has a value of this name and shape.
    pub fn given(&self, index: usize, name: &str, shape: &[usize]) -> (String, Vec<usize>) {
        let port = self.ports.as_ref().and_then(|ports| ports.outputs.get(index));
        let Some(port) = port else { return (name.to_owned(), shape.to_vec()) };
        let extents: Option<Vec<usize>> = port.shape.iter().skip(1).copied().collect();
        let extents = shape.iter().take(1).copied().chain(extents.unwrap_or_default());
        (port.name.clone(), extents.collect())
    }

    /// What tables and code say of it beside its layers.
    #[cfg(feature = "render")]
    pub fn heading(&self) -> striate_render::Heading<'_> {
        let entry = self.entry();
        striate_render::Heading {
            name: &self.name,
            title: "",
            family: entry.map_or("", |entry| entry.family),
            edition: self.edition(),
            paper: entry.map(|Architecture { paper, .. }| striate_render::Paper {
                title: paper.title,
                authors: paper.authors,
                year: paper.year,
                id: paper.id,
            }),
            weights: &self.keys,
            planned_peak_bytes: 0,
        }
    }
}

/// All weights, in memory.
pub(crate) fn in_memory(params: &dyn ParamSource, place: &str) -> Result<Params, ModelError> {
    let failed = |error: SourceError| ModelError::Convert {
        place: place.to_owned(),
        found: error.to_string(),
    };
    Params::read(params).map_err(failed)
}

/// How pictures are usually prepared for networks of such an input: as ImageNet's for torchvision,
/// or as MNIST's digits.
fn usual(shape: Shape) -> InputSpec {
    let [channels, h, w] = shape.chw();
    let large = |side: usize| if side > 64 { side * 8 / 7 } else { side };
    let imagenet = InputSpec {
        resize: match h == w {
            true => Resize::Shorter(large(h)),
            false => Resize::Exact([large(h), large(w)]),
        },
        crop: [h, w],
        ..InputSpec::imagenet(h, w)
    };
    match (channels, h == w, h) {
        (1, true, 28 | 30 | 32) => InputSpec::digits((h - 28) / 2, 0.1307, 0.3081),
        (1, ..) => InputSpec {
            order: ChannelOrder::Grey,
            mean: vec![0.5],
            deviation: vec![0.5],
            ..imagenet
        },
        _ => imagenet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use striate_formats::Port;

    #[test]
    fn pictures_are_prepared_as_the_input_asks() {
        for (shape, resize) in [
            (Shape::map(3, 224, 224), Resize::Shorter(256)),
            (Shape::map(3, 32, 32), Resize::Shorter(32)),
            (Shape::map(3, 448, 224), Resize::Exact([512, 256])),
            (Shape::map(1, 28, 28), Resize::Exact([28, 28])),
            (Shape::map(1, 64, 64), Resize::Shorter(64)),
        ] {
            let spec = usual(shape);
            assert_eq!((spec.resize, spec.output()), (resize, shape.chw()));
            spec.check().unwrap();
        }
    }

    #[test]
    fn a_tensor_goes_in_and_comes_out_as_the_file_has_it() {
        let graph = Graph::build(Shape::map(2, 1, 3), |x| x.flatten().at("fc").linear(4)).unwrap();
        let plain = Network::of_file("net.onnx", graph);
        let port = |name: &str, shape: &[usize]| Port {
            name: name.to_owned(),
            shape: [None].into_iter().chain(shape.iter().copied().map(Some)).collect(),
        };
        let (input, outputs) = (port("in", &[1, 3, 2]), vec![port("scores", &[4, 1, 1])]);
        let ports = Ports { input, channels_last: true, outputs };
        let last = plain.clone().and(None, vec![], Some(ports));
        let tensor = |shape: &[usize]| {
            let len = shape.iter().product::<usize>();
            Tensor::new(shape, (0..len).map(|i| i as f32).collect()).unwrap()
        };
        // Two pictures of three pixels of two channels.
        let fed = last.fed(tensor(&[2, 1, 3, 2])).unwrap();
        let channels = [0.0, 2.0, 4.0, 1.0, 3.0, 5.0, 6.0, 8.0, 10.0, 7.0, 9.0, 11.0];
        assert_eq!((fed.shape(), fed.data()), (&[2, 2, 1, 3][..], &channels[..]));
        assert_eq!(last.given(0, "logits", &[2, 4]), (String::from("scores"), vec![2, 4, 1, 1]));
        assert_eq!(last.given(1, "conv1", &[2, 3]), (String::from("conv1"), vec![2, 3]));
        assert_eq!(plain.fed(tensor(&[1, 2, 1, 3])).unwrap(), tensor(&[1, 2, 1, 3]));
        assert_eq!(plain.given(0, "logits", &[2, 4]), (String::from("logits"), vec![2, 4]));
        for (network, shape, expected) in [
            (&last, &[2, 2, 1, 3][..], "expected N×1×3×2 for net"),
            (&plain, &[2, 1, 3, 2], "found a tensor of shape [2, 1, 3, 2], expected N×2×1×3"),
            (&plain, &[0, 2, 1, 3], "expected N×2×1×3"),
            (&plain, &[2, 1, 3], "expected N×2×1×3"),
            (&plain, &[], "expected N×2×1×3"),
        ] {
            let error = network.fed(tensor(shape)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_name_of_the_registry_is_that() {
        let network = Network::open("vgg16", None, &Choices::default()).unwrap();
        assert_eq!((network.name.as_str(), network.edition()), ("vgg16", "torchvision"));
        assert!(!network.metadata().contains_key(NETWORK) && !network.is_file());
        let choices = Choices { classes: Some(7), ..Choices::default() };
        let network = Network::open("vgg16", None, &choices).unwrap();
        assert_eq!(network.metadata()[CLASSES], "7");
        let error = Network::open("vgg61", None, &choices).unwrap_err();
        assert!(error.to_string().contains("nearest"), "{error}");
    }
}
