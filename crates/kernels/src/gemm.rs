//! Matrix product `C = A·B` of packed panels: what convolutions and linear layers come down to.
//!
//! A is packed into panels of [`ROWS`] rows, B, block by block of its depth, into panels of
//! [`COLUMNS`] columns, so that the innermost loop reads both from one end to the other.
//!
//! Goto, van de Geijn 2008, "Anatomy of high-performance matrix multiplication".

use crate::simd::{Kernel, dispatch, mul_add};
use crate::threads::{Block, Grid, Threads};
use std::ops::Range;

/// Rows of a panel of A.
pub(crate) const ROWS: usize = 8;
/// Columns of a panel of B.
pub(crate) const COLUMNS: usize = 16;
/// Depth of a block of B; with [`STRIP`] columns it takes 128 KiB, an eighth to half of an L2.
const DEPTH: usize = 256;
/// Columns of B, and so of C, that are worked on at a time.
pub(crate) const STRIP: usize = 8 * COLUMNS;

/// A matrix wherever it lies: element `(i, k)` is `data[i·stride[0] + k·stride[1]]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: [usize; 2],
}

/// Length of a packed A of `rows × depth`.
pub(crate) fn packed(rows: usize, depth: usize) -> usize {
    rows.div_ceil(ROWS) * ROWS * depth
}

/// Scratch that [`strip`] needs.
pub(crate) const SCRATCH: usize = (DEPTH + 1) * STRIP;

/// Packs a panel of A, `ROWS × depth`, from row `first` on; rows beyond the last are zero.
pub(crate) fn pack(a: Matrix, rows: usize, first: usize, panel: &mut [f32]) {
    let [down, along] = a.stride;
    let (panel, live) = (panel.as_chunks_mut::<ROWS>().0, ROWS.min(rows - first));
    let data = &a.data[first * down..];
    if live == ROWS && along == 1 {
        let depth = panel.len();
        let lines: [&[f32]; ROWS] = std::array::from_fn(|i| &data[i * down..][..depth]);
        for (k, out) in panel.iter_mut().enumerate() {
            *out = lines.map(|line| line[k]);
        }
    } else if live == ROWS && down == 1 {
        for (out, line) in panel.iter_mut().zip(data.chunks(along)) {
            *out = *line.first_chunk().expect("a row of A is wider than a panel");
        }
    } else {
        for (k, out) in panel.iter_mut().enumerate() {
            *out = std::array::from_fn(|i| if i < live { data[i * down + k * along] } else { 0.0 });
        }
    }
}

/// What is added to the product and done with the sum.
#[derive(Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    /// One value a row of C.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) relu: bool,
}

/// `c = a·b`, of which `c` is at most [`STRIP`] columns wide, on the calling thread.
///
/// `a` is packed; `row(k, into)` fills in row `k` of b; `scratch` is [`SCRATCH`] long.
pub(crate) fn strip(
    a: &[f32],
    depth: usize,
    c: &mut Block<'_, f32>,
    finish: Finish,
    scratch: &mut [f32],
    mut row: impl FnMut(usize, &mut [f32]),
) {
    let (line, panels) = scratch.split_at_mut(STRIP);
    let line = &mut line[..c.columns().next_multiple_of(COLUMNS)];
    line[c.columns()..].fill(0.0);
    for block in blocks(depth, DEPTH) {
        for (k, at) in block.clone().enumerate() {
            row(at, &mut line[..c.columns()]);
            let at = k * COLUMNS;
            for (panel, line) in
                panels.chunks_mut(block.len() * COLUMNS).zip(line.as_chunks::<COLUMNS>().0)
            {
                panel[at..at + COLUMNS].copy_from_slice(line);
            }
        }
        dispatch(Multiply { a, b: panels, depth, block, c: &mut *c, finish });
    }
}

/// `0..len` in blocks of `size`; the one empty block if `len` is 0.
pub(crate) fn blocks(len: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len.max(1)).step_by(size).map(move |start| start..len.min(start + size))
}

/// `c = a·b` with a `threads`-wide job; `row(k, column, into)` fills in a piece of row `k` of b.
///
/// `scratch` is `packed(rows, depth)` and [`SCRATCH`] for every thread.
pub(crate) fn product(
    threads: &Threads,
    a: Matrix,
    [rows, depth, columns]: [usize; 3],
    c: &mut [f32],
    scratch: &mut [f32],
    row: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    if c.is_empty() {
        return;
    }
    let (panels, scratch) = scratch.split_at_mut(packed(rows, depth));
    if depth > 0 {
        threads.chunks(panels, ROWS * depth, |panel, out| pack(a, rows, panel * ROWS, out));
    }
    let height = height(threads.count(), rows, columns.div_ceil(STRIP));
    let grid = Grid { matrices: 1, rows, columns, height, width: STRIP };
    let scratch = &mut scratch[..SCRATCH * threads.count()];
    threads.blocks(c, grid, scratch, |corner, mut c, scratch| {
        let a = &panels[corner.row * depth..];
        strip(a, depth, &mut c, Finish::default(), scratch, |k, into| row(k, corner.column, into));
    });
}

/// How many rows to give to a part of a job of `parts` strips: all, as every part packs its own b,
/// but where there are too few parts for the threads.
pub(crate) fn height(threads: usize, rows: usize, parts: usize) -> usize {
    let cuts = if parts < 2 * threads { threads.div_ceil(parts.max(1)) } else { 1 };
    rows.div_ceil(cuts).next_multiple_of(ROWS)
}

