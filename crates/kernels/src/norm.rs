//! Batch normalisation. Arrays are `batch×channels×area`; everything else has a value a channel.
//! Sums are in f64.
//!
//! Ioffe, Szegedy 2015, "Batch normalization".

use crate::sum::{sum, sum_pairs};
use crate::threads::Threads;

/// `[batch, channels, area]`.
pub type Sizes = [usize; 3];

/// `y = (x − mean) / √(var + eps) · weight + bias` with the statistics of the batch, which it puts
/// out: `mean`, `inv_std` = 1/√(var + eps) of the biased variance, for the way back; `var`, the
/// unbiased one, for the running statistics (0 if there is but one value a channel).
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn batch_norm_train_forward(
    threads: &Threads,
    sizes: Sizes,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    y: &mut [f32],
    mean: &mut [f32],
    inv_std: &mut [f32],
    var: &mut [f32],
) {
    check(sizes, &[x, y], &[weight, bias, mean, inv_std, var]);
    let [batch, _, area] = sizes;
    let count = (batch * area) as f64;
    threads.chunks_of_two((mean, 1), (var, 1), |channel, mean, var| {
        let centre = channel_sum(sizes, channel, x, f64::from) / count;
        let square = |x| (f64::from(x) - centre) * (f64::from(x) - centre);
        let var_of_batch = channel_sum(sizes, channel, x, square) / count;
        (mean[0], var[0]) = (centre as f32, var_of_batch as f32);
    });
    for (inv_std, var) in inv_std.iter_mut().zip(var) {
        *inv_std = inverse_deviation(*var, eps);
        *var *= (count / (count - 1.0).max(1.0)) as f32;
    }
    let (mean, inv_std) = (&*mean, &*inv_std);
    planes(threads, sizes, y, |plane, channel, y| {
        let scale = weight[channel] * inv_std[channel];
        affine(&x[plane..], mean[channel], scale, bias[channel], y);
    });
}

/// The gradients of [`batch_norm_train_forward`], all overwritten; `mean` and `inv_std` are its own.
///
/// With x̂ = (x − mean)·inv_std, `dweight` = Σ dy·x̂, `dbias` = Σ dy and
/// `dx` = weight·inv_std·(dy − dbias/m − x̂·dweight/m), m the values of a channel.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn batch_norm_train_backward(
    threads: &Threads,
    sizes: Sizes,
    x: &[f32],
    dy: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    weight: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    check(sizes, &[x, dy, dx], &[mean, inv_std, weight, dweight, dbias]);
    let [batch, _, area] = sizes;
    threads.chunks_of_two((dweight, 1), (dbias, 1), |channel, dweight, dbias| {
        let centre = f64::from(mean[channel]);
        let (mut along, mut plain) = (0.0, 0.0);
        for plane in channel_planes(sizes, channel) {
            let (x, dy) = (&x[plane..][..area], &dy[plane..][..area]);
            along += sum_pairs(x, dy, |x, dy| (f64::from(x) - centre) * f64::from(dy));
            plain += sum(dy, f64::from);
        }
        dweight[0] = (along * f64::from(inv_std[channel])) as f32;
        dbias[0] = plain as f32;
    });
    let (dweight, dbias, count) = (&*dweight, &*dbias, (batch * area) as f32);
    planes(threads, sizes, dx, |plane, channel, dx| {
        let (mean, inv_std) = (mean[channel], inv_std[channel]);
        let (shift, slope) = (dbias[channel] / count, inv_std * dweight[channel] / count);
        let scale = weight[channel] * inv_std;
        for ((dx, &x), &dy) in dx.iter_mut().zip(&x[plane..]).zip(&dy[plane..]) {
            *dx = scale * (dy - shift - (x - mean) * slope);
        }
    });
}

/// `Σ term(x)` over a channel, sample by sample.
fn channel_sum(sizes: Sizes, channel: usize, x: &[f32], term: impl Fn(f32) -> f64 + Copy) -> f64 {
    channel_planes(sizes, channel).map(|plane| sum(&x[plane..][..sizes[2]], term)).sum()
}

fn inverse_deviation(var: f32, eps: f32) -> f32 {
    (1.0 / (f64::from(var) + f64::from(eps)).sqrt()) as f32
}

fn affine(x: &[f32], mean: f32, scale: f32, bias: f32, y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = (x - mean) * scale + bias;
    }
}

/// Where the planes of a channel begin.
fn channel_planes([batch, channels, area]: Sizes, channel: usize) -> impl Iterator<Item = usize> {
    (0..batch).map(move |sample| (sample * channels + channel) * area)
}

