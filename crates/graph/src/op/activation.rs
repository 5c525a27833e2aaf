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

/// Values below `min` become `min`, those above `max` become `max`; what is not a number stays so.
/// From 0 to 6 it is ReLU6.
///
/// # Shape
/// Unchanged.
/// # Parameters
/// None.
/// # Source
/// ONNX's `Clip`; ReLU6 is Krizhevsky 2010, *Convolutional deep belief networks on CIFAR-10*.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// The lower bound, if there is one.
    pub min: Option<f32>,
    /// The upper bound, if there is one.
    pub max: Option<f32>,
}

impl Clip {
    /// The input's shape.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        let [min, max] = self.bounds();
        let finite = [self.min, self.max].into_iter().flatten().all(f32::is_finite);
        let is_bounded = self.min.is_some() || self.max.is_some();
        match finite && is_bounded && min <= max {
            true => Ok(input),
            false => Err(Reason::Attribute(format!(
                "a bound must be there and finite, and min not above max, found {min} and {max}"
            ))),
        }
    }

    /// The bounds, infinite where there is none.
    pub fn bounds(&self) -> [f32; 2] {
        [self.min.unwrap_or(f32::NEG_INFINITY), self.max.unwrap_or(f32::INFINITY)]
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
