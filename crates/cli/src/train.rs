use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use striate::data::{Augment, Dataset, Loader};
use striate::formats;
use striate::graph::InputSpec;
use striate::tensor::Rng;
use striate::train::{
    Checkpoint, EpochReport, Lock, LossKind, Model, Optimizer, Outcome, Recipe, RunDir,
    ScheduleKind, Trainer,
};
use striate::{Choices, Network};

use crate::args::{self, Build, Threads, most_threads};
use crate::failure::Failure;
use crate::nearest;
use crate::output::{print, print_json};
use crate::progress::{INTERRUPTED, Progress};
use crate::source::Source;

/// Train a network
#[derive(Args)]
#[command(
    allow_negative_numbers = true,
    after_long_help = "Examples:
  striate train lenet5
  striate train resnet18 pictures/ --epochs 30 --lr 0.05 --batch-size 32
  striate train --resume runs/lenet5"
)]
pub(crate) struct Train {
    /// A network: a name from `list`, or a file (.prototxt, .caffemodel, .onnx), whose weights it
    /// starts from if it holds any
    #[arg(required_unless_present = "resume")]
    model: Option<String>,
    /// `mnist`, or a folder: MNIST's files, or `train` and `val` (or `test`), each with a folder a
    /// class. Without it the data the network was made for
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
    /// Write a checkpoint every so many steps, not every ten minutes
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,
    /// Threads that prepare pictures ahead; 0 prepares them in between
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = most_threads())]
    workers: usize,
    #[command(flatten)]
    threads: Threads,
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
            *smoothing = share;
        }
        recipe.augment = match self.augment {
            None => recipe.augment,
            Some(Distort::None) => Augment::none(),
            Some(Distort::Digits) => Augment::digits(),
            Some(Distort::Cifar) => Augment::cifar(),
            Some(Distort::Imagenet) => Augment::imagenet(),
        };
        recipe.check().map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(recipe)
    }
}

/// Pictures that are tested at a time.
const TEST_BATCH: usize = 64;

/// What a directory holds that must not be written over.
const RUN: [&str; 5] = ["last", "last.old", "best", "best.old", "log.jsonl"];

/// All that a run needs, new or gone on with.
struct Setup {
    network: Network,
    trainer: Trainer,
    train: Loader,
    test: Option<Loader>,
    run: RunDir,
    directory: PathBuf,
    source: Source,
}

impl Train {
    pub(crate) fn run(self, quiet: bool) -> Result<(), Failure> {
        let setup = match &self.resume {
            Some(directory) => self.go_on(directory)?,
            None => self.begin(quiet)?,
        };
        let Setup { network, mut trainer, train, test, run, directory, source } = setup;
        listen()?;
        let epochs = trainer.recipe().epochs;
        if !quiet {
            let (name, pictures, data) = (&network.name, train.dataset().len(), &source.name);
            eprintln!("{name} on {pictures} pictures of {data}, {}", counted(epochs));
            if test.is_none() {
                eprintln!(
                    "warning: {data}: found no `val` nor `test`: `best` is the epoch that told the \
                     most training pictures right"
                );
            }
        }
        let run = run.checkpoint_every(self.checkpoint_every);
        let mut progress = Progress::new(epochs, quiet, self.jsonl);
        match trainer.fit(&train, test.as_ref(), Some(&run), &mut progress)? {
            Outcome::Interrupted => {
                let directory = directory.display();
                eprintln!("interrupted: go on with `striate train --resume {directory}`");
                Err(Failure::Interrupted)
            }
            Outcome::Finished(last) => self.report(&network, &trainer, last, &directory),
        }
    }

    /// A new run.
    fn begin(&self, quiet: bool) -> Result<Setup, Failure> {
        let name = self.model.as_deref().unwrap_or_default();
        let weights = self.weights.as_deref();
        let choices = Choices { logits: true, ..Choices::default() };
        let usual = args::network(name, None, &choices)?;
        let recipe = self.changes.apply(Recipe::of(usual.training()))?;
        let source = Source::open(self.data.as_deref(), &usual)?;
        let data = source.data()?;
        let there = source.classes();
        if let Some(classes) = self.build.classes.filter(|classes| *classes < there) {
            return Err(Failure::Usage(format!(
                "--classes: found {classes}, expected at least the {there} of {}",
                source.name
            )));
        }
        // A network that is a file has the classes that it has.
        let classes = self.build.classes.or((!usual.is_file()).then_some(there));
        let heads = self.build.heads || !recipe.loss.heads.is_empty();
        let choices = Choices { classes, heads, input: self.build.input, ..choices };
        let network = args::network(name, weights, &choices)?;
        network.check_classes()?;
        if network.graph.classes() < there {
            return Err(Failure::failed(format!(
                "{} tells {} classes apart, expected at least the {there} of {}",
                network.mark(),
                network.graph.classes(),
                source.name
            )));
        }
        if network.is_file() {
            args::warn_of_preparation(&network, quiet);
        }
        let mut input = network.preparation();
        if let (Some([_, h, w]), None) = (self.build.input, network.input()) {
            input.crop =
                [h - 2 * input.border.min((h - 1) / 2), w - 2 * input.border.min((w - 1) / 2)];
        }
        check_input(&network, &input)?;
        let params = network.params(&Rng::new(recipe.seed))?;
        let trainer = Trainer::new(&network.graph, params, recipe.clone(), self.threads.threads)?;
        let (train, test) = self.loaders(&source, &input, &recipe)?;
        let directory = self.directory(&network)?;
        let lock = Lock::take(&directory)?;
        let model = Model {
            name: network.mark().to_owned(),
            file: network.is_file(),
            classes: network.graph.classes(),
            input: network.graph.input().chw(),
            heads,
            data,
        };
        let run = RunDir::open(&directory, lock, model, *network.naming(), input, 0)?;
        write_args(&directory, &network, &source, &recipe)?;
        Ok(Setup { network, trainer, train, test, run, directory, source })
    }

