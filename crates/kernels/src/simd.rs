//! One loop, compiled once for every instruction set.
//!
//! A hot loop is written in plain Rust, over arrays of a fixed length that the compiler turns into
//! registers, and put into a [`Kernel`]; [`dispatch`] runs it as compiled for the best instruction
//! set of this machine. Everything it calls must be `#[inline(always)]`, to be compiled with it.

/// A loop that wants to be compiled for each instruction set.
pub(crate) trait Kernel {
    /// The loop: `FMA` if multiply-add is one instruction, `LANES` floats in a vector, and the
    /// `ROWS` that a tile of 16 columns may have so that it stays in registers.
    fn run<const FMA: bool, const LANES: usize, const ROWS: usize>(self);
}

/// Runs `kernel` with the best instructions this machine has.
pub(crate) fn dispatch(kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512, as just asked.
            return unsafe { avx512(kernel) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA, as just asked.
            return unsafe { avx2(kernel) };
        }
    }
    portable(kernel);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(kernel: impl Kernel) {
    kernel.run::<true, 16, 8>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(kernel: impl Kernel) {
    kernel.run::<true, 8, 4>();
}

/// What every processor of the target has: SSE2 on x86-64, NEON on aarch64.
fn portable(kernel: impl Kernel) {
    #[cfg(target_arch = "aarch64")]
    kernel.run::<true, 4, 4>();
    #[cfg(not(target_arch = "aarch64"))]
    kernel.run::<false, 4, 2>();
}

/// `a · b + c`, rounded once where that is one instruction. Elsewhere `f32::mul_add` would be a
/// call into a library.
#[inline(always)]
pub(crate) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every instruction set this machine has, as a way to run a kernel.
    pub(crate) fn each<K: Kernel>(mut kernel: impl FnMut() -> K) {
        portable(kernel());
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the processor has AVX2 and FMA, as just asked.
                unsafe { avx2(kernel()) };
            }
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor has AVX-512, as just asked.
                unsafe { avx512(kernel()) };
            }
        }
    }
}
