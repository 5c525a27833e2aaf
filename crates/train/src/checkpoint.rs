use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use striate_graph::{Graph, InputSpec, Naming, Params};
use striate_tensor::View;

use crate::trainer::{EpochReport, Place, Trainer};
use crate::{Recipe, TrainError};

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
}

/// Which network a run trains: what is needed to build it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its name in the registry.
    pub name: String,
    /// Classes it tells apart.
    pub classes: usize,
    /// Channels, height and width of its input.
    pub input: [usize; 3],
    /// Whether its auxiliary heads are trained.
    #[serde(default)]
    pub heads: bool,
    /// The data it is trained on: a name, or a folder.
    pub data: String,
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

const VERSION: u32 = 1;

impl RunDir {
    /// Makes the directory, if it is not there. Lines of the log that belong to epochs after
    /// `epochs` are dropped: they will be written again.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it cannot be written.
    pub fn open(
        path: &Path,
        model: Model,
        naming: Naming,
        input: InputSpec,
        epochs: u64,
    ) -> Result<RunDir, TrainError> {
        fs::create_dir_all(path).map_err(io(path, "make the directory"))?;
        let run = RunDir { path: path.to_owned(), model, naming, input };
        let log = run.log_path();
        let text = match fs::read_to_string(&log) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(io(&log, "read the log")(e)),
        };
        let earlier = |line: &&str| {
            serde_json::from_str::<EpochReport>(line).is_ok_and(|report| report.epoch <= epochs)
        };
        let kept: String = text.lines().filter(earlier).flat_map(|line| [line, "\n"]).collect();
        fs::write(&log, kept).map_err(io(&log, "write the log"))?;
        Ok(run)
    }

    fn log_path(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }

    /// Adds a line to the log.
    pub(crate) fn log(&self, report: &EpochReport) -> Result<(), TrainError> {
        let path = self.log_path();
        let line = serde_json::to_string(report).expect("numbers become JSON") + "\n";
        let file = fs::OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
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
        let metadata = BTreeMap::from([
            (striate_formats::MODEL.to_owned(), self.model.name.clone()),
            (striate_formats::CLASSES.to_owned(), self.model.classes.to_string()),
        ]);
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

    /// Reads the last whole checkpoint of a run.
    ///
    /// # Errors
    /// [`TrainError`] if there is none, or it is of another network.
    pub fn open(run: &Path, graph: &Graph, naming: &Naming) -> Result<Checkpoint, TrainError> {
        let directory = last(run)?;
        let State { recipe, place, .. } = state(&directory)?;
        let loaded = striate_formats::load(&directory.join("model.safetensors"), graph, naming)?;
        let path = directory.join("optimizer.safetensors");
        let mut tensors = striate_formats::read_tensors(&path)?;
        let mut memory = Vec::new();
        for name in recipe.optimizer.memory() {
            let tensor = tensors.iter_mut().find(|(found, _)| found == name);
            let (_, tensor) = tensor.ok_or_else(|| TrainError::Malformed {
                path: path.clone(),
                what: format!("found no tensor `{name}`, which the optimizer remembers"),
            })?;
            memory.push(std::mem::replace(tensor, striate_tensor::Tensor::zeros(&[0])).into_data());
        }
        Ok(Checkpoint { params: loaded.params, input: loaded.input, recipe, place, memory })
    }
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
    let text = fs::read_to_string(&path).map_err(io(&path, "read the state of the run"))?;
    let malformed = |what| TrainError::Malformed { path: path.clone(), what };
    let state: State = serde_json::from_str(&text).map_err(|e| malformed(e.to_string()))?;
    if state.version != VERSION {
        let found = state.version;
        return Err(malformed(format!("found version {found} of a run, expected {VERSION}")));
    }
    Ok(state)
}

fn io(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> TrainError {
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
    use striate_graph::{Init, Shape};
    use striate_tensor::{Rng, Tensor};

    fn graph() -> Graph {
        Graph::build(Shape::map(1, 28, 28), |x| {
            let x = x.at("conv").conv(3, 2).stride(4).batch_norm().relu();
            x.flatten().at("fc").linear(10)
        })
        .unwrap()
    }

    /// A run of the network above, one step old.
    fn saved(directory: &Path) -> (RunDir, Trainer) {
        let model = Model {
            name: String::from("tiny"),
            classes: 10,
            input: [1, 28, 28],
            heads: false,
            data: String::from("mnist"),
        };
        let input = InputSpec::digits(0, 0.0, 1.0);
        let run = RunDir::open(directory, model, Naming::NODES, input, 0).unwrap();
        let params = Params::init(&graph(), &Init::KaimingFanIn, &Rng::new(1));
        let mut trainer = Trainer::new(&graph(), params, Recipe::of("lenet5"), 1).unwrap();
        let images = Tensor::new(&[2, 1, 28, 28], (0..1568).map(|i| (i % 7) as f32).collect());
        let batch = striate_data::Batch { images: images.unwrap(), labels: vec![3, 9], index: 0 };
        trainer.step(&batch, 0.1).unwrap();
        run.save(&trainer).unwrap();
        (run, trainer)
    }

    #[test]
    fn what_is_saved_comes_back_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (_, trainer) = saved(directory.path());
        let checkpoint = Checkpoint::open(directory.path(), &graph(), &Naming::NODES).unwrap();
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
        assert!(Checkpoint::open(directory.path(), &graph(), &Naming::NODES).is_ok());
        fs::remove_dir_all(path("last.old")).unwrap();
        let error = Checkpoint::model(directory.path()).unwrap_err().to_string();
        assert!(error.contains("found no checkpoint"), "{error}");
    }

    #[test]
    fn a_damaged_state_is_an_error_or_another_state() {
        let directory = tempfile::tempdir().unwrap();
        saved(directory.path());
        let path = directory.path().join("last/state.json");
        let good = fs::read(&path).unwrap();
        let try_with = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let checkpoint = Checkpoint::open(directory.path(), &graph(), &Naming::NODES);
            checkpoint.and_then(|checkpoint| Trainer::resume(&graph(), checkpoint, 1)).is_ok()
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
