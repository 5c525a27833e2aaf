//! A line a layer with its arithmetic spelled out, as in the notes of Stanford's CS231n.

use striate_graph::op::{Conv2d, PoolKind, Role};
use striate_graph::{Cost, Graph, Node, Op, Shape, Size};

use crate::Heading;
use crate::fold::{Layer, layers};
use crate::grid::{Cell, Column, Grid};
use crate::number::{bytes, rounded, thousands, times};

/// What a line says.
struct Line {
    node: String,
    layer: String,
    output: String,
    memory: String,
    weights: String,
}

/// The listing as it is printed on a terminal.
pub(crate) fn listing(graph: &Graph, heading: &Heading, batch: usize) -> Grid {
    let named = branches(graph);
    let row = |line: Line| {
        let mut cells = vec![
            Cell::Text(format!("{}:", line.layer)),
            Cell::Text(line.output),
            Cell::Text(format!("memory: {}", line.memory)),
            Cell::Text(format!("weights: {}", line.weights)),
        ];
        if named {
            cells.insert(0, Cell::Text(line.node));
        }
        cells
    };
    Grid {
        heading: heading.lines(graph, batch),
        columns: (0..if named { 5 } else { 4 }).map(|_| Column::left("")).collect(),
        rows: lines(graph, batch).map(row).collect(),
        total: vec![],
        notes: totals(graph, batch),
    }
}

/// The same in columns with heads.
pub(crate) fn grid(graph: &Graph, heading: &Heading, batch: usize) -> Grid {
    let row = |line: Line| {
        [line.node, line.layer, line.output, line.memory, line.weights].map(Cell::Text).into()
    };
    let heads = ["Name", "Layer", "Output", "Memory", "Weights"];
    Grid {
        heading: heading.lines(graph, batch),
        columns: heads.map(Column::left).into(),
        rows: lines(graph, batch).map(row).collect(),
        total: vec![],
        notes: totals(graph, batch),
    }
}

/// Whether the network is more than a chain, so that a line must say its name.
fn branches(graph: &Graph) -> bool {
    graph.nodes().iter().any(|node| node.inputs.len() > 1) || graph.outputs().len() > 1
}

fn lines(graph: &Graph, batch: usize) -> impl Iterator<Item = Line> {
    layers(graph).into_iter().map(move |layer| Line {
        node: layer.node.name.clone(),
        layer: name(layer.node),
        output: output(layer.node.shape),
        memory: memory(&layer, batch),
        weights: weights(graph, &layer),
    })
}

/// `CONV3-64`, `CONV1x7-64`, `CONV11/4-96`, `POOL2`.
fn name(node: &Node) -> String {
    let side = |size: Size| match size.h == size.w {
        true => size.h.to_string(),
        false => format!("{}x{}", size.h, size.w),
    };
    let step = |stride: Size, usual: Size| match stride == usual {
        true => String::new(),
        false => format!("/{}", side(stride)),
    };
    match &node.op {
        Op::Conv2d(Conv2d { kernel, stride, out, .. }) => {
            format!("CONV{}{}-{out}", side(*kernel), step(*stride, 1.into()))
        }
        Op::Linear(_) => String::from("FC"),
        Op::Pool(pool) => {
            let kind = match pool.kind {
                PoolKind::Max | PoolKind::MaxOfPadded => "",
                PoolKind::Avg { .. } => "AVG",
            };
            format!("{kind}POOL{}{}", side(pool.kernel), step(pool.stride, pool.kernel))
        }
        Op::AdaptiveAvgPool(pool) if pool.out == 1.into() => String::from("GLOBAL AVG POOL"),
        Op::AdaptiveAvgPool(pool) => format!("AVG POOL TO {}", side(pool.out)),
        Op::Subsample(pool) => {
            format!("SUBSAMPLE{}{}", side(pool.kernel), step(pool.stride, pool.kernel))
        }
        Op::BatchNorm(_) => String::from("BATCHNORM"),
        Op::AddScaled(_) => String::from("ADD"),
        Op::Input(_)
        | Op::Lrn(_)
        | Op::Rbf(_)
        | Op::Relu
        | Op::Tanh(_)
        | Op::Sigmoid
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Clip(_)
        | Op::Dropout(_)
        | Op::Add
        | Op::Concat
        | Op::Flatten
        | Op::Shortcut(_) => node.op.kind().to_uppercase(),
    }
}

/// `[224x224x64]`: maps last.
fn output(shape: Shape) -> String {
    match shape {
        Shape::Map { c, h, w } => format!("[{h}x{w}x{c}]"),
        Shape::Flat(n) => format!("[1x1x{n}]"),
    }
}

