use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::{Map, json};
use striate::exec::{Backend, Interpreter, Native, Options};
use striate::formats;
use striate::graph::NodeId;
use striate::tensor::Tensor;
use striate::{Choices, Network};

use crate::args::{self, Threads};
use crate::failure::Failure;
use crate::nearest;
use crate::output::{print, print_json};

/// Raw tensors in, raw tensors out: no preprocessing, no softmax
#[derive(Args)]
#[command(after_long_help = "Example:
  striate run resnet50 --weights w.safetensors --input x.safetensors --output y.safetensors")]
pub(crate) struct Run {
    /// A network: a name from `list`, or a file (.prototxt, .caffemodel, .onnx)
    model: String,
    /// Weights: a file, or the directory of a checkpoint
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// A safetensors file with one tensor, pictures × channels × height × width, or as an ONNX file has
    /// it; or such numbers alone (.f32)
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the outputs go: `logits`, or what an ONNX file calls them, and what --keep names
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Inner values to write as well, by the names that `show` prints
    #[arg(long, value_name = "NODE,…", value_delimiter = ',')]
    keep: Vec<String>,
    /// What computes
    #[arg(long, value_enum, default_value_t = Engine::Native)]
    backend: Engine,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    /// The engine for CPUs
    Native,
    /// Plain loops in double precision, to compare with
    Interpreter,
}

/// Pictures run at a time: a larger input is cut, so that memory does not grow with it.
const BATCH: usize = 16;

impl Run {
    pub(crate) fn run(self, quiet: bool) -> Result<(), Failure> {
        let model = args::model(&self.model, self.weights.as_deref(), &Choices::default())?;
        let (network, params) = (&model.network, &*model.params);
        args::warn(network, quiet);
        let images = args::pictures(network, &self.input)?;
        let keep = self.keep.iter().map(|name| node(network, name)).collect::<Result<_, _>>()?;
        let options = Options {
            batch: BATCH.min(images.shape()[0]),
            threads: self.threads.threads,
            keep,
            ..Options::default()
        };
        let backend: &dyn Backend = match self.backend {
            Engine::Native => &Native::default(),
            Engine::Interpreter => &Interpreter,
        };
        let mut compiled = backend.compile(&network.graph, params, &options)?;
        if let Some(tensor) = params.not_finite().first() {
            eprintln!("warning: `{tensor}` holds a NaN or an infinity");
        }
        let mut outputs: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
        let started = Instant::now();
        let volume = network.graph.input().volume();
        for part in images.data().chunks(options.batch * volume) {
            let shape = network.graph.input().batched(part.len() / volume);
            let part = Tensor::new(&shape, part.to_vec())?;
            for (i, (name, value)) in compiled.run(&part)?.iter().enumerate() {
                if outputs.len() == i {
                    let (name, shape) = network.given(i, name, value.shape());
                    outputs.push((name, shape, Vec::new()));
                }
                outputs[i].1[0] = images.shape()[0];
                outputs[i].2.extend_from_slice(value.data());
            }
        }
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let mut shapes = Map::new();
        let mut text = String::new();
        let mut tensors = Vec::new();
        for (name, shape, data) in outputs {
            text += &format!("{name} {shape:?}\n");
            shapes.insert(name.clone(), json!(shape));
            tensors.push((name, Tensor::new(&shape, data)?));
        }
        let views: Vec<_> =
            tensors.iter().map(|(name, value)| (name.as_str(), value.view())).collect();
        formats::write_tensors(&self.output, &views)?;
        if self.json {
            print_json(&json!({ "outputs": shapes, "ms": ms }))
        } else {
            print(&format!("{text}{ms:.1} ms, written to {}", self.output.display()))
        }
    }
}

fn node(network: &Network, name: &str) -> Result<NodeId, Failure> {
    network.graph.find(name).ok_or_else(|| {
        let names = network.graph.nodes().iter().map(|node| node.name.as_str());
        Failure::Usage(format!(
            "{network} has no node `{name}`{}; `striate show {network}` prints their names",
            nearest::offer(name, names),
            network = network.mark(),
        ))
    })
}
