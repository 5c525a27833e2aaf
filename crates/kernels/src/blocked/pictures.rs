//! Kernels for networks of few channels in batches: the sixteen lanes are sixteen pictures.
//!
//! A value is `C × H × W` pixels, whose lanes are the same number of sixteen pictures, so that no
//! lane is lost however few the channels are. The register tile is that of the other convolutions
//! with its operands exchanged: a weight is spread over the lanes, a pixel is a vector. What works on
//! each channel by itself is the same in both layouts: `C` maps of one block.

use super::simd::{Isa, Kernel, LANES, Simd};
use super::strip::Strip;
use super::tile::{are_small, even, instance};
use super::{Pixel, blocks};
use crate::conv::Conv;
use crate::threads::Runs;

/// Up to sixteen pictures, `pictures × values`, as pixels; lanes without a picture become zero.
///
/// # Panics
/// If `x` is not whole pictures of `y.len()` values each, or more than sixteen.
pub fn pack_pictures(x: &[f32], y: &mut [Pixel]) {
    let count = x.len() / y.len().max(1);
    assert!(count <= LANES && x.len() == count * y.len(), "whole pictures, sixteen at most");
    if count < LANES {
        y.fill(Pixel::ZERO);
    }
    for (lane, picture) in x.chunks_exact(y.len().max(1)).enumerate() {
        y.iter_mut().zip(picture).for_each(|(y, x)| y.0[lane] = *x);
    }
}

/// Pixels as up to sixteen pictures, `pictures × values`.
///
/// # Panics
/// If `y` is not whole pictures of `x.len()` values each, or more than sixteen.
pub fn unpack_pictures(x: &[Pixel], y: &mut [f32]) {
    let count = y.len() / x.len().max(1);
    assert!(count <= LANES && y.len() == count * x.len(), "whole pictures, sixteen at most");
    for (lane, picture) in y.chunks_exact_mut(x.len().max(1)).enumerate() {
        picture.iter_mut().zip(x).for_each(|(y, x)| *y = x.0[lane]);
    }
}

/// Convolution of sixteen pictures, lanes being pictures; a linear layer is one whose kernel is as
/// large as its map.
#[derive(Clone, Debug)]
pub struct PictureConvolution {
    isa: Isa,
    conv: Conv,
    /// Output channels of a tile.
    together: usize,
    /// The rows that are read, with the zeros around them, if not the maps as they lie.
    strip: Option<Strip>,
    /// Where each tap begins to read.
    taps: Vec<usize>,
    /// Pixels from what makes a row of the output to what makes the next.
    row: usize,
}

impl PictureConvolution {
    /// For one picture's geometry; none if there are groups.
    pub fn new(isa: Isa, conv: &Conv) -> Option<PictureConvolution> {
        let Conv { input: [channels, h, w], output: [out, ..], kernel: [kh, kw], .. } = *conv;
        let plain = (conv.stride, conv.pad) == ([1, 1], [0; 4]);
        let strip = (!plain).then(|| Strip::new(conv, conv.output[1]));
        let map = strip.map_or(h * w, |strip| strip.len());
        let within = |tap: usize| match strip {
            Some(strip) => strip.tap([tap / kw, tap % kw]),
            None => tap / kw * conv.dilation[0] * w + tap % kw * conv.dilation[1],
        };
        let all = (0..channels).flat_map(|channel| (0..kh * kw).map(move |tap| (channel, tap)));
        let taps = all.map(|(channel, tap)| channel * map + within(tap)).collect();
        let together = even(out, isa.run(Most));
        let row = strip.map_or(w, |strip| strip.row());
        let conv = *conv;
        (conv.groups == 1).then_some(PictureConvolution { isa, conv, together, strip, taps, row })
    }

    /// For a linear layer that reads a map `from`, `[C, H, W]`.
    pub fn linear(isa: Isa, from: [usize; 3], outputs: usize) -> Option<PictureConvolution> {
        let conv = Conv {
            batch: 1,
            input: from,
            output: [outputs, 1, 1],
            kernel: [from[1], from[2]],
            stride: [1, 1],
            pad: [0; 4],
            dilation: [1, 1],
            groups: 1,
        };
        PictureConvolution::new(isa, &conv)
    }

