//! Winograd's minimal filtering: tiles of the map are transformed, multiplied channel by channel at
//! each of `A × B` points, and the sums transformed back.
//!
//! A convolution of stride 2 is the sum of convolutions of stride 1, one for each phase: the even and
//! the odd rows and columns of the map with those of the kernel. Their transforms are summed up like
//! those of channels.
//!
//! The products at a point are a matrix product over the channels, done by the register tile with
//! tiles of the map in the place of pixels. The products of a few output blocks are transformed back at
//! once, while they are in the second cache. Work is cut in one of two ways. *Chunks*: a thread takes
//! some tiles all the way, their transforms staying in its second cache; the weights pass by once a
//! chunk. *Blocks*: each thread transforms all tiles for itself, and makes its share of the output
//! blocks; the weights pass by once. That is work done again and again, but to transform a pixel takes
//! no longer than to fetch it from the cache of the core that did.

mod tiles;

use tiles::{Chunk, Part, TransformFilters, odd};

use super::Destination;
use super::convolution::{Outputs, Work};
use super::direct::Groups;
use super::filters;
use super::layout::{FAR, Pixel};
use super::points::{self, filter_matrix};
use super::simd::{Isa, LANES};
use super::tile::{Largest, are_small, most_blocks};
use crate::conv::Conv;
use crate::threads::{Threads, TileCut};

/// Pixels of the transforms of a chunk: five eighths of a second cache of 1 MiB.
const CHUNK: usize = (640 << 10) / size_of::<Pixel>();

/// Tiles of a chunk, at least: fewer would not fill the register tile.
const FEWEST: usize = 14;

/// Cycles of an operation of a transform.
const TRANSFORM: f64 = 1.2;
/// The same on more points than there are registers.
const LARGE_TRANSFORM: f64 = 1.5;

/// Input blocks of which the weights of F(6, 3) stay in the second cache.
const NEAR: usize = 4;

/// Cycles in which a pixel comes from beyond the second cache.
const PIXEL: usize = 6;

/// Output blocks whose products are in the cache at a time: those of a tile, where it can have two. The estimates
/// take it for all.
const PAIR: usize = 2;

/// The same of small tiles, at most, where weights are far: what a tile reads at a point is still near for the next
/// blocks.
const TOGETHER: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    pub(crate) conv: Conv,
    pub(crate) groups: Groups,
    /// Pixels of the output that a tile makes, down and right.
    pub(crate) makes: [usize; 2],
    /// Taps of a phase, down and right.
    pub(crate) taps: [usize; 2],
    /// Whether of each two by two pixels only the largest is written.
    pub(crate) pool: bool,
}

/// How the work is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schedule {
    /// So many chunks.
    Chunked(usize),
    /// So many output blocks of all tiles.
    Blocks(usize),
}

impl Winograd {
    /// F(makes, taps) along both axes, if the convolution is such a one; along an axis with one tap
    /// there is nothing to filter.
    pub(crate) fn new(conv: &Conv, makes: usize, taps: [usize; 2]) -> Option<Winograd> {
        let fits = |axis: usize| {
            let (kernel, stride) = (conv.kernel[axis], conv.stride[axis]);
            conv.dilation[axis] == 1
                && stride <= 2
                && kernel >= stride
                && kernel.div_ceil(stride) == taps[axis]
        };
        let makes = taps.map(|taps| if taps == 1 { 1 } else { makes });
        let (conv, groups) = (*conv, Groups::of(conv));
        let winograd = Winograd { conv, groups, makes, taps, pool: false };
        let stays = makes != [6, 6] || winograd.inputs() <= NEAR;
        (fits(0) && fits(1) && stays && conv.input[0] >= 8).then_some(winograd)
    }

    /// The same with the largest of each two by two pixels for its result, if no window is cut by a
    /// tile or by the rim.
    pub(crate) fn pooled(&self) -> Option<Winograd> {
        let [_, h, w] = self.conv.output;
        let even = [h, w, self.makes[0], self.makes[1]].iter().all(|n| n.is_multiple_of(2));
        (even && !self.pool).then(|| Winograd { pool: true, ..self.clone() })
    }

    /// Pixels of the sums for one that is written, down and right.
    fn window(&self) -> usize {
        if self.pool { 2 } else { 1 }
    }

