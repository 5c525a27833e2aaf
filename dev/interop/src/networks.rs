//! Networks with weights, small enough to run all of them.

use conformance::compare;
use striate_graph::{Graph, Op, Params};
use striate_tensor::Rng;
use striate_zoo::{Architecture, Config};

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
