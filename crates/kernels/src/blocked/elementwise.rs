//! What is done to each channel by itself.

use super::simd::{Isa, Kernel, Simd};
use super::{Destination, LANES, Pixel, blocks};
use crate::activation::{Curve, Sigmoid, Tanh, curve};
use crate::simd::{self, dispatch};
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

/// `y = a · tanh(s · x)` of maps of `channels × area`.
///
/// # Panics
/// If a value has another length than the sizes say.
pub fn tanh(threads: &Threads, sizes: [usize; 3], [a, s]: [f32; 2], x: &[Pixel], y: &mut [Pixel]) {
    each_channel(threads, sizes, Tanh { a, s }, x, y);
}

/// `y = 1 / (1 + exp(−x))` of maps of `channels × area`.
///
/// # Panics
/// If a value has another length than the sizes say.
pub fn sigmoid(threads: &Threads, sizes: [usize; 3], x: &[Pixel], y: &mut [Pixel]) {
    each_channel(threads, sizes, Sigmoid, x, y);
    clear_padding(sizes, y);
}

/// Lanes that are computed where there are no more channels.
const HALF: usize = LANES / 2;
/// Pixels whose halves are brought together, to fill registers.
const TOGETHER: usize = 32;
/// Pixels of a part of the work.
const PART: usize = 16 * TOGETHER;

fn each_channel(
    threads: &Threads,
    [pictures, channels, area]: [usize; 3],
    function: impl Curve,
    x: &[Pixel],
    y: &mut [Pixel],
) {
    assert_eq!([x.len(), y.len()], [pictures * blocks(channels) * area; 2], "lengths of x, y");
    if channels > HALF {
        return curve(threads, Pixel::numbers(x), Pixel::numbers_mut(y), function);
    }
    threads.chunks(y, PART, |part, y| {
        let x = &x[part * PART..][..y.len()];
        dispatch(Halves { x, y, function });
    });
}

/// A function of the first half of the lanes; zeros in the others.
struct Halves<'a, C> {
    x: &'a [Pixel],
    y: &'a mut [Pixel],
    function: C,
}

impl<C: Curve> simd::Kernel for Halves<'_, C> {
    #[inline(always)]
    fn run<const FMA: bool, const LANES: usize, const ROWS: usize>(self) {
        let Halves { x, y, function } = self;
        let mut halves = [[0.0; HALF]; TOGETHER];
        for (y, x) in y.chunks_mut(TOGETHER).zip(x.chunks(TOGETHER)) {
            for (half, x) in halves.iter_mut().zip(x) {
                half.copy_from_slice(&x.0[..HALF]);
            }
            for value in halves.as_flattened_mut() {
                *value = function.at::<FMA>(*value);
            }
            for (y, half) in y.iter_mut().zip(&halves) {
                y.0[..HALF].copy_from_slice(half);
                y.0[HALF..].fill(0.0);
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
