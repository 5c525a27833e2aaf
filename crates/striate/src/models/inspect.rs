//! What is in a file, of weights or of a network.

use std::collections::BTreeMap;
use std::path::Path;

use striate_formats::{Element, Format, FormatError, NETWORK, StoredTensor, TensorFile};
use striate_zoo::Architecture;

use super::{Choices, ModelError, Network, definition, fits, same};

/// What is in a file. Nothing in it was executed.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// What it is: a format of weights, or `prototxt`.
    pub format: String,
    /// Its tensors, in the order of their values.
    pub tensors: Vec<StoredTensor>,
    /// Of each tensor [`sha256`](striate_formats::TensorFile::sha256), if it holds floating-point numbers.
    pub digests: Vec<Option<String>>,
    /// What else it says.
    pub metadata: BTreeMap<String, String>,
    /// The network that it says, if it does.
    pub network: Option<Network>,
    /// The networks of the registry whose weights it has, or that compute what its own does, with the
    /// number of classes.
    pub fits: Vec<(&'static Architecture, usize)>,
    /// What one should know.
    pub warnings: Vec<String>,
}

/// Looks into a file of weights, that of a checkpoint's directory, or a network. A pickle that holds
/// more than tensors and plain values is no error, but a warning that names what.
///
/// # Errors
/// As [`read`](striate_formats::read); as [`Network::open`] of a `.prototxt`.
pub fn inspect(path: &Path) -> Result<Inspected, ModelError> {
    if definition::is_prototxt(path) {
        let network = definition::read(path, None, &Choices::default())?;
        return Ok(Inspected::of_network(network, String::from("prototxt")));
    }
    let mut warnings = Vec::new();
    let (listing, digests) = match striate_formats::read(path) {
        Ok(file) => (file.listing().clone(), digests(&file)?),
        // What a file says of itself takes less room than its values.
        Err(error @ FormatError::TooLarge { .. }) => {
            let listing = striate_formats::list(path)?;
            warnings.push(format!("tensors without digests: {error}"));
            let digests = vec![None; listing.tensors.len()];
            (listing, digests)
        }
        Err(FormatError::Foreign { names, .. }) => {
            let found = names.iter().map(|name| format!("its pickle holds {name}"));
            let unread = "nothing of it is executed, and none of its tensors are read";
            return Ok(Inspected {
                format: Format::PyTorch.to_string(),
                tensors: Vec::new(),
                digests: Vec::new(),
                metadata: BTreeMap::new(),
                network: None,
                fits: Vec::new(),
                warnings: found.chain([unread.to_owned()]).collect(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let others = |t: &&StoredTensor| matches!(t.element, Element::Other(_));
    for tensor in listing.tensors.iter().filter(others) {
        warnings.push(format!("{} holds {}, which is not read", tensor.name, tensor.element));
    }
    let says = matches!(listing.format, Format::Onnx | Format::Caffe)
        || listing.metadata.contains_key(NETWORK);
    let network = match says.then(|| definition::read(path, None, &Choices::default())) {
        Some(Ok(network)) => {
            warnings.extend(network.warnings.iter().cloned());
            Some(network)
        }
        Some(Err(error)) => {
            warnings.push(format!("it is no network that can be built: {error}"));
            None
        }
        None => None,
    };
    let mut fits = fits(&listing);
    if let (Some(network), true) = (&network, fits.is_empty()) {
        fits = alike(network);
        warnings.extend(called_otherwise(&fits));
    }
    if fits.is_empty() && network.is_none() {
        warnings.push(String::from("it fits none of the networks by names and shapes"));
    }
    Ok(Inspected {
        format: listing.format.to_string(),
        tensors: listing.tensors,
        digests,
        metadata: listing.metadata,
        network,
        fits,
        warnings,
    })
}

fn digests(file: &TensorFile) -> Result<Vec<Option<String>>, FormatError> {
    let digest = |tensor: &StoredTensor| match &tensor.element {
        Element::Float(_) => file.sha256(tensor).map(Some),
        Element::Other(_) => Ok(None),
    };
    file.listing().tensors.iter().map(digest).collect()
}

/// The networks of the registry that compute what this one does.
pub(crate) fn alike(network: &Network) -> Vec<(&'static Architecture, usize)> {
    let classes = network.graph.classes();
    same(&network.graph).into_iter().map(|entry| (entry, classes)).collect()
}

/// That weights have other names than those of networks that compute the same.
pub(crate) fn called_otherwise(fits: &[(&'static Architecture, usize)]) -> Option<String> {
    let names: Vec<&str> = fits.iter().map(|(entry, _)| entry.name).collect();
    let said =
        || format!("it computes what {} does, but calls its weights otherwise", names.join(", "));
    (!names.is_empty()).then(said)
}

impl Inspected {
    /// A network without weights.
    fn of_network(network: Network, format: String) -> Inspected {
        Inspected {
            format,
            tensors: Vec::new(),
            digests: Vec::new(),
            metadata: BTreeMap::new(),
            fits: alike(&network),
            warnings: network.warnings.clone(),
            network: Some(network),
        }
    }

    /// How many values it holds; of a network without weights, how many it learns.
    pub fn params(&self) -> u64 {
        let volume = |tensor: &StoredTensor| tensor.shape.iter().product::<usize>() as u64;
        match (&self.network, self.tensors.is_empty()) {
            (Some(network), true) => network.graph.total().params,
            _ => self.tensors.iter().map(volume).sum(),
        }
    }
}
