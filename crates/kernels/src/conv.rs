//! Convolution and its gradients, by way of a matrix of pixels (im2col) and a matrix product.
//!
//! Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for document
//! processing".

use crate::dot::{self, Rows};
use crate::gemm::{self, Finish, Matrix, STRIP};
use crate::linear;
use crate::sum::sum;
use crate::threads::{Block, Grid, Threads};
use std::ops::Range;

/// Geometry of a 2-D convolution (as everywhere in the field: cross-correlation) of a batch.
///
/// The input is `batch×C×H×W`, the weight `out×(C/groups)×kh×kw`, the bias `out`, the output
/// `batch×out×H'×W'`. A window that reaches beyond the padded picture reads zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Pictures.
    pub batch: usize,
    /// `[C, H, W]`.
    pub input: [usize; 3],
    /// `[out, H', W']`.
    pub output: [usize; 3],
    /// `[kh, kw]`.
    pub kernel: [usize; 2],
    /// Step of the window, `[down, right]`.
    pub stride: [usize; 2],
    /// Zeros around the picture, `[top, left, bottom, right]`.
    pub pad: [usize; 4],
    /// Distance of the taps of the kernel, `[down, right]`; 1 for an ordinary one.
    pub dilation: [usize; 2],
    /// Channels are cut into groups that do not see each other; `C` for a depthwise convolution.
    pub groups: usize,
}

/// `y = x ∗ weight + bias`, then perhaps ReLU. `scratch` is at least [`scratch`] long.
///
/// # Panics
/// If a slice has another length than the geometry says, or the groups do not divide the channels.
pub fn forward(
    threads: &Threads,
    conv: &Conv,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let lens = conv.checked_lens();
    assert_eq!([x.len(), weight.len(), y.len()], lens, "lengths of x, weight, y");
    assert!(bias.is_none_or(|bias| bias.len() == conv.output[0]), "length of bias");
    if let Some([inputs, outputs]) = conv.as_linear() {
        return linear::forward(threads, conv.batch, inputs, outputs, x, weight, bias, relu, y);
    }
    if y.is_empty() {
        return;
    }
    let conv = &conv.flat();
    let (rows, depth) = (conv.filters(), conv.taps());
    let panels = gemm::packed(rows, depth);
    let (packed, scratch) = scratch.split_at_mut(conv.groups * panels);
    let weights = |group| Matrix { data: &weight[group * rows * depth..], stride: [depth, 1] };
    pack(threads, weights, [rows, depth], packed);

    let strips = conv.batch * conv.groups * conv.pixels().div_ceil(STRIP);
    let grid = Grid {
        matrices: conv.batch * conv.groups,
        rows,
        columns: conv.pixels(),
        height: gemm::height(threads.count(), rows, strips),
        width: STRIP,
    };
    let scratch = &mut scratch[..gemm::SCRATCH * threads.count()];
    threads.blocks(y, grid, scratch, |corner, mut y, scratch| {
        let group = corner.matrix % conv.groups;
        let a = &packed[group * panels..][corner.row * depth..];
        let bias = bias.map(|bias| &bias[group * rows + corner.row..]);
        let columns = corner.column..corner.column + y.columns();
        gemm::strip(a, depth, &mut y, Finish { bias, relu }, scratch, |tap, into| {
            into.fill(0.0);
            conv.im2col(x, corner.matrix, tap, columns.clone(), into);
        });
    });
}

