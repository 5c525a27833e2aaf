//! Winograd's minimal filtering: tiles of the map are transformed, multiplied channel by channel at
//! each of `A × B` points, and the sums transformed back.
//!
//! A convolution of stride 2 is the sum of convolutions of stride 1, one for each phase: the even and
//! the odd rows and columns of the map with those of the kernel. Their transforms are summed up like
//! those of channels.
//!
//! The products at a point are a matrix product over the channels, done by the register tile with
//! tiles of the map in the place of pixels. The products of two output blocks are transformed back at
//! once, while they are in the second cache. Work is cut in one of three ways. *Chunks*: a thread takes
//! some tiles all the way, their transforms staying in its second cache; the weights pass by once a
//! chunk. *Blocks*: each thread transforms all tiles for itself, and makes its share of the output
//! blocks; the weights pass by once, and no transform from one thread to another. *Phases*: where that
//! is too much work to be done again and again, all threads transform all tiles together first.

use std::ops::Range;

use super::Destination;
use super::convolution::{Outputs, Tail, Work};
use super::direct::Groups;
use super::filters;
use super::layout::Pixel;
use super::points::{self, filter_matrix};
use super::simd::{Isa, Kernel, LANES, Simd};
use super::strip::share;
use super::tile::{Ahead, Product, Sink, Start, even, tile};
use crate::conv::Conv;
use crate::threads::{Runs, Threads, TileCut, Tiled};

/// Pixels of the transforms of a chunk: five eighths of a second cache of 1 MiB.
const CHUNK: usize = (640 << 10) / size_of::<Pixel>();

/// Tiles of a chunk, at least: fewer would not fill the register tile.
const FEWEST: usize = 14;

/// Pixels of weights, of which most are beyond the second cache.
const FAR: usize = (1 << 20) / size_of::<Pixel>();

/// Output blocks whose products are in the cache at a time.
const PAIR: usize = 2;

