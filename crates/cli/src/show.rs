use clap::{Args, ValueEnum};
use striate::exec;
use striate::render::{Format, Heading, Paper, Style, table};

use crate::args::{self, Build, Network};
use crate::failure::Failure;
use crate::output::print;

/// The table of a network's layers, and the totals
#[derive(Args)]
#[command(after_long_help = "Examples:
  striate show vgg16 --style cs231n
  striate show lenet5 --style lenet --format markdown")]
pub(crate) struct Show {
    /// A network, or a file of one: .onnx, .prototxt, .caffemodel
    model: String,
    /// Which table
    #[arg(long, value_enum, default_value_t = Columns::Layers)]
    style: Columns,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Write::Text)]
    format: Write,
    #[command(flatten)]
    build: Build,
    /// Pictures: memory and multiply-adds are for so many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,
    /// Print JSON, as --format json
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Columns {
    /// What each layer does, what comes out, what it costs
    Layers,
    /// The columns usual for LeNet-5: sizes, kernel, memory, activation, connections
    Lenet,
    /// A line a layer with its arithmetic spelled out
    Cs231n,
}

#[derive(Clone, Copy, ValueEnum)]
enum Write {
    Text,
    Markdown,
    Csv,
    Latex,
    Json,
}

impl Show {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let network = args::network(&self.model, self.build)?;
        let graph = &network.graph;
        let style = match self.style {
            Columns::Layers => Style::Layers,
            Columns::Lenet => Style::Lenet,
            Columns::Cs231n => Style::Cs231n,
        };
        let format = match self.format {
            _ if self.json => Format::Json,
            Write::Text => Format::Text,
            Write::Markdown => Format::Markdown,
            Write::Csv => Format::Csv,
            Write::Latex => Format::Latex,
            Write::Json => Format::Json,
        };
        let batch = self.batch as usize;
        let planned = exec::planned_bytes(graph, batch)?;
        let keys = network.naming.keys(graph);
        let heading = Heading { planned_peak_bytes: planned as u64, ..heading(&network, &keys) };
        print(&table(graph, &heading, style, format, batch))
    }
}

/// What is known of a network besides its graph: of a file's its name.
pub(crate) fn heading<'a>(network: &'a Network, keys: &'a [String]) -> Heading<'a> {
    let Some(entry) = network.entry else {
        return Heading { name: &network.name, weights: keys, ..Heading::default() };
    };
    let paper = entry.paper;
    Heading {
        name: entry.name,
        title: "",
        family: entry.family,
        edition: entry.edition.word(),
        paper: Some(Paper {
            title: paper.title,
            authors: paper.authors,
            year: paper.year,
            id: paper.id,
        }),
        weights: keys,
        planned_peak_bytes: 0,
    }
}
