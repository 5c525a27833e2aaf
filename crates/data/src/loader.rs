use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use striate_graph::InputSpec;
use striate_tensor::{Rng, Tensor};

use crate::DataError;
use crate::augment::Augment;
use crate::dataset::{Dataset, Sample};
use crate::preprocess::Preparation;
use crate::resize::resize;

/// The purposes in the keys of the random numbers drawn here.
const SHUFFLE: u64 = u64::from_be_bytes(*b"shuffle ");
const AUGMENT: u64 = u64::from_be_bytes(*b"augment ");

/// How many finished batches each worker holds ready beside the one it prepares.
const AHEAD: usize = 2;

/// Samples of one step of training or testing.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[N, C, H, W]`.
    pub images: Tensor,
    /// N indices of classes.
    pub labels: Vec<u32>,
    /// Which batch of its epoch, from 0.
    pub index: usize,
}

/// Draws the batches of a data set, epoch by epoch. What a batch holds depends on the data, the
/// settings, the seed, the epoch and its index, and on nothing else: not on the number of workers,
/// nor on whether the epoch was begun at its beginning.
#[derive(Clone)]
pub struct Loader {
    dataset: Arc<dyn Dataset>,
    preparation: Preparation,
    augment: Augment,
    batch: usize,
    seed: u64,
    shuffle: bool,
    whole: bool,
    workers: usize,
}

impl Loader {
    /// Batches of `batch` samples in the order of the data set, the last with what remains,
    /// prepared in the caller's thread. [`shuffled`](Loader::shuffled),
    /// [`whole_batches`](Loader::whole_batches) and [`workers`](Loader::workers) say otherwise.
    ///
    /// # Errors
    /// [`DataError::Setting`] if `spec` or `augment` make no sense, `batch` is 0 or a batch would
    /// have more than 2³² values.
    pub fn new(
        dataset: impl Dataset + 'static,
        spec: InputSpec,
        augment: Augment,
        batch: usize,
        seed: u64,
    ) -> Result<Loader, DataError> {
        let preparation = Preparation::new(&spec)?;
        augment.check()?;
        let values = spec.output().into_iter().try_fold(batch, usize::checked_mul);
        if batch == 0 || values.is_none_or(|values| values as u64 > 1 << 32) {
            return Err(DataError::Setting {
                setting: "batch",
                reason: format!("{batch} samples of {:?} values", spec.output()),
            });
        }
        let dataset = Arc::new(dataset);
        let (shuffle, whole, workers) = (false, false, 0);
        Ok(Loader { dataset, preparation, augment, batch, seed, shuffle, whole, workers })
    }

    /// Every epoch in another random order, for training.
    pub fn shuffled(self) -> Loader {
        Loader { shuffle: true, ..self }
    }

    /// Leaves out what remains at the end if it is less than a batch.
    pub fn whole_batches(self) -> Loader {
        Loader { whole: true, ..self }
    }

    /// Prepares batches ahead in that many threads, at most three batches in each; with 0 a batch
    /// is prepared when it is asked for.
    pub fn workers(self, workers: usize) -> Loader {
        Loader { workers, ..self }
    }

    /// How many batches an epoch has.
    pub fn batches(&self) -> usize {
        if self.whole {
            self.dataset.len() / self.batch
        } else {
            self.dataset.len().div_ceil(self.batch)
        }
    }

    /// The most samples a batch has.
    pub fn batch(&self) -> usize {
        self.batch.min(self.dataset.len())
    }

    /// The data set.
    pub fn dataset(&self) -> &dyn Dataset {
        &*self.dataset
    }

    /// How pictures become inputs.
    pub fn spec(&self) -> &InputSpec {
        &self.preparation.spec
    }

    /// The batches of an epoch from number `from_batch` on, both counted from 0. They are those of
    /// the whole epoch, to the bit.
    pub fn epoch(&self, epoch: u64, from_batch: usize) -> Batches {
        let mut order: Vec<usize> = (0..self.dataset.len()).collect();
        if self.shuffle {
            Rng::keyed(self.seed, [SHUFFLE, epoch, 0]).shuffle(&mut order);
        }
        let epoch = Arc::new(Epoch { loader: self.clone(), epoch, order });
        let (next, end) = (from_batch, self.batches());
        let workers = self.workers.min(end.saturating_sub(next));
        let prepared =
            (0..workers).map(|worker| epoch.spawn((next + worker..end).step_by(workers)));
        // Where no more threads are to be had, the caller's does the work.
        let prepared = prepared.collect::<Result<_, _>>().unwrap_or_default();
        Batches { epoch, next, end, prepared, turn: 0 }
    }
}

