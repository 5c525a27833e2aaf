//! Fully connected layers. `x` is `batch×inputs`, `y` `batch×outputs`, the weight
//! `outputs×inputs`.

use crate::dot::{self, Rows};
use crate::gemm::{self, Matrix};
use crate::threads::{Grid, Threads};

/// Outputs and pictures of a part of the work.
const BLOCK: usize = 24;
/// Inputs that are summed up at a time; those of a few rows of the weight stay in L1.
const DEPTH: usize = 1024;

/// `y = x·weightᵀ + bias`, then perhaps ReLU.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn forward(
    threads: &Threads,
    batch: usize,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    let lens = [batch * inputs, outputs * inputs, batch * outputs];
    assert_eq!([x.len(), weight.len(), y.len()], lens, "lengths of x, weight, y");
    assert!(bias.is_none_or(|bias| bias.len() == outputs), "length of bias");
    let grid = Grid { matrices: 1, rows: batch, columns: outputs, height: 2 * BLOCK, width: BLOCK };
    threads.blocks(y, grid, &mut [0.0; 0], |corner, mut y, _| {
        let outputs = corner.column..corner.column + y.columns();
        let samples = corner.row..corner.row + y.rows();
        for sample in 0..y.rows() {
            match bias {
                Some(bias) => y.row(sample).copy_from_slice(&bias[outputs.clone()]),
                None => y.row(sample).fill(0.0),
            }
        }
        for block in gemm::blocks(inputs, DEPTH) {
            let w = Rows::of(weight, inputs, outputs.clone(), block.clone());
            let x = Rows::of(x, inputs, samples.clone(), block);
            dot::rows(w, x, |output, sample, sum| y.row(sample)[output] += sum);
        }
        if relu {
            for sample in 0..y.rows() {
                y.row(sample).iter_mut().filter(|y| **y < 0.0).for_each(|y| *y = 0.0);
            }
        }
    });
}

/// Gradient at the input: `dx = dy·weight`, overwritten. `scratch` is at least [`scratch`] long.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn dgrad(
    threads: &Threads,
    batch: usize,
    inputs: usize,
    outputs: usize,
    dy: &[f32],
    weight: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let lens = [batch * inputs, outputs * inputs, batch * outputs];
    assert_eq!([dx.len(), weight.len(), dy.len()], lens, "lengths of dx, weight, dy");
    let a = Matrix { data: dy, stride: [outputs, 1] };
    gemm::product(threads, a, [batch, outputs, inputs], dx, scratch, |output, at, into| {
        into.copy_from_slice(&weight[output * inputs + at..][..into.len()]);
    });
}

/// Gradient at the weight: `dweight = dyᵀ·x`, overwritten. `scratch` is at least [`scratch`] long.
/// That of the bias is [`conv::bias_grad`](crate::conv::bias_grad) with an area of 1.
///
/// # Panics
/// If a slice has another length than the sizes say.
pub fn wgrad(
    threads: &Threads,
    batch: usize,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
    scratch: &mut [f32],
) {
    let lens = [batch * inputs, outputs * inputs, batch * outputs];
    assert_eq!([x.len(), dweight.len(), dy.len()], lens, "lengths of x, dweight, dy");
    let a = Matrix { data: dy, stride: [1, outputs] };
    gemm::product(threads, a, [outputs, batch, inputs], dweight, scratch, |sample, at, into| {
        into.copy_from_slice(&x[sample * inputs + at..][..into.len()]);
    });
}

/// Length of the scratch that [`dgrad`] and [`wgrad`] need on a pool of `threads`.
pub fn scratch(batch: usize, outputs: usize, threads: usize) -> usize {
    gemm::packed(batch, outputs).max(gemm::packed(outputs, batch)) + threads * gemm::SCRATCH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{close, inner, numbers, on_any_threads};

    const CASES: [[usize; 3]; 7] = [
        [1, 1, 1],
        [1, 1100, 37],
        [5, 84, 10],
        [64, 120, 84],
        [70, 2050, 3],
        [3, 5, 300],
        [0, 4, 5],
    ];

    #[test]
    fn forward_is_the_definition() {
        for [batch, inputs, outputs] in CASES {
            let (x, weight) = (numbers(batch * inputs, 1), numbers(outputs * inputs, 2));
            let bias = numbers(outputs, 3);
            for (bias, relu) in [(None, false), (Some(&bias[..]), true)] {
                let y = on_any_threads(|threads| {
                    let mut y = vec![f32::NAN; batch * outputs];
                    forward(threads, batch, inputs, outputs, &x, &weight, bias, relu, &mut y);
                    y
                });
                let expected: Vec<f64> = (0..batch * outputs)
                    .map(|i| {
                        let (x, w) = (&x[i / outputs * inputs..], &weight[i % outputs * inputs..]);
                        let sum = inner(&x[..inputs], &w[..inputs]);
                        let sum = sum + bias.map_or(0.0, |bias| f64::from(bias[i % outputs]));
                        if relu { sum.max(0.0) } else { sum }
                    })
                    .collect();
                close(&y, &expected, 2e-5);
            }
        }
    }

    #[test]
    fn gradients_are_the_products() {
        for [batch, inputs, outputs] in CASES {
            let (x, weight) = (numbers(batch * inputs, 1), numbers(outputs * inputs, 2));
            let dy = numbers(batch * outputs, 3);
            let dx = on_any_threads(|threads| {
                let mut scratch = vec![f32::NAN; scratch(batch, outputs, threads.count())];
                let mut dx = vec![f32::NAN; batch * inputs];
                dgrad(threads, batch, inputs, outputs, &dy, &weight, &mut dx, &mut scratch);
                dx
            });
            let dweight = on_any_threads(|threads| {
                let mut scratch = vec![f32::NAN; scratch(batch, outputs, threads.count())];
                let mut dweight = vec![f32::NAN; outputs * inputs];
                wgrad(threads, batch, inputs, outputs, &x, &dy, &mut dweight, &mut scratch);
                dweight
            });
            let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
            let (mut at_x, mut at_w) = (vec![0.0; dx.len()], vec![0.0; dweight.len()]);
            for (n, o) in (0..batch).flat_map(|n| (0..outputs).map(move |o| (n, o))) {
                for i in 0..inputs {
                    at_x[n * inputs + i] += product(dy[n * outputs + o], weight[o * inputs + i]);
                    at_w[o * inputs + i] += product(dy[n * outputs + o], x[n * inputs + i]);
                }
            }
            close(&dx, &at_x, 2e-5);
            close(&dweight, &at_w, 2e-5);
        }
    }
}
