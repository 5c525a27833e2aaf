use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use striate::data::{Augment, Dataset, Loader};
use striate::formats;
use striate::graph::{Graph, InputSpec, Params};
use striate::tensor::Rng;
use striate::train::{
    Checkpoint, EpochReport, LossKind, Model, Optimizer, Outcome, Recipe, RunDir, ScheduleKind,
    Trainer,
};
use striate::zoo::{self, Architecture};

use crate::args::{Build, entry};
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::progress::{INTERRUPTED, Progress};
use crate::source::Source;

/// Train a network
#[derive(Args)]
#[command(after_long_help = "Examples:
  striate train lenet5
  striate train resnet18 pictures/ --epochs 30 --lr 0.05 --batch-size 32
  striate train --resume runs/lenet5")]
pub(crate) struct Train {
    /// A network
    #[arg(required_unless_present = "resume")]
    model: Option<String>,
    /// `mnist`, or a folder: MNIST's files, or `train` and `val` with a folder a class. Without it
    /// the data the network was made for
    data: Option<String>,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    build: Build,
    /// Start from these weights: a file, or the directory of a checkpoint
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Go on with the run in this directory, as if it had never stopped
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "epochs", "batch_size", "lr", "momentum", "weight_decay", "opt", "sched", "warmup_epochs",
        "label_smoothing", "augment", "seed", "weights", "output", "classes", "input", "heads",
    ])]
    resume: Option<PathBuf>,
    /// Where the run goes; runs/MODEL by default
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Threads that prepare pictures ahead; 0 prepares them in between
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// Threads that compute; 0 is all cores. The weights do not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Print the last epoch as JSON, with a digest of the weights
    #[arg(long)]
    json: bool,
    /// Print a line of JSON for each epoch as soon as it is done
    #[arg(long, conflicts_with = "json")]
    jsonl: bool,
}

