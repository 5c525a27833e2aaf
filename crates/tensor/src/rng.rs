use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Random numbers from a counter (ChaCha, 8 rounds): a seed and a key name a stream.
///
/// Equal seeds and keys give equal numbers on every machine, whatever else was drawn. A key says
/// what is drawn for: `[PURPOSE, epoch, index]`.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    stream: ChaCha8Rng,
}

/// The first word of the keys of [`Rng::fork`]; no purpose of others is this large.
const FORK: u64 = u64::MAX;

impl Rng {
    /// The stream of a seed alone.
    pub fn new(seed: u64) -> Rng {
        Rng::keyed(seed, [0; 3])
    }

    /// The stream of a seed and a key.
    pub fn keyed(seed: u64, key: [u64; 3]) -> Rng {
        let mut bytes = [0; 32];
        for (to, word) in bytes.chunks_exact_mut(8).zip([seed, key[0], key[1], key[2]]) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        Rng { seed, stream: ChaCha8Rng::from_seed(bytes) }
    }

    /// The stream of the same seed and a name, whatever was drawn here.
    pub fn fork(&self, name: &str) -> Rng {
        // FNV-1a, 64 bits: spreads names, needs no secrecy.
        let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
        self.stream([FORK, hash, 0])
    }

    /// The stream of the same seed and another key, whatever was drawn here.
    pub fn stream(&self, key: [u64; 3]) -> Rng {
        Rng::keyed(self.seed, key)
    }

    /// Draws that [`uniform`](Rng::uniform) makes, for [`skip`](Rng::skip).
    pub const UNIFORM: usize = 1;
    /// Draws that [`normal`](Rng::normal) makes, for [`skip`](Rng::skip).
    pub const NORMAL: usize = 2 * Rng::UNIFORM;

    /// Goes on as if so many draws had been made.
    pub fn skip(&mut self, draws: usize) {
        self.stream.set_word_pos(self.stream.get_word_pos() + draws as u128);
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// Uniform in `[0, 1)`, a multiple of 2⁻²⁴, so exact in `f32`.
    pub fn uniform(&mut self) -> f32 {
        (self.stream.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// Uniform in `[low, high)`.
    pub fn within(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in `0..n`.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "a number below 0 was asked for");
        // The high half of a 64×64 product: its bias is n / 2⁶⁴.
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f32 {
        let u = 1.0 - f64::from(self.uniform());
        let v = f64::from(self.uniform());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.uniform() < p
    }

    /// A random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_for_all_time() {
        // A change here would change every seeded run ever made.
        let mut rng = Rng::new(1);
        assert_eq!([rng.bits(), rng.bits()], EXPECTED);
        assert_ne!(Rng::keyed(1, [1, 0, 0]).bits(), EXPECTED[0]);
    }

    const EXPECTED: [u64; 2] = [7_037_237_572_835_827_407, 5_440_448_899_038_119_230];

    #[test]
    fn what_is_skipped_is_as_if_drawn() {
        for draws in [0, 1, 15, 16, 17, 63, 64, 65, 1000] {
            let (mut drawn, mut skipped) = (Rng::new(4), Rng::new(4));
            (0..3 * Rng::UNIFORM).for_each(|_| _ = drawn.uniform());
            (0..draws).for_each(|_| _ = drawn.normal());
            skipped.uniform();
            skipped.skip(2 * Rng::UNIFORM + draws * Rng::NORMAL);
            assert_eq!(drawn.bits(), skipped.bits(), "{draws}");
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut rng = Rng::new(7);
        let n = 20_000;
        let uniform: Vec<f32> = (0..n).map(|_| rng.uniform()).collect();
        let normal: Vec<f32> = (0..n).map(|_| rng.normal()).collect();
        let mean = |v: &[f32]| v.iter().map(|&x| f64::from(x)).sum::<f64>() / v.len() as f64;
        let square: Vec<f32> = normal.iter().map(|x| x * x).collect();
        assert!((mean(&uniform) - 0.5).abs() < 0.01);
        assert!(mean(&normal).abs() < 0.03);
        assert!((mean(&square) - 1.0).abs() < 0.05);
        assert!(uniform.iter().all(|x| (0.0..1.0).contains(x)));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Rng::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
