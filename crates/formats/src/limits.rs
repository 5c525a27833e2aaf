//! The limits within which files are read, all in one place: `docs/formats.md` publishes them, and a
//! test compares the two.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::FormatError;

/// What a reader may take for a file. Readers that are not told any keep to those of the process
/// ([`Limits::current`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of memory: for what the file says of its tensors, for values that it has
    /// compressed, and for all its values as `f32`. It is compared with what the file claims before
    /// anything is allocated.
    pub memory: u64,
}

/// [`Limits::memory`] where nobody says otherwise: 8 GiB.
pub const MEMORY: u64 = 1 << 33;

/// The most tensors of a file.
pub const TENSORS: usize = 1 << 17;

/// The most axes of a tensor.
pub const AXES: usize = 64;

/// The longest name of a tensor, in bytes.
pub const NAME: usize = 1 << 16;

/// Safetensors: the largest header, as the format has it.
pub const HEADER: u64 = 100_000_000;

/// Zip archives: the most entries.
pub const ENTRIES: usize = 1 << 17;

/// PyTorch: the largest pickle. It describes tensors, some hundred bytes each.
pub const PICKLE: u64 = 64 << 20;

/// PyTorch: the most operations of a pickle.
pub const OPERATIONS: usize = 1 << 22;

/// PyTorch: the longest key of a storage, in bytes.
pub const KEY: usize = 64;

/// PyTorch: the largest metadata in a file of ours.
pub const METADATA: u64 = 1 << 20;

/// HDF5: the most groups. A network of thirty thousand layers has as many.
pub const GROUPS: usize = 1 << 17;

/// HDF5: the deepest that groups lie in each other.
pub const GROUP_DEPTH: usize = 32;

/// HDF5: the largest header of a group or dataset, names of layers included.
pub const OBJECT_HEADER: usize = 16 << 20;

/// HDF5: the largest chunk of a dataset.
pub const CHUNK: usize = 256 << 20;

/// HDF5: the most bytes of names of groups, datasets and attributes.
pub const NAMES: u64 = 256 << 20;

/// HDF5: how many times the length of the file is read at most …
pub const REREAD: u64 = 8;

/// … and how many bytes beside that.
pub const REREAD_BESIDE: u64 = 64 << 20;

/// HDF5 and `.keras`: the most bytes that one compressed byte may become, which is what deflate
/// makes at most.
pub const RATIO: u64 = 1032;

/// `.keras`: the largest text. Of a layer it has some thousand bytes.
pub const CONFIG: u64 = 64 << 20;

/// Caffe and ONNX: the most fields of a network.
pub const FIELDS: usize = 1 << 20;

/// Caffe: the most layers of a network; that of ResNet-1001 has some 5,000.
pub const LAYERS: usize = 1 << 14;

/// Caffe and ONNX: the longest text, in bytes. Names of layers are some ten bytes long.
pub const TEXT: u64 = 1 << 16;

/// Caffe: the deepest that messages lie in each other; Caffe's own are four deep.
pub const MESSAGE_DEPTH: usize = 32;

/// Caffe: the largest `.prototxt`; that of ResNet-152 has 120 kB.
pub const PROTOTXT: u64 = 16 << 20;

/// ONNX: the most axes of a value that is computed when the file is read.
pub const COMPUTED_AXES: usize = 32;

/// ONNX: the most values that are computed with at a time: 64 MiB.
pub const COMPUTED: usize = 1 << 24;

/// ONNX: the most values that are computed with in all, and the most that one value becomes.
pub const COMPUTED_IN_ALL: usize = 1 << 28;

/// ONNX: the most files beside it that its weights are in.
pub const FILES: usize = 1 << 10;

/// The limit of the process, in bytes.
static CURRENT: AtomicU64 = AtomicU64::new(MEMORY);

impl Limits {
    /// Those that hold where none are given: [`MEMORY`], or what was [installed](Limits::install).
    pub fn current() -> Limits {
        Limits { memory: CURRENT.load(Ordering::Relaxed) }
    }

    /// Makes these the ones that hold in this process where none are given, as `--max-memory` does.
    pub fn install(self) {
        CURRENT.store(self.memory, Ordering::Relaxed);
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory: MEMORY }
    }
}

/// The memory that a reader may take for one file.
pub(crate) struct Room {
    limits: Limits,
    taken: Cell<u64>,
}

impl Room {
    pub(crate) fn within(limits: &Limits) -> Room {
        Room { limits: *limits, taken: Cell::new(0) }
    }

    /// Takes so many bytes, before they are allocated.
    pub(crate) fn take(
        &self,
        bytes: u64,
        place: &str,
        what: impl FnOnce() -> String,
    ) -> Result<(), FormatError> {
        let taken = self.taken.get().saturating_add(bytes);
        if taken > self.limits.memory {
            return Err(self.exceeded(bytes, place, what()));
        }
        self.taken.set(taken);
        Ok(())
    }

    /// How many more bytes may be taken.
    pub(crate) fn left(&self) -> u64 {
        self.limits.memory - self.taken.get()
    }

    fn exceeded(&self, bytes: u64, place: &str, what: String) -> FormatError {
        let Room { limits: Limits { memory }, taken } = self;
        let beside = match taken.get() {
            0 => String::new(),
            taken => format!(" beside {taken}"),
        };
        FormatError::TooLarge {
            place: place.to_owned(),
            found: format!("{what}, {bytes} bytes in memory{beside},"),
            limit: format!("{memory} bytes, which --max-memory raises"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_adds_up_to_the_limit_and_no_further() {
        let room = Room::within(&Limits { memory: 100 });
        room.take(60, "x", || unreachable!()).unwrap();
        room.take(40, "x", || unreachable!()).unwrap();
        assert_eq!(room.left(), 0);
        let error = room.take(1, "x", || String::from("a header")).unwrap_err();
        let expected = "x: a header, 1 bytes in memory beside 100, is too large, the limit is 100 \
                        bytes, which --max-memory raises";
        assert_eq!(error.to_string(), expected);
        assert!(room.take(u64::MAX, "x", String::new).is_err());
    }
}
