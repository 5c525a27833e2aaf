//! Models as others write them, and as nobody should.

use std::fs;
use std::path::Path;

use prost::Message;
use striate_graph::{Graph, Init, Op, Params, Shape};
use striate_tensor::Rng;

use super::{Options, ReadOptions, proto, read, write};
use crate::source::Source;
use crate::{FormatError, Limits, Model};

/// A node: its operator, what it reads and gives, and its attributes.
fn node(kind: &str, input: &[&str], output: &str, attribute: Vec<proto::Attribute>) -> proto::Node {
    proto::Node {
        input: input.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        name: format!("the {output}"),
        op_type: kind.to_owned(),
        attribute,
        domain: String::new(),
    }
}

fn ints(name: &str, ints: &[i64]) -> proto::Attribute {
    let (name, kind) = (name.to_owned(), proto::attribute::INTS);
    proto::Attribute { name, kind, ints: ints.to_vec(), ..proto::Attribute::default() }
}

fn tensor(name: &str, dims: &[i64], values: &[f32]) -> proto::Tensor {
    proto::Tensor {
        dims: dims.to_vec(),
        data_type: proto::tensor::FLOAT,
        name: name.to_owned(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..proto::Tensor::default()
    }
}

fn shape(name: &str, values: &[i64]) -> proto::Tensor {
    proto::Tensor {
        dims: vec![values.len() as i64],
        data_type: proto::tensor::INT64,
        name: name.to_owned(),
        int64_data: values.to_vec(),
        ..proto::Tensor::default()
    }
}

fn value(name: &str, dims: &[i64]) -> proto::Value {
    let dim = dims
        .iter()
        .map(|&n| proto::Dimension { extent: (n > 0).then_some(proto::Extent::Number(n)) });
    let shape = Some(proto::Shape { dim: dim.collect() });
    let tensor = Some(proto::TensorType { element: proto::tensor::FLOAT, shape });
    proto::Value { name: name.to_owned(), of: Some(proto::Type { tensor }) }
}

/// A model of `x` that gives `y`.
fn model(dims: &[i64], node: Vec<proto::Node>, initializer: Vec<proto::Tensor>) -> proto::Model {
    let input = vec![value("x", dims)];
    let (output, name) = (vec![value("y", &[])], String::from("test"));
    let graph = proto::Graph { node, name, initializer, input, output, value_info: vec![] };
    proto::Model {
        ir_version: 8,
        producer_name: String::from("test"),
        graph: Some(graph),
        opset_import: vec![proto::OperatorSet { domain: String::new(), version: 13 }],
        ..proto::Model::default()
    }
}

fn parse_in(folder: &Path, bytes: &[u8]) -> Result<Model, FormatError> {
    let path = folder.join("model.onnx");
    fs::write(&path, bytes).unwrap();
    read(&path, &ReadOptions::default())
}

fn parse_bytes(bytes: &[u8]) -> Result<Model, FormatError> {
    super::read::model(
        Source::memory(bytes.to_vec()),
        None,
        "bytes",
        &ReadOptions::default(),
        &Limits::default(),
    )
}

fn parse(model: &proto::Model) -> Result<Model, FormatError> {
    parse_bytes(&model.encode_to_vec())
}

fn refused(model: &proto::Model) -> String {
    parse(model).unwrap_err().to_string()
}

fn weights(model: &Model, name: &str) -> Vec<f32> {
    Params::read(&model.params).unwrap().get(name).unwrap().data.to_vec()
}

#[test]
fn an_operator_that_is_not_there_is_named_with_its_node() {
    for kind in ["ConvTranspose", "LSTM", "Loop", "Upsample", ""] {
        let error = refused(&model(&[1, 3, 4, 4], vec![node(kind, &["x"], "y", vec![])], vec![]));
        let expected = format!("found `the y` ({kind}, opset 13): an operator that is not read");
        assert!(error.contains(&expected), "{error}");
    }
    let mut foreign = node("Conv", &["x"], "y", vec![]);
    foreign.domain = String::from("com.example");
    let error = refused(&model(&[1, 3, 4, 4], vec![foreign], vec![]));
    assert!(error.contains("an operator of `com.example`"), "{error}");
}

#[test]
fn what_is_no_network_is_refused() {
    let relu = |from: &str, to: &str| node("Relu", &[from], to, vec![]);
    let dims = [1, 2, 4, 4];
    let conv = |weight: proto::Tensor| {
        model(&dims, vec![node("Conv", &["x", "w"], "y", vec![])], vec![weight])
    };
    let claims = |dims: &[i64]| tensor("w", dims, &[1.0]);
    let cases = [
        // In a circle, of itself, of nothing, twice, not at all.
        (
            model(&dims, vec![relu("b", "a"), relu("a", "b"), relu("b", "y")], vec![]),
            "reads `b`, which no node before it gives",
        ),
        (model(&dims, vec![relu("y", "y")], vec![]), "reads `y`, which no node before it gives"),
        (model(&dims, vec![relu("", "y")], vec![]), "reads constants alone"),
        (model(&dims, vec![relu("x", "y"), relu("x", "y")], vec![]), "gives `y` a second time"),
        (model(&dims, vec![relu("x", "z")], vec![]), "an output that no node computes"),
        (model(&dims, vec![relu("x", "y")], vec![tensor("x", &[1], &[1.0])]), "0 are fed"),
        (model(&[], vec![relu("x", "y")], vec![]), "0 axes, expected N×C×H×W"),
        (
            model(&[1, 0, 4, 4], vec![relu("x", "y")], vec![]),
            "is fed 1×?×4×4: give the input's size",
        ),
        (model(&[1, 1 << 31, 1 << 31, 1 << 31], vec![relu("x", "y")], vec![]), "none or more than"),
        (conv(claims(&[1 << 20, 1 << 20])), "more than 2147483648"),
        (conv(claims(&[1 << 31, 1 << 31, 1 << 31, 1 << 31])), "more than 2147483648"),
        (conv(claims(&[1 << 20, 1, 1, 1])), "4 bytes of values, expected 4194304"),
        (conv(claims(&[-1, 1, 1, 1])), "expected a whole number"),
        (conv(claims(&[1, 1, 1])), "only maps are read"),
        (conv(claims(&[1, 1, 1, 1])), "over 2 channels"),
        (conv(claims(&[0, 2, 9, 9])), "4 bytes of values, expected 0"),
        (conv(tensor("w", &[1, 2, 5, 5], &[0.0; 50])), "5×5 window over a 4×4 map"),
    ];
    for (model, expected) in cases {
        let error = refused(&model);
        assert!(error.contains(expected), "{error}, expected {expected}");
    }
    // 2⁶² pads, and a shape that is computed of them.
    let pads = vec![ints("pads", &[i64::MAX; 4]), ints("kernel_shape", &[1, 1])];
    let pool = node("MaxPool", &["x"], "y", pads);
    assert!(refused(&model(&dims, vec![pool], vec![])).contains("expected a size"));
    let repeated = node("ConstantOfShape", &["s"], "w", vec![]);
    let conv = node("Conv", &["x", "w"], "y", vec![]);
    let vast =
        model(&dims, vec![repeated, conv], vec![shape("s", &[1 << 20, 2, 1 << 10, 1 << 10])]);
    assert!(refused(&vast).contains("the limit is 268435456 values"));
}

#[test]
fn computations_have_an_end() {
    let mut nodes = vec![node("ConstantOfShape", &["s"], "c0", vec![])];
    for i in 0..1000 {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        nodes.push(node("Add", &[&from, &from], &to, vec![]));
    }
    nodes.push(node("Relu", &["x"], "y", vec![]));
    let error = refused(&model(&[1, 2, 4, 4], nodes, vec![shape("s", &[1 << 20])]));
    assert!(error.contains("computations on more than 268435456 values"), "{error}");
}

#[test]
fn graphs_in_nodes_are_not_followed() {
    // Attribute, graph, node, attribute, … a thousand deep.
    let mut inner: Vec<u8> = Vec::new();
    for _ in 0..1000 {
        for tag in [6, 1, 5] {
            let mut outer = Vec::new();
            prost::encoding::bytes::encode(tag, &inner, &mut outer);
            inner = outer;
        }
    }
    let mut bytes = model(&[1, 2, 4, 4], vec![], vec![]).encode_to_vec();
    let mut branch = node("If", &["x"], "y", vec![]).encode_to_vec();
    branch.extend(inner);
    let mut graph = Vec::new();
    prost::encoding::bytes::encode(1, &branch, &mut graph);
    prost::encoding::bytes::encode(7, &graph, &mut bytes);
    assert!(parse_bytes(&bytes).is_err());
}

/// The bytes of an `If` that gives `gives`, with the bytes of one node in each branch.
fn choice(condition: &str, gives: &str, branches: [(&str, &[u8]); 2]) -> Vec<u8> {
    let mut outer = node("If", &[condition], gives, vec![]).encode_to_vec();
    for (name, (output, inside)) in ["then_branch", "else_branch"].into_iter().zip(branches) {
        let output = vec![value(output, &[])];
        let mut branch = proto::Graph { output, ..proto::Graph::default() }.encode_to_vec();
        prost::encoding::bytes::encode(1, &inside.to_vec(), &mut branch);
        let named = proto::Attribute { name: name.to_owned(), ..proto::Attribute::default() };
        let mut attribute = named.encode_to_vec();
        prost::encoding::bytes::encode(6, &branch, &mut attribute);
        prost::encoding::bytes::encode(5, &attribute, &mut outer);
    }
    outer
}

/// A model of one node, by its bytes, and of the constants `yes` and `no`.
fn choosing(node: &[u8]) -> Vec<u8> {
    let yes = proto::Tensor { data_type: 7, int64_data: vec![1], ..tensor("yes", &[1], &[]) };
    let no = proto::Tensor { int64_data: vec![0], name: String::from("no"), ..yes.clone() };
    let mut model = model(&[1, 2, 4, 4], vec![], vec![yes, no]);
    let mut graph = model.graph.take().unwrap().encode_to_vec();
    let mut bytes = model.encode_to_vec();
    prost::encoding::bytes::encode(1, &node.to_vec(), &mut graph);
    prost::encoding::bytes::encode(7, &graph, &mut bytes);
    bytes
}

#[test]
fn of_two_branches_the_one_is_read_that_is_taken() {
    let relu = node("Relu", &["x"], "a", vec![]).encode_to_vec();
    let sigmoid = node("Sigmoid", &["x"], "b", vec![]).encode_to_vec();
    let of = |condition: &str, otherwise: &[u8]| {
        let branches = [("a", relu.as_slice()), ("b", otherwise)];
        parse_bytes(&choosing(&choice(condition, "y", branches)))
    };
    for (condition, expected) in [("yes", Op::Relu), ("no", Op::Sigmoid)] {
        assert_eq!(of(condition, &sigmoid).unwrap().graph.nodes()[1].op, expected);
    }
    let lost = node("Relu", &["nothing"], "b", vec![]).encode_to_vec();
    let empty = node("If", &["yes"], "b", vec![]).encode_to_vec();
    let nested = choice("yes", "b", [("c", &relu), ("d", &sigmoid)]);
    for (condition, otherwise, found) in [
        ("x", &sigmoid, "(If, opset 13): a condition that depends on what is fed"),
        ("no", &lost, "`the b` (Relu): reads `nothing`, which no node"),
        ("no", &empty, "no `then_branch`"),
        ("no", &nested, "of a branch within a branch nothing is read"),
    ] {
        let error = of(condition, otherwise).unwrap_err().to_string();
        assert!(error.contains(found), "{error}");
    }
}

#[test]
fn other_files_are_in_the_folder_or_not_read() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("inner");
    fs::create_dir(&folder).unwrap();
    fs::write(outer.path().join("secret"), [0; 64]).unwrap();
    fs::write(folder.join("data"), [0; 16]).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("link")).unwrap();
    let of = |location: &str, offset: &str| {
        let entry = |key: &str, value: &str| proto::Entry { key: key.into(), value: value.into() };
        let weight = proto::Tensor {
            external_data: vec![entry("location", location), entry("offset", offset)],
            data_location: proto::tensor::EXTERNAL,
            ..tensor("w", &[1, 2, 1, 1], &[])
        };
        let conv = node("Conv", &["x", "w"], "y", vec![]);
        parse_in(&folder, &model(&[1, 2, 4, 4], vec![conv], vec![weight]).encode_to_vec())
    };
    assert_eq!(weights(&of("data", "8").unwrap(), "the y.weight"), [0.0, 0.0]);
    let secret = outer.path().join("secret");
    for location in ["../secret", "a/../../secret", "/etc/passwd", secret.to_str().unwrap()] {
        let error = of(location, "0").unwrap_err().to_string();
        assert!(error.contains("expected a file in the folder of the model"), "{error}");
    }
    #[cfg(unix)]
    assert!(of("link", "0").unwrap_err().to_string().contains("in the folder of the model"));
    assert!(of(".", "0").is_err() && of("none", "0").is_err());
    for offset in ["9", "18446744073709551615", "-1", "x"] {
        assert!(of("data", offset).is_err(), "{offset}");
    }
}