    /// A run that was stopped, as its checkpoint has it.
    fn go_on(&self, directory: &Path) -> Result<Setup, Failure> {
        nearest::existing(directory)?;
        let model = Checkpoint::model(directory)?;
        let named = |name: &&str| Path::new(name).file_name().is_some_and(|n| *n == *model.name);
        if let Some(name) = self.model.as_deref().filter(|name| !named(name)) {
            return Err(Failure::Usage(format!(
                "{} is a run of {}, not of {name}",
                directory.display(),
                model.name
            )));
        }
        let network = match model.file {
            // What it is is said beside the weights.
            true => {
                let last = Checkpoint::directory(directory)?.display().to_string();
                args::network(&last, None, &Choices::default())?
            }
            false => {
                let (classes, input) = (Some(model.classes), Some(model.input));
                let choices = Choices { classes, input, heads: model.heads, logits: true };
                args::network(&model.name, None, &choices)?
            }
        };
        let path = self.data.as_deref().unwrap_or(&model.data.path);
        if self.data.is_none() && !Path::new(path).exists() {
            return Err(Failure::failed(format!(
                "{path}: the data of the run are not there: name the folder they are in now, as in \
                 `striate train {} FOLDER --resume {}`",
                model.name,
                directory.display()
            )));
        }
        let source = Source::open(Some(path), &network)?;
        let data = source.data()?;
        model.data.check(&data)?;
        // What another process has written until now is read after the lock.
        let lock = Lock::take(directory)?;
        let checkpoint = Checkpoint::open(directory, &network.graph, network.naming())?;
        let input = checkpoint.input.clone().unwrap_or_else(|| network.preparation());
        check_input(&network, &input)?;
        let epochs = checkpoint.place.epoch;
        let trainer = Trainer::resume(&network.graph, checkpoint, self.threads.threads)?;
        let (train, test) = self.loaders(&source, &input, trainer.recipe())?;
        let model = Model { data, ..model };
        let run = RunDir::open(directory, lock, model, *network.naming(), input, epochs)?;
        Ok(Setup { network, trainer, train, test, run, directory: directory.to_owned(), source })
    }

    /// The batches to train on and those to test on.
    fn loaders(
        &self,
        source: &Source,
        input: &InputSpec,
        recipe: &Recipe,
    ) -> Result<(Loader, Option<Loader>), Failure> {
        let loader = |data: &Arc<dyn Dataset>, augment, batch| {
            Loader::new(Arc::clone(data), input.clone(), augment, batch, recipe.seed)
                .map(|loader| loader.workers(self.workers))
        };
        let train = loader(source.train()?, recipe.augment, recipe.batch)?.shuffled();
        let test = source.test.as_ref().map(|test| loader(test, Augment::none(), TEST_BATCH));
        Ok((train, test.transpose()?))
    }

    /// Where a new run goes. No run is ever written over.
    fn directory(&self, network: &Network) -> Result<PathBuf, Failure> {
        let taken = |path: &Path| RUN.iter().any(|name| path.join(name).exists());
        if let Some(path) = &self.output {
            if taken(path) {
                return Err(Failure::Usage(format!(
                    "{} holds a run: go on with --resume, or choose another --output",
                    path.display()
                )));
            }
            return Ok(path.clone());
        }
        let name = &network.name;
        let first = PathBuf::from("runs").join(name);
        let more = (2..).map(|i| PathBuf::from("runs").join(format!("{name}-{i}")));
        let mut free = std::iter::once(first).chain(more).filter(|path| !taken(path));
        free.next().ok_or_else(|| Failure::failed("there is no free name below runs"))
    }

    fn report(
        &self,
        network: &Network,
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
        let mut text = format!("{} after {}:", network.name, counted(place.epoch));
        if let Some(last) = last {
            let (top1, which) = match last.val_top1 {
                Some(top1) => (top1, "test"),
                None => (last.train_top1, "training"),
            };
            text += &format!(" {:.2} % of the {which} pictures right", 100.0 * top1);
        }
        if let Some(best) = place.best {
            text += &format!(" (best {:.2} %, epoch {})", 100.0 * best.top1, best.epoch);
        }
        print(&format!("{text}, weights in {}", directory.join("best").display()))
    }
}

/// `1 epoch`, `5 epochs`.
fn counted(epochs: u64) -> String {
    format!("{epochs} epoch{}", if epochs == 1 { "" } else { "s" })
}

/// Refuses a preprocessing that does not give what the network reads.
fn check_input(network: &Network, input: &InputSpec) -> Result<(), Failure> {
    let (found, expected) = (input.output(), network.graph.input().chw());
    if found == expected {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the preprocessing of {} gives {found:?}, but the network reads {expected:?}",
        network.name
    )))
}

/// `args.toml`: what the run was begun with.
fn write_args(
    directory: &Path,
    network: &Network,
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
    let args = Args { model: network.mark(), data: &source.name, version, recipe };
    let path = directory.join("args.toml");
    let text = toml::to_string(&args)?;
    Ok(formats::write_atomically(&path, |file| file.write_all(text.as_bytes()))?)
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
