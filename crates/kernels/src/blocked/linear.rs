//! Fully connected layers: a tile is some pictures by some blocks of outputs.
//!
//! For one picture the weights pass once from memory, and nothing is faster than that; for many they
//! pass once for all, a piece at a time that stays in the second cache.

use super::Destination;
use super::filters::Places;
use super::layout::{FAR, Pixel, blocks};
use super::simd::{Isa, Kernel, LANES, Simd, asking_ahead_pays};
use super::tile::are_small;
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
        let count = self.y.blocks().len();
        let piece = PIECE / count;
        let asks = self.linear.packed_len() > FAR && asking_ahead_pays();
        // With registers for two blocks of fourteen pixels there are enough for four of six.
        let wide = !are_small(S::TILE);
        for first in (0..inputs).step_by(piece) {
            let end = (first + piece).min(inputs);
            let mut picture = self.y.pictures().start;
            while picture < self.y.pictures().end {
                let left = self.y.pictures().end - picture;
                let mut block = 0;
                let (p, j) = match (left, wide) {
                    (1, _) => (1, if count == GROUP { GROUP } else { 1 }),
                    (2..6, true) => (left.min(3), if count == GROUP { GROUP } else { 1 }),
                    (_, true) => (6, if count == GROUP { GROUP } else { 1 }),
                    (_, false) => (left.min(6), 1),
                };
                let fresh = asks && picture == self.y.pictures().start;
                while block < count {
                    let range = [first, end];
                    match (p, j) {
                        (1, GROUP) => self.tile::<S, 1, GROUP>(s, picture, block, range, fresh),
                        (2, GROUP) => self.tile::<S, 2, GROUP>(s, picture, block, range, fresh),
                        (3, GROUP) => self.tile::<S, 3, GROUP>(s, picture, block, range, fresh),
                        (6, GROUP) => self.tile::<S, 6, GROUP>(s, picture, block, range, fresh),
                        (1, _) => self.tile::<S, 1, 1>(s, picture, block, range, fresh),
                        (2, _) => self.tile::<S, 2, 1>(s, picture, block, range, fresh),
                        (3, _) => self.tile::<S, 3, 1>(s, picture, block, range, fresh),
                        (4, _) => self.tile::<S, 4, 1>(s, picture, block, range, fresh),
                        (5, _) => self.tile::<S, 5, 1>(s, picture, block, range, fresh),
                        _ => self.tile::<S, 6, 1>(s, picture, block, range, fresh),
                    }
                    block += j;
                }
                picture += p;
            }
        }
    }
}

impl Group<'_> {
    /// The products of a range of inputs of some pictures and blocks. Of `fresh` weights those that
    /// follow are asked for.
    #[inline(always)]
    fn tile<S: Simd, const P: usize, const J: usize>(
        &mut self,
        s: S,
        picture: usize,
        block: usize,
        [first, end]: [usize; 2],
        fresh: bool,
    ) {
        let inputs = self.linear.inputs();
        let count = self.y.blocks().len();
        let rows: [&[f32]; P] =
            std::array::from_fn(|p| &self.x[(picture + p) * inputs..][first..end]);
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
        let from_here = &self.weights[first * count..];
        let weights = from_here[..(end - first) * count].chunks_exact(count);
        let ahead = AHEAD / count;
        for (i, weights) in weights.enumerate() {
            if fresh && let Some(later) = from_here.get((i + ahead) * count + block..) {
                later.iter().take(J).for_each(|pixel| s.prefetch_far(&pixel.0));
            }
            let Some(weights) = weights[block..].first_chunk::<J>() else {
                unreachable!("the blocks are within the group")
            };
            let weights: [S::V; J] = std::array::from_fn(|j| s.load(&weights[j].0));
            for p in 0..P {
                let x = s.splat(rows[p][i]);
                for j in 0..J {
                    sums[p][j] = s.mul_add(x, weights[j], sums[p][j]);
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
