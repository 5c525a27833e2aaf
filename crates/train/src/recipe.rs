use serde::{Deserialize, Serialize};
use striate_data::Augment;

use crate::{Loss, LossKind, Optimizer, Schedule, ScheduleKind};

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

impl Recipe {
    /// What suits the network of a name: its paper's recipe as far as one machine can follow it,
    /// and ResNet's for the rest.
    pub fn of(architecture: &str) -> Recipe {
        match architecture {
            "lenet5" | "lenet1" => Recipe::lenet5(),
            "lenet5_1998" => Recipe::lenet5_1998(),
            name if name.starts_with("alexnet")
                || name.starts_with("zfnet")
                || name == "caffenet" =>
            {
                Recipe::krizhevsky()
            }
            name if name.starts_with("vgg") || name.starts_with("nin_imagenet") => {
                Recipe { batch: 256, epochs: 74, ..Recipe::krizhevsky() }
            }
            name if name.starts_with("googlenet") => {
                let heads = vec![(String::from("aux1"), 0.3), (String::from("aux2"), 0.3)];
                let loss = Loss { heads, ..Loss::cross_entropy() };
                let augment = Augment::imagenet();
                Recipe { loss, decay: 2e-4, batch: 32, augment, ..Recipe::krizhevsky() }
            }
            name if name.ends_with("_cifar") || name == "nin_cifar10" => Recipe::cifar(),
            _ => Recipe::resnet(),
        }
    }

    fn lenet5() -> Recipe {
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
    fn lenet5_1998() -> Recipe {
        let kind = LossKind::Discriminative { rubbish: 2.0 };
        let loss = Loss { kind, heads: Vec::new() };
        // A distance over 84 values has a gradient some fifty times that of a score.
        let schedule = Schedule { lr: 0.002, ..Recipe::lenet5().schedule };
        Recipe { loss, schedule, ..Recipe::lenet5() }
    }

    /// Krizhevsky et al. 2012, §5: the rate divided by 10 three times in 90 epochs.
    fn krizhevsky() -> Recipe {
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
            ..Recipe::krizhevsky()
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
