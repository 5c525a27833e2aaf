use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;
use striate::Choices;
use striate::data::{Augment, Crops, Loader};
use striate::exec::Options;
use striate::formats;
use striate::render::thousands;
use striate::train::{LossKind, Recipe, evaluate, evaluate_crops};
use striate::zoo::DataSet;

use crate::args::{self, Threads};
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::source::Source;

/// Loss, top-1 and top-5 on a data set
#[derive(Args)]
#[command(
    allow_negative_numbers = true,
    after_long_help = "Example:
  striate val lenet5 mnist --weights runs/lenet5/best"
)]
pub(crate) struct Val {
    /// A network: a name from `list`, or a file (.prototxt, .caffemodel, .onnx)
    model: String,
    /// `mnist`, or a folder: MNIST's files, or a folder a class with pictures (of `val` or `test`,
    /// if there is one)
    data: Option<String>,
    /// Weights: a file, or the directory of a checkpoint
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Pieces of each picture whose answers are averaged. Not for digits: half of the pieces are
    /// mirrored, and a mirrored digit is none
    #[arg(long, value_enum, default_value_t = Views::One)]
    crops: Views,
    /// Pictures at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    #[command(flatten)]
    threads: Threads,
    /// Write the result to a JSON file as well
    #[arg(long, value_name = "FILE")]
    results_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Views {
    /// The centre
    #[value(name = "1")]
    One,
    /// Corners and centre, and their mirrors
    #[value(name = "10")]
    Ten,
    /// GoogLeNet's 144
    #[value(name = "144")]
    Full144,
}

impl Val {
    pub(crate) fn run(self, quiet: bool) -> Result<(), Failure> {
        let choices = Choices { logits: true, ..Choices::default() };
        let model = args::model(&self.model, self.weights.as_deref(), &choices)?;
        args::warn_of_preparation(&model.network, quiet);
        model.check_input()?;
        let network = &model.network;
        network.check_classes()?;
        let source = Source::open(self.data.as_deref(), network)?;
        let Some(test) = source.test else {
            return Err(Failure::failed(format!("{}: found no `val` nor `test`", source.name)));
        };
        let digits = source.digits || network.data() == Some(DataSet::Mnist);
        if digits && !matches!(self.crops, Views::One) {
            return Err(Failure::Usage(String::from(
                "--crops: found more than 1 for digits, expected 1: half of the pieces are mirrored, \
                 and a mirrored digit is none",
            )));
        }
        let kind = if network.graph.smallest_wins() {
            Recipe::of(network.training()).loss.kind
        } else {
            LossKind::CrossEntropy { smoothing: 0.0 }
        };
        let crops = match self.crops {
            Views::One => Crops::One,
            Views::Ten => Crops::Ten,
            Views::Full144 => Crops::Full144,
        };
        if !quiet && !self.json {
            eprintln!("{} pictures of {}", thousands(test.len() as u64), source.name);
        }
        let options = Options {
            // Compiled for no more than there is to run at a time.
            batch: (self.batch_size as usize).min(match crops {
                Crops::One => test.len(),
                Crops::Ten | Crops::Full144 => crops.count(),
            }),
            threads: self.threads.threads,
            ..Options::default()
        };
        let mut compiled = model.compile(&options)?;
        let started = Instant::now();
        let score = match crops {
            Crops::One => {
                let batch = options.batch;
                let loader = Loader::new(test, model.input.clone(), Augment::none(), batch, 0)?;
                evaluate(compiled.as_mut(), &loader.workers(2), kind)?
            }
            Crops::Ten | Crops::Full144 => {
                evaluate_crops(compiled.as_mut(), &*test, &model.input, crops, options.batch)?
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        let result = json!({
            "model": network.name,
            "weights": model.weights,
            "data": source.name,
            "images": score.seen,
            "crops": crops.count(),
            "loss": score.mean_loss(),
            "top1": score.top1(),
            "top5": score.top5(),
            "images_per_s": score.seen as f64 / seconds.max(1e-9),
        });
        if let Some(path) = &self.results_file {
            let text = serde_json::to_string_pretty(&result)? + "\n";
            formats::write_atomically(path, |file| file.write_all(text.as_bytes()))?;
        }
        if self.json {
            return print_json(&result);
        }
        print(&format!(
            "{}: top-1 {:.2} %, top-5 {:.2} %, loss {:.4} on {} pictures",
            network.name,
            100.0 * score.top1(),
            100.0 * score.top5(),
            score.mean_loss(),
            thousands(score.seen)
        ))
    }
}
