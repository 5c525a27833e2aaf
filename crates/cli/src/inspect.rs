use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use striate::fits;
use striate::formats::{Element, Format, INPUT, StoredTensor, file_sha256, list};
use striate::render::thousands;

use crate::failure::Failure;
use crate::nearest;
use crate::output::{print, print_json};

/// What is in a weight file; nothing in it is executed
#[derive(Args)]
#[command(after_long_help = "Example:
  striate inspect resnet50.pth")]
pub(crate) struct Inspect {
    /// Weights of any format, or the directory of a checkpoint
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<(), Failure> {
        nearest::existing(&self.file)?;
        let listing = list(&self.file)?;
        let params: usize = listing.tensors.iter().map(volume).sum();
        let networks = fits(&listing);
        let digest = match self.file.is_file() {
            true => Some(file_sha256(&self.file)?),
            false => None,
        };
        let mut warnings = Vec::new();
        let others = |t: &&StoredTensor| matches!(t.element, Element::Other(_));
        for tensor in listing.tensors.iter().filter(others) {
            warnings.push(format!("{} holds {}, which is not read", tensor.name, tensor.element));
        }
        if networks.is_empty() {
            warnings.push(String::from("it fits none of the networks by names and shapes"));
        }
        if self.json {
            let tensors = listing.tensors.iter().map(|tensor| {
                json!({"name": tensor.name, "shape": tensor.shape,
                       "dtype": tensor.element.to_string()})
            });
            let names: Vec<&str> = networks.iter().map(|(entry, _)| entry.name).collect();
            return print_json(&json!({
                "format": listing.format.to_string(), "sha256": digest, "params": params,
                "tensors": tensors.collect::<Vec<_>>(), "fits": names,
                "classes": networks.first().map(|(_, classes)| classes),
                "metadata": listing.metadata, "warnings": warnings,
            }));
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["tensor", "shape", "values"]);
        for tensor in &listing.tensors {
            let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
            let turned = if tensor.is_turned() { ", axes turned" } else { "" };
            let values = format!("{}{turned}", tensor.element);
            table.add_row([&tensor.name, &shape.join("×"), &values]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut lines = vec![table.to_string()];
        let metadata = listing.metadata.iter().filter(|(key, _)| *key != INPUT);
        lines.extend(metadata.map(|(key, text)| format!("{key}: {}", text.escape_debug())));
        if listing.metadata.contains_key(INPUT) {
            lines.push(String::from("it says how pictures are prepared"));
        }
        if listing.format == Format::PyTorch {
            lines.push(String::from("its pickle holds tensors and plain values alone"));
        }
        lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
        let fit = |(entry, classes): &(&striate::zoo::Architecture, usize)| {
            format!("{} ({classes} classes)", entry.name)
        };
        if !networks.is_empty() {
            let names: Vec<String> = networks.iter().map(fit).collect();
            lines.push(format!("fits {}", names.join(", ")));
        }
        lines.extend(digest.map(|digest| format!("sha256 {digest}")));
        lines.push(format!(
            "{}: {}, {} tensors, {} values",
            self.file.display(),
            listing.format,
            listing.tensors.len(),
            thousands(params as u64)
        ));
        print(&lines.join("\n"))
    }
}

fn volume(tensor: &StoredTensor) -> usize {
    tensor.shape.iter().product()
}
