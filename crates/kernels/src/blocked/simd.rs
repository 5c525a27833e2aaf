//! Instruction sets: tokens that prove one is there and carry its operations on sixteen lanes.
//!
//! A kernel is written once, generic over [`Simd`], and compiled for each token with the token's
//! instructions: [`Isa::run`] picks the token, [`Simd::vectorize`] is the door into code that is
//! compiled so. Everything a kernel calls must be `#[inline(always)]`, or it is compiled without.
//!
//! A multiply-add is rounded once, but for [`Portable`]: there an instruction that does it may not
//! exist.

use std::fmt;

/// Lanes of a vector, whatever the registers: the channels of a block.
pub const LANES: usize = 16;

/// Sixteen lanes in memory.
pub(crate) type Lanes = [f32; LANES];

/// An instruction set that the engine is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// AVX-512F: a register holds the sixteen lanes.
    Avx512,
    /// AVX2 and FMA: two registers.
    Avx2,
    /// NEON of 64-bit ARM: four registers.
    Neon,
    /// What every processor of the target has.
    Portable,
}

impl Isa {
    /// All of them, the best first.
    const ALL: [Isa; 4] = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable];

    /// The best that this machine has.
    pub fn best() -> Isa {
        Isa::available().next().unwrap_or(Isa::Portable)
    }

    /// Those that this machine has, the best first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::Avx2::detect().is_some(),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => true,
            Isa::Portable => true,
            #[allow(unreachable_patterns, reason = "those of other processors")]
            Isa::Avx512 | Isa::Avx2 | Isa::Neon => false,
        }
    }

    /// `avx512`, `avx2`, `neon`, `portable`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Neon => "neon",
            Isa::Portable => "portable",
        }
    }

    /// That of a name.
    pub fn named(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Runs a kernel with these instructions; with [`Isa::Portable`]'s where the machine lacks them.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => match x86::Avx512::detect() {
                Some(token) => token.vectorize(kernel),
                None => Portable.vectorize(kernel),
            },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => match x86::Avx2::detect() {
                Some(token) => token.vectorize(kernel),
                None => Portable.vectorize(kernel),
            },
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => arm::Neon.vectorize(kernel),
            Isa::Portable => Portable.vectorize(kernel),
            #[allow(unreachable_patterns, reason = "those of other processors")]
            Isa::Avx512 | Isa::Avx2 | Isa::Neon => Portable.vectorize(kernel),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether it pays to ask for the weights of a linear layer, of one picture or for large tiles, and for Winograd's
/// transforms that lie beyond the second cache, ahead of what the processor does by itself. On an Intel server it does; on AMD's Zen 3 a linear layer
/// takes up to a tenth longer so, and Zen 4 and 5 were not measured: AMD's are not asked.
#[inline(always)]
pub(crate) fn asking_ahead_pays() -> bool {
    // SSE4a is of AMD's processors, and their kin's, alone.
    #[cfg(target_arch = "x86_64")]
    let intel = !is_x86_feature_detected!("sse4a");
    #[cfg(not(target_arch = "x86_64"))]
    let intel = false;
    intel
}

/// Code that is compiled for each instruction set.
pub(crate) trait Kernel {
    type Output;

    /// `#[inline(always)]`, as all that it calls.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Proof that an instruction set is there, and its operations.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Sixteen lanes.
    type V: Copy;
    /// The pixels that a tile of one block, and of two, has at most: more would leave the registers,
    /// at two or three times the cost. With 0 there are no tiles of two.
    const TILE: [usize; 2];

