//! Matrices, shared out in blocks.

use super::Threads;
use super::lent::Lent;

impl Threads {
    /// Cuts the matrices of `grid` into blocks and runs `job(corner, block, scratch)` for each, on
    /// all threads; scratch as in [`chunks_with`](Threads::chunks_with).
    pub(crate) fn blocks<T: Send, S: Send>(
        &self,
        out: &mut [T],
        grid: Grid,
        scratch: &mut [S],
        job: impl Fn(Corner, Block<'_, T>, &mut [S]) + Sync,
    ) {
        let Grid { matrices, rows, columns, height, width } = grid;
        assert_eq!(out.len(), matrices * rows * columns, "the grid covers the output");
        let (down, across) = (rows.div_ceil(height), columns.div_ceil(width));
        let share = scratch.len() / self.count();
        let (out, scratch) = (Lent::new(out), Lent::new(scratch));
        self.share(matrices * down * across, |thread, part| {
            // Blocks of the same columns follow each other: what they read is still in cache.
            let (matrix, part) = (part / (down * across), part % (down * across));
            let (row, column) = (part % down * height, part / down * width);
            let block = Block {
                matrix: out.again(),
                start: (matrix * rows + row) * columns + column,
                rows: height.min(rows - row),
                columns: width.min(columns - column),
                stride: columns,
            };
            // SAFETY: a thread runs one part at a time; no two threads have the same number.
            let scratch = unsafe { scratch.slice(thread * share, share) };
            job(Corner { matrix, row, column }, block, scratch);
        });
    }
}

/// How [`Threads::blocks`] cuts `matrices` of `rows × columns` into blocks of `height × width`;
/// those at the lower and right rim may be smaller.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) matrices: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Where a block begins.
#[derive(Clone, Copy)]
pub(crate) struct Corner {
    pub(crate) matrix: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

/// A rectangle of a matrix, to be written by one thread.
pub(crate) struct Block<'a, T> {
    matrix: Lent<'a, T>,
    start: usize,
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a, T> Block<'a, T> {
    /// All of a matrix of `columns` columns.
    pub(crate) fn whole(matrix: &'a mut [T], columns: usize) -> Block<'a, T> {
        let rows = matrix.len() / columns;
        Block { matrix: Lent::new(matrix), start: 0, rows, columns, stride: columns }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// One row of the rectangle.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "within the block");
        // SAFETY: the blocks of a grid are disjoint, and `&mut self` lets one row out at a time.
        unsafe { self.matrix.slice(self.start + row * self.stride, self.columns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_matrices() {
        let threads = Threads::new(2);
        let grid = Grid { matrices: 2, rows: 3, columns: 5, height: 2, width: 4 };
        let mut out = vec![0; 30];
        threads.blocks(&mut out, grid, &mut [0; 4], |corner, mut block, scratch| {
            assert_eq!(scratch.len(), 2);
            for row in 0..block.rows() {
                for (column, value) in block.row(row).iter_mut().enumerate() {
                    *value +=
                        corner.matrix * 100 + (corner.row + row) * 10 + corner.column + column;
                }
            }
        });
        let expected = (0..30).map(|i| i / 15 * 100 + i / 5 % 3 * 10 + i % 5);
        assert!(out.iter().copied().eq(expected));
    }
}
