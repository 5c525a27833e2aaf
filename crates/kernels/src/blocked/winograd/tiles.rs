//! What is done to tiles: the transforms, and the products between them.

use std::ops::Range;

use super::Winograd;
use crate::blocked::convolution::{Added, Tail, Work};
use crate::blocked::layout::{FAR, Pixel};
use crate::blocked::points;
use crate::blocked::simd::{Kernel, LANES, Simd, asking_ahead_pays};
use crate::blocked::spaced::{Spaced, SpacedMut};
use crate::blocked::tile::{Product, Reads, Sink, Start, are_small, most_blocks, rows};
use crate::conv::Conv;
use crate::threads::{Runs, Tiled};

/// By so many tiles ahead what a transform reads or writes is asked for. It lies in short rows, which
/// a processor does not follow by itself.
const AHEAD: usize = 4;

impl Winograd {
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

/// What a thread writes.
pub(super) struct Part<'a> {
    pub(super) out: Tiled<'a, Pixel>,
    pub(super) sum: Option<Tiled<'a, Pixel>>,
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
pub(super) fn odd(tiles: usize) -> usize {
    tiles | 1
}

/// Some tiles all the way, to some output blocks.
pub(super) struct Chunk<'a, const A: usize, const M: usize, const B: usize, const N: usize> {
    pub(super) winograd: &'a Winograd,
    pub(super) work: &'a Work<'a>,
    pub(super) x: &'a [Pixel],
    pub(super) scratch: &'a mut [Pixel],
    pub(super) part: Part<'a>,
}

impl<const A: usize, const M: usize, const B: usize, const N: usize> Kernel
    for Chunk<'_, A, M, B, N>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Chunk { winograd, work, x, scratch, part } = self;
        let tiles = part.out.tiles();
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
        // Lines that have left the second cache are asked for before they are written.
        let asks = are_small(S::TILE) && winograd.all_inputs() * winograd.apart(count) > FAR;
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
        let mut half = [[s.zero(); B]; A];
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
            for c in 0..B {
                let load = |r: usize| s.load(&lines[r][c].0);
                let column = points::input::<S, A>(s, std::array::from_fn(load));
                for r in 0..A {
                    half[r][c] = column[r];
                }
            }
            if asks && at + AHEAD < count {
                let later = Spaced::of(&v[at + AHEAD..], A * B, stride);
                (0..A * B).for_each(|point| s.prefetch(&later[point].0));
            }
            let mut v = SpacedMut::of(&mut v[at..], A * B, stride);
            for r in 0..A {
                let row = points::input::<S, B>(s, half[r]);
                for c in 0..B {
                    s.store(row[c], &mut v.at(r * B + c).0);
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
    /// Room for the products of the blocks that are made together.
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
        let (blocks, apart) = (out.blocks(), self.winograd.apart(out.tiles().len()));
        let together = self.winograd.together(S::TILE);
        let mut taps = Vec::with_capacity(inputs);
        let mut block = blocks.start;
        while block < blocks.end {
            let group = block / groups.outputs;
            let end = blocks.end.min((group + 1) * groups.outputs);
            let first = group * inputs;
            taps.clear();
            taps.extend((first..first + inputs).map(|input| input * apart));
            let together = together.min(end - block);
            self.multiply(s, block, together, &taps);
            for at in block..block + together {
                self.transform(s, at, (at - block) * apart);
            }
            block += together;
        }
    }
}

