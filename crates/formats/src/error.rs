use std::fmt;
use std::io;
use std::path::Path;

/// Why a file cannot be read or written. `place` is a file, or what the caller called the bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system could not open, read or write a file.
    #[error("cannot {what} {place}")]
    Io {
        /// The file.
        place: String,
        /// What was tried.
        what: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// The content breaks the rules of its own format, or ends too early.
    #[error("{place}, byte {offset}: found {found}, expected {expected}")]
    Malformed {
        /// Where it was found.
        place: String,
        /// The byte of the file, counted from 0.
        offset: u64,
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
    /// A pickle with more than tensors and plain values. Nothing of it was executed.
    #[error(
        "{place}: found {} in its pickle, which might execute anything, expected tensors and plain \
         values alone: in PyTorch, torch.save(model.state_dict(), …)",
        several(names)
    )]
    Foreign {
        /// Where it was found.
        place: String,
        /// What it names that is not allowed, as `module.name`, each once.
        names: Vec<String>,
    },
    /// More bytes than are handled. Nothing was allocated for them.
    #[error("{place}: {found} is too large, the limit is {limit}")]
    TooLarge {
        /// Where it was found.
        place: String,
        /// The size that was found.
        found: String,
        /// The largest size that is handled.
        limit: String,
    },
    /// An entry of the metadata that does not say what it should.
    #[error("{place}: metadata `{key}`: found {found}, expected {expected}")]
    Metadata {
        /// The file.
        place: String,
        /// The key.
        key: String,
        /// What is wrong with its value.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// Tensors that are not those of the network; the source names them all.
    #[error("{place}: the weights do not fit the network")]
    Mismatch {
        /// The file.
        place: String,
        /// Every tensor that does not fit.
        source: MismatchError,
    },
    /// No tensor or several in a file that should hold one.
    #[error("{place}: found {}, expected one tensor", count(names))]
    NotOne {
        /// The file.
        place: String,
        /// The tensors it holds.
        names: Vec<String>,
    },
    /// Values that the format cannot hold. Nothing was written.
    #[error("cannot write {place}: {reason}")]
    Unwritable {
        /// The file.
        place: String,
        /// What cannot be written, and what to do.
        reason: String,
    },
}

impl FormatError {
    /// For `map_err`: what was tried with which file.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FormatError {
        let place = path.display().to_string();
        move |source| FormatError::Io { place, what, source }
    }
}

fn count(names: &[String]) -> String {
    let listed: Vec<_> = names.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
    match names.len() {
        0 => String::from("none"),
        n => format!("{n} ({})", listed.join(", ")),
    }
}

/// The first of the names, and how many more there are.
fn several(names: &[String]) -> String {
    const SAID: usize = 8;
    let said: Vec<_> = names.iter().take(SAID).map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(SAID) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", said.join(", "))
}

/// Every tensor of a file that does not fit a network. Printed: the counts, then a line a tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct MismatchError {
    /// What the network has and the file has not, as the file would call it.
    pub missing: Vec<String>,
    /// What the file has and the network has not.
    pub unexpected: Vec<String>,
    /// What both have, in different shapes.
    pub misshapen: Vec<Misshapen>,
}

/// A tensor whose shape is not that of the network's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// What the file calls it.
    pub name: String,
    /// Its extents in the file.
    pub found: Vec<usize>,
    /// Its extents in the network.
    pub expected: Vec<usize>,
}

impl MismatchError {
    /// Whether everything fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for MismatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MismatchError { missing, unexpected, misshapen } = self;
        let counts = [missing.len(), unexpected.len(), misshapen.len()];
        write!(f, "{} missing, {} unexpected, {} misshapen", counts[0], counts[1], counts[2])?;
        for name in missing {
            write!(f, "\n  missing: {}", name.escape_debug())?;
        }
        for name in unexpected {
            write!(f, "\n  unexpected: {}", name.escape_debug())?;
        }
        for Misshapen { name, found, expected } in misshapen {
            let name = name.escape_debug();
            write!(f, "\n  misshapen: {name}: found {found:?}, expected {expected:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_gives_counts_then_every_name() {
        let mismatch = MismatchError {
            missing: vec![String::from("fc.bias")],
            unexpected: vec![String::from("a\u{1b}[2J"), String::from("b")],
            misshapen: vec![Misshapen {
                name: String::from("fc.weight"),
                found: vec![10, 84],
                expected: vec![1000, 84],
            }],
        };
        let expected = "1 missing, 2 unexpected, 1 misshapen\n  missing: fc.bias\n  \
                        unexpected: a\\u{1b}[2J\n  unexpected: b\n  \
                        misshapen: fc.weight: found [10, 84], expected [1000, 84]";
        assert_eq!(mismatch.to_string(), expected);
    }
}
