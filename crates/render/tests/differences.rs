//! What is told of two networks, and what is not.

mod common;

use common::{bottlenecks, heading, lenet5, lenet5_1998, snapshot, tower, vgg16};
use serde_json::Value;
use striate_graph::{Graph, Shape};
use striate_render::{Diff, Heading, diff};

fn between(a: &Graph, b: &Graph) -> Diff {
    diff(a, &heading("a", ""), b, &heading("b", ""))
}

#[test]
fn a_network_does_not_differ_from_itself() {
    let diff = between(&vgg16(), &vgg16());
    assert!(diff.is_empty());
    snapshot("diff_same", &diff.text());
}

#[test]
fn a_stride_moved_is_two_layers_and_no_more() {
    let diff = between(&bottlenecks([1, 2]), &bottlenecks([2, 1]));
    let text = diff.text();
    snapshot("diff_bottlenecks", &text);
    assert_eq!(diff.layers.len(), 2);
    assert!(text.contains("layer2.0.conv1  stride 1×1 | 2×2"));
    assert!(text.contains("layer2.0.conv2  stride 2×2 | 1×1"));
    assert!(diff.only.iter().all(Vec::is_empty));
}

#[test]
fn widths_groups_and_a_layer_put_in_between() {
    let diff = between(&tower(false), &tower(true));
    snapshot("diff_towers", &diff.text());
    let names: Vec<&str> = diff.layers.iter().map(|layer| layer.names[0].as_str()).collect();
    // The pooling behind the new layer reads what it read before.
    assert_eq!(names, ["conv1", "conv2"]);
    assert_eq!(diff.only[1][0].name, "norm1");
}

#[test]
fn kinds_and_tables_differ_under_one_name() {
    let diff = between(&lenet5(), &lenet5_1998());
    snapshot("diff_lenets", &diff.text());
    let json: Value = serde_json::from_str(&diff.json()).unwrap();
    assert_eq!(json["equal"], false);
    assert_eq!(json["totals"]["params"]["b"], 60_000);
}

/// Four convolutions, of which the third may have another width, named by a prefix.
fn chain(prefix: &str, third: usize) -> Graph {
    Graph::build(Shape::map(3, 16, 16), |mut x| {
        for (i, maps) in (1..).zip([8, 16, third, 8]) {
            x = x.at(format!("{prefix}{i}")).conv(3, maps).relu();
        }
        x
    })
    .unwrap()
}

#[test]
fn other_names_are_no_difference() {
    let diff = between(&chain("conv", 32), &chain("features.", 32));
    assert!(diff.is_empty());
    assert_eq!(diff.renamed.len(), 8);
    snapshot("diff_renamed", &diff.text());
}

#[test]
fn a_layer_changed_under_another_name_is_found() {
    let diff = between(&chain("conv", 32), &chain("features.", 24));
    assert!(!diff.is_empty());
    assert_eq!(diff.layers.len(), 1);
    assert_eq!(diff.layers[0].names, ["conv3", "features.3"]);
    assert!(diff.only.iter().all(Vec::is_empty));
}

/// Many layers with the same change.
fn normalised(eps: f32) -> Graph {
    Graph::build(Shape::map(3, 16, 16), |mut x| {
        for i in 1..=6 {
            x = x.at(format!("conv{i}")).conv(3, 8).batch_norm().eps(eps).relu();
        }
        x
    })
    .unwrap()
}

#[test]
fn what_is_alike_is_told_once() {
    let text = between(&normalised(1e-5), &normalised(1e-3)).text();
    snapshot("diff_alike", &text);
    assert!(text.contains("6 × batch_norm: eps 1e-5 | 0.001 (conv1.bn … conv6.bn)"));
}

#[test]
fn names_from_files_do_not_act_on_the_terminal() {
    let graph = |relu: bool| {
        Graph::build(Shape::map(3, 4, 4), |x| {
            let x = x.at("\u{1b}[2J\nconv").conv(3, 4);
            if relu { x.relu() } else { x }
        })
        .unwrap()
    };
    let text = diff(&graph(true), &Heading::default(), &graph(false), &Heading::default()).text();
    assert!(!text.contains('\u{1b}'));
}
