//! Convolution as in the definition: a list of taps for the register tile.
//!
//! A 1×1 convolution reads the map as it lies. All others read a strip of rows that each thread
//! copies with the zeros around it.

use std::ops::Range;

use super::Destination;
use super::convolution::{Outputs, Work};
use super::filters::Places;
use super::layout::{Pixel, blocks};
use super::simd::{Kernel, LANES, Simd};
use super::strip::{Strip, share};
use super::tile::{Product, Reads, Sink, Start, are_small, even, most_blocks, rows, span};
use crate::conv::Conv;
use crate::threads::{Patch, Threads};

/// Pixels of input that a part of the work reads, and more than which may not be there when they are read again: a
/// quarter of a second cache of 1 MiB, or half of one of 512 KiB.
const INPUT: usize = (256 << 10) / size_of::<Pixel>();
/// Pixels of weights that a run of taps has for all blocks of a tile, where tiles are small: three quarters of a
/// first cache of 32 KiB.
const NEAR_WEIGHTS: usize = (24 << 10) / size_of::<Pixel>();
/// The same where they are large: half of a second cache.
const WEIGHTS: usize = (512 << 10) / size_of::<Pixel>();

#[derive(Clone, Debug)]
pub(crate) struct Direct {
    pub(crate) conv: Conv,
    pub(crate) groups: Groups,
}

/// Groups of channels that fill whole blocks: several of the convolution's own, with zeros for the
/// connections between them, where those are smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    /// How many of the convolution's groups are one.
    merged: usize,
    /// How many there are then.
    pub(crate) count: usize,
    /// Blocks of input and of output channels of each.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Groups {
    pub(crate) fn of(conv: &Conv) -> Groups {
        let Conv { input: [channels, ..], output: [out, ..], groups, .. } = *conv;
        assert!(channels % groups == 0 && out % groups == 0, "the groups divide the channels");
        let fills = |merged: usize| {
            groups.is_multiple_of(merged)
                && (channels / groups * merged).is_multiple_of(LANES)
                && (out / groups * merged).is_multiple_of(LANES)
        };
        let merged = (1..groups).find(|&merged| fills(merged)).unwrap_or(groups);
        let count = groups / merged;
        Groups { merged, count, inputs: blocks(channels / count), outputs: blocks(out / count) }
    }

    /// Puts the filters of a block of output channels, which `weight` is, to their places; channels
    /// are those of the merged group.
    pub(crate) fn put(
        &self,
        conv: &Conv,
        weight: &[f32],
        block: usize,
        places: &Places<'_>,
        packed: &mut [Pixel],
    ) {
        let Conv { input: [channels, ..], output: [out, ..], kernel: [kh, kw], groups, .. } = *conv;
        let (own, outs) = (channels / groups, out / groups);
        if self.merged > 1 || !own.is_multiple_of(LANES) {
            packed.fill(Pixel::ZERO);
        }
        if self.merged == 1 {
            return places.put(weight, own, packed);
        }
        for (lane, filter) in weight.chunks_exact(own * kh * kw).enumerate() {
            // Within the merged group.
            let inside = (block * LANES + lane) / outs % self.merged;
            for (channel, taps) in filter.chunks_exact(kh * kw).enumerate() {
                for (tap, weight) in taps.iter().enumerate() {
                    packed[places.of(inside * own + channel, tap)].0[lane] = *weight;
                }
            }
        }
    }
}

impl Direct {
    pub(crate) fn new(conv: &Conv) -> Direct {
        Direct { conv: *conv, groups: Groups::of(conv) }
    }

    /// Taps of an output block.
    fn taps(&self) -> usize {
        self.groups.inputs * self.conv.kernel[0] * self.conv.kernel[1]
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.groups.count * self.groups.outputs * self.taps() * LANES
    }

    /// The weights of a block of outputs.
    pub(crate) fn pack(&self, block: usize, weight: &[f32], packed: &mut [Pixel]) {
        let area = self.conv.kernel[0] * self.conv.kernel[1];
        let taps: Vec<usize> = (0..area).map(|tap| tap * LANES).collect();
        let places = Places { first: 0, block: area * LANES, lane: 1, taps: &taps };
        self.groups.put(&self.conv, weight, block, &places, packed);
    }

