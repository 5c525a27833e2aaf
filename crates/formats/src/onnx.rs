//! ONNX: a network and its weights in one file, or with the weights in a second one beside it.

mod arithmetic;
mod arrange;
mod axes;
mod constant;
mod encode;
mod files;
mod fold;
mod import;
mod layers;
mod modules;
mod nodes;
mod normalization;
mod operations;
mod operator;
mod products;
mod proto;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod view;
mod windows;
mod write;

pub use read::{ReadOptions, parse, read};
pub(crate) use read::{contents, is_model};
pub use write::{OPSETS, Options, write};
