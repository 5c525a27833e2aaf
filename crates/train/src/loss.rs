use serde::{Deserialize, Serialize};
use striate_tensor::top;

/// What training makes small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// How one output is compared with the labels.
    pub kind: LossKind,
    /// Auxiliary outputs that are trained as well, and the weight of each: 0.3 for GoogLeNet's.
    #[serde(default)]
    pub heads: Vec<(String, f32)>,
}

/// How one output is compared with the labels. All are means over the batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// `−log softmax(y)` of the right class, a share `smoothing` of it spread over all classes
    /// (Szegedy et al. 2015, §7).
    CrossEntropy {
        /// 0 for none.
        smoothing: f32,
    },
    /// For distances: `y_D + log(e⁻ʲ + Σ e⁻ʸ)`, which pushes the wrong classes away until they are
    /// further than about `rubbish` (LeCun et al. 1998, §II.C, equation 9).
    Discriminative {
        /// `j`, the distance of the class of everything that is no digit.
        rubbish: f32,
    },
}

/// How well a batch was told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Sum of the losses of the pictures.
    pub loss: f64,
    /// Pictures whose best class is the label.
    pub top1: u64,
    /// Pictures whose label is among the best five.
    pub top5: u64,
    /// Pictures.
    pub seen: u64,
}

impl Score {
    /// Adds another batch.
    pub fn add(&mut self, other: Score) {
        self.loss += other.loss;
        self.top1 += other.top1;
        self.top5 += other.top5;
        self.seen += other.seen;
    }

    /// Loss of a picture, on average.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.seen.max(1) as f64
    }

    /// Share of pictures whose best class is the label.
    pub fn top1(&self) -> f64 {
        self.top1 as f64 / self.seen.max(1) as f64
    }

    /// Share of pictures whose label is among the best five.
    pub fn top5(&self) -> f64 {
        self.top5 as f64 / self.seen.max(1) as f64
    }
}

impl Loss {
    /// Plain cross-entropy.
    pub fn cross_entropy() -> Loss {
        Loss { kind: LossKind::CrossEntropy { smoothing: 0.0 }, heads: Vec::new() }
    }
}

impl LossKind {
    /// Whether the smallest output is the winner.
    pub fn smallest_wins(self) -> bool {
        match self {
            LossKind::CrossEntropy { .. } => false,
            LossKind::Discriminative { .. } => true,
        }
    }

    /// Loss of a picture with these outputs, its gradient written to `gradient`.
    /// Sums are in f64, so that the result does not depend on how a batch is cut.
    fn of(self, outputs: &[f32], label: usize, gradient: &mut [f32]) -> f64 {
        match self {
            LossKind::CrossEntropy { smoothing } => {
                let log_sum = log_sum_exp(outputs.iter().map(|&y| f64::from(y)));
                let (smoothing, classes) = (f64::from(smoothing), outputs.len() as f64);
                let mut loss = 0.0;
                for (i, (&y, g)) in outputs.iter().zip(gradient).enumerate() {
                    let right = if i == label { 1.0 - smoothing } else { 0.0 };
                    let target = right + smoothing / classes;
                    let log_p = f64::from(y) - log_sum;
                    // 0 · −∞ is no loss: a class that is neither right nor smoothed has none.
                    if target > 0.0 {
                        loss -= target * log_p;
                    }
                    *g = (log_p.exp() - target) as f32;
                }
                loss
            }
            LossKind::Discriminative { rubbish } => {
                let all = outputs.iter().chain([&rubbish]).map(|&y| -f64::from(y));
                let log_sum = log_sum_exp(all);
                for (i, (&y, g)) in outputs.iter().zip(gradient).enumerate() {
                    let right = if i == label { 1.0 } else { 0.0 };
                    *g = (right - (-f64::from(y) - log_sum).exp()) as f32;
                }
                f64::from(outputs[label]) + log_sum
            }
        }
    }

    /// Scores a batch of outputs, a row a picture, and writes the gradient of the *mean* loss times
    /// `weight`. Ties go to the lower class.
    ///
    /// # Panics
    /// If there are not as many labels and gradients as rows, or a label has no output.
    pub fn score(
        self,
        outputs: &[f32],
        labels: &[u32],
        weight: f32,
        gradient: &mut [f32],
    ) -> Score {
        let classes = outputs.len() / labels.len().max(1);
        let factor = weight / labels.len() as f32;
        let mut score = Score { seen: labels.len() as u64, ..Score::default() };
        let rows = outputs.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes));
        for ((row, gradient), &label) in rows.zip(labels) {
            let label = label as usize;
            score.loss += self.of(row, label, gradient);
            gradient.iter_mut().for_each(|g| *g *= factor);
            let best = self.best(row);
            score.top1 += u64::from(best.first() == Some(&label));
            score.top5 += u64::from(best.contains(&label));
        }
        score
    }

    /// The best five classes of a row of outputs.
    fn best(self, outputs: &[f32]) -> Vec<usize> {
        if self.smallest_wins() {
            top(&outputs.iter().map(|y| -y).collect::<Vec<_>>(), 5)
        } else {
            top(outputs, 5)
        }
    }
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if max.is_infinite() { max } else { max + values.map(|v| (v - max).exp()).sum::<f64>().ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_belong_to_losses() {
        let kinds = [
            LossKind::CrossEntropy { smoothing: 0.0 },
            LossKind::CrossEntropy { smoothing: 0.1 },
            LossKind::Discriminative { rubbish: 1.5 },
        ];
        let outputs = [0.5, 2.0, -1.0, 0.25, 3.0, 1.0];
        for kind in kinds {
            let mut gradient = [0.0; 6];
            kind.score(&outputs, &[1, 2], 1.0, &mut gradient);
            for i in 0..outputs.len() {
                let loss = |step: f32| {
                    let mut moved = outputs;
                    moved[i] += step;
                    kind.score(&moved, &[1, 2], 1.0, &mut [0.0; 6]).mean_loss()
                };
                let difference = (loss(1.0 / 128.0) - loss(-1.0 / 128.0)) * 64.0;
                let error = (difference - f64::from(gradient[i])).abs();
                assert!(error < 1e-4, "{kind:?} {i}: {difference} {}", gradient[i]);
            }
        }
    }

    #[test]
    fn ranks_are_counted_and_ties_go_to_the_lower_class() {
        let kind = LossKind::CrossEntropy { smoothing: 0.0 };
        let outputs = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0];
        let score = kind.score(&outputs, &[1, 6], 1.0, &mut [0.0; 14]);
        assert_eq!((score.top1, score.top5, score.seen), (1, 2, 2));
        let distances = LossKind::Discriminative { rubbish: 1.0 };
        let score = distances.score(&[3.0, 0.5], &[1], 1.0, &mut [0.0; 2]);
        assert_eq!(score.top1, 1);
    }

    #[test]
    fn large_outputs_do_not_overflow() {
        let kind = LossKind::CrossEntropy { smoothing: 0.0 };
        let mut gradient = [0.0; 2];
        let score = kind.score(&[3e38, -3e38], &[0], 1.0, &mut gradient);
        assert_eq!(score.loss, 0.0);
        assert_eq!(gradient, [0.0, 0.0]);
    }
}
