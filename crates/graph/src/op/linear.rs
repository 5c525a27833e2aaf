use serde::{Deserialize, Serialize};

use super::{Role, Slot, positive, row};
use crate::{Cost, Reason, Shape};

/// Fully connected layer, `y = W x + b`.
///
/// # Shape
/// `N` → `out`.
/// # Parameters
/// `weight` `out×N`, `bias` `out`.
/// # Errors
/// [`Reason::Form`] on a map: flatten it first.
/// # Source
/// ONNX `Gemm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Output values.
    pub out: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Linear {
    /// The row that comes out.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        row(input)?;
        positive("outputs", &[self.out])?;
        Ok(Shape::Flat(self.out))
    }

    pub(super) fn slots(&self, input: Shape) -> Vec<Slot> {
        let shape = vec![self.out, input.volume()];
        let mut slots = vec![Slot { leaf: "weight", shape, role: Role::Weight }];
        if self.bias {
            slots.push(Slot { leaf: "bias", shape: vec![self.out], role: Role::Bias });
        }
        slots
    }

    pub(super) fn cost(&self, input: Shape) -> Cost {
        let out = self.out as u64;
        let macs = input.volume() as u64 * out;
        let params = macs + if self.bias { out } else { 0 };
        Cost { params, macs, connections: params, activations: out }
    }
}
