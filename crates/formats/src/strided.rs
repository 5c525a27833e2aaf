//! Values of a tensor whose file has them in another order: gathered a part at a time.

use std::ops::Range;

/// An axis of a view: how many values, and from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) extent: usize,
    pub(crate) stride: usize,
}

impl Axis {
    pub(crate) fn new(extent: usize, stride: usize) -> Axis {
        Axis { extent, stride }
    }
}

/// How many values are gathered and kept at a time: 16 MiB.
pub(crate) const PANEL: usize = 1 << 22;

/// Of so many values that are read one is used, at worst: many small reads would take longer.
const WASTE: usize = 8;

/// An axis, and how far apart its values are in the result.
#[derive(Clone, Copy)]
struct Step {
    extent: usize,
    from: usize,
    to: usize,
}

/// No axis: one value.
const ONE: Step = Step { extent: 1, from: 1, to: 1 };

/// Values that are neighbours in the result and are written together: a line of the caches.
const TILE: usize = 16;

/// How many values of the file the axes reach over.
fn span(steps: &[Step]) -> usize {
    steps.iter().map(|step| (step.extent - 1) * step.from).sum::<usize>() + 1
}

/// How many values a row of a view has, one index of its first axis.
pub(crate) fn inner(axes: &[Axis]) -> usize {
    axes.iter().skip(1).map(|axis| axis.extent).product()
}

/// The rows of a view that are gathered together with this one.
pub(crate) fn panel(axes: &[Axis], row: usize) -> Range<usize> {
    let rows = axes.first().map_or(1, |axis| axis.extent);
    let together = (PANEL / inner(axes).max(1)).max(1);
    let first = row / together * together;
    first..(first + together).min(rows)
}

/// Rows of a view: where the first value is, and the axes.
pub(crate) fn part(axes: &[Axis], rows: Range<usize>) -> (usize, Vec<Axis>) {
    let mut part = axes.to_vec();
    let Some(first) = part.first_mut() else { return (0, part) };
    first.extent = rows.len();
    (rows.start * first.stride, part)
}

/// Writes a view, the last axis fastest, to `to`. `read` gives values of the file from one on, of
/// which the view's first is the 0th; it is asked for neighbours together.
///
/// Values that will be neighbours are written side by side, some rows of the file at a time: what is
/// far apart in memory may share a place in the caches.
pub(crate) fn gather<E>(
    axes: &[Axis],
    mut read: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    to: &mut [f32],
) -> Result<(), E> {
    let mut dense = to.len();
    let mut steps: Vec<Step> = (axes.iter())
        .map(|&Axis { extent, stride }| {
            dense /= extent.max(1);
            Step { extent, from: stride, to: dense }
        })
        .collect();
    if to.is_empty() {
        return Ok(());
    }
    steps.retain(|step| step.extent > 1);
    // As the file has them, so that values that are together there are read together.
    steps.sort_by_key(|step| std::cmp::Reverse(step.from));
    let volume = |steps: &[Step]| steps.iter().map(|step| step.extent).product::<usize>();
    let fits = |steps: &[Step]| span(steps) <= WASTE * volume(steps) && span(steps) <= 2 * PANEL;
    let whole = (0..=steps.len()).find(|&at| fits(&steps[at..])).unwrap_or(steps.len());
    let mut together = steps.split_off(whole);
    let mut apart = steps;
    let span = span(&together);
    // The axis along which the result is dense: of a block, or of several that are read one by one.
    let nearest = |steps: &[Step]| (0..steps.len()).min_by_key(|&i| steps[i].to);
    let least = |steps: &[Step]| nearest(steps).map_or(usize::MAX, |i| steps[i].to);
    let of_blocks = least(&apart) < least(&together);
    let near = if of_blocks { &mut apart } else { &mut together };
    let near = nearest(near).map_or(ONE, |i| near.remove(i));
    let fast = together.pop().unwrap_or(ONE);
    apart.sort_by_key(|step| std::cmp::Reverse(step.to));

    let (blocks, most) = match of_blocks {
        true => (near.extent, (PANEL / span).clamp(1, TILE)),
        false => (1, 1),
    };
    let mut block = vec![0.0; span * most.min(blocks)];
    let mut result = Ok(());
    each(&apart, |at, start| {
        for first in (0..blocks).step_by(most) {
            if result.is_err() {
                return;
            }
            let count = most.min(blocks - first);
            for (i, row) in block.chunks_exact_mut(span).take(count).enumerate() {
                if result.is_ok() {
                    result = read(at + (first + i) * near.from, row);
                }
            }
            let (start, near) = match of_blocks {
                true => (start + first * near.to, Step { extent: count, from: span, ..near }),
                false => (start, near),
            };
            each(&together, |from, target| {
                turn(&block[from..], &mut to[start + target..], fast, near)
            });
        }
    });
    result
}

