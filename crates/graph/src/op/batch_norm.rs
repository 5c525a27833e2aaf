use serde::{Deserialize, Serialize};

use super::{Role, Slot};
use crate::{Cost, Reason, Shape};

/// Batch normalisation, `γ (x − μ) / √(σ² + ε) + β` for each channel.
///
/// Training normalises with mean and biased variance of the batch and moves the running statistics
/// by `momentum` towards mean and unbiased variance; inference uses the running statistics.
///
/// # Shape
/// Unchanged.
/// # Parameters
/// `weight` (γ), unless there is no scale, and `bias` (β) `C`; statistics `running_mean` and `running_var` `C`, which are
/// stored with the weights but not counted.
/// # Source
/// Ioffe & Szegedy 2015, Algorithms 1 and 2; PyTorch's `BatchNorm2d`; ONNX `BatchNormalization`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f32,
    /// Share of the batch in the running statistics.
    pub momentum: f32,
    /// Whether γ is learned; without, it is 1.
    pub scale: bool,
}

impl BatchNorm {
    /// The input's shape.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        if !(self.eps > 0.0 && self.eps.is_finite() && (0.0..=1.0).contains(&self.momentum)) {
            return Err(Reason::Attribute(format!(
                "eps must be positive and momentum from 0 to 1, found {} and {}",
                self.eps, self.momentum
            )));
        }
        Ok(input)
    }

    pub(super) fn slots(&self, input: Shape) -> Vec<Slot> {
        let slot = |(leaf, role)| Slot { leaf, shape: vec![input.channels()], role };
        let scale = self.scale.then_some(("weight", Role::Scale));
        let others =
            [("bias", Role::Shift), ("running_mean", Role::Mean), ("running_var", Role::Variance)];
        scale.into_iter().chain(others).map(slot).collect()
    }

    pub(super) fn cost(&self, input: Shape) -> Cost {
        let learned = 1 + u64::from(self.scale);
        Cost { params: learned * input.channels() as u64, ..Cost::default() }
    }
}