    /// Whether the map is read as it lies.
    fn is_pointwise(&self) -> bool {
        let Conv { kernel, stride, pad, .. } = self.conv;
        (kernel, stride, pad) == ([1, 1], [1, 1], [0; 4])
    }

    fn all_inputs(&self) -> usize {
        self.groups.count * self.groups.inputs
    }

    /// Rows of the output that a strip makes.
    fn strip(&self, threads: usize) -> Strip {
        let rows = self.conv.output[1];
        let size = |rows| Strip::new(&self.conv, rows).len() * self.all_inputs();
        // Deep weights are read once a strip.
        let room = if self.is_deep() { 2 * INPUT } else { INPUT };
        let most = (1..=rows).rev().find(|&rows| size(rows) <= room).unwrap_or(1).max(2.min(rows));
        let makes = if self.is_deep() { even(rows, most) } else { share(rows, most, threads) };
        Strip::new(&self.conv, makes)
    }

    /// Whether the weights are more than what stays in the second cache: then threads share out the
    /// blocks, so that each reads its weights once.
    fn is_deep(&self) -> bool {
        self.packed_len() > WEIGHTS
    }

    /// How many blocks a part of the work makes, of so many, that the threads end together.
    fn own_blocks(&self, blocks: usize, parts: usize, threads: usize) -> usize {
        // What a part costs besides, in blocks: each copies its strip.
        let beside = if self.is_pointwise() { 0.25 } else { 1.0 };
        // A thread that is held up makes the others wait for a tenth of its part.
        let cost = |own: &usize| {
            let rounds = (parts * blocks.div_ceil(*own)).div_ceil(threads);
            rounds as f64 * (*own as f64 + beside) + 0.1 * *own as f64
        };
        let pairs = (1..=blocks.div_ceil(2)).map(|pairs| 2 * pairs);
        pairs.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(blocks)
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        if self.is_pointwise() {
            return 0;
        }
        self.strip(threads).len() * self.all_inputs() * threads
    }

    /// The height and width of the output, and the rows and columns of a part of the work. Where
    /// nothing is between the rows and no residual `skips` pixels, all rows are one.
    fn rows(&self, threads: usize, skips: bool) -> ([usize; 2], [usize; 2]) {
        let [_, height, width] = self.conv.output;
        let (strip, area) = (self.strip(threads), height * width);
        if skips || !(self.is_pointwise() || strip.is_dense()) {
            return ([height, width], [strip.makes, width]);
        }
        let columns = match self.is_pointwise() {
            false => strip.makes * width,
            true if self.is_deep() => area,
            true => share(area, INPUT / self.all_inputs(), threads),
        };
        ([1, area], [1, columns])
    }

    /// Pixels, and blocks, that tiles of so many pixels at most are cut from.
    pub(crate) fn tiled(&self, threads: usize, most: [usize; 2]) -> [usize; 2] {
        let (size, cut) = self.rows(threads, false);
        let [rows, columns] = [cut[0].min(size[0]), cut[1].min(size[1])];
        let rows = if span(most, [rows, columns]) { rows } else { 1 };
        [rows * columns, self.groups.outputs]
    }

    pub(crate) fn run(
        &self,
        work: &Work<'_>,
        x: &[Pixel],
        outputs: Outputs<'_>,
        scratch: &mut [Pixel],
    ) {
        let threads = work.threads.count();
        let blocks = blocks(self.conv.output[0]);
        let strip = self.strip(threads);
        let skips = work.tail.residual.is_some_and(|residual| residual.stride != 1);
        let (size, [row_cut, column_cut]) = self.rows(threads, skips);
        let parts = self.conv.batch * size[0].div_ceil(row_cut) * size[1].div_ceil(column_cut);
        let own = match self.is_deep() || parts < threads {
            true => self.own_blocks(blocks, parts, threads),
            false => blocks,
        };
        let cut = [1, own, row_cut, column_cut];
        let area = self.conv.input[1] * self.conv.input[2];
        let taps: Vec<usize> = if self.is_pointwise() {
            (0..self.groups.inputs).map(|input| input * area).collect()
        } else {
            let [kh, kw] = self.conv.kernel;
            let all =
                (0..self.groups.inputs * kh * kw).map(|tap| (tap / (kh * kw), tap % (kh * kw)));
            all.map(|(input, tap)| input * strip.len() + strip.tap([tap / kw, tap % kw])).collect()
        };
        let job = |out: Patch<'_, Pixel>, sum: Option<Patch<'_, Pixel>>, scratch: &mut [Pixel]| {
            let part = Part { direct: self, work, x, strip, taps: &taps, out, sum, scratch };
            work.isa.run(part);
        };
        each_patch(work.threads, &self.conv, size, outputs, cut, scratch, job);
    }
}

