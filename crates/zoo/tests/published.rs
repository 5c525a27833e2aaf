//! Every network against counts made by running the reference implementations.
//!
//! `tests/golden/zoo.json` was written by torchvision 0.29.2, timm 1.0.31 and PyTorch definitions of the
//! networks these lack: per network its totals and a row a layer, `[key, kind, output shape,
//! parameters, multiply-adds]`, in order of execution. Those of `keras_*` are keras.applications',
//! shapes channels last and running statistics among the parameters.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use striate_graph::{Graph, Op};
use striate_zoo::Edition;

fn golden() -> BTreeMap<String, Value> {
    let text = include_str!("../../../tests/golden/zoo.json");
    let all: Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(all["models"].clone()).unwrap()
}

/// What a layer must be: output shape, parameters, multiply-adds.
type Counts = (Vec<usize>, u64, u64);

fn counts(row: &Value) -> Counts {
    let shape = serde_json::from_value(row[2].clone()).unwrap();
    (shape, row[3].as_u64().unwrap(), row[4].as_u64().unwrap())
}

/// Layers without parameters: they have no key, so their order and shape are compared.
fn is_unkeyed(kind: &str) -> bool {
    matches!(kind, "maxpool" | "avgpool" | "lrn")
}

fn kind(op: &Op) -> &'static str {
    match op.kind() {
        "conv2d" => "conv",
        "batch_norm" => "batchnorm",
        "max_pool" => "maxpool",
        "avg_pool" | "adaptive_avg_pool" => "avgpool",
        other => other,
    }
}

#[test]
fn every_network_has_the_published_counts() {
    let golden = golden();
    for entry in striate_zoo::all() {
        let graph = entry.build(&entry.config()).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        let total = graph.total();
        assert_eq!(total.params, entry.totals.params, "{}: parameters", entry.name);
        assert_eq!(total.macs, entry.totals.macs, "{}: multiply-adds", entry.name);
        assert_eq!(graph.classes(), entry.data.classes(), "{}: classes", entry.name);
        let keras = entry.edition == Edition::Keras;
        let name = match entry.name.strip_suffix("_keras") {
            Some(name) => format!("keras_{name}"),
            None => entry.name.strip_suffix("_paper").unwrap_or(entry.name).to_owned(),
        };
        let Some(golden) = golden.get(&name) else {
            // Not run by a reference implementation: checked by the paper's own counts in its file.
            let caffe = entry.name.starts_with("resnet") && entry.name.ends_with("_caffe");
            assert!(
                caffe || ["lenet1", "resnet56_cifar_b"].contains(&entry.name),
                "{}",
                entry.name
            );
            continue;
        };
        let params = if keras { "trainable" } else { "params" };
        assert_eq!(golden[params], total.params, "{}: parameters", entry.name);
        assert_eq!(golden["macs"], total.macs, "{}: multiply-adds", entry.name);
        assert_eq!(golden["buffers"], graph.buffers(), "{}: statistics", entry.name);
        assert_eq!(golden["tensors"], graph.layout().params().len(), "{}: tensors", entry.name);
        let input: Vec<usize> = serde_json::from_value(golden["input"].clone()).unwrap();
        let rows = golden["layers"].as_array().unwrap();
        if keras {
            assert_eq!(channels_first(input), entry.input, "{}: input", entry.name);
            let rows: Vec<Value> = rows.iter().filter_map(as_ours).collect();
            compare_keyed(entry.name, &graph, &entry.naming.keys(&graph), &rows);
            compare_unkeyed(entry.name, &graph, &rows);
            continue;
        }
        assert_eq!(input, entry.input, "{}: input", entry.name);
        if rows.is_empty() {
            assert!(["resnet1202_cifar", "preresnet1001_cifar"].contains(&entry.name));
            continue;
        }
        compare_keyed(entry.name, &graph, &entry.naming.keys(&graph), rows);
        compare_unkeyed(entry.name, &graph, rows);
    }
}

/// An extent of channels comes last in Keras.
fn channels_first(mut shape: Vec<usize>) -> Vec<usize> {
    shape.rotate_right(1);
    shape
}

/// A row of Keras's in the terms of the others, if it is of a kind that these list.
fn as_ours(row: &Value) -> Option<Value> {
    let (shape, params, macs) = counts(row);
    let shape = channels_first(shape);
    match row[1].as_str().unwrap() {
        "pad" | "add" | "concat" => None,
        // Mean and variance of each channel are not learned.
        "batchnorm" => Some(json!([row[0], row[1], shape, params - 2 * shape[0] as u64, macs])),
        // Ours is still a map, of one pixel.
        "avgpool" if shape.len() == 1 => Some(json!([row[0], row[1], [shape[0], 1, 1], 0, 0])),
        _ => Some(json!([row[0], row[1], shape, params, macs])),
    }
}

