//! Radial basis functions: the squared distance of a vector to every centre.
//!
//! LeCun et al. 1998, §II.B, the output layer of LeNet-5, whose centres are drawn characters.

use crate::sum::sum_pairs;
use crate::threads::Threads;

/// Samples of a part of the work.
const PART: usize = 8;

/// `y[n][o] = Σⱼ (x[n][j] − w[o][j])²`, with `x` `batch×inputs`, `weight` `outputs×inputs`, `y`
/// `batch×outputs`.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn forward(
    threads: &Threads,
    [batch, inputs, outputs]: [usize; 3],
    x: &[f32],
    weight: &[f32],
    y: &mut [f32],
) {
    let lens = [batch * inputs, outputs * inputs, batch * outputs];
    assert_eq!([x.len(), weight.len(), y.len()], lens, "lengths of x, weight, y");
    let square = |x: f32, w: f32| f64::from(x - w) * f64::from(x - w);
    threads.chunks(y, PART * outputs.max(1), |part, y| {
        for (sample, y) in (part * PART..).zip(y.chunks_exact_mut(outputs)) {
            let x = &x[sample * inputs..][..inputs];
            for (output, y) in y.iter_mut().enumerate() {
                *y = sum_pairs(x, &weight[output * inputs..][..inputs], square) as f32;
            }
        }
    });
}

/// `dx[n][j] = Σₒ 2·(x[n][j] − w[o][j])·dy[n][o]`, overwritten. The centres are not trained.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn backward(
    threads: &Threads,
    [batch, inputs, outputs]: [usize; 3],
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    let lens = [batch * inputs, outputs * inputs, batch * outputs, batch * inputs];
    assert_eq!([x.len(), weight.len(), dy.len(), dx.len()], lens, "lengths of x, weight, dy, dx");
    threads.chunks(dx, PART * inputs.max(1), |part, dx| {
        dx.fill(0.0);
        for (sample, dx) in (part * PART..).zip(dx.chunks_exact_mut(inputs)) {
            let x = &x[sample * inputs..][..inputs];
            for (output, dy) in dy[sample * outputs..][..outputs].iter().enumerate() {
                let weight = &weight[output * inputs..][..inputs];
                for ((dx, x), w) in dx.iter_mut().zip(x).zip(weight) {
                    *dx += 2.0 * dy * (x - w);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{close, differences, numbers, on_any_threads, wide};

    #[test]
    fn forward_and_backward() {
        for sizes @ [batch, inputs, outputs] in [[1, 1, 1], [3, 84, 10], [20, 7, 5], [0, 3, 2]] {
            let (x, dy) = (numbers(batch * inputs, 1), numbers(batch * outputs, 2));
            let weight = numbers(outputs * inputs, 3);
            let naive = |x: &[f64]| -> Vec<f64> {
                let distance = |i: usize| {
                    let (n, o) = (i / outputs, i % outputs);
                    let term = |j: usize| x[n * inputs + j] - f64::from(weight[o * inputs + j]);
                    (0..inputs).map(|j| term(j).powi(2)).sum()
                };
                (0..batch * outputs).map(distance).collect()
            };
            let y = on_any_threads(|threads| {
                let mut y = vec![f32::NAN; dy.len()];
                forward(threads, sizes, &x, &weight, &mut y);
                y
            });
            close(&y, &naive(&wide(&x)), 1e-6);
            let dx = on_any_threads(|threads| {
                let mut dx = vec![f32::NAN; x.len()];
                backward(threads, sizes, &x, &weight, &dy, &mut dx);
                dx
            });
            close(&dx, &differences(&x, &dy, naive), 1e-5);
        }
    }
}
