use serde::{Deserialize, Serialize};

use crate::{Reason, Shape};

/// Scaled hyperbolic tangent, `a · tanh(s · x)`.
///
/// # Shape
/// Unchanged.
/// # Parameters
/// None.
/// # Source
/// LeCun et al. 1998, §II.B and appendix A: a = 1.7159, s = 2/3.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tanh {
    /// Amplitude.
    pub a: f32,
    /// Slope at the origin, before the amplitude.
    pub s: f32,
}

impl Tanh {
    /// LeNet's squashing function: ±1 maps to ±1 and lies where the second derivative is largest.
    pub const LECUN: Tanh = Tanh { a: 1.7159, s: 2.0 / 3.0 };

    /// The input's shape.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        if self.a.is_finite() && self.s.is_finite() {
            Ok(input)
        } else {
            Err(Reason::Attribute(format!(
                "a and s must be finite, found {} and {}",
                self.a, self.s
            )))
        }
    }
}

/// In training, each value is zeroed with probability `p` and the others divided by `1 − p`;
/// otherwise nothing.
///
/// # Shape
/// Unchanged.
/// # Parameters
/// None.
/// # Source
/// Srivastava et al. 2014 in the inverted form of Caffe and PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability of being dropped.
    pub p: f32,
}

impl Dropout {
    /// The input's shape.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        if (0.0..1.0).contains(&self.p) {
            Ok(input)
        } else {
            Err(Reason::Attribute(format!("p must be from 0 to below 1, found {}", self.p)))
        }
    }
}
