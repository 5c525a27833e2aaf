use serde::{Deserialize, Serialize};

use super::{map, positive};
use crate::{Reason, Shape};

/// A shortcut without parameters where sizes change: every `stride`-th pixel of both axes is kept
/// and zero maps are appended after the existing ones up to `out`.
///
/// # Shape
/// `C×H×W` → `out×⌈H/stride⌉×⌈W/stride⌉`.
/// # Parameters
/// None.
/// # Errors
/// [`Reason::Attribute`] if there are more maps than `out`.
/// # Source
/// He et al. 2015, §3.3, option A; where the zeros go, as the authors' code has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shortcut {
    /// Step over the pixels.
    pub stride: usize,
    /// Output maps.
    pub out: usize,
}

impl Shortcut {
    /// The map that comes out.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        let [c, h, w] = map(input)?;
        positive("stride", &[self.stride])?;
        if c > self.out {
            let found = format!("{c} maps cannot be padded to {}", self.out);
            return Err(Reason::Attribute(found));
        }
        Ok(Shape::Map { c: self.out, h: h.div_ceil(self.stride), w: w.div_ceil(self.stride) })
    }
}
