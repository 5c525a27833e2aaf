//! The numbers of convolutional networks on plain slices: forward, and backward.
//!
//! Every operation is a function of slices and sizes: it reads f32 arrays laid out
//! `batch×channels×height×width`, overwrites its output, and has no idea what a network is. One
//! file holds one operation, both ways. A slice of the wrong length is a bug of the caller, and a
//! panic. Scratch comes from the caller too; a function beside the operation says how much.
//!
//! Work is shared out over a pool of [`Threads`]. The bits of a result do not depend on how many
//! there are: no sum is ever cut by the number of threads. They do depend on the instruction set.
//! Infinities and what is not a number go through as IEEE 754 says.
//!
//! There are two sets. The plain kernels train: convolutions copy pixels into a matrix (`im2col`) and
//! multiply that (`gemm`, `dot`); hot loops are plain Rust, compiled once for every instruction set
//! (`simd`). Those in [`blocked`] run networks: maps lie in blocks of sixteen channels, and one
//! register tile multiplies all.
//!
//! `unsafe` is in `simd`, `threads`, and in `blocked` in `simd` (intrinsics), `layout` and `buffer`
//! (pixels as numbers, mapped memory as pixels). To read along: [`conv`], then [`threads`], then
//! [`blocked`].

#![allow(clippy::too_many_arguments, reason = "slices and sizes in, slices out")]
#![deny(unsafe_code)]

pub mod activation;
pub mod blocked;
#[cfg(test)]
mod check;
pub mod concat;
pub mod conv;
mod dot;
pub mod dropout;
pub mod elementwise;
mod gemm;
mod im2col;
pub mod linear;
pub mod lrn;
pub mod norm;
pub mod pool;
pub mod rbf;
pub mod shortcut;
#[allow(unsafe_code, reason = "one dispatch for each instruction set")]
mod simd;
pub mod softmax;
mod sum;
#[allow(unsafe_code, reason = "lends jobs and disjoint slices to threads")]
pub mod threads;

pub use conv::Conv;
pub use lrn::Lrn;
pub use pool::Window;
pub use shortcut::Shortcut;
pub use threads::Threads;
