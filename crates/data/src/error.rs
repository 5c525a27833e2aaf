use std::path::{Path, PathBuf};

/// Why a picture, a data set or a batch cannot be had. `place` is a file, or what the caller
/// called the bytes; where it helps, with the byte at which reading stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system could not open or read a file or a folder.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The content breaks the rules of its own format, or ends too early.
    #[error("{place}: found {found}, expected {expected}")]
    Malformed {
        /// Where it was found.
        place: String,
        /// What was found.
        found: String,
        /// What the format asks for, and what to do.
        expected: String,
    },
    /// Something that may be right, but not for us.
    #[error("{place}: found {found}, expected {expected}")]
    Unsupported {
        /// Where it was found.
        place: String,
        /// What was found.
        found: String,
        /// What is read instead, and what to do.
        expected: String,
    },
    /// More bytes or pixels than are handled. Nothing was allocated for them.
    #[error("{place}: {found} is too large, the limit is {limit}")]
    TooLarge {
        /// Where it was found.
        place: String,
        /// The size that was found.
        found: String,
        /// The largest size that is handled.
        limit: String,
    },
    /// There is nothing where data were expected.
    #[error("{place}: found {found}, expected {expected}")]
    Empty {
        /// The file or folder.
        place: String,
        /// What was found instead.
        found: String,
        /// What should be there, and how it gets there.
        expected: String,
    },
    /// Files of a data set that are not there; all of them.
    #[error("{place}: missing {}", missing.join(", "))]
    Missing {
        /// The folder that was searched.
        place: String,
        /// The files that were looked for and not found.
        missing: Vec<String>,
    },
    /// An `InputSpec`, an `Augment` or an option whose values make no sense.
    #[error("{setting}: {reason}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A sample that the data set does not have.
    #[error("sample {index} of a data set of {len}, counted from 0")]
    Index {
        /// The index asked for.
        index: usize,
        /// How many samples there are.
        len: usize,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> DataError {
        DataError::Io { path: path.to_owned(), source }
    }
}
