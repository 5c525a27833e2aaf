use clap::Args;
use striate::render;

use crate::args::{self, Build};
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::show::heading;

/// What differs between two networks; exit code 3 if anything does
#[derive(Args)]
#[command(after_long_help = "Example:\n  striate diff resnet50 resnet50_v1")]
pub(crate) struct Diff {
    /// A network, or a file of one
    a: String,
    /// Another
    b: String,
    #[command(flatten)]
    build: Build,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let [a, b] = [&self.a, &self.b].map(|name| args::network(name, self.build));
        let (a, b) = (a?, b?);
        let (keys_a, keys_b) = (a.naming.keys(&a.graph), b.naming.keys(&b.graph));
        let (heading_a, heading_b) = (heading(&a, &keys_a), heading(&b, &keys_b));
        let diff = render::diff(&a.graph, &heading_a, &b.graph, &heading_b);
        if self.json {
            print_json(&diff.json())?;
        } else {
            print(&diff.text())?;
        }
        if diff.is_empty() { Ok(()) } else { Err(Failure::Difference) }
    }
}
