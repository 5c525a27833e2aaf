use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::{Map, json};
use striate::Model;
use striate::exec::{Backend, Interpreter, Native, Options};
use striate::formats;
use striate::graph::NodeId;
use striate::tensor::Tensor;

use crate::args::{self, Threads};
use crate::failure::Failure;
use crate::nearest;
use crate::output::{print, print_json};

/// Raw tensors in, raw tensors out: no preprocessing, no softmax
#[derive(Args)]
#[command(after_long_help = "Example:
  striate run resnet50 --weights w.safetensors --input x.safetensors --output y.safetensors")]
pub(crate) struct Run {
    /// A network, or a file of one: .onnx, .prototxt, .caffemodel
    model: String,
    /// Weights: a file, or the directory of a checkpoint
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// A safetensors file with one tensor, pictures × channels × height × width
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the outputs go: `logits`, and what --keep names
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
    pub(crate) fn run(self) -> Result<(), Failure> {
        let model = args::model(&self.model, self.weights.as_deref())?;
        nearest::existing(&self.input)?;
        let images = planes(&model, formats::read_tensor(&self.input)?)?;
        let expected = model.graph.input().batched(images.shape().first().copied().unwrap_or(0));
        if images.shape() != expected || expected[0] == 0 {
            return Err(Failure::failed(format!(
                "{}: found a tensor of shape {:?}, expected N×{} for {}",
                self.input.display(),
                images.shape(),
                model.graph.input(),
                model.name,
            )));
        }
        let keep = self.keep.iter().map(|name| node(&model, name)).collect::<Result<_, _>>()?;
        let options = Options {
            batch: BATCH.min(expected[0]),
            threads: self.threads.threads,
            keep,
            ..Options::default()
        };
        let backend: &dyn Backend = match self.backend {
            Engine::Native => &Native::default(),
            Engine::Interpreter => &Interpreter,
        };
        let mut network = backend.compile(&model.graph, &*model.params, &options)?;
        if let Some(tensor) = model.params.not_finite().first() {
            eprintln!("warning: `{tensor}` holds a NaN or an infinity");
        }
        let mut outputs: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
        let started = Instant::now();
        let volume = model.graph.input().volume();
        for images in images.data().chunks(options.batch * volume) {
            let mut shape = expected.clone();
            shape[0] = images.len() / volume;
            let images = Tensor::new(&shape, images.to_vec())?;
            for (i, (name, value)) in network.run(&images)?.iter().enumerate() {
                if outputs.len() == i {
                    outputs.push((name.to_owned(), value.shape().to_vec(), Vec::new()));
                }
                outputs[i].1[0] = expected[0];
                outputs[i].2.extend_from_slice(value.data());
            }
        }
        let ms = started.elapsed().as_secs_f64() * 1e3;
        // The outputs are called as the file calls them, and have the shapes that they have there.
        for (output, port) in outputs.iter_mut().zip(model.ports.iter().flat_map(|p| &p.outputs)) {
            output.0.clone_from(&port.name);
            let extents = port.shape.iter().skip(1).copied();
            if let Some(extents) = extents.collect::<Option<Vec<usize>>>() {
                output.1 = [&expected[..1], &extents].concat();
            }
        }
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

/// The input as planes, where the network's file has the channels last.
fn planes(model: &Model, images: Tensor) -> Result<Tensor, Failure> {
    let last = model.ports.as_ref().is_some_and(|ports| ports.channels_last);
    let (true, &[n, h, w, c]) = (last, images.shape()) else { return Ok(images) };
    let from = images.data();
    let at = |i: usize| {
        let (picture, channel, pixel) = (i / (c * h * w), i / (h * w) % c, i % (h * w));
        from[(picture * h * w + pixel) * c + channel]
    };
    Ok(Tensor::new(&[n, c, h, w], (0..from.len()).map(at).collect())?)
}

fn node(model: &Model, name: &str) -> Result<NodeId, Failure> {
    model.graph.find(name).ok_or_else(|| {
        let names = model.graph.nodes().iter().map(|node| node.name.as_str());
        Failure::Usage(format!(
            "{network} has no node `{name}`{}; `striate show {network}` prints their names",
            nearest::offer(name, names),
            network = model.name,
        ))
    })
}