/// As TensorFlow's exporter has them: what is fed is N×H×W×C, rows are in that order.
#[test]
fn channels_that_come_last_are_turned_with_their_weights() {
    let values: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let nodes = vec![
        node("Transpose", &["x"], "t", vec![ints("perm", &[0, 3, 1, 2])]),
        node("Relu", &["t"], "r", vec![]),
        node("Transpose", &["r"], "u", vec![ints("perm", &[0, 2, 3, 1])]),
        node("Reshape", &["u", "s"], "f", vec![]),
        node("MatMul", &["f", "w"], "m", vec![]),
        node("Add", &["m", "b"], "y", vec![]),
    ];
    let constants = vec![
        shape("s", &[-1, 12]),
        tensor("w", &[12, 2], &values),
        tensor("b", &[2], &[0.5, 0.25]),
    ];
    let model = parse(&model(&[0, 2, 2, 3], nodes, constants)).unwrap();
    assert_eq!(model.graph.input(), Shape::map(3, 2, 2));
    let ports = model.ports.as_ref().unwrap();
    assert!(ports.channels_last);
    assert_eq!(ports.input.shape, [None, Some(2), Some(2), Some(3)]);
    assert_eq!(ports.outputs[0].shape, [None, Some(2)]);
    let names: Vec<_> = model.graph.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["x", "the r", "the f.flatten", "the m"]);
    // Weight j of ours, of channel c and pixel p, is theirs of pixel p and channel c.
    let expected: Vec<f32> = (0..2)
        .flat_map(|o| (0..3).flat_map(move |c| (0..4).map(move |p| (2 * (3 * p + c) + o) as f32)))
        .collect();
    assert_eq!(weights(&model, "the m.weight"), expected);
    assert_eq!(weights(&model, "the m.bias"), [0.5, 0.25]);
}

