//! Winograd's minimal filtering: tiles of the map are transformed, multiplied channel by channel at
//! each of `A²` points, and the sums transformed back.
//!
//! The products at a point are a matrix product over the channels, done by the register tile with
//! tiles of the map in the place of pixels. The products of two output blocks are transformed back at
//! once, while they are in the second cache. Work is cut in one of two ways. *Chunks*: a thread takes
//! some tiles all the way, their transforms staying in its second cache; the weights pass by once a
//! chunk. *Phases*: all threads transform all tiles, and then share out the output blocks; the weights
//! pass by once, the transforms once for every two blocks.

use std::ops::Range;

use super::convolution::{Outputs, Tail, Work};
use super::direct::{Groups, each_patch};
use super::layout::Pixel;
use super::points::{Four, Points, Six, filter_matrix};
use super::simd::{Isa, Kernel, LANES, Lanes, Simd};
use super::strip::share;
use super::tile::{Product, Sink, Start, even, tile};
use crate::conv::Conv;
use crate::threads::{Patch, Runs, Threads};

/// Pixels of the transforms of a chunk: five eighths of a second cache of 1 MiB.
const CHUNK: usize = (640 << 10) / size_of::<Pixel>();

/// Tiles of a chunk, at least: fewer would not fill the register tile.
const FEWEST: usize = 14;

/// Output blocks whose products are in the cache at a time.
const PAIR: usize = 2;

#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    pub(crate) conv: Conv,
    pub(crate) groups: Groups,
    /// Pixels of the output that a tile makes, down and right.
    pub(crate) makes: usize,
    /// Pixels of the input that it reads: points of an axis.
    pub(crate) reads: usize,
}

/// How the work is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schedule {
    /// Pictures, and rows and columns of tiles, of a chunk.
    Chunked([usize; 3]),
    Phased,
}

impl Winograd {
    /// F(makes × makes, kernel × kernel), if the convolution is such a one.
    pub(crate) fn new(conv: &Conv, kernel: usize, makes: usize) -> Option<Winograd> {
        let fits = conv.kernel == [kernel; 2] && conv.stride == [1, 1] && conv.dilation == [1, 1];
        // A point more than there are rows of the picture is but zeros.
        let reads = makes + kernel - 1;
        let winograd = Winograd { conv: *conv, groups: Groups::of(conv), makes, reads };
        (fits && conv.input[0] >= 8).then_some(winograd)
    }

    fn points(&self) -> usize {
        self.reads * self.reads
    }

    fn all_inputs(&self) -> usize {
        self.groups.count * self.groups.inputs
    }

    fn all_outputs(&self) -> usize {
        self.groups.count * self.groups.outputs
    }

    /// Rows and columns of tiles of a map.
    fn tiles(&self) -> [usize; 2] {
        let [_, h, w] = self.conv.output;
        [h.div_ceil(self.makes), w.div_ceil(self.makes)]
    }

    /// Pixels of the weights of an output block: of each point, of each input block.
    fn block_weights(&self) -> usize {
        self.points() * self.groups.inputs * LANES
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.all_outputs() * self.block_weights()
    }

    pub(crate) fn pack(&self, isa: Isa, threads: &Threads, weight: &[f32], packed: &mut [Pixel]) {
        let kernel = self.conv.kernel[0];
        let matrix = filter_matrix(self.reads, kernel);
        let width = self.groups.inputs * LANES;
        threads.chunks(packed, self.block_weights(), |block, packed| {
            // Of each input channel and tap, the sixteen outputs of the block.
            let mut filters = vec![[0.0; LANES]; width * kernel * kernel];
            self.groups.weights(&self.conv, weight, block, |from, lane, to, taps| {
                let filter = &mut filters[(from * LANES + lane) * kernel * kernel..];
                filter.iter_mut().zip(taps).for_each(|(filter, tap)| filter[to] = *tap);
            });
            for (channel, filter) in filters.chunks_exact(kernel * kernel).enumerate() {
                let transform = TransformFilter { matrix: &matrix, filter };
                for (point, weights) in isa.run(transform).into_iter().enumerate() {
                    packed[point * width + channel] = Pixel(weights);
                }
            }
        });
    }

