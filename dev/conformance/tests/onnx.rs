//! A network that is written as ONNX and read again is the same: its nodes are called the same, its
//! weights are equal to the bit, and it computes the same.

use std::path::Path;

use conformance::{cases, compare, random};
use striate_exec::{Backend, Interpreter, Native};
use striate_formats::{Model, onnx};
use striate_graph::{Graph, Node, Op, Params};
use striate_tensor::Rng;

/// Networks with more parameters are `dev/interop`'s.
const SMALL: u64 = 12_000_000;

fn back(folder: &Path, graph: &Graph, params: &Params, opset: i64, external: bool) -> Model {
    let path = folder.join("model.onnx");
    let options = onnx::Options { opset, external, ..onnx::Options::default() };
    onnx::write(&path, graph, params, &options).unwrap();
    onnx::read(&path, &onnx::ReadOptions::default()).unwrap()
}

/// What a network is made of, but for what does nothing.
fn names(graph: &Graph) -> Vec<&str> {
    let acts = |node: &&Node| {
        let passes = matches!(node.op, Op::Shortcut(_)) && graph.input_shapes(node) == [node.shape];
        !passes && !matches!(node.op, Op::Dropout(_))
    };
    graph.nodes().iter().filter(acts).map(|node| node.name.as_str()).collect()
}

/// Every tensor that both networks have, and how many.
fn same_weights(model: &Model, params: &Params) -> usize {
    let found = Params::read(&model.params).unwrap();
    let both = params.iter().filter_map(|(param, values)| {
        let found = found.get(&param.name)?;
        (found.shape == param.slot.shape).then_some((param, values, found.data))
    });
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    both.inspect(|(param, values, found)| assert_eq!(bits(values), bits(found), "{}", param.name))
        .count()
}

fn check(what: &str, graph: &Graph, batch: usize, opset: i64, backend: Option<&dyn Backend>) {
    let folder = tempfile::tempdir().unwrap();
    let params = compare::params(graph, &Rng::new(1));
    let external = opset % 2 == 0;
    let model = back(folder.path(), graph, &params, opset, external);
    assert_eq!(model.warnings, [""; 0], "{what}");
    assert_eq!(names(&model.graph), names(graph), "{what}");
    let heads = |graph: &Graph| graph.outputs().iter().map(|o| o.name.clone()).collect::<Vec<_>>();
    assert_eq!(heads(&model.graph), heads(graph), "{what}");
    // A subsampling is read as a convolution, with other tensors.
    let other = graph.nodes().iter().filter(|node| matches!(node.op, Op::Subsample(_))).count();
    assert_eq!(same_weights(&model, &params) + other, params.layout().params().len(), "{what}");
    let Some(backend) = backend else { return };
    let images = compare::images(graph.input(), batch, &mut Rng::new(2));
    let expected = compare::run(backend, graph, &params, &images, 1, vec![]);
    let params = Params::read(&model.params).unwrap();
    let found = compare::run(backend, &model.graph, &params, &images, 1, vec![]);
    compare::close(&found, &expected, 1e-5, what);
}

#[test]
fn every_operation() {
    for case in cases::all() {
        for opset in [13, 18, 23] {
            let what = format!("{}, opset {opset}", case.name);
            check(&what, &case.graph(), case.batch, opset, Some(&Interpreter));
        }
    }
}

#[test]
fn networks_at_random() {
    for seed in 0..60 {
        let graph = random::graph(seed);
        check(&format!("seed {seed}"), &graph, 2, 13 + (seed % 11) as i64, Some(&Interpreter));
    }
}

#[test]
fn every_network_that_is_small() {
    let mut tried = 0;
    for entry in striate_zoo::all() {
        let graph = entry.build(&entry.config()).unwrap();
        if graph.total().params > SMALL {
            continue;
        }
        let native = Native::default();
        let backend = (graph.total().macs < 1 << 30).then_some(&native as &dyn Backend);
        check(entry.name, &graph, 1, 17, backend);
        tried += 1;
    }
    assert!(tried > 10, "{tried} networks");
}