/// As Caffe's exporters have them.
#[test]
fn a_scale_behind_a_normalisation_is_a_part_of_it() {
    let channels = |name: &str, values: [f32; 2]| tensor(name, &[2], &values);
    let nodes = vec![
        node("BatchNormalization", &["x", "g", "h", "m", "v"], "n", vec![]),
        node("Unsqueeze", &["a", "axes"], "a1", vec![]),
        node("Mul", &["n", "a1"], "p", vec![]),
        node("Unsqueeze", &["b", "axes"], "b1", vec![]),
        node("Add", &["p", "b1"], "y", vec![]),
    ];
    let constants = vec![
        channels("g", [1.0, 2.0]),
        channels("h", [0.0, 1.0]),
        channels("m", [0.5, 0.5]),
        channels("v", [1.0, 4.0]),
        channels("a", [3.0, 4.0]),
        channels("b", [5.0, 6.0]),
        shape("axes", &[1, 2]),
    ];
    let model = parse(&model(&[1, 2, 4, 4], nodes, constants)).unwrap();
    assert!(matches!(model.graph.nodes()[1].op, Op::BatchNorm(_)));
    assert_eq!(model.graph.nodes().len(), 2);
    assert_eq!(weights(&model, "the n.weight"), [3.0, 8.0]);
    assert_eq!(weights(&model, "the n.bias"), [5.0, 10.0]);
}

