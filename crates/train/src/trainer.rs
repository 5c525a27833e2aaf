use std::time::Instant;

use serde::{Deserialize, Serialize};
use striate_data::{Batch, Loader};
use striate_exec::{Backend, Native, Options};
use striate_graph::{Graph, Params};
use striate_tensor::Rng;

use crate::backward::Gradients;
use crate::checkpoint::{Checkpoint, RunDir};
use crate::evaluate::evaluate_until;
use crate::network::Network;
use crate::{Recipe, Score, TrainError};

/// Trains one network by one recipe.
pub struct Trainer {
    network: Network,
    gradients: Gradients,
    params: Params,
    dparams: Vec<f32>,
    memory: Vec<Vec<f32>>,
    recipe: Recipe,
    place: Place,
}

/// Where in a run one is: with the parameters and the optimizer's memory, all that is needed to go
/// on as if never stopped. Random numbers come from counters and leave nothing to store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Epochs that are finished.
    pub epoch: u64,
    /// Batches of the current epoch that are finished.
    pub batch: u64,
    /// Steps since the beginning.
    pub step: u64,
    /// How the pictures of the current epoch were told apart so far.
    pub score: Score,
    /// Seconds spent in the current epoch so far.
    pub seconds: f64,
    /// The best epoch so far.
    pub best: Option<Best>,
}

/// The epoch with the highest top-1 on the test set, the first of equals; without a test set on the
/// training pictures as they came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Counted from 1.
    pub epoch: u64,
    /// Share of the pictures.
    pub top1: f64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// How the pictures of the batch were told apart, before the step.
    pub score: Score,
    /// The learning rate.
    pub lr: f32,
}

/// What an epoch did: a line of `log.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: u64,
    /// The learning rate of the last step.
    pub lr: f32,
    /// Mean loss over the training pictures, as they came.
    pub train_loss: f64,
    /// Share of the training pictures told right, as they came.
    pub train_top1: f64,
    /// Mean loss over the test pictures.
    pub val_loss: Option<f64>,
    /// Share of the test pictures whose best class is the label.
    pub val_top1: Option<f64>,
    /// Share of the test pictures whose label is among the best five.
    pub val_top5: Option<f64>,
    /// Training pictures a second.
    pub images_per_s: f64,
    /// Seconds of training, testing not counted.
    pub seconds: f64,
}

/// Who follows a run: a progress bar, a test, nobody.
pub trait Observer {
    /// After each step.
    fn step(&mut self, _place: &Place, _batches: u64, _step: &StepReport) {}
    /// After each epoch, when it is written down.
    fn epoch(&mut self, _report: &EpochReport) {}
    /// Asked after each step and each batch that is tested: whether to write a checkpoint and stop.
    fn interrupted(&mut self) -> bool {
        false
    }
}

impl Observer for () {}

/// The most steps of a run: the schedule counts them in f64.
const MOST_STEPS: u64 = 1 << 53;

impl Place {
    /// Refuses what no run of so many epochs comes by, whatever its data.
    pub(crate) fn check(&self, epochs: u64) -> Result<(), TrainError> {
        let Place { epoch, batch, step, score, seconds, best } = self;
        let Score { loss, top1, top5, seen } = *score;
        let wrong = |what: String| Err(TrainError::Place(what));
        if *epoch > epochs || *batch > *step || *step > MOST_STEPS {
            return wrong(format!(
                "found {step} steps, {epoch} epochs and {batch} batches, expected at most {epochs} \
                 epochs"
            ));
        }
        if !loss.is_finite() || top1 > top5 || top5 > seen {
            return wrong(format!(
                "found {top1} and {top5} of {seen} pictures right and a loss of {loss}"
            ));
        }
        if !(seconds.is_finite() && *seconds >= 0.0) {
            return wrong(format!("found {seconds} seconds, expected a finite number from 0"));
        }
        match best {
            None if *epoch == 0 => Ok(()),
            Some(best) if best.is_of(*epoch) => Ok(()),
            Some(_) | None => wrong(format!("found {best:?} as the best of {epoch} epochs")),
        }
    }
}