/// By so many tiles ahead what a transform reads or writes is asked for. It lies in short rows, which
/// a processor does not follow by itself.
const AHEAD: usize = 4;

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
    Phased,
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
        (fits(0) && fits(1) && conv.input[0] >= 8).then_some(winograd)
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
        self.products() / 0.95 + 1.2 * (into + out)
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
        // What has to come from beyond the second cache, in pixels.
        let all = self.points() * self.all_inputs() * tiles;
        let passes = self.all_outputs().div_ceil(PAIR);
        if chunks < threads || chunks * self.packed_len() > all * passes + self.packed_len() {
            let again = threads as f64 * self.transforms()[0] <= self.products() / 8.0;
            // As many for each of the threads.
            let own = self.all_outputs().div_ceil(PAIR).div_ceil(threads) * PAIR;
            return if again { Schedule::Blocks(own) } else { Schedule::Phased };
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

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        let all = self.all_tiles();
        match self.schedule(threads) {
            Schedule::Chunked(chunks) => {
                (self.all_inputs() + PAIR) * self.apart(all.div_ceil(chunks)) * threads
            }
            Schedule::Blocks(_) => (self.all_inputs() + PAIR) * self.apart(all) * threads,
            Schedule::Phased => (self.all_inputs() + PAIR * threads) * self.apart(all),
        }
    }

    /// Transforms of a point, and blocks, that tiles are cut from.
    pub(crate) fn tiled(&self, threads: usize) -> [usize; 2] {
        let all = self.all_tiles();
        let count = match self.schedule(threads) {
            Schedule::Chunked(chunks) => all.div_ceil(chunks),
            Schedule::Blocks(_) | Schedule::Phased => all,
        };
        [count, self.all_outputs()]
    }

    /// Pixels of transforms that leave a thread's cache: in phases they are all written, and read
    /// for each pair of output blocks.
    pub(crate) fn passing(&self, threads: usize) -> usize {
        match self.schedule(threads) {
            Schedule::Chunked(_) => 0,
            Schedule::Blocks(_) | Schedule::Phased => {
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
        let (inputs, blocks) = (self.all_inputs(), self.all_outputs());
        let cut = |blocks, runs| TileCut { tile, blocks, runs };
        let all_the_way = |cut, outputs, scratch| {
            each_part(threads, &self.conv, size, outputs, cut, scratch, |part, scratch| {
                let winograd = self;
                work.isa.run(Chunk::<A, M, B, N> { winograd, work, x, scratch, part });
            });
        };
        match self.schedule(threads.count()) {
            Schedule::Chunked(runs) => all_the_way(cut(blocks, runs), outputs, scratch),
            Schedule::Blocks(own) => all_the_way(cut(own, 1), outputs, scratch),
            Schedule::Phased => {
                let all = self.all_tiles();
                let (v, scratch) = scratch.split_at_mut(inputs * self.apart(all));
                threads.chunks(v, self.apart(all), |block, v| {
                    let (winograd, tiles) = (self, 0..all);
                    work.isa.run(Forward::<A, M, B, N> { winograd, x, tiles, block, v });
                });
                let v = &*v;
                let own = share(blocks, 4 * PAIR, threads.count()).next_multiple_of(PAIR);
                let cut = cut(own, 1);
                each_part(threads, &self.conv, size, outputs, cut, scratch, |part, m| {
                    let winograd = self;
                    work.isa.run(Back::<A, M, B, N> { winograd, work, v, m, part });
                });
            }
        }
    }

    /// Picture, row and column of each of some tiles, and of the one [`AHEAD`] of it.
    #[inline(always)]
    fn places(&self, tiles: Range<usize>) -> impl Iterator<Item = [[usize; 3]; 2]> {
        let grid = self.tiles();
        let from = |first: usize| {
            let (row, column) = (first / grid[1], first % grid[1]);
            Places { grid, next: [row / grid[0], row % grid[0], column] }
        };
        let both = from(tiles.start).zip(from(tiles.start + AHEAD));
        both.take(tiles.len()).map(|(tile, later)| [tile, later])
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

/// What a thread writes.
struct Part<'a> {
    out: Tiled<'a, Pixel>,
    sum: Option<Tiled<'a, Pixel>>,
}

/// Pictures, rows and columns of tiles that follow each other, without an end.
struct Places {
    grid: [usize; 2],
    next: [usize; 3],
}

impl Iterator for Places {
    type Item = [usize; 3];

    #[inline(always)]
    fn next(&mut self) -> Option<[usize; 3]> {
        let ([rows, columns], place) = (self.grid, self.next);
        let [picture, row, column] = place;
        self.next = if column + 1 < columns {
            [picture, row, column + 1]
        } else if row + 1 < rows {
            [picture, row + 1, 0]
        } else {
            [picture + 1, 0, 0]
        };
        Some(place)
    }
}

/// Pixels from a point's transforms of so many tiles to the next point's: an odd number, so that
/// not all points share their place in the first cache.
#[inline(always)]
fn odd(tiles: usize) -> usize {
    tiles | 1
}

/// Some tiles all the way, to some output blocks.
struct Chunk<'a, const A: usize, const M: usize, const B: usize, const N: usize> {
    winograd: &'a Winograd,
    work: &'a Work<'a>,
    x: &'a [Pixel],
    scratch: &'a mut [Pixel],
    part: Part<'a>,
}

impl<const A: usize, const M: usize, const B: usize, const N: usize> Kernel
    for Chunk<'_, A, M, B, N>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Chunk { winograd, work, x, scratch, part } = self;
        let tiles = &part.out.tiles;
        let apart = winograd.apart(tiles.len());
        let (v, m) = scratch.split_at_mut(winograd.all_inputs() * apart);
        for (block, v) in v.chunks_exact_mut(apart).enumerate() {
            s.vectorize(Forward::<A, M, B, N> { winograd, x, tiles: tiles.clone(), block, v });
        }
        s.vectorize(Back::<A, M, B, N> { winograd, work, v, m, part });
    }
}

