use std::path::PathBuf;

use striate_data::DataError;
use striate_exec::{CompileError, RunError};
use striate_formats::FormatError;
use striate_graph::GraphError;
use striate_zoo::UnknownArchitecture;

/// Why a network or a model cannot be had or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No network has that name, and no file either.
    #[error(transparent)]
    Unknown(#[from] UnknownArchitecture),
    /// The network cannot be built for that many classes, or that input.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A file cannot be read, or its weights are of another network.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file that says of no network what it is.
    #[error(
        "{place} defines no network: found {found}, expected a name from `striate list`, a .prototxt, \
         .caffemodel or .onnx{advice}"
    )]
    NoNetwork {
        /// The file.
        place: String,
        /// What it is.
        found: String,
        /// What to do, if there is something.
        advice: String,
    },
    /// What cannot be chosen of a network that is a file.
    #[error("{place} {says}: {choice} is for the networks of `striate list`")]
    Fixed {
        /// The file.
        place: String,
        /// What it says.
        says: String,
        /// What was asked for.
        choice: &'static str,
    },
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
        network: String,
    },
    /// A tensor of another shape than the network reads.
    #[error("found a tensor of shape {found:?}, expected {} for {network}", extents(expected))]
    Fed {
        /// The network.
        network: String,
        /// Extents of the tensor.
        found: Vec<usize>,
        /// What it reads, the pictures first; none where any will do.
        expected: Vec<Option<usize>>,
    },
    /// The network does not tell classes.
    #[error("{network} gives {shape}, expected a value for each class")]
    NoClasses {
        /// The network.
        network: String,
        /// What comes out.
        shape: striate_graph::Shape,
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

/// `N×3×224×224`.
fn extents(shape: &[Option<usize>]) -> String {
    let extents = shape.iter().skip(1).map(|n| n.map_or(String::from("?"), |n| n.to_string()));
    [String::from("N")].into_iter().chain(extents).collect::<Vec<_>>().join("×")
}
