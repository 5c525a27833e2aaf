use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use striate::formats::{INPUT, NETWORK, file_sha256};
use striate::graph::Graph;
use striate::render::thousands;
use striate::{Inspected, inspect};

use crate::failure::Failure;
use crate::nearest;
use crate::output::{print, print_json};

/// What is in a file of weights or of a network; nothing in it is executed
#[derive(Args)]
#[command(after_long_help = "Examples:
  striate inspect resnet50.pth
  striate inspect deploy.prototxt")]
pub(crate) struct Inspect {
    /// Weights of any format, the directory of a checkpoint, or a network (.prototxt, .caffemodel,
    /// .onnx)
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<(), Failure> {
        nearest::existing(&self.file)?;
        let found = inspect(&self.file)?;
        let digest = match self.file.is_file() {
            true => Some(file_sha256(&self.file)?),
            false => None,
        };
        match self.json {
            true => print_json(&document(&found, digest)),
            false => print(&self.text(&found, digest)),
        }
    }

    fn text(&self, found: &Inspected, digest: Option<String>) -> String {
        let Inspected { tensors, metadata, network, fits, warnings, .. } = found;
        let rows = tensors.iter().zip(&found.digests).map(|(tensor, digest)| {
            let turned = if tensor.is_turned() { ", axes turned" } else { "" };
            let values = format!("{}{turned}", tensor.element);
            let digest = digest.as_deref().map_or("", |digest| &digest[..12]);
            [tensor.name.clone(), extents(&tensor.shape), values, digest.to_owned()]
        });
        let mut lines = Vec::new();
        if !tensors.is_empty() {
            lines.push(table(["tensor", "shape", "values", "sha256"], rows));
        }
        if let Some(network) = network {
            let nodes = network.graph.nodes().iter();
            let rows = nodes
                .map(|node| [node.name.clone(), node.shape.to_string(), node.op.kind().to_owned()]);
            lines.push(table(["layer", "output", "operation"], rows));
        }
        let plain = metadata.iter().filter(|(key, _)| *key != INPUT && *key != NETWORK);
        lines.extend(plain.map(|(key, text)| format!("{key}: {}", text.escape_debug())));
        if metadata.contains_key(INPUT) {
            lines.push(String::from("it says how pictures are prepared"));
        }
        if found.format == "pytorch" && !tensors.is_empty() {
            lines.push(String::from("its pickle holds tensors and plain values alone"));
        }
        lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
        if !fits.is_empty() {
            let names = fits.iter();
            let names = names.map(|(entry, classes)| format!("{} ({classes} classes)", entry.name));
            let what = if tensors.is_empty() { "is the same as" } else { "fits" };
            lines.push(format!("{what} {}", names.collect::<Vec<_>>().join(", ")));
        }
        lines.extend(digest.map(|digest| format!("sha256 {digest}")));
        let layers = network.as_ref().map(|network| {
            format!(", {} layers from {}", network.graph.nodes().len() - 1, network.graph.input())
        });
        lines.push(format!(
            "{}: {}, {} tensors, {} values{}",
            self.file.display(),
            found.format,
            tensors.len(),
            thousands(found.params()),
            layers.unwrap_or_default()
        ));
        lines.join("\n")
    }
}

fn document(found: &Inspected, digest: Option<String>) -> Value {
    let tensors = found.tensors.iter().zip(&found.digests).map(|(tensor, digest)| {
        let dtype = tensor.element.to_string();
        json!({"name": tensor.name, "shape": tensor.shape, "dtype": dtype, "sha256": digest})
    });
    let names: Vec<&str> = found.fits.iter().map(|(entry, _)| entry.name).collect();
    let graph = found.network.as_ref().map(|network| &network.graph);
    let layers = graph.map(|graph| {
        let layer = |node: &striate::graph::Node| {
            json!({"name": node.name, "op": node.op.kind(), "output": node.shape.extents()})
        };
        graph.nodes().iter().skip(1).map(layer).collect::<Vec<_>>()
    });
    let classes = found.fits.first().map(|(_, classes)| *classes);
    json!({
        "format": found.format, "sha256": digest, "params": found.params(),
        "tensors": tensors.collect::<Vec<_>>(), "fits": names,
        "classes": classes.or(graph.map(Graph::classes)),
        "input": graph.map(|graph| graph.input().extents()), "layers": layers,
        "metadata": found.metadata, "warnings": found.warnings,
    })
}

fn extents(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// Rows of columns, the second to the right.
fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    rows.for_each(|row| {
        table.add_row(row);
    });
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
