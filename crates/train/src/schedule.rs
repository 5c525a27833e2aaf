use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// The learning rate over a run, as a factor of its peak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The peak learning rate.
    pub lr: f32,
    /// How it goes on after the warm-up.
    pub kind: ScheduleKind,
    /// Epochs in which it rises in a line from (nearly) zero.
    #[serde(default)]
    pub warmup: f32,
}

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Stays.
    Constant,
    /// Is multiplied by `factor` every `every` epochs.
    Step {
        /// Epochs.
        every: u64,
        /// Usually 0.1.
        factor: f32,
    },
    /// Falls to zero along half a cosine (Loshchilov & Hutter 2016).
    Cosine,
    /// Rises along a cosine over the first `rise` of the run from 1/25 of the peak, then falls to
    /// 1/250,000 of it (Smith & Topin 2017, as in PyTorch's `OneCycleLR`).
    OneCycle {
        /// Share of the run, usually 0.3.
        rise: f32,
    },
}

impl Schedule {
    /// The learning rate of a step, the first being 0. It depends on the place in the run alone.
    pub fn lr(&self, step: u64, steps_per_epoch: u64, epochs: u64) -> f32 {
        let per_epoch = steps_per_epoch.max(1) as f64;
        let (step, total) = (step as f64, per_epoch * epochs.max(1) as f64);
        let warmup = f64::from(self.warmup) * per_epoch;
        if step < warmup {
            return (f64::from(self.lr) * (step + 1.0) / (warmup + 1.0)) as f32;
        }
        let falling = |at: f64| (1.0 + (PI * at.clamp(0.0, 1.0)).cos()) / 2.0;
        let factor = match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Step { every, factor } => {
                let epoch = (step / per_epoch).floor();
                f64::from(factor).powf((epoch / every.max(1) as f64).floor())
            }
            ScheduleKind::Cosine => falling((step - warmup) / (total - warmup).max(1.0)),
            ScheduleKind::OneCycle { rise } => {
                let peak = f64::from(rise) * (total - warmup) - 1.0;
                let at = step - warmup;
                let (low, end) = (1.0 / 25.0, 1.0 / 250_000.0);
                if at < peak {
                    low + (1.0 - low) * (1.0 - falling(at / peak))
                } else {
                    let rest = (total - warmup - 1.0 - peak).max(1.0);
                    end + (1.0 - end) * falling((at - peak) / rest)
                }
            }
        };
        (f64::from(self.lr) * factor) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(kind: ScheduleKind, warmup: f32) -> Vec<f32> {
        let schedule = Schedule { lr: 1.0, kind, warmup };
        (0..40).map(|step| schedule.lr(step, 10, 4)).collect()
    }

    #[test]
    fn the_rate_over_a_run_of_four_epochs() {
        let constant = rates(ScheduleKind::Constant, 1.0);
        assert!(constant[..10].is_sorted() && constant[0] > 0.0 && constant[9] < 1.0);
        assert_eq!(constant[10..], [1.0; 30]);
        let step = rates(ScheduleKind::Step { every: 2, factor: 0.1 }, 0.0);
        assert_eq!((step[19], step[20], step[39]), (1.0, 0.1, 0.1));
        let cosine = rates(ScheduleKind::Cosine, 0.0);
        assert!(cosine.windows(2).all(|w| w[0] > w[1]) && (cosine[20] - 0.5).abs() < 1e-6);
        let cycle = rates(ScheduleKind::OneCycle { rise: 0.3 }, 0.0);
        assert!((cycle[0] - 0.04).abs() < 1e-6 && (cycle[11] - 1.0).abs() < 1e-6);
        assert!((cycle[39] - 4e-6).abs() < 1e-7);
    }

    /// `torch.optim.lr_scheduler.OneCycleLR(SGD, max_lr=1, total_steps=40)`, every eighth rate.
    #[test]
    fn one_cycle_is_that_of_pytorch() {
        let cycle = rates(ScheduleKind::OneCycle { rise: 0.3 }, 0.0);
        for (step, expected) in TORCH_ONE_CYCLE {
            assert!((cycle[step] - expected).abs() < 1e-6, "{step}: {} {expected}", cycle[step]);
        }
    }

    const TORCH_ONE_CYCLE: [(usize, f32); 5] =
        [(0, 0.04), (8, 0.8343332), (16, 0.9233624), (24, 0.555984), (32, 0.14645)];
}
