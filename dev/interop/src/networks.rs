//! Networks with weights, small enough to run all of them.

use conformance::compare;
use striate_graph::{Graph, Op, Params};
use striate_tensor::Rng;
use striate_zoo::{Architecture, Config};

/// The networks that the tests try: those that `NETWORKS` names (`'*'`: all). Without it, of those with
/// more than 60 million parameters a family's smallest in each edition: the larger have nothing that
/// these and the others lack, and files of half a gigabyte.
pub fn chosen() -> Vec<&'static Architecture> {
    if let Ok(pattern) = std::env::var("NETWORKS") {
        return striate_zoo::matching(&pattern).collect();
    }
    let repeats = |entry: &Architecture| {
        striate_zoo::all().any(|other| {
            (other.family, other.edition) == (entry.family, entry.edition)
                && other.totals.params < entry.totals.params
        })
    };
    striate_zoo::all().filter(|e| e.totals.params <= 60_000_000 || !repeats(e)).collect()
}

/// Input of half the usual size where the network takes it as it is.
///
/// # Panics
/// If the entry does not build.
pub fn small(entry: &Architecture) -> Graph {
    let usual = entry.build(&entry.config()).expect("every entry builds");
    let [c, h, w] = entry.input;
    let config = Config { input: [c, h / 2, w / 2], ..entry.config() };
    let same = |graph: &Graph| graph.total().params == usual.total().params;
    entry.build(&config).ok().filter(same).unwrap_or(usual)
}

/// Weights of every kind, small enough that a thousand layers in a row do not overflow.
pub fn params(graph: &Graph, rng: &Rng) -> Params {
    let mut params = compare::params(graph, rng);
    let sums = graph.nodes().iter().filter(|node| node.op == Op::Add).count();
    if sums > 50 {
        params.trained_mut().iter_mut().for_each(|value| *value *= 0.5);
    }
    params
}

/// Whether all values of two networks' weights are the same to the bit.
pub fn same_bits(a: &Params, b: &Params) -> bool {
    let mut pairs = a.values().iter().zip(b.values());
    a.layout() == b.layout() && pairs.all(|(a, b)| a.to_bits() == b.to_bits())
}
