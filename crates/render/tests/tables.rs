//! The tables of the networks everybody knows, against the published figures and the stored texts.

mod common;

use common::{VGG16, bottlenecks, heading, inception, lenet5, lenet5_1998, snapshot, vgg16};
use serde_json::{Value, json};
use striate_render::{Format, Heading, Style, table};

#[test]
fn lenet5_as_it_is_usually_tabled() {
    let (graph, heading) = (lenet5(), heading("lenet5", "LeNet-5"));
    let text = table(&graph, &heading, Style::Lenet, Format::Text, 1);
    snapshot("lenet5_lenet", &text);
    for figure in
        ["122,304", "241,600", "48,120", "10,164", "61,706", "9,118", "8,094", "423,038", "429,342"]
    {
        assert!(text.contains(figure), "{figure}");
    }
    assert!(!text.contains("326,144"));
    snapshot("lenet5_lenet_md", &table(&graph, &heading, Style::Lenet, Format::Markdown, 1));
    snapshot("lenet5_lenet_csv", &table(&graph, &heading, Style::Lenet, Format::Csv, 1));
    snapshot("lenet5_lenet_tex", &table(&graph, &heading, Style::Lenet, Format::Latex, 1));
}

#[test]
fn lenet5_of_1998() {
    let (graph, heading) = (lenet5_1998(), heading("lenet5_1998", "LeNet-5"));
    let text = table(&graph, &heading, Style::Lenet, Format::Text, 1);
    snapshot("lenet5_1998_lenet", &text);
    for figure in ["5,880", "151,600", "2,000", "840", "60,000", "340,908"] {
        assert!(text.contains(figure), "{figure}");
    }
    let listing = table(&graph, &heading, Style::Cs231n, Format::Text, 1);
    snapshot("lenet5_1998_cs231n", &listing);
    assert!(listing.contains("(5*5)*60 = 1,500"));
}

#[test]
fn vgg16_as_in_the_listing() {
    let graph = vgg16();
    let text = table(&graph, &VGG16, Style::Cs231n, Format::Text, 1);
    snapshot("vgg16_cs231n", &text);
    let total = "TOTAL memory: 15,237,608 values * 4 bytes = 60.95 MB (58.1 MiB) / image (input included; only forward)\n\
                 TOTAL params: 138,357,544 (138,344,128 weights + 13,416 biases)\n";
    assert!(text.ends_with(total));
    snapshot("vgg16_cs231n_md", &table(&graph, &VGG16, Style::Cs231n, Format::Markdown, 1));
}

#[test]
fn layers_fit_a_terminal() {
    let cases =
        [("vgg16", vgg16()), ("bottlenecks", bottlenecks([1, 2])), ("inception", inception())];
    for (name, graph) in cases {
        let text = table(&graph, &heading(name, ""), Style::Layers, Format::Text, 1);
        snapshot(&format!("{name}_layers"), &text);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{name}: {widest:?} columns");
    }
}

#[test]
fn branches_have_their_names() {
    for (name, graph) in [("bottlenecks", bottlenecks([1, 2])), ("inception", inception())] {
        let listing = table(&graph, &heading(name, ""), Style::Cs231n, Format::Text, 1);
        snapshot(&format!("{name}_cs231n"), &listing);
    }
    let markdown = table(&inception(), &heading("i", ""), Style::Layers, Format::Markdown, 1);
    snapshot("inception_layers_md", &markdown);
}

#[test]
fn a_batch_multiplies_all_but_parameters() {
    let graph = lenet5();
    let text = table(&graph, &heading("lenet5", ""), Style::Lenet, Format::Text, 8);
    snapshot("lenet5_lenet_batch8", &text);
    for figure in ["batch of 8", "978,432", "72,944", "61,706"] {
        assert!(text.contains(figure), "{figure}");
    }
    let one = document(&graph, &Heading::default(), 1);
    let eight = document(&graph, &Heading::default(), 8);
    for key in ["macs", "connections", "activations", "activation_bytes"] {
        let total = |document: &Value| document["totals"][key].as_u64().unwrap();
        assert_eq!(total(&eight), 8 * total(&one), "{key}");
    }
    assert_eq!(eight["totals"]["params"], 61_706);
    assert_eq!(eight["batch"], 8);
}

fn document(graph: &striate_graph::Graph, heading: &Heading, batch: usize) -> Value {
    let text = table(graph, heading, Style::Layers, Format::Json, batch);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn json_is_the_contract() {
    let graph = vgg16();
    let keys: Vec<String> = (0..graph.nodes().len()).map(|i| format!("features.{i}")).collect();
    let document = document(&graph, &Heading { weights: &keys, ..VGG16 }, 1);
    assert_eq!(document["paper"]["year"], 2014);
    assert_eq!(document["input"], json!([3, 224, 224]));
    let layers = document["layers"].as_array().unwrap();
    assert_eq!(layers.len(), graph.nodes().len() - 1);
    let expected = json!({
        "name": "conv1_1", "weights": "features.1", "op": "conv2d", "inputs": ["input"],
        "out": 64, "kernel": [3, 3], "stride": [1, 1], "padding": [1, 1, 1, 1],
        "dilation": [1, 1], "groups": 1, "bias": true, "output": [64, 224, 224],
        "params": 1_792, "macs": 86_704_128, "connections": 89_915_392, "activations": 3_211_264,
    });
    assert_eq!(layers[0], expected);
    assert!(layers[1].get("weights").is_none() && layers[1].get("kernel").is_none());
    let totals = json!({
        "params": 138_357_544, "trainable": 138_357_544, "buffers": 0,
        "macs": 15_470_264_320_u64, "connections": graph.total().connections,
        "activations": 15_087_080, "weight_bytes": 553_430_176, "activation_bytes": 60_348_320,
        "planned_peak_bytes": 25_690_112,
    });
    assert_eq!(document["totals"], totals);
}

#[test]
fn json_says_attributes_in_decimals() {
    let document = document(&inception(), &Heading::default(), 1);
    let layer = |name: &str| {
        let all = document["layers"].as_array().unwrap();
        all.iter().find(|layer| layer["name"] == name).unwrap().clone()
    };
    assert_eq!(layer("norm1")["alpha"], json!(0.0001));
    assert_eq!(layer("pool5.drop")["p"], json!(0.4));
    assert_eq!(layer("3a.concat")["inputs"].as_array().unwrap().len(), 4);
    assert_eq!(document["outputs"][1], json!({ "name": "aux", "node": "aux.fc" }));
}