    /// Channels of the output.
    pub fn outputs(&self) -> usize {
        self.conv.output[0]
    }

    /// Pixels of the packed weights.
    pub fn packed_len(&self) -> usize {
        (self.conv.output[0] * self.taps.len()).div_ceil(LANES)
    }

    /// Brings weights, `out × C × kh × kw`, into the order in which they are read.
    ///
    /// # Panics
    /// If a slice has another length than the geometry says.
    pub fn pack(&self, weight: &[f32], packed: &mut [Pixel]) {
        let taps = self.taps.len();
        let lens = [self.conv.output[0] * taps, self.packed_len()];
        assert_eq!([weight.len(), packed.len()], lens, "lengths");
        packed.fill(Pixel::ZERO);
        let len = (self.together * taps).max(1);
        let panels = Pixel::numbers_mut(packed).chunks_mut(len).zip(weight.chunks(len));
        for (panel, filters) in panels {
            let outputs = filters.len() / taps;
            for (output, filter) in filters.chunks_exact(taps).enumerate() {
                let to = panel[output..].iter_mut().step_by(outputs);
                to.zip(filter).for_each(|(to, weight)| *to = *weight);
            }
        }
    }

    /// Pixels of scratch.
    pub fn scratch_len(&self) -> usize {
        self.strip.map_or(0, |strip| strip.len() * self.conv.input[0])
    }

    /// `y = x ∗ weight + bias`, then perhaps ReLU. `scratch` is at least
    /// [`scratch_len`](PictureConvolution::scratch_len) long.
    ///
    /// # Panics
    /// If a value has another length than the geometry says.
    pub fn run(
        &self,
        x: &[Pixel],
        packed: &[Pixel],
        bias: &[Pixel],
        relu: bool,
        y: &mut [Pixel],
        scratch: &mut [Pixel],
    ) {
        let Conv { input: [channels, h, w], output: [out, height, width], .. } = self.conv;
        assert_eq!([x.len(), y.len()], [channels * h * w, out * height * width], "lengths of x, y");
        assert_eq!([packed.len(), bias.len()], [self.packed_len(), blocks(out)], "lengths");
        if y.is_empty() || x.is_empty() {
            return;
        }
        let input = match &self.strip {
            None => x,
            Some(strip) => {
                let maps = scratch[..self.scratch_len()].chunks_exact_mut(strip.len());
                for (map, to) in x.chunks_exact(h * w).zip(maps) {
                    strip.copy(map, Pixel::ZERO, 0, to);
                }
                scratch
            }
        };
        // Where nothing is between the rows, they are one.
        let size = if self.row == width { [1, height * width] } else { [height, width] };
        let bias = &Pixel::numbers(bias)[..out];
        let weights = &Pixel::numbers(packed)[..out * self.taps.len()];
        self.isa.run(Maps { convolution: self, input, weights, bias, relu, size, y });
    }
}

/// The most output channels of a tile.
struct Most;

impl Kernel for Most {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        most::<S>()
    }
}

/// The most output channels of a tile.
const fn most<S: Simd>() -> usize {
    S::TILE[pixels::<S>() - 1]
}

/// The most pixels of a tile.
const fn pixels<S: Simd>() -> usize {
    if are_small(S::TILE) { 1 } else { 2 }
}

/// All maps of the output.
struct Maps<'a> {
    convolution: &'a PictureConvolution,
    input: &'a [Pixel],
    /// Of some outputs together: tap after tap, each output after output.
    weights: &'a [f32],
    bias: &'a [f32],
    relu: bool,
    size: [usize; 2],
    y: &'a mut [Pixel],
}

impl Kernel for Maps<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Maps { convolution, input, weights, bias, relu, size: [height, width], y } = self;
        let PictureConvolution { together, taps, row, .. } = convolution;
        let area = height * width;
        let panels = weights.chunks(together * taps.len()).zip(bias.chunks(*together));
        for ((weights, bias), y) in panels.zip(y.chunks_mut(together * area)) {
            let product = Product { input, taps, weights, bias, relu };
            for line in 0..height {
                for column in (0..width).step_by(pixels::<S>()) {
                    let pixels = pixels::<S>().min(width - column);
                    let to = Runs::of(&mut y[line * width + column..], area, [1, 0], pixels);
                    tile::<S>(bias.len(), pixels)(s, &product, line * row + column, to);
                }
            }
        }
    }
}

