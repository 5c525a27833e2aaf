//! Networks with weights, small enough to run all of them.

use std::collections::HashSet;

use conformance::compare;
use striate_graph::op::{Conv2d, Linear};
use striate_graph::{Graph, Node, Op, Params};
use striate_tensor::Rng;
use striate_zoo::{Architecture, Config};

/// The networks that `NETWORKS` names, patterns of names (`'*'`: all), or without it
/// those that have something of their own.
pub fn chosen() -> Vec<&'static Architecture> {
    match std::env::var("NETWORKS") {
        Ok(patterns) => patterns.split_whitespace().flat_map(striate_zoo::matching).collect(),
        Err(_) => few(),
    }
}

/// All but those that have nothing which a smaller one of the same family and edition lacks.
fn few() -> Vec<&'static Architecture> {
    striate_zoo::all().filter(|entry| relative(entry).is_none()).collect()
}

/// The smallest network of the same family and edition, if there is a smaller one, that has each kind of step of
/// this one.
fn relative(entry: &Architecture) -> Option<&'static Architecture> {
    let wanted = steps(entry);
    let smaller = striate_zoo::all().filter(|other| {
        (other.family, other.edition) == (entry.family, entry.edition)
            && other.totals.params < entry.totals.params
            && wanted.is_subset(&steps(other))
    });
    smaller.min_by_key(|other| other.totals.params)
}

/// Nodes from which on a network is deep: source for Keras has a line more then.
const DEEP: usize = 900;

/// The kinds of steps of a network: operations, whatever their channels, with what they read; and whether it is deep.
fn steps(entry: &Architecture) -> HashSet<String> {
    let graph = entry.build(&entry.config()).expect("every entry builds");
    let step = |node: &Node| {
        let read: Vec<_> = node.inputs.iter().map(|&input| graph.node(input).op.kind()).collect();
        let mut op = node.op.clone();
        if let Op::Conv2d(Conv2d { out, .. }) | Op::Linear(Linear { out, .. }) = &mut op {
            *out = 1;
        }
        format!("{op:?} of {read:?}")
    };
    let deep = (graph.nodes().len() > DEEP).then(|| String::from("deep"));
    graph.nodes().iter().map(step).chain(deep).collect()
}

/// With an input of half the usual size, where the network admits it: one whose classifier reads whole maps
/// has a quarter of its weights then.
///
/// # Panics
/// If the entry does not build.
pub fn small(entry: &Architecture) -> Graph {
    let [c, h, w] = entry.input;
    let half = entry.build(&Config { input: [c, h / 2, w / 2], ..entry.config() });
    half.unwrap_or_else(|_| entry.build(&entry.config()).expect("every entry builds"))
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
    use striate_render::{Framework, Heading, code};

    use super::*;

    #[test]
    fn source_for_keras_has_more_where_networks_are_deep() {
        for entry in striate_zoo::all() {
            let graph = entry.build(&entry.config()).unwrap();
            let text = code(&graph, &Heading::default(), &entry.naming, Framework::Keras);
            let deep = graph.nodes().len() > DEEP;
            assert_eq!(text.contains("setrecursionlimit"), deep, "{}", entry.name);
        }
    }

    #[test]
    fn what_is_left_out_has_nothing_of_its_own() {
        let smaller =
            |name: &str| relative(striate_zoo::find(name).unwrap()).map(|other| other.name);
        assert_eq!(smaller("vgg19_bn"), Some("vgg11_bn"));
        assert_eq!(smaller("resnet152"), Some("resnet50"));
        assert_eq!(smaller("resnet56_cifar"), Some("resnet20_cifar"));
        // Bottlenecks, kernels of 1×1, projections, the smallest of an edition, a thousand layers.
        for name in ["resnet50", "vgg_c", "resnet20_cifar_b", "vgg16_keras", "preresnet1001_cifar"]
        {
            assert_eq!(smaller(name), None, "{name}");
        }
    }
}
