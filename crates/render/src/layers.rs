//! A row a layer: what it does, where it reads, what comes out, what it costs.

use std::collections::HashMap;

use striate_graph::{Cost, Graph, Op};

use crate::Heading;
use crate::fold::{Layer, layers};
use crate::grid::{Cell, Column, Grid, NO_BREAK};
use crate::number::{bytes, head, rounded, thousands, times};
use crate::phrase::phrase;

/// With full names and exact figures, as wide as it needs to be.
pub(crate) fn grid(graph: &Graph, heading: &Heading, batch: usize) -> Grid {
    let rows = layers(graph);
    let total: Cost = graph.total();
    let row = |(i, layer): (usize, &Layer)| {
        let inputs: Vec<&str> = match layer.reads_previous(i) {
            true => vec![],
            false => layer.reads.iter().map(|&read| rows[read].node.name.as_str()).collect(),
        };
        vec![
            Cell::text(&layer.node.name),
            Cell::text(phrase(&layer.node.op)),
            Cell::text(inputs.join(", ")),
            Cell::text(then(layer.then.iter())),
            Cell::text(layer.node.shape.to_string()),
            Cell::Count(layer.cost.params),
            Cell::Count(times(batch, layer.cost.macs)),
        ]
    };
    let mut sum: Vec<Cell> = (0..7).map(|_| Cell::text("")).collect();
    sum[0] = Cell::text("Total");
    sum[5] = Cell::Count(total.params);
    sum[6] = Cell::Count(times(batch, total.macs));
    Grid {
        heading: heading.lines(graph, batch),
        columns: vec![
            Column::left("Layer"),
            Column::left("Operation"),
            Column::left("Inputs"),
            Column::left("Then"),
            Column::right("Output"),
            Column::right("Parameters"),
            Column::right(head(batch, "Multiply-adds")),
        ],
        rows: rows.iter().enumerate().map(row).collect(),
        total: sum,
        notes: notes(total, batch),
    }
}

/// For a terminal: layers of one block stand below its name, inputs stand behind the operation
/// where they are not the row above, multiply-adds are rounded, and flattening goes without saying.
pub(crate) fn listing(graph: &Graph, heading: &Heading, batch: usize) -> Grid {
    let rows = layers(graph);
    let blocks = Blocks::of(&rows);
    let total = graph.total();
    let mut cells: Vec<Vec<Cell>> = Vec::new();
    for (i, layer) in rows.iter().enumerate() {
        let (block, local) = blocks.split(&layer.node.name);
        if blocks.begins(i) && !block.is_empty() {
            let mut row = vec![Cell::text(block)];
            row.resize_with(6, || Cell::text(""));
            cells.push(row);
        }
        let indent = if block.is_empty() { "" } else { " " };
        cells.push(vec![
            Cell::Text(format!("{indent}{local}")),
            Cell::Text(sentence(i, layer, &blocks)),
            Cell::text(then(layer.then.iter().filter(|op| !matches!(op, Op::Flatten)))),
            Cell::text(layer.node.shape.to_string()),
            Cell::text(blank_zero(layer.cost.params, thousands)),
            Cell::text(blank_zero(times(batch, layer.cost.macs), |n| rounded(n, 3))),
        ]);
    }
    let mut sum: Vec<Cell> = (0..6).map(|_| Cell::text("")).collect();
    sum[0] = Cell::text("total");
    sum[4] = Cell::Count(total.params);
    sum[5] = Cell::Text(rounded(times(batch, total.macs), 3));
    Grid {
        heading: heading.lines(graph, batch),
        columns: vec![
            Column::left("layer"),
            Column::left("operation").breaking(),
            Column::left("then"),
            Column::left("output"),
            Column::right("params"),
            Column::right(head(batch, "MACs")),
        ],
        rows: cells,
        total: sum,
        notes: notes(total, batch),
    }
}

fn blank_zero(n: u64, written: impl Fn(u64) -> String) -> String {
    if n == 0 { String::new() } else { written(n) }
}

/// What follows a layer.
fn then<'a>(ops: impl Iterator<Item = &'a &'a Op>) -> String {
    ops.map(|op| phrase(op)).collect::<Vec<_>>().join(", ")
}

