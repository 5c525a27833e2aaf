//! Pooling: the largest or the mean of every window, and LeNet-5's trained subsampling.

use crate::sum::sum;
use crate::threads::Threads;
use std::ops::Range;

/// Geometry of the pooling of a batch, channel by channel.
///
/// The input is `batch×C×H×W`, the output `batch×C×H'×W'`. Windows are clipped to the picture; that
/// a network rounds its sizes up is seen in the output alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Pictures.
    pub batch: usize,
    /// `[C, H, W]`.
    pub input: [usize; 3],
    /// `[C, H', W']`.
    pub output: [usize; 3],
    /// `[kh, kw]`.
    pub kernel: [usize; 2],
    /// Step of the window, `[down, right]`.
    pub stride: [usize; 2],
    /// `[top, left, bottom, right]`.
    pub pad: [usize; 4],
    /// Whether the padding counts, as zeros, in a mean or as the largest. What lies beyond the
    /// padding never counts.
    pub count_include_pad: bool,
}

/// The largest value of every window; not a number if one of them is not.
///
/// # Panics
/// If a slice has another length than the geometry says.
pub fn max_forward(threads: &Threads, window: &Window, x: &[f32], y: &mut [f32]) {
    window.check(x, y);
    window.planes(threads, y, window.outputs(), |plane, y| {
        let x = window.plane(x, plane);
        window.visit(|at, rows, columns, count| y[at] = window.largest(x, rows, columns, count).0);
    });
}

/// `dx`, overwritten: each `dy` goes to the first of the largest values of its window, unless that
/// is of the padding.
///
/// # Panics
/// If a slice has another length than the geometry says.
pub fn max_backward(
    threads: &Threads,
    window: &Window,
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    window.check(x, y);
    window.check(dx, dy);
    window.planes(threads, dx, window.inputs(), |plane, dx| {
        let x = window.plane(x, plane);
        let dy = &dy[plane * window.outputs()..];
        dx.fill(0.0);
        window.visit(|at, rows, columns, count| {
            if let (_, Some(largest)) = window.largest(x, rows, columns, count) {
                dx[largest] += dy[at];
            }
        });
    });
}

/// The mean of every window.
///
/// # Panics
/// If a slice has another length than the geometry says.
///
/// # Source
/// The divisor is that of PyTorch's `AvgPool2d`.
pub fn average_forward(threads: &Threads, window: &Window, x: &[f32], y: &mut [f32]) {
    window.check(x, y);
    window.planes(threads, y, window.outputs(), |plane, y| {
        let x = window.plane(x, plane);
        window.visit(|at, rows, columns, count| {
            y[at] = window.total(x, rows, columns) / count as f32;
        });
    });
}

/// `dx`, overwritten: each `dy` goes in equal shares to the values of its window.
///
/// # Panics
/// If a slice has another length than the geometry says.
pub fn average_backward(threads: &Threads, window: &Window, dy: &[f32], dx: &mut [f32]) {
    window.check(dx, dy);
    window.planes(threads, dx, window.inputs(), |plane, dx| {
        let dy = &dy[plane * window.outputs()..];
        dx.fill(0.0);
        window.visit(|at, rows, columns, count| {
            window.spread(dy[at] / count as f32, rows, columns, dx);
        });
    });
}

/// The means of `output` windows that cover the picture, from `⌊i·H/H'⌋` to `⌈(i+1)·H/H'⌉`.
/// `x` is `planes×H×W` and `y` `planes×H'×W'`.
///
/// # Panics
/// If a slice has another length than the sizes say.
///
/// # Source
/// PyTorch's `AdaptiveAvgPool2d`.
pub fn adaptive_average_forward(
    threads: &Threads,
    planes: usize,
    input: [usize; 2],
    output: [usize; 2],
    x: &[f32],
    y: &mut [f32],
) {
    let [inputs, outputs] = [input, output].map(|[h, w]| h * w);
    assert_eq!([x.len(), y.len()], [planes * inputs, planes * outputs], "lengths of x, y");
    each_plane(threads, y, outputs, inputs, |plane, y| {
        let x = &x[plane * inputs..][..inputs];
        visit_adaptive(input, output, |at, rows, columns| {
            let count = rows.len() * columns.len();
            let lines = rows.map(|row| sum(&x[row * input[1]..][columns.clone()], f64::from));
            y[at] = (lines.sum::<f64>() / count as f64) as f32;
        });
    });
}