    /// Points of each axis: pixels of the input that a tile reads.
    fn axes(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.makes[axis] + self.taps[axis] - 1)
    }

    fn points(&self) -> usize {
        self.axes().iter().product()
    }

    fn phases(&self) -> usize {
        self.conv.stride.iter().product()
    }

    /// Phases of blocks of a group.
    fn inputs(&self) -> usize {
        self.groups.inputs * self.phases()
    }

    fn all_inputs(&self) -> usize {
        self.groups.count * self.inputs()
    }

    fn all_outputs(&self) -> usize {
        self.groups.count * self.groups.outputs
    }

    /// Rows and columns of tiles of a map.
    fn tiles(&self) -> [usize; 2] {
        let [_, h, w] = self.conv.output;
        [h.div_ceil(self.makes[0]), w.div_ceil(self.makes[1])]
    }

    /// Tiles of all pictures.
    fn all_tiles(&self) -> usize {
        self.conv.batch * self.tiles().iter().product::<usize>()
    }

    /// Pixels of the weights of an output block: of each point, of each input block.
    fn block_weights(&self) -> usize {
        self.points() * self.inputs() * LANES
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.all_outputs() * self.block_weights()
    }

    /// The weights of a block of outputs.
    pub(crate) fn pack(&self, isa: Isa, block: usize, weight: &[f32], packed: &mut [Pixel]) {
        let Conv { kernel: [kh, kw], stride: [down, right], .. } = self.conv;
        let [rows, columns] = self.axes();
        let [height, width] = self.taps;
        let matrices = [filter_matrix(rows, height), filter_matrix(columns, width)];
        // Of each phase of an input channel and of each tap, the sixteen outputs of the block.
        let len = LANES * height * width;
        let mut filters = vec![Pixel::ZERO; self.inputs() * len];
        let tap = |at: usize| {
            let (row, column) = (at / kw, at % kw);
            let phase = row % down * right + column % right;
            phase * len + row / down * width + column / right
        };
        let taps: Vec<usize> = (0..kh * kw).map(tap).collect();
        let (block_len, lane) = (self.phases() * len, height * width);
        let places = filters::Places { first: 0, block: block_len, lane, taps: &taps };
        self.groups.put(&self.conv, weight, block, &places, &mut filters);
        isa.run(TransformFilters { matrices: &matrices, filters: &filters, packed });
    }

    /// Cycles of the products and of the transforms, a vector operation each.
    pub(crate) fn cycles(&self) -> f64 {
        let [into, out] = self.transforms();
        self.products() / 0.95 + self.operation() * (into + out)
    }

    /// Cycles of an operation of a transform.
    fn operation(&self) -> f64 {
        if self.points() > 36 { LARGE_TRANSFORM } else { TRANSFORM }
    }

    /// Cycles of the products.
    fn products(&self) -> f64 {
        (self.all_tiles() * self.points() * self.inputs() * LANES * self.all_outputs()) as f64
    }

    /// Cycles of the transforms of the input and of the products.
    fn transforms(&self) -> [f64; 2] {
        let [a, b] = self.axes();
        let [m, n] = self.makes;
        let pairs = |points: usize| points::pairs(points).len();
        let forward = |points: usize| 2 * pairs(points) * (pairs(points) + 1);
        let back = |points: usize, makes: usize| pairs(points) * (makes + 2);
        let into = b * forward(a) + a * forward(b) + 2 * a * b;
        let out = b * back(a, m) + m * back(b, n) + a * b + m * n;
        [self.all_inputs() * into, self.all_outputs() * out]
            .map(|cycles| (self.all_tiles() * cycles) as f64)
    }

    fn schedule(&self, threads: usize) -> Schedule {
        let tiles = self.all_tiles();
        let most = (CHUNK / (self.points() * self.all_inputs())).max(FEWEST);
        let chunks = tiles.div_ceil(most.min(tiles.div_ceil(threads)).max(FEWEST));
        // What has to come from beyond the second cache, in pixels, and what is done again.
        let all = self.points() * self.all_inputs() * tiles;
        let passes = self.all_outputs().div_ceil(PAIR);
        let again = (self.operation() * self.transforms()[0]) as usize * (threads - 1) / PIXEL;
        let blocks = all * passes + self.packed_len() + again;
        if chunks < threads || chunks * self.packed_len() > blocks {
            // As many for each of the threads.
            let own = self.all_outputs().div_ceil(PAIR).div_ceil(threads) * PAIR;
            return Schedule::Blocks(own);
        }
        // As many for each of the threads, if there are few.
        let even = if chunks < 4 * threads { chunks.next_multiple_of(threads) } else { chunks };
        Schedule::Chunked(even)
    }

    /// Pixels of the transforms of so many tiles of a block: one more than there are, so that not
    /// all blocks share their place in the first cache.
    fn apart(&self, tiles: usize) -> usize {
        self.points() * odd(tiles) + 1
    }

    /// Output blocks whose products at a point are made before those at the next, where register tiles
    /// have so many pixels at most.
    fn together(&self, most: [usize; 2]) -> usize {
        let blocks = match are_small(most) {
            false => PAIR,
            // No more than that their products take half the room of what they read.
            true if self.is_far() => TOGETHER.min(self.inputs() / 2).max(1),
            true => most_blocks(most),
        };
        blocks.min(self.groups.outputs)
    }

    /// Whether the weights come from beyond the second cache.
    fn is_far(&self) -> bool {
        self.packed_len() > FAR
    }

    /// Tiles of a part of the work, at most.
    fn part_tiles(&self, threads: usize) -> usize {
        let all = self.all_tiles();
        match self.schedule(threads) {
            Schedule::Chunked(chunks) => all.div_ceil(chunks),
            Schedule::Blocks(_) => all,
        }
    }

    pub(crate) fn scratch_len(&self, isa: Isa, threads: usize) -> usize {
        let blocks = self.all_inputs() + self.together(isa.run(Largest));
        blocks * self.apart(self.part_tiles(threads)) * threads
    }

    /// Transforms of a point, and blocks, that tiles are cut from.
    pub(crate) fn tiled(&self, threads: usize) -> [usize; 2] {
        [self.part_tiles(threads), self.all_outputs()]
    }

    /// Pixels of transforms that leave a thread's cache: all are written, and read for each pair of
    /// output blocks, but those of chunks.
    pub(crate) fn passing(&self, threads: usize) -> usize {
        match self.schedule(threads) {
            Schedule::Chunked(_) => 0,
            Schedule::Blocks(_) => {
                let all = self.all_inputs() * self.apart(self.all_tiles());
                all * (1 + self.all_outputs().div_ceil(PAIR))
            }
        }
    }

    pub(crate) fn run(
        &self,
        work: &Work<'_>,
        x: &[Pixel],
        outputs: Outputs<'_>,
        scratch: &mut [Pixel],
    ) {
        match (self.makes, self.taps) {
            ([2, 2], [3, 3]) => self.run_on::<4, 2, 4, 2>(work, x, outputs, scratch),
            ([4, 4], [3, 3]) => self.run_on::<6, 4, 6, 4>(work, x, outputs, scratch),
            ([6, 6], [3, 3]) => self.run_on::<8, 6, 8, 6>(work, x, outputs, scratch),
            ([2, 2], [5, 5]) => self.run_on::<6, 2, 6, 2>(work, x, outputs, scratch),
            ([4, 4], [5, 5]) => self.run_on::<8, 4, 8, 4>(work, x, outputs, scratch),
            ([1, 4], [1, 3]) => self.run_on::<1, 1, 6, 4>(work, x, outputs, scratch),
            ([4, 1], [3, 1]) => self.run_on::<6, 4, 1, 1>(work, x, outputs, scratch),
            ([1, 4], [1, 7]) => self.run_on::<1, 1, 10, 4>(work, x, outputs, scratch),
            ([4, 1], [7, 1]) => self.run_on::<10, 4, 1, 1>(work, x, outputs, scratch),
            (makes, taps) => unreachable!("no transform of {makes:?} pixels by {taps:?} taps"),
        }
    }

    /// On `A × B` points, of tiles of `M × N` pixels.
    fn run_on<const A: usize, const M: usize, const B: usize, const N: usize>(
        &self,
        work: &Work<'_>,
        x: &[Pixel],
        outputs: Outputs<'_>,
        scratch: &mut [Pixel],
    ) {
        let [_, height, width] = self.conv.output;
        let window = self.window();
        let size = [height / window, width / window];
        let tile = [M.div_ceil(window), N.div_ceil(window)];
        let threads = work.threads;
        let (blocks, runs) = match self.schedule(threads.count()) {
            Schedule::Chunked(chunks) => (self.all_outputs(), chunks),
            Schedule::Blocks(own) => (own, 1),
        };
        let cut = TileCut { tile, blocks, runs };
        each_part(threads, &self.conv, size, outputs, cut, scratch, |part, scratch| {
            let winograd = self;
            work.isa.run(Chunk::<A, M, B, N> { winograd, work, x, scratch, part });
        });
    }
}

/// Runs a job for each part of the outputs, and of the sums beside them if they are wanted.
fn each_part(
    threads: &Threads,
    conv: &Conv,
    size: [usize; 2],
    outputs: Outputs<'_>,
    cut: TileCut,
    scratch: &mut [Pixel],
    job: impl Fn(Part<'_>, &mut [Pixel]) + Sync,
) {
    let maps = |to: &Destination<'_>| to.maps(conv, size);
    let Outputs { out, sum } = outputs;
    let out_maps = maps(&out);
    match sum {
        None => threads.tiles([(out.value, out_maps)], cut, scratch, |[out], scratch| {
            job(Part { out, sum: None }, scratch);
        }),
        Some(sum) => {
            let sum_maps = maps(&sum);
            let values = [(out.value, out_maps), (sum.value, sum_maps)];
            threads.tiles(values, cut, scratch, |[out, sum], scratch| {
                job(Part { out, sum: Some(sum) }, scratch);
            });
        }
    }
}
