use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use striate_graph::{Graph, InputSpec, Naming, Params};
use striate_tensor::View;

use crate::trainer::{EpochReport, Place, Trainer};
use crate::{Data, Lock, Recipe, TrainError};

/// The directory of a run: `last/` and `best/` (each `model.safetensors`, `optimizer.safetensors`,
/// `state.json`), and `log.jsonl`, a line an epoch.
///
/// A checkpoint appears whole or not at all: it is written under another name, synced, and renamed.
/// Whatever moment a run is killed at, [`Checkpoint::open`] finds the last whole one.
pub struct RunDir {
    path: PathBuf,
    model: Model,
    naming: Naming,
    input: InputSpec,
    /// Steps between two checkpoints, if not [`INTERVAL`].
    steps: Option<u64>,
    last: Option<EpochReport>,
    _lock: Lock,
}

/// What a run that is killed loses at most.
const INTERVAL: Duration = Duration::from_secs(600);

/// Which network a run trains: what is needed to build it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its name in the registry, or that of its file.
    pub name: String,
    /// Whether it is that of a file: what it is is stored with its weights then.
    #[serde(default)]
    pub file: bool,
    /// Classes it tells apart.
    pub classes: usize,
    /// Channels, height and width of its input.
    pub input: [usize; 3],
    /// Whether its auxiliary heads are trained.
    #[serde(default)]
    pub heads: bool,
    /// The data it is trained on.
    pub data: Data,
}

/// A run to go on with.
pub struct Checkpoint {
    /// The parameters.
    pub params: Params,
    /// How pictures are prepared.
    pub input: Option<InputSpec>,
    /// The recipe.
    pub recipe: Recipe,
    /// Where in the run it was written.
    pub place: Place,
    /// What the optimizer remembers.
    pub memory: Vec<Vec<f32>>,
}

/// `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    version: u32,
    model: Model,
    recipe: Recipe,
    place: Place,
}

const VERSION: u32 = 2;

/// The largest `state.json`, in bytes: it has some thousand.
pub const MAX_STATE: u64 = 1 << 20;

/// The largest `log.jsonl`, in bytes: an epoch has some hundred.
pub const MAX_LOG: u64 = 64 << 20;

impl RunDir {
    /// The directory that is locked. Lines of the log that belong to epochs after `epochs` are
    /// dropped: they will be written again.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it cannot be written.
    pub fn open(
        path: &Path,
        lock: Lock,
        model: Model,
        naming: Naming,
        input: InputSpec,
        epochs: u64,
    ) -> Result<RunDir, TrainError> {
        let (path, steps, last) = (path.to_owned(), None, None);
        let mut run = RunDir { path, model, naming, input, steps, last, _lock: lock };
        let log = run.log_path();
        let text = match log.exists() {
            true => read(&log, MAX_LOG, "read the log")?,
            false => String::new(),
        };
        let mut kept = String::new();
        for line in text.lines() {
            let report = serde_json::from_str::<EpochReport>(line);
            if let Some(report) = report.ok().filter(|report| report.epoch <= epochs) {
                kept.extend([line, "\n"]);
                run.last = Some(report).filter(|report| report.epoch == epochs);
            }
        }
        if kept != text {
            striate_formats::write_atomically(&log, |file| file.write_all(kept.as_bytes()))?;
        }
        Ok(run)
    }

    /// Writes a checkpoint after so many steps; else one every ten minutes.
    pub fn checkpoint_every(self, steps: Option<u64>) -> RunDir {
        RunDir { steps, ..self }
    }

    /// Whether a checkpoint is to be written after a step, so long after the last one.
    pub(crate) fn is_due(&self, step: u64, since: Duration) -> bool {
        self.steps.map_or(since >= INTERVAL, |steps| step.is_multiple_of(steps))
    }

    /// The line of the log with which the run was opened: that of the last epoch then.
    pub(crate) fn last(&self) -> Option<EpochReport> {
        self.last
    }

    fn log_path(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }

