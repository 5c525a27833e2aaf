use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use striate::render::thousands;
use striate::zoo::{self, Architecture};

use crate::failure::Failure;
use crate::output::{print, print_json};

/// The networks, grouped by family
#[derive(Args)]
#[command(after_long_help = "Example:\n  striate list 'resnet*'")]
pub(crate) struct List {
    /// Names to show; * stands for any characters
    #[arg(default_value = "*")]
    pattern: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let entries: Vec<&Architecture> = zoo::matching(&self.pattern).collect();
        if entries.is_empty() {
            let nearest = zoo::find(&self.pattern).err().map(|e| e.nearest.join(", "));
            return Err(Failure::Usage(format!(
                "no network fits `{}`; the nearest names are {}",
                self.pattern,
                nearest.unwrap_or_default()
            )));
        }
        if self.json {
            let rows: Vec<_> = entries.iter().map(|entry| row(entry)).collect();
            return print_json(&rows);
        }
        let mut text = String::new();
        for group in entries.chunk_by(|a, b| a.family == b.family) {
            text += &format!("{}\n{}\n\n", group[0].family, table(group));
        }
        print(&text)
    }
}

fn row(entry: &Architecture) -> serde_json::Value {
    json!({
        "name": entry.name,
        "family": entry.family,
        "edition": entry.edition.to_string(),
        "year": entry.paper.year,
        "params": entry.totals.params,
        "macs": entry.totals.macs,
        "input": entry.input,
        "classes": entry.data.classes(),
        "note": entry.note,
    })
}

fn table(entries: &[&Architecture]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["  name", "edition", "year", "parameters", "MACs", "input", "note"]);
    for entry in entries {
        let [c, h, w] = entry.input;
        table.add_row([
            format!("  {}", entry.name),
            entry.edition.to_string(),
            entry.paper.year.to_string(),
            thousands(entry.totals.params),
            macs(entry.totals.macs),
            format!("{c}×{h}×{w}"),
            entry.note.to_owned(),
        ]);
    }
    for column in [3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Multiply-adds in the unit that suits.
fn macs(n: u64) -> String {
    match n {
        0..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.3} G", n as f64 / 1e9),
    }
}
