use serde::{Deserialize, Serialize};
use striate_data::Augment;
use striate_graph::Graph;
use striate_zoo::Training;

use crate::{Loss, LossKind, Optimizer, Schedule, ScheduleKind, TrainError};

/// All that decides a run besides the network and the data. Two runs of one recipe on the same
/// data give the same weights, to the bit, on any number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// What is made small.
    pub loss: Loss,
    /// How parameters move.
    pub optimizer: Optimizer,
    /// How fast.
    pub schedule: Schedule,
    /// Weight decay, on everything that is trained.
    pub decay: f32,
    /// Pictures a step.
    pub batch: usize,
    /// Passes over the training set.
    pub epochs: u64,
    /// Of the first weights, the order of the pictures, distortions and dropout.
    pub seed: u64,
    /// Distortions of the training pictures.
    pub augment: Augment,
}

/// Which numbers have a meaning, and what they are called.
type Meaningful = (fn(f32) -> bool, &'static str);

const POSITIVE: Meaningful = (|x| x > 0.0 && x.is_finite(), "a finite number above 0");
const NOT_NEGATIVE: Meaningful = (|x| x >= 0.0 && x.is_finite(), "a finite number from 0");
const SHARE: Meaningful = (|x| (0.0..1.0).contains(&x), "a number from 0 to below 1");

impl Recipe {
    /// What suits a network: its paper's recipe as far as one machine can follow it.
    pub fn of(training: Training) -> Recipe {
        match training {
            Training::Digits => Recipe::digits(),
            Training::Codes => Recipe::codes(),
            Training::AlexNet => Recipe::alexnet(),
            Training::Vgg => Recipe { batch: 256, epochs: 74, ..Recipe::alexnet() },
            Training::GoogLeNet => Recipe::googlenet(),
            Training::ResNet => Recipe::resnet(),
            Training::Cifar => Recipe::cifar(),
        }
    }

    /// Refuses values that have no meaning for any network.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] with the value and what it should be.
    pub fn check(&self) -> Result<(), TrainError> {
        let fail = |what: String| Err(TrainError::Recipe(what));
        let Schedule { lr, kind, warmup } = self.schedule;
        let mut numbers = vec![
            ("learning rate", lr, POSITIVE),
            ("warm-up in epochs", warmup, NOT_NEGATIVE),
            ("weight decay", self.decay, NOT_NEGATIVE),
        ];
        match self.optimizer {
            Optimizer::Sgd { momentum, .. } => numbers.push(("momentum", momentum, SHARE)),
            Optimizer::Adam { beta1, beta2, eps } | Optimizer::AdamW { beta1, beta2, eps } => {
                numbers.extend([("beta1", beta1, SHARE), ("beta2", beta2, SHARE)]);
                numbers.push(("eps", eps, POSITIVE));
            }
        }
        match kind {
            ScheduleKind::Constant | ScheduleKind::Cosine => {}
            ScheduleKind::Step { factor, .. } => {
                numbers.push(("factor of the learning rate", factor, POSITIVE));
            }
            ScheduleKind::OneCycle { rise } => numbers.push(("rise of the cycle", rise, SHARE)),
        }
        numbers.push(match self.loss.kind {
            LossKind::CrossEntropy { smoothing } => ("label smoothing", smoothing, SHARE),
            LossKind::Discriminative { rubbish } => ("rubbish distance", rubbish, NOT_NEGATIVE),
        });
        let heads = self.loss.heads.iter();
        numbers.extend(heads.map(|(_, weight)| ("weight of a head", *weight, NOT_NEGATIVE)));
        for (what, value, (fits, expected)) in numbers {
            if !fits(value) {
                return fail(format!("{what}: found {value}, expected {expected}"));
            }
        }
        if self.batch == 0 || self.epochs == 0 {
            let (batch, epochs) = (self.batch, self.epochs);
            return fail(format!(
                "found {epochs} epochs of batches of {batch} pictures, expected at least 1 of each"
            ));
        }
        if f64::from(warmup) > self.epochs as f64 {
            return fail(format!(
                "warm-up in epochs: found {warmup}, expected no more than the {} of the run",
                self.epochs
            ));
        }
        Ok(())
    }

    /// Refuses a network that this recipe cannot train.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] if the loss is not that of its output, or a head is missing.
    pub(crate) fn check_for(&self, graph: &Graph) -> Result<(), TrainError> {
        let fail = |what: String| Err(TrainError::Recipe(what));
        if graph.smallest_wins() != self.loss.kind.smallest_wins() {
            return fail(format!(
                "the loss {:?} does not fit a network that ends in {}",
                self.loss.kind,
                if graph.smallest_wins() { "distances" } else { "scores" }
            ));
        }
        let heads: Vec<&str> = graph.outputs().iter().skip(1).map(|o| o.name.as_str()).collect();
        match self.loss.heads.iter().find(|(name, _)| !heads.contains(&name.as_str())) {
            Some((name, _)) => fail(format!("found the head `{name}`, the network has {heads:?}")),
            None => Ok(()),
        }
    }

    fn digits() -> Recipe {
        Recipe {
            loss: Loss::cross_entropy(),
            optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: true },
            schedule: Schedule {
                lr: 0.06,
                kind: ScheduleKind::OneCycle { rise: 0.2 },
                warmup: 0.0,
            },
            decay: 1e-4,
            batch: 64,
            epochs: 10,
            seed: 1,
            augment: Augment::none(),
        }
    }

    /// The paper's loss on the paper's network. The paper trains with a stochastic diagonal
    /// Levenberg-Marquardt method (§III and appendix C); gradient descent with momentum stands here.
    fn codes() -> Recipe {
        let kind = LossKind::Discriminative { rubbish: 2.0 };
        let loss = Loss { kind, heads: Vec::new() };
        // A distance over 84 values has a gradient some fifty times that of a score.
        let schedule = Schedule { lr: 0.002, ..Recipe::digits().schedule };
        Recipe { loss, schedule, ..Recipe::digits() }
    }

    /// Krizhevsky et al. 2012, §5: the rate divided by 10 three times in 90 epochs.
    fn alexnet() -> Recipe {
        Recipe {
            loss: Loss::cross_entropy(),
            optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: false },
            schedule: Schedule {
                lr: 0.01,
                kind: ScheduleKind::Step { every: 23, factor: 0.1 },
                warmup: 0.0,
            },
            decay: 5e-4,
            batch: 128,
            epochs: 90,
            seed: 1,
            // Random pieces of the picture, and mirrors.
            augment: Augment { flip: true, shift: 14, ..Augment::none() },
        }
    }

    /// Szegedy et al. 2014, §5 and §6.
    fn googlenet() -> Recipe {
        let heads = vec![(String::from("aux1"), 0.3), (String::from("aux2"), 0.3)];
        let loss = Loss { heads, ..Loss::cross_entropy() };
        let augment = Augment::imagenet();
        Recipe { loss, decay: 2e-4, batch: 32, augment, ..Recipe::alexnet() }
    }

    /// He et al. 2015, §3.4, in the 90 epochs of fb.resnet.torch.
    fn resnet() -> Recipe {
        Recipe {
            schedule: Schedule {
                lr: 0.1,
                kind: ScheduleKind::Step { every: 30, factor: 0.1 },
                warmup: 0.0,
            },
            decay: 1e-4,
            batch: 256,
            augment: Augment::imagenet(),
            ..Recipe::alexnet()
        }
    }

    /// He et al. 2015, §4.2: 64,000 steps of 128, divided at 32,000 and 48,000.
    fn cifar() -> Recipe {
        Recipe {
            schedule: Schedule {
                lr: 0.1,
                kind: ScheduleKind::Step { every: 82, factor: 0.1 },
                warmup: 0.0,
            },
            batch: 128,
            epochs: 164,
            augment: Augment::cifar(),
            ..Recipe::resnet()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use striate_graph::Shape;

    #[test]
    fn numbers_without_meaning_are_refused() {
        let good = Recipe::digits();
        assert!(good.check().is_ok());
        let schedule = good.schedule;
        let bad = |x: f32| {
            let adam = |beta1, beta2, eps| Optimizer::Adam { beta1, beta2, eps };
            let kind = |kind| Schedule { kind, ..schedule };
            let loss = |kind| Loss { kind, heads: Vec::new() };
            let heads = vec![(String::from("aux1"), x)];
            [
                Recipe { decay: x, ..good.clone() },
                Recipe { schedule: Schedule { lr: x, ..schedule }, ..good.clone() },
                Recipe { schedule: Schedule { warmup: x, ..schedule }, ..good.clone() },
                Recipe {
                    schedule: kind(ScheduleKind::Step { every: 1, factor: x }),
                    ..good.clone()
                },
                Recipe { schedule: kind(ScheduleKind::OneCycle { rise: x }), ..good.clone() },
                Recipe {
                    optimizer: Optimizer::Sgd { momentum: x, nesterov: true },
                    ..good.clone()
                },
                Recipe { optimizer: adam(x, 0.9, 1e-8), ..good.clone() },
                Recipe { optimizer: adam(0.9, x, 1e-8), ..good.clone() },
                Recipe { optimizer: adam(0.9, 0.9, x), ..good.clone() },
                Recipe { loss: loss(LossKind::CrossEntropy { smoothing: x }), ..good.clone() },
                Recipe { loss: loss(LossKind::Discriminative { rubbish: x }), ..good.clone() },
                Recipe { loss: Loss { heads, ..Loss::cross_entropy() }, ..good.clone() },
            ]
        };
        for x in [-1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for recipe in bad(x) {
                let error = recipe.check().expect_err("no such number").to_string();
                assert!(error.contains(&format!("found {x}, expected")), "{error}");
            }
        }
        let long = Recipe { schedule: Schedule { warmup: 11.0, ..schedule }, ..good.clone() };
        assert!(long.check().unwrap_err().to_string().contains("warm-up"));
        assert!(Recipe { batch: 0, ..good.clone() }.check().is_err());
        assert!(Recipe { epochs: 0, ..good }.check().is_err());
    }

    #[test]
    fn every_network_has_a_recipe_that_fits() {
        for entry in striate_zoo::all() {
            let recipe = Recipe::of(entry.training);
            let heads = !recipe.loss.heads.is_empty();
            let graph = entry.build(&striate_zoo::Config { heads, ..entry.config() }).unwrap();
            let checked = recipe.check().and_then(|()| recipe.check_for(&graph));
            assert!(checked.is_ok(), "{}: {checked:?}", entry.name);
            // Distortions are those of the data.
            let small = entry.data == striate_zoo::DataSet::Cifar10;
            assert_eq!(recipe.augment == Augment::cifar(), small, "{}", entry.name);
        }
    }

    #[test]
    fn a_head_that_the_network_does_not_have_is_named() {
        let graph = Graph::build(Shape::map(1, 4, 4), |x| x.flatten().at("fc").linear(10)).unwrap();
        let heads = vec![(String::from("aux1"), 0.3)];
        let recipe = Recipe { loss: Loss { heads, ..Loss::cross_entropy() }, ..Recipe::digits() };
        let error = recipe.check_for(&graph).unwrap_err().to_string();
        assert!(error.contains("aux1"), "{error}");
        assert!(Recipe::digits().check_for(&graph).is_ok());
    }
}