    /// Adds a line to the log.
    pub(crate) fn log(&self, report: &EpochReport) -> Result<(), TrainError> {
        let path = self.log_path();
        let line = serde_json::to_string(report).expect("numbers become JSON") + "\n";
        let file = fs::OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_data()))
            .map_err(io(&path, "write the log"))
    }

    /// Writes `last/`.
    pub(crate) fn save(&self, trainer: &Trainer) -> Result<(), TrainError> {
        self.replace("last", trainer)
    }

    /// Writes `best/`.
    pub(crate) fn save_best(&self, trainer: &Trainer) -> Result<(), TrainError> {
        self.replace("best", trainer)
    }

    /// Puts a new checkpoint in the place of an old one, which stays until the new one is whole.
    fn replace(&self, name: &str, trainer: &Trainer) -> Result<(), TrainError> {
        let place = self.path.join(name);
        let new = self.path.join(format!("{name}.new"));
        let old = self.path.join(format!("{name}.old"));
        clear(&new)?;
        let written = self.write(&new, trainer);
        if let Err(error) = written {
            // The disk may be full: what is half written only takes room.
            let _ = fs::remove_dir_all(&new);
            return Err(error);
        }
        if place.exists() {
            clear(&old)?;
            fs::rename(&place, &old).map_err(io(&place, "set the old checkpoint aside"))?;
        }
        fs::rename(&new, &place).map_err(io(&new, "rename the checkpoint"))?;
        sync(&self.path)?;
        clear(&old)
    }

    fn write(&self, directory: &Path, trainer: &Trainer) -> Result<(), TrainError> {
        fs::create_dir_all(directory).map_err(io(directory, "make the directory"))?;
        let mut metadata = BTreeMap::from([
            (striate_formats::MODEL.to_owned(), self.model.name.clone()),
            (striate_formats::CLASSES.to_owned(), self.model.classes.to_string()),
        ]);
        if self.model.file {
            let network = striate_formats::definition(trainer.graph());
            metadata.insert(striate_formats::NETWORK.to_owned(), network);
        }
        striate_formats::save(
            &directory.join("model.safetensors"),
            trainer.graph(),
            trainer.params(),
            &self.naming,
            Some(&self.input),
            &metadata,
            striate_formats::Dtype::F32,
        )?;
        let shape = [trainer.params().trained().len()];
        let names = trainer.recipe().optimizer.memory();
        let tensors: Vec<(&str, View<'_>)> = names
            .iter()
            .zip(trainer.memory())
            .map(|(name, data)| (*name, View { shape: &shape, data }))
            .collect();
        striate_formats::write_tensors(&directory.join("optimizer.safetensors"), &tensors)?;
        let state = State {
            version: VERSION,
            model: self.model.clone(),
            recipe: trainer.recipe().clone(),
            place: trainer.place().clone(),
        };
        let path = directory.join("state.json");
        let text = serde_json::to_string_pretty(&state).expect("a recipe becomes JSON");
        striate_formats::write_atomically(&path, |file| file.write_all(text.as_bytes()))?;
        sync(directory)
    }
}

impl Checkpoint {
    /// Which network the run in a directory trains.
    ///
    /// # Errors
    /// [`TrainError`] if there is no whole checkpoint.
    pub fn model(run: &Path) -> Result<Model, TrainError> {
        Ok(state(&last(run)?)?.model)
    }

    /// The directory of the last whole checkpoint of a run.
    ///
    /// # Errors
    /// [`TrainError`] if there is none.
    pub fn directory(run: &Path) -> Result<PathBuf, TrainError> {
        last(run)
    }

    /// Reads the last whole checkpoint of a run.
    ///
    /// # Errors
    /// [`TrainError`] if there is none, it is of another network, or a number in it has no meaning.
    pub fn open(run: &Path, graph: &Graph, naming: &Naming) -> Result<Checkpoint, TrainError> {
        let directory = last(run)?;
        let State { recipe, place, .. } = state(&directory)?;
        let malformed = |path: PathBuf, what: String| Err(TrainError::Malformed { path, what });
        let checked = recipe.check().and_then(|()| recipe.check_for(graph));
        if let Err(error) = checked.and_then(|()| place.check(recipe.epochs)) {
            return malformed(directory.join("state.json"), error.to_string());
        }
        let path = directory.join("model.safetensors");
        let loaded = striate_formats::load(&path, graph, naming)?;
        if let Some(tensor) = loaded.not_finite.first() {
            return malformed(path, not_finite(tensor));
        }
        let path = directory.join("optimizer.safetensors");
        let mut tensors = striate_formats::read_tensors(&path)?;
        let mut memory = Vec::new();
        for name in recipe.optimizer.memory() {
            let tensor = tensors.iter_mut().find(|(found, _)| found == name);
            let (_, tensor) = tensor.ok_or_else(|| TrainError::Malformed {
                path: path.clone(),
                what: format!("found no tensor `{name}`, which the optimizer remembers"),
            })?;
            let tensor = std::mem::replace(tensor, striate_tensor::Tensor::zeros(&[0]));
            if !tensor.data().iter().all(|value| value.is_finite()) {
                return malformed(path, not_finite(name));
            }
            memory.push(tensor.into_data());
        }
        Ok(Checkpoint { params: loaded.params, input: loaded.input, recipe, place, memory })
    }
}