/// Values of two axes, a tile at a time.
fn turn(block: &[f32], to: &mut [f32], fast: Step, near: Step) {
    for first in (0..fast.extent).step_by(TILE) {
        for from in (0..near.extent).step_by(TILE) {
            let count = TILE.min(near.extent - from);
            for i in first..fast.extent.min(first + TILE) {
                let block = &block[i * fast.from + from * near.from..];
                let to = &mut to[i * fast.to + from * near.to..];
                // By their numbers: of a value that is repeated there is no next.
                for near_at in 0..count {
                    to[near_at * near.to] = block[near_at * near.from];
                }
            }
        }
    }
}

/// Calls `see(from, to)` for every combination of indices, the last axis fastest.
fn each(steps: &[Step], mut see: impl FnMut(usize, usize)) {
    let mut index = vec![0; steps.len()];
    let (mut from, mut to) = (0, 0);
    loop {
        see(from, to);
        let mut axis = steps.len();
        loop {
            let Some(previous) = axis.checked_sub(1) else { return };
            axis = previous;
            let step = steps[axis];
            index[axis] += 1;
            from += step.from;
            to += step.to;
            if index[axis] < step.extent {
                break;
            }
            from -= step.from * step.extent;
            to -= step.to * step.extent;
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One value after the other.
    fn plainly(axes: &[Axis], file: &[f32]) -> Vec<f32> {
        let Some((first, rest)) = axes.split_first() else { return vec![file[0]] };
        let rows = (0..first.extent).map(|i| i * first.stride);
        rows.flat_map(|at| plainly(rest, &file[at..])).collect()
    }

    #[test]
    fn every_order_is_that_of_the_view() {
        let file: Vec<f32> = (0..5000).map(|i| i as f32).collect();
        let cases: [&[(usize, usize)]; 11] = [
            &[],
            &[(7, 1)],
            &[(5, 1), (6, 5)],
            // A kernel, last axis first; a dense layer behind a flattened map; every other value.
            &[(8, 1), (4, 8), (3, 96), (3, 32)],
            &[(5, 1), (4, 5), (3, 40), (2, 20)],
            &[(10, 20), (7, 2)],
            &[(2, 1000), (3, 0), (4, 7)],
            // Values that are repeated along the last axis.
            &[(5, 0)],
            &[(3, 7), (5, 0)],
            &[(2, 0), (3, 0)],
            &[(1, 77), (3, 100), (1, 5), (2, 1)],
        ];
        for case in cases {
            let axes: Vec<Axis> = case.iter().map(|&(n, stride)| Axis::new(n, stride)).collect();
            let expected = plainly(&axes, &file);
            let mut found = vec![f32::NAN; expected.len()];
            let read = |at: usize, block: &mut [f32]| -> Result<(), ()> {
                block.copy_from_slice(&file[at..][..block.len()]);
                Ok(())
            };
            gather(&axes, read, &mut found).unwrap();
            assert_eq!(found, expected, "{case:?}");
            let failed = gather(&axes, |_, _| Err(7), &mut found);
            assert_eq!(failed, Err(7));
        }
        assert_eq!(gather(&[Axis::new(0, 1)], |_, _| Err(()), &mut []), Ok(()));
    }

    #[test]
    fn panels_are_whole_rows() {
        let axes = [Axis::new(4096, 1), Axis::new(25088, 4096)];
        assert_eq!(panel(&axes, 0), 0..167);
        assert_eq!(panel(&axes, 4095), 4008..4096);
        assert_eq!(panel(&[Axis::new(3, 1), Axis::new(1 << 23, 3)], 1), 1..2);
        assert_eq!(panel(&[], 0), 0..1);
    }
}