impl<const A: usize, const M: usize, const B: usize, const N: usize> Back<'_, A, M, B, N> {
    /// The products of so many blocks at all points.
    #[inline(always)]
    fn multiply<S: Simd>(&mut self, s: S, block: usize, together: usize, taps: &[usize]) {
        let (winograd, count) = (self.winograd, self.part.out.tiles().len());
        let (apart, down) = (winograd.apart(count), odd(count));
        let stride = winograd.block_weights();
        let weights = &self.work.packed[block * stride..];
        let len = taps.len() * LANES;
        let tile = most_blocks(S::TILE);
        // Weights from far away pass by once: all tiles of a point, then all of the next.
        let far = winograd.is_far();
        let points = if far { 1 } else { A * B };
        // Such weights push the transforms out of the second cache, but to ask for these costs small tiles more.
        let asks = far && !are_small(S::TILE) && asking_ahead_pays();
        let reads = if asks { Reads::Far } else { Reads::Near };
        for point in (0..A * B).step_by(points) {
            for first in (0..together).step_by(tile) {
                let j = tile.min(together - first);
                let next = if first + j < together { [point, first + j] } else { [point + 1, 0] };
                let ahead = (far && next[0] < A * B).then(|| {
                    [0, 1].map(|i| match next[1] + i < together && i < tile {
                        true => &weights[(next[1] + i) * stride + next[0] * len..][..len],
                        false => &[],
                    })
                });
                let product = Product {
                    input: self.v,
                    down,
                    taps,
                    full: taps.len(),
                    few: 0,
                    weights: &weights[first * stride + point * len..],
                    stride,
                    weights_down: len,
                    ahead,
                    reads,
                    start: Start::Zero,
                    finish: None,
                };
                let at = point * down;
                let out = Runs::of(&mut self.m[first * apart + at..], apart, [points, down], count);
                rows(s, &product, at, [points, count], j, &mut Sink { out, sum: None });
            }
        }
    }

    /// Transforms the products of a block, which are in `m` from `from` on.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, s: S, block: usize, from: usize) {
        let Back { winograd, work, m, part: Part { out, sum }, .. } = self;
        let tail: &Tail<'_> = work.tail;
        let bias = s.load(&tail.bias[block].0);
        let [_, height, width] = winograd.conv.output;
        let window = winograd.window();
        let count = out.tiles().len();
        let stride = odd(count);
        let m = &m[from..][..A * B * stride];
        let floor = if tail.relu { s.zero() } else { s.splat(f32::NEG_INFINITY) };
        let added = tail.residual.filter(|added| block < added.blocks);
        // Whether each sum is written, and gets no more than its bias, a residual of stride 1 and ReLU.
        let is_plain = !winograd.pool
            && tail.factor == 1.0
            && tail.activation.is_none()
            && added.is_none_or(|added| added.stride == 1);
        let mut half = [[s.zero(); B]; M];
        for (at, [place, later]) in winograd.places(out.tiles()).enumerate() {
            if at + AHEAD < count {
                ask::<S, M, N>(s, added.as_ref(), block, later, out.runs(later, block));
            }
            let [picture, row, column] = [place[0], place[1] * M, place[2] * N];
            let m = Spaced::of(&m[at..], A * B, stride);
            for c in 0..B {
                let load = |r: usize| s.load(&m[r * B + c].0);
                let column = points::output::<S, A, M>(s, std::array::from_fn(load));
                for r in 0..M {
                    half[r][c] = column[r];
                }
            }
            let (rows, columns) = (M.min(height - row), N.min(width - column));
            let mut to = out.runs(place, block);
            // Most tiles: not to ask of each row how it ends is 3 to 6 % of 64 channels of 224².
            if is_plain && [rows, columns] == [M, N] {
                for r in 0..M {
                    // Not by `map`: it may stay a call, compiled without the instructions of the token.
                    let mut sums = points::output::<S, B, N>(s, half[r]);
                    for c in 0..N {
                        sums[c] = s.add(sums[c], bias);
                    }
                    if let Some(added) = &added {
                        let pixels = added.run::<N>([picture, block], [row + r, column]);
                        for c in 0..N {
                            sums[c] = s.add(s.load(&pixels[c].0), sums[c]);
                        }
                    }
                    let mut to = to.after([r, 0]);
                    let pixels = to.run::<N>(0);
                    for c in 0..N {
                        s.store(s.max(floor, sums[c]), &mut pixels[c].0);
                    }
                }
                continue;
            }
            let finish = tail.finish(picture).at(block, tail.residual_pixel(row, column));
            let mut sink = Sink { out: to, sum: sum.as_mut().map(|sum| sum.runs(place, block)) };
            for r in 0..rows / window {
                let row_sums = match winograd.pool {
                    true => largest::<S, B, N>(s, [half[2 * r], half[2 * r + 1]]),
                    false => points::output::<S, B, N>(s, half[r]),
                };
                let mut sums = [[bias]; N];
                for c in 0..N {
                    sums[c] = [s.add(row_sums[c], bias)];
                }
                if columns == N && !winograd.pool {
                    sink.after([r, 0]).store(s, &finish.after([r, 0]), sums);
                } else {
                    for c in 0..columns / window {
                        sink.after([r, c]).store(s, &finish.after([r, c]), [sums[c]]);
                    }
                }
            }
        }
    }
}

/// Of the sums of two rows the largest of each two by two, side by side: of the `N` values the first half.
#[inline(always)]
fn largest<S: Simd, const B: usize, const N: usize>(s: S, rows: [[S::V; B]; 2]) -> [S::V; N] {
    let above = points::output::<S, B, N>(s, rows[0]);
    let below = points::output::<S, B, N>(s, rows[1]);
    let mut sums = above;
    for c in 0..N / 2 {
        let one = s.larger(above[2 * c], above[2 * c + 1]);
        let other = s.larger(below[2 * c], below[2 * c + 1]);
        sums[c] = s.larger(one, other);
    }
    sums
}

/// Asks for what the sums of a tile will be written to, and for the residual they will meet.
#[inline(always)]
fn ask<S: Simd, const M: usize, const N: usize>(
    s: S,
    added: Option<&Added<'_>>,
    block: usize,
    [picture, row, column]: [usize; 3],
    mut runs: Runs<'_, Pixel>,
) {
    for r in 0..runs.rows() {
        let mut runs = runs.after([r, 0]);
        let run = runs.all(0);
        run.iter().for_each(|pixel| s.prefetch(&pixel.0));
        if let Some(added) = added {
            let pixels = added.row([picture, block], [row * M + r, column * N]);
            let every = pixels.iter().step_by(added.stride).take(run.len());
            every.for_each(|pixel| s.prefetch(&pixel.0));
        }
    }
}

/// `G g Gᵀ` of sixteen filters, lane by lane, in double precision and rounded once.
pub(super) struct TransformFilters<'a> {
    /// Of the rows and of the columns.
    pub(super) matrices: &'a [Vec<Vec<f64>>; 2],
    /// Channel after channel, each row after row.
    pub(super) filters: &'a [Pixel],
    /// Point after point, each channel after channel.
    pub(super) packed: &'a mut [Pixel],
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
