use std::fmt;

use serde::{Deserialize, Serialize};
use striate_data::Dataset;

use crate::TrainError;

/// The data of a run: enough to find them, and to know them again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// The folder, from the root of the file system.
    pub path: String,
    /// What is trained on.
    pub train: Part,
    /// What is tested on, if anything.
    pub test: Option<Part>,
}

/// One part of the data of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// How many pictures.
    pub pictures: usize,
    /// [`Dataset::digest`].
    pub digest: String,
}

impl Data {
    /// Describes data.
    pub fn of(path: String, train: &dyn Dataset, test: Option<&dyn Dataset>) -> Data {
        let part = |data: &dyn Dataset| Part { pictures: data.len(), digest: data.digest() };
        Data { path, train: part(train), test: test.map(part) }
    }

    /// Refuses to go on with other data than these, wherever they are now.
    ///
    /// # Errors
    /// [`TrainError::OtherData`] with both.
    pub fn check(&self, found: &Data) -> Result<(), TrainError> {
        if (&found.train, &found.test) == (&self.train, &self.test) {
            return Ok(());
        }
        Err(TrainError::OtherData { found: found.to_string(), expected: self.to_string() })
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.train, self.path)?;
        match &self.test {
            Some(test) => write!(f, " tested on {test}"),
            None => write!(f, " without a test set"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pictures (digest {:.8})", self.pictures, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_may_move_but_not_change() {
        let part = |pictures, digest: &str| Part { pictures, digest: String::from(digest) };
        let data = |path: &str, train, test| Data { path: String::from(path), train, test };
        let begun = data("/a", part(60, "0123456789"), Some(part(10, "b")));
        assert!(begun.check(&data("/b", part(60, "0123456789"), Some(part(10, "b")))).is_ok());
        for other in [
            data("/a", part(60, "c"), Some(part(10, "b"))),
            data("/a", part(60, "0123456789"), Some(part(10, "c"))),
            data("/a", part(60, "0123456789"), None),
        ] {
            let error = begun.check(&other).unwrap_err().to_string();
            assert!(error.contains(&other.to_string()), "{error}");
            assert!(error.contains("60 pictures (digest 01234567) of /a"), "{error}");
        }
    }
}
