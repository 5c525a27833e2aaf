use super::{map, positive};
use crate::{Cost, Reason, Shape, Size};

/// Mean of as many windows as the output has pixels. `out` 1×1 is global average pooling.
///
/// # Shape
/// `C×H×W` → `C×out.h×out.w`. Window `i` of an axis covers `⌊i·H/out⌋ .. ⌈(i+1)·H/out⌉`.
/// # Parameters
/// None.
/// # Source
/// Global: Lin et al. 2013, §3.2; ONNX `GlobalAveragePool`. Otherwise PyTorch's
/// `AdaptiveAvgPool2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveAvgPool {
    /// Height and width of the result.
    pub out: Size,
}

impl AdaptiveAvgPool {
    /// The map that comes out.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        let [c, ..] = map(input)?;
        positive("output size", &[self.out.h, self.out.w])?;
        Ok(Shape::Map { c, h: self.out.h, w: self.out.w })
    }

    pub(super) fn cost(&self, input: Shape, output: Shape) -> Cost {
        let [_, h, w] = input.chw();
        let seen = |n: usize, out: usize| -> usize {
            (0..out).map(|i| ((i + 1) * n).div_ceil(out) - i * n / out).sum()
        };
        let pixels = seen(h, self.out.h) * seen(w, self.out.w);
        Cost {
            connections: (pixels * output.channels()) as u64,
            activations: output.volume() as u64,
            ..Cost::default()
        }
    }
}
