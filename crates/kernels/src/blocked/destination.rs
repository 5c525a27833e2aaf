use crate::threads::Threads;

use super::Pixel;

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

    /// Runs `job(i, plane)` for the `i`-th of the planes that are written, `own` of each of the
    /// `pictures`, on all threads.
    pub(crate) fn planes(
        self,
        threads: &Threads,
        [pictures, own]: [usize; 2],
        job: impl Fn(usize, &mut [Pixel]) + Sync,
    ) {
        let Destination { value, blocks, at } = self;
        assert!(at + own <= blocks, "the blocks are within the value");
        if value.is_empty() {
            return;
        }
        let area = value.len() / (pictures * blocks);
        assert_eq!(value.len(), pictures * blocks * area, "length of the value");
        if pictures == 1 {
            // Equal shares, so that a thread finds what it wrote before.
            let share = own.div_ceil(threads.count());
            let value = &mut value[at * area..][..own * area];
            threads.chunks(value, share * area, |part, planes| {
                for (i, plane) in planes.chunks_exact_mut(area).enumerate() {
                    job(part * share + i, plane);
                }
            });
        } else {
            threads.chunks(value, blocks * area, |picture, maps| {
                let planes = maps.chunks_exact_mut(area).skip(at).take(own);
                planes.enumerate().for_each(|(i, plane)| job(picture * own + i, plane));
            });
        }
    }
}