    fn schedule(&self, threads: usize) -> Schedule {
        let [down, right] = self.tiles();
        let (map, pictures) = (down * right, self.conv.batch);
        let most = (CHUNK / (self.points() * self.all_inputs())).max(FEWEST);
        let wanted = most.min((pictures * map).div_ceil(threads)).max(FEWEST);
        // What has to come from beyond the second cache, in pixels.
        let all = self.points() * self.all_inputs() * pictures * map;
        let chunks = (pictures * map).div_ceil(wanted);
        let passes = self.all_outputs().div_ceil(PAIR);
        if chunks < threads || chunks * self.packed_len() > all * passes + self.packed_len() {
            return Schedule::Phased;
        }
        if map <= wanted {
            let few = (wanted / map).min(pictures.div_ceil(threads));
            return Schedule::Chunked([share(pictures, few, threads), down, right]);
        }
        if right <= wanted {
            let rows = (most / right).min(wanted.div_ceil(right));
            return Schedule::Chunked([1, share(down, rows, threads), right]);
        }
        Schedule::Chunked([1, 1, share(right, wanted, 1)])
    }

    /// Pixels of the transforms of so many tiles of a block: one more than there are, so that not
    /// all blocks share their place in the first cache.
    fn apart(&self, tiles: usize) -> usize {
        self.points() * odd(tiles) + 1
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        let [down, right] = self.tiles();
        match self.schedule(threads) {
            Schedule::Chunked(cut) => {
                let apart = self.apart(cut.iter().product());
                (self.all_inputs() + PAIR) * apart * threads
            }
            Schedule::Phased => {
                let apart = self.apart(self.conv.batch * down * right);
                (self.all_inputs() + PAIR * threads) * apart
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
        let scratch = &mut scratch[..self.scratch_len(work.threads.count())];
        match (self.reads, self.makes) {
            (4, _) => self.run_on::<_, 4, 2>(Four, work, x, outputs, scratch),
            (_, 2) => self.run_on::<_, 6, 2>(Six, work, x, outputs, scratch),
            _ => self.run_on::<_, 6, 4>(Six, work, x, outputs, scratch),
        }
    }

    fn run_on<T: Points<A, M>, const A: usize, const M: usize>(
        &self,
        points: T,
        work: &Work<'_>,
        x: &[Pixel],
        outputs: Outputs<'_>,
        scratch: &mut [Pixel],
    ) {
        let [_, height, width] = self.conv.output;
        let (size, threads) = ([height, width], work.threads);
        let (inputs, out_blocks) = (self.all_inputs(), self.all_outputs());
        let [down, right] = self.tiles();
        match self.schedule(threads.count()) {
            Schedule::Chunked([pictures, rows, columns]) => {
                let cut = [pictures, out_blocks, rows * M, columns * M];
                each_patch(
                    threads,
                    &self.conv,
                    size,
                    outputs,
                    cut,
                    scratch,
                    |out, sum, scratch| {
                        work.isa.run(Chunk { winograd: self, points, work, x, scratch, out, sum });
                    },
                );
            }
            Schedule::Phased => {
                let tiles =
                    Tiles { pictures: 0..self.conv.batch, rows: 0..down, columns: 0..right };
                let apart = self.apart(tiles.count());
                let (v, scratch) = scratch.split_at_mut(inputs * apart);
                threads.chunks(v, apart, |block, v| {
                    let tiles = &tiles;
                    work.isa.run(Forward { winograd: self, points, x, tiles, block, v });
                });
                let v = &*v;
                let own = share(out_blocks, 4 * PAIR, threads.count()).next_multiple_of(PAIR);
                let cut = [self.conv.batch, own, height, width];
                each_patch(threads, &self.conv, size, outputs, cut, scratch, |out, sum, m| {
                    let tiles = &tiles;
                    work.isa.run(Back { winograd: self, points, work, v, tiles, m, out, sum });
                });
            }
        }
    }
}

/// Pixels from a point's transforms of so many tiles to the next point's: an odd number, so that
/// not all points share their place in the first cache.
#[inline(always)]
fn odd(tiles: usize) -> usize {
    tiles | 1
}

/// Some tiles of a batch of maps, in the order of pictures, rows, columns.
#[derive(Clone, Debug)]
struct Tiles {
    pictures: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Tiles {
    fn count(&self) -> usize {
        self.pictures.len() * self.rows.len() * self.columns.len()
    }

    /// Picture, row and column of the first.
    fn first(&self) -> [usize; 3] {
        [self.pictures.start, self.rows.start, self.columns.start]
    }

    /// What comes after a tile, the first again after the last.
    #[inline(always)]
    fn next(&self, [picture, row, column]: [usize; 3]) -> [usize; 3] {
        if column + 1 < self.columns.end {
            [picture, row, column + 1]
        } else if row + 1 < self.rows.end {
            [picture, row + 1, self.columns.start]
        } else if picture + 1 < self.pictures.end {
            [picture + 1, self.rows.start, self.columns.start]
        } else {
            self.first()
        }
    }
}

/// Some tiles all the way.
struct Chunk<'a, T, const A: usize, const M: usize> {
    winograd: &'a Winograd,
    points: T,
    work: &'a Work<'a>,
    x: &'a [Pixel],
    scratch: &'a mut [Pixel],
    out: Patch<'a, Pixel>,
    sum: Option<Patch<'a, Pixel>>,
}

impl<T: Points<A, M>, const A: usize, const M: usize> Kernel for Chunk<'_, T, A, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Chunk { winograd, points, work, x, scratch, out, sum } = self;
        let tiles = Tiles {
            pictures: out.pictures.clone(),
            rows: out.rows.start / M..out.rows.end.div_ceil(M),
            columns: out.columns.start / M..out.columns.end.div_ceil(M),
        };
        let (tiles, apart) = (&tiles, winograd.apart(tiles.count()));
        let (v, m) = scratch.split_at_mut(winograd.all_inputs() * apart);
        for (block, v) in v.chunks_exact_mut(apart).enumerate() {
            Forward { winograd, points, x, tiles, block, v }.run(s);
        }
        Back { winograd, points, work, v, tiles, m, out, sum }.run(s);
    }
}