/// `dx`, overwritten: each `dy` goes in equal shares to the values of its window.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn adaptive_average_backward(
    threads: &Threads,
    planes: usize,
    input: [usize; 2],
    output: [usize; 2],
    dy: &[f32],
    dx: &mut [f32],
) {
    let [inputs, outputs] = [input, output].map(|[h, w]| h * w);
    assert_eq!([dx.len(), dy.len()], [planes * inputs, planes * outputs], "lengths of dx, dy");
    each_plane(threads, dx, inputs, inputs, |plane, dx| {
        let dy = &dy[plane * outputs..];
        dx.fill(0.0);
        visit_adaptive(input, output, |at, rows, columns| {
            let share = dy[at] / (rows.len() * columns.len()) as f32;
            for row in rows {
                let line = &mut dx[row * input[1]..][columns.clone()];
                line.iter_mut().for_each(|dx| *dx += share);
            }
        });
    });
}

/// `y` = sum of the window · `weight` + `bias`, one of each a channel.
///
/// # Panics
/// If a slice has another length than the geometry says.
///
/// # Source
/// LeCun et al. 1998, §II.B, layers S2 and S4.
pub fn subsample_forward(
    threads: &Threads,
    window: &Window,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
) {
    window.check(x, y);
    let channels = window.input[0];
    assert_eq!([weight.len(), bias.len()], [channels; 2], "lengths of weight, bias");
    window.planes(threads, y, window.outputs(), |plane, y| {
        let x = window.plane(x, plane);
        let (weight, bias) = (weight[plane % channels], bias[plane % channels]);
        window.visit(|at, rows, columns, _| {
            y[at] = window.total(x, rows, columns) * weight + bias;
        });
    });
}

/// The gradients of [`subsample_forward`], all overwritten: `dx`, and `dweight` and `dbias`, one
/// value a channel.
///
/// # Panics
/// If a slice has another length than the geometry says.
pub fn subsample_backward(
    threads: &Threads,
    window: &Window,
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    window.check(x, dy);
    window.check(dx, dy);
    let (channels, outputs) = (window.input[0], window.outputs());
    let lens = [weight.len(), dweight.len(), dbias.len()];
    assert_eq!(lens, [channels; 3], "lengths of weight, dweight, dbias");
    window.planes(threads, dx, window.inputs(), |plane, dx| {
        let (weight, dy) = (weight[plane % channels], &dy[plane * outputs..]);
        dx.fill(0.0);
        window.visit(|at, rows, columns, _| window.spread(dy[at] * weight, rows, columns, dx));
    });
    threads.chunks_of_two((dweight, 1), (dbias, 1), |channel, dweight, dbias| {
        let (mut at_weight, mut at_bias) = (0.0, 0.0);
        for plane in (0..window.batch).map(|sample| sample * channels + channel) {
            let (x, dy) = (window.plane(x, plane), &dy[plane * outputs..][..outputs]);
            at_bias += sum(dy, f64::from);
            window.visit(|at, rows, columns, _| {
                at_weight += f64::from(dy[at]) * f64::from(window.total(x, rows, columns));
            });
        }
        (dweight[0], dbias[0]) = (at_weight as f32, at_bias as f32);
    });
}

impl Window {
    /// Pixels of a map of the input.
    fn inputs(&self) -> usize {
        self.input[1] * self.input[2]
    }

    /// Pixels of a map of the output.
    fn outputs(&self) -> usize {
        self.output[1] * self.output[2]
    }

    fn check(&self, x: &[f32], y: &[f32]) {
        assert_eq!(self.input[0], self.output[0], "pooling keeps the channels");
        let planes = self.batch * self.input[0];
        let lens = [planes * self.inputs(), planes * self.outputs()];
        assert_eq!([x.len(), y.len()], lens, "lengths of input, output");
    }

