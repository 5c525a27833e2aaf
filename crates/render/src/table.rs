use striate_graph::Graph;

use crate::{Heading, cs231n, json, layers, lenet};

/// Which table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Style {
    /// A row a layer: what it does, where it reads, what comes out, parameters, multiply-adds.
    #[default]
    Layers,
    /// The columns in which LeNet-5 is usually tabled: sizes in and out, kernel, stride, padding,
    /// memory, activation, parameters, connections.
    Lenet,
    /// A line a layer with its arithmetic spelled out, as in the notes of Stanford's CS231n.
    Cs231n,
}

/// How a table is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// For a terminal.
    #[default]
    Text,
    /// A table of GitHub's Markdown.
    Markdown,
    /// Comma-separated values, with plain numbers and without heading and notes.
    Csv,
    /// A `tabular` with the rules of booktabs.
    Latex,
    /// The document of `show --json`. It is the same in every style.
    Json,
}

/// A network as a table, ending in a line break. Memory, multiply-adds, activations and
/// connections are those of `batch` samples.
pub fn table(
    graph: &Graph,
    heading: &Heading,
    style: Style,
    format: Format,
    batch: usize,
) -> String {
    let grid = || match style {
        Style::Layers => layers::grid(graph, heading, batch),
        Style::Lenet => lenet::grid(graph, heading, batch),
        Style::Cs231n => cs231n::grid(graph, heading, batch),
    };
    match format {
        Format::Text => match style {
            Style::Layers => layers::listing(graph, heading, batch).text(),
            Style::Lenet => grid().text(),
            Style::Cs231n => cs231n::listing(graph, heading, batch).text(),
        },
        Format::Markdown => grid().markdown(),
        Format::Csv => grid().csv(),
        Format::Latex => grid().latex(),
        Format::Json => json::document(graph, heading, batch),
    }
}