/// What a tile sums up.
struct Product<'a> {
    input: &'a [Pixel],
    taps: &'a [usize],
    weights: &'a [f32],
    bias: &'a [f32],
    relu: bool,
}

type Tile<S> = fn(S, &Product<'_>, at: usize, Runs<'_, Pixel>);

/// The tile for so many outputs and pixels.
fn tile<S: Simd>(outputs: usize, pixels: usize) -> Tile<S> {
    instance!(compute::<S>, outputs, pixels)
}

fn compute<S: Simd, const O: usize, const P: usize>(
    s: S,
    product: &Product<'_>,
    at: usize,
    to: Runs<'_, Pixel>,
) {
    if const { O > most::<S>() || P > pixels::<S>() } {
        unreachable!("a tile is in the registers");
    }
    s.vectorize(Compute::<O, P> { product, at, to });
}

struct Compute<'a, 'b, 'c, const O: usize, const P: usize> {
    product: &'a Product<'b>,
    at: usize,
    to: Runs<'c, Pixel>,
}

impl<const O: usize, const P: usize> Kernel for Compute<'_, '_, '_, O, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Compute { product, at, mut to } = self;
        let Product { input, taps, weights, bias, relu } = *product;
        let Some(bias) = bias.first_chunk::<O>() else { unreachable!("a bias an output") };
        let mut sums = [[s.zero(); P]; O];
        for o in 0..O {
            sums[o] = [s.splat(bias[o]); P];
        }
        let weights = &weights.as_chunks::<O>().0[..taps.len()];
        for (weights, tap) in weights.iter().zip(taps) {
            let Some(pixels) = input[tap + at..].first_chunk::<P>() else {
                unreachable!("a tap reads within the input")
            };
            let x: [S::V; P] = std::array::from_fn(|p| s.load(&pixels[p].0));
            for o in 0..O {
                let weight = s.splat(weights[o]);
                for p in 0..P {
                    sums[o][p] = s.mul_add(weight, x[p], sums[o][p]);
                }
            }
        }
        if relu {
            for o in 0..O {
                for p in 0..P {
                    sums[o][p] = s.relu(sums[o][p]);
                }
            }
        }
        for o in 0..O {
            let to = to.run::<P>(o);
            for p in 0..P {
                s.store(sums[o][p], &mut to[p].0);
            }
        }
    }
}

/// The squared distances of vectors to centres, `outputs × inputs`, lanes being pictures.
///
/// # Panics
/// If the centres have another length than the sizes say.
///
/// # Source
/// LeCun et al. 1998, §II.B, the output layer of LeNet-5.
pub fn rbf_pictures(isa: Isa, x: &[Pixel], centres: &[f32], y: &mut [Pixel]) {
    assert_eq!(centres.len(), x.len() * y.len(), "length of the centres");
    isa.run(Distances { x, centres, y });
}

struct Distances<'a> {
    x: &'a [Pixel],
    centres: &'a [f32],
    y: &'a mut [Pixel],
}

impl Kernel for Distances<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Distances { x, centres, y } = self;
        for (y, centre) in y.iter_mut().zip(centres.chunks_exact(x.len().max(1))) {
            let mut sum = s.zero();
            for (x, centre) in x.iter().zip(centre) {
                let apart = s.sub(s.load(&x.0), s.splat(*centre));
                sum = s.mul_add(apart, apart, sum);
            }
            s.store(sum, &mut y.0);
        }
    }
}

/// `eˣ / Σ eˣ` over the channels of maps of `area` pixels, lanes being pictures.
///
/// # Panics
/// If the lengths differ.
pub fn softmax_pictures(area: usize, log: bool, x: &[Pixel], y: &mut [Pixel]) {
    assert_eq!(x.len(), y.len(), "length of y");
    for pixel in 0..area {
        for lane in 0..LANES {
            let values = || x[pixel..].iter().step_by(area).map(|pixel| pixel.0[lane]);
            // What is not a number makes all of them none.
            let most = values().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = values().map(|x| f64::from((x - most).exp())).sum();
            for (y, x) in y[pixel..].iter_mut().step_by(area).zip(values()) {
                y.0[lane] = crate::softmax::share(x - most, sum, log);
            }
        }
    }
}