/// `Bᵀ d B` of some tiles of a block: all of the first point, then all of the next.
struct Forward<'a, const A: usize, const M: usize, const B: usize, const N: usize> {
    winograd: &'a Winograd,
    x: &'a [Pixel],
    tiles: Range<usize>,
    block: usize,
    v: &'a mut [Pixel],
}

impl<const A: usize, const M: usize, const B: usize, const N: usize> Kernel
    for Forward<'_, A, M, B, N>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Forward { winograd, x, tiles, block, v } = self;
        let Conv { input: [_, height, width], pad: [top, left, ..], .. } = winograd.conv;
        let [down, right] = winograd.conv.stride;
        let phases = down * right;
        let (block, phase) = (block / phases, block % phases);
        let (phase_row, phase_column) = (phase / right, phase % right);
        let inputs = winograd.all_inputs() / phases;
        let (area, count) = (height * width, tiles.len());
        let stride = odd(count);
        // Where a tile begins: picture, and row and column of the map, perhaps before the first.
        let place = |[picture, row, column]: [usize; 3]| {
            let map = &x[(picture * inputs + block) * area..][..area];
            let row = (row * M * down + phase_row).wrapping_sub(top);
            (map, row, (column * N * right + phase_column).wrapping_sub(left))
        };
        // Whether a row of a tile lies in the map as it is wanted.
        let lies = |row: usize, column: usize| {
            phases == 1 && row < height && column < width && column + B <= width
        };
        let mut rim = [[Pixel::ZERO; B]; A];
        for (at, [tile, later]) in winograd.places(tiles.clone()).enumerate() {
            if at + AHEAD < count {
                let (map, row, column) = place(later);
                for row in (0..A).map(|r| row.wrapping_add(r)) {
                    if lies(row, column) {
                        let line = &map[row * width + column..][..B];
                        line[B.saturating_sub(N)..].iter().for_each(|pixel| s.prefetch(&pixel.0));
                    }
                }
            }
            let (map, row, column) = place(tile);
            for (r, rim) in rim.iter_mut().enumerate() {
                let row = row.wrapping_add(r * down);
                if row >= height {
                    *rim = [Pixel::ZERO; B];
                } else if !lies(row, column) {
                    for (c, rim) in rim.iter_mut().enumerate() {
                        let column = column.wrapping_add(c * right);
                        let inside = column < width;
                        let pixel =
                            if inside { s.load(&map[row * width + column].0) } else { s.zero() };
                        s.store(pixel, &mut rim.0);
                    }
                }
            }
            let line = |r: usize| -> &[Pixel; B] {
                let row = row.wrapping_add(r);
                if !lies(row, column) {
                    return &rim[r];
                }
                match map[row * width + column..].first_chunk() {
                    Some(line) => line,
                    None => unreachable!("the row is inside the map"),
                }
            };
            let lines: [&[Pixel; B]; A] = std::array::from_fn(line);
            // Columns first, then rows.
            let mut half = [[s.zero(); B]; A];
            for c in 0..B {
                let load = |r: usize| s.load(&lines[r][c].0);
                let column = points::input::<S, A>(s, std::array::from_fn(load));
                for r in 0..A {
                    half[r][c] = column[r];
                }
            }
            let v = &mut v[at..][..(A * B - 1) * stride + 1];
            for r in 0..A {
                let row = points::input::<S, B>(s, half[r]);
                for c in 0..B {
                    s.store(row[c], &mut v[(r * B + c) * stride].0);
                }
            }
        }
    }
}

/// The products of some output blocks, and `Aᵀ m A` of them with what ends a sum.
struct Back<'a, const A: usize, const M: usize, const B: usize, const N: usize> {
    winograd: &'a Winograd,
    work: &'a Work<'a>,
    /// The transforms of all input blocks.
    v: &'a [Pixel],
    /// Room for the products of two blocks.
    m: &'a mut [Pixel],
    part: Part<'a>,
}