    fn plane<'a>(&self, x: &'a [f32], plane: usize) -> &'a [f32] {
        &x[plane * self.inputs()..][..self.inputs()]
    }

    fn planes(
        &self,
        threads: &Threads,
        out: &mut [f32],
        len: usize,
        job: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        each_plane(threads, out, len, self.outputs() * self.kernel[0] * self.kernel[1], job);
    }

    /// Calls `see(at, rows, columns, count)` for the window of every output pixel: its part of the
    /// picture, and what a mean divides by.
    #[inline(always)]
    fn visit(&self, mut see: impl FnMut(usize, Range<usize>, Range<usize>, usize)) {
        for oy in 0..self.output[1] {
            let (rows, height) = self.clip(0, oy);
            for ox in 0..self.output[2] {
                let (columns, width) = self.clip(1, ox);
                see(oy * self.output[2] + ox, rows.clone(), columns, height * width);
            }
        }
    }

    /// The window `at` along an axis, and the length that a mean counts.
    #[inline(always)]
    pub(crate) fn clip(&self, axis: usize, at: usize) -> (Range<usize>, usize) {
        let (size, before, after) = (self.input[axis + 1], self.pad[axis], self.pad[axis + 2]);
        // Counted from the rim of the padding.
        let start = at * self.stride[axis];
        let end = (start + self.kernel[axis]).min(before + size + after);
        let clipped = start.max(before) - before..end.clamp(before, before + size) - before;
        let count = if self.count_include_pad { end - start } else { clipped.len() };
        (clipped, count)
    }

    /// Whether a window that counts so many has padding among them.
    #[inline(always)]
    pub(crate) fn pads(&self, rows: &Range<usize>, columns: &Range<usize>, count: usize) -> bool {
        self.count_include_pad && count > rows.len() * columns.len()
    }

    /// The largest value of a window that counts so many, and where it is in the picture.
    #[inline(always)]
    fn largest(
        &self,
        x: &[f32],
        rows: Range<usize>,
        columns: Range<usize>,
        count: usize,
    ) -> (f32, Option<usize>) {
        let first = rows.start * self.input[2] + columns.start;
        let mut largest = match self.pads(&rows, &columns, count) {
            true => (0.0, None),
            false => (f32::NEG_INFINITY, Some(first)),
        };
        for row in rows {
            let start = row * self.input[2] + columns.start;
            for (at, &x) in (start..).zip(&x[start..start + columns.len()]) {
                if x > largest.0 || x.is_nan() {
                    largest = (x, Some(at));
                }
            }
        }
        largest
    }

    /// The sum of a window.
    #[inline(always)]
    fn total(&self, x: &[f32], rows: Range<usize>, columns: Range<usize>) -> f32 {
        let lines = rows.map(|row| &x[row * self.input[2]..][columns.clone()]);
        lines.fold(0.0, |sum, line| line.iter().fold(sum, |sum, x| sum + x))
    }

    /// Adds `value` to all of a window.
    #[inline(always)]
    fn spread(&self, value: f32, rows: Range<usize>, columns: Range<usize>, dx: &mut [f32]) {
        for row in rows {
            let line = &mut dx[row * self.input[2]..][columns.clone()];
            line.iter_mut().for_each(|dx| *dx += value);
        }
    }
}

/// Runs `job` for every plane, `len` values of `out`, which takes about `work` additions.
fn each_plane(
    threads: &Threads,
    out: &mut [f32],
    len: usize,
    work: usize,
    job: impl Fn(usize, &mut [f32]) + Sync,
) {
    let planes = ((1 << 13) / work.max(1)).max(1);
    threads.chunks(out, (planes * len).max(1), |part, out| {
        let planes = part * planes..;
        planes.zip(out.chunks_exact_mut(len)).for_each(|(plane, out)| job(plane, out));
    });
}

