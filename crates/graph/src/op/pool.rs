use serde::{Deserialize, Serialize};

use super::{map, positive, window};
use crate::{Cost, Reason, Shape, Sides, Size};

/// Maximum or mean of windows.
///
/// # Shape
/// `C×H×W` → `C×H'×W'`, `H' = ⌊(H + top + bottom − kernel) / stride⌋ + 1`; with `ceil` `⌈…⌉`
/// instead, less a last window that starts at or beyond `H + top`. Windows are clipped to the
/// picture.
/// # Parameters
/// None.
/// # Errors
/// [`Reason::Window`] if the window is larger than the padded map, [`Reason::Attribute`] if the
/// padding is as large as the kernel, so that a window could hold nothing else.
/// # Source
/// Ceil mode: Caffe and cuda-convnet; PyTorch's `ceil_mode`. ONNX `MaxPool`, `AveragePool`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// What is taken of a window.
    pub kind: PoolKind,
    /// Height and width of the window.
    pub kernel: Size,
    /// Step of the window.
    pub stride: Size,
    /// Padding; whether it counts, the kind says.
    pub pad: Sides,
    /// Whether the number of windows is rounded up.
    pub ceil: bool,
}

/// What is taken of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// The largest value; the padding is never it.
    Max,
    /// The largest value, the padding counted as zeros (Keras's `ZeroPadding2D` before a pooling).
    MaxOfPadded,
    /// The mean.
    Avg {
        /// Divide by the window clipped to the *padded* picture (Caffe, PyTorch's default), not by
        /// the pixels inside the picture (TensorFlow's SAME).
        count_include_pad: bool,
    },
}

impl Pool {
    /// The map that comes out; see the type.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        let [c, h, w] = map(input)?;
        let Pool { kernel, stride, pad, ceil, .. } = *self;
        positive("kernel and stride", &[kernel.h, kernel.w, stride.h, stride.w])?;
        if pad.top.max(pad.bottom) >= kernel.h || pad.left.max(pad.right) >= kernel.w {
            return Err(Reason::Attribute(format!(
                "padding {pad} must be smaller than the {kernel} window"
            )));
        }
        let [h, w] = window::steps([h, w], kernel, stride, pad, ceil)?;
        Ok(Shape::Map { c, h, w })
    }

    pub(super) fn cost(&self, input: Shape, output: Shape) -> Cost {
        let seen = window::seen(input, output, self.kernel, self.stride, self.pad);
        Cost {
            connections: seen * output.channels() as u64,
            activations: output.volume() as u64,
            ..Cost::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_the_pixels_inside_the_picture() {
        let pool = |kernel: usize, stride: usize, pad: usize| Pool {
            kind: PoolKind::Max,
            kernel: kernel.into(),
            stride: stride.into(),
            pad: pad.into(),
            ceil: false,
        };
        let cost = |pool: Pool, input: Shape| pool.cost(input, pool.shape(input).unwrap());
        // Errata of the LeNet-5 table: 4,704 and 1,600.
        assert_eq!(cost(pool(2, 2, 0), Shape::map(6, 28, 28)).connections, 4_704);
        assert_eq!(cost(pool(2, 2, 0), Shape::map(16, 10, 10)).connections, 1_600);
        // 3×3/1 pad 1 over 2×2: each of the four windows sees all four pixels.
        assert_eq!(cost(pool(3, 1, 1), Shape::map(1, 2, 2)).connections, 16);
    }

    #[test]
    fn a_window_never_holds_padding_alone() {
        let pool = Pool {
            kind: PoolKind::Max,
            kernel: 2.into(),
            stride: 2.into(),
            pad: 2.into(),
            ceil: false,
        };
        let error = pool.shape(Shape::map(1, 8, 8)).unwrap_err().to_string();
        assert_eq!(error, "padding 2 must be smaller than the 2×2 window");
    }
}
