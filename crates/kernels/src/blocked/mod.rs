//! The kernels of the inference engine, on maps in blocks of sixteen channels.
//!
//! A value is `pictures × ⌈C/16⌉ × H × W` [`Pixel`]s: sixteen channels of one pixel side by side in
//! one line of cache. Lanes beyond the last channel are zero, and stay so. A row of C numbers is a
//! map of one pixel. `docs/performance.md` says why, and how fast that is.

#![allow(clippy::needless_range_loop, reason = "tiles and transforms are arrays of two dimensions")]

#[allow(unsafe_code, reason = "mapped memory as pixels")]
mod buffer;
mod channels;
mod convolution;
mod destination;
mod direct;
mod elementwise;
mod few;
mod filters;
mod first;
#[allow(unsafe_code, reason = "pixels as numbers")]
mod layout;
mod linear;
mod lrn;
mod pictures;
mod points;
mod pool;
mod probe;
#[allow(unsafe_code, reason = "the intrinsics of each instruction set")]
mod simd;
mod softmax;
#[allow(unsafe_code, reason = "bounds that are checked once")]
mod spaced;
mod strip;
#[cfg(test)]
mod tests;
mod tile;
mod winograd;

pub use buffer::Buffer;
pub use channels::{concat, flatten, shortcut};
pub use convolution::{Added, Algorithm, Convolution, Input, Outputs, Tail};
pub use destination::Destination;
pub use elementwise::{affine, clear_padding, sigmoid, tanh};
pub use layout::{Pixel, blocks, pack, unpack};
pub use linear::Linear;
pub use lrn::lrn;
pub use pictures::{
    PictureConvolution, pack_pictures, rbf_pictures, softmax_pictures, unpack_pictures,
};
pub use pool::{adaptive_average, average, max, subsample};
pub use probe::multiply_adds;
pub use simd::{Isa, LANES};
pub use softmax::softmax;
