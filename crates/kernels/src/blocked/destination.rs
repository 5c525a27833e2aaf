use std::ops::Range;

use super::Pixel;
use crate::threads::{Maps, Threads};

/// A map of fewer rows is not cut.
const FEW_ROWS: usize = 10;

/// Where a kernel writes: some blocks of channels of a batch of maps, often all of them. That way
/// the parts of a concatenation are written where they belong.
#[derive(Debug)]
pub struct Destination<'a> {
    /// All blocks of all pictures.
    pub value: &'a mut [Pixel],
    /// Blocks of a picture.
    pub blocks: usize,
    /// The first block to be written.
    pub at: usize,
}

impl<'a> Destination<'a> {
    /// All of a value that has so many blocks a picture.
    pub fn whole(value: &'a mut [Pixel], blocks: usize) -> Destination<'a> {
        Destination { value, blocks, at: 0 }
    }

    /// Runs `job(i, rows, y)` for rows of the `i`-th of the planes that are written, `own` of each of
    /// the `pictures`, on all threads. One that writes rows finds those that convolutions before it
    /// have written, for these share out large maps so, too.
    pub(crate) fn rows(
        self,
        threads: &Threads,
        [pictures, own, height]: [usize; 3],
        job: impl Fn(usize, Range<usize>, &mut [Pixel]) + Sync,
    ) {
        let Destination { value, blocks, at } = self;
        if value.is_empty() {
            return;
        }
        let width = value.len() / (pictures * blocks * height);
        let maps = Maps { pictures, blocks, own: [at, own], size: [height, width] };
        let share = |all: usize| all.div_ceil(threads.count());
        let [blocks, rows] = match pictures {
            1 if height < FEW_ROWS => [share(own), height],
            1 => [own, share(height)],
            _ => [own, height],
        };
        threads.patches([(value, maps)], [1, blocks, rows, width], &mut [(); 0], |[mut y], _| {
            for picture in y.pictures() {
                for block in y.blocks() {
                    job(picture * own + block, y.rows(), y.map(picture, block));
                }
            }
        });
    }

    /// Runs `job(i, plane)` for the `i`-th of the planes, as [`rows`](Destination::rows).
    pub(crate) fn planes(
        self,
        threads: &Threads,
        [pictures, own]: [usize; 2],
        job: impl Fn(usize, &mut [Pixel]) + Sync,
    ) {
        self.rows(threads, [pictures, own, 1], |plane, _, y| job(plane, y));
    }
}
