//! The first layer: direct convolution of a picture of few channels, as planes of floats.
//!
//! Blocks of 16 channels would be almost empty, so a tap here is a single channel: one float of
//! the input and a vector of weights. The order of a sum is: channels, rows of the kernel, columns.

use super::direct::{L2, even};
use super::rows::Rows;
use super::simd::{Kernel, Simd};
use super::strip::{Axis, Strip};
use super::tail::Tail;
use super::tile::widest;
use super::{Isa, Pixel, blocks};
use crate::threads::{Canvas, Mesh, Part, Tiles};
use crate::{Conv, Threads};

/// The most channels that are worth it.
pub(super) const MOST_CHANNELS: usize = 4;

/// A plan of a convolution that reads planes.
#[derive(Debug)]
pub(super) struct First {
    isa: Isa,
    conv: Conv,
    mesh: Mesh,
    strip: Strip,
    taps: Vec<usize>,
}

impl First {
    pub(super) fn new(isa: Isa, conv: &Conv, threads: usize) -> First {
        let ([c, _, _], [out, oh, ow]) = (conv.input, conv.output);
        let total = blocks(out);
        // What a strip writes fits into the cache.
        let rows = (L2 / 4 / (total * ow).max(1)).max(2);
        let strips = even(oh.div_ceil(rows).max(1), conv.batch, threads).min(oh.max(1));
        let tile = [oh.div_ceil(strips).max(1), ow.max(1)];
        let axis = |i: usize| {
            let [kernel, stride] = [conv.kernel[i], conv.stride[i]];
            Axis::new(conv.input[i + 1], kernel, stride, conv.dilation[i], conv.pad[i])
        };
        let strip = Strip::new(axis(0), axis(1), tile);
        let plane = strip.plane();
        let taps = (0..c).flat_map(|channel| strip.taps().map(move |tap| channel * plane + tap));
        let taps = taps.collect();
        let mesh = Mesh {
            batch: conv.batch,
            blocks: total,
            size: [oh, ow],
            tile,
            part_blocks: total.max(1),
            part_tiles: 1,
        };
        First { isa, conv: *conv, mesh, strip, taps }
    }

    pub(super) fn packed_len(&self) -> usize {
        self.mesh.blocks * self.taps.len()
    }

    pub(super) fn scratch_len(&self) -> usize {
        (self.conv.input[0] * self.strip.plane()).div_ceil(16)
    }

    /// Multiply-adds of 16 lanes.
    pub(super) fn products(&self) -> f64 {
        let [_, oh, ow] = self.conv.output;
        (self.conv.batch * oh * ow) as f64 * self.packed_len() as f64
    }

    pub(super) fn pack(&self, weight: &[f32], packed: &mut [Pixel]) {
        let taps = self.taps.len();
        for (block, packed) in packed.chunks_exact_mut(taps).enumerate() {
            let weight = &weight[block * 16 * taps..];
            for (tap, pixel) in packed.iter_mut().enumerate() {
                *pixel = Pixel::ZERO;
                let filters = weight.chunks_exact(taps).take(16);
                for (lane, filter) in pixel.0.iter_mut().zip(filters) {
                    *lane = filter[tap];
                }
            }
        }
    }

    pub(super) fn run(
        &self,
        threads: &Threads,
        x: &[f32],
        packed: &[Pixel],
        tail: &Tail<'_>,
        out: [Canvas<'_, Pixel>; 2],
        scratch: &mut [Pixel],
    ) {
        threads.tiles(self.mesh, out, scratch, |part, out, scratch| {
            self.isa.run(Job { plan: self, x, packed, tail, part, out, scratch });
        });
    }
}

/// A part of the work.
struct Job<'a> {
    plan: &'a First,
    x: &'a [f32],
    packed: &'a [Pixel],
    tail: &'a Tail<'a>,
    part: Part,
    out: [Tiles<'a, Pixel>; 2],
    scratch: &'a mut [Pixel],
}

impl Kernel for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let plan = self.plan;
        let [c, h, w] = plan.conv.input;
        let [picture, y, _] = plan.mesh.place(self.part.tiles.start);
        let rows = plan.mesh.tile[0].min(plan.mesh.size[0] - y);
        let strip = Pixel::lanes_mut(self.scratch);
        let planes = self.x[picture * c * h * w..].chunks_exact(h * w);
        for (copy, plane) in strip.chunks_exact_mut(plan.strip.plane()).take(c).zip(planes) {
            plan.strip.copy(plane, y, rows, 0.0, copy);
        }
        let (input, row, taps) = (&*strip, plan.strip.row(), &plan.taps);
        let mut block = 0;
        while block < plan.mesh.blocks {
            let weights = &self.packed[block * taps.len()..];
            let rows = Rows { input, row, taps, weights, tail: self.tail, block };
            let wide = widest(S::ISA) == 2 && block + 1 < plan.mesh.blocks;
            match wide {
                true => rows.run::<S, 2>(simd, &mut self.out),
                false => rows.run::<S, 1>(simd, &mut self.out),
            }
            block += 1 + usize::from(wide);
        }
    }
}
