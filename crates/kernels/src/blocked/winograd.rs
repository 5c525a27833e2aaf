//! Winograd's minimal filtering: tiles of the map are transformed, multiplied channel by channel at
//! each of `A²` points, and the sums transformed back.
//!
//! The products at a point are a matrix product over the channels, done by the register tile with
//! tiles of the map in the place of pixels. Work is cut in one of two ways. *Chunked*: a thread
//! takes some tiles through all three phases, their transforms staying in its second cache; the
//! transformed weights pass by once a chunk. *Phased*: all threads transform, then multiply, each at
//! points of its own, then transform back; the weights pass by once. That is better where a map has
//! few tiles and many channels.

use std::ops::Range;

use super::convolution::{Outputs, Tail, Work};
use super::direct::{Groups, each_patch};
use super::layout::Pixel;
use super::points::{Four, Points, Six, filter_matrix};
use super::simd::{Isa, Kernel, LANES, Lanes, Simd};
use super::tile::{Finish, Product, Sink, Start, even, tile};
use crate::conv::Conv;
use crate::threads::{Grid, Patch, Runs, Threads};

/// Pixels of the transforms of a chunk: three quarters of a second cache of 1 MiB.
const CHUNK: usize = (768 << 10) / size_of::<Pixel>();

/// Tiles of a chunk, at least: fewer would read the weights more often than it pays.
const FEWEST: usize = 14;

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

    /// Pixels of a point's weights.
    fn point_weights(&self) -> usize {
        self.all_outputs() * self.groups.inputs * LANES
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.points() * self.point_weights()
    }

    pub(crate) fn pack(&self, isa: Isa, threads: &Threads, weight: &[f32], packed: &mut [Pixel]) {
        let kernel = self.conv.kernel[0];
        let matrix = filter_matrix(self.reads, kernel);
        let width = self.groups.inputs * LANES;
        let grid = Grid {
            matrices: 1,
            rows: self.points(),
            columns: self.point_weights(),
            height: self.points(),
            width,
        };
        threads.blocks(packed, grid, &mut [(); 0], |corner, mut packed, _| {
            // Of each input channel and tap, the sixteen outputs of the block.
            let mut filters = vec![[0.0; LANES]; width * kernel * kernel];
            let block = corner.column / width;
            self.groups.weights(&self.conv, weight, block, |from, lane, to, taps| {
                let filter = &mut filters[(from * LANES + lane) * kernel * kernel..];
                filter.iter_mut().zip(taps).for_each(|(filter, tap)| filter[to] = *tap);
            });
            for (channel, filter) in filters.chunks_exact(kernel * kernel).enumerate() {
                let transform = TransformFilter { matrix: &matrix, filter };
                for (point, weights) in isa.run(transform).into_iter().enumerate() {
                    packed.row(point)[channel] = Pixel(weights);
                }
            }
        });
    }

    fn schedule(&self, threads: usize) -> Schedule {
        let [down, right] = self.tiles();
        let map = down * right;
        let all = self.conv.batch * map;
        let channels = self.all_inputs() + self.all_outputs();
        let wanted = (CHUNK / (self.points() * channels)).max(FEWEST);
        // With few tiles a thread, or weights that a chunk would read for too few of them.
        let weights = self.packed_len();
        if all < 2 * FEWEST * threads || (wanted <= FEWEST && all <= 64 && weights > CHUNK) {
            return Schedule::Phased;
        }
        if map <= wanted {
            let pictures = (wanted / map).min(self.conv.batch.div_ceil(threads)).max(1);
            let parts = self.conv.batch.div_ceil(pictures).next_multiple_of(threads);
            if self.conv.batch >= threads {
                return Schedule::Chunked([self.conv.batch.div_ceil(parts).max(1), down, right]);
            }
        }
        if right <= wanted {
            let rows = (wanted / right).min(down);
            let parts = down.div_ceil(rows).next_multiple_of(threads);
            return Schedule::Chunked([1, down.div_ceil(parts), right]);
        }
        Schedule::Chunked([1, 1, right.div_ceil(right.div_ceil(wanted))])
    }

    /// Pixels from a point to the next in the transforms of so many tiles: a pixel more than there
    /// are, so that not all points share their place in the first cache.
    fn apart(tiles: usize, blocks: usize) -> usize {
        tiles * blocks + 1
    }

    fn transforms(&self, tiles: usize) -> [usize; 2] {
        [self.all_inputs(), self.all_outputs()]
            .map(|blocks| self.points() * Winograd::apart(tiles, blocks))
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        let [down, right] = self.tiles();
        match self.schedule(threads) {
            Schedule::Chunked(cut) => {
                self.transforms(cut.iter().product()).iter().sum::<usize>() * threads
            }
            Schedule::Phased => {
                self.transforms(self.conv.batch * down * right).iter().sum::<usize>()
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
                let [len, _] = self.transforms(pictures * rows * columns);
                each_patch(
                    threads,
                    &self.conv,
                    size,
                    outputs,
                    cut,
                    scratch,
                    |out, sum, scratch| {
                        let (v, m) = scratch.split_at_mut(len);
                        work.isa.run(Chunk { winograd: self, points, work, x, v, m, out, sum });
                    },
                );
            }
            Schedule::Phased => {
                let tiles =
                    Tiles { pictures: 0..self.conv.batch, rows: 0..down, columns: 0..right };
                let count = tiles.count();
                let (v, m) = scratch.split_at_mut(self.transforms(count)[0]);
                let parts = 4 * threads.count();
                let (apart, width) =
                    (Winograd::apart(count, inputs), (inputs * count).div_ceil(parts));
                threads.blocks(
                    v,
                    points_grid(A * A, A * A, apart, width),
                    &mut [(); 0],
                    |corner, mut v, _| {
                        let range =
                            corner.column..(corner.column + v.columns()).min(inputs * count);
                        let (tiles, to) = (&tiles, v.runs());
                        work.isa.run(Forward { winograd: self, points, x, tiles, range, to });
                    },
                );
                let (v, apart, width) = (&*v, Winograd::apart(count, out_blocks), PAIRS * count);
                threads.blocks(
                    m,
                    points_grid(A * A, 1, apart, width),
                    &mut [(); 0],
                    |corner, mut m, _| {
                        let first = corner.column / count;
                        let blocks = first..(first + m.columns() / count);
                        let (point, m) = (corner.row, m.row(0));
                        let v = &v[point * Winograd::apart(count, inputs)..];
                        work.isa.run(Multiply {
                            winograd: self,
                            work,
                            v,
                            tiles: count,
                            point,
                            blocks,
                            m,
                        });
                    },
                );
                let m = &*m;
                let own = out_blocks.div_ceil(parts.div_ceil(self.conv.batch));
                let cut = [1, own, height, size[1]];
                each_patch(threads, &self.conv, size, outputs, cut, &mut [], |out, sum, _| {
                    let tiles = &tiles;
                    work.isa.run(Back { points, work, m, apart, tiles, out, sum });
                });
            }
        }
    }
}

