use serde::{Deserialize, Serialize};

use super::positive;
use crate::{Reason, Shape};

/// Local response normalisation across channels, `b = a / (k + α' Σ a²)^β` over `size` neighbouring
/// maps, with `α' = α / size` where `divided` and `α' = α` otherwise.
///
/// # Shape
/// Unchanged.
/// # Parameters
/// None.
/// # Source
/// Krizhevsky et al. 2012, §3.3 (α as it is); Caffe, PyTorch and ONNX `LRN` divide it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lrn {
    /// Neighbouring maps, the map itself included.
    pub size: usize,
    /// Weight of the squares.
    pub alpha: f32,
    /// Whether `alpha` is divided by `size`.
    pub divided: bool,
    /// Exponent.
    pub beta: f32,
    /// Added to the squares.
    pub k: f32,
}

impl Lrn {
    /// The factor of the sum of squares, `α'` above.
    pub fn factor(&self) -> f32 {
        if self.divided { self.alpha / self.size as f32 } else { self.alpha }
    }

    /// The input's shape.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        positive("size", &[self.size])?;
        if !(self.alpha >= 0.0 && self.k > 0.0 && self.beta.is_finite() && self.alpha.is_finite()) {
            return Err(Reason::Attribute(format!(
                "alpha must not be negative and k must be positive, found {} and {}",
                self.alpha, self.k
            )));
        }
        Ok(input)
    }
}
