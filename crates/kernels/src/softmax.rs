//! Softmax over the channels of every pixel of every sample; arrays are `batch×channels×area`.

use crate::threads::Threads;

/// `y = exp(x) / Σ exp(x)`, the sum over the channels. A row of logits has an area of 1.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn forward(threads: &Threads, [batch, channels, area]: [usize; 3], x: &[f32], y: &mut [f32]) {
    let len = channels * area;
    assert_eq!([x.len(), y.len()], [batch * len; 2], "lengths of x, y");
    let part = part(len);
    threads.chunks(y, part, |i, y| {
        let x = &x[i * part..][..y.len()];
        for (x, y) in x.chunks_exact(len).zip(y.chunks_exact_mut(len)) {
            for pixel in 0..area {
                let logits = || x[pixel..].iter().step_by(area);
                let largest = logits().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut sum = 0.0;
                for (y, x) in y[pixel..].iter_mut().step_by(area).zip(logits()) {
                    *y = (x - largest).exp();
                    sum += f64::from(*y);
                }
                let over = (1.0 / sum) as f32;
                y[pixel..].iter_mut().step_by(area).for_each(|y| *y *= over);
            }
        }
    });
}

/// `eˣ / sum`, or its logarithm; `x` is a distance to the largest value, `sum` that of all `eˣ`.
#[inline(always)]
pub(crate) fn share(x: f32, sum: f64, log: bool) -> f32 {
    let share = if log { f64::from(x) - sum.ln() } else { f64::from(x.exp()) / sum };
    share as f32
}

/// `y = x − ln Σ exp(x)`, the sum over the channels.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn log_forward(
    threads: &Threads,
    [batch, channels, area]: [usize; 3],
    x: &[f32],
    y: &mut [f32],
) {
    let len = channels * area;
    assert_eq!([x.len(), y.len()], [batch * len; 2], "lengths of x, y");
    let part = part(len);
    threads.chunks(y, part, |i, y| {
        let x = &x[i * part..][..y.len()];
        for (x, y) in x.chunks_exact(len).zip(y.chunks_exact_mut(len)) {
            for pixel in 0..area {
                let logits = || x[pixel..].iter().step_by(area);
                let largest = logits().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = logits().map(|x| f64::from((x - largest).exp())).sum();
                let y = y[pixel..].iter_mut().step_by(area);
                y.zip(logits()).for_each(|(y, x)| *y = share(x - largest, sum, true));
            }
        }
    });
}

/// `dx = dy − exp(y) · Σ dy`, overwritten; `y` is the output of [`log_forward`].
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn log_backward(
    threads: &Threads,
    [batch, channels, area]: [usize; 3],
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    let len = channels * area;
    assert_eq!([y.len(), dy.len(), dx.len()], [batch * len; 3], "lengths of y, dy, dx");
    let part = part(len);
    threads.chunks(dx, part, |i, dx| {
        for (sample, dx) in dx.chunks_exact_mut(len).enumerate() {
            let at = i * part + sample * len;
            let (y, dy) = (&y[at..][..len], &dy[at..][..len]);
            for pixel in 0..area {
                let sum: f64 = dy[pixel..].iter().step_by(area).map(|&dy| f64::from(dy)).sum();
                let places = (pixel..len).step_by(area);
                places.for_each(|at| dx[at] = dy[at] - y[at].exp() * sum as f32);
            }
        }
    });
}

/// `dx = y · (dy − Σ dy·y)`, overwritten; `y` is the output.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn backward(
    threads: &Threads,
    [batch, channels, area]: [usize; 3],
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    let len = channels * area;
    assert_eq!([y.len(), dy.len(), dx.len()], [batch * len; 3], "lengths of y, dy, dx");
    let part = part(len);
    threads.chunks(dx, part, |i, dx| {
        for (sample, dx) in dx.chunks_exact_mut(len).enumerate() {
            let at = i * part + sample * len;
            let (y, dy) = (&y[at..][..len], &dy[at..][..len]);
            for pixel in 0..area {
                let pairs = || (pixel..len).step_by(area).map(|at| (at, y[at], dy[at]));
                let sum: f64 = pairs().map(|(_, y, dy)| f64::from(y) * f64::from(dy)).sum();
                pairs().for_each(|(at, y, dy)| dx[at] = y * (dy - sum as f32));
            }
        }
    });
}

/// Length of a part of the work: some whole samples.
fn part(sample: usize) -> usize {
    ((1 << 11) / sample.max(1)).max(1) * sample.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{close, differences, numbers, on_any_threads, wide};

    fn naive([batch, channels, area]: [usize; 3], x: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; x.len()];
        for (n, pixel) in (0..batch).flat_map(|n| (0..area).map(move |pixel| (n, pixel))) {
            let at = |c: usize| (n * channels + c) * area + pixel;
            let sum: f64 = (0..channels).map(|c| x[at(c)].exp()).sum();
            (0..channels).for_each(|c| y[at(c)] = x[at(c)].exp() / sum);
        }
        y
    }

    #[test]
    fn forward_and_backward() {
        for sizes in [[1, 1, 1], [3, 10, 1], [2, 5, 7], [0, 3, 1], [70, 100, 1]] {
            let len = sizes.iter().product();
            let (x, dy) = (numbers(len, 1), numbers(len, 2));
            let y = on_any_threads(|threads| {
                let mut y = vec![f32::NAN; len];
                forward(threads, sizes, &x, &mut y);
                y
            });
            close(&y, &naive(sizes, &wide(&x)), 1e-6);
            let dx = on_any_threads(|threads| {
                let mut dx = vec![f32::NAN; len];
                backward(threads, sizes, &y, &dy, &mut dx);
                dx
            });
            if len < 100 {
                close(&dx, &differences(&x, &dy, |x| naive(sizes, x)), 1e-6);
            }
            let logarithms =
                |x: &[f64]| naive(sizes, x).into_iter().map(f64::ln).collect::<Vec<_>>();
            let y = on_any_threads(|threads| {
                let mut y = vec![f32::NAN; len];
                log_forward(threads, sizes, &x, &mut y);
                y
            });
            close(&y, &logarithms(&wide(&x)), 1e-6);
            let dx = on_any_threads(|threads| {
                let mut dx = vec![f32::NAN; len];
                log_backward(threads, sizes, &y, &dy, &mut dx);
                dx
            });
            if len < 100 {
                close(&dx, &differences(&x, &dy, logarithms), 1e-6);
            }
        }
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let mut y = [0.0; 3];
        forward(&Threads::new(1), [1, 3, 1], &[1e4, 1e4, -1e4], &mut y);
        assert_eq!(y, [0.5, 0.5, 0.0]);
        forward(&Threads::new(1), [1, 3, 1], &[1.0, f32::NAN, 0.0], &mut y);
        assert!(y.iter().all(|y| y.is_nan()));
    }
}
