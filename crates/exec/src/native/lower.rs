use striate_graph::op::{AddScaled, PoolKind, Tanh};
use striate_graph::{Graph, Node, NodeId, Op, Output};
use striate_kernels::Conv;

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
                    let (nodes, outputs) = (vec![id], vec![id]);
                    steps.push(Step { nodes, action: *action, inputs, outputs });
                }
            }
        }
    }
    let output = |Output { name, node }: &Output| {
        (name.clone(), value[node.index()], graph.node(*node).shape)
    };
    let program = Program {
        steps,
        outputs: wanted.iter().map(output).collect(),
        extents: graph.nodes().iter().map(|node| node.shape.chw()).collect(),
        input: value[0],
    };
    // Pixels of the images, unless only first layers read them.
    let input = program.input;
    let reads = |step: &Step| step.inputs.contains(&input) && !program.reads_planes(step);
    match program.steps.iter().any(reads) || program.outputs.iter().any(|(_, id, _)| *id == input) {
        true => program.reading_pixels(),
        false => program,
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
    Step(Box<Action>),
}

fn action(graph: &Graph, node: &Node) -> Lowered {
    let from = node.inputs.first().map_or(node.shape, |&id| graph.node(id).shape);
    let to = node.shape;
    Lowered::Step(Box::new(match &node.op {
        Op::Input(_) => return Lowered::Fed,
        Op::Dropout(_) => return Lowered::View,
        Op::Concat if node.inputs.len() == 1 => return Lowered::View,
        // A row is a map of one pixel.
        Op::Flatten if from.area() == 1 => return Lowered::View,
        Op::Flatten => Action::Flatten,
        Op::Conv2d(op) => {
            let (conv, tail) = (geometry::conv(op, 1, from, to), Tail::default());
            match reads_all(&conv) {
                true => Action::Linear { from: from.chw(), outputs: op.out, tail },
                false => Action::Conv(conv, tail),
            }
        }
        Op::Linear(op) => {
            Action::Linear { from: from.chw(), outputs: op.out, tail: Tail::default() }
        }
        Op::Pool(op) => match op.kind {
            PoolKind::Max | PoolKind::MaxOfPadded => {
                Action::MaxPool(geometry::pool(op, 1, from, to))
            }
            PoolKind::Avg { .. } => Action::AvgPool(geometry::pool(op, 1, from, to)),
        },
        Op::AdaptiveAvgPool(_) => Action::AdaptiveAvgPool,
        Op::Subsample(op) => Action::Subsample(geometry::subsample(op, 1, from, to)),
        Op::BatchNorm(op) => Action::BatchNorm { eps: op.eps, relu: false },
        Op::Lrn(op) => Action::Lrn(geometry::lrn(op, to.channels())),
        Op::Rbf(_) => Action::Rbf,
        Op::Relu => Action::Relu,
        &Op::Tanh(Tanh { a, s }) => Action::Tanh { a, s },
        Op::Sigmoid => Action::Sigmoid,
        Op::Softmax => Action::Softmax { log: false },
        Op::LogSoftmax => Action::Softmax { log: true },
        Op::Clip(clip) => Action::Clip(clip.bounds()),
        Op::Add => Action::Add { relu: false },
        &Op::AddScaled(AddScaled { scale }) => Action::AddScaled(scale),
        Op::Concat => Action::Concat,
        Op::Shortcut(op) => Action::Shortcut(op.stride),
    }))
}

/// Whether each output is a sum of all of the map: LeNet-5's C5, classifiers that are written as
/// convolutions.
fn reads_all(conv: &Conv) -> bool {
    let Conv { input: [_, h, w], kernel, pad, dilation, groups, .. } = *conv;
    (kernel, pad, dilation, groups) == ([h, w], [0; 4], [1; 2], 1)
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
        let kinds: Vec<&str> = program.steps.iter().map(|step| step.action.word()).collect();
        assert_eq!(kinds, ["pack", "adaptive average pool", "flatten", "linear"]);
        assert_eq!(program.steps[1].nodes, [graph.find("head").unwrap()]);
        assert_eq!(program.steps[2].inputs, [program.input]);
    }

    #[test]
    fn a_convolution_of_the_whole_map_is_a_linear_layer() {
        let graph =
            Graph::build(Shape::map(2, 4, 3), |x| x.conv((4, 3), 5).pad(0).conv(1, 7).conv(3, 4))
                .unwrap();
        let program = lower(&graph, graph.outputs());
        let kinds: Vec<&str> = program.steps.iter().map(|step| step.action.word()).collect();
        assert_eq!(kinds, ["pack", "linear", "linear", "conv"]);
    }
}
