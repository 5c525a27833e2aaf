use clap::{Args, ValueEnum};
use striate::exec;
use striate::render::{Format, Heading, Style, table};

use crate::args::Build;
use crate::failure::Failure;
use crate::output::print;

/// The table of a network's layers, and the totals
#[derive(Args)]
#[command(after_long_help = "Examples:
  striate show vgg16 --style cs231n
  striate show lenet5 --style lenet --format markdown
  striate show model.onnx")]
pub(crate) struct Show {
    /// A network: a name from `list`, or a file (.prototxt, .caffemodel, .onnx)
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
    pub(crate) fn run(self, quiet: bool) -> Result<(), Failure> {
        let network = self.build.network(&self.model, quiet)?;
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
        let planned = exec::planned_bytes(&network.graph, batch)?;
        let heading = Heading { planned_peak_bytes: planned as u64, ..network.heading() };
        print(&table(&network.graph, &heading, style, format, batch))
    }
}