/// `Bᵀ d B` of some tiles of a block: all of the first point, then all of the next.
struct Forward<'a, T, const A: usize, const M: usize> {
    winograd: &'a Winograd,
    points: T,
    x: &'a [Pixel],
    tiles: &'a Tiles,
    block: usize,
    v: &'a mut [Pixel],
}

impl<T: Points<A, M>, const A: usize, const M: usize> Kernel for Forward<'_, T, A, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Forward { winograd, points, x, tiles, block, v } = self;
        let Conv { input: [_, height, width], pad: [top, left, ..], .. } = winograd.conv;
        let (area, count, inputs) = (height * width, tiles.count(), winograd.all_inputs());
        let stride = odd(count);
        let mut place = tiles.first();
        for at in 0..count {
            let [picture, row, column] = place;
            place = tiles.next(place);
            let map = &x[(picture * inputs + block) * area..][..area];
            let (row, column) = ((row * M).wrapping_sub(top), (column * M).wrapping_sub(left));
            let mut rim = [[Pixel::ZERO; A]; A];
            let inside = row < height && row + A <= height && column < width && column + A <= width;
            if !inside {
                for (r, rim) in rim.iter_mut().enumerate() {
                    let row = row.wrapping_add(r);
                    for (c, rim) in rim.iter_mut().enumerate() {
                        let column = column.wrapping_add(c);
                        if row < height && column < width {
                            *rim = map[row * width + column];
                        }
                    }
                }
            }
            let line = |r: usize| -> &[Pixel; A] {
                if inside {
                    match map[(row + r) * width + column..].first_chunk() {
                        Some(line) => line,
                        None => unreachable!("the tile is inside the map"),
                    }
                } else {
                    &rim[r]
                }
            };
            let lines: [&[Pixel; A]; A] = std::array::from_fn(line);
            // Columns first, then rows.
            let mut half = [[s.zero(); A]; A];
            for c in 0..A {
                let column = points.input(s, std::array::from_fn(|r| s.load(&lines[r][c].0)));
                for r in 0..A {
                    half[r][c] = column[r];
                }
            }
            let v = &mut v[at..][..(A * A - 1) * stride + 1];
            for r in 0..A {
                let row = points.input(s, half[r]);
                for c in 0..A {
                    s.store(row[c], &mut v[(r * A + c) * stride].0);
                }
            }
        }
    }
}

/// The products of some output blocks, and `Aᵀ m A` of them with what ends a sum.
struct Back<'a, T, const A: usize, const M: usize> {
    winograd: &'a Winograd,
    points: T,
    work: &'a Work<'a>,
    /// The transforms of all input blocks.
    v: &'a [Pixel],
    tiles: &'a Tiles,
    /// Room for the products of two blocks.
    m: &'a mut [Pixel],
    out: Patch<'a, Pixel>,
    sum: Option<Patch<'a, Pixel>>,
}

