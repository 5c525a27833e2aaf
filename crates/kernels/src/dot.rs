//! Products of rows with rows, `C = A·Bᵀ`: the sum runs along both, so nothing needs packing.

use crate::simd::{Kernel, dispatch, mul_add};
use std::ops::Range;

/// `len` values of each of `count` rows that begin `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) count: usize,
    pub(crate) stride: usize,
    pub(crate) len: usize,
}

impl<'a> Rows<'a> {
    /// The columns `columns` of the rows `rows` of a matrix `stride` wide.
    pub(crate) fn of(
        data: &'a [f32],
        stride: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Rows<'a> {
        let data = &data[rows.start * stride + columns.start..];
        Rows { data, count: rows.len(), stride, len: columns.len() }
    }

    /// `N` rows from `first` on; the last stands in for those beyond it.
    #[inline(always)]
    fn take<const N: usize>(&self, first: usize) -> [&'a [f32]; N] {
        std::array::from_fn(|i| {
            &self.data[(first + i).min(self.count - 1) * self.stride..][..self.len]
        })
    }
}

/// Calls `add(i, j, sum)` with the product of row `i` of `a` and row `j` of `b`, for all of them.
pub(crate) fn rows(a: Rows, b: Rows, add: impl FnMut(usize, usize, f32)) {
    assert_eq!(a.len, b.len, "rows of a product are equally long");
    dispatch(Dot { a, b, add });
}

struct Dot<'a, F> {
    a: Rows<'a>,
    b: Rows<'a>,
    add: F,
}

impl<F: FnMut(usize, usize, f32)> Kernel for Dot<'_, F> {
    #[inline(always)]
    fn run<const FMA: bool, const LANES: usize, const ROWS: usize>(mut self) {
        // The rows of a that a tile reads stay in L1 while those of b pass by.
        for i in (0..self.a.count).step_by(TILE) {
            for j in (0..self.b.count).step_by(TILE) {
                let sums = tile::<FMA, LANES>(self.a.take(i), self.b.take(j));
                for (i, sums) in (i..self.a.count).zip(sums) {
                    for (j, sum) in (j..self.b.count).zip(sums) {
                        (self.add)(i, j, sum);
                    }
                }
            }
        }
    }
}

/// Rows of a and of b in a tile. Of an odd number of them the compiler makes vectors along the
/// lanes, as it should, on every instruction set; with a power of two it tries to go across rows.
const TILE: usize = 3;

/// Every row of `a` times every row of `b`. Lane `l` sums the products `l`, `l + LANES`, …
#[inline(always)]
fn tile<const FMA: bool, const LANES: usize>(
    a: [&[f32]; TILE],
    b: [&[f32]; TILE],
) -> [[f32; TILE]; TILE] {
    let whole = a[0].len() / LANES;
    let a_lanes = a.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    let b_lanes = b.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    let mut sums = [[[0.0; LANES]; TILE]; TILE];
    for k in 0..whole {
        let (a, b) = (a_lanes.map(|row| row[k]), b_lanes.map(|row| row[k]));
        for l in 0..LANES {
            for i in 0..TILE {
                for j in 0..TILE {
                    sums[i][j][l] = mul_add::<FMA>(a[i][l], b[j][l], sums[i][j][l]);
                }
            }
        }
    }
    let mut out = sums.map(|row| row.map(total));
    for (row, out) in a.iter().zip(&mut out) {
        for (b, out) in b.iter().zip(out) {
            for (a, b) in row.iter().zip(*b).skip(whole * LANES) {
                *out += a * b;
            }
        }
    }
    out
}

/// The sum of the lanes, halved over and over.
#[inline(always)]
fn total<const LANES: usize>(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{close, inner, numbers};
    use crate::simd;

    #[test]
    fn every_instruction_set_multiplies() {
        for [m, n, len] in [[1, 1, 0], [1, 1, 1], [3, 3, 16], [7, 5, 100], [2, 10, 35]] {
            let (a, b) = (numbers(m * len, 1), numbers(n * len, 2));
            let row = |data: &[f32], i: usize| data[i * len..][..len].to_vec();
            let expected: Vec<f64> =
                (0..m * n).map(|at| inner(&row(&a, at / n), &row(&b, at % n))).collect();
            let mut outputs = vec![vec![f32::NAN; m * n]; 3];
            let mut unused = outputs.iter_mut();
            simd::tests::each(|| {
                let out = unused.next().expect("three at most");
                Dot {
                    a: Rows::of(&a, len, 0..m, 0..len),
                    b: Rows::of(&b, len, 0..n, 0..len),
                    add: move |i: usize, j: usize, sum| out[i * n + j] = sum,
                }
            });
            let used = 3 - unused.len();
            outputs[..used].iter().for_each(|out| close(out, &expected, 1e-5));
        }
    }
}
