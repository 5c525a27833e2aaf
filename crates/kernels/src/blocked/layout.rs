//! Between rows of numbers, `pictures × C × H × W`, and pixels of sixteen channels.

use super::simd::LANES;
use crate::threads::Threads;

/// Numbers of a part of the work: a row of a thousand classes is one.
const PART: usize = 1 << 12;

/// Pixels of weights or of transforms, of which most are beyond a second cache of 512 KiB or 1 MiB.
pub(crate) const FAR: usize = (1 << 20) / size_of::<Pixel>();

/// Sixteen channels of one pixel: a line of cache.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub struct Pixel(pub [f32; LANES]);

impl Pixel {
    /// All lanes zero.
    pub const ZERO: Pixel = Pixel([0.0; LANES]);

    /// All lanes of some pixels as numbers side by side.
    pub fn numbers(pixels: &[Pixel]) -> &[f32] {
        // SAFETY: a pixel is sixteen numbers and nothing else, and aligned at least as they are.
        unsafe { std::slice::from_raw_parts(pixels.as_ptr().cast(), pixels.len() * LANES) }
    }

    /// All lanes of some pixels as numbers side by side.
    pub fn numbers_mut(pixels: &mut [Pixel]) -> &mut [f32] {
        let len = pixels.len() * LANES;
        // SAFETY: as above; the borrow goes over to what is returned.
        unsafe { std::slice::from_raw_parts_mut(pixels.as_mut_ptr().cast(), len) }
    }
}

/// Blocks of sixteen channels, the last perhaps not full.
pub fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// `x`, `pictures × channels × area`, as pixels; lanes that are no channel become zero.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn pack(threads: &Threads, [pictures, channels, area]: [usize; 3], x: &[f32], y: &mut [Pixel]) {
    let own = blocks(channels);
    assert_eq!(
        [x.len(), y.len()],
        [pictures * channels * area, pictures * own * area],
        "lengths of x, y"
    );
    threads.chunks(y, area.max(1), |plane, y| {
        let (picture, block) = (plane / own, plane % own);
        let first = block * LANES;
        let x = &x[(picture * channels + first) * area..];
        let lanes = LANES.min(channels - first);
        for (i, y) in y.iter_mut().enumerate() {
            let value = |lane: usize| if lane < lanes { x[lane * area + i] } else { 0.0 };
            y.0 = std::array::from_fn(value);
        }
    });
}

/// The `pictures × channels × area` numbers of pixels.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn unpack(
    threads: &Threads,
    [pictures, channels, area]: [usize; 3],
    x: &[Pixel],
    y: &mut [f32],
) {
    let own = blocks(channels);
    assert_eq!(
        [x.len(), y.len()],
        [pictures * own * area, pictures * channels * area],
        "lengths of x, y"
    );
    let planes = (PART / area.max(1)).max(1);
    threads.chunks(y, planes * area.max(1), |part, y| {
        for (plane, y) in (part * planes..).zip(y.chunks_mut(area.max(1))) {
            let (picture, channel) = (plane / channels, plane % channels);
            let x = &x[(picture * own + channel / LANES) * area..];
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x.0[channel % LANES]);
        }
    });
}
