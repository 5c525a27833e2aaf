//! A first layer of few outputs, such as LeNet-5's six: lanes are pixels of a row, since with outputs
//! in them most would be empty. A tap is a run of numbers, and a number for each output.

use super::layout::Pixel;
use super::simd::{Kernel, LANES, Simd};
use super::tile::{are_small, even, places};
use crate::threads::Runs;

/// Outputs, at most.
pub(crate) const OUTPUTS: usize = LANES / 2;

/// Vectors of pixels that are summed up at once, at most.
pub(crate) const VECTORS: usize = 2;

/// Rows of the output.
pub(crate) struct Few<'a> {
    /// The strip; behind its last number there are those of [`VECTORS`] more.
    pub(crate) planes: &'a [f32],
    /// Numbers from what a row of the output reads to what the next does.
    pub(crate) down: usize,
    /// The first number of each tap.
    pub(crate) taps: &'a [usize],
    /// Of each tap, a number for each output.
    pub(crate) weights: &'a [Pixel],
    pub(crate) bias: &'a Pixel,
    pub(crate) outputs: usize,
    pub(crate) factor: f32,
    pub(crate) relu: bool,
    /// Rows and columns.
    pub(crate) size: [usize; 2],
    pub(crate) out: Runs<'a, Pixel>,
}

/// The pixels that are summed up at once, at most.
pub(crate) struct Pixels;

impl Kernel for Pixels {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        vectors::<S>() * LANES
    }
}

/// Vectors whose sums registers hold: two where tiles are large.
const fn vectors<S: Simd>() -> usize {
    if are_small(S::TILE) { 1 } else { VECTORS }
}

impl Kernel for Few<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let vectors = vectors::<S>().min(self.size[1].div_ceil(LANES));
        let most = even(self.outputs, OUTPUTS.min(S::TILE[vectors - 1]));
        for first in (0..self.outputs).step_by(most) {
            let count = most.min(self.outputs - first);
            macro_rules! instance {
                ($($c:literal)*) => {
                    match (count, vectors) {
                        $(($c, 1) => self.rows::<S, $c, 1>(s, first),
                          ($c, 2) => self.rows::<S, $c, 2>(s, first),)*
                        _ => unreachable!("{count} outputs of {vectors} vectors"),
                    }
                };
            }
            instance!(1 2 3 4 5 6 7 8);
        }
    }
}

impl Few<'_> {
    /// All pixels of `C` outputs, of which `first` is the first.
    #[inline(always)]
    fn rows<S: Simd, const C: usize, const V: usize>(&mut self, s: S, first: usize) {
        let Few { planes, down, taps, weights, factor, relu, size: [rows, width], .. } = *self;
        let bias: [S::V; C] = std::array::from_fn(|c| s.splat(self.bias.0[first + c]));
        let factor = s.splat(factor);
        for place in places([rows, width.div_ceil(V * LANES)], V * LANES) {
            let at = place[0] * down + place[1];
            let mut sums = [bias; V];
            for (tap, weights) in taps.iter().zip(weights) {
                let Some(numbers) = planes[tap + at..].as_chunks::<LANES>().0.first_chunk::<V>()
                else {
                    unreachable!("a tap reads within the strip")
                };
                let Some(weights) = weights.0[first..].first_chunk::<C>() else {
                    unreachable!("outputs are lanes of the weights")
                };
                let numbers: [S::V; V] = std::array::from_fn(|v| s.load(&numbers[v]));
                for c in 0..C {
                    let weight = s.splat(weights[c]);
                    for v in 0..V {
                        sums[v][c] = s.mul_add(numbers[v], weight, sums[v][c]);
                    }
                }
            }
            let mut lanes = [[[0.0; LANES]; C]; V];
            for v in 0..V {
                for c in 0..C {
                    let sum = s.mul(factor, sums[v][c]);
                    s.store(if relu { s.relu(sum) } else { sum }, &mut lanes[v][c]);
                }
            }
            let mut out = self.out.after(place);
            for (pixels, lanes) in out.all(0).chunks_mut(LANES).zip(&lanes) {
                for (p, pixel) in pixels.iter_mut().enumerate() {
                    let outputs: [f32; C] = std::array::from_fn(|c| lanes[c][p]);
                    if first == 0 {
                        *pixel = Pixel::ZERO;
                    }
                    pixel.0[first..][..C].copy_from_slice(&outputs);
                }
            }
        }
    }
}
