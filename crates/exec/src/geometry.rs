//! Operations in the terms of the kernels: how a window lies over a batch of maps.

use striate_graph::Shape;
use striate_graph::op::{Conv2d, Lrn, Pool, PoolKind, Shortcut, Subsample};
use striate_kernels as kernels;

/// A convolution of a batch of maps `from` to maps `to`.
pub fn conv(op: &Conv2d, batch: usize, from: Shape, to: Shape) -> kernels::Conv {
    kernels::Conv {
        batch,
        input: from.chw(),
        output: to.chw(),
        kernel: [op.kernel.h, op.kernel.w],
        stride: [op.stride.h, op.stride.w],
        pad: op.pad.array(),
        dilation: [op.dilation.h, op.dilation.w],
        groups: op.groups,
    }
}

/// A pooling of a batch of maps `from` to maps `to`.
pub fn pool(op: &Pool, batch: usize, from: Shape, to: Shape) -> kernels::Window {
    let count_include_pad = match op.kind {
        PoolKind::Max => false,
        PoolKind::MaxOfPadded => true,
        PoolKind::Avg { count_include_pad } => count_include_pad,
    };
    kernels::Window {
        batch,
        input: from.chw(),
        output: to.chw(),
        kernel: [op.kernel.h, op.kernel.w],
        stride: [op.stride.h, op.stride.w],
        pad: op.pad.array(),
        count_include_pad,
    }
}

/// A subsampling of a batch of maps `from` to maps `to`.
pub fn subsample(op: &Subsample, batch: usize, from: Shape, to: Shape) -> kernels::Window {
    kernels::Window {
        batch,
        input: from.chw(),
        output: to.chw(),
        kernel: [op.kernel.h, op.kernel.w],
        stride: [op.stride.h, op.stride.w],
        pad: [0; 4],
        count_include_pad: false,
    }
}

/// A shortcut without parameters of a batch of maps `from` to maps `to`.
pub fn shortcut(op: &Shortcut, batch: usize, from: Shape, to: Shape) -> kernels::Shortcut {
    kernels::Shortcut { batch, input: from.chw(), output: to.chw(), stride: op.stride }
}

/// The constants of a response normalisation over so many channels.
pub fn lrn(op: &Lrn, channels: usize) -> kernels::Lrn {
    // A window that reaches all channels from anywhere is as wide as any.
    let size = op.size.min(2 * channels + 1);
    kernels::Lrn { size, alpha: op.factor(), beta: op.beta, k: op.k }
}