/// Layers with parameters: the same keys, and behind each the same counts.
fn compare_keyed(name: &str, graph: &Graph, keys: &[String], rows: &[Value]) {
    let keyed = rows.iter().filter(|row| !is_unkeyed(row[1].as_str().unwrap()));
    let mut expected: HashMap<&str, &Value> =
        keyed.map(|row| (row[0].as_str().unwrap(), row)).collect();
    for ((node, cost), key) in graph.nodes().iter().zip(graph.cost()).zip(keys) {
        if node.op.slots(&graph.input_shapes(node)).is_empty() {
            continue;
        }
        let row = expected.remove(key.as_str());
        let row = row.unwrap_or_else(|| panic!("{name}: {} has the key {key}, unknown", node.name));
        assert_eq!(row[1], kind(&node.op), "{name}: {key}");
        let ours = (node.shape.extents(), cost.params, cost.macs);
        assert_eq!(ours, counts(row), "{name}: {} ({key})", node.name);
    }
    assert!(expected.is_empty(), "{name}: layers without a node: {:?}", expected.keys());
}

/// Pooling and normalisation without parameters: the reference's rows are, in order, among ours.
/// (It does not list pooling that it calls as a function, and it lists pooling to the size the map
/// already has, and a pooling module again under the name of the module around it.)
fn compare_unkeyed(name: &str, graph: &Graph, rows: &[Value]) {
    let nodes = graph.nodes().iter().map(|node| (kind(&node.op), node.shape.extents()));
    let mut ours = nodes.filter(|(kind, _)| is_unkeyed(kind));
    let mut last: Option<&Value> = None;
    for row in rows {
        let (key, kind) = (row[0].as_str().unwrap(), row[1].as_str().unwrap());
        let inner = last.is_some_and(|l| l[0].as_str().unwrap().starts_with(&format!("{key}.")));
        let keeps_size = kind == "avgpool" && last.is_some_and(|l| l[2] == row[2]);
        last = Some(row);
        if !is_unkeyed(kind) || inner || (keeps_size && key == "avgpool") {
            continue;
        }
        let shape = counts(row).0;
        assert!(ours.any(|ours| ours == (kind, shape.clone())), "{name}: {key} {kind} {shape:?}");
    }
}

#[test]
fn the_names_of_the_contract_are_all_there() {
    let wanted = "lenet1 lenet5 lenet5_1998 alexnet alexnet_2012 caffenet zfnet zfnet_512_1024_512
        nin_cifar10 nin_imagenet vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn
        vgg_a_lrn vgg_c vgg11_gap vgg16_gap vgg19_gap googlenet googlenet_caffe bn_inception
        inception_v3 inception_v4 inception_resnet_v1 inception_resnet_v2 resnet18 resnet34
        resnet50 resnet101 resnet152 resnet50_v1 resnet101_v1 resnet152_v1 resnet20_cifar
        resnet20_cifar_b resnet20_cifar_c resnet32_cifar resnet44_cifar resnet56_cifar
        resnet110_cifar resnet1202_cifar preresnet110_cifar preresnet164_cifar
        preresnet1001_cifar preresnet50 preresnet101 preresnet152 preresnet200 squeezenet1_0
        squeezenet1_1 vgg16_keras vgg19_keras resnet50_keras resnet101_keras resnet152_keras
        resnet50v2_keras resnet101v2_keras resnet152v2_keras inception_v3_keras
        inception_resnet_v2_keras";
    for name in wanted.split_whitespace() {
        assert!(striate_zoo::find(name).is_ok(), "{name}");
    }
}

#[test]
fn networks_are_built_for_other_classes_and_sizes() {
    for (name, input) in
        [("vgg16", [3, 256, 320]), ("resnet50", [3, 65, 97]), ("alexnet", [3, 300, 300])]
    {
        let entry = striate_zoo::find(name).unwrap();
        let config = striate_zoo::Config { classes: 7, input, heads: false };
        let graph = entry.build(&config).unwrap();
        assert_eq!((graph.classes(), graph.input()), (7, config.shape()), "{name}");
    }
    let lenet = striate_zoo::find("lenet5").unwrap();
    let tiny = striate_zoo::Config { input: [1, 8, 8], ..lenet.config() };
    let error = lenet.build(&tiny).unwrap_err().to_string();
    assert_eq!(error, "c3: 5×5 window over a 2×2 map");
}
