//! The register tile: P pixels by J blocks of output channels, summed over taps.
//!
//! A tap is a run of input pixels and a 16×16 block of weights. Convolutions of every kind and the
//! products of Winograd's algorithm are lists of taps; what differs between them is which pixels a
//! tap reads. Every sum is one chain of multiply-adds in the order of its taps,
//! whatever the tile, so that its bits do not depend on how the work is cut.

use super::layout::Pixel;
use super::simd::{Kernel, LANES, Simd};
use super::spaced::Windows;
use crate::threads::Runs;

/// Inputs of a tap that are multiplied in one go: of four the compiler mixes the loads, and sums leave the registers.
pub(crate) const STEP: usize = 2;

/// By so many taps ahead pixels that are far are asked for.
const TAPS_AHEAD: usize = 2;

/// What a tile sums up, and how it ends.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) input: &'a [Pixel],
    /// Input pixels from what a row of the output reads to what the next does.
    pub(crate) down: usize,
    /// The first input pixel of each tap, for the first pixel of the first row.
    pub(crate) taps: &'a [usize],
    /// Taps of which all sixteen inputs count; of the others only the first few do.
    pub(crate) full: usize,
    pub(crate) few: usize,
    /// Of each output block and tap, a row of sixteen outputs for each of sixteen inputs.
    pub(crate) weights: &'a [Pixel],
    /// Pixels from the weights of an output block to those of the next.
    pub(crate) stride: usize,
    /// Pixels from the weights of a row to those of the next, where rows are the points of a transform; 0
    /// where all rows have the same.
    pub(crate) weights_down: usize,
    /// Weights that will be read after these rows, of both blocks: they are asked for between the taps.
    pub(crate) ahead: Option<[&'a [Pixel]; 2]>,
    /// Where the pixels are: what is not near is asked for.
    pub(crate) reads: Reads,
    pub(crate) start: Start<'a>,
    pub(crate) finish: Option<Finish<'a>>,
}

/// Where a product's pixels are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Near,
    /// Not read before: those of the next tile are asked for.
    Fresh,
    /// Perhaps pushed out of the second cache by weights: those of a later tap are asked for, of tiles
    /// within a row.
    Far,
}

/// What a sum begins with.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    Zero,
    /// One a block.
    Bias(&'a [Pixel]),
    /// What lies in the output already, from taps before these.
    Resume,
}

/// What is done to a complete sum, in this order.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub(crate) factor: f32,
    pub(crate) residual: Option<Residual<'a>>,
    pub(crate) relu: bool,
    /// Scale and shift of the activation, one of each a block; ReLU follows.
    pub(crate) activation: Option<[&'a [Pixel]; 2]>,
}

/// What is added to a sum.
#[derive(Clone, Copy)]
pub(crate) struct Residual<'a> {
    pub(crate) value: &'a [Pixel],
    /// Pixels from a block to the next.
    pub(crate) area: usize,
    /// Pixels from a pixel to the next, and from a row to the next.
    pub(crate) step: usize,
    pub(crate) down: usize,
    /// Blocks there are; beyond, nothing is added.
    pub(crate) blocks: usize,
}

/// Where sums go: rows of pixels for each block.
pub(crate) struct Sink<'a> {
    pub(crate) out: Runs<'a, Pixel>,
    /// The sum before its activation, where both are wanted.
    pub(crate) sum: Option<Runs<'a, Pixel>>,
}

impl Product<'_> {
    /// Whether nothing lies between rows of `len` pixels of what is added.
    #[inline(always)]
    fn adds_joined(&self, len: usize) -> bool {
        let residual = self.finish.and_then(|finish| finish.residual);
        residual.is_none_or(|residual| residual.step == 1 && residual.down == len)
    }
}

impl<'a> Finish<'a> {
    /// For the blocks from `block` on and the residual's pixels from `pixel` on.
    #[inline(always)]
    pub(crate) fn at(self, block: usize, pixel: usize) -> Finish<'a> {
        let residual = self.residual.filter(|residual| block < residual.blocks);
        Finish {
            residual: residual.map(|residual| Residual {
                value: &residual.value[block * residual.area + pixel..],
                blocks: residual.blocks - block,
                ..residual
            }),
            activation: self.activation.map(|both| both.map(|values| &values[block..])),
            ..self
        }
    }

    /// For what is behind the first rows, and in each behind the first pixels.
    #[inline(always)]
    pub(crate) fn after(self, [rows, pixels]: [usize; 2]) -> Finish<'a> {
        let skip = |residual: Residual<'a>| {
            let value = &residual.value[rows * residual.down + pixels * residual.step..];
            Residual { value, ..residual }
        };
        Finish { residual: self.residual.map(skip), ..self }
    }
}

