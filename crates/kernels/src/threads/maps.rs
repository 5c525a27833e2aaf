//! Batches of maps, shared out in patches or in runs of tiles.

use std::ops::Range;

use super::Threads;
use super::lent::Lent;

impl Threads {
    /// Cuts maps into patches and runs `job(patches, scratch)` for each patch of all `values`, which
    /// have the same maps but perhaps other blocks around; scratch as in
    /// [`chunks_with`](Threads::chunks_with).
    pub(crate) fn patches<T: Send, S: Send, const N: usize>(
        &self,
        values: [(&mut [T], Maps); N],
        cut: Cut,
        scratch: &mut [S],
        job: impl Fn([Patch<'_, T>; N], &mut [S]) + Sync,
    ) {
        let Maps { pictures, own: [_, own], size: [height, width], .. } = values[0].1;
        for (value, maps) in &values {
            maps.check(value.len(), &values[0].1);
        }
        let sizes = [pictures, own, height, width];
        let parts: [usize; 4] = std::array::from_fn(|i| sizes[i].div_ceil(cut[i]));
        let share = scratch.len() / self.count();
        let scratch = Lent::new(scratch);
        let values = values.map(|(value, maps)| (Lent::new(value), maps));
        self.share(parts.iter().product(), |thread, part| {
            // The columns and rows of the same blocks follow each other.
            let [_, blocks, rows, columns] = parts;
            let index = [part / (rows * columns) % blocks, part / columns % rows, part % columns];
            let index = [part / (blocks * rows * columns), index[0], index[1], index[2]];
            let [pictures, own, rows, columns] =
                std::array::from_fn(|i| index[i] * cut[i]..((index[i] + 1) * cut[i]).min(sizes[i]));
            // SAFETY: a thread runs one part at a time; no two threads have the same number.
            let scratch = unsafe { scratch.slice(thread * share, share) };
            let patches = std::array::from_fn(|i| {
                let (value, maps): &(Lent<'_, T>, Maps) = &values[i];
                Patch {
                    value: value.again(),
                    maps: *maps,
                    pictures: pictures.clone(),
                    blocks: own.clone(),
                    rows: rows.clone(),
                    columns: columns.clone(),
                }
            });
            job(patches, scratch);
        });
    }

    /// Cuts maps into tiles, and these into equal runs in the order of pictures, rows and columns. Runs
    /// `job(tiles, scratch)` for each run and some blocks of all `values`, as in
    /// [`patches`](Threads::patches).
    pub(crate) fn tiles<T: Send, S: Send, const N: usize>(
        &self,
        values: [(&mut [T], Maps); N],
        cut: TileCut,
        scratch: &mut [S],
        job: impl Fn([Tiled<'_, T>; N], &mut [S]) + Sync,
    ) {
        let Maps { pictures, own: [_, own], size, .. } = values[0].1;
        for (value, maps) in &values {
            maps.check(value.len(), &values[0].1);
        }
        let grid = [size[0].div_ceil(cut.tile[0]), size[1].div_ceil(cut.tile[1])];
        let all = pictures * grid[0] * grid[1];
        let columns = own.div_ceil(cut.blocks);
        let share = scratch.len() / self.count();
        let scratch = Lent::new(scratch);
        let values = values.map(|(value, maps)| (Lent::new(value), maps));
        self.share(cut.runs * columns, |thread, part| {
            let (run, block) = (part / columns, part % columns * cut.blocks);
            // SAFETY: a thread runs one part at a time; no two threads have the same number.
            let scratch = unsafe { scratch.slice(thread * share, share) };
            let tiled = std::array::from_fn(|i| {
                let (value, maps): &(Lent<'_, T>, Maps) = &values[i];
                Tiled {
                    value: value.again(),
                    maps: *maps,
                    tile: cut.tile,
                    grid,
                    blocks: block..(block + cut.blocks).min(own),
                    tiles: cut.run(all, run),
                }
            });
            job(tiled, scratch);
        });
    }
}

/// Batches of maps of `blocks × height × width`, of which some blocks are written.
#[derive(Clone, Copy)]
pub(crate) struct Maps {
    pub(crate) pictures: usize,
    /// All blocks of a picture.
    pub(crate) blocks: usize,
    /// The first block to be written, and how many.
    pub(crate) own: [usize; 2],
    /// Height and width.
    pub(crate) size: [usize; 2],
}

impl Maps {
    /// That they cover a value of this length, and are written as `others` are.
    fn check(&self, len: usize, others: &Maps) {
        let all = self.pictures * self.blocks * self.size[0] * self.size[1];
        assert_eq!(len, all, "the maps cover the value");
        assert!(self.own[0] + self.own[1] <= self.blocks, "the blocks are within the maps");
        let written = |maps: &Maps| (maps.pictures, maps.own[1], maps.size);
        assert_eq!(written(self), written(others), "values of the same maps");
    }
}

/// How maps are cut into patches, pictures × blocks × rows × columns; those at the rim may be
/// smaller.
pub(crate) type Cut = [usize; 4];

/// A piece of a batch of maps, to be written by one thread: some of its pictures, of their own
/// blocks, of the rows and of the columns.
pub(crate) struct Patch<'a, T> {
    value: Lent<'a, T>,
    maps: Maps,
    pictures: Range<usize>,
    blocks: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<T> Patch<'_, T> {
    pub(crate) fn pictures(&self) -> Range<usize> {
        self.pictures.clone()
    }

    /// Counted from the first that is written.
    pub(crate) fn blocks(&self) -> Range<usize> {
        self.blocks.clone()
    }

    pub(crate) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    pub(crate) fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// Columns of the maps.
    pub(crate) fn width(&self) -> usize {
        self.maps.size[1]
    }

    /// The rows of a map, which have all its columns.
    pub(crate) fn map(&mut self, picture: usize, block: usize) -> &mut [T] {
        assert!(
            self.pictures.contains(&picture)
                && self.blocks.contains(&block)
                && self.columns == (0..self.width()),
            "within the patch"
        );
        let Maps { blocks, own: [first, _], size: [height, width], .. } = self.maps;
        let start = ((picture * blocks + first + block) * height + self.rows.start) * width;
        // SAFETY: the patch is this thread's alone, and borrowed for as long as the slice.
        unsafe { self.value.slice(start, self.rows.len() * width) }
    }

    /// Its rows of a picture, of each block from `block` on.
    #[inline(always)]
    pub(crate) fn runs(&mut self, picture: usize, block: usize) -> Runs<'_, T> {
        assert!(
            self.pictures.contains(&picture) && self.blocks.contains(&block),
            "within the patch"
        );
        let Maps { blocks, own: [first, _], size: [height, width], .. } = self.maps;
        let map = (picture * blocks + first + block) * height * width;
        Runs {
            value: self.value.again(),
            start: map + self.rows.start * width + self.columns.start,
            stride: height * width,
            count: self.blocks.end - block,
            down: width,
            rows: self.rows.len(),
            len: self.columns.len(),
        }
    }
}

/// How maps are cut into tiles, and these for the threads.
#[derive(Clone, Copy)]
pub(crate) struct TileCut {
    /// Height and width of a tile; those at the rim may be smaller.
    pub(crate) tile: [usize; 2],
    /// Blocks of a part.
    pub(crate) blocks: usize,
    /// Runs of all tiles.
    pub(crate) runs: usize,
}

impl TileCut {
    /// A run of so many tiles.
    fn run(&self, all: usize, run: usize) -> Range<usize> {
        run * all / self.runs..(run + 1) * all / self.runs
    }
}

/// A run of the tiles of a batch of maps, of some of their own blocks, to be written by one thread.
pub(crate) struct Tiled<'a, T> {
    value: Lent<'a, T>,
    maps: Maps,
    tile: [usize; 2],
    /// Rows and columns of tiles of a map.
    grid: [usize; 2],
    blocks: Range<usize>,
    tiles: Range<usize>,
}

impl<T> Tiled<'_, T> {
    /// Counted from the first that is written.
    pub(crate) fn blocks(&self) -> Range<usize> {
        self.blocks.clone()
    }

    /// In the order of pictures, rows and columns.
    pub(crate) fn tiles(&self) -> Range<usize> {
        self.tiles.clone()
    }

    /// The rows of the tile at a picture, row and column of the grid, of each block from `block` on.
    #[inline(always)]
    pub(crate) fn runs(&mut self, at: [usize; 3], block: usize) -> Runs<'_, T> {
        let ([picture, row, column], [rows, columns]) = (at, self.grid);
        let Maps { blocks, own: [first, _], size: [height, width], .. } = self.maps;
        let tile = (picture * rows + row) * columns + column;
        assert!(
            self.tiles.contains(&tile)
                && self.blocks.contains(&block)
                && row < rows
                && column < columns,
            "within the tiles"
        );
        let [down, right] = [row * self.tile[0], column * self.tile[1]];
        Runs {
            value: self.value.again(),
            start: ((picture * blocks + first + block) * height + down) * width + right,
            stride: height * width,
            count: self.blocks.end - block,
            down: width,
            rows: self.tile[0].min(height - down),
            len: self.tile[1].min(width - right),
        }
    }
}

/// Runs of values in some rows of several maps, handed out one at a time.
pub(crate) struct Runs<'a, T> {
    value: Lent<'a, T>,
    start: usize,
    /// Values from a map to the next, and how many maps there are.
    stride: usize,
    count: usize,
    /// Values from a row to the next, and how many rows there are.
    down: usize,
    rows: usize,
    len: usize,
}

