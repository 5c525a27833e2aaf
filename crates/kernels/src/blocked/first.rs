//! Convolution of a picture of up to four channels, read as the planes it comes in: a tap is one
//! number a pixel, and a vector of weights.

use super::convolution::{Outputs, Work};
use super::direct::each_patch;
use super::filters::Places;
use super::layout::{Pixel, blocks};
use super::simd::{Isa, Kernel, LANES, Simd};
use super::strip::{Strip, share};
use super::tile::{Finish, Sink, cut, even, instance};
use crate::conv::Conv;
use crate::threads::Patch;

/// Numbers of input that a part of the work reads.
const INPUT: usize = (128 << 10) / size_of::<f32>();

/// The most channels.
const CHANNELS: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct First {
    pub(crate) conv: Conv,
}

impl First {
    pub(crate) fn new(conv: &Conv) -> Option<First> {
        (conv.input[0] <= CHANNELS && conv.groups == 1).then_some(First { conv: *conv })
    }

    fn taps(&self) -> usize {
        self.conv.input[0] * self.conv.kernel[0] * self.conv.kernel[1]
    }

    pub(crate) fn packed_len(&self) -> usize {
        blocks(self.conv.output[0]) * self.taps()
    }

    /// The weights of a block of outputs.
    pub(crate) fn pack(&self, weight: &[f32], packed: &mut [Pixel]) {
        let [kh, kw] = self.conv.kernel;
        let taps: Vec<usize> = (0..kh * kw).collect();
        let places = Places { first: 0, block: 0, lane: taps.len(), taps: &taps };
        places.put(weight, self.conv.input[0], packed);
    }

    fn strip(&self, threads: usize) -> Strip {
        let rows = self.conv.output[1];
        let size = |rows| Strip::new(&self.conv, rows).len() * self.conv.input[0];
        let most = (1..=rows).rev().find(|&rows| size(rows) <= INPUT).unwrap_or(1);
        Strip::new(&self.conv, share(rows, most, threads))
    }

    /// Numbers of a strip of all channels, in pixels.
    fn strip_pixels(&self, strip: &Strip) -> usize {
        (strip.len() * self.conv.input[0]).div_ceil(LANES)
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        self.strip_pixels(&self.strip(threads)) * threads
    }

    pub(crate) fn run(
        &self,
        work: &Work<'_>,
        x: &[f32],
        outputs: Outputs<'_>,
        scratch: &mut [Pixel],
    ) {
        let [out, height, width] = self.conv.output;
        let threads = work.threads.count();
        let strip = self.strip(threads);
        let taps: Vec<usize> = {
            let [kh, kw] = self.conv.kernel;
            let all = (0..self.taps()).map(|tap| (tap / (kh * kw), tap % (kh * kw)));
            all.map(|(plane, tap)| plane * strip.len() + strip.tap([tap / kw, tap % kw])).collect()
        };
        let cut = [1, blocks(out), strip.makes, width];
        let size = [height, width];
        each_patch(work.threads, &self.conv, size, outputs, cut, scratch, |out, sum, scratch| {
            let strip_values = Pixel::numbers_mut(scratch);
            let part = Part { first: self, work, x, strip, taps: &taps, out, sum, strip_values };
            self.dispatch(work.isa, part);
        });
    }

    /// With half the lanes where those are all channels, as in LeNet-5.
    pub(crate) fn dispatch<K: Kernel>(&self, isa: Isa, kernel: K) -> K::Output {
        match self.conv.output[0] <= LANES / 2 {
            true => isa.run_half(kernel),
            false => isa.run(kernel),
        }
    }
}