fn notes(total: Cost, batch: usize) -> Vec<(&'static str, String)> {
    let Cost { params, macs, activations, .. } = total;
    let activations = times(batch, activations);
    vec![
        ("Parameters", format!("{} = {} as f32", thousands(params), bytes(4 * params))),
        ("Multiply-adds", thousands(times(batch, macs))),
        (
            "Activations",
            format!("{} = {} as f32", thousands(activations), bytes(activations.saturating_mul(4))),
        ),
    ]
}

/// Which rows stand together: neighbours whose names share a prefix, `layer1.0.` or `3a.`.
struct Blocks<'g> {
    rows: Vec<&'g str>,
    /// How many rows have a prefix, dot not included.
    members: HashMap<&'g str, usize>,
    /// The last row of a block that stands in one place, by its prefix.
    results: HashMap<&'g str, usize>,
}

/// Fewer rows are not worth a line of their own.
const SMALLEST_BLOCK: usize = 3;

impl<'g> Blocks<'g> {
    fn of(rows: &[Layer<'g>]) -> Blocks<'g> {
        let rows: Vec<&str> = rows.iter().map(|layer| layer.node.name.as_str()).collect();
        let mut members = HashMap::new();
        for name in &rows {
            for (dot, _) in name.match_indices('.') {
                *members.entry(&name[..dot]).or_insert(0) += 1;
            }
        }
        let mut blocks = Blocks { rows, members, results: HashMap::new() };
        let mut begun: HashMap<&str, usize> = HashMap::new();
        for i in 0..blocks.rows.len() {
            let (block, _) = blocks.split(blocks.rows[i]);
            *begun.entry(block).or_insert(0) += usize::from(blocks.begins(i));
            blocks.results.insert(block, i);
        }
        blocks.results.retain(|block, _| begun[block] == 1);
        blocks
    }

    /// The block of a name, and the name inside it with its dot: the longest prefix that enough
    /// rows share.
    fn split<'n>(&self, name: &'n str) -> (&'n str, &'n str) {
        let shared = |dot: &usize| self.members.get(&name[..*dot]) >= Some(&SMALLEST_BLOCK);
        let dot = name.rmatch_indices('.').map(|(dot, _)| dot).find(shared).unwrap_or(0);
        name.split_at(dot)
    }

    /// Whether a row is the first of its block, or the first after something else.
    fn begins(&self, i: usize) -> bool {
        i == 0 || self.split(self.rows[i]).0 != self.split(self.rows[i - 1]).0
    }

    /// What a row is called by another: by its name in the block they share, by the block whose
    /// result it is, or by its full name.
    fn call(&self, row: usize, by: usize) -> &'g str {
        let name = self.rows[row];
        let (block, local) = self.split(name);
        if block == self.split(self.rows[by]).0 {
            local
        } else if !block.is_empty() && self.results.get(block) == Some(&row) {
            block
        } else {
            name
        }
    }
}

/// The operation of a row, and what it reads where that is not simply the row above.
fn sentence(i: usize, layer: &Layer, blocks: &Blocks) -> String {
    let operation = phrase(&layer.node.op);
    if layer.reads_previous(i) {
        return operation;
    }
    let names: Vec<&str> = layer.reads.iter().map(|&read| blocks.call(read, i)).collect();
    match &layer.node.op {
        Op::Add => format!("{operation} {}", names.join(" + ")),
        Op::AddScaled(add) => {
            format!("add {}", names.join(&format!(" + {}{NO_BREAK}×{NO_BREAK}", add.scale)))
        }
        Op::Concat => format!("{operation} {}", names.join(", ")),
        Op::Input(_)
        | Op::Conv2d(_)
        | Op::Linear(_)
        | Op::Pool(_)
        | Op::AdaptiveAvgPool(_)
        | Op::Subsample(_)
        | Op::BatchNorm(_)
        | Op::Lrn(_)
        | Op::Rbf(_)
        | Op::Relu
        | Op::Tanh(_)
        | Op::Sigmoid
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Clip(_)
        | Op::Dropout(_)
        | Op::Flatten
        | Op::Shortcut(_) => format!("{operation} ←{NO_BREAK}{}", names.join(", ")),
    }
}
