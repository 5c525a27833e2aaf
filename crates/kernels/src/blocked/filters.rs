//! From rows of weights, one an output, to pixels of sixteen outputs.

use super::layout::Pixel;
use super::simd::LANES;

/// Where the weights of a channel and tap are put: `first` is that of the very first, the others are
/// so far from it as their block, lane and tap say.
pub(crate) struct Places<'a> {
    pub(crate) first: usize,
    /// From a block of sixteen channels to the next.
    pub(crate) block: usize,
    /// From a channel of a block to the next.
    pub(crate) lane: usize,
    pub(crate) taps: &'a [usize],
}

impl Places<'_> {
    #[inline(always)]
    pub(crate) fn of(&self, channel: usize, tap: usize) -> usize {
        let (block, lane) = (channel / LANES, channel % LANES);
        self.first + block * self.block + lane * self.lane + self.taps[tap]
    }

    /// Up to sixteen rows of `channels × taps` weights. Lanes without a row become zero. Rows are
    /// read, and pixels written, a line of cache at a time.
    pub(crate) fn put(&self, rows: &[f32], channels: usize, packed: &mut [Pixel]) {
        let row = channels * self.taps.len();
        let (mut channel, mut tap) = (0, 0);
        for first in (0..row).step_by(LANES) {
            let len = LANES.min(row - first);
            let square = match whole(rows, row, first) {
                Some(lines) => {
                    std::array::from_fn(|i| Pixel(std::array::from_fn(|lane| lines[lane][i])))
                }
                None => {
                    let mut square = [Pixel::ZERO; LANES];
                    for (lane, row) in rows.chunks_exact(row).enumerate() {
                        let weights = &row[first..][..len];
                        square.iter_mut().zip(weights).for_each(|(to, w)| to.0[lane] = *w);
                    }
                    square
                }
            };
            for pixel in &square[..len] {
                packed[self.of(channel, tap)] = *pixel;
                tap += 1;
                if tap == self.taps.len() {
                    (channel, tap) = (channel + 1, 0);
                }
            }
        }
    }
}

/// Sixteen weights of each of sixteen rows, if there are so many.
#[inline(always)]
fn whole(rows: &[f32], row: usize, first: usize) -> Option<[&[f32; LANES]; LANES]> {
    if rows.len() < LANES * row || first + LANES > row {
        return None;
    }
    let mut lines = [&[0.0; LANES]; LANES];
    for (lane, line) in lines.iter_mut().enumerate() {
        *line = rows[lane * row + first..].first_chunk()?;
    }
    Some(lines)
}