impl Sink<'_> {
    /// All rows as one, if nothing lies between them.
    #[inline(always)]
    fn joined(&mut self) -> Option<Sink<'_>> {
        let out = self.out.joined()?;
        let sum = match &mut self.sum {
            Some(sum) => Some(sum.joined()?),
            None => None,
        };
        Some(Sink { out, sum })
    }

    /// What is behind the first rows, and in each behind the first pixels.
    #[inline(always)]
    pub(crate) fn after(&mut self, at: [usize; 2]) -> Sink<'_> {
        Sink { out: self.out.after(at), sum: self.sum.as_mut().map(|sum| sum.after(at)) }
    }

    /// Asks for what the sums of a tile will meet, to be on its way while they are made.
    #[inline(always)]
    fn ask<S: Simd, const P: usize, const J: usize>(&mut self, s: S, finish: &Finish<'_>) {
        for j in 0..J {
            if let Some(residual) = &finish.residual
                && j < residual.blocks
            {
                let from = &residual.value[j * residual.area..];
                for p in 0..P {
                    s.prefetch(&from[p * residual.step].0);
                }
            }
        }
    }

    /// Finishes the sums of a tile and stores them.
    ///
    /// Each loop is short enough to be unrolled whole: else the sums would not stay in registers,
    /// here and, worse, while they are summed up.
    #[inline(always)]
    pub(crate) fn store<S: Simd, const P: usize, const J: usize>(
        &mut self,
        s: S,
        finish: &Finish<'_>,
        mut sums: [[S::V; J]; P],
    ) {
        if finish.factor != 1.0 {
            let factor = s.splat(finish.factor);
            for p in 0..P {
                for j in 0..J {
                    sums[p][j] = s.mul(factor, sums[p][j]);
                }
            }
        }
        if let Some(residual) = &finish.residual {
            for j in 0..J {
                if j >= residual.blocks {
                    break;
                }
                let from = &residual.value[j * residual.area..];
                for p in 0..P {
                    sums[p][j] = s.add(s.load(&from[p * residual.step].0), sums[p][j]);
                }
            }
        }
        if finish.relu {
            for p in 0..P {
                for j in 0..J {
                    sums[p][j] = s.relu(sums[p][j]);
                }
            }
        }
        if let Some([scale, shift]) = finish.activation {
            if let Some(sum) = &mut self.sum {
                for j in 0..J {
                    let sum = sum.run::<P>(j);
                    for p in 0..P {
                        s.store(sums[p][j], &mut sum[p].0);
                    }
                }
            }
            for j in 0..J {
                let (scale, shift) = (s.load(&scale[j].0), s.load(&shift[j].0));
                for p in 0..P {
                    sums[p][j] = s.relu(s.add(s.mul(sums[p][j], scale), shift));
                }
            }
        }
        self.store_partial(s, sums);
    }

    /// Stores the sums of a tile, to which more will come.
    #[inline(always)]
    fn store_partial<S: Simd, const P: usize, const J: usize>(
        &mut self,
        s: S,
        sums: [[S::V; J]; P],
    ) {
        for j in 0..J {
            let out = self.out.run::<P>(j);
            for p in 0..P {
                s.store(sums[p][j], &mut out[p].0);
            }
        }
    }
}

/// Rows of tiles of one size, side by side.
#[derive(Clone, Copy)]
struct Tiling {
    /// Where in the input the first row begins.
    at: usize,
    /// Pixels of a row of the output, for tiles that span rows: of a row of the input so many are read.
    width: usize,
    /// The pixel of each row that the first tile begins with.
    first: usize,
    rows: usize,
    /// Tiles of a row.
    count: usize,
}

/// Computes tiles of a product.
type Tiles<S> = fn(S, &Product<'_>, Tiling, &mut Sink<'_>);

