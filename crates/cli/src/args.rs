//! Arguments that several verbs take.

use std::path::Path;

use clap::builder::RangedU64ValueParser;
use striate::exec::Options;
use striate::tensor::Tensor;
use striate::{Choices, Model, ModelError, Network, formats, is_network_file, zoo};

use crate::failure::Failure;
use crate::nearest;

/// The network of a name or a file; what is mistyped gets the nearest.
pub(crate) fn network(
    name: &str,
    weights: Option<&Path>,
    choices: &Choices,
) -> Result<Network, Failure> {
    existing(name, weights)?;
    Network::open(name, weights, choices).map_err(refused)
}

/// A network with its weights.
pub(crate) fn model(
    name: &str,
    weights: Option<&Path>,
    choices: &Choices,
) -> Result<Model, Failure> {
    existing(name, weights)?;
    Model::open_with(name, weights, choices).map_err(refused)
}

/// Pictures of a file as they are fed: a tensor, or numbers alone.
pub(crate) fn pictures(network: &Network, path: &Path) -> Result<Tensor, Failure> {
    nearest::existing(path)?;
    let images = match path.extension().is_some_and(|extension| extension == "f32") {
        true => numbers(network, path)?,
        false => formats::read_tensor(path)?,
    };
    let refused = |expected| Failure::failed(format!("{}: {expected}", path.display()));
    network.fed(images).map_err(refused)
}

/// Numbers of 32 bits, the lowest byte first, of as many pictures as there are.
fn numbers(network: &Network, path: &Path) -> Result<Tensor, Failure> {
    let failed = |found: String| Failure::failed(format!("{}: {found}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let picture = size_of::<f32>() * network.graph.input().volume();
    if bytes.is_empty() || !bytes.len().is_multiple_of(picture) {
        return Err(failed(format!(
            "found {} bytes, expected {picture} for each picture of {}",
            bytes.len(),
            network.graph.input()
        )));
    }
    let pictures = bytes.len() / picture;
    let mut shape: Vec<usize> = network.fed_shape().iter().map(|n| n.unwrap_or(1)).collect();
    if let Some(of_batch) = shape.first_mut() {
        *of_batch = pictures;
    }
    let values = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Tensor::new(&shape, values)?)
}

/// What is called as a file must be there.
fn existing(name: &str, weights: Option<&Path>) -> Result<(), Failure> {
    let file = Path::new(name);
    let meant = zoo::find(name).is_err() && is_network_file(file);
    [Some(file).filter(|_| meant), weights].into_iter().flatten().try_for_each(nearest::existing)
}

/// What was asked for in a way that has no meaning is usage. Every entry of the registry builds, so
/// that a mistake is in what was chosen.
pub(crate) fn refused(error: ModelError) -> Failure {
    let usage =
        matches!(error, ModelError::Unknown(_) | ModelError::Graph(_) | ModelError::Fixed { .. });
    if usage { Failure::Usage(error.to_string()) } else { error.into() }
}

/// What one should know of how a file was read.
pub(crate) fn warn(network: &Network, quiet: bool) {
    if !quiet {
        network.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
}

/// The same for who prepares pictures: weights of elsewhere seldom say how they want theirs.
pub(crate) fn warn_of_preparation(network: &Network, quiet: bool) {
    warn(network, quiet);
    if !network.says_input() && !quiet {
        let place = network.weights.as_ref().map_or(network.mark(), |weights| &weights.place);
        let usual = match network.is_file() {
            true => String::from("networks of that input"),
            false => format!("{} ({})", network.name, network.edition()),
        };
        eprintln!(
            "warning: {place} does not say how pictures are prepared for it; prepared as usual for \
             {usual}"
        );
    }
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
    pub(crate) fn choices(self) -> Choices {
        let Build { classes, input, heads } = self;
        Choices { classes, input, heads, logits: false }
    }

    /// The network.
    pub(crate) fn network(self, name: &str, quiet: bool) -> Result<Network, Failure> {
        let network = network(name, None, &self.choices())?;
        warn(&network, quiet);
        Ok(network)
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
