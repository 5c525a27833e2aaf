use std::path::{Path, PathBuf};
use std::sync::Arc;

use striate_exec::{Backend, Executable, Native, Options};
use striate_formats::{Listing, StoredParams};
use striate_graph::InputSpec;
use striate_zoo::{Architecture, Config};

use super::network::Named;
use super::{Choices, Classifier, ModelError, Network, Weights, definition};

/// A network with its weights, and how they want their pictures.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network.
    pub network: Network,
    /// Its weights, which are read from where they are stored when the network is compiled.
    pub params: Arc<StoredParams>,
    /// How a picture becomes its input.
    pub input: InputSpec,
    /// Whether the weights' file says so itself; else it is what weights of this network usually
    /// want.
    pub input_is_stored: bool,
    /// Where the weights are from: a file, or `embedded`.
    pub weights: String,
}

/// SqueezeNet 1.1 as trained by its authors; the file says origin, licence and preprocessing.
#[cfg(feature = "embedded")]
static SQUEEZENET: &[u8] = include_bytes!("../../assets/squeezenet1_1.safetensors");

impl Model {
    /// SqueezeNet 1.1 with the weights inside the program: 1,000 classes of ImageNet.
    ///
    /// # Errors
    /// [`ModelError`]; none is known to occur.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Result<Model, ModelError> {
        let entry = striate_zoo::find("squeezenet1_1")?;
        let network = Network::of_entry(entry, &entry.config())?;
        let file = striate_formats::TensorFile::parse(SQUEEZENET, "embedded")?;
        let params = file.weights(&network.graph, &entry.naming, &[])?;
        Model::of(network.weighed(params, String::from("embedded")))
    }

    /// A network of the registry or of a file, with the weights of a file or of a checkpoint's
    /// directory. Without `weights` those inside the file of the network, of a `.prototxt` those in the
    /// `.caffemodel` of the same name beside it, or those inside the program, if there are any. A
    /// network of a file ends in logits.
    ///
    /// # Errors
    /// [`ModelError`] if the network or the file is unknown, or they do not fit.
    pub fn open(name: &str, weights: Option<&Path>) -> Result<Model, ModelError> {
        Model::open_with(name, weights, &Choices { logits: true, ..Choices::default() })
    }

    /// [`open`](Model::open) with choices. Classes and input of a network of the registry are what
    /// the weights say, where they say it.
    ///
    /// # Errors
    /// As [`open`](Model::open).
    pub fn open_with(
        name: &str,
        weights: Option<&Path>,
        choices: &Choices,
    ) -> Result<Model, ModelError> {
        match (Named::of(name)?, weights) {
            (Named::File(path), _) => {
                Model::of(definition::read_with_weights(path, weights, choices)?)
            }
            (Named::Entry(entry), Some(path)) => Model::of_entry(entry, path, choices.classes),
            #[cfg(feature = "embedded")]
            (Named::Entry(entry), None) if entry.name == "squeezenet1_1" => Model::embedded(),
            (Named::Entry(entry), None) => Err(ModelError::NoWeights(entry.name.to_owned())),
        }
    }

    /// An entry of the registry; with a number of classes, where the file does not say it.
    pub(crate) fn of_entry(
        entry: &'static Architecture,
        path: &Path,
        classes: Option<usize>,
    ) -> Result<Model, ModelError> {
        let file = striate_formats::read(path)?;
        let mut config = config(entry, file.listing())?;
        config.classes = classes.unwrap_or(config.classes);
        let network = Network::of_entry(entry, &config)?;
        // Auxiliary heads are of no use here, but they are in the files.
        let with_heads = entry.build(&Config { heads: true, ..config })?;
        let naming = file.listing().naming(&with_heads, entry.namings());
        let keys = naming.keys(&with_heads);
        let heads = with_heads.iter().filter(|(_, node)| network.graph.find(&node.name).is_none());
        let heads: Vec<&str> = heads.map(|(id, _)| keys[id.index()].as_str()).collect();
        // What does not fit by its shape says more.
        let other = network.check_name(file.listing());
        let params = file.weights(&network.graph, naming, &heads)?;
        other?;
        Model::of(network.weighed(params, path.display().to_string()))
    }

    /// A network that has weights.
    ///
    /// # Errors
    /// [`ModelError::NoWeights`].
    pub fn of(network: Network) -> Result<Model, ModelError> {
        let Some(Weights { params, place }) = network.weights.clone() else {
            return Err(ModelError::NoWeights(network.mark().to_owned()));
        };
        let (input, input_is_stored) = (network.preparation(), network.says_input());
        Ok(Model { network, params, input, input_is_stored, weights: place })
    }

    /// The model compiled to classify pictures, on so many threads; 0 is all cores.
    ///
    /// # Errors
    /// As [`compile`](Model::compile); [`ModelError::NoClasses`] if it tells none.
    pub fn classifier(&self, threads: usize) -> Result<Classifier, ModelError> {
        Classifier::new(self, threads)
    }

    /// The network compiled to tell pictures, which reads its weights.
    ///
    /// # Errors
    /// [`ModelError`] if the preprocessing does not fit the network, or the weights cannot be read
    /// or are no numbers.
    pub fn compile(&self, options: &Options) -> Result<Box<dyn Executable>, ModelError> {
        self.check_input()?;
        let network = Native::default().compile(&self.network.graph, &*self.params, options)?;
        match self.params.not_finite().into_iter().next() {
            Some(tensor) => {
                Err(ModelError::NotFinite { path: PathBuf::from(&self.weights), tensor })
            }
            None => Ok(network),
        }
    }

    /// Whether pictures can be prepared for it.
    ///
    /// # Errors
    /// [`ModelError::Input`] if the preprocessing does not fit the network.
    pub fn check_input(&self) -> Result<(), ModelError> {
        let (found, expected) = (self.input.output(), self.network.graph.input().chw());
        if found != expected {
            return Err(ModelError::Input { found, network: self.network.name.clone(), expected });
        }
        Ok(())
    }
}

/// Classes and input that the weights of a file were trained for.
fn config(entry: &Architecture, file: &Listing) -> Result<Config, ModelError> {
    let default = entry.config();
    let input = file.input()?.map(|input| input.output());
    Ok(Config {
        classes: file.classes()?.unwrap_or(default.classes),
        input: input.unwrap_or(default.input),
        ..default
    })
}