#[test]
fn tensors_are_listed_and_loaded_by_their_names() {
    let graph =
        Graph::build(Shape::map(1, 4, 4), |x| x.at("c").conv(3, 2).flatten().at("fc").linear(3));
    let graph = graph.unwrap();
    let params = Params::init(&graph, &Init::LeCun, &Rng::new(1));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for external in [false, true] {
        write(&path, &graph, &params, &Options { external, ..Options::default() }).unwrap();
        let listing = crate::list(&path).unwrap();
        assert_eq!(listing.format, crate::Format::Onnx);
        assert_eq!(listing.tensors.len(), 4);
        let loaded = crate::load(&path, &graph, &striate_graph::Naming::NODES).unwrap();
        assert_eq!(loaded.params, params);
    }
}

#[test]
fn damage_is_an_error_and_no_panic() {
    let graph = Graph::build(Shape::map(2, 6, 6), |x| {
        let x = x.at("c").conv(3, 2).batch_norm().relu().max_pool(2, 2).ceil();
        x.flatten().at("fc").linear(3).tanh(striate_graph::op::Tanh::LECUN).softmax()
    });
    let graph = graph.unwrap();
    let params = Params::init(&graph, &Init::LeCun, &Rng::new(1));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("good.onnx");
    write(&path, &graph, &params, &Options::default()).unwrap();
    let good = fs::read(&path).unwrap();
    assert!(parse_bytes(&good).is_ok());
    for len in 0..good.len() {
        assert!(parse_bytes(&good[..len]).is_err(), "cut off at {len}");
    }
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            // A weight may be another.
            if let Ok(model) = parse_bytes(&bad) {
                let _ = Params::read(&model.params);
            }
        }
    }
}
