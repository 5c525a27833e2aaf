use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
        // Each window begins where the one before ends, or, where the pixels do not come out even, one
        // before that.
        let seen = |n: usize, out: usize| n + out - common(n, out);
        let pixels = seen(h, self.out.h) * seen(w, self.out.w);
        Cost {
            connections: (pixels * output.channels()) as u64,
            activations: output.volume() as u64,
            ..Cost::default()
        }
    }
}

/// The greatest common divisor.
fn common(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_seen_as_often_as_one_by_one() {
        for (n, out) in [(7, 7), (4, 1), (3, 2), (13, 6), (6, 13), (12, 8), (1, 5)] {
            let along = |i: usize| ((i + 1) * n).div_ceil(out) - i * n / out;
            let expected: usize = (0..out).map(along).sum();
            let pool = AdaptiveAvgPool { out: Size { h: out, w: 1 } };
            let cost = pool.cost(Shape::map(3, n, 1), Shape::map(3, out, 1));
            assert_eq!(cost.connections, 3 * expected as u64, "{n} to {out}");
        }
    }
}
