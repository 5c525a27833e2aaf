use std::collections::{HashMap, HashSet};

use striate_graph::{Graph, Naming, ParamLayout};

use crate::{Listing, StoredTensor, keras};

/// What `DataParallel` puts before every name.
const WRAPPER: &str = "module.";

/// Which tensor of a file is which parameter of a network.
pub(crate) struct Matching<'f> {
    /// What the file calls each parameter, or would, in the order of the layout.
    pub(crate) keys: Vec<String>,
    /// The tensor of each parameter, whatever its shape.
    pub(crate) stored: Vec<Option<&'f StoredTensor>>,
    /// The other tensors.
    pub(crate) unused: Vec<&'f StoredTensor>,
    /// What all names of the file begin with.
    prefix: &'static str,
}

/// What a file by this naming calls each parameter, in the order of the layout.
pub(crate) fn keys(graph: &Graph, layout: &ParamLayout, naming: &Naming) -> Vec<String> {
    let nodes = naming.keys(graph);
    let params = layout.params().iter();
    params.map(|param| format!("{}.{}", nodes[param.node.index()], param.slot.leaf)).collect()
}

impl<'f> Matching<'f> {
    pub(crate) fn of(
        listing: &'f Listing,
        graph: &Graph,
        layout: &ParamLayout,
        naming: &Naming,
    ) -> Matching<'f> {
        let tensors = &listing.tensors;
        let wrapped = tensors.iter().all(|tensor| tensor.name.starts_with(WRAPPER));
        let prefix = if wrapped { WRAPPER } else { "" };
        let by_name: HashMap<&str, &StoredTensor> =
            tensors.iter().map(|tensor| (&tensor.name[prefix.len()..], tensor)).collect();

        let named = keys(graph, layout, naming);
        let plain: Vec<String> = layout.params().iter().map(|param| param.name.clone()).collect();
        let known =
            |keys: &[String]| keys.iter().filter(|key| by_name.contains_key(&***key)).count();
        let (usual, other) =
            if known(&named) >= known(&plain) { (named, plain) } else { (plain, named) };
        // One layer's name may be another's key: what is a key in the usual naming is that layer's.
        let claimed: HashSet<&str> = usual.iter().map(String::as_str).collect();
        let find = |(usual, other): (&String, &String)| {
            let second =
                || by_name.get(other.as_str()).filter(|_| !claimed.contains(other.as_str()));
            by_name.get(usual.as_str()).or_else(second).copied()
        };
        let mut stored: Vec<_> = usual.iter().zip(&other).map(find).collect();
        let mut keys = usual;
        if stored.iter().all(Option::is_none) && tensors.iter().any(|t| t.ordinal.is_some()) {
            // A file of Keras's without names, or with those of another edition.
            let by_ordinal: HashMap<&str, &StoredTensor> =
                tensors.iter().filter_map(|t| Some((t.ordinal.as_deref()?, t))).collect();
            keys = keras::ordinals(graph, layout);
            stored = keys.iter().map(|key| by_ordinal.get(key.as_str()).copied()).collect();
        }

        let used: HashSet<&str> = stored.iter().flatten().map(|t| t.name.as_str()).collect();
        let unused = tensors.iter().filter(|tensor| !used.contains(tensor.name.as_str())).collect();
        let keys = keys.iter().map(|key| format!("{prefix}{key}")).collect();
        Matching { keys, stored, unused, prefix }
    }

    /// Whether a tensor is a counter of batches, or is called by one of the names or inside it.
    pub(crate) fn ignores(&self, tensor: &StoredTensor, names: &[&str]) -> bool {
        let inside = |name: &&str| {
            let rest = tensor.name[self.prefix.len()..].strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        tensor.name.ends_with(".num_batches_tracked") || names.iter().any(inside)
    }
}

impl Listing {
    /// Of several namings of a network the one that knows most of the file's tensors; of those that
    /// know as many the first.
    pub fn naming<'n>(
        &self,
        graph: &Graph,
        namings: impl IntoIterator<Item = &'n Naming>,
    ) -> &'n Naming {
        let layout = graph.layout();
        let (mut best, mut most) = (&Naming::NODES, None);
        for naming in namings {
            let matching = Matching::of(self, graph, &layout, naming);
            let known = Some(matching.stored.iter().flatten().count());
            if known > most {
                (best, most) = (naming, known);
            }
        }
        best
    }

    /// Whether the file has every parameter of a network in its shape, and nothing that the network
    /// has no use for but counters of batches.
    pub fn fits(&self, graph: &Graph, naming: &Naming) -> bool {
        let layout = graph.layout();
        let matching = Matching::of(self, graph, &layout, naming);
        let found = matching.stored.iter().zip(layout.params());
        found.clone().all(|(stored, param)| stored.is_some_and(|s| s.shape == param.slot.shape))
            && matching.unused.iter().all(|tensor| matching.ignores(tensor, &[]))
    }

    /// The tensor of the file that holds a parameter of the network (`fc.weight`), found as
    /// [`load`](crate::load) finds it, whatever its shape. With a network of the usual number of
    /// classes it tells how many the file was trained for.
    pub fn find(&self, graph: &Graph, naming: &Naming, param: &str) -> Option<&StoredTensor> {
        let layout = graph.layout();
        let index = layout.params().iter().position(|found| found.name == param)?;
        Matching::of(self, graph, &layout, naming).stored[index]
    }
}