/// `224*224*64=3.2M`; a dash where nothing is counted as stored.
fn memory(layer: &Layer, batch: usize) -> String {
    let is_input = layer.reads.is_empty();
    if layer.cost.activations == 0 && !is_input {
        return String::from("-");
    }
    let product = factors(layer.node.shape);
    let values = times(batch, layer.node.shape.volume() as u64);
    let product = if batch == 1 { product } else { format!("{batch}*{product}") };
    if product.contains('*') { format!("{product}={}", rounded(values, 2)) } else { product }
}

fn factors(shape: Shape) -> String {
    match shape {
        Shape::Map { c, h: 1, w: 1 } => c.to_string(),
        Shape::Map { c, h, w } => format!("{h}*{w}*{c}"),
        Shape::Flat(n) => n.to_string(),
    }
}

/// `(3*3*64)*128 = 73,728`, biases left out.
fn weights(graph: &Graph, layer: &Layer) -> String {
    let product = match &layer.node.op {
        Op::Conv2d(conv) => {
            let Size { h, w } = conv.kernel;
            match &conv.table {
                Some(table) => format!("({h}*{w})*{}", table.pairs()),
                None => {
                    let read = conv.channels_per_group(layer.inputs[0].channels());
                    format!("({h}*{w}*{read})*{}", conv.out)
                }
            }
        }
        Op::Linear(linear) => format!("{}*{}", factors(map_behind(graph, layer.node)), linear.out),
        Op::BatchNorm(norm) => {
            format!("{}*{}", 1 + u8::from(norm.scale), layer.node.shape.channels())
        }
        Op::Rbf(rbf) => {
            return format!("0 ({}*{} fixed)", layer.inputs[0].volume(), rbf.codes.len());
        }
        Op::Subsample(_) => {
            return thousands(layer.cost.params - biases(layer.node, &layer.inputs));
        }
        Op::Input(_)
        | Op::Pool(_)
        | Op::AdaptiveAvgPool(_)
        | Op::Lrn(_)
        | Op::Relu
        | Op::Tanh(_)
        | Op::Sigmoid
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Clip(_)
        | Op::Dropout(_)
        | Op::Add
        | Op::AddScaled(_)
        | Op::Concat
        | Op::Flatten
        | Op::Shortcut(_) => return String::from("0"),
    };
    let count = layer.cost.params - biases(layer.node, &layer.inputs);
    format!("{product} = {}", thousands(count))
}

/// The map that a linear layer reads, where it is flattened in front of it.
fn map_behind(graph: &Graph, linear: &Node) -> Shape {
    let mut at = linear;
    loop {
        at = graph.node(at.inputs[0]);
        let keeps_order = match at.op {
            Op::Flatten
            | Op::Dropout(_)
            | Op::Relu
            | Op::Tanh(_)
            | Op::Sigmoid
            | Op::Softmax
            | Op::LogSoftmax
            | Op::Clip(_)
            | Op::BatchNorm(_)
            | Op::Lrn(_) => true,
            Op::Input(_)
            | Op::Conv2d(_)
            | Op::Linear(_)
            | Op::Pool(_)
            | Op::AdaptiveAvgPool(_)
            | Op::Subsample(_)
            | Op::Rbf(_)
            | Op::Add
            | Op::AddScaled(_)
            | Op::Concat
            | Op::Shortcut(_) => false,
        };
        if !keeps_order || matches!(at.shape, Shape::Map { .. }) {
            return at.shape;
        }
    }
}

/// Learned values that are added to a weighted sum.
fn biases(node: &Node, inputs: &[Shape]) -> u64 {
    let slots = node.op.slots(inputs).into_iter().filter(|slot| slot.role == Role::Bias);
    slots.map(|slot| slot.shape.iter().product::<usize>() as u64).sum()
}

fn totals(graph: &Graph, batch: usize) -> Vec<(&'static str, String)> {
    let Cost { params, activations, .. } = graph.total();
    let values = times(batch, activations + graph.input().volume() as u64);
    let of = if batch == 1 { String::from("image") } else { format!("{batch} images") };
    let biases = graph.nodes().iter().map(|node| biases(node, &graph.input_shapes(node))).sum();
    vec![
        (
            "TOTAL memory",
            format!(
                "{} values * 4 bytes = {} / {of} (input included; only forward)",
                thousands(values),
                bytes(values.saturating_mul(4)),
            ),
        ),
        (
            "TOTAL params",
            format!(
                "{} ({} weights + {} biases)",
                thousands(params),
                thousands(params - biases),
                thousands(biases),
            ),
        ),
    ]
}
