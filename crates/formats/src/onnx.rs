//! ONNX: a network and its weights in one file, or with the weights in a second one beside it.

mod encode;
mod nodes;
mod operations;
// Some of it is there to be read.
#[allow(dead_code)]
mod proto;
mod write;

pub use write::{OPSETS, Options, write};
