//! Fully connected layers: a tile is some pictures by some blocks of outputs.
//!
//! For one picture the weights pass once from memory, and nothing is faster than that; for many they
//! pass once for all, a piece at a time that stays in the second cache.

use std::ops::Range;

use super::Destination;
use super::filters::Places;
use super::layout::{FAR, Pixel, blocks};
use super::simd::{Isa, Kernel, LANES, Simd, asking_ahead_pays};
use super::spaced::Windows;
use super::tile::{STEP, are_small, most_blocks};
use crate::threads::{Maps, Patch, Threads};

/// Blocks of outputs whose weights lie together: for each input so many vectors.
const GROUP: usize = 4;

/// Pixels of weights that stay in the second cache.
const PIECE: usize = (256 << 10) / size_of::<Pixel>();

/// By so many pixels ahead weights beyond the second cache are asked for, where that pays.
const AHEAD: usize = (2 << 10) / size_of::<Pixel>();

/// A fully connected layer from maps of `[C, H, W]`, read as they lie, to so many outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    isa: Isa,
    from: [usize; 3],
    outputs: usize,
}

impl Linear {
    /// Of maps, or of rows as maps of one pixel.
    pub fn new(isa: Isa, from: [usize; 3], outputs: usize) -> Linear {
        Linear { isa, from, outputs }
    }

    /// Numbers of an input, those of spare lanes among them.
    fn inputs(&self) -> usize {
        let [channels, height, width] = self.from;
        blocks(channels) * height * width * LANES
    }

    /// Pixels of the packed weights.
    pub fn packed_len(&self) -> usize {
        blocks(self.outputs) * self.inputs()
    }

    /// Brings weights, `outputs × (C·H·W)`, into the order in which they are read.
    ///
    /// # Panics
    /// If a slice has another length than the sizes say.
    pub fn pack(&self, threads: &Threads, weight: &[f32], packed: &mut [Pixel]) {
        let row: usize = self.from.iter().product();
        let lens = [weight.len(), packed.len()];
        assert_eq!(lens, [self.outputs * row, self.packed_len()], "lengths");
        let len = Linear::TOGETHER * row;
        threads.chunks(packed, self.group_len().max(1), |group, packed| {
            let weight = &weight[group * len..];
            self.pack_group(group, &weight[..len.min(weight.len())], packed);
        });
    }

    /// Outputs whose weights lie together.
    pub const TOGETHER: usize = GROUP * LANES;

    /// Pixels of the packed weights of so many outputs; the last may have fewer.
    pub fn group_len(&self) -> usize {
        GROUP * self.inputs()
    }

    /// [`pack`](Linear::pack) of the weights of one group of outputs.
    ///
    /// # Panics
    /// If a slice has another length than the sizes say.
    pub fn pack_group(&self, group: usize, weight: &[f32], packed: &mut [Pixel]) {
        let [channels, height, width] = self.from;
        let (area, row) = (height * width, channels * height * width);
        let outputs = Linear::TOGETHER.min(self.outputs - group * Linear::TOGETHER);
        let count = blocks(outputs);
        let lens = [weight.len(), packed.len()];
        assert_eq!(lens, [outputs * row, count * self.inputs()], "lengths");
        if !channels.is_multiple_of(LANES) {
            packed.fill(Pixel::ZERO);
        }
        // Inputs lie block after block, pixel after pixel, lane after lane.
        let taps: Vec<usize> = (0..area).map(|pixel| pixel * LANES * count).collect();
        for (first, rows) in weight.chunks((LANES * row).max(1)).enumerate() {
            let places = Places { first, block: area * LANES * count, lane: count, taps: &taps };
            places.put(rows, channels, packed);
        }
    }

