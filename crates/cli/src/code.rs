use std::path::PathBuf;

use clap::{Args, ValueEnum};
use striate::formats::write_atomically;
use striate::render::{Framework, code};

use crate::args::Build;
use crate::failure::Failure;
use crate::output::print;

/// Source code that builds the same network
#[derive(Args)]
#[command(after_long_help = "Examples:
  striate code resnet50 --to pytorch
  striate code vgg16 --to pytorch --classes 10 -o vgg16.py
  striate code resnet18 --to burn -o src/resnet18.rs")]
pub(crate) struct Code {
    /// A network: a name from `list`, or a file (.prototxt, .caffemodel, .onnx)
    model: String,
    /// What it is written for
    #[arg(long, value_enum, value_name = "FRAMEWORK")]
    to: To,
    /// Where it goes; standard output without
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    build: Build,
}

#[derive(Clone, Copy, ValueEnum)]
enum To {
    /// A module of torch.nn
    Pytorch,
    /// A keras.Model
    Keras,
    /// A module of Burn, in Rust
    Burn,
}

impl Code {
    pub(crate) fn run(self, quiet: bool) -> Result<(), Failure> {
        let network = self.build.network(&self.model, quiet)?;
        let framework = match self.to {
            To::Pytorch => Framework::PyTorch,
            To::Keras => Framework::Keras,
            To::Burn => Framework::Burn,
        };
        let text = code(&network.graph, &network.heading(), network.naming(), framework);
        match &self.output {
            Some(path) => Ok(write_atomically(path, |file| file.write_all(text.as_bytes()))?),
            None => print(&text),
        }
    }
}
