//! What may happen to a file on its way, and what somebody may do to it.

use striate_tensor::Rng;

/// Numbers at which something overflows, as formats write them.
const EXTREMES: [u64; 10] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// One change of a file.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// The file ends here.
    Truncate(usize),
    /// A bit is another.
    Flip(usize),
    /// From `at` on it goes on as another file does from `from` on.
    Splice {
        /// Byte of this file.
        at: usize,
        /// Byte of the other.
        from: usize,
    },
    /// A number in the place of what is there, as little- or big-endian bytes.
    Number {
        /// Its first byte.
        at: usize,
        /// Which number, in that many bytes of that order.
        bytes: Vec<u8>,
    },
    /// A part of the file is there again, right behind itself.
    Duplicate {
        /// Its first byte.
        at: usize,
        /// Its bytes.
        len: usize,
    },
}

impl Mutation {
    /// One of a file of `len` bytes and another of `other`.
    pub fn draw(rng: &mut Rng, len: usize, other: usize) -> Mutation {
        let at = rng.below(len + 1);
        match rng.below(8) {
            0 => Mutation::Truncate(at),
            1..=3 => Mutation::Flip(rng.below(8 * len.max(1))),
            4 => Mutation::Splice { at, from: rng.below(other + 1) },
            5 | 6 => {
                let width = [1, 2, 4, 8][rng.below(4)];
                let mut bytes = EXTREMES[rng.below(EXTREMES.len())].to_le_bytes()[..width].to_vec();
                if rng.chance(0.25) {
                    bytes.reverse();
                }
                Mutation::Number { at, bytes }
            }
            _ => Mutation::Duplicate { at, len: rng.below(64) + 1 },
        }
    }

    /// Changes a file.
    pub fn apply(&self, file: &mut Vec<u8>, other: &[u8]) {
        match *self {
            Mutation::Truncate(len) => file.truncate(len),
            Mutation::Flip(bit) => {
                if let Some(byte) = file.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Mutation::Splice { at, from } => {
                file.truncate(at);
                file.extend(&other[from.min(other.len())..]);
            }
            Mutation::Number { at, ref bytes } => {
                let there = file.iter_mut().skip(at);
                there.zip(bytes).for_each(|(to, byte)| *to = *byte);
            }
            Mutation::Duplicate { at, len } => {
                let at = at.min(file.len());
                let part = file[at..(at + len).min(file.len())].to_vec();
                file.splice(at..at, part);
            }
        }
    }
}
