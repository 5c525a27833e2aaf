use super::Destination;
use super::direct::Direct;
use super::first::First;
use super::layout::{Pixel, blocks};
use super::simd::{Isa, LANES};
use super::tile::{self, Finish, Largest, Residual};
use super::winograd::Winograd;
use crate::conv::Conv;
use crate::threads::{Maps, Threads};

/// The ways to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Every product as in the definition. Admits all.
    Direct,
    /// The same for up to four channels, read from planes: `pictures × C × H × W`.
    FirstLayer,
    /// Winograd's F(2×2, 3×3): 2.25 times fewer products.
    Winograd2,
    /// Winograd's F(4×4, 3×3): 4 times fewer products.
    Winograd4,
    /// Winograd's F(6×6, 3×3): 5.1 times fewer products.
    Winograd6,
    /// Winograd's F(2×2, 5×5): 2.8 times fewer products.
    Winograd2x5,
    /// Winograd's F(4×4, 5×5): 6.25 times fewer products.
    Winograd4x5,
    /// Winograd's F(4, 3) along a row or a column: half the products.
    Line3,
    /// Winograd's F(4, 7) along a row or a column: 2.8 times fewer products.
    Line7,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 9] = [
        Algorithm::Direct,
        Algorithm::FirstLayer,
        Algorithm::Winograd2,
        Algorithm::Winograd4,
        Algorithm::Winograd6,
        Algorithm::Winograd2x5,
        Algorithm::Winograd4x5,
        Algorithm::Line3,
        Algorithm::Line7,
    ];

    /// Whether it multiplies and adds what the definition does.
    pub fn is_definition(self) -> bool {
        match self {
            Algorithm::Direct | Algorithm::FirstLayer => true,
            Algorithm::Winograd2
            | Algorithm::Winograd4
            | Algorithm::Winograd6
            | Algorithm::Winograd2x5
            | Algorithm::Winograd4x5
            | Algorithm::Line3
            | Algorithm::Line7 => false,
        }
    }

    /// What it is called in a printed plan.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Direct => "direct",
            Algorithm::FirstLayer => "first layer",
            Algorithm::Winograd2 => "F(2,3)",
            Algorithm::Winograd4 => "F(4,3)",
            Algorithm::Winograd6 => "F(6,3)",
            Algorithm::Winograd2x5 => "F(2,5)",
            Algorithm::Winograd4x5 => "F(4,5)",
            Algorithm::Line3 => "F(4,3) line",
            Algorithm::Line7 => "F(4,7) line",
        }
    }
}

/// What is read: pixels, or planes by [`Algorithm::FirstLayer`].
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// `pictures × ⌈C/16⌉ × H × W`.
    Pixels(&'a [Pixel]),
    /// `pictures × C × H × W`.
    Planes(&'a [f32]),
}

/// What is done to the sums, in this order.
#[derive(Clone, Copy, Debug)]
pub struct Tail<'a> {
    /// Added, one a block of output channels.
    pub bias: &'a [Pixel],
    /// Multiplies.
    pub factor: f32,
    /// Added.
    pub residual: Option<Added<'a>>,
    /// Whether negative values become zero.
    pub relu: bool,
    /// Makes `max(0, scale · sum + shift)` of it, one of each a block.
    pub activation: Option<[&'a [Pixel]; 2]>,
}

/// A residual: `pictures × blocks × H × W`.
#[derive(Clone, Copy, Debug)]
pub struct Added<'a> {
    /// Its pixels.
    pub value: &'a [Pixel],
    /// Its blocks; to the blocks of the output beyond nothing is added.
    pub blocks: usize,
    /// Its height and width.
    pub size: [usize; 2],
    /// Every so many of its pixels are added, down and right.
    pub stride: usize,
}

/// Where a convolution writes.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// The result.
    pub out: Destination<'a>,
    /// The sum before the activation, where there is one and both are wanted.
    pub sum: Option<Destination<'a>>,
}

/// A convolution of one geometry by one algorithm: how its work is cut and its weights are laid.
#[derive(Clone, Debug)]
pub struct Convolution {
    isa: Isa,
    algorithm: Algorithm,
    conv: Conv,
    method: Method,
}

#[derive(Clone, Debug)]
enum Method {
    Direct(Direct),
    First(First),
    Winograd(Winograd),
}

/// What the parts of a convolution's work have in common.
pub(crate) struct Work<'a> {
    pub(crate) isa: Isa,
    pub(crate) threads: &'a Threads,
    pub(crate) packed: &'a [Pixel],
    pub(crate) tail: &'a Tail<'a>,
}

