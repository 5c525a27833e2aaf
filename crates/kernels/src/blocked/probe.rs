use super::simd::{Isa, Kernel, Simd};

/// Multiply-adds that stay in registers, as fast as the machine does them: what kernels are measured
/// against. Gives the floating-point operations of the `rounds`, two for each multiply-add.
pub fn multiply_adds(isa: Isa, rounds: usize) -> f64 {
    let sums = isa.run(Registers { rounds, x: std::hint::black_box(0.999) });
    std::hint::black_box(sums);
    (rounds * Registers::CHAINS * 16 * 2) as f64
}

struct Registers {
    rounds: usize,
    x: f32,
}

impl Registers {
    /// As many as hide the latency of one, and fit into the registers of all.
    const CHAINS: usize = 6;
}

impl Kernel for Registers {
    type Output = [f32; 16];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; 16] {
        let x = s.splat(self.x);
        let mut sums = [x; Registers::CHAINS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = s.mul_add(*sum, x, x);
            }
        }
        let mut total = [0.0; 16];
        s.store(sums.into_iter().fold(s.zero(), |a, b| s.add(a, b)), &mut total);
        total
    }
}
