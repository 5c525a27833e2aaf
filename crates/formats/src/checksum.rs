use std::sync::atomic::{AtomicU32, Ordering};

use crc32fast::Hasher;

/// The CRC-32 of bytes that are seen part by part, in any order, by several threads.
///
/// But for what it begins with the sum is linear: each part is summed up as if all other bytes were
/// zero, and that of the whole is the exclusive or.
pub(crate) struct Checksum {
    len: u64,
    parts: AtomicU32,
}

/// Bytes of a part, from the first to the last.
pub(crate) struct Part<'s> {
    of: &'s Checksum,
    register: u32,
    /// Bytes before this one are seen, or not the part's.
    at: u64,
}

impl Checksum {
    pub(crate) fn new(len: u64) -> Checksum {
        Checksum { len, parts: AtomicU32::new(0) }
    }

    pub(crate) fn part(&self) -> Part<'_> {
        Part { of: self, register: 0, at: 0 }
    }

    /// That of all bytes, each of which was seen once.
    pub(crate) fn value(&self) -> u32 {
        !(zeros(!0, self.len) ^ self.parts.load(Ordering::Relaxed))
    }
}

impl Part<'_> {
    /// Takes in the bytes from the `at`-th on: none of them, or after them, is seen.
    pub(crate) fn see(&mut self, bytes: &[u8], at: u64) {
        let mut hasher = Hasher::new_with_initial(!zeros(self.register, at - self.at));
        hasher.update(bytes);
        self.register = !hasher.finalize();
        self.at = at + bytes.len() as u64;
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let register = zeros(self.register, self.of.len - self.at);
        self.of.parts.fetch_xor(register, Ordering::Relaxed);
    }
}

/// The register after so many bytes that are zero.
fn zeros(register: u32, count: u64) -> u32 {
    let mut hasher = Hasher::new_with_initial(register);
    hasher.combine(&Hasher::new_with_initial_len(0, count));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_any_order_have_the_sum_of_the_whole() {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let parts: [&[(usize, usize)]; 4] =
            [&[(4000, 9000)], &[(0, 17), (100, 101), (3000, 4000)], &[(101, 3000)], &[(17, 100)]];
        let sum = Checksum::new(bytes.len() as u64);
        for runs in parts {
            let mut part = sum.part();
            runs.iter().for_each(|&(from, to)| part.see(&bytes[from..to], from as u64));
        }
        assert_ne!(sum.value(), crc32fast::hash(&bytes));
        sum.part().see(&bytes[9000..], 9000);
        assert_eq!(sum.value(), crc32fast::hash(&bytes));
        assert_eq!(Checksum::new(0).value(), crc32fast::hash(&[]));
    }
}
