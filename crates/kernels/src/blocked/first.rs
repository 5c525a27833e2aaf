//! Convolution of a picture of up to four channels, read as the planes it comes in: a tap is one
//! number a pixel, and a vector of weights; for few outputs ([`few`]) it is the other way round.

use super::convolution::{Outputs, Work};
use super::direct::each_patch;
use super::few::{self, Few};
use super::filters::Places;
use super::layout::{Pixel, blocks};
use super::simd::{Isa, Kernel, LANES, Simd};
use super::spaced::Windows;
use super::strip::{Strip, share};
use super::tile::{self, Finish, Largest, Sink, cut, even, instance, most_blocks, places};
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

    /// Numbers of a strip of all channels, and what [`few`] reads behind the last, in pixels.
    fn strip_pixels(&self, strip: &Strip) -> usize {
        (strip.len() * self.conv.input[0]).div_ceil(LANES) + few::VECTORS
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
            work.isa.run(part);
        });
    }

    /// Whether outputs are so few that lanes are pixels, if no residual and no activation follow.
    fn is_few(&self) -> bool {
        self.conv.output[0] <= few::OUTPUTS
    }

    /// Cycles on one core that starts a multiply-add of sixteen lanes in each.
    pub(crate) fn cycles(&self) -> f64 {
        let Conv { batch, output: [out, height, width], .. } = self.conv;
        let vectors = match self.is_few() {
            true => out * width.div_ceil(LANES),
            false => blocks(out) * width,
        };
        (batch * height * vectors * self.taps()) as f64 / 0.9
    }

    /// Pixels and blocks of output channels that are summed up at once.
    pub(crate) fn tile(&self, isa: Isa) -> [usize; 2] {
        let [out, _, width] = self.conv.output;
        match self.is_few() {
            true => [even(width, isa.run(few::Pixels)), 1],
            false => tile::shape(isa.run(Largest), width, blocks(out)),
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
        for picture in out.pictures() {
            let planes = x[picture * channels * area..].chunks_exact(area).take(channels);
            for (plane, to) in planes.zip(strip_values.chunks_exact_mut(strip.len())) {
                strip.copy(plane, 0.0, out.rows().start, to);
            }
            let finish = work.tail.finish(picture);
            let (rows, columns) = (out.rows().len(), out.columns());
            if first.is_few() && finish.residual.is_none() && finish.activation.is_none() {
                s.vectorize(Few {
                    planes: strip_values,
                    down: strip.row(),
                    taps,
                    weights: work.packed,
                    bias: &work.tail.bias[0],
                    outputs: first.conv.output[0],
                    factor: finish.factor,
                    relu: finish.relu,
                    size: [rows, columns.len()],
                    out: out.runs(picture, 0),
                });
                continue;
            }
            let residual = work.tail.residual_pixel(out.rows().start, columns.start);
            let mut block = out.blocks().start;
            while block < out.blocks().end {
                let j = most_blocks(S::TILE).min(out.blocks().end - block);
                let product = Product {
                    planes: strip_values,
                    down: strip.row(),
                    taps,
                    weights: &work.packed[block * taps.len()..],
                    bias: &work.tail.bias[block..],
                    finish: finish.at(block, residual),
                };
                let mut sink = Sink {
                    out: out.runs(picture, block),
                    sum: sum.as_mut().map(|sum| sum.runs(picture, block)),
                };
                for [first, pixels, count] in cut(columns.len(), S::TILE[j - 1]) {
                    let product = Product { finish: product.finish.after([0, first]), ..product };
                    let at = columns.start + first;
                    let sink = &mut sink.after([0, first]);
                    tiles::<S>(pixels, j)(s, &product, at, [rows, count], sink);
                }
                block += j;
            }
        }
    }
}

/// What a tile sums up, and how it ends.
#[derive(Clone, Copy)]
struct Product<'a> {
    planes: &'a [f32],
    /// Numbers from what a row of the output reads to what the next does.
    down: usize,
    taps: &'a [usize],
    weights: &'a [Pixel],
    bias: &'a [Pixel],
    finish: Finish<'a>,
}

/// Computes so many rows of so many tiles side by side.
type Tiles<S> = fn(S, &Product<'_>, at: usize, count: [usize; 2], &mut Sink<'_>);

fn tiles<S: Simd>(pixels: usize, blocks: usize) -> Tiles<S> {
    instance!(compute::<S>, pixels, blocks)
}

fn compute<S: Simd, const P: usize, const J: usize>(
    s: S,
    product: &Product<'_>,
    at: usize,
    count: [usize; 2],
    sink: &mut Sink<'_>,
) {
    if const { P > S::TILE[J - 1] } {
        unreachable!("a tile is in the registers");
    }
    s.vectorize(Compute::<P, J> { product, at, count, sink });
}

struct Compute<'a, 'b, 'c, const P: usize, const J: usize> {
    product: &'a Product<'b>,
    at: usize,
    count: [usize; 2],
    sink: &'a mut Sink<'c>,
}

impl<const P: usize, const J: usize> Kernel for Compute<'_, '_, '_, P, J> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Compute { product, at, count: [rows, count], sink } = self;
        let Product { planes, down, taps, weights, bias, finish } = *product;
        // Two taps at a time: a tap is so little that the loop about it shows.
        let (pairs, last) = taps.as_chunks::<2>();
        let weights: [(&[[Pixel; 2]], &[Pixel]); J] =
            std::array::from_fn(|j| weights[j * taps.len()..][..taps.len()].as_chunks());
        let bias: [S::V; J] = std::array::from_fn(|j| s.load(&bias[j].0));
        for place in places([rows, count], P) {
            let numbers = Windows::<f32, P>::of(&planes[at + place[0] * down + place[1]..]);
            let mut sums = [bias; P];
            for (t, pair) in pairs.iter().enumerate() {
                for i in 0..2 {
                    let weights = std::array::from_fn(|j| &weights[j].0[t][i].0);
                    s.multiply(numbers.at(pair[i]).each_ref(), weights, &mut sums);
                }
            }
            if let Some(tap) = last.first() {
                let weights = std::array::from_fn(|j| &weights[j].1[0].0);
                s.multiply(numbers.at(*tap).each_ref(), weights, &mut sums);
            }
            sink.after(place).store(s, &finish.after(place), sums);
        }
    }
}