fn not_finite(tensor: &str) -> String {
    format!("`{tensor}` holds a NaN or an infinity, expected finite values: begin a new run")
}

/// The last whole checkpoint of a run: `last/`, or what was set aside while it was being replaced.
fn last(run: &Path) -> Result<PathBuf, TrainError> {
    let whole = ["last", "last.old"].map(|name| run.join(name));
    whole.into_iter().find(|path| path.join("state.json").is_file()).ok_or_else(|| {
        TrainError::Malformed {
            path: run.to_owned(),
            what: String::from("found no checkpoint, expected the directory of a run with `last/`"),
        }
    })
}

fn state(directory: &Path) -> Result<State, TrainError> {
    let path = directory.join("state.json");
    let text = read(&path, MAX_STATE, "read the state of the run")?;
    let malformed = |what| TrainError::Malformed { path: path.clone(), what };
    let state: State = serde_json::from_str(&text).map_err(|e| malformed(e.to_string()))?;
    if state.version != VERSION {
        let found = state.version;
        return Err(malformed(format!(
            "found version {found} of a run, expected {VERSION}: go on with the program that began \
             it, or begin a new run with its weights (--weights)"
        )));
    }
    Ok(state)
}

/// A text of at most so many bytes.
fn read(path: &Path, limit: u64, what: &'static str) -> Result<String, TrainError> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(io(path, what))?;
    let read = file.take(limit + 1).read_to_string(&mut text).map_err(io(path, what))?;
    match read as u64 <= limit {
        true => Ok(text),
        false => Err(TrainError::Malformed {
            path: path.to_owned(),
            what: format!("found more than {limit} bytes, expected the file of a run"),
        }),
    }
}

pub(crate) fn io(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::Io { path, what, source }
}