impl Convolution {
    /// A way to compute a convolution; none if the algorithm does not admit it.
    ///
    /// # Panics
    /// If the groups do not divide the channels.
    pub fn new(isa: Isa, algorithm: Algorithm, conv: &Conv) -> Option<Convolution> {
        let winograd = |makes, taps| Winograd::new(conv, makes, taps).map(Method::Winograd);
        let line = |taps| winograd(4, if conv.kernel[0] == 1 { [1, taps] } else { [taps, 1] });
        let method = match algorithm {
            Algorithm::Direct => Method::Direct(Direct::new(conv)),
            Algorithm::FirstLayer => Method::First(First::new(conv)?),
            Algorithm::Winograd2 => winograd(2, [3, 3])?,
            Algorithm::Winograd4 => winograd(4, [3, 3])?,
            Algorithm::Winograd6 => winograd(6, [3, 3])?,
            Algorithm::Winograd2x5 => winograd(2, [5, 5])?,
            Algorithm::Winograd4x5 => winograd(4, [5, 5])?,
            Algorithm::Line3 => line(3)?,
            Algorithm::Line7 => line(7)?,
        };
        Some(Convolution { isa, algorithm, conv: *conv, method })
    }

    /// How it is computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The same for another number of pictures. The packed weights stay what they are.
    pub fn for_pictures(&self, pictures: usize) -> Convolution {
        let conv = Conv { batch: pictures, ..self.conv };
        let method = match &self.method {
            Method::Direct(direct) => Method::Direct(Direct { conv, ..direct.clone() }),
            Method::First(_) => Method::First(First { conv }),
            Method::Winograd(winograd) => Method::Winograd(Winograd { conv, ..winograd.clone() }),
        };
        Convolution { conv, method, ..*self }
    }

    /// The same with the largest of each two by two pixels for its result, which has half the height
    /// and width; none if the algorithm cannot. The tail then has no residual and no activation.
    pub fn pooled(&self) -> Option<Convolution> {
        let Method::Winograd(winograd) = &self.method else { return None };
        let method = Method::Winograd(winograd.pooled()?);
        Some(Convolution { method, ..self.clone() })
    }

    /// Pixels of the packed weights.
    pub fn packed_len(&self) -> usize {
        match &self.method {
            Method::Direct(direct) => direct.packed_len(),
            Method::First(first) => first.packed_len(),
            Method::Winograd(winograd) => winograd.packed_len(),
        }
    }

    /// About how long it takes on one core that starts a multiply-add of sixteen lanes a cycle, in
    /// cycles; without what it waits for memory.
    pub fn cycles(&self) -> f64 {
        let Conv { batch, input: [channels, ..], output: [out, h, w], .. } = self.conv;
        let [kh, kw] = self.conv.kernel;
        let taps = (batch * h * w * kh * kw * blocks(out)) as f64;
        match &self.method {
            Method::Direct(direct) => taps * (channels / direct.groups.count) as f64 / 0.97,
            Method::First(first) => first.cycles(),
            Method::Winograd(winograd) => winograd.cycles(),
        }
    }

    /// Weights of an output channel: `C/groups × kh × kw`.
    fn filter(&self) -> usize {
        let [kh, kw] = self.conv.kernel;
        self.conv.input[0] / self.conv.groups * kh * kw
    }

    /// Brings weights, `out × (C/groups) × kh × kw`, into the order in which they are read.
    ///
    /// # Panics
    /// If a slice has another length than the geometry says.
    pub fn pack(&self, threads: &Threads, weight: &[f32], packed: &mut [Pixel]) {
        let out = self.conv.output[0];
        let lens = [weight.len(), packed.len()];
        assert_eq!(lens, [out * self.filter(), self.packed_len()], "lengths");
        let len = LANES * self.filter();
        threads.chunks(packed, self.block_len().max(1), |block, packed| {
            let weight = &weight[block * len..];
            self.pack_block(block, &weight[..len.min(weight.len())], packed);
        });
    }

    /// Pixels of the packed weights of a block of outputs.
    pub fn block_len(&self) -> usize {
        self.packed_len() / blocks(self.conv.output[0]).max(1)
    }

    /// [`pack`](Convolution::pack) of the weights of one block of outputs.
    ///
    /// # Panics
    /// If a slice has another length than the geometry says.
    pub fn pack_block(&self, block: usize, weight: &[f32], packed: &mut [Pixel]) {
        let outputs = LANES.min(self.conv.output[0] - block * LANES);
        let lens = [weight.len(), packed.len()];
        assert_eq!(lens, [outputs * self.filter(), self.block_len()], "lengths");
        match &self.method {
            Method::Direct(direct) => direct.pack(block, weight, packed),
            Method::First(first) => first.pack(weight, packed),
            Method::Winograd(winograd) => winograd.pack(self.isa, block, weight, packed),
        }
    }

    /// Pixels of scratch for so many threads.
    pub fn scratch_len(&self, threads: usize) -> usize {
        match &self.method {
            Method::Direct(direct) => direct.scratch_len(threads),
            Method::First(first) => first.scratch_len(threads),
            Method::Winograd(winograd) => winograd.scratch_len(self.isa, threads),
        }
    }

