use crate::conv::Conv;

/// Some rows of a map with the zeros around it, as a convolution reads them.
///
/// Columns that a stride parts are apart here too: first all that the first tap of a row reads, then
/// those of the next. So a tap reads a run of neighbours, whatever the stride.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip {
    conv: Conv,
    /// Rows of the output that are made from it.
    pub(crate) makes: usize,
    /// Rows it has.
    rows: usize,
    /// Rows from what makes a row of the output to what makes the next.
    step: usize,
    /// Columns of each phase of the stride, and how many phases there are.
    width: usize,
    phases: usize,
}

impl Strip {
    pub(crate) fn new(conv: &Conv, makes: usize) -> Strip {
        let reach = |axis: usize| (conv.kernel[axis] - 1) * conv.dilation[axis] + 1;
        // What a single row or column of taps skips is not copied.
        let step = if reach(0) == 1 { 1 } else { conv.stride[0] };
        let phases = if reach(1) == 1 { 1 } else { conv.stride[1] };
        let width = (conv.output[2] - 1) + reach(1).div_ceil(phases);
        Strip { conv: *conv, makes, rows: (makes - 1) * step + reach(0), step, width, phases }
    }

    /// Elements of a map.
    pub(crate) fn len(&self) -> usize {
        self.rows * self.width * self.phases
    }

    /// Whether nothing lies between what makes a row of the output and what makes the next.
    pub(crate) fn is_dense(&self) -> bool {
        self.row() == self.conv.output[2]
    }

    /// Where the tap of a row and column of the kernel begins to read.
    pub(crate) fn tap(&self, [down, right]: [usize; 2]) -> usize {
        let (down, right) = (down * self.conv.dilation[0], right * self.conv.dilation[1]);
        (down * self.phases + right % self.phases) * self.width + right / self.phases
    }

    /// Elements from what makes a row of the output to what makes the next.
    pub(crate) fn row(&self) -> usize {
        self.step * self.width * self.phases
    }

    /// Copies what makes the rows of the output from `first` on, of one map.
    #[inline(always)]
    pub(crate) fn copy<T: Copy>(&self, map: &[T], zero: T, first: usize, strip: &mut [T]) {
        let Conv { input: [_, height, width], stride, pad: [top, left, ..], .. } = self.conv;
        let apart = if self.step == 1 { stride[0] } else { 1 };
        for (row, strip) in strip.chunks_exact_mut(self.width * self.phases).enumerate() {
            let row = (first * stride[0] + row * apart).wrapping_sub(top);
            let Some(from) = map.get(row.saturating_mul(width)..).filter(|_| row < height) else {
                strip.fill(zero);
                continue;
            };
            let from = &from[..width];
            for (phase, to) in strip.chunks_exact_mut(self.width).enumerate() {
                // The columns `i · stride + phase − left` of the map.
                let outside = left.saturating_sub(phase).div_ceil(stride[1]).min(to.len());
                let (before, to) = to.split_at_mut(outside);
                before.fill(zero);
                let start = outside * stride[1] + phase - left.min(outside * stride[1] + phase);
                let inside = width.saturating_sub(start).div_ceil(stride[1]).min(to.len());
                let (to, after) = to.split_at_mut(inside);
                after.fill(zero);
                if stride[1] == 1 {
                    to.copy_from_slice(&from[start..start + inside]);
                } else {
                    let from = from.iter().skip(start).step_by(stride[1]);
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}

/// Equal parts, of `most` at most, and as many for each of the threads if there are few.
pub(crate) fn share(len: usize, most: usize, threads: usize) -> usize {
    let parts = len.div_ceil(most.max(1)).max(1);
    let parts = if parts < 4 * threads { parts.next_multiple_of(threads) } else { parts };
    len.div_ceil(parts).max(1)
}