impl Best {
    fn is_of(&self, epochs: u64) -> bool {
        (1..=epochs).contains(&self.epoch) && (0.0..=1.0).contains(&self.top1)
    }
}

/// How [`Trainer::fit`] ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs are done; the last one's report, from the log if nothing was left to do.
    Finished(Option<EpochReport>),
    /// The observer asked to stop; the checkpoint is written.
    Interrupted,
}

impl Trainer {
    /// Starts from given parameters. `threads` 0 is all cores.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] if a batch, a head or a rate has no meaning for this network.
    pub fn new(
        graph: &Graph,
        params: Params,
        recipe: Recipe,
        threads: usize,
    ) -> Result<Trainer, TrainError> {
        let memory = recipe.optimizer.memory().iter().map(|_| vec![0.0; params.trained().len()]);
        let memory = memory.collect();
        Trainer::at(graph, params, recipe, memory, Place::default(), threads)
    }

    /// Goes on from a checkpoint, to the bit as if never stopped.
    ///
    /// # Errors
    /// [`TrainError`] if the checkpoint is not of this network.
    pub fn resume(
        graph: &Graph,
        checkpoint: Checkpoint,
        threads: usize,
    ) -> Result<Trainer, TrainError> {
        let Checkpoint { params, recipe, place, memory, .. } = checkpoint;
        Trainer::at(graph, params, recipe, memory, place, threads)
    }

    fn at(
        graph: &Graph,
        params: Params,
        recipe: Recipe,
        memory: Vec<Vec<f32>>,
        place: Place,
        threads: usize,
    ) -> Result<Trainer, TrainError> {
        check(graph, &params, &recipe)?;
        place.check(recipe.epochs)?;
        let trained = params.trained().len();
        if memory.len() != recipe.optimizer.memory().len()
            || memory.iter().any(|m| m.len() != trained)
        {
            return Err(TrainError::Recipe(String::from(
                "the optimizer's memory is not that of this network and optimizer",
            )));
        }
        let threads = Options { threads, ..Options::default() }.thread_count()?;
        Ok(Trainer {
            network: Network::new(graph, recipe.batch, threads),
            gradients: Gradients::default(),
            dparams: vec![0.0; trained],
            params,
            memory,
            recipe,
            place,
        })
    }