struct Part<'a> {
    first: &'a First,
    work: &'a Work<'a>,
    x: &'a [f32],
    strip: Strip,
    taps: &'a [usize],
    out: Patch<'a, Pixel>,
    sum: Option<Patch<'a, Pixel>>,
    strip_values: &'a mut [f32],
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Part { first, work, x, strip, taps, mut out, mut sum, strip_values } = self;
        let Conv { input: [channels, h, w], .. } = first.conv;
        let area = h * w;
        for picture in out.pictures.clone() {
            let planes = x[picture * channels * area..].chunks_exact(area).take(channels);
            for (plane, to) in planes.zip(strip_values.chunks_exact_mut(strip.len())) {
                strip.copy(plane, 0.0, out.rows.start, to);
            }
            let finish = work.tail.finish(picture);
            let (rows, columns) = (out.rows.clone(), out.columns.clone());
            for row in rows.clone() {
                let mut block = out.blocks.start;
                while block < out.blocks.end {
                    let j = if S::TILE[1] > 0 { 2.min(out.blocks.end - block) } else { 1 };
                    let pixels = even(columns.len(), S::TILE[j - 1]);
                    let product = Product {
                        planes: strip_values,
                        taps,
                        weights: &work.packed[block * taps.len()..],
                        bias: &work.tail.bias[block..],
                    };
                    let place = [picture, block, row, columns.start];
                    let mut sink = Sink {
                        out: out.runs(place, columns.len()),
                        sum: sum.as_mut().map(|sum| sum.runs(place, columns.len())),
                    };
                    let residual = work.tail.residual_pixel(row, columns.start);
                    let finish = finish.at(block, residual);
                    let at = (row - rows.start) * strip.row() + columns.start;
                    for [first, pixels, count] in cut(columns.len(), pixels) {
                        let (finish, sink) = (finish.skipping(first), &mut sink.after(first));
                        tiles::<S>(pixels, j)(s, &product, at + first, count, &finish, sink);
                    }
                    block += j;
                }
            }
        }
    }
}

/// What a tile sums up.
struct Product<'a> {
    planes: &'a [f32],
    taps: &'a [usize],
    weights: &'a [Pixel],
    bias: &'a [Pixel],
}

/// Computes so many tiles side by side.
type Tiles<S> = fn(S, &Product<'_>, at: usize, count: usize, &Finish<'_>, &mut Sink<'_>);

fn tiles<S: Simd>(pixels: usize, blocks: usize) -> Tiles<S> {
    instance!(compute::<S>, pixels, blocks)
}

fn compute<S: Simd, const P: usize, const J: usize>(
    s: S,
    product: &Product<'_>,
    at: usize,
    count: usize,
    finish: &Finish<'_>,
    sink: &mut Sink<'_>,
) {
    if P > S::TILE[J - 1] {
        unreachable!("a tile is in the registers");
    }
    s.vectorize(Compute::<P, J> { product, at, count, finish, sink });
}

struct Compute<'a, 'b, 'c, const P: usize, const J: usize> {
    product: &'a Product<'b>,
    at: usize,
    count: usize,
    finish: &'a Finish<'b>,
    sink: &'a mut Sink<'c>,
}

impl<const P: usize, const J: usize> Kernel for Compute<'_, '_, '_, P, J> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Compute { product, at, count, finish, sink } = self;
        let Product { planes, taps, weights, bias } = *product;
        let weights: [&[Pixel]; J] =
            std::array::from_fn(|j| &weights[j * taps.len()..][..taps.len()]);
        let bias: [S::V; J] = std::array::from_fn(|j| s.load(&bias[j].0));
        for tile in 0..count {
            let at = at + tile * P;
            let mut sums = [bias; P];
            for (t, tap) in taps.iter().enumerate() {
                let Some(numbers) = planes[tap + at..].first_chunk::<P>() else {
                    unreachable!("a tap reads within the strip")
                };
                let weights: [S::V; J] = std::array::from_fn(|j| s.load(&weights[j][t].0));
                for p in 0..P {
                    let x = s.splat(numbers[p]);
                    for j in 0..J {
                        sums[p][j] = s.mul_add(x, weights[j], sums[p][j]);
                    }
                }
            }
            sink.after(tile * P).store(s, &finish.skipping(tile * P), sums);
        }
    }
}
