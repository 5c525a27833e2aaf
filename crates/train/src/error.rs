use std::path::PathBuf;

use striate_data::DataError;
use striate_exec::{CompileError, RunError};
use striate_formats::FormatError;

/// Why training stopped or could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The recipe has no meaning for the network.
    #[error("the recipe does not fit: {0}")]
    Recipe(String),
    /// The place in a run is none that it comes by.
    #[error("the state of the run does not fit: {0}: begin a new run with its weights (--weights)")]
    Place(String),
    /// The run was begun on other data.
    #[error("found {found}, but the run was begun on {expected}: name the folder that holds them")]
    OtherData {
        /// The data that are there.
        found: String,
        /// The data of the run.
        expected: String,
    },
    /// Another process trains in the directory of the run.
    #[error(
        "{}: found it in use by {owner}, expected a run that nobody trains: wait for the other \
         process, stop it, or choose another --output",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Which process, as far as it is known.
        owner: String,
    },
    /// A batch does not fit the network.
    #[error("the batch does not fit: {0}")]
    Batch(String),
    /// The loss is no number any more.
    #[error(
        "{what} is no finite number any more in batch {batch} of epoch {epoch} (learning rate \
         {lr}): train with a smaller --lr"
    )]
    Diverged {
        /// The loss, a weight, what the optimizer remembers.
        what: String,
        /// Counted from 1.
        epoch: u64,
        /// Counted from 1.
        batch: u64,
        /// The learning rate of that step.
        lr: f32,
    },
    /// A picture could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A weight file could not be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file of the run could not be read or written.
    #[error("{}: cannot {what}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of a run is not what it should be.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The network could not be compiled for testing.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The network could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
}
