//! How a window moves over a map: the arithmetic that convolution and pooling share.

use crate::{MAX_VOLUME, Reason, Shape, Sides, Size};

/// Extents of the result along both axes: `⌊(n + pads − window) / stride⌋ + 1`, or `⌈…⌉` with
/// `ceil`, less a last window that would start beyond the map and its leading padding.
pub(super) fn steps(
    [h, w]: [usize; 2],
    window: Size,
    stride: Size,
    pad: Sides,
    ceil: bool,
) -> Result<[usize; 2], Reason> {
    let padded = |n: usize, before: usize, after: usize| {
        let sum = n.checked_add(before).and_then(|sum| sum.checked_add(after));
        sum.filter(|sum| *sum <= MAX_VOLUME).ok_or(Reason::TooLarge)
    };
    let padded = Size { h: padded(h, pad.top, pad.bottom)?, w: padded(w, pad.left, pad.right)? };
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
        let [n, before, kernel] = [n, before, kernel].map(|size| size as i128);
        let ends = clamped(count as i128, stride as i128, kernel - before, n);
        (ends - clamped(count as i128, stride as i128, -before, n)) as u64
    };
    along(h, pad.top, out_h, kernel.h, stride.h) * along(w, pad.left, out_w, kernel.w, stride.w)
}

/// `Σ min(max(i·step + from, 0), n)` for `i` below `count`, without walking over them: of a network in
/// a file there may be two thousand million.
fn clamped(count: i128, step: i128, from: i128, n: i128) -> i128 {
    let first = |above: i128| (above - from + step - 1).div_euclid(step).clamp(0, count);
    // From `low` on they are positive, from `high` on at the end.
    let (low, high) = (first(0), first(n));
    let between = step * (low + high - 1) * (high - low) / 2 + from * (high - low);
    between + n * (count - high)
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
    fn padding_beyond_any_map_is_refused() {
        for pad in [MAX_VOLUME, usize::MAX - 1, usize::MAX] {
            let e = steps([3, 3], 1.into(), 1.into(), pad.into(), false).unwrap_err();
            assert_eq!(e, Reason::TooLarge);
        }
    }

    #[test]
    fn pixels_are_seen_as_often_as_one_by_one() {
        for (n, before, count, kernel, stride) in [
            (5, 1, 3, 3, 2),
            (2, 1, 2, 3, 1),
            (7, 0, 7, 1, 1),
            (7, 2, 9, 3, 1),
            (4, 0, 2, 9, 5),
            (1, 3, 4, 2, 3),
        ] {
            let along = |i: usize| {
                let start = (i * stride).saturating_sub(before);
                let end = (i * stride + kernel).saturating_sub(before).min(n);
                end.saturating_sub(start) as u64
            };
            let expected: u64 = (0..count).map(along).sum();
            let pad = Sides { top: before, ..Sides::default() };
            let (kernel, stride) = (Size { h: kernel, w: 1 }, Size { h: stride, w: 1 });
            let found = seen(Shape::map(1, n, 1), Shape::map(1, count, 1), kernel, stride, pad);
            assert_eq!(found, expected, "{n} {before} {count} {kernel} {stride}");
        }
        let (most, one) = (Shape::map(1, MAX_VOLUME, 1), 1.into());
        assert_eq!(seen(most, most, one, one, 0.into()), MAX_VOLUME as u64);
    }

    #[test]
    fn a_window_larger_than_the_map_is_refused() {
        let e = steps([3, 3], 5.into(), 1.into(), 0.into(), false).unwrap_err();
        assert_eq!(e.to_string(), "5×5 window over a 3×3 map");
    }
}
