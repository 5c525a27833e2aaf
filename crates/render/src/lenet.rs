//! The columns in which LeNet-5 is usually tabled.

use striate_graph::op::PoolKind;
use striate_graph::{Cost, Graph, Op, Shape};

use crate::Heading;
use crate::fold::{Layer, layers};
use crate::grid::{Cell, Column, Grid};
use crate::number::{head, thousands, times};
use crate::phrase::{Window, extent, short, window};

pub(crate) fn grid(graph: &Graph, heading: &Heading, batch: usize) -> Grid {
    let rows = layers(graph);
    let total: Cost = rows.iter().map(|layer| layer.cost).sum();
    let memory = times(batch, total.activations + graph.input().volume() as u64);
    let mut sum: Vec<Cell> = (0..12).map(|_| Cell::text("")).collect();
    sum[1] = Cell::text("Total");
    sum[8] = Cell::Count(memory);
    sum[10] = Cell::Count(total.params);
    sum[11] = Cell::Count(times(batch, total.connections));
    Grid {
        heading: heading.lines(graph, batch),
        columns: vec![
            Column::right("#"),
            Column::left("Layer"),
            Column::right("Feature Map"),
            Column::right("Input size"),
            Column::right("Kernel size"),
            Column::right("Stride"),
            Column::right("Padding"),
            Column::right("Output size"),
            Column::right(head(batch, "Memory")),
            Column::left("Activation"),
            Column::right("Parameters"),
            Column::right(head(batch, "Connections")),
        ],
        rows: rows.iter().enumerate().map(|(i, layer)| row(i, layer, batch)).collect(),
        total: sum,
        notes: notes(&rows, total, memory, batch),
    }
}

fn row(i: usize, layer: &Layer, batch: usize) -> Vec<Cell> {
    let Layer { node, inputs, cost, .. } = layer;
    let (number, input, memory) = match inputs.first() {
        Some(&input) => (i.to_string(), input, cost.activations),
        None => (String::new(), node.shape, node.shape.volume() as u64),
    };
    let maps = match node.shape {
        Shape::Map { c, .. } => Cell::Count(c as u64),
        Shape::Flat(_) => Cell::None,
    };
    let [kernel, stride, padding] = match window(&node.op) {
        Some(Window { kernel, stride, pad }) => {
            [kernel.to_string(), short(stride), pad.to_string()].map(Cell::Text)
        }
        None => [Cell::None, Cell::None, Cell::None],
    };
    vec![
        Cell::Text(number),
        Cell::text(name(layer)),
        maps,
        Cell::text(extent(input)),
        kernel,
        stride,
        padding,
        Cell::text(extent(node.shape)),
        Cell::counted(times(batch, memory)),
        activation(&layer.then),
        Cell::counted(cost.params),
        Cell::counted(times(batch, cost.connections)),
    ]
}

/// A layer in the words of that table.
fn name(layer: &Layer) -> &'static str {
    let output = layer.is_output;
    match &layer.node.op {
        Op::Input(Shape::Map { .. }) => "Input(image)",
        Op::Input(Shape::Flat(_)) => "Input",
        Op::Conv2d(_) => "Conv",
        Op::Linear(_) if output => "Output(FC)",
        Op::Linear(_) => "FC",
        Op::Pool(pool) => match pool.kind {
            PoolKind::Max | PoolKind::MaxOfPadded => "Max Pooling",
            PoolKind::Avg { .. } => "Avg Pooling",
        },
        Op::AdaptiveAvgPool(pool) if pool.out == 1.into() => "Global Avg Pooling",
        Op::AdaptiveAvgPool(_) => "Adaptive Avg Pooling",
        Op::Subsample(_) => "Subsampling",
        Op::BatchNorm(_) => "Batch Norm",
        Op::Lrn(_) => "LRN",
        Op::Rbf(_) if output => "Output(RBF)",
        Op::Rbf(_) => "RBF",
        Op::Relu => "ReLU",
        Op::Tanh(_) => "Tanh",
        Op::Sigmoid => "Sigmoid",
        Op::Softmax => "Softmax",
        Op::LogSoftmax => "Log Softmax",
        Op::Clip(_) => "Clip",
        Op::Dropout(_) => "Dropout",
        Op::Add | Op::AddScaled(_) => "Add",
        Op::Concat => "Concat",
        Op::Flatten => "Flatten",
        Op::Shortcut(_) => "Shortcut",
    }
}

/// The activations behind a layer; dropout and flattening are none.
fn activation(then: &[&Op]) -> Cell {
    let is_activation = |op: &&&Op| {
        matches!(
            op,
            Op::Relu | Op::Clip(_) | Op::Tanh(_) | Op::Sigmoid | Op::Softmax | Op::LogSoftmax
        )
    };
    let names: Vec<&str> = then.iter().filter(is_activation).map(|op| op.kind()).collect();
    if names.is_empty() { Cell::None } else { Cell::Text(names.join(", ")) }
}

/// Both ways to count, where there are two.
fn notes(rows: &[Layer], total: Cost, memory: u64, batch: usize) -> Vec<(&'static str, String)> {
    let stored = thousands(times(batch, total.activations));
    let weighted = rows.iter().filter(|layer| !layer.node.op.slots(&layer.inputs).is_empty());
    let weighted = weighted.map(|layer| layer.cost.connections).sum();
    let connections = match total.connections - weighted {
        0 => format!("{}, all in layers with weights", thousands(times(batch, weighted))),
        others => format!(
            "{} in layers with weights, {} with the {} of pooling without weights",
            thousands(times(batch, weighted)),
            thousands(times(batch, total.connections)),
            thousands(times(batch, others)),
        ),
    };
    vec![
        ("Memory", format!("{} values with the input, {stored} without", thousands(memory))),
        ("Parameters", thousands(total.params)),
        ("Connections", connections),
    ]
}
