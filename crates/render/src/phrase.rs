//! An operation in a few words.

use striate_graph::op::{Clip, Conv2d, PoolKind};
use striate_graph::{Op, Shape, Sides, Size};

/// What is moved over a map: window, step, padding.
pub(crate) struct Window {
    pub(crate) kernel: Size,
    pub(crate) stride: Size,
    pub(crate) pad: Sides,
}

/// The window of an operation that has one.
pub(crate) fn window(op: &Op) -> Option<Window> {
    match op {
        Op::Conv2d(conv) => {
            Some(Window { kernel: conv.kernel, stride: conv.stride, pad: conv.pad })
        }
        Op::Pool(pool) => Some(Window { kernel: pool.kernel, stride: pool.stride, pad: pool.pad }),
        Op::Subsample(pool) => {
            Some(Window { kernel: pool.kernel, stride: pool.stride, pad: Sides::default() })
        }
        Op::Input(_)
        | Op::Linear(_)
        | Op::AdaptiveAvgPool(_)
        | Op::BatchNorm(_)
        | Op::Lrn(_)
        | Op::Rbf(_)
        | Op::Relu
        | Op::Tanh(_)
        | Op::Sigmoid
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Clip(_)
        | Op::Dropout(_)
        | Op::Add
        | Op::AddScaled(_)
        | Op::Concat
        | Op::Flatten
        | Op::Shortcut(_) => None,
    }
}

/// `3×3/2 pad 1`: a stride of 1 and no padding go without saying.
fn windowed(op: &Op) -> String {
    let Some(Window { kernel, stride, pad }) = window(op) else { return String::new() };
    let stride = if stride == 1.into() { String::new() } else { format!("/{}", short(stride)) };
    let pad = if pad.is_zero() { String::new() } else { format!(" pad {pad}") };
    format!("{kernel}{stride}{pad}")
}

/// One number for a square.
pub(crate) fn short(size: Size) -> String {
    if size.h == size.w { size.h.to_string() } else { size.to_string() }
}

/// `conv 3×3/2 pad 1, 64`.
pub(crate) fn phrase(op: &Op) -> String {
    match op {
        Op::Conv2d(conv) => format!("conv {}, {}{}", windowed(op), conv.out, wiring(conv)),
        Op::Linear(linear) => format!("linear {}", linear.out),
        Op::Pool(pool) => {
            let kind = match pool.kind {
                PoolKind::Max | PoolKind::MaxOfPadded => "max",
                PoolKind::Avg { .. } => "avg",
            };
            let ceil = if pool.ceil { " ceil" } else { "" };
            format!("{kind} pool {}{ceil}", windowed(op))
        }
        Op::AdaptiveAvgPool(pool) if pool.out == 1.into() => String::from("global avg pool"),
        Op::AdaptiveAvgPool(pool) => format!("avg pool to {}", pool.out),
        Op::Subsample(_) => format!("subsample {}", windowed(op)),
        Op::BatchNorm(_) => String::from("batch norm"),
        Op::Lrn(lrn) => format!("lrn over {} maps", lrn.size),
        Op::Rbf(rbf) => format!("rbf {}", rbf.codes.len()),
        Op::Clip(Clip { min: Some(min), max: Some(max) }) => format!("clip {min} to {max}"),
        Op::Clip(Clip { min: Some(min), .. }) => format!("clip from {min}"),
        Op::Clip(Clip { max: Some(max), .. }) => format!("clip to {max}"),
        Op::Clip(_) => String::from("clip"),
        Op::Dropout(dropout) => format!("drop {}", dropout.p),
        Op::AddScaled(add) => format!("add, second × {}", add.scale),
        Op::Shortcut(shortcut) => format!("shortcut /{}, {}", shortcut.stride, shortcut.out),
        Op::Input(_)
        | Op::Relu
        | Op::Tanh(_)
        | Op::Sigmoid
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Add
        | Op::Concat
        | Op::Flatten => String::from(op.kind()),
    }
}

/// What is unusual about which maps a convolution reads.
fn wiring(conv: &Conv2d) -> String {
    let mut text = String::new();
    if conv.dilation != 1.into() {
        text += &format!(", dilation {}", short(conv.dilation));
    }
    if conv.groups != 1 {
        text += &format!(", {} groups", conv.groups);
    }
    if let Some(table) = &conv.table {
        text += &format!(", {} pairs", table.pairs());
    }
    text
}

/// Height and width of a map, or the length of a row.
pub(crate) fn extent(shape: Shape) -> String {
    match shape {
        Shape::Map { h, w, .. } => format!("{h}×{w}"),
        Shape::Flat(n) => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unusual_is_said() {
        let conv = |kernel: Size, out| Conv2d::new(kernel, out);
        let cases = [
            (conv(3.into(), 64), "conv 3×3 pad 1, 64"),
            (Conv2d { stride: 2.into(), ..conv(7.into(), 64) }, "conv 7×7/2 pad 3, 64"),
            (Conv2d { stride: (2, 1).into(), ..conv(1.into(), 8) }, "conv 1×1/2×1, 8"),
            (conv((1, 7).into(), 64), "conv 1×7 pad 0×3, 64"),
            (Conv2d { groups: 2, ..conv(5.into(), 256) }, "conv 5×5 pad 2, 256, 2 groups"),
        ];
        for (conv, expected) in cases {
            assert_eq!(phrase(&Op::Conv2d(conv)), expected);
        }
    }
}
