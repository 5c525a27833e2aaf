//! Local response normalisation across channels, a lane for each channel.

use super::simd::{Isa, Kernel, Simd};
use super::{LANES, Pixel, blocks};
use crate::lrn::Lrn;
use crate::threads::{Block, Grid, Threads};

/// Pixels of a part of the work: what it reads stays in the second cache.
const PIXELS: usize = 64;

/// `y` of `x`, both `pictures × channels × area`.
///
/// # Panics
/// If a value has another length than the sizes say.
pub fn lrn(
    isa: Isa,
    threads: &Threads,
    lrn: &Lrn,
    [pictures, channels, area]: [usize; 3],
    x: &[Pixel],
    y: &mut [Pixel],
) {
    let own = blocks(channels);
    assert_eq!([x.len(), y.len()], [pictures * own * area; 2], "lengths of x, y");
    let grid = Grid { matrices: pictures, rows: own, columns: area, height: own, width: PIXELS };
    threads.blocks(y, grid, &mut [(); 0], |corner, y, _| {
        let x = &x[corner.matrix * own * area + corner.column..];
        isa.run(Strip { lrn, channels, area, x, y });
    });
}

/// Some pixels, all blocks of each.
struct Strip<'a> {
    lrn: &'a Lrn,
    channels: usize,
    /// Pixels from a block to the next.
    area: usize,
    x: &'a [Pixel],
    y: Block<'a, Pixel>,
}

impl Kernel for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Strip { lrn, channels, area, x, mut y } = self;
        let (blocks, pixels) = (y.rows(), y.columns());
        let before = lrn.size / 2;
        // What a window reaches lies in the blocks around, but for windows of tens of channels.
        let reach = before.div_ceil(LANES);
        for block in 0..blocks {
            let y = y.row(block);
            for pixel in 0..pixels {
                let mut sum = [0.0; LANES];
                if reach <= 1 {
                    let mut squares = [0.0; 3 * LANES];
                    for near in 0..3 {
                        let Some(at) = (block + near).checked_sub(1).filter(|&at| at < blocks)
                        else {
                            continue;
                        };
                        let x = &x[at * area + pixel].0;
                        let squares = &mut squares[near * LANES..][..LANES];
                        squares.iter_mut().zip(x).for_each(|(square, x)| *square = x * x);
                    }
                    for other in 0..lrn.size {
                        let squares = &squares[LANES - before + other..][..LANES];
                        sum.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
                    }
                } else {
                    for (lane, sum) in sum.iter_mut().enumerate() {
                        let channel = block * LANES + lane;
                        let first = channel.saturating_sub(before);
                        let end = (channel + lrn.size - before).min(blocks * LANES);
                        *sum = (first..end)
                            .map(|c| x[c / LANES * area + pixel].0[c % LANES].powi(2))
                            .sum();
                    }
                }
                let x = &x[block * area + pixel].0;
                for ((y, x), sum) in y[pixel].0.iter_mut().zip(x).zip(&sum) {
                    *y = x * lrn.power(lrn.k + lrn.alpha * sum);
                }
                // What is not a number would spread into the spare lanes.
                y[pixel].0[LANES.min(channels - block * LANES)..].fill(0.0);
            }
        }
    }
}