    /// Pixels of scratch that are written and read beyond a thread's own cache, in all, by so many
    /// threads.
    pub fn passing(&self, threads: usize) -> usize {
        match &self.method {
            Method::Direct(_) | Method::First(_) => 0,
            Method::Winograd(winograd) => winograd.passing(threads),
        }
    }

    /// Pixels and blocks of output channels that are summed up at once.
    pub fn tile(&self, threads: usize) -> [usize; 2] {
        let most = self.isa.run(Largest);
        let [pixels, blocks] = match &self.method {
            Method::First(first) => return first.tile(self.isa),
            Method::Direct(direct) => direct.tiled(threads, most),
            Method::Winograd(winograd) => winograd.tiled(threads),
        };
        tile::shape(most, pixels, blocks)
    }

    /// Convolves `x`. `scratch` is at least [`scratch_len`](Convolution::scratch_len) long.
    ///
    /// # Panics
    /// If a value has another length than the geometry says.
    pub fn run(
        &self,
        threads: &Threads,
        x: Input<'_>,
        packed: &[Pixel],
        tail: &Tail<'_>,
        outputs: Outputs<'_>,
        scratch: &mut [Pixel],
    ) {
        let Conv { batch, input: [channels, h, w], output: [out, ..], .. } = self.conv;
        assert_eq!(packed.len(), self.packed_len(), "length of the weights");
        assert_eq!(tail.bias.len(), blocks(out), "length of the bias");
        if let Some(Added { value, blocks, size: [h, w], stride }) = tail.residual {
            assert_eq!(value.len(), batch * blocks * h * w, "length of the residual");
            let reach = |axis: usize| self.conv.output[axis + 1].saturating_sub(1) * stride;
            assert!(stride > 0 && reach(0) < h && reach(1) < w, "size of the residual");
        }
        if batch * self.conv.output.iter().product::<usize>() == 0 {
            return;
        }
        let work = Work { isa: self.isa, threads, packed, tail };
        match (&self.method, x) {
            (Method::First(first), Input::Planes(x)) => {
                assert_eq!(x.len(), batch * channels * h * w, "length of x");
                first.run(&work, x, outputs, scratch);
            }
            (Method::Direct(direct), Input::Pixels(x)) => {
                assert_eq!(x.len(), batch * blocks(channels) * h * w, "length of x");
                direct.run(&work, x, outputs, scratch);
            }
            (Method::Winograd(winograd), Input::Pixels(x)) => {
                assert_eq!(x.len(), batch * blocks(channels) * h * w, "length of x");
                winograd.run(&work, x, outputs, scratch);
            }
            (Method::First(_), Input::Pixels(_))
            | (Method::Direct(_) | Method::Winograd(_), Input::Planes(_)) => {
                panic!("the first layer reads planes, all others pixels")
            }
        }
    }
}

impl<'a> Tail<'a> {
    /// What a tile does to its sums, for a picture.
    pub(crate) fn finish(&self, picture: usize) -> Finish<'a> {
        Finish {
            factor: self.factor,
            residual: self.residual.map(|Added { value, blocks, size: [h, w], stride }| {
                let area = h * w;
                let value = &value[picture * blocks * area..][..blocks * area];
                Residual { value, area, step: stride, down: stride * w, blocks }
            }),
            relu: self.relu,
            activation: self.activation,
        }
    }

    /// Where in the residual the pixel of a row and column is.
    pub(crate) fn residual_pixel(&self, row: usize, column: usize) -> usize {
        self.residual.map_or(0, |added| added.pixel([row, column]))
    }
}

impl<'a> Added<'a> {
    /// Where in a block of it the pixel is that is added to that of a row and column.
    #[inline(always)]
    fn pixel(&self, [row, column]: [usize; 2]) -> usize {
        (row * self.size[1] + column) * self.stride
    }

    /// What is added to the pixels of a row from a column on: every `stride`-th, and what follows.
    #[inline(always)]
    pub(crate) fn row(&self, [picture, block]: [usize; 2], at: [usize; 2]) -> &'a [Pixel] {
        let [height, width] = self.size;
        &self.value[(picture * self.blocks + block) * height * width + self.pixel(at)..]
    }

    /// What is added to `N` pixels of a row from a column on, where its stride is 1.
    #[inline(always)]
    pub(crate) fn run<const N: usize>(&self, map: [usize; 2], at: [usize; 2]) -> &'a [Pixel; N] {
        debug_assert_eq!(self.stride, 1, "pixel by pixel");
        match self.row(map, at).first_chunk() {
            Some(run) => run,
            None => unreachable!("the row is inside its map"),
        }
    }
}

impl Destination<'_> {
    /// The maps that a convolution writes, as rows of `size[1]` pixels.
    pub(crate) fn maps(&self, conv: &Conv, size: [usize; 2]) -> Maps {
        let own = [self.at, blocks(conv.output[0])];
        Maps { pictures: conv.batch, blocks: self.blocks, own, size }
    }
}