/// Runs a job for each patch of the outputs, and of the sums beside them if they are wanted.
pub(crate) fn each_patch(
    threads: &Threads,
    conv: &Conv,
    size: [usize; 2],
    outputs: Outputs<'_>,
    cut: [usize; 4],
    scratch: &mut [Pixel],
    job: impl Fn(Patch<'_, Pixel>, Option<Patch<'_, Pixel>>, &mut [Pixel]) + Sync,
) {
    let maps = |to: &Destination<'_>| to.maps(conv, size);
    let Outputs { out, sum } = outputs;
    let out_maps = maps(&out);
    match sum {
        None => threads.patches([(out.value, out_maps)], cut, scratch, |[out], scratch| {
            job(out, None, scratch);
        }),
        Some(sum) => {
            let sum_maps = maps(&sum);
            let values = [(out.value, out_maps), (sum.value, sum_maps)];
            threads.patches(values, cut, scratch, |[out, sum], scratch| {
                job(out, Some(sum), scratch);
            });
        }
    }
}

/// A part of the work: a patch of the output.
struct Part<'a> {
    direct: &'a Direct,
    work: &'a Work<'a>,
    x: &'a [Pixel],
    strip: Strip,
    /// Of a group.
    taps: &'a [usize],
    out: Patch<'a, Pixel>,
    sum: Option<Patch<'a, Pixel>>,
    scratch: &'a mut [Pixel],
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Part { direct, work, x, strip, taps, mut out, mut sum, scratch } = self;
        let area = direct.conv.input[1] * direct.conv.input[2];
        let picture_len = direct.all_inputs() * area;
        let few = direct.conv.input[0] / direct.groups.count % LANES;
        let full = taps.len() - if few > 0 { taps.len() / direct.groups.inputs } else { 0 };
        for picture in out.pictures() {
            let x = &x[picture * picture_len..][..picture_len];
            let (input, map, down, start) = if direct.is_pointwise() {
                (x, area, out.width(), out.rows().start * out.width() + out.columns().start)
            } else {
                let maps = scratch.chunks_exact_mut(strip.len());
                // Of rows that are one, the columns say which.
                let first = out.rows().start + out.columns().start / direct.conv.output[2];
                for (map, strip_map) in x.chunks_exact(area).zip(maps) {
                    strip.copy(map, Pixel::ZERO, first, strip_map);
                }
                (&*scratch, strip.len(), strip.row(), 0)
            };
            let sums = Sums { direct, work, picture, input, map, down, start, taps, full, few };
            sums.run(s, &mut out, sum.as_mut());
        }
    }
}

/// The sums of a patch of a picture.
struct Sums<'a> {
    direct: &'a Direct,
    work: &'a Work<'a>,
    picture: usize,
    input: &'a [Pixel],
    /// Pixels of the input from a map and from a row to the next, and from where a map begins to what is read.
    map: usize,
    down: usize,
    start: usize,
    taps: &'a [usize],
    /// Taps whose sixteen inputs are all channels, and the channels of the others.
    full: usize,
    few: usize,
}

/// A step on the way to the sums: the first of some blocks of outputs and how many they are, and a run of taps.
type Step = ([usize; 2], Range<usize>);