impl<'a, T> Runs<'a, T> {
    /// Of a slice of which nobody else has a part: of maps that begin `stride` values apart, so many rows
    /// that begin `down` values apart.
    pub(crate) fn of(
        slice: &'a mut [T],
        stride: usize,
        [rows, down]: [usize; 2],
        len: usize,
    ) -> Runs<'a, T> {
        let map = rows.saturating_sub(1).saturating_mul(down).saturating_add(len);
        let count = slice.len().checked_sub(map).map_or(0, |rest| rest / stride.max(1) + 1);
        Runs { value: Lent::new(slice), start: 0, stride, count, down, rows, len }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// What is behind the first rows, and in each behind the first values.
    #[inline(always)]
    pub(crate) fn after(&mut self, [rows, values]: [usize; 2]) -> Runs<'_, T> {
        assert!(rows < self.rows && values <= self.len, "within the runs");
        let start = self.start + rows * self.down + values;
        let value = self.value.again();
        Runs { value, start, rows: self.rows - rows, len: self.len - values, ..*self }
    }

    /// All rows as one, if nothing lies between them.
    #[inline(always)]
    pub(crate) fn joined(&mut self) -> Option<Runs<'_, T>> {
        let (len, value) = (self.rows * self.len, self.value.again());
        let dense = self.rows == 1 || self.down == self.len;
        dense.then_some(Runs { value, rows: 1, len, ..*self })
    }

    /// The run of the `i`-th map in the first row.
    #[inline(always)]
    pub(crate) fn all(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.count, "within the runs");
        // SAFETY: as in `run`.
        unsafe { self.value.slice(self.start + i * self.stride, self.len) }
    }

    /// Its first `N` values.
    #[inline(always)]
    pub(crate) fn run<const N: usize>(&mut self, i: usize) -> &mut [T; N] {
        assert!(i < self.count && N <= self.len, "within the runs");
        // SAFETY: a patch, or a run of tiles, is of one thread alone and this is within it; `&mut self`
        // lets one out at a time.
        let run = unsafe { self.value.slice(self.start + i * self.stride, N) };
        match run.first_chunk_mut() {
            Some(run) => run,
            None => unreachable!("the slice has this length"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn tiles_cover_the_own_blocks() {
        let threads = Threads::new(2);
        // Maps of 5 × 7 of two of four blocks, in tiles of 2 × 3.
        let maps = Maps { pictures: 2, blocks: 4, own: [1, 2], size: [5, 7] };
        for (blocks, runs) in [(1, 1), (2, 1), (1, 5), (2, 18), (2, 40)] {
            let mut out = vec![0; 2 * 4 * 35];
            let cut = TileCut { tile: [2, 3], blocks, runs };
            threads.tiles([(&mut out, maps)], cut, &mut [(); 0], |[mut tiled], _| {
                let all = 18 / runs..=18_usize.div_ceil(runs);
                assert!(all.contains(&tiled.tiles.len()) && tiled.blocks.len() == blocks);
                let (tiles, blocks) = (tiled.tiles(), tiled.blocks());
                for (block, tile) in blocks.flat_map(|b| tiles.clone().map(move |t| (b, t))) {
                    let [picture, row, column] = [tile / 9, tile / 3 % 3, tile % 3];
                    let mut runs = tiled.runs([picture, row, column], block);
                    for line in 0..2.min(5 - 2 * row) {
                        for at in 0..3.min(7 - 3 * column) {
                            runs.after([line, at]).run::<1>(0)[0] += 1 + tile;
                        }
                    }
                }
            });
            for (at, value) in out.into_iter().enumerate() {
                let [picture, block, row, column] = [at / 140, at / 35 % 4, at / 7 % 5, at % 7];
                let tile = 1 + picture * 9 + row / 2 * 3 + column / 3;
                assert_eq!(value, if (1..3).contains(&block) { tile } else { 0 }, "at {at}");
            }
        }
    }

    #[test]
    fn no_part_writes_into_a_patch_of_another() {
        let threads = Threads::new(1);
        let maps = Maps { pictures: 1, blocks: 1, own: [0, 1], size: [4, 4] };
        for (at, whole) in [([2, 0], false), ([0, 3], false), ([0, 0], true), ([1, 1], true)] {
            let job = |[mut patch]: [Patch<'_, i32>; 1], _: &mut [()]| {
                let mut runs = patch.runs(0, 0);
                let mut runs = runs.after(at);
                if whole {
                    runs.run::<3>(0);
                }
            };
            let mut out = [0; 16];
            let run = || threads.patches([(&mut out[..], maps)], [1, 1, 2, 2], &mut [], job);
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{at:?}");
        }
    }

    #[test]
    fn runs_of_a_slice_end_with_it() {
        // Two maps, ten values apart, of two rows of three, five apart.
        let lent = |len: usize, map: usize, at: [usize; 2]| {
            let mut slice = vec![0; len];
            let mut runs = Runs::of(&mut slice, 10, [2, 5], 3);
            runs.after(at).run::<2>(map).fill(1);
            slice.iter().position(|&value| value == 1).unwrap()
        };
        assert_eq!(lent(18, 0, [1, 1]), 6);
        assert_eq!(lent(18, 1, [1, 1]), 16);
        let panics = |len, map, at| catch_unwind(|| lent(len, map, at)).is_err();
        assert!(panics(17, 1, [0, 0]), "the second map is cut");
        assert!(panics(18, 2, [0, 0]) && panics(18, 1, [2, 0]) && panics(18, 0, [0, 2]));
        let joins = |down| Runs::of(&mut [0; 20], 10, [2, down], 3).joined().is_some();
        assert!(joins(3) && !joins(5));
    }

    #[test]
    fn rows_are_joined_where_nothing_lies_between() {
        let threads = Threads::new(1);
        let maps = Maps { pictures: 1, blocks: 1, own: [0, 1], size: [4, 4] };
        let joins = |cut: Cut, at: [usize; 2]| {
            let mut out = [0; 16];
            let job = |[mut patch]: [Patch<'_, i32>; 1], _: &mut [()]| {
                let first = patch.rows().start == 0 && patch.columns().start == 0;
                let mut runs = patch.runs(0, 0);
                if first && let Some(mut joined) = runs.after(at).joined() {
                    joined.all(0).fill(1);
                }
            };
            threads.patches([(&mut out[..], maps)], cut, &mut [], job);
            out.iter().rposition(|&value| value == 1).map_or(0, |last| last + 1)
        };
        assert_eq!(joins([1, 1, 2, 4], [0, 0]), 8);
        assert_eq!(joins([1, 1, 2, 4], [1, 0]), 8);
        assert_eq!(joins([1, 1, 2, 4], [0, 1]), 0);
        assert_eq!(joins([1, 1, 2, 2], [0, 0]), 0);
        assert_eq!(joins([1, 1, 1, 2], [0, 1]), 2);
    }

    #[test]
    fn joined_rows_end_with_the_patch() {
        let threads = Threads::new(1);
        let maps = Maps { pictures: 1, blocks: 1, own: [0, 1], size: [4, 4] };
        for at in [[1, 0], [0, 6]] {
            let mut out = [0; 16];
            let job = |[mut patch]: [Patch<'_, i32>; 1], _: &mut [()]| {
                if let Some(mut joined) = patch.runs(0, 0).joined() {
                    joined.after(at).run::<3>(0);
                }
            };
            let run = || threads.patches([(&mut out[..], maps)], [1, 1, 2, 4], &mut [], job);
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{at:?}");
        }
    }

    #[test]
    fn no_part_writes_into_tiles_of_another() {
        let threads = Threads::new(1);
        let maps = Maps { pictures: 1, blocks: 1, own: [0, 1], size: [4, 4] };
        let cut = TileCut { tile: [2, 2], blocks: 1, runs: 2 };
        let cases =
            [([0, 0, 0], [2, 0]), ([0, 0, 2], [0, 0]), ([0, 1, 0], [0, 0]), ([1, 0, 0], [0, 0])];
        for (place, at) in cases {
            let job = |[mut tiled]: [Tiled<'_, i32>; 1], _: &mut [()]| {
                if tiled.tiles.start == 0 {
                    tiled.runs(place, 0).after(at);
                }
            };
            let mut out = [0; 16];
            let run = || threads.tiles([(&mut out[..], maps)], cut, &mut [], job);
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{place:?} {at:?}");
        }
    }
}