    /// Runs a kernel with the instructions of the token.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &Lanes) -> Self::V;
    fn store(self, x: Self::V, to: &mut Lanes);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` where it is larger, else `b`: what is not a number in `b` stays so.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger; what is not a number in either stays so.
    fn larger(self, a: Self::V, b: Self::V) -> Self::V;

    /// Adds to the sums of `P` pixels and `J` blocks a number of each pixel times its weights.
    #[inline(always)]
    fn multiply<const P: usize, const J: usize>(
        self,
        x: [&f32; P],
        weights: [&Lanes; J],
        sums: &mut [[Self::V; J]; P],
    ) {
        pixel_by_pixel(self, x, weights, sums);
    }

    /// Asks for a line that will soon be read or written.
    #[inline(always)]
    fn prefetch(self, _line: &Lanes) {}

    /// Asks for a line, into the second cache.
    #[inline(always)]
    fn prefetch_far(self, _line: &Lanes) {}

    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// Negative lanes made zero.
    #[inline(always)]
    fn relu(self, x: Self::V) -> Self::V {
        self.max(self.zero(), x)
    }
}

/// [`Simd::multiply`] with the weights of all blocks in registers.
#[inline(always)]
fn pixel_by_pixel<S: Simd, const P: usize, const J: usize>(
    s: S,
    x: [&f32; P],
    weights: [&Lanes; J],
    sums: &mut [[S::V; J]; P],
) {
    let weights: [S::V; J] = std::array::from_fn(|j| s.load(weights[j]));
    for p in 0..P {
        let x = s.splat(*x[p]);
        for j in 0..J {
            sums[p][j] = s.mul_add(x, weights[j], sums[p][j]);
        }
    }
}

/// The token of what every processor has.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Simd for Portable {
    type V = Lanes;
    const TILE: [usize; 2] = [2, 0];

    /// A function of its own, as those of other tokens are.
    #[inline(never)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Lanes {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, from: &Lanes) -> Lanes {
        *from
    }

    #[inline(always)]
    fn store(self, x: Lanes, to: &mut Lanes) {
        *to = x;
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn larger(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| if b > a || b.is_nan() { b } else { a })
    }
}

#[inline(always)]
fn each(mut a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    for (a, b) in a.iter_mut().zip(b) {
        *a = f(*a, b);
    }
    a
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, LANES, Lanes, Simd, pixel_by_pixel};
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(());

    impl Avx512 {
        #[inline(always)]
        pub(crate) fn detect() -> Option<Avx512> {
            is_x86_feature_detected!("avx512f").then_some(Avx512(()))
        }
    }

    #[target_feature(enable = "avx512f")]
    fn with_avx512<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
        kernel.run(token)
    }

    // SAFETY, of every `unsafe` below: the token exists, so the processor has AVX-512F; loads and
    // stores are of the sixteen lanes that the reference points to, and need no alignment.
    impl Simd for Avx512 {
        type V = __m512;
        const TILE: [usize; 2] = [14, 14];

        #[inline(always)]
        fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
            // SAFETY: as above.
            unsafe { with_avx512(self, kernel) }
        }

        #[inline(always)]
        fn prefetch(self, line: &Lanes) {
            // SAFETY: any address may be asked for.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
        }

        #[inline(always)]
        fn prefetch_far(self, line: &Lanes) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) }
        }

        #[inline(always)]
        fn splat(self, x: f32) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_set1_ps(x) }
        }

        #[inline(always)]
        fn load(self, from: &Lanes) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_loadu_ps(from.as_ptr()) }
        }

        #[inline(always)]
        fn store(self, x: __m512, to: &mut Lanes) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
        }

        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_mul_ps(a, b) }
        }

        #[inline(always)]
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_max_ps(a, b) }
        }

        #[inline(always)]
        fn larger(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe {
                let wild = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
                _mm512_mask_mov_ps(_mm512_max_ps(a, b), wild, a)
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(());

    impl Avx2 {
        #[inline(always)]
        pub(crate) fn detect() -> Option<Avx2> {
            let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            found.then_some(Avx2(()))
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn with_avx2<K: Kernel>(token: Avx2, kernel: K) -> K::Output {
        kernel.run(token)
    }

    // SAFETY, of every `unsafe` below: the token exists, so the processor has AVX2 and FMA; loads
    // and stores are of the two halves of the sixteen lanes that the reference points to, and need
    // no alignment.
    impl Simd for Avx2 {
        type V = [__m256; 2];
        const TILE: [usize; 2] = [6, 3];

        #[inline(always)]
        fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
            // SAFETY: as above.
            unsafe { with_avx2(self, kernel) }
        }

        /// Of two blocks the weights come register by register, while the numbers of all pixels are kept:
        /// three of these, one of those and twelve sums are the sixteen registers.
        #[inline(always)]
        fn multiply<const P: usize, const J: usize>(
            self,
            x: [&f32; P],
            weights: [&Lanes; J],
            sums: &mut [[[__m256; 2]; J]; P],
        ) {
            if J == 1 {
                return pixel_by_pixel(self, x, weights, sums);
            }
            let mut numbers = [self.zero()[0]; P];
            for p in 0..P {
                numbers[p] = self.splat(*x[p])[0];
            }
            for j in 0..J {
                let halves = halves(weights[j]);
                for half in 0..2 {
                    // SAFETY: as above.
                    let weights = unsafe { _mm256_loadu_ps(halves[half].as_ptr()) };
                    for p in 0..P {
                        let sum = &mut sums[p][j][half];
                        // SAFETY: as above.
                        *sum = unsafe { _mm256_fmadd_ps(numbers[p], weights, *sum) };
                    }
                }
            }
        }

        #[inline(always)]
        fn prefetch(self, line: &Lanes) {
            // SAFETY: any address may be asked for.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
        }

        #[inline(always)]
        fn prefetch_far(self, line: &Lanes) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) }
        }

        #[inline(always)]
        fn splat(self, x: f32) -> [__m256; 2] {
            // SAFETY: as above.
            unsafe { [_mm256_set1_ps(x); 2] }
        }

        #[inline(always)]
        fn load(self, from: &Lanes) -> [__m256; 2] {
            let [low, high] = halves(from);
            // SAFETY: as above.
            unsafe { [_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr())] }
        }

        #[inline(always)]
        fn store(self, x: [__m256; 2], to: &mut Lanes) {
            let (low, high) = to.split_at_mut(LANES / 2);
            // SAFETY: as above.
            unsafe {
                _mm256_storeu_ps(low.as_mut_ptr(), x[0]);
                _mm256_storeu_ps(high.as_mut_ptr(), x[1]);
            }
        }

        #[inline(always)]
        fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            // SAFETY: as above.
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }

        #[inline(always)]
        fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            // SAFETY: as above.
            unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        }

        #[inline(always)]
        fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            // SAFETY: as above.
            unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        }

        #[inline(always)]
        fn mul_add(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
            // SAFETY: as above.
            unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
        }

        #[inline(always)]
        fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            // SAFETY: as above.
            unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
        }

        #[inline(always)]
        fn larger(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            // SAFETY: as above.
            unsafe {
                let low = _mm256_cmp_ps::<_CMP_UNORD_Q>(a[0], a[0]);
                let high = _mm256_cmp_ps::<_CMP_UNORD_Q>(a[1], a[1]);
                let max = self.max(a, b);
                [_mm256_blendv_ps(max[0], a[0], low), _mm256_blendv_ps(max[1], a[1], high)]
            }
        }
    }

    #[inline(always)]
    fn halves(lanes: &Lanes) -> [&[f32]; 2] {
        let (low, high) = lanes.split_at(LANES / 2);
        [low, high]
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::{Kernel, Lanes, Simd};
    use std::arch::aarch64::*;

    /// Every 64-bit ARM processor that Rust compiles for by default has NEON.
    #[derive(Clone, Copy)]
    pub(crate) struct Neon;

    #[inline(always)]
    fn each(f: impl Fn(usize) -> float32x4_t) -> [float32x4_t; 4] {
        [f(0), f(1), f(2), f(3)]
    }

    // SAFETY, of every `unsafe` below: NEON is part of the target; loads and stores are of the four
    // quarters of the sixteen lanes that the reference points to.
    impl Simd for Neon {
        type V = [float32x4_t; 4];
        const TILE: [usize; 2] = [6, 0];

        #[inline(always)]
        fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
            kernel.run(self)
        }

        #[inline(always)]
        fn splat(self, x: f32) -> [float32x4_t; 4] {
            // SAFETY: as above.
            unsafe { [vdupq_n_f32(x); 4] }
        }

        #[inline(always)]
        fn load(self, from: &Lanes) -> [float32x4_t; 4] {
            let quarters = from.as_chunks::<4>().0;
            // SAFETY: as above.
            each(|i| unsafe { vld1q_f32(quarters[i].as_ptr()) })
        }

        #[inline(always)]
        fn store(self, x: [float32x4_t; 4], to: &mut Lanes) {
            for (to, x) in to.as_chunks_mut::<4>().0.iter_mut().zip(x) {
                // SAFETY: as above.
                unsafe { vst1q_f32(to.as_mut_ptr(), x) }
            }
        }

        #[inline(always)]
        fn add(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            // SAFETY: as above.
            each(|i| unsafe { vaddq_f32(a[i], b[i]) })
        }

        #[inline(always)]
        fn sub(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            // SAFETY: as above.
            each(|i| unsafe { vsubq_f32(a[i], b[i]) })
        }

        #[inline(always)]
        fn mul(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            // SAFETY: as above.
            each(|i| unsafe { vmulq_f32(a[i], b[i]) })
        }

        #[inline(always)]
        fn mul_add(
            self,
            a: [float32x4_t; 4],
            b: [float32x4_t; 4],
            c: [float32x4_t; 4],
        ) -> [float32x4_t; 4] {
            // SAFETY: as above.
            each(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
        }

        #[inline(always)]
        fn max(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            // SAFETY: as above.
            each(|i| unsafe { vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i]) })
        }

        #[inline(always)]
        fn larger(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
            // SAFETY: as above.
            each(|i| unsafe { vmaxq_f32(a[i], b[i]) })
        }
    }
}
