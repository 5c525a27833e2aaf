use serde::{Deserialize, Serialize};

use super::{Role, Slot, map, positive, window};
use crate::{Cost, Reason, Shape, Size};

/// LeNet's pooling: the sum of a window times one coefficient, plus one bias, a pair per map.
///
/// # Shape
/// `C×H×W` → `C×H'×W'`, `H' = ⌊(H − kernel) / stride⌋ + 1`.
/// # Parameters
/// `weight` `C`, `bias` `C`.
/// # Errors
/// [`Reason::Window`] if the window is larger than the map.
/// # Source
/// LeCun et al. 1998, §II.B, layers S2 and S4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subsample {
    /// Height and width of the window.
    pub kernel: Size,
    /// Step of the window.
    pub stride: Size,
}

impl Subsample {
    /// The map that comes out.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        let [c, h, w] = map(input)?;
        let Subsample { kernel, stride } = *self;
        positive("kernel and stride", &[kernel.h, kernel.w, stride.h, stride.w])?;
        let [h, w] = window::steps([h, w], kernel, stride, 0.into(), false)?;
        Ok(Shape::Map { c, h, w })
    }

    pub(super) fn slots(&self, input: Shape) -> Vec<Slot> {
        let shape = vec![input.channels()];
        vec![
            Slot { leaf: "weight", shape: shape.clone(), role: Role::Scale },
            Slot { leaf: "bias", shape, role: Role::Bias },
        ]
    }

    pub(super) fn cost(&self, output: Shape) -> Cost {
        let volume = output.volume() as u64;
        Cost {
            params: 2 * output.channels() as u64,
            macs: 0,
            connections: volume * (self.kernel.area() as u64 + 1),
            activations: volume,
        }
    }
}
