use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;
use striate::Choices;
use striate::data::Batch;
use striate::exec::{Accuracy, Backend, CompileError, Isa, Native, Options};
use striate::graph::{Drawn, Graph, ParamSource};
use striate::tensor::{Rng, Tensor};
use striate::train::{Recipe, Trainer};

use crate::args::{self, Threads};
use crate::failure::Failure;
use crate::output::{print, print_json};

/// How fast a network runs or trains
#[derive(Args)]
#[command(after_long_help = "Examples:
  striate bench resnet50 --explain
  striate bench vgg16 --batch 16 --threads 1
  striate bench lenet5 --mode train --batch 64
  striate bench model.onnx")]
pub(crate) struct Bench {
    /// A network: a name from `list`, or a file (.prototxt, .caffemodel, .onnx)
    model: String,
    /// Weights: a file, or the directory of a checkpoint. Without, those in the file of the network,
    /// or drawn at random
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Pictures to time it with, as `run` takes them, from the first again where there are fewer than a
    /// batch. Without, normal numbers
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
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
    /// Instructions to use: avx512, avx2, neon, portable. The best of the machine by default
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// How near convolutions are to their definition
    #[arg(long, value_enum, default_value_t = Nearness::Fast)]
    accuracy: Nearness,
    /// Print each step: algorithm, time, rate, weights, place
    #[arg(long)]
    explain: bool,
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

#[derive(Clone, Copy, ValueEnum)]
enum Nearness {
    /// Every product of the definition
    Strict,
    /// Winograd's algorithm where it is faster
    Fast,
}

/// The fewest runs that are timed.
const FEWEST: usize = 10;

impl Bench {
    pub(crate) fn run(self, quiet: bool) -> Result<(), Failure> {
        if !(0.0..=3600.0).contains(&self.seconds) {
            let found = self.seconds;
            return Err(Failure::Usage(format!("found --seconds {found}, expected 0 to 3600")));
        }
        let isa = self.isa()?;
        let (batch, threads) = (self.batch as usize, self.threads.threads);
        let choices = Choices { logits: self.mode == Mode::Train, ..Choices::default() };
        let usual = args::network(&self.model, None, &choices)?;
        let recipe = Recipe { batch, ..Recipe::of(usual.training()) };
        let heads = self.mode == Mode::Train && !recipe.loss.heads.is_empty();
        let network = match &self.weights {
            Some(path) if !heads => args::model(&self.model, Some(path), &choices)?.network,
            _ if heads => args::network(&self.model, None, &Choices { heads, ..choices })?,
            _ => usual,
        };
        args::warn(&network, quiet);
        let graph = &network.graph;
        let stored = network.weights.as_ref().map(|weights| &*weights.params);
        let drawn = Drawn::new(graph, &network.init(), &Rng::new(1));
        let images = match &self.input {
            Some(path) => repeated(&args::pictures(&network, path)?, batch)?,
            None => images(graph, batch)?,
        };
        let macs = graph.total().macs as f64 * batch as f64;
        match self.mode {
            Mode::Infer => {
                let accuracy = match self.accuracy {
                    Nearness::Strict => Accuracy::Strict,
                    Nearness::Fast => Accuracy::Fast,
                };
                let engine = Options { isa: Some(isa), accuracy, ..Options::default() };
                let options = Options { batch, threads, ..engine };
                let params: &dyn ParamSource = match stored {
                    Some(stored) => stored,
                    None => &drawn,
                };
                let mut compiled = Native::default().compile(graph, params, &options)?;
                let mut logits = Vec::new();
                let times = self.time(|| {
                    logits = compiled.run(&images)?.logits().row(0).to_vec();
                    Ok(())
                })?;
                if self.explain {
                    let steps = compiled.explain(&images, times.len().min(50))?;
                    let memory = peak_rss().map_or(String::new(), |bytes| {
                        format!(", {:.1} MB of the process at most", bytes as f64 / 1e6)
                    });
                    print(&format!("{}{memory}", steps.trim_end()))?;
                }
                self.report(&network.name, isa, times, 2.0 * macs, &logits)
            }
            Mode::Train => {
                network.check_classes()?;
                let labels = (0..self.batch).map(|i| i % graph.classes() as u32).collect();
                let batch = Batch { images, labels, index: 0 };
                let mut trainer = Trainer::new(graph, drawn.params(), recipe, threads)?;
                // So small a step that weights and times stay what they are.
                let times = self.time(|| Ok(trainer.step(&batch, 1e-9).map(|_| ())?))?;
                self.report(&network.name, isa, times, 6.0 * macs, &[])
            }
        }
    }