/// Removes a directory, if it is there.
fn clear(path: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(io(path, "remove the old directory")(e))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes renames in a directory last.
fn sync(path: &Path) -> Result<(), TrainError> {
    let synced = fs::File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(io(path, "sync the directory"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::{Observer, Outcome, StepReport};
    use serde_json::{Value, json};
    use striate_data::{Augment, Colour, DataError, Dataset, Loader, Picture, Sample};
    use striate_graph::{Init, Shape};
    use striate_tensor::Rng;

    fn graph() -> Graph {
        Graph::build(Shape::map(1, 28, 28), |x| {
            let x = x.at("conv").conv(3, 2).stride(4).batch_norm().relu();
            x.flatten().at("fc").linear(10)
        })
        .unwrap()
    }

    /// Eight pictures of two classes.
    struct Few;

    impl Dataset for Few {
        fn len(&self) -> usize {
            8
        }

        fn sample(&self, index: usize) -> Result<Sample, DataError> {
            let bytes = (0..784).map(|i| ((i * (index + 3)) % 256) as u8).collect();
            let picture = Picture::new([28, 28], Colour::Grey, bytes)?;
            Ok(Sample { picture, label: index as u32 % 2 })
        }

        fn classes(&self) -> &[String] {
            &[]
        }

        fn digest(&self) -> String {
            String::from("few")
        }
    }

    fn input() -> InputSpec {
        InputSpec::digits(0, 0.0, 1.0)
    }

    fn loader(recipe: &Recipe) -> Result<Loader, DataError> {
        Ok(Loader::new(Few, input(), recipe.augment, recipe.batch, recipe.seed)?.shuffled())
    }

    fn recipe() -> Recipe {
        Recipe { batch: 2, epochs: 3, ..Recipe::of(striate_zoo::Training::Digits) }
    }

    fn trainer() -> Trainer {
        let params = Params::init(&graph(), &Init::KaimingFanIn, &Rng::new(1));
        Trainer::new(&graph(), params, recipe(), 1).unwrap()
    }

    fn run(directory: &Path, epochs: u64) -> RunDir {
        let model = Model {
            name: String::from("tiny"),
            file: false,
            classes: 10,
            input: [1, 28, 28],
            heads: false,
            data: Data::of(String::from("/few"), &Few, None),
        };
        let lock = Lock::take(directory).unwrap();
        RunDir::open(directory, lock, model, Naming::NODES, input(), epochs).unwrap()
    }

    fn open(directory: &Path) -> Result<Checkpoint, TrainError> {
        Checkpoint::open(directory, &graph(), &Naming::NODES)
    }

    /// Says no so many times, then always yes, and counts the steps.
    struct After {
        questions: usize,
        steps: usize,
    }

    impl Observer for After {
        fn step(&mut self, _: &Place, _: u64, _: &StepReport) {
            self.steps += 1;
        }

        fn interrupted(&mut self) -> bool {
            self.questions = self.questions.saturating_sub(1);
            self.questions == 0
        }
    }

    fn after(questions: usize) -> After {
        After { questions, steps: 0 }
    }

    /// A run of the network above, five steps old: one epoch and one batch.
    fn saved(directory: &Path) -> Trainer {
        let (mut trainer, run) = (trainer(), run(directory, 0));
        let train = loader(trainer.recipe()).unwrap();
        let stopped = trainer.fit(&train, None, Some(&run), &mut after(5)).unwrap();
        assert_eq!((stopped, trainer.place().step), (Outcome::Interrupted, 5));
        trainer
    }

    #[test]
    fn what_is_saved_comes_back_whole() {
        let directory = tempfile::tempdir().unwrap();
        let trainer = saved(directory.path());
        let checkpoint = open(directory.path()).unwrap();
        assert_eq!(checkpoint.params, *trainer.params());
        assert_eq!(checkpoint.memory, trainer.memory());
        assert_eq!(
            (checkpoint.place, checkpoint.recipe),
            (trainer.place().clone(), trainer.recipe().clone())
        );
        assert_eq!(Checkpoint::model(directory.path()).unwrap().name, "tiny");
    }

    #[test]
    fn between_two_renames_the_one_set_aside_is_found() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path());
        let path = |name: &str| directory.path().join(name);
        fs::rename(path("last"), path("last.old")).unwrap();
        assert!(open(directory.path()).is_ok());
        fs::remove_dir_all(path("last.old")).unwrap();
        let error = Checkpoint::model(directory.path()).unwrap_err().to_string();
        assert!(error.contains("found no checkpoint"), "{error}");
    }

    /// Goes on with a run for one step.
    fn one_more_step(directory: &Path) -> Result<(), TrainError> {
        let mut trainer = Trainer::resume(&graph(), open(directory)?, 1)?;
        let train = loader(trainer.recipe())?;
        let mut watch = after(1);
        trainer.fit(&train, None, None, &mut watch)?;
        assert_eq!(watch.steps, 1);
        Ok(())
    }

    /// The places of all numbers in a document.
    fn numbers(value: &Value, pointer: &str, found: &mut Vec<String>) {
        match value {
            Value::Number(_) => found.push(pointer.to_owned()),
            Value::Array(values) => values
                .iter()
                .enumerate()
                .for_each(|(i, value)| numbers(value, &format!("{pointer}/{i}"), found)),
            Value::Object(values) => values
                .iter()
                .for_each(|(key, value)| numbers(value, &format!("{pointer}/{key}"), found)),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn nonsense_in_any_field_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path());
        let path = directory.path().join("last/state.json");
        let good: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let try_with = |pointer: &str, value: Value| {
            let mut state = good.clone();
            *state.pointer_mut(pointer).unwrap() = value;
            fs::write(&path, state.to_string()).unwrap();
            one_more_step(directory.path())
        };
        let mut fields = Vec::new();
        numbers(&good, "", &mut fields);
        assert!(fields.len() > 20, "{fields:?}");
        for field in &fields {
            for nonsense in [json!("five"), json!(null), json!([]), json!(-1), json!(-1e30)] {
                // A sum of losses is whatever it is.
                if field != "/place/score/loss" || !nonsense.is_number() {
                    assert!(try_with(field, nonsense.clone()).is_err(), "{field} {nonsense}");
                }
            }
            for large in [json!(1e30), json!(u64::MAX), json!(1u64 << 62), json!(0)] {
                // These may have a meaning; what counts is that nothing panics.
                let _ = try_with(field, large);
            }
        }
        for (field, nonsense) in [
            ("/place/epoch", json!(0)),
            ("/place/epoch", json!(2)),
            ("/place/epoch", json!(4)),
            ("/place/batch", json!(0)),
            ("/place/batch", json!(5)),
            ("/place/step", json!(4)),
            ("/place/step", json!(u64::MAX)),
            ("/place/score/seen", json!(9)),
            ("/place/score/top1", json!(3)),
            ("/place/score/top5", json!(3)),
            ("/place/best", json!(null)),
            ("/place/best/epoch", json!(2)),
            ("/place/best/top1", json!(1.5)),
            ("/recipe/optimizer/sgd/momentum", json!(1)),
            ("/recipe/schedule/warmup", json!(1e30)),
            ("/recipe/schedule/kind/one_cycle/rise", json!(2)),
            ("/recipe/loss/kind/cross_entropy/smoothing", json!(1e30)),
            ("/recipe/epochs", json!(0)),
            ("/recipe/batch", json!(u64::MAX)),
        ] {
            assert!(try_with(field, nonsense.clone()).is_err(), "{field} {nonsense}");
        }
        let error = try_with("/recipe/loss/heads", json!([["aux1", 0.3]])).unwrap_err().to_string();
        assert!(error.contains("state.json") && error.contains("aux1"), "{error}");
        assert!(try_with("/version", json!(1)).unwrap_err().to_string().contains("version 1"));
        try_with("/version", json!(VERSION)).unwrap();
    }

    #[test]
    fn numbers_that_are_not_finite_are_never_read_nor_written() {
        let directory = tempfile::tempdir().unwrap();
        let trainer = saved(directory.path());
        let train = loader(trainer.recipe()).unwrap();
        for name in ["model", "optimizer"] {
            let path = directory.path().join(format!("last/{name}.safetensors"));
            let good = fs::read(&path).unwrap();
            let mut sick = good.clone();
            let end = sick.len();
            sick[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
            fs::write(&path, sick).unwrap();
            let error = one_more_step(directory.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("infinity"), "{error}");
            fs::write(&path, good).unwrap();
        }
        // A first step so large that the weights overflow, while the loss before it is a number.
        let before = fs::read(directory.path().join("last/state.json")).unwrap();
        let mut checkpoint = open(directory.path()).unwrap();
        checkpoint.recipe.schedule.lr = 1e10;
        checkpoint.recipe.decay = 1e30;
        let mut trainer = Trainer::resume(&graph(), checkpoint, 1).unwrap();
        let run = run(directory.path(), 1);
        let error = trainer.fit(&train, None, Some(&run), &mut after(1)).unwrap_err().to_string();
        let expected = ["the weight `conv.weight`", "batch 2 of epoch 2", "--lr"];
        assert!(expected.iter().all(|part| error.contains(part)), "{error}");
        assert_eq!(fs::read(directory.path().join("last/state.json")).unwrap(), before);
        // The same in the last step of an epoch: nothing is logged, no epoch is the best.
        let directory = tempfile::tempdir().unwrap();
        let recipe = Recipe { batch: 8, ..trainer.recipe().clone() };
        let fresh = self::trainer().params().clone();
        let mut trainer = Trainer::new(&graph(), fresh, recipe, 1).unwrap();
        let train = loader(trainer.recipe()).unwrap();
        let run = self::run(directory.path(), 0);
        let error = trainer.fit(&train, None, Some(&run), &mut ()).unwrap_err();
        assert!(matches!(error, TrainError::Diverged { epoch: 1, batch: 1, .. }), "{error}");
        assert_eq!(open(directory.path()).unwrap().place, Place::default());
        assert!(["best", "log.jsonl"].iter().all(|name| !directory.path().join(name).exists()));
    }

    #[test]
    fn a_checkpoint_is_there_before_the_first_step_and_now_and_then() {
        struct Look<'p>(&'p Path, Vec<u64>);
        impl Observer for Look<'_> {
            fn step(&mut self, _: &Place, _: u64, _: &StepReport) {
                self.1.push(open(self.0).unwrap().place.step);
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let (mut trainer, run) = (trainer(), run(directory.path(), 0).checkpoint_every(Some(3)));
        let train = loader(trainer.recipe()).unwrap();
        let mut look = Look(directory.path(), Vec::new());
        trainer.fit(&train, None, Some(&run), &mut look).unwrap();
        // What is on the disk when a step is done: epochs have four.
        assert_eq!(look.1, [0, 0, 0, 3, 4, 4, 6, 6, 8, 9, 9, 9]);
        let run = run.checkpoint_every(None);
        assert!(!run.is_due(3, INTERVAL - Duration::from_nanos(1)) && run.is_due(1, INTERVAL));
    }

    #[test]
    fn stopped_at_any_question_it_ends_the_same() {
        let test = Loader::new(Few, input(), Augment::none(), 3, 0).unwrap();
        let finish = |directory: &Path, trainer: &mut Trainer, questions| {
            let run = run(directory, trainer.place().epoch);
            let train = loader(trainer.recipe()).unwrap();
            trainer.fit(&train, Some(&test), Some(&run), &mut after(questions)).unwrap()
        };
        let log = |directory: &Path| -> Vec<EpochReport> {
            let text = fs::read_to_string(directory.join("log.jsonl")).unwrap();
            let report = |line| EpochReport {
                seconds: 0.0,
                images_per_s: 0.0,
                ..serde_json::from_str(line).unwrap()
            };
            text.lines().map(report).collect()
        };
        let whole = tempfile::tempdir().unwrap();
        let mut unbroken = trainer();
        let end = finish(whole.path(), &mut unbroken, usize::MAX);
        assert!(matches!(end, Outcome::Finished(Some(report)) if report.epoch == 3));
        let rates: Vec<f32> = log(whole.path()).iter().map(|report| report.lr).collect();
        assert_eq!(rates, [3, 7, 11].map(|step| unbroken.recipe().schedule.lr(step, 4, 3)));
        // An epoch asks after four steps and three tests: the fifth question comes in a test.
        for questions in 1..=21 {
            let directory = tempfile::tempdir().unwrap();
            let stopped = finish(directory.path(), &mut trainer(), questions);
            assert_eq!(stopped, Outcome::Interrupted, "{questions}");
            let checkpoint = open(directory.path()).unwrap();
            let done = (questions - 1) % 7 + 1;
            assert_eq!(checkpoint.place.batch, done.min(4) as u64, "{questions}");
            let mut resumed = Trainer::resume(&graph(), checkpoint, 1).unwrap();
            finish(directory.path(), &mut resumed, usize::MAX);
            assert_eq!(resumed.params(), unbroken.params(), "{questions}");
            assert_eq!(log(directory.path()), log(whole.path()), "{questions}");
        }
        // Nothing is left to do: the last report is that of the log.
        let checkpoint = open(whole.path()).unwrap();
        let mut resumed = Trainer::resume(&graph(), checkpoint, 1).unwrap();
        assert_eq!(finish(whole.path(), &mut resumed, 1), end);
    }

    #[test]
    fn lines_of_the_log_are_dropped_only_if_they_will_come_again() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path());
        let path = directory.path().join("log.jsonl");
        let line = fs::read_to_string(&path).unwrap();
        let mut report: EpochReport = serde_json::from_str(&line).unwrap();
        report.epoch = 2;
        let second = serde_json::to_string(&report).unwrap() + "\n";
        fs::write(&path, format!("{line}{second}{{\"epoch\":3,")).unwrap();
        assert_eq!(run(directory.path(), 1).last().map(|report| report.epoch), Some(1));
        assert_eq!(fs::read_to_string(&path).unwrap(), line);
        // With nothing to drop it stays the same file: what is added shows under its other name.
        let other = directory.path().join("other");
        fs::hard_link(&path, &other).unwrap();
        run(directory.path(), 1).log(&report).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), line.clone() + &second);
        // What is dropped is dropped from a new file, put in the place of the old one.
        run(directory.path(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), line);
        assert_eq!(fs::read_to_string(&other).unwrap(), line + &second);
    }

    #[test]
    fn a_damaged_state_is_an_error_or_another_state() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path());
        let path = directory.path().join("last/state.json");
        let good = fs::read(&path).unwrap();
        let try_with = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            one_more_step(directory.path()).is_ok()
        };
        for end in 0..good.len() {
            assert!(!try_with(&good[..end]), "the first {end} bytes are no state");
        }
        let mut rng = Rng::new(1);
        for _ in 0..300 {
            let mut bytes = good.clone();
            let at = rng.below(bytes.len());
            bytes[at] ^= 1 << rng.below(8);
            try_with(&bytes);
        }
        assert!(try_with(&good));
    }
}