impl Sums<'_> {
    /// Block after block of outputs, each run after run of taps; or run after run.
    #[inline(always)]
    fn run<S: Simd>(&self, s: S, out: &mut Patch<'_, Pixel>, sum: Option<&mut Patch<'_, Pixel>>) {
        let (taps, blocks, group) = (self.taps.len(), out.blocks(), self.direct.groups.outputs);
        let most = if are_small(S::TILE) { NEAR_WEIGHTS } else { WEIGHTS };
        let together = most_blocks(S::TILE).min(group);
        let tap = if self.full > 0 { LANES } else { self.few.max(1) };
        let run = even(taps, most / (together * tap));
        let pairs = || pairs(blocks.clone(), group, together);
        let runs = || (0..taps).step_by(run).map(|first| first..(first + run).min(taps));
        // All that is read passes for each pair of blocks, or all sums twice for each run: where the former
        // leaves the second cache, what is less.
        let pixels = out.rows().len() * out.columns().len();
        let map = if self.direct.is_pointwise() { pixels } else { self.map };
        let (inputs, sums) = (self.direct.groups.inputs * map, blocks.len() * pixels);
        let by_runs = are_small(S::TILE)
            && inputs > INPUT
            && pairs().count() * inputs > 2 * runs().count() * sums;
        match by_runs {
            true => {
                let steps = runs().flat_map(|run| pairs().map(move |pair| (pair, run.clone())));
                self.take(s, steps, out, sum);
            }
            false => {
                let steps = pairs().flat_map(|pair| runs().map(move |run| (pair, run)));
                self.take(s, steps, out, sum);
            }
        }
    }

    /// Takes all steps, each with a look at the next.
    #[inline(always)]
    fn take<S: Simd>(
        &self,
        s: S,
        steps: impl Iterator<Item = Step>,
        out: &mut Patch<'_, Pixel>,
        mut sum: Option<&mut Patch<'_, Pixel>>,
    ) {
        let mut steps = steps.peekable();
        while let Some(step) = steps.next() {
            self.multiply(s, step, steps.peek(), out, sum.as_deref_mut());
        }
    }

    /// A step, and what it asks for: the weights of the next.
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        s: S,
        ([block, j], run): Step,
        next: Option<&Step>,
        out: &mut Patch<'_, Pixel>,
        sum: Option<&mut Patch<'_, Pixel>>,
    ) {
        let &Sums { direct, work, picture, input, down, taps, full, few, .. } = self;
        let size = [out.rows().len(), out.columns().len()];
        let group = block / direct.groups.outputs;
        let stride = taps.len() * LANES;
        let weights = |block: usize, run: &Range<usize>| {
            &work.packed[block * stride..][run.start * LANES..run.end * LANES]
        };
        let far = direct.is_deep();
        let ahead = far.then(|| {
            [0, 1].map(|i| match next {
                Some(([block, j], run)) if i < *j => weights(block + i, run),
                _ => &[],
            })
        });
        // Of a group the first blocks read the pixels first; a strip was read when it was copied. Here
        // large tiles ask for one thing only: for weights, where these are far away.
        let leads = block == out.blocks().start || block == group * direct.groups.outputs;
        let asks = are_small(S::TILE) || !far;
        let fresh = asks && direct.is_pointwise() && leads;
        let last = run.end == taps.len();
        let residual = work.tail.residual_pixel(out.rows().start, out.columns().start);
        let finish = last.then(|| work.tail.finish(picture).at(block, residual));
        let product = Product {
            input,
            down,
            full: run.end.min(full).saturating_sub(run.start),
            few,
            weights: &work.packed[block * stride + run.start * LANES..],
            stride,
            weights_down: 0,
            ahead,
            reads: if fresh { Reads::Fresh } else { Reads::Near },
            start: match run.start {
                0 => Start::Bias(&work.tail.bias[block..]),
                _ => Start::Resume,
            },
            taps: &taps[run],
            finish,
        };
        let mut sink =
            Sink { out: out.runs(picture, block), sum: sum.map(|sum| sum.runs(picture, block)) };
        let at = group * direct.groups.inputs * self.map + self.start;
        rows(s, &product, at, size, j, &mut sink);
    }
}

/// Blocks of outputs that are summed up together, of groups of so many: the first, and how many.
fn pairs(blocks: Range<usize>, group: usize, most: usize) -> impl Iterator<Item = [usize; 2]> {
    let mut next = blocks.start;
    std::iter::from_fn(move || {
        let block = next;
        let end = blocks.end.min((block / group + 1) * group);
        next = end.min(block + most);
        (block < end).then_some([block, next - block])
    })
}