    /// `y = weight · x + bias` of so many pictures, then perhaps ReLU. `bias` is one a block.
    ///
    /// # Panics
    /// If a value has another length than the sizes say.
    pub fn run(
        &self,
        threads: &Threads,
        pictures: usize,
        x: &[Pixel],
        packed: &[Pixel],
        bias: &[Pixel],
        relu: bool,
        y: Destination<'_>,
    ) {
        let outputs = blocks(self.outputs);
        assert_eq!(x.len() * LANES, pictures * self.inputs(), "length of x");
        assert_eq!([packed.len(), bias.len()], [self.packed_len(), outputs], "lengths");
        let maps = Maps { pictures, blocks: y.blocks, own: [y.at, outputs], size: [1, 1] };
        let cut = [pictures.max(1), GROUP, 1, 1];
        let x = Pixel::numbers(x);
        threads.patches([(y.value, maps)], cut, &mut [(); 0], |[y], _| {
            let count = y.blocks().len();
            let weights = &packed[y.blocks().start * self.inputs()..][..count * self.inputs()];
            let bias = &bias[y.blocks()];
            self.isa.run(Group { linear: self, x, weights, bias, relu, y });
        });
    }
}

/// A group of output blocks, for all pictures.
struct Group<'a> {
    linear: &'a Linear,
    x: &'a [f32],
    weights: &'a [Pixel],
    bias: &'a [Pixel],
    relu: bool,
    y: Patch<'a, Pixel>,
}

impl Kernel for Group<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let inputs = self.linear.inputs();
        let (pictures, count) = (self.y.pictures(), self.y.blocks().len());
        let far = self.linear.packed_len() > FAR;
        // While small tiles of several pictures go over a piece, the next one comes.
        let half = PIECE / 2 / (count * LANES) * LANES;
        let meanwhile = far && has_pairs::<S>() && pictures.len() > 1 && inputs > half;
        let piece = if meanwhile { half } else { PIECE / (count * LANES) * LANES };
        let passes = if meanwhile { tiles::<S>(pictures.clone(), count).count() } else { 1 };
        for first in (0..inputs).step_by(piece) {
            let range = [first, (first + piece).min(inputs)];
            let ahead = if meanwhile {
                [first + piece, first + 2 * piece].map(|input| input * count)
            } else if far && asking_ahead_pays() {
                // What the first tile reads soon; for the others it is near by then.
                range.map(|input| input * count + AHEAD)
            } else {
                [0, 0]
            };
            let [from, to] = ahead.map(|at| at.min(self.weights.len()));
            let mut later = self.weights[from..to].chunks((to - from).div_ceil(passes).max(1));
            for [picture, p, block, j] in tiles::<S>(pictures.clone(), count) {
                let (at, later) = ([picture, block], later.next().unwrap_or(&[]));
                match (p, j) {
                    (1, GROUP) => self.tile::<S, 1, GROUP>(s, at, range, later),
                    (_, GROUP) if const { !are_small(S::TILE) } => match p {
                        2 => self.tile::<S, 2, GROUP>(s, at, range, later),
                        3 => self.tile::<S, 3, GROUP>(s, at, range, later),
                        _ => self.tile::<S, 6, GROUP>(s, at, range, later),
                    },
                    (_, 2) if const { has_pairs::<S>() } => match p {
                        2 => self.tile::<S, 2, 2>(s, at, range, later),
                        _ => self.tile::<S, 3, 2>(s, at, range, later),
                    },
                    (1, _) => self.tile::<S, 1, 1>(s, at, range, later),
                    (2, _) => self.tile::<S, 2, 1>(s, at, range, later),
                    (3, _) => self.tile::<S, 3, 1>(s, at, range, later),
                    (4, _) => self.tile::<S, 4, 1>(s, at, range, later),
                    (5, _) => self.tile::<S, 5, 1>(s, at, range, later),
                    _ => self.tile::<S, 6, 1>(s, at, range, later),
                }
            }
        }
    }
}