/// Output blocks that a thread multiplies at a time, at one point.
const PAIRS: usize = 8;

/// The transforms at all points, cut at so many points and columns.
fn points_grid(points: usize, height: usize, columns: usize, width: usize) -> Grid {
    Grid { matrices: 1, rows: points, columns, height, width }
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

    /// Picture, row and column of a tile.
    #[inline(always)]
    fn at(&self, tile: usize) -> [usize; 3] {
        let (row, column) = (tile / self.columns.len(), tile % self.columns.len());
        let (picture, row) = (row / self.rows.len(), row % self.rows.len());
        [self.pictures.start + picture, self.rows.start + row, self.columns.start + column]
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
            [self.pictures.start, self.rows.start, self.columns.start]
        }
    }
}

/// Some tiles through all phases.
struct Chunk<'a, T, const A: usize, const M: usize> {
    winograd: &'a Winograd,
    points: T,
    work: &'a Work<'a>,
    x: &'a [Pixel],
    v: &'a mut [Pixel],
    m: &'a mut [Pixel],
    out: Patch<'a, Pixel>,
    sum: Option<Patch<'a, Pixel>>,
}

impl<T: Points<A, M>, const A: usize, const M: usize> Kernel for Chunk<'_, T, A, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Chunk { winograd, points, work, x, v, m, out, sum } = self;
        let tiles = Tiles {
            pictures: out.pictures.clone(),
            rows: out.rows.start / M..out.rows.end.div_ceil(M),
            columns: out.columns.start / M..out.columns.end.div_ceil(M),
        };
        let count = tiles.count();
        let [inputs, outputs] = [winograd.all_inputs(), winograd.all_outputs()];
        let [v_apart, m_apart] = [inputs, outputs].map(|blocks| Winograd::apart(count, blocks));
        let range = 0..inputs * count;
        let to = Runs::of(v, v_apart, range.len());
        Forward { winograd, points, x, tiles: &tiles, range, to }.run(s);
        for point in 0..A * A {
            let v = &v[point * v_apart..];
            let m = &mut m[point * m_apart..];
            Multiply { winograd, work, v, tiles: count, point, blocks: 0..outputs, m }.run(s);
        }
        Back { points, work, m, apart: m_apart, tiles: &tiles, out, sum }.run(s);
    }
}

/// `Bᵀ d B` of some tiles of some blocks.
struct Forward<'a, T, const A: usize, const M: usize> {
    winograd: &'a Winograd,
    points: T,
    x: &'a [Pixel],
    tiles: &'a Tiles,
    /// Tiles of the first block, then those of the next, and so on.
    range: Range<usize>,
    /// A run for each point.
    to: Runs<'a, Pixel>,
}

