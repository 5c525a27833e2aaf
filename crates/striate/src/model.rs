use std::path::{Path, PathBuf};
use std::sync::Arc;

use striate_data::DataError;
use striate_exec::{Backend, CompileError, Executable, Native, Options, RunError};
use striate_formats::{FormatError, Listing, MODEL, Ports, StoredParams};
use striate_graph::{Graph, GraphError, InputSpec};
use striate_zoo::{Architecture, Config, UnknownArchitecture};

use crate::{Classifier, network};

/// A network with its weights, and how they want their pictures.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it is called: its name in the registry, or that of its file.
    pub name: String,
    /// The entry of the registry, if it is not a file's network.
    pub entry: Option<&'static Architecture>,
    /// The network.
    pub graph: Graph,
    /// Its weights, which are read from where they are stored when the network is compiled.
    pub params: Arc<StoredParams>,
    /// How a picture becomes its input.
    pub input: InputSpec,
    /// Whether the weights' file says so itself; else it is what weights of this network usually
    /// want.
    pub input_is_stored: bool,
    /// Where the weights are from: a file, or `embedded`.
    pub weights: String,
    /// What the network's file calls what is fed and what comes out, if it has names for them.
    pub ports: Option<Ports>,
    /// What is to be known of how the network's file was read.
    pub warnings: Vec<String>,
}

/// Why a model cannot be had or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No network has that name.
    #[error(transparent)]
    Unknown(#[from] UnknownArchitecture),
    /// The network cannot be built for that many classes.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The weights cannot be read, or are of another network.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file cannot be converted.
    #[error("{place}: {found}")]
    Convert {
        /// The file.
        place: String,
        /// What is in the way, and what to do.
        found: String,
    },
    /// The network comes without weights.
    #[error("{0} comes without trained weights: name a file of them with --weights")]
    NoWeights(String),
    /// The file holds weights at most.
    #[error(
        "{0} defines no network, expected .onnx, .prototxt or .caffemodel: name the network, and the \
         file with --weights; `striate inspect {0}` tells whose weights it has"
    )]
    NoNetwork(String),
    /// The file says that its weights are of another network.
    #[error(
        "{place}: found weights of {found}, expected weights of {network}: ask for {found}, or take \
         other weights"
    )]
    OtherNetwork {
        /// The file.
        place: String,
        /// The network its weights were trained in.
        found: String,
        /// The network that was asked for.
        network: &'static str,
    },
    /// The numbers left the range of `f32` on their way through the network.
    #[error(
        "the network answers NaN: the weights of {weights}, or the preprocessing stored with them, \
         drive its values beyond f32; take other weights"
    )]
    NoAnswer {
        /// The file.
        weights: String,
    },
    /// A weight is no number.
    #[error("{}: `{tensor}` holds a NaN or an infinity, expected finite weights", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
    },
    /// The preprocessing stored with the weights does not give what the network reads.
    #[error("the preprocessing gives {found:?}, but {network} reads {expected:?}")]
    Input {
        /// Channels, height, width after preprocessing.
        found: [usize; 3],
        /// The network.
        network: String,
        /// Channels, height, width it reads.
        expected: [usize; 3],
    },
    /// The network cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The network cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A picture cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// SqueezeNet 1.1 as trained by its authors; the file says origin, licence and preprocessing.
#[cfg(feature = "embedded")]
static SQUEEZENET: &[u8] = include_bytes!("../assets/squeezenet1_1.safetensors");

