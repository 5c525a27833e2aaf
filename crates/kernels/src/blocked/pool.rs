//! Pooling, a lane for each channel: the largest or the mean of every window, and LeNet-5's trained
//! subsampling.

use std::ops::Range;

use super::simd::{Isa, Kernel, Simd};
use super::{Destination, LANES, Pixel, blocks};
use crate::pool::{Window, visit_adaptive};
use crate::threads::Threads;

/// The largest value of every window, padding that counts among them; not a number if one of them is
/// not.
///
/// # Panics
/// If a value has another length than the geometry says.
pub fn max(isa: Isa, threads: &Threads, window: &Window, x: &[Pixel], y: Destination<'_>) {
    each_part(threads, window, x, y, |_, rows, x, y| {
        isa.run(Windows {
            window,
            rows,
            x,
            y,
            start: f32::NEG_INFINITY,
            join: larger,
            finish: |m, _| m,
        });
    });
}

/// The mean of every window.
///
/// # Panics
/// If a value has another length than the geometry says.
pub fn average(isa: Isa, threads: &Threads, window: &Window, x: &[Pixel], y: Destination<'_>) {
    each_part(threads, window, x, y, |_, rows, x, y| {
        let finish = |sum: [f32; LANES], count: usize| sum.map(|sum| sum / count as f32);
        isa.run(Windows { window, rows, x, y, start: 0.0, join: |a, b| a + b, finish });
    });
}

/// `y` = sum of the window · `weight` + `bias`, one of each a channel; both are zero in the lanes
/// that are no channel.
///
/// # Panics
/// If a value has another length than the geometry says.
///
/// # Source
/// LeCun et al. 1998, §II.B, layers S2 and S4.
pub fn subsample(
    isa: Isa,
    threads: &Threads,
    window: &Window,
    x: &[Pixel],
    weight: &[Pixel],
    bias: &[Pixel],
    y: Destination<'_>,
) {
    let own = blocks(window.input[0]);
    assert_eq!([weight.len(), bias.len()], [own; 2], "lengths of weight, bias");
    each_part(threads, window, x, y, |plane, rows, x, y| {
        let (weight, bias) = (&weight[plane % own].0, &bias[plane % own].0);
        let finish = |sum: [f32; LANES], _| std::array::from_fn(|i| sum[i] * weight[i] + bias[i]);
        isa.run(Windows { window, rows, x, y, start: 0.0, join: |a, b| a + b, finish });
    });
}

/// The means of `to` windows that cover a map `from`, `[C, H, W]`, from `⌊i·H/H'⌋` to
/// `⌈(i+1)·H/H'⌉`.
///
/// # Panics
/// If a value has another length than the sizes say.
///
/// # Source
/// PyTorch's `AdaptiveAvgPool2d`.
pub fn adaptive_average(
    isa: Isa,
    threads: &Threads,
    pictures: usize,
    from: [usize; 3],
    to: [usize; 2],
    x: &[Pixel],
    y: Destination<'_>,
) {
    let [channels, height, width] = from;
    let (own, area) = (blocks(channels), height * width);
    assert_eq!(x.len(), pictures * own * area, "length of x");
    y.planes(threads, [pictures, own], |plane, y| {
        assert_eq!(y.len(), to[0] * to[1], "length of y");
        isa.run(Adaptive { from: [height, width], to, x: &x[plane * area..][..area], y });
    });
}

/// Some rows of each plane.
fn each_part(
    threads: &Threads,
    window: &Window,
    x: &[Pixel],
    y: Destination<'_>,
    job: impl Fn(usize, Range<usize>, &[Pixel], &mut [Pixel]) + Sync,
) {
    let ([channels, height, width], [_, rows, columns]) = (window.input, window.output);
    let (own, area) = (blocks(channels), height * width);
    assert_eq!(x.len(), window.batch * own * area, "length of x");
    y.rows(threads, [window.batch, own, rows], |plane, rows, y| {
        assert_eq!(y.len(), rows.len() * columns, "length of y");
        job(plane, rows, &x[plane * area..][..area], y);
    });
}

/// What is not a number wins.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// Every window of some rows of a plane: its values joined lane by lane, from `start` on or from the zeros of the
/// padding, and finished with their count.
struct Windows<'a, J, F> {
    window: &'a Window,
    rows: Range<usize>,
    x: &'a [Pixel],
    y: &'a mut [Pixel],
    start: f32,
    join: J,
    finish: F,
}

impl<J, F> Kernel for Windows<'_, J, F>
where
    J: Fn(f32, f32) -> f32,
    F: Fn([f32; LANES], usize) -> [f32; LANES],
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Windows { window, rows, x, y, start, join, finish } = self;
        let width = window.input[2];
        for (row, y) in rows.zip(y.chunks_exact_mut(window.output[2])) {
            let (rows, high) = window.clip(0, row);
            for (column, y) in y.iter_mut().enumerate() {
                let (columns, wide) = window.clip(1, column);
                let count = high * wide;
                let padded = window.pads(&rows, &columns, count);
                let mut joined = [if padded { 0.0 } else { start }; LANES];
                for row in rows.clone() {
                    for x in &x[row * width..][columns.clone()] {
                        for (joined, x) in joined.iter_mut().zip(&x.0) {
                            *joined = join(*joined, *x);
                        }
                    }
                }
                y.0 = finish(joined, count);
            }
        }
    }
}

/// Means of windows that cover the plane.
struct Adaptive<'a> {
    from: [usize; 2],
    to: [usize; 2],
    x: &'a [Pixel],
    y: &'a mut [Pixel],
}

impl Kernel for Adaptive<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Adaptive { from, to, x, y } = self;
        visit_adaptive(from, to, |at, rows, columns| {
            let count = (rows.len() * columns.len()) as f32;
            let mut sum = [0.0; LANES];
            for row in rows {
                for x in &x[row * from[1]..][columns.clone()] {
                    sum.iter_mut().zip(&x.0).for_each(|(sum, x)| *sum += x);
                }
            }
            y[at].0 = sum.map(|sum| sum / count);
        });
    }
}
