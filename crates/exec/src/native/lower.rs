use striate_graph::op::{AddScaled, PoolKind, Tanh};
use striate_graph::{Graph, Node, NodeId, Op, Output};

use super::program::{Action, Program, Step, Tail};
use crate::geometry;

/// The steps that the wanted values need. What computes nothing in inference vanishes: its value
/// is that of its input.
pub(crate) fn lower(graph: &Graph, wanted: &[Output]) -> Program {
    let needed = needed(graph, wanted);
    let mut value: Vec<NodeId> = Vec::new();
    let mut steps = Vec::new();
    for (id, node) in graph.iter() {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| value[input.index()]).collect();
        match action(graph, node) {
            Lowered::Fed => value.push(id),
            Lowered::View => value.push(inputs[0]),
            Lowered::Step(action) => {
                value.push(id);
                if needed[id.index()] {
                    steps.push(Step { nodes: vec![id], action, inputs, output: id });
                }
            }
        }
    }
    let output = |Output { name, node }: &Output| {
        (name.clone(), value[node.index()], graph.node(*node).shape)
    };
    Program {
        steps,
        outputs: wanted.iter().map(output).collect(),
        volumes: graph.nodes().iter().map(|node| node.shape.volume()).collect(),
        input: value[0],
    }
}

/// Which nodes the wanted values come from.
fn needed(graph: &Graph, wanted: &[Output]) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes().len()];
    wanted.iter().for_each(|output| needed[output.node.index()] = true);
    for (i, node) in graph.nodes().iter().enumerate().rev() {
        if needed[i] {
            node.inputs.iter().for_each(|input| needed[input.index()] = true);
        }
    }
    needed
}

/// What becomes of a node.
enum Lowered {
    /// Its value is given.
    Fed,
    /// Its value is that of its only input.
    View,
    Step(Action),
}

fn action(graph: &Graph, node: &Node) -> Lowered {
    let from = node.inputs.first().map_or(node.shape, |&id| graph.node(id).shape);
    let to = node.shape;
    let (channels, area) = (to.channels(), to.area());
    Lowered::Step(match &node.op {
        Op::Input(_) => return Lowered::Fed,
        Op::Flatten | Op::Dropout(_) => return Lowered::View,
        Op::Concat if node.inputs.len() == 1 => return Lowered::View,
        Op::Conv2d(op) => Action::Conv(geometry::conv(op, 1, from, to), Tail::default()),
        Op::Linear(op) => {
            Action::Linear { inputs: from.volume(), outputs: op.out, tail: Tail::default() }
        }
        Op::Pool(op) => match op.kind {
            PoolKind::Max => Action::MaxPool(geometry::pool(op, 1, from, to)),
            PoolKind::Avg { .. } => Action::AvgPool(geometry::pool(op, 1, from, to)),
        },
        Op::AdaptiveAvgPool(_) => {
            let ([channels, h, w], [_, out_h, out_w]) = (from.chw(), to.chw());
            Action::AdaptiveAvgPool { channels, from: [h, w], to: [out_h, out_w] }
        }
        Op::Subsample(op) => Action::Subsample(geometry::subsample(op, 1, from, to)),
        Op::BatchNorm(op) => Action::BatchNorm { channels, area, eps: op.eps },
        Op::Lrn(op) => Action::Lrn { lrn: geometry::lrn(op, channels), channels, area },
        Op::Rbf(_) => Action::Rbf { inputs: from.volume(), outputs: to.volume() },
        Op::Relu => Action::Relu,
        &Op::Tanh(Tanh { a, s }) => Action::Tanh { a, s },
        Op::Sigmoid => Action::Sigmoid,
        Op::Softmax => Action::Softmax { channels, area },
        Op::Add => Action::Add { relu: false },
        &Op::AddScaled(AddScaled { scale }) => Action::AddScaled(scale),
        Op::Concat => Action::Concat,
        Op::Shortcut(op) => Action::Shortcut(geometry::shortcut(op, 1, from, to)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use striate_graph::Shape;
    use striate_graph::concat;

    #[test]
    fn what_nobody_wants_and_what_computes_nothing_is_no_step() {
        let graph = Graph::build(Shape::map(2, 4, 4), |x| {
            x.at("unread").conv(3, 2).relu();
            x.at("head").global_avg_pool().output("head");
            concat(&[x]).dropout(0.5).flatten().at("fc").linear(3)
        })
        .unwrap();
        let program = lower(&graph, graph.outputs());
        let steps: Vec<_> = program.steps.iter().map(|step| step.nodes[0]).collect();
        assert_eq!(steps, [graph.find("head").unwrap(), graph.find("fc").unwrap()]);
        assert_eq!(program.steps[1].inputs, [program.input]);
    }
}
