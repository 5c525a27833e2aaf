//! Arguments that several verbs take.

use striate::graph::{Graph, GraphError};
use striate::zoo::{self, Architecture, Config};

use crate::failure::Failure;

/// The entry of a name; a mistyped one gets the nearest.
pub(crate) fn entry(name: &str) -> Result<&'static Architecture, Failure> {
    zoo::find(name).map_err(|error| Failure::Usage(error.to_string()))
}

/// How a network is built.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Build {
    /// Classes to tell apart
    #[arg(long, value_name = "N")]
    pub(crate) classes: Option<usize>,
    /// Size of the input
    #[arg(long, value_name = "CxHxW", value_parser = extents)]
    pub(crate) input: Option<[usize; 3]>,
    /// Include auxiliary classifiers, which are used in training alone
    #[arg(long)]
    pub(crate) heads: bool,
}

impl Build {
    /// The entry's own choices where none is made.
    pub(crate) fn config(self, entry: &Architecture) -> Config {
        let default = entry.config();
        Config {
            classes: self.classes.unwrap_or(default.classes),
            input: self.input.unwrap_or(default.input),
            heads: self.heads,
        }
    }

    /// The network.
    pub(crate) fn graph(self, entry: &Architecture) -> Result<Graph, GraphError> {
        entry.build(&self.config(entry))
    }
}

/// `3x224x224`.
fn extents(text: &str) -> Result<[usize; 3], String> {
    let numbers = text.split(['x', 'X', '×', ',']).map(|part| part.trim().parse::<usize>());
    let wrong = || format!("found `{text}`, expected channels, height and width, as in 3x224x224");
    let numbers: Vec<usize> = numbers.collect::<Result<_, _>>().map_err(|_| wrong())?;
    let extents: [usize; 3] = numbers.try_into().map_err(|_| wrong())?;
    if extents.contains(&0) {
        return Err(wrong());
    }
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use super::extents;

    #[test]
    fn sizes() {
        assert_eq!(extents("3x224x224"), Ok([3, 224, 224]));
        assert_eq!(extents("1×32×32"), Ok([1, 32, 32]));
        for wrong in ["224", "3x224", "3x224x224x1", "0x1x1", "axbxc", "-3x2x2", ""] {
            assert!(extents(wrong).is_err(), "{wrong}");
        }
    }
}
