//! Local response normalisation across channels:
//! `y = x · s^−beta`, `s = k + alpha · Σ x²` over the `size` channels around.
//!
//! Krizhevsky, Sutskever, Hinton 2012, §3.3. An even window reaches one channel further down, as
//! in PyTorch.

use crate::threads::{Grid, Threads};
use std::ops::Range;

/// What the formula leaves open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Channels of the window.
    pub size: usize,
    /// Factor of the sum. (Caffe and PyTorch divide theirs by `size` first.)
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Added to the sum.
    pub k: f32,
}

/// Pixels of a part of the work.
const PIXELS: usize = 128;

/// `y` of `x`, both `batch×channels×area`.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn forward(threads: &Threads, lrn: &Lrn, sizes: [usize; 3], x: &[f32], y: &mut [f32]) {
    let [_, channels, area] = sizes;
    assert_eq!([x.len(), y.len()], [sizes.iter().product(); 2], "lengths of x, y");
    threads.blocks(y, grid(sizes), &mut [0.0; 0], |corner, mut y, _| {
        let x = &x[corner.matrix * channels * area + corner.column..];
        let mut sums = [0.0; PIXELS];
        for channel in 0..channels {
            let y = y.row(channel);
            let sums = &mut sums[..y.len()];
            lrn.sums(channels, channel, sums, |c| &x[c * area..]);
            for ((y, s), x) in y.iter_mut().zip(sums).zip(&x[channel * area..]) {
                *y = x * lrn.power(*s);
            }
        }
    });
}

/// `dx`, overwritten: `dy·s^−beta − 2·alpha·beta·x · Σ dy·x·s^(−beta−1)`, the sum over the channels
/// that have this one in their window. `scratch` is at least [`scratch`] long.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn backward(
    threads: &Threads,
    lrn: &Lrn,
    sizes: [usize; 3],
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let [_, channels, area] = sizes;
    assert_eq!([x.len(), dy.len(), dx.len()], [sizes.iter().product(); 3], "lengths of x, dy, dx");
    let scratch = &mut scratch[..channels * PIXELS * threads.count()];
    threads.blocks(dx, grid(sizes), scratch, |corner, mut dx, terms| {
        let start = corner.matrix * channels * area + corner.column;
        let (x, dy) = (&x[start..], &dy[start..]);
        let mut sums = [0.0; PIXELS];
        for (channel, terms) in terms.chunks_exact_mut(PIXELS).enumerate() {
            let dx = dx.row(channel);
            let sums = &mut sums[..dx.len()];
            lrn.sums(channels, channel, sums, |c| &x[c * area..]);
            let (x, dy) = (&x[channel * area..], &dy[channel * area..]);
            for (i, (dx, &s)) in dx.iter_mut().zip(&*sums).enumerate() {
                *dx = dy[i] * lrn.power(s);
                terms[i] = *dx * x[i] / s;
            }
        }
        for channel in 0..channels {
            let dx = dx.row(channel);
            let sums = &mut sums[..dx.len()];
            sums.fill(0.0);
            for other in lrn.seen_from(channels, channel) {
                let terms = &terms[other * PIXELS..];
                sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            }
            let factor = 2.0 * lrn.alpha * lrn.beta;
            for ((dx, sum), x) in dx.iter_mut().zip(sums).zip(&x[channel * area..]) {
                *dx -= factor * x * *sum;
            }
        }
    });
}

/// Length of the scratch that [`backward`] needs on a pool of `threads`.
pub fn scratch(channels: usize, threads: usize) -> usize {
    channels * PIXELS * threads
}

fn grid([batch, channels, area]: [usize; 3]) -> Grid {
    Grid { matrices: batch, rows: channels, columns: area, height: channels.max(1), width: PIXELS }
}

impl Lrn {
    /// The window of a channel.
    fn window(&self, channels: usize, channel: usize) -> Range<usize> {
        let before = self.size / 2;
        channel.saturating_sub(before)..(channel + self.size - before).min(channels)
    }

    /// The channels that have this one in their window.
    fn seen_from(&self, channels: usize, channel: usize) -> Range<usize> {
        let before = self.size / 2;
        (channel + before + 1).saturating_sub(self.size)..(channel + before + 1).min(channels)
    }

    /// `s` of some pixels of a channel.
    #[inline(always)]
    fn sums<'a>(
        &self,
        channels: usize,
        channel: usize,
        sums: &mut [f32],
        x: impl Fn(usize) -> &'a [f32],
    ) {
        sums.fill(0.0);
        for other in self.window(channels, channel) {
            sums.iter_mut().zip(x(other)).for_each(|(sum, x)| *sum += x * x);
        }
        sums.iter_mut().for_each(|sum| *sum = self.k + self.alpha * *sum);
    }

    /// `s^−beta`. All published networks have ¾, which two square roots give at a tenth of the
    /// price.
    #[inline(always)]
    pub(crate) fn power(&self, s: f32) -> f32 {
        if self.beta == 0.75 {
            let root = s.sqrt();
            1.0 / (root * root.sqrt())
        } else {
            s.powf(-self.beta)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{close, differences, numbers, on_any_threads, wide};

    fn naive(lrn: &Lrn, [_, channels, area]: [usize; 3], x: &[f64]) -> Vec<f64> {
        let value = |(i, value): (usize, &f64)| {
            let channel = (i / area % channels) as isize;
            let first = channel - (lrn.size / 2) as isize;
            let sum: f64 = (first..first + lrn.size as isize)
                .filter(|c| (0..channels as isize).contains(c))
                .map(|c| x[(i as isize + (c - channel) * area as isize) as usize].powi(2))
                .sum();
            value * (f64::from(lrn.k) + f64::from(lrn.alpha) * sum).powf(-f64::from(lrn.beta))
        };
        x.iter().enumerate().map(value).collect()
    }

    #[test]
    fn forward_and_backward() {
        let cases =
            [(5, 0.5, 0.75, 2.0), (3, 0.1, 0.6, 1.0), (4, 1.0, 0.75, 1.5), (1, 2.0, 1.0, 1.0)];
        for (size, alpha, beta, k) in cases {
            let lrn = Lrn { size, alpha, beta, k };
            for sizes in [[1, 1, 1], [2, 7, 5], [1, 3, 6], [2, 9, 300]] {
                let len = sizes.iter().product();
                let (x, dy) = (numbers(len, 1), numbers(len, 2));
                let y = on_any_threads(|threads| {
                    let mut y = vec![f32::NAN; len];
                    forward(threads, &lrn, sizes, &x, &mut y);
                    y
                });
                close(&y, &naive(&lrn, sizes, &wide(&x)), 1e-6);
                let dx = on_any_threads(|threads| {
                    let mut dx = vec![f32::NAN; len];
                    let mut scratch = vec![f32::NAN; scratch(sizes[1], threads.count())];
                    backward(threads, &lrn, sizes, &x, &dy, &mut dx, &mut scratch);
                    dx
                });
                if len < 1000 {
                    close(&dx, &differences(&x, &dy, |x| naive(&lrn, sizes, x)), 1e-5);
                }
            }
        }
    }
}
