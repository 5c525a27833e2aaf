//! What is done to each channel by itself.

use super::simd::{Isa, Kernel, Simd};
use super::{Destination, LANES, Pixel, blocks};
use crate::threads::Threads;

/// `x · scale + shift`, one of each a channel and zero where there is none; then perhaps ReLU.
///
/// # Panics
/// If a value has another length than the sizes say.
pub fn affine(
    isa: Isa,
    threads: &Threads,
    pictures: usize,
    x: &[Pixel],
    [scale, shift]: [&[Pixel]; 2],
    relu: bool,
    y: Destination<'_>,
) {
    let own = scale.len();
    assert_eq!(shift.len(), own, "length of shift");
    let area = x.len() / (pictures * own);
    y.planes(threads, [pictures, own], |plane, y| {
        let x = &x[plane * area..][..area];
        let (scale, shift) = (&scale[plane % own], &shift[plane % own]);
        isa.run(Affine { x, scale, shift, relu, y });
    });
}

struct Affine<'a> {
    x: &'a [Pixel],
    scale: &'a Pixel,
    shift: &'a Pixel,
    relu: bool,
    y: &'a mut [Pixel],
}

impl Kernel for Affine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            for lane in 0..LANES {
                let value = x.0[lane] * self.scale.0[lane] + self.shift.0[lane];
                y.0[lane] = if self.relu && value < 0.0 { 0.0 } else { value };
            }
        }
    }
}

/// Zeros in the lanes of maps of `channels × area` that are no channel.
///
/// # Panics
/// If the value has another length than the sizes say.
pub fn clear_padding([pictures, channels, area]: [usize; 3], y: &mut [Pixel]) {
    let own = blocks(channels);
    assert_eq!(y.len(), pictures * own * area, "length of y");
    let used = channels - (own - 1) * LANES;
    for maps in y.chunks_exact_mut((own * area).max(1)) {
        maps[(own - 1) * area..].iter_mut().for_each(|pixel| pixel.0[used..].fill(0.0));
    }
}