impl Model {
    /// SqueezeNet 1.1 with the weights inside the program: 1,000 classes of ImageNet.
    ///
    /// # Errors
    /// [`ModelError`]; none is known to occur.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Result<Model, ModelError> {
        let entry = striate_zoo::find("squeezenet1_1")?;
        let graph = entry.build(&entry.config())?;
        let file = striate_formats::TensorFile::parse(SQUEEZENET, "embedded")?;
        let params = file.weights(&graph, &entry.naming, &[])?;
        Ok(Model::of(entry, graph, params, String::from("embedded")))
    }

    /// A network with the weights of a file, or of a checkpoint's directory. Without a file,
    /// the weights inside the program, if it has them.
    ///
    /// # Errors
    /// [`ModelError`] if the network or the file is unknown, or they do not fit.
    pub fn open(name: &str, weights: Option<&Path>) -> Result<Model, ModelError> {
        let entry = striate_zoo::find(name)?;
        let Some(path) = weights else {
            #[cfg(feature = "embedded")]
            if entry.name == "squeezenet1_1" {
                return Model::embedded();
            }
            return Err(ModelError::NoWeights(entry.name.to_owned()));
        };
        Model::open_with(entry, path, None)
    }

    /// The network of a file, as [`define`](crate::define) reads it, with its weights: those in the
    /// file, or of a `.prototxt` those of the `.caffemodel` that is named or beside it. Pictures are
    /// prepared as for ImageNet if the file does not say how.
    ///
    /// # Errors
    /// As [`define`](crate::define).
    pub fn of_file(path: &Path, weights: Option<&Path>) -> Result<Model, ModelError> {
        let read = network::read(path, weights, None)?;
        let [_, height, _] = read.graph.input().chw();
        let input_is_stored = read.input.is_some();
        Ok(Model {
            name: network::name(path),
            entry: None,
            graph: read.graph,
            params: Arc::new(read.params),
            input: read.input.unwrap_or_else(|| InputSpec::imagenet(height * 8 / 7, height)),
            input_is_stored,
            weights: weights.unwrap_or(path).display().to_string(),
            ports: read.ports,
            warnings: read.warnings,
        })
    }

    /// The same with a number of classes, where the file does not say it.
    pub(crate) fn open_with(
        entry: &'static Architecture,
        path: &Path,
        classes: Option<usize>,
    ) -> Result<Model, ModelError> {
        let file = striate_formats::read(path)?;
        let mut config = config(entry, file.listing())?;
        config.classes = classes.unwrap_or(config.classes);
        let graph = entry.build(&config)?;
        // Auxiliary heads are of no use here, but they are in the files.
        let with_heads = entry.build(&Config { heads: true, ..config })?;
        let naming = file.listing().naming(&with_heads, entry.namings());
        let keys = naming.keys(&with_heads);
        let heads = with_heads.iter().filter(|(_, node)| graph.find(&node.name).is_none());
        let heads: Vec<&str> = heads.map(|(id, _)| keys[id.index()].as_str()).collect();
        // What does not fit by its shape says more.
        let name = check_name(entry, file.listing());
        let params = file.weights(&graph, naming, &heads)?;
        name?;
        Ok(Model::of(entry, graph, params, path.display().to_string()))
    }

    fn of(
        entry: &'static Architecture,
        graph: Graph,
        params: StoredParams,
        weights: String,
    ) -> Model {
        let input_is_stored = params.input().is_some();
        let input = params.input().or(params.assumed_input()).cloned();
        let input = input.unwrap_or_else(|| (entry.preparation)());
        Model {
            name: entry.name.to_owned(),
            entry: Some(entry),
            graph,
            params: Arc::new(params),
            input,
            input_is_stored,
            weights,
            ports: None,
            warnings: Vec::new(),
        }
    }

    /// The model compiled to classify pictures, on so many threads; 0 is all cores.
    ///
    /// # Errors
    /// As [`compile`](Model::compile).
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
        let network = Native::default().compile(&self.graph, &*self.params, options)?;
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
        let (found, expected) = (self.input.output(), self.graph.input().chw());
        if found != expected {
            return Err(ModelError::Input { found, network: self.name.clone(), expected });
        }
        Ok(())
    }
}

/// Editions of one network can have the same shapes and still compute another function.
fn check_name(entry: &Architecture, file: &Listing) -> Result<(), ModelError> {
    match file.metadata.get(MODEL) {
        Some(found) if found != entry.name => Err(ModelError::OtherNetwork {
            place: file.place.clone(),
            found: found.clone(),
            network: entry.name,
        }),
        Some(_) | None => Ok(()),
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
