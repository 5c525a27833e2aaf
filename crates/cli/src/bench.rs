use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;
use striate::data::Batch;
use striate::exec::{Backend, Native, Options};
use striate::graph::{Graph, Params};
use striate::tensor::{Rng, Tensor};
use striate::train::{Recipe, Trainer};
use striate::zoo::Architecture;

use crate::args::{self, Threads, entry};
use crate::failure::Failure;
use crate::output::{print, print_json};

/// How fast a network runs or trains
#[derive(Args)]
#[command(after_long_help = "Examples:
  striate bench resnet50
  striate bench vgg16 --batch 16 --threads 1
  striate bench lenet5 --mode train --batch 64")]
pub(crate) struct Bench {
    /// A network
    model: String,
    /// Weights: a file, or the directory of a checkpoint. Without, they are drawn at random
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Pictures at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    #[command(flatten)]
    threads: Threads,
    /// What is timed: answers, or steps of training
    #[arg(long, value_enum, default_value_t = Mode::Infer)]
    mode: Mode,
    /// How long, after warming up; ten runs at least
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    /// Batches of pictures through the network
    Infer,
    /// Steps of training: forward, backward, update
    Train,
}

/// The fewest runs that are timed.
const FEWEST: usize = 10;

impl Bench {
    pub(crate) fn run(self) -> Result<(), Failure> {
        if !(0.0..=3600.0).contains(&self.seconds) {
            return Err(Failure::Usage(format!(
                "found --seconds {}, expected 0 to 3600",
                self.seconds
            )));
        }
        let entry = entry(&self.model)?;
        let (graph, params) = match &self.weights {
            Some(_) => {
                let model = args::model(&self.model, self.weights.as_deref())?;
                (model.graph, model.params)
            }
            None => {
                let graph = zoo_graph(entry, self.mode);
                let params = Params::init(&graph, &entry.init, &Rng::new(1));
                (graph, params)
            }
        };
        let batch = self.batch as usize;
        let images = images(&graph, batch);
        let (times, logits) = match self.mode {
            Mode::Infer => {
                let threads = self.threads.threads;
                let options = Options { batch, threads, ..Options::default() };
                let mut network = Native::default().compile(&graph, &params, &options)?;
                drop(params);
                let mut logits = Vec::new();
                let times = self.time(|| {
                    logits = network.run(&images)?.logits().row(0).to_vec();
                    Ok(())
                })?;
                (times, logits)
            }
            Mode::Train => {
                let recipe = Recipe { batch, ..Recipe::of(entry.name) };
                let rate = recipe.schedule.rate(0.0);
                let mut trainer = Trainer::new(&graph, params, recipe, self.threads.threads)?;
                let classes = graph.classes() as u32;
                let labels = (0..self.batch).map(|i| i % classes).collect();
                let batch = Batch { images, labels, index: 0 };
                (self.time(|| trainer.step(&batch, rate).map(|_| ()).map_err(Failure::from))?, Vec::new())
            }
        };
        self.report(entry, &graph, times, &logits)
    }

    /// Seconds of each run, sorted.
    fn time(&self, mut run: impl FnMut() -> Result<(), Failure>) -> Result<Vec<f64>, Failure> {
        let warm = Instant::now();
        let mut runs = 0;
        while runs < 2 || (warm.elapsed() < Duration::from_millis(300) && runs < 100) {
            run()?;
            runs += 1;
        }
        let (mut times, begin) = (Vec::new(), Instant::now());
        while times.len() < FEWEST || begin.elapsed().as_secs_f64() < self.seconds {
            let start = Instant::now();
            run()?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    fn report(
        &self,
        entry: &Architecture,
        graph: &Graph,
        times: Vec<f64>,
        logits: &[f32],
    ) -> Result<(), Failure> {
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        let [median, p10, p90] = [0.5, 0.1, 0.9].map(at);
        let macs = graph.total().macs as f64 * f64::from(self.batch);
        let passes = if self.mode == Mode::Train { 3.0 } else { 1.0 };
        let gflops = 2.0 * passes * macs / median / 1e9;
        let images_per_s = f64::from(self.batch) / median;
        let threads = Options { threads: self.threads.threads, ..Options::default() };
        let threads = threads.thread_count()?;
        let peak = peak_rss();
        let mode = if self.mode == Mode::Train { "train" } else { "infer" };
        if self.json {
            return print_json(&json!({
                "model": entry.name,
                "mode": mode,
                "batch": self.batch,
                "threads": threads,
                "precision": "f32",
                "isa": Native::isa(),
                "median_ms": median * 1e3,
                "p10_ms": p10 * 1e3,
                "p90_ms": p90 * 1e3,
                "images_per_s": images_per_s,
                "gflops": gflops,
                "peak_rss_bytes": peak,
                "runs": times.len(),
                "cpu": cpu(),
                "version": env!("CARGO_PKG_VERSION"),
            }));
        }
        let first: Vec<String> = logits.iter().take(5).map(f32::to_string).collect();
        let out = if first.is_empty() { String::new() } else { format!(" out0={}", first.join(",")) };
        print(&format!(
            "{}, {mode}, batch {}, {threads} threads, f32 on {}: {:.1} pictures/s, {gflops:.0} GFLOP/s, \
             {:.0} MB at most, {} runs\nmedian_ms={:.4} p10_ms={:.4} p90_ms={:.4}{out}",
            entry.name,
            self.batch,
            Native::isa(),
            images_per_s,
            peak.unwrap_or(0) as f64 / 1e6,
            times.len(),
            median * 1e3,
            p10 * 1e3,
            p90 * 1e3,
        ))
    }
}