/// The instance of a tile for so many pixels and blocks. Of those that the registers do not hold the
/// code is no more than that they are never called.
macro_rules! instance {
    ($compute:ident::<$s:ident $(, $more:tt)*>, $pixels:expr, $blocks:expr) => {
        instance!($compute::<$s $(, $more)*>, $pixels, $blocks; 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    ($compute:ident::<$s:ident>, $pixels:expr, $blocks:expr; $($p:literal)*) => {
        match ($pixels, $blocks) {
            $(($p, 1) => $compute::<$s, $p, 1>,
              ($p, 2) => $compute::<$s, $p, 2>,)*
            (pixels, blocks) => unreachable!("no tile of {pixels} pixels and {blocks} blocks"),
        }
    };
    ($compute:ident::<$s:ident, $asks:tt, $spans:tt>, $pixels:expr, $blocks:expr; $($p:literal)*) => {
        match ($pixels, $blocks) {
            $(($p, 1) => $compute::<$s, $p, 1, $asks, $spans>,
              ($p, 2) => $compute::<$s, $p, 2, $asks, $spans>,)*
            (pixels, blocks) => unreachable!("no tile of {pixels} pixels and {blocks} blocks"),
        }
    };
}
pub(crate) use instance;

/// Tiles of 1 to `TILE[j - 1]` pixels of `j` blocks, 1 or 2. Those that ask for what comes have fewer
/// registers to spare; the pixels of those that span rows have each their own address.
fn tiles<S: Simd, const SPANS: bool>(pixels: usize, blocks: usize, asks: bool) -> Tiles<S> {
    match asks {
        true => instance!(compute::<S, true, SPANS>, pixels, blocks),
        false => instance!(compute::<S, false, SPANS>, pixels, blocks),
    }
}

/// Computes rows of `len` pixels of so many blocks, of the product the pixels from `at` on.
#[inline(always)]
pub(crate) fn rows<S: Simd>(
    s: S,
    product: &Product<'_>,
    at: usize,
    [rows, len]: [usize; 2],
    blocks: usize,
    sink: &mut Sink<'_>,
) {
    if product.weights_down == 0
        && span(S::TILE, [rows, len])
        && product.adds_joined(len)
        && let Some(mut joined) = sink.joined()
    {
        return cut_rows::<S, true>(s, product, [at, len], [1, rows * len], blocks, &mut joined);
    }
    cut_rows::<S, false>(s, product, [at, len], [rows, len], blocks, sink);
}

/// Cuts rows of `len` pixels into tiles and computes them. Where tiles span rows these are all of them as
/// one, and `width` is what each had.
#[inline(always)]
fn cut_rows<S: Simd, const SPANS: bool>(
    s: S,
    product: &Product<'_>,
    [at, width]: [usize; 2],
    [rows, len]: [usize; 2],
    blocks: usize,
    sink: &mut Sink<'_>,
) {
    let most = S::TILE[blocks - 1];
    for [first, pixels, count] in cut(len, most) {
        let finish = product.finish.map(|finish| finish.after([0, first]));
        let ahead = product.ahead.filter(|_| are_most(len.div_ceil(most), first, count));
        let product = Product { finish, ahead, ..*product };
        let asks = ahead.is_some() || product.reads != Reads::Near;
        let tiles = tiles::<S, SPANS>(pixels, blocks, asks);
        let tiling = Tiling { at, width, first, rows, count };
        tiles(s, &product, tiling, &mut sink.after([0, first]));
    }
}

/// Whether these are most of the tiles of a row, or the first half: they have the time to ask ahead.
fn are_most(all: usize, first: usize, count: usize) -> bool {
    2 * count > all || (2 * count == all && first == 0)
}

/// Whether small tiles go on from a row of `len` pixels to the next: not where those of a row are whole, or
/// a pixel less, which is as good and takes but one address.
#[inline(always)]
pub(crate) fn span(most: [usize; 2], [rows, len]: [usize; 2]) -> bool {
    let mut sizes = cut(len, most[0]);
    are_small(most) && rows > 1 && sizes.any(|[_, pixels, _]| pixels + 1 < most[0])
}

/// Whether tiles, which have so many pixels at most, are small: of two blocks they have fewer than of one, or
/// none. What one reads serves few sums: weights should come from the first cache, pixels be asked for early, and
/// tiles be whole where rows are short.
pub(crate) const fn are_small([one, two]: [usize; 2]) -> bool {
    two < one
}

/// The blocks of tiles that have so many pixels at most, where there are as many.
pub(crate) const fn most_blocks([_, two]: [usize; 2]) -> usize {
    if two > 0 { 2 } else { 1 }
}

/// Cuts a row of `len` pixels into tiles of `most` at most, as even as they can be: for those of either
/// size the first pixel, the pixels of one and how many there are.
#[inline(always)]
pub(crate) fn cut(len: usize, most: usize) -> impl Iterator<Item = [usize; 3]> {
    let count = len.div_ceil(most).max(1);
    let (pixels, larger) = (len / count, len % count);
    let runs = [[0, pixels + 1, larger], [larger * (pixels + 1), pixels, count - larger]];
    runs.into_iter().filter(|[_, pixels, count]| pixels * count > 0)
}

/// The row and the first column of each of some rows of so many pieces, each of `len` columns.
#[inline(always)]
pub(crate) fn places([rows, pieces]: [usize; 2], len: usize) -> impl Iterator<Item = [usize; 2]> {
    (0..rows).flat_map(move |row| (0..pieces).map(move |piece| [row, piece * len]))
}

/// Cuts a row of `len` pixels into equal tiles, the last perhaps shorter: the pixels of one.
pub(crate) fn even(len: usize, most: usize) -> usize {
    len.div_ceil(len.div_ceil(most).max(1)).max(1)
}

/// Pixels and blocks of the tiles, the larger ones, that so many pixels and so many blocks are cut into,
/// where tiles have so many at most.
pub(crate) fn shape([one, two]: [usize; 2], pixels: usize, blocks: usize) -> [usize; 2] {
    match blocks >= 2 && two > 0 {
        true => [even(pixels, two), 2],
        false => [even(pixels, one), 1],
    }
}

/// The pixels that tiles have at most, of one block and of two.
pub(crate) struct Largest;

impl Kernel for Largest {
    type Output = [usize; 2];

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> [usize; 2] {
        S::TILE
    }
}

fn compute<S: Simd, const P: usize, const J: usize, const ASKS: bool, const SPANS: bool>(
    s: S,
    product: &Product<'_>,
    tiling: Tiling,
    sink: &mut Sink<'_>,
) {
    // `const`: for what is not reached then there is no code, and the crate compiles in half the time.
    if const { P > S::TILE[J - 1] || (SPANS && !are_small(S::TILE)) } {
        unreachable!("a tile, and its addresses, are in the registers");
    }
    s.vectorize(Compute::<P, J, ASKS, SPANS> { product, tiling, sink });
}

struct Compute<'a, 'b, 'c, const P: usize, const J: usize, const ASKS: bool, const SPANS: bool> {
    product: &'a Product<'b>,
    tiling: Tiling,
    sink: &'a mut Sink<'c>,
}

impl<const P: usize, const J: usize, const ASKS: bool, const SPANS: bool> Kernel
    for Compute<'_, '_, '_, P, J, ASKS, SPANS>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Compute { product, tiling: Tiling { at, width, first, rows, count }, sink } = self;
        let Product { input, down, taps, full, few, weights, stride, weights_down, .. } = *product;
        let Product { ahead, reads, start, finish, .. } = *product;
        let (ahead, reads) = if ASKS { (ahead, reads) } else { (None, Reads::Near) };
        let times = (rows * count * taps.len()).max(1);
        let asked = ahead.map_or(0, |lines| lines[0].len().div_ceil(times));
        let mut ahead = ahead.map(|lines| lines.map(<[Pixel]>::iter));
        for row in 0..rows {
            let weights: [&[[Pixel; LANES]]; J] = std::array::from_fn(|j| {
                &weights[row * weights_down + j * stride..].as_chunks().0[..taps.len()]
            });
            let finish = finish.map(|finish| finish.after([row, 0]));
            let mut sink = sink.after([row, 0]);
            for pixel in (0..count * P).step_by(P) {
                let at = at + row * down + first + pixel;
                // From there to each pixel, where they lie in several rows.
                let spread = if SPANS { spread(first + pixel, width, down) } else { [0; P] };
                let windows = Windows::<Pixel, P>::of(&input[at..]);
                let finish = finish.map(|finish| finish.after([0, pixel]));
                let mut sink = sink.after([0, pixel]);
                let mut sums = [[s.zero(); J]; P];
                match start {
                    Start::Zero => {}
                    Start::Bias(bias) => {
                        let bias: [S::V; J] = std::array::from_fn(|j| s.load(&bias[j].0));
                        sums = [bias; P];
                    }
                    Start::Resume => {
                        for j in 0..J {
                            let before = sink.out.run::<P>(j);
                            for p in 0..P {
                                sums[p][j] = s.load(&before[p].0);
                            }
                        }
                    }
                }
                if let Some(finish) = &finish {
                    sink.ask::<S, P, J>(s, finish);
                }
                let mut steps = LANES / STEP;
                for (t, tap) in taps.iter().enumerate() {
                    if let Some(ahead) = &mut ahead {
                        for lines in ahead {
                            lines.by_ref().take(asked).for_each(|line| s.prefetch_far(&line.0));
                        }
                    }
                    let later = match reads {
                        Reads::Near => None,
                        Reads::Fresh => Some(tap + at + P),
                        Reads::Far => taps.get(t + TAPS_AHEAD).map(|tap| tap + at),
                    };
                    if let Some(later) = later.and_then(|first| input.get(first..))
                        && let Some(later) = later.first_chunk::<P>()
                    {
                        later.iter().for_each(|pixel| s.prefetch(&pixel.0));
                    }
                    let pixels: [&Pixel; P] = match SPANS {
                        true => std::array::from_fn(|p| &input[at + tap + spread[p]]),
                        false => windows.at(*tap).each_ref(),
                    };
                    let weights: [&[[Pixel; STEP]]; J] =
                        std::array::from_fn(|j| weights[j][t].as_chunks().0);
                    if t == full {
                        steps = few.min(LANES).div_ceil(STEP);
                    }
                    for step in 0..steps {
                        for i in 0..STEP {
                            let numbers = std::array::from_fn(|p| &pixels[p].0[step * STEP + i]);
                            let weights = std::array::from_fn(|j| &weights[j][step][i].0);
                            s.multiply(numbers, weights, &mut sums);
                        }
                    }
                }
                match finish {
                    Some(finish) => sink.store(s, &finish, sums),
                    None => sink.store_partial(s, sums),
                }
            }
        }
    }
}