    fn isa(&self) -> Result<Isa, Failure> {
        let Some(name) = &self.isa else { return Ok(Isa::best()) };
        let names: Vec<&str> = Isa::available().map(Isa::name).collect();
        Isa::named(name).filter(|isa| isa.is_available()).ok_or_else(|| {
            Failure::Usage(format!("found --isa {name}, expected one of {}", names.join(", ")))
        })
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

    /// Prints the times of runs of so many floating-point operations.
    fn report(
        &self,
        name: &str,
        isa: Isa,
        times: Vec<f64>,
        operations: f64,
        logits: &[f32],
    ) -> Result<(), Failure> {
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        let [median, p10, p90] = [0.5, 0.1, 0.9].map(at);
        let gflops = operations / median / 1e9;
        let images_per_s = f64::from(self.batch) / median;
        let options = Options { threads: self.threads.threads, ..Options::default() };
        let threads = options.thread_count()?;
        let mode = match self.mode {
            Mode::Infer => "infer",
            Mode::Train => "train",
        };
        let peak = peak_rss();
        if self.json {
            return print_json(&json!({
                "model": name,
                "mode": mode,
                "batch": self.batch,
                "threads": threads,
                "precision": "f32",
                "isa": isa.name(),
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
        let first =
            if first.is_empty() { String::new() } else { format!(" out0={}", first.join(",")) };
        let memory = peak.map_or(String::new(), |b| format!(", {:.0} MB at most", b as f64 / 1e6));
        print(&format!(
            "{name}: {mode}, batch {}, {threads} threads, f32, {isa}; {} runs{memory}\n\
             {images_per_s:.1} images/s, {gflops:.1} GFLOP/s\n\
             median_ms={:.4} p10_ms={:.4} p90_ms={:.4}{first}",
            self.batch,
            times.len(),
            median * 1e3,
            p10 * 1e3,
            p90 * 1e3,
        ))
    }
}

/// Pictures of normal numbers.
fn images(graph: &Graph, batch: usize) -> Result<Tensor, CompileError> {
    let shape = graph.input().batched(batch);
    let mut values = Vec::new();
    let len = shape.iter().product();
    values.try_reserve_exact(len).map_err(|_| CompileError::TooLarge { batch })?;
    let mut rng = Rng::new(2);
    values.extend((0..len).map(|_| rng.normal()));
    Ok(Tensor::new(&shape, values).expect("as many values as the shape has"))
}

/// As many pictures, from the first again where there are fewer.
fn repeated(pictures: &Tensor, batch: usize) -> Result<Tensor, CompileError> {
    let len = pictures.data().len() / pictures.shape()[0];
    let mut values = Vec::new();
    let all = batch.checked_mul(len).filter(|&all| values.try_reserve_exact(all).is_ok());
    let all = all.ok_or(CompileError::TooLarge { batch })?;
    values.extend(pictures.data().iter().cycle().take(all));
    let shape = [&[batch], &pictures.shape()[1..]].concat();
    Ok(Tensor::new(&shape, values).expect("as many values as the shape has"))
}

/// The most memory the program has had, where the system tells.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// What the processor calls itself, where the system tells.
fn cpu() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
