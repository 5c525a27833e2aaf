use serde::{Deserialize, Serialize};

/// How parameters move along their gradients: PyTorch's rules. Weight decay is added to the
/// gradient, but in [`AdamW`](Optimizer::AdamW), where it shrinks the parameter itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Stochastic gradient descent, `b ← momentum · b + g`, `p ← p − lr · b`.
    Sgd {
        /// Share of the last step that is kept.
        momentum: f32,
        /// Look ahead: `p ← p − lr · (g + momentum · b)`.
        nesterov: bool,
    },
    /// Kingma & Ba 2014.
    Adam {
        /// Decay of the mean of the gradients.
        beta1: f32,
        /// Decay of the mean of their squares.
        beta2: f32,
        /// Added to the root of the latter.
        eps: f32,
    },
    /// Loshchilov & Hutter 2017: Adam with weight decay apart from the gradient.
    AdamW {
        /// Decay of the mean of the gradients.
        beta1: f32,
        /// Decay of the mean of their squares.
        beta2: f32,
        /// Added to the root of the latter.
        eps: f32,
    },
}

impl Optimizer {
    /// PyTorch's Adam.
    pub const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
    /// PyTorch's AdamW.
    pub const ADAMW: Optimizer = Optimizer::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

    /// What is remembered between steps: a name, and as many values as there are parameters.
    pub fn memory(&self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd { momentum: 0.0, .. } => &[],
            Optimizer::Sgd { .. } => &["momentum"],
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } => &["mean", "square"],
        }
    }

    /// Moves all parameters. `step` counts from 1; `memory` has a slice for each name of
    /// [`memory`](Self::memory), zero before the first step.
    ///
    /// # Panics
    /// If the slices are not equally long.
    pub fn step(
        &self,
        step: u64,
        lr: f32,
        decay: f32,
        params: &mut [f32],
        gradient: &[f32],
        memory: &mut [Vec<f32>],
    ) {
        assert_eq!(params.len(), gradient.len(), "a gradient for each parameter");
        match (*self, memory) {
            (Optimizer::Sgd { momentum, nesterov }, [buffer]) => {
                for ((p, &g), b) in params.iter_mut().zip(gradient).zip(buffer) {
                    let g = g + decay * *p;
                    *b = momentum * *b + g;
                    *p -= lr * if nesterov { g + momentum * *b } else { *b };
                }
            }
            (Optimizer::Sgd { .. }, _) => {
                for (p, &g) in params.iter_mut().zip(gradient) {
                    *p -= lr * (g + decay * *p);
                }
            }
            (Optimizer::Adam { beta1, beta2, eps }, [mean, square]) => {
                let adam = Moments::new(step, lr, beta1, beta2, eps);
                let moments = mean.iter_mut().zip(square);
                for ((p, &g), (m, v)) in params.iter_mut().zip(gradient).zip(moments) {
                    *p -= adam.step(g + decay * *p, m, v);
                }
            }
            (Optimizer::AdamW { beta1, beta2, eps }, [mean, square]) => {
                let adam = Moments::new(step, lr, beta1, beta2, eps);
                let moments = mean.iter_mut().zip(square);
                for ((p, &g), (m, v)) in params.iter_mut().zip(gradient).zip(moments) {
                    *p -= lr * decay * *p;
                    *p -= adam.step(g, m, v);
                }
            }
            (Optimizer::Adam { .. } | Optimizer::AdamW { .. }, _) => {
                unreachable!("Adam remembers means and squares; `memory` says so")
            }
        }
    }
}

/// One step of Adam, its constants corrected for the zeros the means began with.
struct Moments {
    beta1: f32,
    beta2: f32,
    eps: f32,
    rate: f32,
    root: f32,
}

impl Moments {
    fn new(step: u64, lr: f32, beta1: f32, beta2: f32, eps: f32) -> Moments {
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
        let rate = (f64::from(lr) / correction(beta1)) as f32;
        Moments { beta1, beta2, eps, rate, root: correction(beta2).sqrt() as f32 }
    }

    fn step(&self, g: f32, mean: &mut f32, square: &mut f32) -> f32 {
        *mean = self.beta1 * *mean + (1.0 - self.beta1) * g;
        *square = self.beta2 * *square + (1.0 - self.beta2) * g * g;
        self.rate * *mean / (square.sqrt() / self.root + self.eps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps on one parameter with gradients 1 and −0.5, by hand.
    fn run(optimizer: Optimizer, lr: f32, decay: f32) -> f32 {
        let mut params = [1.0];
        let mut memory = vec![vec![0.0]; optimizer.memory().len()];
        for (step, gradient) in (1..).zip([1.0, -0.5]) {
            optimizer.step(step, lr, decay, &mut params, &[gradient], &mut memory);
        }
        params[0]
    }

    #[test]
    fn two_steps_by_hand() {
        let close = |found: f32, expected: f32| {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        };
        // 1 − 0.1·1 = 0.9; 0.9 + 0.1·0.5 = 0.95.
        close(run(Optimizer::Sgd { momentum: 0.0, nesterov: false }, 0.1, 0.0), 0.95);
        // b = 1, p = 0.9; b = 0.9 − 0.5 = 0.4, p = 0.86.
        close(run(Optimizer::Sgd { momentum: 0.9, nesterov: false }, 0.1, 0.0), 0.86);
        // g = 1.5, p = 0.85; g = −0.075, b = 1.35 − 0.075 = 1.275, p = 0.7225.
        close(run(Optimizer::Sgd { momentum: 0.9, nesterov: false }, 0.1, 0.5), 0.7225);
        // 1.9·0.1: p = 0.81; b = 0.4, −0.5 + 0.36 = −0.14: p = 0.824.
        close(run(Optimizer::Sgd { momentum: 0.9, nesterov: true }, 0.1, 0.0), 0.824);
        // The first step of Adam is lr, whatever the gradient; the second m̂ = 0.04/0.19,
        // v̂ = 0.001249/0.001999.
        let second = 0.1 * (0.04 / 0.19) / (0.001_249f32 / 0.001_999).sqrt();
        close(run(Optimizer::ADAM, 0.1, 0.0), 0.9 - second);
        // AdamW shrinks by 1 − lr·decay before each step.
        close(run(Optimizer::ADAMW, 0.1, 0.5), (0.95 - 0.1) * 0.95 - second);
    }
}
