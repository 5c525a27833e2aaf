//! Every parser of the project behind a [`Door`] that takes any bytes: it may refuse them, it must
//! not panic, hang, or take memory out of proportion. `fuzz/` sends through each door what a fuzzer
//! finds, `tests/doors.rs` what [`Mutation`] makes of good files.

#![forbid(unsafe_code)]

mod files;
mod good;
mod mutation;
mod networks;

pub use files::{
    caffemodel, definition, hdf5, idx, input_spec, keras_archive, keras_config, legacy, onnx,
    pickle, picture, prototxt, pytorch, safetensors, state,
};
pub use mutation::Mutation;
pub use networks::graph;

/// A way into the project for bytes of other people's.
#[derive(Clone, Copy)]
pub struct Door {
    /// What is behind it, as in `fuzz/fuzz_targets/fuzz_NAME.rs`.
    pub name: &'static str,
    /// Sends bytes through, and says whether they were taken for what they should be.
    pub enter: fn(&[u8]) -> bool,
    /// Files that are taken, small ones.
    pub good: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const DOORS: [Door; 16] = [
    Door { name: "safetensors", enter: safetensors, good: good::safetensors },
    Door { name: "input_spec", enter: input_spec, good: good::input_spec },
    Door { name: "definition", enter: definition, good: good::definition },
    Door { name: "pytorch", enter: pytorch, good: good::pytorch },
    Door { name: "legacy", enter: legacy, good: good::legacy },
    Door { name: "pickle", enter: pickle, good: good::pickle },
    Door { name: "hdf5", enter: hdf5, good: good::hdf5 },
    Door { name: "keras_archive", enter: keras_archive, good: good::keras_archive },
    Door { name: "keras_config", enter: keras_config, good: good::keras_config },
    Door { name: "caffemodel", enter: caffemodel, good: good::caffemodel },
    Door { name: "prototxt", enter: prototxt, good: good::prototxt },
    Door { name: "onnx", enter: onnx, good: good::onnx },
    Door { name: "idx", enter: idx, good: good::idx },
    Door { name: "picture", enter: picture, good: good::picture },
    Door { name: "graph", enter: graph, good: good::graph },
    Door { name: "state", enter: state, good: good::state },
];
