//! The register tile: P pixels by J blocks of output channels, summed over taps.
//!
//! A tap is a run of input pixels and a 16×16 block of weights. Convolutions of every kind, the
//! products of Winograd's algorithm and linear layers are lists of taps; what differs between them
//! is which pixels a tap reads. Every sum is one chain of multiply-adds in the order of its taps,
//! whatever the tile, so that its bits do not depend on how the work is cut.

use super::layout::Pixel;
use super::simd::{Kernel, LANES, Simd};
use crate::threads::Runs;

/// Inputs of a tap that are multiplied in one go.
const STEP: usize = 2;

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
    /// Weights that will be read after these rows, of both blocks: they are asked for between the taps.
    pub(crate) ahead: Option<[&'a [Pixel]; 2]>,
    pub(crate) start: Start<'a>,
    pub(crate) finish: Option<Finish<'a>>,
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

impl<'a> Finish<'a> {
    /// Whether a sum is done but for ReLU.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.factor == 1.0 && self.residual.is_none() && self.activation.is_none()
    }

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

/// Computes so many rows of so many tiles side by side: of the product, the pixels from `at` on.
type Tiles<S> = fn(S, &Product<'_>, at: usize, count: [usize; 2], &mut Sink<'_>);

/// The instance of a tile for so many pixels and blocks. Of those that the registers do not hold the
/// code is no more than that they are never called.
macro_rules! instance {
    ($compute:ident::<$s:ident $(, $more:literal)?>, $pixels:expr, $blocks:expr) => {
        instance!($compute::<$s $(, $more)?>, $pixels, $blocks; 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    ($compute:ident::<$s:ident>, $pixels:expr, $blocks:expr; $($p:literal)*) => {
        match ($pixels, $blocks) {
            $(($p, 1) => $compute::<$s, $p, 1>,
              ($p, 2) => $compute::<$s, $p, 2>,)*
            (pixels, blocks) => unreachable!("no tile of {pixels} pixels and {blocks} blocks"),
        }
    };
    ($compute:ident::<$s:ident, $more:literal>, $pixels:expr, $blocks:expr; $($p:literal)*) => {
        match ($pixels, $blocks) {
            $(($p, 1) => $compute::<$s, $p, 1, $more>,
              ($p, 2) => $compute::<$s, $p, 2, $more>,)*
            (pixels, blocks) => unreachable!("no tile of {pixels} pixels and {blocks} blocks"),
        }
    };
}
pub(crate) use instance;

/// Tiles of 1 to `TILE[j - 1]` pixels of `j` blocks, 1 or 2, which perhaps ask `ahead`: those that do
/// not have registers to spare.
fn tiles<S: Simd>(pixels: usize, blocks: usize, ahead: bool) -> Tiles<S> {
    match ahead {
        true => instance!(compute::<S, true>, pixels, blocks),
        false => instance!(compute::<S, false>, pixels, blocks),
    }
}

/// Computes rows of `len` pixels of so many blocks, of the product the pixels from `at` on, in tiles of
/// so many pixels, the last of a row perhaps of fewer.
#[inline(always)]
pub(crate) fn rows<S: Simd>(
    s: S,
    product: &Product<'_>,
    at: usize,
    [rows, len]: [usize; 2],
    [pixels, blocks]: [usize; 2],
    sink: &mut Sink<'_>,
) {
    for [first, pixels, count] in cut(len, pixels) {
        let finish = product.finish.map(|finish| finish.after([0, first]));
        let ahead = product.ahead.filter(|_| first == 0);
        let product = Product { finish, ahead, ..*product };
        let tiles = tiles::<S>(pixels, blocks, ahead.is_some());
        tiles(s, &product, at + first, [rows, count], &mut sink.after([0, first]));
    }
}

/// A row of `len` pixels as whole tiles of so many and a shorter one, if any: the first pixel, the pixels
/// of a tile and how many there are.
#[inline(always)]
pub(crate) fn cut(len: usize, pixels: usize) -> impl Iterator<Item = [usize; 3]> {
    let (whole, rest) = (len / pixels, len % pixels);
    let runs = [[0, pixels, whole], [whole * pixels, rest, (rest > 0).into()]];
    runs.into_iter().filter(|[.., count]| *count > 0)
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

/// Pixels and blocks of the tiles that a row of so many pixels, and so many blocks, is cut into, where
/// tiles have so many at most.
pub(crate) fn shape([one, two]: [usize; 2], row: usize, blocks: usize) -> [usize; 2] {
    match blocks >= 2 && two > 0 {
        true => [even(row, two), 2],
        false => [even(row, one), 1],
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

fn compute<S: Simd, const P: usize, const J: usize, const AHEAD: bool>(
    s: S,
    product: &Product<'_>,
    at: usize,
    count: [usize; 2],
    sink: &mut Sink<'_>,
) {
    if P > S::TILE[J - 1] {
        unreachable!("a tile is in the registers");
    }
    s.vectorize(Compute::<P, J, AHEAD> { product, at, count, sink });
}

struct Compute<'a, 'b, 'c, const P: usize, const J: usize, const AHEAD: bool> {
    product: &'a Product<'b>,
    at: usize,
    count: [usize; 2],
    sink: &'a mut Sink<'c>,
}

impl<const P: usize, const J: usize, const AHEAD: bool> Kernel
    for Compute<'_, '_, '_, P, J, AHEAD>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Compute { product, at, count: [rows, count], sink } = self;
        let Product { input, down, taps, full, few, weights, stride, ahead, start, finish } =
            *product;
        let weights: [&[[Pixel; LANES]]; J] =
            std::array::from_fn(|j| &weights[j * stride..].as_chunks().0[..taps.len()]);
        let ahead = if AHEAD { ahead } else { None };
        let times = (rows * count * taps.len()).max(1);
        let asked = ahead.map_or(0, |lines| lines[0].len().div_ceil(times));
        for (tile, place) in places([rows, count], P).enumerate() {
            let at = at + place[0] * down + place[1];
            let finish = finish.map(|finish| finish.after(place));
            let mut sink = sink.after(place);
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
            for (t, tap) in taps.iter().enumerate() {
                if let Some(ahead) = ahead {
                    let first = (tile * taps.len() + t) * asked;
                    for lines in ahead {
                        for line in lines.iter().skip(first).take(asked) {
                            s.prefetch_far(&line.0);
                        }
                    }
                }
                let Some(pixels) = input[tap + at..].first_chunk::<P>() else {
                    unreachable!("a tap reads within the input")
                };
                let weights: [&[[Pixel; STEP]]; J] =
                    std::array::from_fn(|j| weights[j][t].as_chunks().0);
                let steps = if t < full { LANES / STEP } else { few.min(LANES).div_ceil(STEP) };
                for step in 0..steps {
                    for i in 0..STEP {
                        let weights: [S::V; J] =
                            std::array::from_fn(|j| s.load(&weights[j][step][i].0));
                        for p in 0..P {
                            let x = s.splat(pixels[p].0[step * STEP + i]);
                            for j in 0..J {
                                sums[p][j] = s.mul_add(x, weights[j], sums[p][j]);
                            }
                        }
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
    }
}