/// Gradient at the input: `dx`, overwritten, from `dy`. `scratch` is at least [`scratch`] long.
///
/// # Panics
/// If a slice has another length than the geometry says, or the groups do not divide the channels.
pub fn dgrad(
    threads: &Threads,
    conv: &Conv,
    dy: &[f32],
    weight: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let lens = conv.checked_lens();
    assert_eq!([dx.len(), weight.len(), dy.len()], lens, "lengths of dx, weight, dy");
    if let Some([inputs, outputs]) = conv.as_linear() {
        return linear::dgrad(threads, conv.batch, inputs, outputs, dy, weight, dx, scratch);
    }
    if dx.is_empty() {
        return;
    }
    let conv = &conv.flat();
    let (rows, depth) = (conv.taps(), conv.filters());
    let panels = gemm::packed(rows, depth);
    let (packed, scratch) = scratch.split_at_mut(conv.groups * panels);
    let weights = |group| Matrix { data: &weight[group * rows * depth..], stride: [1, rows] };
    pack(threads, weights, [rows, depth], packed);

    let (height, area) = (conv.channel_block(), conv.kernel[0] * conv.kernel[1]);
    let [_, h, w] = conv.input;
    let matrices = conv.batch * conv.groups;
    let grid = Grid { matrices, rows: conv.channels(), columns: h * w, height, width: h * w };
    let scratch = &mut scratch[..conv.dgrad_scratch() * threads.count()];
    threads.blocks(dx, grid, scratch, |corner, mut dx, scratch| {
        let (columns, scratch) = scratch.split_at_mut(height * area * STRIP);
        let dy = &dy[corner.matrix * depth * conv.pixels()..];
        let a = &packed[corner.matrix % conv.groups * panels..][corner.row * area * depth..];
        for channel in 0..dx.rows() {
            dx.row(channel).fill(0.0);
        }
        for strip in gemm::blocks(conv.pixels(), STRIP) {
            let columns = &mut columns[..dx.rows() * area * strip.len()];
            let mut block = Block::whole(columns, strip.len());
            gemm::strip(a, depth, &mut block, Finish::default(), scratch, |filter, into| {
                into.copy_from_slice(&dy[filter * conv.pixels()..][strip.clone()]);
            });
            for (tap, column) in columns.chunks_exact(strip.len()).enumerate() {
                conv.col2im(column, tap, strip.clone(), dx.row(tap / area));
            }
        }
    });
}

/// Gradient at the weight: `dweight`, overwritten, summed over the batch. `scratch` is at least
/// [`scratch`] long.
///
/// # Panics
/// If a slice has another length than the geometry says, or the groups do not divide the channels.
pub fn wgrad(
    threads: &Threads,
    conv: &Conv,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
    scratch: &mut [f32],
) {
    let lens = conv.checked_lens();
    assert_eq!([x.len(), dweight.len(), dy.len()], lens, "lengths of x, dweight, dy");
    if let Some([inputs, outputs]) = conv.as_linear() {
        return linear::wgrad(threads, conv.batch, inputs, outputs, x, dy, dweight, scratch);
    }
    if dweight.is_empty() {
        return;
    }
    let conv = &conv.flat();
    if dy.is_empty() {
        return dweight.fill(0.0);
    }
    let (parts, total) = (conv.wgrad_parts(), dweight.len());
    if parts == 1 {
        let scratch = &mut scratch[..conv.wgrad_scratch() * threads.count()];
        return wgrad_parts(threads, conv, x, dy, dweight, scratch);
    }
    let (sums, scratch) = scratch.split_at_mut(parts * total);
    let scratch = &mut scratch[..conv.wgrad_scratch() * threads.count()];
    wgrad_parts(threads, conv, x, dy, sums, scratch);
    threads.chunks(dweight, 1 << 12, |chunk, out| {
        out.fill(0.0);
        for part in sums.chunks_exact(total) {
            let part = &part[chunk << 12..];
            out.iter_mut().zip(part).for_each(|(out, value)| *out += value);
        }
    });
}

/// Gradient at the bias: `dbias`, `channels` long and overwritten, from `dy`,
/// `batch×channels×area`. A linear layer has an area of 1.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn bias_grad(
    threads: &Threads,
    batch: usize,
    channels: usize,
    area: usize,
    dy: &[f32],
    dbias: &mut [f32],
) {
    assert_eq!(dy.len(), batch * channels * area, "length of dy");
    assert_eq!(dbias.len(), channels, "length of dbias");
    let len = ((1 << 15) / (batch * area).max(1)).max(1);
    threads.chunks(dbias, len, |chunk, dbias| {
        for (channel, out) in (chunk * len..).zip(dbias) {
            let planes =
                (0..batch).map(|sample| &dy[(sample * channels + channel) * area..][..area]);
            *out = planes.map(|plane| sum(plane, f64::from)).sum::<f64>() as f32;
        }
    });
}

