use super::simd::{Isa, Kernel, LANES, Simd};
use super::tile::are_small;

/// Multiply-adds that stay in registers, as fast as the machine does them: what kernels are measured
/// against. Gives the floating-point operations of the `rounds`, two for each multiply-add.
pub fn multiply_adds(isa: Isa, rounds: usize) -> f64 {
    let x = std::hint::black_box(0.999);
    let (sums, chains) = isa.run(Registers { rounds, x });
    std::hint::black_box(sums);
    (rounds * chains * LANES * 2) as f64
}

struct Registers {
    rounds: usize,
    x: f32,
}

impl Kernel for Registers {
    type Output = ([f32; LANES], usize);

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> ([f32; LANES], usize) {
        // As many as hide the latency of one, and fit into the registers.
        if are_small(S::TILE) { self.chains::<S, 6>(s) } else { self.chains::<S, 12>(s) }
    }
}

impl Registers {
    #[inline(always)]
    fn chains<S: Simd, const N: usize>(self, s: S) -> ([f32; LANES], usize) {
        let x = s.splat(self.x);
        let mut sums = [x; N];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = s.mul_add(*sum, x, x);
            }
        }
        let mut total = [0.0; LANES];
        s.store(sums.into_iter().fold(s.zero(), |a, b| s.add(a, b)), &mut total);
        (total, N)
    }
}
