//! The order in which Keras has the layers of a network, by which its files number them.

use std::collections::HashMap;

use striate_graph::{Graph, Node, Op, ParamLayout};

use super::layers::Class;

/// What a file of Keras's calls each parameter after its layer's class and number, in the order of
/// the layout.
///
/// The layers of a model are sorted by how many come behind them at most, and those of which as
/// many do by when they are met on the way from the output to the inputs, the first input first.
///
/// # Source
/// `keras/src/ops/function.py`, `map_graph`.
pub(crate) fn ordinals(graph: &Graph, layout: &ParamLayout) -> Vec<String> {
    let nodes = graph.nodes();
    let mut depths = vec![0; nodes.len()];
    for (i, node) in nodes.iter().enumerate().rev() {
        for input in &node.inputs {
            depths[input.index()] = depths[input.index()].max(depths[i] + 1);
        }
    }
    let mut met = vec![usize::MAX; nodes.len()];
    let mut count = 0;
    let mut open: Vec<usize> = graph.outputs().iter().rev().map(|o| o.node.index()).collect();
    while let Some(i) = open.pop() {
        if met[i] == usize::MAX {
            met[i] = count;
            count += 1;
            open.extend(nodes[i].inputs.iter().rev().map(|input| input.index()));
        }
    }
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(depths[i]), met[i]));
    let mut counts: HashMap<Class, usize> = HashMap::new();
    let mut names = vec![String::new(); nodes.len()];
    for i in order {
        let Some(class) = class(graph, &nodes[i]) else { continue };
        let number = counts.entry(class).or_default();
        names[i] = match *number {
            0 => class.word().to_owned(),
            _ => format!("{}_{number}", class.word()),
        };
        *number += 1;
    }
    let params = layout.params().iter();
    params.map(|param| format!("{}.{}", names[param.node.index()], param.slot.leaf)).collect()
}

fn class(graph: &Graph, node: &Node) -> Option<Class> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others have no parameters")]
    match &node.op {
        Op::Conv2d(conv) => {
            let channels = graph.input_shapes(node)[0].channels();
            Some(if conv.is_depthwise(channels) { Class::DepthwiseConv2d } else { Class::Conv2d })
        }
        Op::Linear(_) => Some(Class::Dense),
        Op::BatchNorm(_) => Some(Class::BatchNormalization),
        Op::Subsample(_) => Some(Class::Subsample),
        Op::Rbf(_) => Some(Class::Rbf),
        _ => None,
    }
}
