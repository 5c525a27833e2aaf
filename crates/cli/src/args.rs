//! Arguments that several verbs take.

use std::path::Path;

use clap::builder::RangedU64ValueParser;
use striate::exec::Options;
use striate::formats::Format;
use striate::graph::{Graph, Naming, Shape};
use striate::zoo::{self, Architecture, Config};
use striate::{Definition, Model, define, is_definition};

use crate::failure::Failure;
use crate::nearest;

/// The entry of a name; a mistyped one gets the nearest.
pub(crate) fn entry(name: &str) -> Result<&'static Architecture, Failure> {
    zoo::find(name).map_err(|error| Failure::Usage(error.to_string()))
}

/// The path of a network that is given as a file, which is there.
pub(crate) fn file(name: &str) -> Result<Option<&Path>, Failure> {
    let path = Path::new(name);
    let is_file = zoo::find(name).is_err() && (path.exists() || is_definition(path));
    if is_file {
        nearest::existing(path)?;
    }
    Ok(is_file.then_some(path))
}

/// Whether a network comes with its weights: one of a file that is no `.prototxt`.
pub(crate) fn has_weights(name: &str) -> bool {
    let path = Path::new(name);
    zoo::find(name).is_err() && is_definition(path) && Format::of(path).is_some()
}

/// A network with its weights.
pub(crate) fn model(name: &str, weights: Option<&Path>) -> Result<Model, Failure> {
    weights.map_or(Ok(()), nearest::existing)?;
    let model = match file(name)? {
        Some(path) => Model::of_file(path, weights)?,
        None => Model::open(entry(name)?.name, weights)?,
    };
    model.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    Ok(model)
}

/// A network without weights, and what is known of it besides.
pub(crate) struct Network {
    pub(crate) name: String,
    /// The entry of the registry, if it is not a file's network.
    pub(crate) entry: Option<&'static Architecture>,
    pub(crate) graph: Graph,
    pub(crate) naming: Naming,
}

/// The network of a name or of a file.
pub(crate) fn network(name: &str, build: Build) -> Result<Network, Failure> {
    let Some(path) = file(name)? else {
        let entry = entry(name)?;
        let (name, naming, graph) = (entry.name.to_owned(), entry.naming, build.graph(entry)?);
        return Ok(Network { name, entry: Some(entry), graph, naming });
    };
    if build.classes.is_some() || build.heads {
        return Err(Failure::Usage(format!(
            "{name}: --classes and --heads are for networks of the registry, a file has its own"
        )));
    }
    let input = build.input.map(|[c, h, w]| Shape::map(c, h, w));
    let Definition { name, graph, warnings } = define(path, input)?;
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    Ok(Network { name, entry: None, graph, naming: Naming::NODES })
}

/// Weights of elsewhere seldom say how they want their pictures.
pub(crate) fn warn_of_preparation(model: &Model, quiet: bool) {
    if !model.input_is_stored && !quiet {
        eprintln!(
            "warning: {} does not say how pictures are prepared for it; prepared as usual for \
             {} ({})",
            model.weights,
            model.name,
            model.entry.map_or_else(|| String::from("ImageNet"), |entry| entry.edition.to_string()),
        );
    }
}

/// How a network is built.
#[derive(clap::Args, Clone, Copy, Default)]
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

    /// The network. Every entry builds as registered, so a mistake is in what was chosen.
    pub(crate) fn graph(self, entry: &Architecture) -> Result<Graph, Failure> {
        entry.build(&self.config(entry)).map_err(|error| Failure::Usage(error.to_string()))
    }
}

/// Threads that compute; 0 is all cores.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Threads {
    /// Threads that compute; 0 is all cores
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = most_threads())]
    pub(crate) threads: usize,
}

pub(crate) fn most_threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(0..=Options::MOST_THREADS as u64)
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