/// Changes to the network's own recipe.
#[derive(Args)]
struct Changes {
    /// Passes over the training set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Pictures a step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    /// Peak learning rate
    #[arg(long, value_name = "RATE")]
    lr: Option<f32>,
    /// Share of the last step that is kept
    #[arg(long, value_name = "SHARE")]
    momentum: Option<f32>,
    /// Weight decay
    #[arg(long, value_name = "DECAY")]
    weight_decay: Option<f32>,
    /// How parameters move
    #[arg(long, value_enum)]
    opt: Option<Opt>,
    /// How the learning rate goes on
    #[arg(long, value_enum)]
    sched: Option<Sched>,
    /// Epochs in which the learning rate rises
    #[arg(long, value_name = "EPOCHS")]
    warmup_epochs: Option<f32>,
    /// Share of the label spread over all classes
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f32>,
    /// Distortions of the training pictures
    #[arg(long, value_enum)]
    augment: Option<Distort>,
    /// Of the first weights, the order of the pictures, distortions and dropout
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Opt {
    /// Gradient descent with momentum
    Sgd,
    /// The same, looking ahead
    Nesterov,
    Adam,
    Adamw,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sched {
    Constant,
    /// A tenth, three times in the run
    Step,
    Cosine,
    Onecycle,
}

#[derive(Clone, Copy, ValueEnum)]
enum Distort {
    None,
    /// Small rotations, scalings, shifts
    Digits,
    /// Shifts by 4 pixels, mirrors
    Cifar,
    /// Random pieces, mirrors
    Imagenet,
}

impl Changes {
    /// The recipe with the changes made.
    fn apply(&self, mut recipe: Recipe) -> Result<Recipe, Failure> {
        let set = |value: &mut f32, change: Option<f32>| *value = change.unwrap_or(*value);
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.batch = self.batch_size.map_or(recipe.batch, |n| n as usize);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        set(&mut recipe.schedule.lr, self.lr);
        set(&mut recipe.schedule.warmup, self.warmup_epochs);
        set(&mut recipe.decay, self.weight_decay);
        recipe.optimizer = match self.opt {
            None => recipe.optimizer,
            Some(Opt::Sgd) => Optimizer::Sgd { momentum: 0.9, nesterov: false },
            Some(Opt::Nesterov) => Optimizer::Sgd { momentum: 0.9, nesterov: true },
            Some(Opt::Adam) => Optimizer::ADAM,
            Some(Opt::Adamw) => Optimizer::ADAMW,
        };
        match (&mut recipe.optimizer, self.momentum) {
            (_, None) => {}
            (Optimizer::Sgd { momentum, .. }, Some(change)) => *momentum = change,
            (Optimizer::Adam { .. } | Optimizer::AdamW { .. }, Some(_)) => {
                return Err(Failure::Usage(String::from("--momentum goes with --opt sgd")));
            }
        }
        recipe.schedule.kind = match self.sched {
            None => recipe.schedule.kind,
            Some(Sched::Constant) => ScheduleKind::Constant,
            Some(Sched::Step) => {
                ScheduleKind::Step { every: recipe.epochs.div_ceil(3).max(1), factor: 0.1 }
            }
            Some(Sched::Cosine) => ScheduleKind::Cosine,
            Some(Sched::Onecycle) => ScheduleKind::OneCycle { rise: 0.3 },
        };
        if let Some(share) = self.label_smoothing {
            let LossKind::CrossEntropy { smoothing } = &mut recipe.loss.kind else {
                let what = "--label-smoothing goes with networks that end in scores";
                return Err(Failure::Usage(String::from(what)));
            };
            if !(0.0..1.0).contains(&share) {
                let what = format!("--label-smoothing: found {share}, expected 0 to below 1");
                return Err(Failure::Usage(what));
            }
            *smoothing = share;
        }
        recipe.augment = match self.augment {
            None => recipe.augment,
            Some(Distort::None) => Augment::none(),
            Some(Distort::Digits) => Augment::digits(),
            Some(Distort::Cifar) => Augment::cifar(),
            Some(Distort::Imagenet) => Augment::imagenet(),
        };
        Ok(recipe)
    }
}

/// All that a run needs, new or gone on with.
struct Setup {
    entry: &'static Architecture,
    trainer: Trainer,
    input: InputSpec,
    run: RunDir,
    directory: PathBuf,
    source: Source,
}

impl Train {
    pub(crate) fn run(self, quiet: bool) -> Result<(), Failure> {
        let setup = match &self.resume {
            Some(directory) => self.go_on(directory)?,
            None => self.begin()?,
        };
        let Setup { entry, mut trainer, input, run, directory, source } = setup;
        listen()?;
        let recipe = trainer.recipe().clone();
        let Some(train) = source.train else {
            return Err(Failure::failed(format!("{}: found no `train`", source.name)));
        };
        let loader = |data: Arc<dyn Dataset>, augment| {
            Loader::new(data, input.clone(), augment, recipe.batch, recipe.seed)
                .map(|loader| loader.workers(self.workers))
        };
        let pictures = train.len();
        let train = loader(train, recipe.augment)?.shuffled();
        let test = source.test.map(|test| loader(test, Augment::none())).transpose()?;
        if !quiet {
            let (name, epochs) = (entry.name, recipe.epochs);
            eprintln!("{name} on {pictures} pictures of {}, {epochs} epochs", source.name);
        }
        let mut progress = Progress::new(recipe.epochs, quiet, self.jsonl);
        match trainer.fit(&train, test.as_ref(), Some(&run), &mut progress)? {
            Outcome::Interrupted => {
                let directory = directory.display();
                eprintln!("interrupted: go on with `striate train --resume {directory}`");
                Err(Failure::Interrupted)
            }
            Outcome::Finished(last) => self.report(entry, &trainer, last, &directory),
        }
    }

    /// A new run.
    fn begin(&self) -> Result<Setup, Failure> {
        let name = self.model.as_deref().unwrap_or_default();
        let entry = entry(name)?;
        let source = Source::open(self.data.as_deref(), entry)?;
        let recipe = self.changes.apply(Recipe::of(entry.name))?;
        let heads = self.build.heads || !recipe.loss.heads.is_empty();
        let classes = self.build.classes.or(Some(source.classes()));
        let config = Build { classes, heads, ..self.build }.config(entry);
        let graph = entry.build(&config)?;
        let mut input = (entry.preparation)();
        if let Some([_, h, w]) = self.build.input {
            input.crop =
                [h - 2 * input.border.min((h - 1) / 2), w - 2 * input.border.min((w - 1) / 2)];
        }
        let params = match &self.weights {
            None => Params::init(&graph, &entry.init, &Rng::new(recipe.seed)),
            Some(path) => {
                let loaded = formats::load(path, &graph, &entry.naming)?;
                if let Some(tensor) = loaded.not_finite.first() {
                    return Err(Failure::failed(format!(
                        "{}: `{tensor}` holds a NaN or an infinity, expected finite weights",
                        path.display()
                    )));
                }
                input = loaded.input.unwrap_or(input);
                loaded.params
            }
        };
        check_input(&graph, &input, entry)?;
        let trainer = Trainer::new(&graph, params, recipe.clone(), self.threads)?;
        let directory = self.directory(entry)?;
        let model = Model {
            name: entry.name.to_owned(),
            classes: config.classes,
            input: config.input,
            heads: config.heads,
            data: source.name.clone(),
        };
        let run = RunDir::open(&directory, model, entry.naming, input.clone(), 0)?;
        write_args(&directory, entry, &source, &recipe)?;
        Ok(Setup { entry, trainer, input, run, directory, source })
    }

    /// A run that was stopped, as its checkpoint has it.
    fn go_on(&self, directory: &Path) -> Result<Setup, Failure> {
        let model = Checkpoint::model(directory)?;
        let entry = zoo::find(&model.name)?;
        if let Some(name) = self.model.as_deref().filter(|name| *name != entry.name) {
            return Err(Failure::Usage(format!(
                "{} is a run of {}, not of {name}",
                directory.display(),
                entry.name
            )));
        }
        let Model { classes, input, heads, .. } = model;
        let graph = entry.build(&zoo::Config { classes, input, heads })?;
        let source = Source::open(Some(self.data.as_deref().unwrap_or(&model.data)), entry)?;
        let checkpoint = Checkpoint::open(directory, &graph, &entry.naming)?;
        let input = checkpoint.input.clone().unwrap_or_else(|| (entry.preparation)());
        let epochs = checkpoint.place.epoch;
        let trainer = Trainer::resume(&graph, checkpoint, self.threads)?;
        let run = RunDir::open(directory, model, entry.naming, input.clone(), epochs)?;
        Ok(Setup { entry, trainer, input, run, directory: directory.to_owned(), source })
    }

    /// Where a new run goes. No run is ever written over.
    fn directory(&self, entry: &Architecture) -> Result<PathBuf, Failure> {
        let taken = |path: &Path| path.join("last").exists() || path.join("best").exists();
        if let Some(path) = &self.output {
            if taken(path) {
                return Err(Failure::Usage(format!(
                    "{} holds a run: go on with --resume, or choose another --output",
                    path.display()
                )));
            }
            return Ok(path.clone());
        }
        let first = PathBuf::from("runs").join(entry.name);
        let more = (2..).map(|i| PathBuf::from("runs").join(format!("{}-{i}", entry.name)));
        let mut free = std::iter::once(first).chain(more).filter(|path| !taken(path));
        free.next().ok_or_else(|| Failure::failed("there is no free name below runs"))
    }

    fn report(
        &self,
        entry: &Architecture,
        trainer: &Trainer,
        last: Option<EpochReport>,
        directory: &Path,
    ) -> Result<(), Failure> {
        if self.jsonl {
            return Ok(());
        }
        let place = trainer.place();
        if self.json {
            let mut document = match last {
                Some(report) => serde_json::to_value(report)?,
                None => json!({ "epoch": place.epoch }),
            };
            document["weights_sha256"] = json!(formats::weights_sha256(trainer.params()));
            document["output"] = json!(directory);
            return print_json(&document);
        }
        let last = last.and_then(|report| report.val_top1).map(|top1| 100.0 * top1);
        let best = place.best.map(|best| (100.0 * best.top1, best.epoch));
        let mut text = format!("{} after {} epochs:", entry.name, place.epoch);
        if let Some(last) = last {
            text += &format!(" {last:.2} % of the test pictures right");
        }
        if let Some((best, epoch)) = best {
            text += &format!(" (best {best:.2} %, epoch {epoch})");
        }
        print(&format!("{text}, weights in {}", directory.join("best").display()))
    }
}

/// Refuses a preprocessing that does not give what the network reads.
fn check_input(graph: &Graph, input: &InputSpec, entry: &Architecture) -> Result<(), Failure> {
    let (found, expected) = (input.output(), graph.input().chw());
    if found == expected {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the preprocessing of {} gives {found:?}, but the network reads {expected:?}",
        entry.name
    )))
}

/// `args.toml`: what the run was begun with.
fn write_args(
    directory: &Path,
    entry: &Architecture,
    source: &Source,
    recipe: &Recipe,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Args<'a> {
        model: &'a str,
        data: &'a str,
        version: &'a str,
        recipe: &'a Recipe,
    }
    let version = env!("CARGO_PKG_VERSION");
    let args = Args { model: entry.name, data: &source.name, version, recipe };
    let path = directory.join("args.toml");
    std::fs::write(&path, toml::to_string(&args)?)
        .map_err(|e| Failure::failed(format!("{}: cannot write: {e}", path.display())))
}

/// The first Ctrl-C asks for a checkpoint, the second ends the program at once.
fn listen() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(())
}
