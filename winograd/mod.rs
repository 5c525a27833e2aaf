//! Winograd's convolution: fewer products, of transformed tiles.
//!
//! `Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A` (Lavin, Gray 2015, "Fast Algorithms for Convolutional Neural
//! Networks"): an `M × M` tile of the output from an `A × A` tile of the input. For each of the
//! `A²` places in a tile the products over all channels are a matrix product, which the register
//! tile does with tiles for pixels. Lanes are channels throughout, no shuffle anywhere.
//!
//! Errors are relative to the largest values of a tile, not of a pixel: an infinity or what is not
//! a number spreads over its tile.

pub(super) mod points;

use super::direct::{L2, even};
use super::simd::{Kernel, Simd};
use super::tail::Tail;
use super::tile::{self, Run, Tile, widest};
use super::{Isa, Pixel, blocks};
use crate::threads::{Canvas, Mesh, Part, Tiles};
use crate::{Conv, Threads};
use points::{Points, kernel_matrix};
use std::array::from_fn;
use std::marker::PhantomData;

/// Blocks of outputs whose weights lie together.
const PAIR: usize = 2;

/// A plan of `F(M×M, R×R)` with the points `F`.
pub(super) struct Winograd<F, const A: usize, const M: usize, const R: usize> {
    isa: Isa,
    conv: Conv,
    mesh: Mesh,
    /// Whether the whole input is transformed before the first product; otherwise each part
    /// transforms its own tiles.
    phased: bool,
    points: PhantomData<F>,
}

impl<F: Points<A, M>, const A: usize, const M: usize, const R: usize> Winograd<F, A, M, R> {
    pub(super) fn admits(conv: &Conv) -> bool {
        conv.kernel == [R, R]
            && conv.stride == [1, 1]
            && conv.dilation == [1, 1]
            && conv.groups == 1
            && conv.input[0] >= 8
    }

    pub(super) fn new(isa: Isa, conv: &Conv, threads: usize) -> Self {
        let ([c, ..], [out, oh, ow]) = (conv.input, conv.output);
        let (inputs, outputs) = (blocks(c), blocks(out));
        let mut mesh = Mesh {
            batch: conv.batch,
            blocks: outputs,
            size: [oh, ow],
            tile: [M, M],
            part_blocks: outputs.max(1),
            part_tiles: 1,
        };
        let tiles = mesh.tiles().max(1);
        let weights = A * A * inputs * outputs * 16;
        let phased = weights > 16 * L2 || tiles < 28 * threads;
        let unit = tile::most_pixels(isa, widest(isa));
        // Tiles of a part: with phases, such that one place of the input stays in the cache,
        // otherwise all of a part.
        let per_tile = if phased { inputs * 4 } else { A * A * (inputs + outputs) * 4 / 3 };
        let most = (L2 / per_tile.max(1) / unit * unit).max(unit);
        let chunks = tiles.div_ceil(most);
        if phased {
            mesh.part_tiles = tiles.div_ceil(chunks);
            let groups = (outputs * A * A * mesh.part_tiles).div_ceil(L2 / 2);
            let groups = even(groups, chunks, threads);
            mesh.part_blocks = outputs.div_ceil(groups).next_multiple_of(PAIR).max(1);
        } else {
            mesh.part_tiles = tiles.div_ceil(even(chunks, 1, threads));
        }
        Winograd { isa, conv: *conv, mesh, phased, points: PhantomData }
    }

    /// Distance of two places of a block in the transformed tiles: odd, so that the places do not
    /// fall on each other in the first cache.
    fn stride(&self) -> usize {
        self.mesh.part_tiles | 1
    }

    /// What the transformed input of a part takes.
    fn input_len(&self) -> usize {
        blocks(self.conv.input[0]) * A * A * self.stride()
    }

    /// What the products of a part take.
    fn output_len(&self) -> usize {
        self.mesh.part_blocks.min(self.mesh.blocks) * A * A * self.stride()
    }

    pub(super) fn packed_len(&self) -> usize {
        let inputs = blocks(self.conv.input[0]);
        self.mesh.blocks.next_multiple_of(PAIR) * A * A * inputs * 16
    }

    pub(super) fn scratch_len(&self, threads: usize) -> usize {
        match self.phased {
            true => {
                let parts = self.mesh.tiles().div_ceil(self.mesh.part_tiles);
                parts * self.input_len() + threads * self.output_len()
            }
            false => threads * (self.input_len() + self.output_len()),
        }
    }

    pub(super) fn cycles(&self) -> f64 {
        let tiles = self.mesh.tiles() as f64;
        let (inputs, outputs) = (blocks(self.conv.input[0]) as f64, self.mesh.blocks as f64);
        let transform = match A {
            4 => 120.0,
            6 => 480.0,
            _ => 1030.0,
        };
        (A * A * 16) as f64 * tiles * inputs * outputs / 0.95
            + tiles * (inputs + outputs) / 2.0 * transform
    }

    pub(super) fn pack(&self, threads: &Threads, weight: &[f32], packed: &mut [Pixel]) {
        let inputs = blocks(self.conv.input[0]);
        threads.chunks(packed, PAIR * A * A * inputs * 16, |pair, packed| {
            self.isa.run(Pack::<A, R> {
                g: kernel_matrix(F::FINITE),
                first: pair * PAIR,
                shape: [self.conv.output[0], self.conv.input[0]],
                weight,
                packed,
            });
        });
    }

    pub(super) fn run(
        &self,
        threads: &Threads,
        x: &[Pixel],
        packed: &[Pixel],
        tail: &Tail<'_>,
        out: [Canvas<'_, Pixel>; 2],
        scratch: &mut [Pixel],
    ) {
        let inputs = blocks(self.conv.input[0]);
        let mut transformed: &[Pixel] = &[];
        let mut rest = scratch;
        if self.phased {
            let parts = self.mesh.tiles().div_ceil(self.mesh.part_tiles);
            let (all, scratch) = rest.split_at_mut(parts * self.input_len());
            threads.chunks(all, A * A * self.stride(), |chunk, out| {
                let (part, block) = (chunk / inputs, chunk % inputs);
                self.isa.run(Forward { plan: self, x, part, blocks: block..block + 1, out });
            });
            (transformed, rest) = (all, scratch);
        }
        threads.tiles(self.mesh, out, rest, |part, out, scratch| {
            let chunk = part.tiles.start / self.mesh.part_tiles;
            let (input, products) = match self.phased {
                true => (&transformed[chunk * self.input_len()..], scratch),
                false => {
                    let (own, scratch) = scratch.split_at_mut(self.input_len());
                    self.isa.run(Forward { plan: self, x, part: chunk, blocks: 0..inputs, out: own });
                    (&*own, scratch)
                }
            };
            let multiply = Multiply { plan: self, input, packed, part: &part, products };
            self.isa.run(multiply);
            self.isa.run(Backward { plan: self, products, tail, part, out });
        });
    }
}