/// Calls `see(at, rows, columns)` for the window of every output pixel.
pub(crate) fn visit_adaptive(
    input: [usize; 2],
    output: [usize; 2],
    mut see: impl FnMut(usize, Range<usize>, Range<usize>),
) {
    let window = |axis: usize, at: usize| {
        at * input[axis] / output[axis]..((at + 1) * input[axis]).div_ceil(output[axis])
    };
    for oy in 0..output[0] {
        for ox in 0..output[1] {
            see(oy * output[1] + ox, window(0, oy), window(1, ox));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{close, differences, numbers, on_any_threads, wide};

    const fn case(
        batch: usize,
        input: [usize; 3],
        output: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 4],
    ) -> Window {
        let output = [input[0], output[0], output[1]];
        Window { batch, input, output, kernel, stride, pad, count_include_pad: true }
    }

    #[rustfmt::skip]
    const CASES: &[Window] = &[
        case(1, [1, 1, 1],   [1, 1], [1, 1], [1, 1], [0, 0, 0, 0]),
        case(2, [3, 6, 8],   [3, 4], [2, 2], [2, 2], [0, 0, 0, 0]),
        case(1, [2, 7, 7],   [3, 3], [3, 3], [2, 2], [0, 0, 0, 0]),
        case(1, [2, 8, 8],   [4, 4], [3, 3], [2, 2], [0, 0, 0, 0]),    // rounded up
        case(2, [2, 8, 9],   [4, 5], [3, 3], [2, 2], [1, 1, 1, 1]),
        case(1, [1, 5, 5],   [5, 5], [3, 3], [1, 1], [1, 1, 1, 1]),
        case(1, [2, 6, 7],   [3, 7], [3, 3], [2, 1], [0, 2, 1, 0]),    // uneven
        case(1, [1, 6, 6],   [4, 4], [3, 3], [2, 2], [1, 1, 1, 1]),    // rounded up over padding
        case(9, [6, 12, 12], [6, 6], [2, 2], [2, 2], [0, 0, 0, 0]),
    ];

    /// Values of the window of each output, in f64, with `None` for padding.
    fn windows(window: &Window, x: &[f64]) -> Vec<Vec<Option<f64>>> {
        let ([c, h, w], [_, oh, ow]) = (window.input, window.output);
        let [top, left, bottom, right] = window.pad;
        let mut all = Vec::new();
        for plane in 0..window.batch * c {
            for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
                let mut values = Vec::new();
                for ky in 0..window.kernel[0] {
                    for kx in 0..window.kernel[1] {
                        let iy = oy * window.stride[0] + ky;
                        let ix = ox * window.stride[1] + kx;
                        let inside = (top..top + h).contains(&iy) && (left..left + w).contains(&ix);
                        if inside {
                            values.push(Some(x[(plane * h + iy - top) * w + ix - left]));
                        } else if iy < top + h + bottom && ix < left + w + right {
                            values.push(None);
                        }
                    }
                }
                all.push(values);
            }
        }
        all
    }

    fn lens(window: &Window) -> [usize; 2] {
        let planes = window.batch * window.input[0];
        [planes * window.inputs(), planes * window.outputs()]
    }

    #[test]
    fn max_and_its_gradient() {
        let both = |case: &Window| {
            [true, false].map(|count_include_pad| Window { count_include_pad, ..*case })
        };
        for window in &CASES.iter().flat_map(both).collect::<Vec<_>>() {
            let [xs, ys] = lens(window);
            let (x, dy) = (numbers(xs, 1), numbers(ys, 2));
            let padding = window.count_include_pad.then_some(0.0);
            let naive = |x: &[f64]| -> Vec<f64> {
                let largest = |w: Vec<Option<f64>>| {
                    w.into_iter().filter_map(|v| v.or(padding)).fold(f64::MIN, f64::max)
                };
                windows(window, x).into_iter().map(largest).collect()
            };
            let y = on_any_threads(|threads| {
                let mut y = vec![f32::NAN; ys];
                max_forward(threads, window, &x, &mut y);
                y
            });
            close(&y, &naive(&wide(&x)), 0.0);
            let dx = on_any_threads(|threads| {
                let mut dx = vec![f32::NAN; xs];
                max_backward(threads, window, &x, &y, &dy, &mut dx);
                dx
            });
            if xs < 1000 {
                close(&dx, &differences(&x, &dy, naive), 1e-6);
            }
        }
    }

    #[test]
    fn the_first_maximum_wins_and_what_is_not_a_number_shows() {
        let window = case(1, [1, 2, 4], [1, 2], [2, 2], [2, 2], [0; 4]);
        let threads = Threads::new(1);
        let x = [1.0, 2.0, 9.0, f32::NAN, 2.0, 2.0, 9.0, 9.0];
        let (mut y, mut dx) = ([0.0; 2], [0.0; 8]);
        max_forward(&threads, &window, &x, &mut y);
        assert!(y[0] == 2.0 && y[1].is_nan());
        max_backward(&threads, &window, &x, &y, &[5.0, 7.0], &mut dx);
        assert_eq!(dx, [0.0, 5.0, 0.0, 7.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn average_and_its_gradient() {
        for &case in CASES {
            for count_include_pad in [true, false] {
                let window = &Window { count_include_pad, ..case };
                let [xs, ys] = lens(window);
                let (x, dy) = (numbers(xs, 1), numbers(ys, 2));
                let mean = |w: Vec<Option<f64>>| {
                    let count = w.iter().filter(|v| count_include_pad || v.is_some()).count();
                    w.iter().flatten().sum::<f64>() / count as f64
                };
                let naive =
                    |x: &[f64]| -> Vec<f64> { windows(window, x).into_iter().map(mean).collect() };
                let y = on_any_threads(|threads| {
                    let mut y = vec![f32::NAN; ys];
                    average_forward(threads, window, &x, &mut y);
                    y
                });
                close(&y, &naive(&wide(&x)), 1e-6);
                let dx = on_any_threads(|threads| {
                    let mut dx = vec![f32::NAN; xs];
                    average_backward(threads, window, &dy, &mut dx);
                    dx
                });
                if xs < 1000 {
                    close(&dx, &differences(&x, &dy, naive), 1e-6);
                }
            }
        }
    }

    #[test]
    fn subsampling_and_its_gradients() {
        for window in CASES {
            let ([xs, ys], channels) = (lens(window), window.input[0]);
            let (x, dy) = (numbers(xs, 1), numbers(ys, 2));
            let (weight, bias) = (numbers(channels, 3), numbers(channels, 4));
            let naive = |x: &[f64], weight: &[f64], bias: &[f64]| -> Vec<f64> {
                let value = |(at, w): (usize, Vec<Option<f64>>)| {
                    let channel = at / window.outputs() % channels;
                    w.iter().flatten().sum::<f64>() * weight[channel] + bias[channel]
                };
                windows(window, x).into_iter().enumerate().map(value).collect()
            };
            let y = on_any_threads(|threads| {
                let mut y = vec![f32::NAN; ys];
                subsample_forward(threads, window, &x, &weight, &bias, &mut y);
                y
            });
            let (xw, ww, bw) = (wide(&x), wide(&weight), wide(&bias));
            close(&y, &naive(&xw, &ww, &bw), 1e-6);
            let gradients = on_any_threads(|threads| {
                let mut all = vec![f32::NAN; xs + 2 * channels];
                let (dx, rest) = all.split_at_mut(xs);
                let (dw, db) = rest.split_at_mut(channels);
                subsample_backward(threads, window, &x, &weight, &dy, dx, dw, db);
                all
            });
            let (dx, rest) = gradients.split_at(xs);
            let (dw, db) = rest.split_at(channels);
            close(dw, &differences(&weight, &dy, |w| naive(&xw, w, &bw)), 1e-5);
            close(db, &differences(&bias, &dy, |b| naive(&xw, &ww, b)), 1e-5);
            if xs < 1000 {
                close(dx, &differences(&x, &dy, |x| naive(x, &ww, &bw)), 1e-6);
            }
        }
    }

    #[test]
    fn adaptive_average_and_its_gradient() {
        for (planes, input, output) in [
            (1, [1, 1], [1, 1]),
            (3, [7, 7], [1, 1]),
            (2, [13, 13], [6, 6]),
            (2, [5, 9], [2, 4]),
            (1, [2, 3], [4, 7]),
        ] {
            let [xs, ys] = [input, output].map(|[h, w]| planes * h * w);
            let (x, dy) = (numbers(xs, 1), numbers(ys, 2));
            let naive = |x: &[f64]| -> Vec<f64> {
                let value = |at: usize| {
                    let [h, w] = input;
                    let (plane, oy) = (at / (output[0] * output[1]), at / output[1] % output[0]);
                    let ox = at % output[1];
                    let (mut sum, mut count) = (0.0, 0.0);
                    for i in 0..h * w {
                        let (row, column) = (i / w, i % w);
                        // Pixel [i, i+1) and window [o, o+1) overlap on the common scale.
                        let rows = row * output[0] < (oy + 1) * h && (row + 1) * output[0] > oy * h;
                        let columns =
                            column * output[1] < (ox + 1) * w && (column + 1) * output[1] > ox * w;
                        if rows && columns {
                            sum += x[plane * h * w + i];
                            count += 1.0;
                        }
                    }
                    sum / count
                };
                (0..ys).map(value).collect()
            };
            let y = on_any_threads(|threads| {
                let mut y = vec![f32::NAN; ys];
                adaptive_average_forward(threads, planes, input, output, &x, &mut y);
                y
            });
            close(&y, &naive(&wide(&x)), 1e-6);
            let dx = on_any_threads(|threads| {
                let mut dx = vec![f32::NAN; xs];
                adaptive_average_backward(threads, planes, input, output, &dy, &mut dx);
                dx
            });
            close(&dx, &differences(&x, &dy, naive), 1e-6);
        }
    }
}
