//! Networks with weights, small enough to run all of them.

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};

use conformance::compare;
use striate_graph::{Graph, Op, Params};
use striate_tensor::Rng;
use striate_zoo::{Architecture, Config};

/// The networks that `NETWORKS` names, patterns of names (`'*'`: all), or without it all but the largest.
pub fn chosen() -> Vec<&'static Architecture> {
    match std::env::var("NETWORKS") {
        Ok(patterns) => patterns.split_whitespace().flat_map(striate_zoo::matching).collect(),
        Err(_) => few(),
    }
}

/// All but those of more than 40 million parameters, files of hundreds of megabytes, of which a smaller
/// one of the same family and edition has the same kinds of operations.
fn few() -> Vec<&'static Architecture> {
    let repeats = |entry: &Architecture| {
        striate_zoo::all().any(|other| {
            (other.family, other.edition) == (entry.family, entry.edition)
                && other.totals.params < entry.totals.params
                && operations(other) == operations(entry)
        })
    };
    striate_zoo::all().filter(|e| e.totals.params <= 40_000_000 || !repeats(e)).collect()
}

/// The kinds of operations of a network.
fn operations(entry: &Architecture) -> HashSet<Discriminant<Op>> {
    let graph = entry.build(&entry.config()).expect("every entry builds");
    graph.nodes().iter().map(|node| discriminant(&node.op)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_smaller_relative() {
        let few = few();
        let is_tried = |name: &str| few.iter().any(|entry| entry.name == name);
        for entry in striate_zoo::all().filter(|entry| !is_tried(entry.name)) {
            let relative = |other: &&Architecture| {
                (other.family, other.edition) == (entry.family, entry.edition)
                    && operations(other) == operations(entry)
            };
            assert!(entry.totals.params > 40_000_000, "{}", entry.name);
            assert!(few.iter().any(relative), "{}", entry.name);
        }
        assert!(is_tried("vgg11_bn") && is_tried("vgg16_keras") && !is_tried("vgg19"));
    }
}
