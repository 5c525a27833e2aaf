//! How a window moves over a map: the arithmetic that convolution and pooling share.

use crate::{Reason, Shape, Sides, Size};

/// Extents of the result along both axes: `⌊(n + pads − window) / stride⌋ + 1`, or `⌈…⌉` with
/// `ceil`, less a last window that would start beyond the map and its leading padding.
pub(super) fn steps(
    [h, w]: [usize; 2],
    window: Size,
    stride: Size,
    pad: Sides,
    ceil: bool,
) -> Result<[usize; 2], Reason> {
    let padded = Size { h: h + pad.top + pad.bottom, w: w + pad.left + pad.right };
    if window.h > padded.h || window.w > padded.w {
        return Err(Reason::Window { kernel: window, map: padded });
    }
    let along = |n: usize, before: usize, padded: usize, window: usize, stride: usize| {
        let room = padded - window;
        let count = if ceil { room.div_ceil(stride) } else { room / stride };
        let starts_beyond = count * stride >= n + before;
        if ceil && starts_beyond { count } else { count + 1 }
    };
    Ok([
        along(h, pad.top, padded.h, window.h, stride.h),
        along(w, pad.left, padded.w, window.w, stride.w),
    ])
}

/// How many pixels of the map all windows see together, per channel.
pub(super) fn seen(input: Shape, output: Shape, kernel: Size, stride: Size, pad: Sides) -> u64 {
    let [_, h, w] = input.chw();
    let [_, out_h, out_w] = output.chw();
    let along = |n: usize, before: usize, count: usize, kernel: usize, stride: usize| -> u64 {
        (0..count)
            .map(|i| {
                let start = (i * stride).saturating_sub(before);
                let end = (i * stride + kernel).saturating_sub(before).min(n);
                end.saturating_sub(start) as u64
            })
            .sum()
    };
    along(h, pad.top, out_h, kernel.h, stride.h) * along(w, pad.left, out_w, kernel.w, stride.w)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_and_ceil_as_the_frameworks_have_them() {
        let cases = [
            // n, window, stride, (before, after), ceil, expected
            (224, 7, 2, (3, 3), false, 112), // ResNet conv1
            (112, 3, 2, (1, 1), false, 56),  // its pool, PyTorch
            (112, 3, 2, (0, 0), true, 56),   // its pool, Caffe
            (55, 3, 2, (0, 0), false, 27),
            (110, 3, 2, (0, 0), true, 55), // ZFNet, Figure 3
            (110, 3, 2, (0, 0), false, 54),
            // ⌈5/3⌉ + 1 = 3 windows, but the third would start at 6 = 5 + 1.
            (5, 2, 3, (1, 1), true, 2),
            (224, 3, 2, (0, 1), false, 112),
        ];
        for (n, window, stride, (before, after), ceil, expected) in cases {
            let pad = Sides { top: before, left: before, bottom: after, right: after };
            let got = steps([n, n], window.into(), stride.into(), pad, ceil).unwrap();
            assert_eq!(got, [expected; 2], "{n} by {window}/{stride}");
        }
    }

    #[test]
    fn a_window_larger_than_the_map_is_refused() {
        let e = steps([3, 3], 5.into(), 1.into(), 0.into(), false).unwrap_err();
        assert_eq!(e.to_string(), "5×5 window over a 3×3 map");
    }
}