/// Length of the scratch that any of [`forward`], [`dgrad`] and [`wgrad`] needs on a pool of
/// `threads`.
pub fn scratch(conv: &Conv, threads: usize) -> usize {
    if let Some([_, outputs]) = conv.as_linear() {
        return linear::scratch(conv.batch, outputs, threads);
    }
    let conv = &conv.flat();
    let [_, weights, _] = conv.lens();
    let forward = conv.groups * gemm::packed(conv.filters(), conv.taps()) + threads * gemm::SCRATCH;
    let dgrad =
        conv.groups * gemm::packed(conv.taps(), conv.filters()) + threads * conv.dgrad_scratch();
    let sums = if conv.wgrad_parts() > 1 { conv.wgrad_parts() * weights } else { 0 };
    forward.max(dgrad).max(sums + threads * conv.wgrad_scratch())
}

/// Rows of the matrix of pixels that a part of wgrad looks at.
const WGRAD_ROWS: usize = 72;
/// Filters that a part of wgrad looks at, at a time.
const WGRAD_FILTERS: usize = 128;
/// Pixels, of one or of several pictures, that wgrad sums up at a time.
const WGRAD_PIXELS: usize = 768;

/// The gradient of every part of the batch by itself: `sums` is `parts` times as long as the
/// weight.
fn wgrad_parts(
    threads: &Threads,
    conv: &Conv,
    x: &[f32],
    dy: &[f32],
    sums: &mut [f32],
    scratch: &mut [f32],
) {
    let (filters, taps, pixels) = (conv.filters(), conv.taps(), conv.pixels());
    let parts = conv.wgrad_parts();
    let grid = Grid {
        matrices: parts * conv.groups,
        rows: filters,
        columns: taps,
        height: filters,
        width: WGRAD_ROWS,
    };
    threads.blocks(sums, grid, scratch, |corner, mut sums, scratch| {
        let (part, group) = (corner.matrix / conv.groups, corner.matrix % conv.groups);
        let (first, last) = (conv.batch * part / parts, conv.batch * (part + 1) / parts);
        let (columns, gradients) = scratch.split_at_mut(WGRAD_ROWS * WGRAD_PIXELS);
        for filter in 0..filters {
            sums.row(filter).fill(0.0);
        }
        for chunk in gemm::blocks((last - first) * pixels, WGRAD_PIXELS) {
            let len = chunk.len();
            let chunk = first * pixels + chunk.start..first * pixels + chunk.end;
            for (tap, column) in
                (corner.column..corner.column + sums.columns()).zip(columns.chunks_exact_mut(len))
            {
                column.fill(0.0);
                for (sample, range, at) in pieces(chunk.clone(), pixels) {
                    let into = &mut column[at..][..range.len()];
                    conv.im2col(x, sample * conv.groups + group, tap, range, into);
                }
            }
            for block in gemm::blocks(filters, WGRAD_FILTERS) {
                for (filter, gradient) in block.clone().zip(gradients.chunks_exact_mut(len)) {
                    for (sample, range, at) in pieces(chunk.clone(), pixels) {
                        let plane = (sample * conv.groups + group) * filters + filter;
                        let from = &dy[plane * pixels..][range];
                        gradient[at..][..from.len()].copy_from_slice(from);
                    }
                }
                let a = Rows::of(columns, len, 0..sums.columns(), 0..len);
                let b = Rows::of(gradients, len, 0..block.len(), 0..len);
                dot::rows(a, b, |tap, filter, sum| sums.row(block.start + filter)[tap] += sum);
            }
        }
    });
}

/// A stretch of pixels of a batch, cut where a picture ends: (picture, pixels in it, offset in the
/// stretch).
fn pieces(
    stretch: Range<usize>,
    pixels: usize,
) -> impl Iterator<Item = (usize, Range<usize>, usize)> {
    (stretch.start / pixels..stretch.end.div_ceil(pixels)).map(move |sample| {
        let start = stretch.start.max(sample * pixels);
        let end = stretch.end.min((sample + 1) * pixels);
        (sample, start - sample * pixels..end - sample * pixels, start - stretch.start)
    })
}

/// Packs the weights of every group, panels in parallel.
fn pack<'a>(
    threads: &Threads,
    weights: impl Fn(usize) -> Matrix<'a> + Sync,
    [rows, depth]: [usize; 2],
    packed: &mut [f32],
) {
    let panels = rows.div_ceil(gemm::ROWS);
    threads.chunks(packed, gemm::ROWS * depth, |panel, out| {
        gemm::pack(weights(panel / panels), rows, panel % panels * gemm::ROWS, out);
    });
}