    /// The parameters as they are now.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.network.graph
    }

    /// Where in the run one is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What the optimizer remembers, in the order of [`Optimizer::memory`](crate::Optimizer).
    pub(crate) fn memory(&self) -> &[Vec<f32>] {
        &self.memory
    }

    /// Gradients of the trained parameters after the last step, in their order.
    pub fn gradient(&self) -> &[f32] {
        &self.dparams
    }

    /// One step on one batch with this learning rate.
    ///
    /// # Errors
    /// [`TrainError::Batch`] if the batch does not fit the network, [`TrainError::Diverged`] if the
    /// loss is not a number.
    pub fn step(&mut self, batch: &Batch, lr: f32) -> Result<StepReport, TrainError> {
        self.check_batch(batch)?;
        let rng = Rng::new(self.recipe.seed);
        let (network, params) = (&mut self.network, &mut self.params);
        network.forward(params, batch.images.data(), &rng, self.place.step);
        let mut score = Score::default();
        let mut outputs = Vec::new();
        for (i, output) in network.graph.outputs().iter().enumerate() {
            let weight = match self.recipe.loss.heads.iter().find(|head| head.0 == output.name) {
                _ if i == 0 => 1.0,
                Some((_, weight)) => *weight,
                None => continue,
            };
            let y = network.value(output.node);
            let mut gradient = self.gradients.buffer(y.len());
            let kind = self.recipe.loss.kind;
            let head = kind.score(y, &batch.labels, weight, &mut gradient);
            if i == 0 {
                score = head;
            } else {
                score.loss += f64::from(weight) * head.loss;
            }
            outputs.push((output.node, gradient));
        }
        if !score.loss.is_finite() {
            let Place { epoch, batch, .. } = self.place;
            let what = String::from("the loss");
            return Err(TrainError::Diverged { what, epoch: epoch + 1, batch: batch + 1, lr });
        }
        network.backward(params, outputs, &mut self.gradients, &mut self.dparams);
        self.place.step += 1;
        self.recipe.optimizer.step(
            self.place.step,
            lr,
            self.recipe.decay,
            self.params.trained_mut(),
            &self.dparams,
            &mut self.memory,
        );
        Ok(StepReport { score, lr })
    }

    /// Trains to the end of the recipe, from wherever it is. With a `run` directory the log is
    /// written there, and a checkpoint before the first step, now and then, after each epoch and
    /// when interrupted.
    ///
    /// # Errors
    /// [`TrainError`] if data cannot be read, a number is not finite any more, a checkpoint cannot
    /// be written or the run is nowhere in these data; the last good checkpoint stays.
    pub fn fit(
        &mut self,
        train: &Loader,
        test: Option<&Loader>,
        run: Option<&RunDir>,
        watch: &mut dyn Observer,
    ) -> Result<Outcome, TrainError> {
        let batches = train.batches() as u64;
        if batches == 0 {
            return Err(TrainError::Recipe(String::from("there is no picture to train on")));
        }
        self.check_place(train)?;
        if self.place.step == 0 {
            self.save(run)?;
        }
        let mut saved = Instant::now();
        let mut last = run.and_then(RunDir::last);
        while self.place.epoch < self.recipe.epochs {
            let (epoch, from) = (self.place.epoch, self.place.batch as usize);
            for batch in train.epoch(epoch, from) {
                let started = Instant::now();
                let lr = self.rate(self.place.step, batches);
                let report = self.step(&batch?, lr)?;
                self.place.batch += 1;
                self.place.score.add(report.score);
                self.place.seconds += started.elapsed().as_secs_f64();
                watch.step(&self.place, batches, &report);
                if watch.interrupted() {
                    return self.save(run).map(|()| Outcome::Interrupted);
                }
                if run.is_some_and(|run| run.is_due(self.place.step, saved.elapsed())) {
                    self.save(run)?;
                    saved = Instant::now();
                }
            }
            let lr = self.rate(self.place.step - 1, batches);
            self.check_finite(lr)?;
            let mut tested = None;
            if let Some(test) = test {
                tested = self.test(test, &mut || watch.interrupted())?;
                if tested.is_none() {
                    return self.save(run).map(|()| Outcome::Interrupted);
                }
            }
            let report = self.end_epoch(lr, tested);
            if let Some(run) = run {
                run.log(&report)?;
                if self.place.best.is_some_and(|best| best.epoch == report.epoch) {
                    run.save_best(self)?;
                }
                run.save(self)?;
            }
            watch.epoch(&report);
            last = Some(report);
        }
        Ok(Outcome::Finished(last))
    }

    /// The learning rate of a step.
    fn rate(&self, step: u64, batches: u64) -> f32 {
        self.recipe.schedule.lr(step, batches, self.recipe.epochs)
    }

    /// Refuses a place that training on these pictures does not come by.
    fn check_place(&self, train: &Loader) -> Result<(), TrainError> {
        let (batches, pictures) = (train.batches() as u64, train.dataset().len() as u64);
        let Place { epoch, batch, step, score, .. } = &self.place;
        let expected = epoch.checked_mul(batches).and_then(|before| before.checked_add(*batch));
        if *batch > batches || expected != Some(*step) {
            return Err(TrainError::Place(format!(
                "found {step} steps, {epoch} epochs and {batch} batches, expected epochs of \
                 {batches} batches"
            )));
        }
        if score.seen > pictures {
            let seen = score.seen;
            return Err(TrainError::Place(format!(
                "found {seen} pictures seen in an epoch, expected at most {pictures}"
            )));
        }
        Ok(())
    }

    /// Refuses numbers with which training cannot go on: they must never take the place of a good
    /// checkpoint.
    fn check_finite(&self, lr: f32) -> Result<(), TrainError> {
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let weight = self.params.iter().find(|(_, values)| !finite(values));
        let what = match weight {
            Some((param, _)) => format!("the weight `{}`", param.name),
            None if self.memory.iter().all(|memory| finite(memory)) => return Ok(()),
            None => String::from("what the optimizer remembers"),
        };
        let Place { epoch, batch, .. } = self.place;
        Err(TrainError::Diverged { what, epoch: epoch + 1, batch, lr })
    }

    /// Writes the checkpoint of a run, if there is a run.
    fn save(&self, run: Option<&RunDir>) -> Result<(), TrainError> {
        let Some(run) = run else { return Ok(()) };
        self.check_finite(self.recipe.schedule.lr)?;
        run.save(self)
    }

    /// Writes down how an epoch went and begins the next.
    fn end_epoch(&mut self, lr: f32, tested: Option<Score>) -> EpochReport {
        let Place { epoch, score, seconds, best, .. } = self.place.clone();
        let epoch = epoch + 1;
        let top1 = tested.map_or(score.top1(), |tested| tested.top1());
        let best = match best {
            Some(best) if best.top1 >= top1 => best,
            Some(_) | None => Best { epoch, top1 },
        };
        self.place = Place { epoch, step: self.place.step, best: Some(best), ..Place::default() };
        EpochReport {
            epoch,
            lr,
            train_loss: score.mean_loss(),
            train_top1: score.top1(),
            val_loss: tested.map(|tested| tested.mean_loss()),
            val_top1: tested.map(|tested| tested.top1()),
            val_top5: tested.map(|tested| tested.top5()),
            images_per_s: score.seen as f64 / seconds.max(1e-9),
            seconds,
        }
    }

    /// How the network as it is now tells the pictures of a test set apart; nothing if it is
    /// interrupted.
    fn test(
        &self,
        test: &Loader,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Score>, TrainError> {
        let options = Options {
            batch: test.batch(),
            threads: self.network.threads.count(),
            ..Options::default()
        };
        let logits = self.graph().outputs()[0].node;
        let inference = self.graph().prune(&[logits]);
        // The inference network has no auxiliary heads, so their parameters stay behind.
        let mut params = Params::zeros(&inference);
        for param in std::sync::Arc::clone(params.layout()).params() {
            if let (Some(to), Some(from)) =
                (params.get_mut(&param.name), self.params.get(&param.name))
            {
                to.copy_from_slice(from.data);
            }
        }
        let mut network = Native::default().compile(&inference, &params, &options)?;
        evaluate_until(network.as_mut(), test, self.recipe.loss.kind, interrupted)
    }

    fn check_batch(&self, batch: &Batch) -> Result<(), TrainError> {
        let expected = self.graph().input().batched(batch.labels.len());
        if batch.images.shape() != expected {
            return Err(TrainError::Batch(format!(
                "found pictures of shape {:?}, expected {expected:?}",
                batch.images.shape()
            )));
        }
        if batch.labels.is_empty() || batch.labels.len() > self.recipe.batch {
            return Err(TrainError::Batch(format!(
                "found {} pictures, expected 1 to {}",
                batch.labels.len(),
                self.recipe.batch
            )));
        }
        let classes = self.graph().classes();
        match batch.labels.iter().find(|&&label| label as usize >= classes) {
            Some(label) => Err(TrainError::Batch(format!(
                "found the label {label}, expected one below {classes}: train with --classes"
            ))),
            None => Ok(()),
        }
    }
}

/// Refuses a recipe that has no meaning for the network.
fn check(graph: &Graph, params: &Params, recipe: &Recipe) -> Result<(), TrainError> {
    let fail = |what: String| Err(TrainError::Recipe(what));
    if **params.layout() != graph.layout() {
        return fail(String::from("the parameters are of another network"));
    }
    recipe.check()?;
    recipe.check_for(graph)?;
    // Every value is kept, and its gradient beside it. Asked for at once and given back, so that
    // what cannot be had is an error here.
    let volume: usize = graph.nodes().iter().map(|node| node.shape.volume()).sum();
    let values = volume.checked_mul(2).and_then(|values| values.checked_mul(recipe.batch));
    if values.is_none_or(|values| Vec::<f32>::new().try_reserve_exact(values).is_err()) {
        return fail(format!(
            "a batch of {} pictures takes more memory than there is",
            recipe.batch
        ));
    }
    Ok(())
}