/// Runs `job(start, channel, plane)` for every plane of `out`.
fn planes(
    threads: &Threads,
    [_, channels, area]: Sizes,
    out: &mut [f32],
    job: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    let part = ((1 << 14) / area.max(1)).max(1);
    threads.chunks(out, part * area.max(1), |i, out| {
        for (plane, out) in (i * part..).zip(out.chunks_exact_mut(area)) {
            job(plane * area, plane % channels, out);
        }
    });
}

fn check(sizes: Sizes, arrays: &[&[f32]], channels: &[&[f32]]) {
    let len = sizes.iter().product();
    assert!(arrays.iter().all(|array| array.len() == len), "lengths of x, y, dx, dy");
    let fit = channels.iter().all(|values| values.len() == sizes[1]);
    assert!(fit, "lengths of mean, variance, weight, bias");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{close, differences, numbers, on_any_threads, wide};

    const EPS: f32 = 1e-3;
    const CASES: [Sizes; 5] = [[2, 1, 1], [5, 3, 1], [2, 4, 9], [1, 2, 30], [3, 70, 300]];

    fn moments([batch, channels, area]: Sizes, channel: usize, x: &[f64]) -> (f64, f64) {
        let values: Vec<f64> =
            (0..x.len()).filter(|i| i / area % channels == channel).map(|i| x[i]).collect();
        let count = (batch * area) as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count)
    }

    fn naive(sizes: Sizes, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let moments: Vec<_> = (0..sizes[1]).map(|c| moments(sizes, c, x)).collect();
        let value = |(i, x): (usize, &f64)| {
            let channel = i / sizes[2] % sizes[1];
            let (mean, var) = moments[channel];
            (x - mean) / (var + f64::from(EPS)).sqrt() * weight[channel] + bias[channel]
        };
        x.iter().enumerate().map(value).collect()
    }

    #[test]
    fn training_agrees_with_the_definition() {
        for sizes @ [batch, channels, area] in CASES {
            let len = batch * channels * area;
            let (x, weight, bias) = (numbers(len, 1), numbers(channels, 2), numbers(channels, 3));
            let all = on_any_threads(|threads| {
                let mut all = vec![f32::NAN; len + 3 * channels];
                let (y, rest) = all.split_at_mut(len);
                let (mean, rest) = rest.split_at_mut(channels);
                let (inv, var) = rest.split_at_mut(channels);
                batch_norm_train_forward(
                    threads, sizes, &x, &weight, &bias, EPS, y, mean, inv, var,
                );
                all
            });
            let expected = naive(sizes, &wide(&x), &wide(&weight), &wide(&bias));
            close(&all[..len], &expected, 1e-5);
            let (mean, rest) = all[len..].split_at(channels);
            let (count, var) = ((batch * area) as f64, &rest[channels..]);
            for channel in 0..channels {
                let (m, v) = moments(sizes, channel, &wide(&x));
                close(&mean[channel..=channel], &[m], 1e-6);
                close(&var[channel..=channel], &[v * count / (count - 1.0)], 1e-6);
            }
        }
    }

    #[test]
    fn gradients_are_the_differences() {
        for sizes @ [batch, channels, area] in CASES {
            let len = batch * channels * area;
            let (x, weight, bias) = (numbers(len, 1), numbers(channels, 2), numbers(channels, 3));
            let dy = numbers(len, 4);
            let mut kept = vec![f32::NAN; len + 3 * channels];
            let (y, rest) = kept.split_at_mut(len);
            let (mean, rest) = rest.split_at_mut(channels);
            let (inv, var) = rest.split_at_mut(channels);
            let one = Threads::new(1);
            batch_norm_train_forward(&one, sizes, &x, &weight, &bias, EPS, y, mean, inv, var);
            let all = on_any_threads(|threads| {
                let mut all = vec![f32::NAN; len + 2 * channels];
                let (dx, rest) = all.split_at_mut(len);
                let (dw, db) = rest.split_at_mut(channels);
                batch_norm_train_backward(threads, sizes, &x, &dy, mean, inv, &weight, dx, dw, db);
                all
            });
            if len < 1000 {
                let (xw, ww, bw) = (wide(&x), wide(&weight), wide(&bias));
                let (dx, rest) = all.split_at(len);
                let (dw, db) = rest.split_at(channels);
                close(dx, &differences(&x, &dy, |x| naive(sizes, x, &ww, &bw)), 3e-5);
                close(dw, &differences(&weight, &dy, |w| naive(sizes, &xw, w, &bw)), 1e-5);
                close(db, &differences(&bias, &dy, |b| naive(sizes, &xw, &ww, b)), 1e-5);
            }
        }
    }
}