impl Conv {
    /// Values of the input, the weight and the output.
    fn lens(&self) -> [usize; 3] {
        let len = |shape: [usize; 3]| shape.iter().product::<usize>();
        [self.batch * len(self.input), self.output[0] * self.taps(), self.batch * len(self.output)]
    }

    /// [`lens`](Conv::lens) of a geometry that makes sense.
    fn checked_lens(&self) -> [usize; 3] {
        assert!(
            self.groups > 0
                && self.input[0].is_multiple_of(self.groups)
                && self.output[0].is_multiple_of(self.groups),
            "groups divide the channels: {self:?}"
        );
        let mut steps = self.stride.iter().chain(&self.dilation).chain(&self.kernel);
        assert!(steps.all(|&step| step > 0), "stride, dilation, kernel ≥ 1: {self:?}");
        self.lens()
    }

    /// Where the kernel is one pixel and steps over every pixel, rows do not matter: the picture
    /// as a single long one.
    fn flat(self) -> Conv {
        let ([c, h, w], [out, ..]) = (self.input, self.output);
        let plain = self.kernel == [1, 1] && self.stride == [1, 1] && self.pad == [0; 4];
        match plain && self.output == [out, h, w] {
            true => Conv { input: [c, 1, h * w], output: [out, 1, h * w], ..self },
            false => self,
        }
    }

    /// `[inputs, outputs]` if the one window is the whole picture, as in C5 of LeNet-5.
    fn as_linear(&self) -> Option<[usize; 2]> {
        let ([c, h, w], [out, ..]) = (self.input, self.output);
        let whole = self.kernel == [h, w] && self.output == [out, 1, 1] && self.dilation == [1, 1];
        (whole && self.pad == [0; 4] && self.groups == 1).then_some([c * h * w, out])
    }

    /// Channels of a group.
    pub(crate) fn channels(&self) -> usize {
        self.input[0] / self.groups
    }

    /// Filters of a group.
    fn filters(&self) -> usize {
        self.output[0] / self.groups
    }

    /// Weights of a filter.
    fn taps(&self) -> usize {
        self.channels() * self.kernel[0] * self.kernel[1]
    }

    /// Pixels of a map of the output.
    fn pixels(&self) -> usize {
        self.output[1] * self.output[2]
    }

    /// Channels of `dx` that a part of dgrad makes: some 256 rows of the matrix of pixels, a whole
    /// number of panels.
    fn channel_block(&self) -> usize {
        let block = (256 / (self.kernel[0] * self.kernel[1])).next_multiple_of(gemm::ROWS);
        block.clamp(gemm::ROWS, self.channels().next_multiple_of(gemm::ROWS))
    }

    /// Scratch of a thread in dgrad.
    fn dgrad_scratch(&self) -> usize {
        self.channel_block() * self.kernel[0] * self.kernel[1] * STRIP + gemm::SCRATCH
    }

    /// Scratch of a thread in wgrad.
    fn wgrad_scratch(&self) -> usize {
        (WGRAD_ROWS + self.filters().min(WGRAD_FILTERS)) * WGRAD_PIXELS
    }