/// The tiles of some pictures and of so many blocks that lie together: the first picture and how many, the first
/// block and how many.
#[inline(always)]
fn tiles<S: Simd>(pictures: Range<usize>, count: usize) -> impl Iterator<Item = [usize; 4]> {
    let mut left = pictures;
    let rows = std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let [p, j] = size::<S>(left.len(), count);
        left.start += p;
        Some([left.start - p, p, j])
    });
    rows.flat_map(move |[picture, p, j]| {
        (0..count).step_by(j).map(move |block| [picture, p, block, j])
    })
}

/// Pictures and blocks of a tile, of so many pictures that are left and so many blocks.
#[inline(always)]
fn size<S: Simd>(left: usize, count: usize) -> [usize; 2] {
    match left {
        _ if count < GROUP => [left.min(6), 1],
        1 => [1, GROUP],
        // With registers for two blocks of fourteen pixels there are enough for four of six.
        2..6 if !are_small(S::TILE) => [left.min(3), GROUP],
        _ if !are_small(S::TILE) => [6, GROUP],
        4 if has_pairs::<S>() => [2, 2],
        _ if has_pairs::<S>() => [left.min(3), 2],
        _ => [left.min(6), 1],
    }
}

/// Whether tiles are small, but may have two blocks.
const fn has_pairs<S: Simd>() -> bool {
    are_small(S::TILE) && most_blocks(S::TILE) == 2
}

impl Group<'_> {
    /// The products of a range of inputs of some pictures and blocks. Of the weights that are read later as
    /// many are asked for as come meanwhile.
    #[inline(always)]
    fn tile<S: Simd, const P: usize, const J: usize>(
        &mut self,
        s: S,
        [picture, block]: [usize; 2],
        [first, end]: [usize; 2],
        later: &[Pixel],
    ) {
        let inputs = self.linear.inputs();
        let count = self.y.blocks().len();
        let rows: [&[[f32; LANES]]; P] =
            std::array::from_fn(|p| self.x[(picture + p) * inputs..][first..end].as_chunks().0);
        // Where a row of the output lies takes so long to say that the loops over rows are not
        // unrolled; the sums, which those loops would keep in memory, wait here before and after.
        let mut values = [[Pixel::ZERO; J]; P];
        for p in 0..P {
            let mut runs = self.y.runs(picture + p, self.y.blocks().start + block);
            for j in 0..J {
                values[p][j] = if first == 0 { self.bias[block + j] } else { runs.run::<1>(j)[0] };
            }
        }
        let mut sums = [[s.zero(); J]; P];
        for p in 0..P {
            for j in 0..J {
                sums[p][j] = s.load(&values[p][j].0);
            }
        }
        let weights = Windows::<Pixel, J>::of(&self.weights[first * count + block..end * count]);
        let asked = later.len().div_ceil((end - first) / STEP);
        let mut later = later.iter();
        for lanes in 0..(end - first) / LANES {
            let rows: [&[f32; LANES]; P] = std::array::from_fn(|p| &rows[p][lanes]);
            for input in (0..LANES).step_by(STEP) {
                later.by_ref().take(asked).for_each(|pixel| s.prefetch_far(&pixel.0));
                for i in input..input + STEP {
                    let numbers = std::array::from_fn(|p| &rows[p][i]);
                    let weights = weights.at((lanes * LANES + i) * count);
                    s.multiply(numbers, weights.each_ref().map(|weights| &weights.0), &mut sums);
                }
            }
        }
        if self.relu && end == inputs {
            for p in 0..P {
                for j in 0..J {
                    sums[p][j] = s.relu(sums[p][j]);
                }
            }
        }
        for p in 0..P {
            for j in 0..J {
                s.store(sums[p][j], &mut values[p][j].0);
            }
        }
        for p in 0..P {
            let mut runs = self.y.runs(picture + p, self.y.blocks().start + block);
            for j in 0..J {
                runs.run::<1>(j)[0] = values[p][j];
            }
        }
    }
}