/// The rows `block` of b times the columns `block` of a, added to `c` or, if they are the first,
/// to the bias.
struct Multiply<'a, 'c> {
    a: &'a [f32],
    b: &'a [f32],
    depth: usize,
    block: Range<usize>,
    c: &'a mut Block<'c, f32>,
    finish: Finish<'a>,
}

impl Kernel for Multiply<'_, '_> {
    #[inline(always)]
    fn run<const FMA: bool, const LANES: usize, const TILE: usize>(self) {
        let Multiply { a, b, depth, block, c, finish } = self;
        let (rows, columns) = (c.rows(), c.columns());
        for (panel, first) in (0..rows).step_by(ROWS).enumerate() {
            let a = &a[panel * ROWS * depth..][block.start * ROWS..block.end * ROWS];
            for at in (0..columns).step_by(COLUMNS) {
                let b = &b[at * block.len()..][..block.len() * COLUMNS];
                for part in (0..ROWS).step_by(TILE) {
                    let tile = tile::<FMA, TILE>(a, b, part);
                    for (i, sums) in (first + part..rows).zip(&tile) {
                        let out = &mut c.row(i)[at..];
                        let bias = finish.bias.map_or(0.0, |bias| bias[i]);
                        let start = (block.start == 0).then_some(bias);
                        let relu = finish.relu && block.end == depth;
                        match out.first_chunk_mut::<COLUMNS>() {
                            Some(out) => add(out, sums, start, relu),
                            None => add(out, sums, start, relu),
                        }
                    }
                }
            }
        }
    }
}

/// Rows `part..part + TILE` of a panel of a times a panel of b. The loops are in the order in which
/// the compiler keeps all sums in registers; others were measured to be 2 to 50 times slower.
#[inline(always)]
fn tile<const FMA: bool, const TILE: usize>(
    a: &[f32],
    b: &[f32],
    part: usize,
) -> [[f32; COLUMNS]; TILE] {
    let mut sums = [[0.0; COLUMNS]; TILE];
    let (a, b) = (a.as_chunks::<ROWS>().0, b.as_chunks::<COLUMNS>().0);
    for (a, b) in a.iter().zip(b) {
        let a: &[f32; TILE] = a[part..].first_chunk().expect("tiles divide a panel");
        for j in 0..COLUMNS {
            for i in 0..TILE {
                sums[i][j] = mul_add::<FMA>(a[i], b[j], sums[i][j]);
            }
        }
    }
    sums
}

/// Adds `sums` to `out`, or to `start` if there is one.
#[inline(always)]
fn add(out: &mut [f32], sums: &[f32; COLUMNS], start: Option<f32>, relu: bool) {
    for (out, sum) in out.iter_mut().zip(sums) {
        let value = start.unwrap_or(*out) + sum;
        *out = if relu && value < 0.0 { 0.0 } else { value };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{close, numbers, wide};
    use crate::simd;

    #[test]
    fn every_instruction_set_multiplies() {
        for [rows, depth, columns] in [[1, 1, 1], [8, 3, 16], [13, 70, 37], [5, 256, 128]] {
            let (a, b) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
            let bias = numbers(rows, 3);
            let mut panels = vec![f32::NAN; packed(rows, depth)];
            for (i, panel) in panels.chunks_exact_mut(ROWS * depth).enumerate() {
                pack(Matrix { data: &a, stride: [depth, 1] }, rows, i * ROWS, panel);
            }
            let mut b_panels = vec![0.0; depth * columns.next_multiple_of(COLUMNS)];
            for (i, &value) in b.iter().enumerate() {
                let (k, j) = (i / columns, i % columns);
                b_panels[(j / COLUMNS * depth + k) * COLUMNS + j % COLUMNS] = value;
            }
            let (a, b) = (wide(&a), wide(&b));
            let expected: Vec<f64> = (0..rows * columns)
                .map(|at| {
                    let (i, j) = (at / columns, at % columns);
                    let sum: f64 = (0..depth).map(|k| a[i * depth + k] * b[k * columns + j]).sum();
                    (sum + f64::from(bias[i])).max(0.0)
                })
                .collect();
            let mut outputs = vec![vec![f32::NAN; rows * columns]; 3];
            let mut blocks: Vec<_> =
                outputs.iter_mut().map(|out| Block::whole(out, columns)).collect();
            let mut unused = blocks.iter_mut();
            simd::tests::each(|| Multiply {
                a: &panels,
                b: &b_panels,
                depth,
                block: 0..depth,
                c: unused.next().expect("three at most"),
                finish: Finish { bias: Some(&bias), relu: true },
            });
            let used = 3 - unused.len();
            outputs[..used].iter().for_each(|out| close(out, &expected, 1e-5));
        }
    }

    #[test]
    fn both_directions_pack_alike() {
        let a = numbers(11 * 9, 1);
        let turned: Vec<f32> = (0..99).map(|i| a[i % 11 * 9 + i / 11]).collect();
        for first in [0, 8] {
            let (mut one, mut other) = ([f32::NAN; 72], [f32::NAN; 72]);
            pack(Matrix { data: &a, stride: [9, 1] }, 11, first, &mut one);
            pack(Matrix { data: &turned, stride: [1, 11] }, 11, first, &mut other);
            let expected = |at: usize| {
                let (i, k) = (first + at % ROWS, at / ROWS);
                if i < 11 { a[i * 9 + k] } else { 0.0 }
            };
            assert!((0..72).all(|at| one[at] == expected(at) && other[at] == expected(at)));
        }
    }
}
