//! Which network of the registry a file has the weights of.

use striate_formats::Listing;
use striate_graph::op::Role;
use striate_graph::{Graph, Shape};
use striate_zoo::{Architecture, Config};

use super::function::function;

/// The networks whose weights a file has, every tensor in its shape, with the number of classes.
pub fn fits(listing: &Listing) -> Vec<(&'static Architecture, usize)> {
    let fit = |entry: &'static Architecture| {
        let graph = entry.build(&entry.config()).ok()?;
        if graph.layout().params().len() > listing.tensors.len() {
            return None;
        }
        let classes = classes(entry, &graph, listing).unwrap_or(graph.classes());
        let config = Config { classes, ..entry.config() };
        let graph = match classes == graph.classes() {
            true => graph,
            false => entry.build(&config).ok()?,
        };
        let whole = entry.build(&Config { heads: true, ..config }).ok()?;
        let naming = listing.naming(&graph, entry.namings());
        let fits = listing.fits(&graph, naming) || listing.fits(&whole, naming);
        fits.then_some((entry, classes))
    };
    striate_zoo::all().filter_map(fit).collect()
}

/// The networks that compute what this one does, whatever its layers are called.
pub fn same(graph: &Graph) -> Vec<&'static Architecture> {
    let wanted = function(graph);
    striate_zoo::all().filter(|entry| computes(entry, graph, wanted)).collect()
}

/// Whether an entry, built for the input and the classes of a network, computes what that does.
pub(crate) fn computes(entry: &Architecture, graph: &Graph, wanted: u64) -> bool {
    let Shape::Map { c, h, w } = graph.input() else { return false };
    let default = entry.config();
    if c != default.input[0] {
        return false;
    }
    let config = Config { classes: graph.classes(), input: [c, h, w], ..default };
    entry.build(&config).is_ok_and(|built| function(&built) == wanted)
}

/// How many classes the last weights of a file tell apart.
pub(crate) fn classes(entry: &Architecture, graph: &Graph, listing: &Listing) -> Option<usize> {
    let layout = graph.layout();
    let last = layout.params().iter().rfind(|param| param.slot.role == Role::Weight)?;
    let naming = listing.naming(graph, entry.namings());
    listing.find(graph, naming, &last.name)?.shape.first().copied()
}