/// The batches of an epoch, in order. A batch that cannot be prepared is an error, and the next
/// one follows it.
pub struct Batches {
    epoch: Arc<Epoch>,
    next: usize,
    end: usize,
    /// One a worker; batch by batch they take turns.
    prepared: Vec<Receiver<Result<Batch, DataError>>>,
    turn: usize,
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let worker = self.prepared.get(self.turn);
        self.turn = (self.turn + 1) % self.prepared.len().max(1);
        // A worker that is no more has met a panic; here the caller meets the same one.
        let ready = worker.and_then(|batches| batches.recv().ok());
        Some(ready.unwrap_or_else(|| self.epoch.batch(index)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches {}

struct Epoch {
    loader: Loader,
    epoch: u64,
    order: Vec<usize>,
}

impl Epoch {
    /// Starts a thread that prepares the given batches until nobody wants them any more.
    fn spawn(
        self: &Arc<Epoch>,
        mut batches: impl Iterator<Item = usize> + Send + 'static,
    ) -> std::io::Result<Receiver<Result<Batch, DataError>>> {
        let (sender, receiver) = sync_channel(AHEAD);
        let epoch = Arc::clone(self);
        let work = move || {
            // Sending fails once the receiver is dropped.
            batches.try_for_each(|index| sender.send(epoch.batch(index))).ok();
        };
        thread::Builder::new().name("loader".to_owned()).spawn(work)?;
        Ok(receiver)
    }

    fn batch(&self, index: usize) -> Result<Batch, DataError> {
        let Loader { batch, ref preparation, .. } = self.loader;
        let samples = &self.order[index * batch..];
        let samples = &samples[..samples.len().min(batch)];
        let [channels, height, width] = preparation.spec.output();
        let mut images = Tensor::zeros(&[samples.len(), channels, height, width]);
        let inputs = images.data_mut().chunks_exact_mut(channels * height * width);
        let prepare = |(&sample, input): (&usize, &mut [f32])| self.prepare(sample, input);
        let labels = samples.iter().zip(inputs).map(prepare).collect::<Result<_, _>>()?;
        Ok(Batch { images, labels, index })
    }

    /// Writes one sample as an input, and gives its label.
    fn prepare(&self, index: usize, input: &mut [f32]) -> Result<u32, DataError> {
        let Loader { dataset, preparation, augment, seed, .. } = &self.loader;
        let Sample { picture, label } = dataset.sample(index)?;
        let mut rng = Rng::keyed(*seed, [AUGMENT, self.epoch, index as u64]);
        let picture = preparation.ground(Cow::Owned(picture));
        let sized = match &augment.resized_crop {
            Some(crop) => {
                let piece = crop.cut(&picture, &mut rng);
                Cow::Owned(resize(&piece, preparation.spec.crop, preparation.spec.filter)?)
            }
            None => preparation.resize(picture)?,
        };
        let varied = augment.apply(sized, &mut rng);
        let at = augment.moved(preparation.centre(&varied), &mut rng);
        preparation.write(&varied, at, input);
        Ok(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::plain;
    use crate::picture::{Colour, Picture};

    fn spec() -> InputSpec {
        let spec = InputSpec::digits(1, 0.0, 1.0);
        InputSpec {
            resize: striate_graph::Resize::Exact([4, 4]),
            crop: [4, 4],
            scale: 1.0,
            dark_ground: false,
            ..spec
        }
    }

    fn loader(n: usize, batch: usize) -> Loader {
        Loader::new(plain(n), spec(), Augment::none(), batch, 7).unwrap()
    }

    /// The value of each sample, read from its second row (the first is border).
    fn values(batches: Batches) -> Vec<Vec<f32>> {
        let value = |batch: Batch| batch.images.rows().map(|row| row[7]).collect();
        batches.map(|batch| value(batch.unwrap())).collect()
    }

    #[test]
    fn unshuffled_batches_come_in_the_order_of_the_data() {
        let loader = loader(7, 3);
        let expected = [vec![0.0, 1.0, 2.0], vec![3.0, 4.0, 5.0], vec![6.0]];
        assert_eq!(values(loader.epoch(0, 0)), expected);
        assert_eq!(values(loader.clone().whole_batches().epoch(0, 0)), expected[..2]);
        assert_eq!((loader.batches(), loader.clone().whole_batches().batches()), (3, 2));
        assert_eq!([loader.batch(), self::loader(2, 3).batch()], [3, 2]);
        let batch = loader.epoch(0, 1).next().unwrap().unwrap();
        assert_eq!((batch.index, &batch.labels[..]), (1, &[1, 0, 1][..]));
        assert_eq!(batch.images.shape(), [3, 1, 6, 6]);
        assert_eq!(loader.epoch(0, 9).count(), 0);
    }

    #[test]
    fn every_epoch_has_every_sample_once_in_an_order_of_its_own() {
        let loader = loader(50, 8).shuffled();
        let epochs = [0, 1].map(|epoch| values(loader.epoch(epoch, 0)).concat());
        assert_ne!(epochs[0], epochs[1]);
        for mut epoch in epochs {
            epoch.sort_unstable_by(f32::total_cmp);
            assert!(epoch.into_iter().eq((0..50).map(|i| i as f32)));
        }
    }

    #[test]
    fn neither_workers_nor_an_interruption_change_a_bit() {
        let vary = Augment {
            flip: true,
            shift: 2,
            resized_crop: Augment::imagenet().resized_crop,
            affine: Augment::digits().affine,
        };
        let loader = Loader::new(plain(40), spec(), vary, 3, 7).unwrap().shuffled();
        let whole: Vec<Batch> = loader.epoch(5, 0).map(Result::unwrap).collect();
        assert_eq!(whole.len(), 14);
        for workers in [0, 1, 2, 5, 100] {
            for from in [0, 1, 6, 13, 14] {
                let loader = loader.clone().workers(workers);
                let rest: Vec<Batch> = loader.epoch(5, from).map(Result::unwrap).collect();
                assert_eq!(rest, whole[from..], "{workers} workers from batch {from}");
            }
        }
    }

    #[test]
    fn abandoned_workers_let_go_of_the_data() {
        let data = plain(1000);
        let loader = Loader::new(Arc::clone(&data), spec(), Augment::none(), 1, 0).unwrap();
        let mut batches = loader.workers(3).epoch(0, 0);
        batches.next();
        drop(batches);
        while Arc::strong_count(&data) > 1 {
            thread::yield_now();
        }
    }

    /// Its sample 3 cannot be read, its sample 5 is worse.
    struct Broken;

    impl Dataset for Broken {
        fn len(&self) -> usize {
            8
        }

        fn sample(&self, index: usize) -> Result<Sample, DataError> {
            assert_ne!(index, 5, "a bug in a data set");
            if index == 3 {
                return Err(DataError::Index { index, len: 3 });
            }
            let picture = Picture::new([1, 1], Colour::Grey, vec![0])?;
            Ok(Sample { picture, label: 0 })
        }

        fn classes(&self) -> &[String] {
            &[]
        }

        fn digest(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn a_bad_sample_spoils_its_batch_alone() {
        for workers in [0, 2] {
            let loader = Loader::new(Broken, spec(), Augment::none(), 2, 0).unwrap();
            let mut batches = loader.workers(workers).epoch(0, 0);
            assert!(batches.next().unwrap().is_ok());
            assert!(batches.next().unwrap().is_err());
            let panic = std::panic::AssertUnwindSafe(|| batches.next().is_some());
            assert!(std::panic::catch_unwind(panic).is_err());
        }
    }

    #[test]
    fn settings_are_checked() {
        let none = Augment::none;
        assert!(Loader::new(plain(1), spec(), none(), 0, 0).is_err());
        assert!(Loader::new(plain(1), spec(), none(), usize::MAX, 0).is_err());
        assert!(Loader::new(plain(1), spec(), Augment { shift: 1 << 20, ..none() }, 1, 0).is_err());
        let empty = Loader::new(plain(0), spec(), none(), 4, 0).unwrap();
        assert_eq!(empty.workers(2).epoch(0, 0).count(), 0);
    }
}
