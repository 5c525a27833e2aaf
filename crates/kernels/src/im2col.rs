//! The matrix of pixels of a convolution: a row for every tap of the kernel, a column for every
//! output pixel. It is never there as a whole, but made stretch by stretch where it is read.

use crate::conv::Conv;
use std::ops::Range;

impl Conv {
    /// Copies, for every output pixel of `columns`, the input pixel that lies under `tap` of its
    /// window. `into` keeps what it has where that is padding.
    pub(crate) fn im2col(
        &self,
        x: &[f32],
        sample_and_group: usize,
        tap: usize,
        columns: Range<usize>,
        into: &mut [f32],
    ) {
        let [_, h, w] = self.input;
        let area = self.kernel[0] * self.kernel[1];
        let plane = &x[(sample_and_group * self.channels() + tap / area) * h * w..][..h * w];
        let step = self.stride[1];
        self.runs(tap % area, columns, |at, pixel, len| {
            let into = &mut into[at..][..len];
            match step {
                1 => into.copy_from_slice(&plane[pixel..][..len]),
                _ => into
                    .iter_mut()
                    .zip(plane[pixel..].iter().step_by(step))
                    .for_each(|(to, &from)| *to = from),
            }
        });
    }

    /// The adjoint of [`im2col`](Conv::im2col): adds the column to the pixels it would come from.
    pub(crate) fn col2im(
        &self,
        column: &[f32],
        tap: usize,
        columns: Range<usize>,
        plane: &mut [f32],
    ) {
        let area = self.kernel[0] * self.kernel[1];
        let step = self.stride[1];
        self.runs(tap % area, columns, |at, pixel, len| {
            let column = &column[at..][..len];
            match step {
                1 => {
                    plane[pixel..][..len].iter_mut().zip(column).for_each(|(to, from)| *to += from)
                }
                _ => plane[pixel..]
                    .iter_mut()
                    .step_by(step)
                    .zip(column)
                    .for_each(|(to, from)| *to += from),
            }
        });
    }

    /// Follows the place `tap` of the window over the output pixels `columns`: calls
    /// `run(at, pixel, len)` for every stretch within a line of the input, from the `at`th of the
    /// columns on, from `pixel` of the map on, every `stride[1]`th.
    #[inline]
    fn runs(&self, tap: usize, columns: Range<usize>, mut run: impl FnMut(usize, usize, usize)) {
        let ([_, h, w], [_, _, width]) = (self.input, self.output);
        let [down, right] =
            [tap / self.kernel[1] * self.dilation[0], tap % self.kernel[1] * self.dilation[1]];
        let [top, left, ..] = self.pad;
        // Output pixels of a row whose input pixel exists: 0 ≤ ox·stride + right − left < w.
        let start = left.saturating_sub(right).div_ceil(self.stride[1]);
        let end = (w + left).saturating_sub(right).div_ceil(self.stride[1]).min(width);
        for oy in columns.start / width..columns.end.div_ceil(width) {
            let line = (oy * self.stride[0] + down).wrapping_sub(top);
            let start = columns.start.max(oy * width + start);
            let end = columns.end.min(oy * width + end);
            if line < h && start < end {
                let ox = start - oy * width;
                let pixel = line * w + ox * self.stride[1] + right - left;
                run(start - columns.start, pixel, end - start);
            }
        }
    }
}