impl<T: Points<A, M>, const A: usize, const M: usize> Kernel for Back<'_, T, A, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let groups = self.winograd.groups;
        let apart = self.winograd.apart(self.tiles.count());
        let mut taps = Vec::with_capacity(groups.inputs);
        let mut block = self.out.blocks.start;
        while block < self.out.blocks.end {
            let group = block / groups.outputs;
            let end = self.out.blocks.end.min((group + 1) * groups.outputs);
            let first = group * groups.inputs;
            taps.clear();
            taps.extend((first..first + groups.inputs).map(|input| input * apart));
            let j = if S::TILE[1] > 0 { PAIR.min(end - block) } else { 1 };
            self.multiply(s, block, j, &taps);
            for at in block..block + j {
                self.transform(s, at, (at - block) * apart);
            }
            block += j;
        }
    }
}

impl<T: Points<A, M>, const A: usize, const M: usize> Back<'_, T, A, M> {
    /// The products of `j` blocks at all points.
    #[inline(always)]
    fn multiply<S: Simd>(&mut self, s: S, block: usize, j: usize, taps: &[usize]) {
        let (winograd, count) = (self.winograd, self.tiles.count());
        let apart = winograd.apart(count);
        let stride = winograd.block_weights();
        let weights = &self.work.packed[block * stride..];
        let pixels = even(count, S::TILE[j - 1]);
        for point in 0..A * A {
            let weights = &weights[point * taps.len() * LANES..];
            let start = Start::Zero;
            let product = Product { input: self.v, taps, weights, stride, start, finish: None };
            for at in (0..count).step_by(pixels) {
                let len = pixels.min(count - at);
                let at = point * odd(count) + at;
                let mut sink = Sink { out: Runs::of(&mut self.m[at..], apart, len), sum: None };
                tile::<S>(len, j)(s, &product, at, &mut sink);
            }
        }
    }

    /// Transforms the products of a block, which are in `m` from `first` on.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, s: S, block: usize, first: usize) {
        let Back { points, work, tiles, m, out, sum, .. } = self;
        let (tail, count): (&Tail<'_>, _) = (work.tail, tiles.count());
        let bias = s.load(&tail.bias[block].0);
        let stride = odd(count);
        let m = &m[first..][..A * A * stride];
        let mut place = tiles.first();
        for at in 0..count {
            let [picture, row, column] = place;
            place = tiles.next(place);
            let (row, column) = (row * M, column * M);
            let m = &m[at..][..(A * A - 1) * stride + 1];
            let mut half = [[s.zero(); A]; M];
            for c in 0..A {
                let load = |r: usize| s.load(&m[(r * A + c) * stride].0);
                let column = points.output(s, std::array::from_fn(load));
                for r in 0..M {
                    half[r][c] = column[r];
                }
            }
            let finish = tail.finish(picture);
            let [rows, columns] =
                [out.rows.end - row, out.columns.end - column].map(|left| left.min(M));
            for r in 0..rows {
                let sums = points.output(s, half[r]).map(|sum| [s.add(sum, bias)]);
                let finish = finish.at(block, tail.residual_pixel(row + r, column));
                let place = [picture, block, row + r, column];
                let mut sink = Sink {
                    out: out.runs(place, columns),
                    sum: sum.as_mut().map(|sum| sum.runs(place, columns)),
                };
                if columns == M {
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

/// `G g Gᵀ` of sixteen filters, lane by lane, in double precision and rounded once.
struct TransformFilter<'a> {
    matrix: &'a [Vec<f64>],
    /// Row after row.
    filter: &'a [Lanes],
}

impl Kernel for TransformFilter<'_> {
    type Output = Vec<Lanes>;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Vec<Lanes> {
        let TransformFilter { matrix, filter } = self;
        let kernel = matrix[0].len();
        // The rows transformed: for each point and column.
        let mut half = vec![[0.0; LANES]; matrix.len() * kernel];
        for (row, half) in matrix.iter().zip(half.chunks_exact_mut(kernel)) {
            for (factor, filter) in row.iter().zip(filter.chunks_exact(kernel)) {
                for (half, filter) in half.iter_mut().zip(filter) {
                    add_scaled(half, *factor, &filter.map(f64::from));
                }
            }
        }
        let mut whole = Vec::with_capacity(matrix.len() * matrix.len());
        for half in half.chunks_exact(kernel) {
            for column in matrix {
                let mut sum = [0.0; LANES];
                for (factor, half) in column.iter().zip(half) {
                    add_scaled(&mut sum, *factor, half);
                }
                whole.push(sum.map(|sum| sum as f32));
            }
        }
        whole
    }
}

#[inline(always)]
fn add_scaled(to: &mut [f64; LANES], factor: f64, from: &[f64; LANES]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}