impl<T: Points<A, M>, const A: usize, const M: usize> Kernel for Forward<'_, T, A, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Forward { winograd, points, x, tiles, range, mut to } = self;
        let Conv { input: [_, height, width], pad: [top, left, ..], .. } = winograd.conv;
        let (area, count, inputs) = (height * width, tiles.count(), winograd.all_inputs());
        let mut block = range.start / count;
        let mut left_in_block = count - range.start % count;
        let mut place = tiles.at(range.start % count);
        for at in 0..range.len() {
            let [picture, row, column] = place;
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
            let mut to = to.after(at);
            for (r, half) in half.into_iter().enumerate() {
                let row = points.input(s, half);
                for (c, value) in row.into_iter().enumerate() {
                    s.store(value, &mut to.run::<1>(r * A + c)[0].0);
                }
            }
            left_in_block -= 1;
            if left_in_block == 0 {
                (block, left_in_block) = (block + 1, count);
            }
            place = tiles.next(place);
        }
    }
}

/// The products at a point.
struct Multiply<'a> {
    winograd: &'a Winograd,
    work: &'a Work<'a>,
    /// The point's transforms of all input blocks.
    v: &'a [Pixel],
    tiles: usize,
    point: usize,
    /// Output blocks, from the first of `m` on.
    blocks: Range<usize>,
    m: &'a mut [Pixel],
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Multiply { winograd, work, v, tiles, point, blocks, m } = self;
        let groups = winograd.groups;
        let stride = groups.inputs * LANES;
        let weights = &work.packed[point * winograd.point_weights()..];
        // Taps of up to 64 blocks at a time.
        const MOST: usize = 64;
        let mut taps = [0; MOST];
        let mut block = blocks.start;
        while block < blocks.end {
            let group = block / groups.outputs;
            let end = blocks.end.min((group + 1) * groups.outputs);
            let j = if S::TILE[1] > 0 { 2.min(end - block) } else { 1 };
            let run = even(groups.inputs, MOST);
            for first in (0..groups.inputs).step_by(run) {
                let len = run.min(groups.inputs - first);
                for (i, tap) in taps[..len].iter_mut().enumerate() {
                    *tap = (group * groups.inputs + first + i) * tiles;
                }
                let start = if first == 0 { Start::Zero } else { Start::Resume };
                let weights = &weights[block * stride + first * LANES..];
                let taps = &taps[..len];
                let product = Product { input: v, taps, weights, stride, start, finish: None };
                let pixels = even(tiles, S::TILE[j - 1]);
                for tile_at in (0..tiles).step_by(pixels) {
                    let len = pixels.min(tiles - tile_at);
                    let m = &mut m[(block - blocks.start) * tiles + tile_at..];
                    let mut sink = Sink { out: Runs::of(m, tiles, len), sum: None };
                    tile::<S>(len, j)(s, &product, tile_at, &mut sink);
                }
            }
            block += j;
        }
    }
}

/// `Aᵀ m A` of some tiles of some blocks, and what ends a sum.
struct Back<'a, T, const A: usize, const M: usize> {
    points: T,
    work: &'a Work<'a>,
    m: &'a [Pixel],
    /// Pixels from a point to the next.
    apart: usize,
    tiles: &'a Tiles,
    out: Patch<'a, Pixel>,
    sum: Option<Patch<'a, Pixel>>,
}

impl<T: Points<A, M>, const A: usize, const M: usize> Kernel for Back<'_, T, A, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Back { points, work, m, apart, tiles, mut out, mut sum } = self;
        let tail: &Tail<'_> = work.tail;
        let count = tiles.count();
        for block in out.blocks.clone() {
            let bias = s.load(&tail.bias[block].0);
            // The patch may have but one of the pictures.
            let per_picture = tiles.rows.len() * tiles.columns.len();
            let first = (out.pictures.start - tiles.pictures.start) * per_picture;
            let mut place = tiles.at(first);
            for at in first..first + out.pictures.len() * per_picture {
                let [picture, row, column] = place;
                place = tiles.next(place);
                let (row, column) = (row * M, column * M);
                let from = &m[block * count + at..];
                let mut half = [[s.zero(); A]; M];
                for c in 0..A {
                    let load = |r: usize| s.load(&from[(r * A + c) * apart].0);
                    let column = points.output(s, std::array::from_fn(load));
                    for r in 0..M {
                        half[r][c] = column[r];
                    }
                }
                let finish = tail.finish(picture);
                let columns = M.min(out.columns.end - column);
                for (r, half) in half.into_iter().enumerate().take(out.rows.end - row) {
                    let values = points.output(s, half);
                    let finish = finish.at(block, tail.residual_pixel(row + r, column));
                    let place = [picture, block, row + r, column];
                    for (c, value) in values.into_iter().enumerate().take(columns) {
                        let value = finish.sum(s, s.add(value, bias), 0, c);
                        let value = match finish.activation {
                            None => value,
                            Some(both) => {
                                if let Some(sum) = &mut sum {
                                    let mut sum = sum.runs(place, columns);
                                    s.store(value, &mut sum.after(c).run::<1>(0)[0].0);
                                }
                                Finish::activated(s, both, value, 0)
                            }
                        };
                        let mut out = out.runs(place, columns);
                        s.store(value, &mut out.after(c).run::<1>(0)[0].0);
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