    /// Parts of the batch that wgrad sums up by themselves: enough to keep threads busy where the
    /// weight is small. The shape alone decides, so the sum is the same for any number of threads.
    fn wgrad_parts(&self) -> usize {
        (32 / (self.groups * self.taps().div_ceil(WGRAD_ROWS)).max(1)).clamp(1, self.batch.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{close, inner, numbers, on_any_threads, wide};

    /// Name, batch, input, filters, kernel, stride, pad, dilation, groups.
    type Case = (
        &'static str,
        usize,
        [usize; 3],
        usize,
        [usize; 2],
        [usize; 2],
        [usize; 4],
        [usize; 2],
        usize,
    );

    #[rustfmt::skip]
    const CASES: &[Case] = &[
        ("one pixel",       1, [1, 1, 1],     1, [1, 1],   [1, 1], [0, 0, 0, 0], [1, 1], 1),
        ("plain",           2, [3, 7, 9],     5, [3, 3],   [1, 1], [0, 0, 0, 0], [1, 1], 1),
        ("same",            1, [8, 15, 17],  19, [3, 3],   [1, 1], [1, 1, 1, 1], [1, 1], 1),
        ("1×1",             3, [33, 5, 7],   21, [1, 1],   [1, 1], [0, 0, 0, 0], [1, 1], 1),
        ("1×1, stride 2",   2, [5, 7, 6],     9, [1, 1],   [2, 2], [0, 0, 0, 0], [1, 1], 1),
        ("1×1, padded",     1, [3, 4, 4],     2, [1, 1],   [1, 1], [1, 0, 2, 1], [1, 1], 1),
        ("many taps",       1, [64, 9, 9],   16, [3, 3],   [1, 1], [1, 1, 1, 1], [1, 1], 1),
        ("stem",            1, [3, 33, 31],   8, [7, 7],   [2, 2], [3, 3, 3, 3], [1, 1], 1),
        ("alexnet stem",    1, [3, 39, 39],   7, [11, 11], [4, 4], [2, 2, 2, 2], [1, 1], 1),
        ("uneven",          2, [2, 9, 12],    3, [2, 5],   [3, 2], [0, 3, 1, 2], [1, 1], 1),
        ("wide padding",    1, [1, 3, 3],     2, [3, 3],   [1, 1], [4, 5, 4, 3], [1, 1], 1),
        ("dilated",         2, [3, 14, 13],   4, [3, 2],   [1, 2], [2, 0, 1, 3], [2, 3], 1),
        ("groups",          3, [6, 8, 8],     9, [3, 3],   [1, 1], [1, 1, 1, 1], [1, 1], 3),
        ("depthwise",       2, [10, 9, 7],   10, [3, 3],   [2, 1], [1, 1, 1, 1], [1, 1], 10),
        ("two a channel",   1, [4, 6, 6],     8, [3, 3],   [1, 1], [1, 1, 1, 1], [1, 1], 4),
        ("1×7",             1, [5, 12, 12],   6, [1, 7],   [1, 1], [0, 3, 0, 3], [1, 1], 1),
        ("lenet c1",        5, [1, 28, 28],   6, [5, 5],   [1, 1], [2, 2, 2, 2], [1, 1], 1),
        ("lenet c3",       33, [6, 14, 14],  16, [5, 5],   [1, 1], [0, 0, 0, 0], [1, 1], 1),
        ("lenet c5",        7, [16, 5, 5],  120, [5, 5],   [1, 1], [0, 0, 0, 0], [1, 1], 1),
        ("more filters",    2, [3, 5, 5],   150, [3, 3],   [1, 1], [1, 1, 1, 1], [1, 1], 1),
        ("no picture",      0, [3, 5, 5],     2, [3, 3],   [1, 1], [1, 1, 1, 1], [1, 1], 1),
    ];

    fn conv(&(_, batch, input, filters, kernel, stride, pad, dilation, groups): &Case) -> Conv {
        let out = |i: usize| {
            let padded = input[i + 1] + pad[i] + pad[i + 2];
            (padded - dilation[i] * (kernel[i] - 1) - 1) / stride[i] + 1
        };
        let output = [filters, out(0), out(1)];
        Conv { batch, input, output, kernel, stride, pad, dilation, groups }
    }

    /// The definition.
    fn naive(conv: &Conv, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f64> {
        let ([c, h, w], [out, oh, ow]) = (conv.input, conv.output);
        let ([kh, kw], [top, left, ..]) = (conv.kernel, conv.pad);
        let (channels, filters) = (c / conv.groups, out / conv.groups);
        let mut y = Vec::new();
        for (n, o) in (0..conv.batch).flat_map(|n| (0..out).map(move |o| (n, o))) {
            for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
                let mut sum = bias.map_or(0.0, |bias| f64::from(bias[o]));
                for i in 0..channels {
                    let channel = o / filters * channels + i;
                    for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                        let iy = (oy * conv.stride[0] + ky * conv.dilation[0]).wrapping_sub(top);
                        let ix = (ox * conv.stride[1] + kx * conv.dilation[1]).wrapping_sub(left);
                        if iy < h && ix < w {
                            let x = x[((n * c + channel) * h + iy) * w + ix];
                            let weight = weight[((o * channels + i) * kh + ky) * kw + kx];
                            sum += f64::from(x) * f64::from(weight);
                        }
                    }
                }
                y.push(sum);
            }
        }
        y
    }

    #[test]
    fn forward_is_the_definition() {
        for case in CASES {
            let conv = conv(case);
            let [xs, ws, ys] = conv.lens();
            let (x, weight, bias) = (numbers(xs, 1), numbers(ws, 2), numbers(conv.output[0], 3));
            for (bias, relu) in [(None, false), (Some(&bias[..]), false), (Some(&bias[..]), true)] {
                let y = on_any_threads(|threads| {
                    let mut scratch = vec![f32::NAN; scratch(&conv, threads.count())];
                    let mut y = vec![f32::NAN; ys];
                    forward(threads, &conv, &x, &weight, bias, relu, &mut y, &mut scratch);
                    y
                });
                let mut expected = naive(&conv, &x, &weight, bias);
                if relu {
                    expected.iter_mut().for_each(|y| *y = y.max(0.0));
                }
                println!("{}", case.0);
                close(&y, &expected, 2e-5);
            }
        }
    }

    /// `⟨conv(x), dy⟩ = ⟨x, dgrad(dy)⟩ = ⟨weight, wgrad(x, dy)⟩` for the gradients of a bilinear
    /// function; one-hot vectors make every element of them count.
    #[test]
    fn gradients_are_adjoint() {
        for case in CASES {
            println!("{}", case.0);
            let conv = conv(case);
            let [xs, ws, ys] = conv.lens();
            let (x, weight, dy) = (numbers(xs, 1), numbers(ws, 2), numbers(ys, 3));
            let dx = on_any_threads(|threads| {
                let mut scratch = vec![f32::NAN; scratch(&conv, threads.count())];
                let mut dx = vec![f32::NAN; xs];
                dgrad(threads, &conv, &dy, &weight, &mut dx, &mut scratch);
                dx
            });
            let dweight = on_any_threads(|threads| {
                let mut scratch = vec![f32::NAN; scratch(&conv, threads.count())];
                let mut dweight = vec![f32::NAN; ws];
                wgrad(threads, &conv, &x, &dy, &mut dweight, &mut scratch);
                dweight
            });
            let product = |x: &[f32], weight: &[f32]| {
                let y = naive(&conv, x, weight, None);
                y.iter().zip(&dy).map(|(y, &dy)| y * f64::from(dy)).sum::<f64>()
            };
            let whole = product(&x, &weight);
            let size = 1.0 + whole.abs();
            assert!((inner(&x, &dx) - whole).abs() < 1e-3 * size, "{}: dgrad", case.0);
            assert!((inner(&weight, &dweight) - whole).abs() < 1e-3 * size, "{}: wgrad", case.0);
            let one_hot = |len: usize, at: usize| {
                let mut one = vec![0.0; len];
                one[at] = 1.0;
                one
            };
            for at in (0..xs).step_by(xs / 16 + 1) {
                close(&dx[at..=at], &[product(&one_hot(xs, at), &weight)], 1e-4);
            }
            for at in (0..ws).step_by(ws / 16 + 1) {
                close(&dweight[at..=at], &[product(&x, &one_hot(ws, at))], 1e-4);
            }
        }
    }

    #[test]
    fn bias_gradient_is_the_sum() {
        for [batch, channels, area] in [[1, 1, 1], [3, 5, 7], [2, 70, 1100], [64, 10, 1]] {
            let dy = numbers(batch * channels * area, 4);
            let dbias = on_any_threads(|threads| {
                let mut dbias = vec![f32::NAN; channels];
                bias_grad(threads, batch, channels, area, &dy, &mut dbias);
                dbias
            });
            let mut expected = vec![0.0; channels];
            for (i, dy) in wide(&dy).into_iter().enumerate() {
                expected[i / area % channels] += dy;
            }
            close(&dbias, &expected, 1e-5);
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let case = ("", 1, [1, 3, 3], 1, [1, 1], [1, 1], [0; 4], [1, 1], 1);
        let (conv, threads) = (conv(&case), Threads::new(1));
        let mut scratch = vec![0.0; scratch(&conv, 1)];
        let (mut x, mut y) = ([1.0; 9], [0.0; 9]);
        x[4] = f32::INFINITY;
        forward(&threads, &conv, &x, &[0.0], None, true, &mut y, &mut scratch);
        assert!(y[4].is_nan() && y[3] == 0.0, "0·∞ is not a number, with ReLU as without");
    }
}