/// How far `P` pixels, from the `first` on in rows of `width`, lie behind where the first would if nothing were
/// between the rows, which begin `down` pixels apart.
#[inline(always)]
fn spread<const P: usize>(first: usize, width: usize, down: usize) -> [usize; P] {
    let mut spread = [0; P];
    let (mut between, mut left) = (first / width * (down - width), width - first % width);
    for (p, spread) in spread.iter_mut().enumerate() {
        if left == 0 {
            (between, left) = (between + down - width, width);
        }
        left -= 1;
        *spread = between + p;
    }
    spread
}

#[cfg(test)]
mod tests {
    use super::super::simd::Isa;
    use super::*;

    #[test]
    fn tiles_of_a_row_are_as_even_as_they_can_be() {
        assert_eq!(shape(Isa::Portable.run(Largest), 7, 4), [2, 1]);
        assert_eq!(shape([14, 14], 28, 4), [14, 2]);
        assert_eq!(shape([14, 14], 55, 4), [14, 2]);
        assert_eq!(shape([14, 14], 17, 1), [9, 1]);
        assert_eq!([shape([6, 3], 7, 4), shape([6, 3], 7, 1)], [[3, 2], [4, 1]]);
    }

    #[test]
    fn tiles_span_rows_that_would_cut_them_short() {
        let spanned = (1..=30).filter(|&len| span([6, 0], [2, len])).collect::<Vec<_>>();
        assert_eq!(spanned, [1, 2, 3, 4, 7, 8, 9, 13, 14, 19]);
        assert!(span([6, 3], [2, 7]) && !span([6, 0], [1, 7]) && !span([14, 14], [7, 7]));
    }

    #[test]
    fn tiles_follow_each_other_and_one_size_asks() {
        for (len, most) in (0..100).flat_map(|len| (1..=14).map(move |most| (len, most))) {
            let (mut next, mut askers) = (0, 0);
            for [first, pixels, count] in cut(len, most) {
                assert_eq!(first, next);
                assert!(pixels <= most && even(len, most) - pixels <= 1, "{len} by {most}");
                next += pixels * count;
                askers += usize::from(are_most(len.div_ceil(most), first, count));
            }
            assert_eq!([next, askers], [len, len.min(1)], "{len} by {most}");
        }
    }
}
