use clap::Args;
use striate::render;

use crate::args::Build;
use crate::failure::Failure;
use crate::output::print;

/// What differs between two networks; exit code 3 if anything does
#[derive(Args)]
#[command(after_long_help = "Examples:
  striate diff resnet50 resnet50_v1
  striate diff deploy.prototxt vgg16")]
pub(crate) struct Diff {
    /// A network: a name from `list`, or a file (.prototxt, .caffemodel, .onnx)
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
    pub(crate) fn run(self, quiet: bool) -> Result<(), Failure> {
        let (a, b) = (self.build.network(&self.a, quiet)?, self.build.network(&self.b, quiet)?);
        let diff = render::diff(&a.graph, &a.heading(), &b.graph, &b.heading());
        if self.json {
            print(&diff.json())?;
        } else {
            print(&diff.text())?;
        }
        if diff.is_empty() { Ok(()) } else { Err(Failure::Difference) }
    }
}