impl<const A: usize, const M: usize, const B: usize, const N: usize> Kernel
    for Back<'_, A, M, B, N>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (groups, inputs) = (self.winograd.groups, self.winograd.inputs());
        let out = &self.part.out;
        let (blocks, apart) = (out.blocks.clone(), self.winograd.apart(out.tiles.len()));
        let mut taps = Vec::with_capacity(inputs);
        let mut block = blocks.start;
        while block < blocks.end {
            let group = block / groups.outputs;
            let end = blocks.end.min((group + 1) * groups.outputs);
            let first = group * inputs;
            taps.clear();
            taps.extend((first..first + inputs).map(|input| input * apart));
            let j = if S::TILE[1] > 0 { PAIR.min(end - block) } else { 1 };
            self.multiply(s, block, j, &taps);
            for at in block..block + j {
                self.transform(s, at, (at - block) * apart);
            }
            block += j;
        }
    }
}

impl<const A: usize, const M: usize, const B: usize, const N: usize> Back<'_, A, M, B, N> {
    /// The products of `j` blocks at all points.
    #[inline(always)]
    fn multiply<S: Simd>(&mut self, s: S, block: usize, j: usize, taps: &[usize]) {
        let (winograd, count) = (self.winograd, self.part.out.tiles.len());
        let apart = winograd.apart(count);
        let stride = winograd.block_weights();
        let weights = &self.work.packed[block * stride..];
        let pixels = even(count, S::TILE[j - 1]);
        let far = winograd.packed_len() > FAR;
        for point in 0..A * B {
            let len = taps.len() * LANES;
            let next = &weights[(point + 1) * len..];
            let mut ahead = (far && point + 1 < A * B).then(|| {
                let second = if j == 2 { &next[stride..][..len] } else { &[] };
                Ahead::new([&next[..len], second], count.div_ceil(pixels))
            });
            let weights = &weights[point * len..];
            let start = Start::Zero;
            let (input, full, few, finish) = (self.v, taps.len(), 0, None);
            for at in (0..count).step_by(pixels) {
                let len = pixels.min(count - at);
                let at = point * odd(count) + at;
                let mut sink = Sink { out: Runs::of(&mut self.m[at..], apart, len), sum: None };
                let ahead = ahead.as_mut().map(Ahead::next);
                let product =
                    Product { input, taps, full, few, weights, stride, ahead, start, finish };
                tile::<S>(len, j, ahead.is_some())(s, &product, at, &mut sink);
            }
        }
    }

    /// Transforms the products of a block, which are in `m` from `first` on.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, s: S, block: usize, from: usize) {
        let Back { winograd, work, m, part: Part { out, sum }, .. } = self;
        let tail: &Tail<'_> = work.tail;
        let bias = s.load(&tail.bias[block].0);
        let [_, height, width] = winograd.conv.output;
        let count = out.tiles.len();
        let stride = odd(count);
        let m = &m[from..][..A * B * stride];
        for (at, [place, later]) in winograd.places(out.tiles.clone()).enumerate() {
            if at + AHEAD < count {
                ask::<S, M, N>(s, winograd, tail, block, later, out);
            }
            let [picture, row, column] = [place[0], place[1] * M, place[2] * N];
            let m = &m[at..][..(A * B - 1) * stride + 1];
            let mut half = [[s.zero(); B]; M];
            for c in 0..B {
                let load = |r: usize| s.load(&m[(r * B + c) * stride].0);
                let column = points::output::<S, A, M>(s, std::array::from_fn(load));
                for r in 0..M {
                    half[r][c] = column[r];
                }
            }
            let finish = tail.finish(picture);
            if winograd.pool {
                let finish = finish.at(block, 0);
                for r in (0..M.min(height - row)).step_by(2) {
                    let above = points::output::<S, B, N>(s, half[r]);
                    let below = points::output::<S, B, N>(s, half[r + 1]);
                    let mut sink = Sink { out: out.runs(place, block, r / 2), sum: None };
                    for c in (0..N.min(width - column)).step_by(2) {
                        let above = s.larger(above[c], above[c + 1]);
                        let below = s.larger(below[c], below[c + 1]);
                        let largest = s.add(s.larger(above, below), bias);
                        sink.after(c / 2).store(s, &finish, [[largest]]);
                    }
                }
                continue;
            }
            let rows = M.min(height - row);
            let columns = N.min(width - column);
            for r in 0..rows {
                // Not by `map`: it may stay a call, compiled without the instructions of the token.
                let row_sums = points::output::<S, B, N>(s, half[r]);
                let mut sums = [[bias]; N];
                for c in 0..N {
                    sums[c] = [s.add(row_sums[c], bias)];
                }
                let finish = finish.at(block, tail.residual_pixel(row + r, column));
                let mut sink = Sink {
                    out: out.runs(place, block, r),
                    sum: sum.as_mut().map(|sum| sum.runs(place, block, r)),
                };
                if columns == N {
                    sink.store(s, &finish, sums);
                } else {
                    for c in 0..columns {
                        sink.after(c).store(s, &finish.skipping(c), [sums[c]]);
                    }
                }
            }
        }
    }
}

