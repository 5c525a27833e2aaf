use std::path::PathBuf;

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use striate::formats::{Dtype, write_atomically};
use striate::{Conversion, Converted, convert};

use crate::args;
use crate::failure::Failure;
use crate::nearest;
use crate::output::{print, print_json};

/// Weights, or a network with its weights, of one format in another, with a report of every tensor
#[derive(Args)]
#[command(after_long_help = "Examples:
  striate convert resnet50.pth resnet50.safetensors
  striate convert vgg16.weights.h5 vgg16.pth --model vgg16_keras --verify
  striate convert net.caffemodel net.onnx --model deploy.prototxt --report net.json")]
pub(crate) struct Convert {
    /// Weights: safetensors, .pth, .weights.h5, .h5, .keras, .caffemodel, .onnx, or a checkpoint's
    /// directory
    from: PathBuf,
    /// What is written, by its name: .safetensors, .pth, .weights.h5, .caffemodel (a .prototxt is
    /// put beside it) or .onnx
    to: PathBuf,
    /// The network whose weights they are, a name or a file; without, what the file says, or what it
    /// fits
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// What values become; halves are for safetensors and .pth
    #[arg(long, value_enum, default_value_t = Values::F32)]
    dtype: Values,
    /// Version of ONNX's operators
    #[arg(long, value_name = "N", default_value_t = 17, value_parser = clap::value_parser!(i64).range(13..=23))]
    opset: i64,
    /// Run what was read and what was written, by their definitions, and compare layer by layer
    #[arg(long)]
    verify: bool,
    /// Write the report to a JSON file as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Values {
    F64,
    F32,
    F16,
    Bf16,
}

impl Convert {
    pub(crate) fn run(self, quiet: bool) -> Result<(), Failure> {
        nearest::existing(&self.from)?;
        let dtype = match self.dtype {
            Values::F64 => Dtype::F64,
            Values::F32 => Dtype::F32,
            Values::F16 => Dtype::F16,
            Values::Bf16 => Dtype::BF16,
        };
        let network = self.model.as_deref();
        let how = Conversion { network, dtype, opset: self.opset, verify: self.verify };
        let done = convert(&self.from, &self.to, &how).map_err(args::refused)?;
        if !quiet {
            done.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        }
        let report = document(&done);
        if let Some(path) = &self.report {
            let text = serde_json::to_string_pretty(&report)? + "\n";
            write_atomically(path, |file| file.write_all(text.as_bytes()))?;
        }
        match self.json {
            true => print_json(&report)?,
            false => print(&text(&done, &self))?,
        }
        match &done.verified {
            Some(verified) if dtype == Dtype::F32 && !verified.agrees() => Err(Failure::Difference),
            Some(_) | None => Ok(()),
        }
    }
}

fn text(done: &Converted, asked: &Convert) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["parameter", "from", "shape", "values"]);
    for tensor in &done.tensors {
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        let turned = if tensor.steps.is_some() { ", axes turned" } else { "" };
        let values = format!("{}{turned}", tensor.dtype);
        table.add_row([&tensor.param, &tensor.from, &shape.join("×"), &values]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut lines = vec![table.to_string()];
    if !done.ignored.is_empty() {
        lines.push(format!("left out: {}", done.ignored.join(", ")));
    }
    if done.input.is_some() {
        lines.push(String::from("how pictures are prepared goes with the weights"));
    }
    if let Some(verified) = &done.verified {
        lines.push(match verified.changed {
            0 => String::from("read again, all parameters are the same to the bit"),
            n => format!("read again, {n} parameters are others"),
        });
        if let Some((layer, error)) = verified.worst() {
            lines.push(format!(
                "of {} layers {layer} is furthest apart, by {error:.1e} of its largest value",
                verified.layers.len()
            ));
        }
    }
    lines.push(format!(
        "{} ({}) → {} ({}): {}, {} tensors",
        asked.from.display(),
        done.from,
        asked.to.display(),
        done.to,
        done.network.name,
        done.tensors.len()
    ));
    lines.join("\n")
}

fn document(done: &Converted) -> serde_json::Value {
    let tensors = done.tensors.iter().map(|tensor| {
        json!({"param": tensor.param, "from": tensor.from, "shape": tensor.shape,
               "dtype": tensor.dtype, "turned": tensor.steps.is_some(), "steps": tensor.steps})
    });
    let verified = done.verified.as_ref().map(|verified| {
        let layers = verified.layers.iter();
        let layers = layers.map(|(name, error)| json!({"name": name, "error": error}));
        json!({"changed": verified.changed, "layers": layers.collect::<Vec<_>>()})
    });
    json!({"model": done.network.name, "from": done.from.to_string(), "to": done.to.to_string(),
           "tensors": tensors.collect::<Vec<_>>(), "ignored": done.ignored, "input": done.input.is_some(),
           "preparation": done.input,
           "verified": verified, "warnings": done.warnings})
}