/// Asks for what the sums of a tile will be written to, and for the residual they will meet.
#[inline(always)]
fn ask<S: Simd, const M: usize, const N: usize>(
    s: S,
    winograd: &Winograd,
    tail: &Tail<'_>,
    block: usize,
    tile: [usize; 3],
    out: &mut Tiled<'_, Pixel>,
) {
    let window = winograd.window();
    let (height, rows) = (winograd.conv.output[1] / window, M.div_ceil(window));
    let [picture, row, column] = [tile[0], tile[1] * rows, tile[2] * N];
    for line in 0..rows.min(height - row) {
        let mut runs = out.runs(tile, block, line);
        let run = runs.all(0);
        run.iter().for_each(|pixel| s.prefetch(&pixel.0));
        let pixel = tail.residual_pixel(row + line, column);
        if let Some(residual) = tail.finish(picture).at(block, pixel).residual {
            (0..run.len()).for_each(|c| s.prefetch(&residual.value[c * residual.step].0));
        }
    }
}

/// `G g Gᵀ` of sixteen filters, lane by lane, in double precision and rounded once.
struct TransformFilters<'a> {
    /// Of the rows and of the columns.
    matrices: &'a [Vec<Vec<f64>>; 2],
    /// Channel after channel, each row after row.
    filters: &'a [Pixel],
    /// Point after point, each channel after channel.
    packed: &'a mut [Pixel],
}

impl Kernel for TransformFilters<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let TransformFilters { matrices: [rows, columns], filters, packed } = self;
        let (height, width) = (rows[0].len(), columns[0].len());
        let channels = filters.len() / (height * width);
        // The rows transformed: for each point and column.
        let mut half = vec![[0.0; LANES]; rows.len() * width];
        let mut exact = vec![[0.0; LANES]; height * width];
        for (channel, filter) in filters.chunks_exact(height * width).enumerate() {
            half.fill([0.0; LANES]);
            exact.iter_mut().zip(filter).for_each(|(to, from)| *to = from.0.map(f64::from));
            for (row, half) in rows.iter().zip(half.chunks_exact_mut(width)) {
                for (factor, filter) in row.iter().zip(exact.chunks_exact(width)) {
                    for (half, filter) in half.iter_mut().zip(filter) {
                        add_scaled(half, *factor, filter);
                    }
                }
            }
            let mut points = packed[channel..].iter_mut().step_by(channels);
            for half in half.chunks_exact(width) {
                for (column, point) in columns.iter().zip(&mut points) {
                    let mut sum = [0.0; LANES];
                    for (factor, half) in column.iter().zip(half) {
                        add_scaled(&mut sum, *factor, half);
                    }
                    *point = Pixel(sum.map(|sum| sum as f32));
                }
            }
        }
    }
}

#[inline(always)]
fn add_scaled(to: &mut [f64; LANES], factor: f64, from: &[f64; LANES]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}
