//! Values of a tensor that lie in another order where they are stored: gathered a part at a time.

use std::ops::Range;

/// An axis of a view: how many values, and from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// How many values there are along it.
    pub extent: usize,
    /// How many stored values it is from one to the next.
    pub stride: usize,
}

impl Axis {
    /// So many values, so far apart.
    pub fn new(extent: usize, stride: usize) -> Axis {
        Axis { extent, stride }
    }
}

/// How many values are gathered and kept at a time: 16 MiB.
pub const PANEL: usize = 1 << 22;

/// Of so many values that are read one is used, at worst: many small reads would take longer.
const WASTE: usize = 8;

/// Values that are neighbours in the result and are written together: a line of the caches.
const TILE: usize = 16;

/// Stored values of several axes that are read together, at most: a tile of them is in the caches.
const BLOCK: usize = 1 << 16;

/// Values that follow each other both where they are stored and in the result are read where they
/// belong if they are as many.
const RUN: usize = 1 << 9;

/// An axis, and how far apart its values are in the result.
#[derive(Clone, Copy, PartialEq)]
struct Step {
    extent: usize,
    from: usize,
    to: usize,
}

/// No axis: one value.
const ONE: Step = Step { extent: 1, from: 1, to: 1 };

/// How many stored values the axes reach over.
fn span(steps: &[Step]) -> usize {
    steps.iter().map(|step| (step.extent - 1) * step.from).sum::<usize>() + 1
}

/// How many values a row of a view has, one index of its first axis.
pub fn inner(axes: &[Axis]) -> usize {
    axes.iter().skip(1).map(|axis| axis.extent).product()
}

/// The axes of a view as its values lie when they follow each other.
pub fn dense(axes: &[Axis]) -> Vec<Axis> {
    let mut stride = axes.iter().map(|axis| axis.extent).product();
    let axes = axes.iter().map(|axis| {
        stride /= axis.extent.max(1);
        Axis::new(axis.extent, stride)
    });
    axes.collect()
}

/// The rows of a view that are gathered together with this one.
pub fn panel(axes: &[Axis], row: usize) -> Range<usize> {
    let rows = axes.first().map_or(1, |axis| axis.extent);
    let together = (PANEL / inner(axes).max(1)).max(1);
    let first = row / together * together;
    first..(first + together).min(rows)
}

/// Rows of a view: where the first value is, and the axes.
pub fn part(axes: &[Axis], rows: Range<usize>) -> (usize, Vec<Axis>) {
    let mut part = axes.to_vec();
    let Some(first) = part.first_mut() else { return (0, part) };
    first.extent = rows.len();
    (rows.start * first.stride, part)
}

/// A view, from the `from`-th value on, of the values that another view gives in its order: where its
/// first value is stored, and the axes as they are there. Nothing if it walks over an end of an
/// axis of the other.
pub fn composed(of: &[Axis], from: usize, view: &[Axis]) -> Option<(usize, Vec<Axis>)> {
    // From the slowest to the fastest: the step of each axis, the index, and the last that is met.
    let (mut left, mut at) = (from, 0);
    let mut walked = Vec::new();
    for (axis, Axis { stride: dense, .. }) in of.iter().zip(dense(of)) {
        if axis.extent > 1 {
            let index = left / dense;
            left -= index * dense;
            at += index * axis.stride;
            walked.push((dense, axis, index));
        }
    }
    let mut stored = Vec::new();
    for &Axis { extent, stride } in view {
        if extent <= 1 || stride == 0 {
            stored.push(Axis::new(extent, 0));
            continue;
        }
        let (dense, axis, last) = walked.iter_mut().find(|(dense, ..)| *dense <= stride)?;
        let step = stride / *dense;
        *last += (extent - 1) * step;
        if stride % *dense != 0 || *last >= axis.extent {
            return None;
        }
        stored.push(Axis::new(extent, step * axis.stride));
    }
    Some((at, stored))
}

/// Writes a view, the last axis fastest, to `to`. `read` gives stored values from one on, of
/// which the view's first is the 0th; it is asked for neighbours together.
///
/// Values that will be neighbours are written side by side, some rows of the stored ones at a time:
/// what is far apart in memory may share a place in the caches.
///
/// # Errors
/// Those of `read`.
pub fn gather<E>(
    axes: &[Axis],
    mut read: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    to: &mut [f32],
) -> Result<(), E> {
    let mut result = Ok(());
    if !to.is_empty() {
        let steps = steps(axes);
        walk(steps, to, &mut |at, room| {
            if result.is_ok() {
                result = read(at, room);
            }
        });
    }
    result
}

/// [`gather`] by steps, once in a program.
fn walk(mut steps: Vec<Step>, to: &mut [f32], read: &mut dyn FnMut(usize, &mut [f32])) {
    if let Some((&run, rest)) = steps.split_last()
        && (run.from, run.to) == (1, 1)
        && (run.extent >= RUN || rest.is_empty())
    {
        return each(rest, &mut |at, start| read(at, &mut to[start..][..run.extent]));
    }
    let volume = |steps: &[Step]| steps.iter().map(|step| step.extent).product::<usize>();
    let fits = |steps: &[Step]| {
        let most = if steps.len() > 1 { BLOCK } else { 2 * PANEL };
        span(steps) <= WASTE * volume(steps) && span(steps) <= most
    };
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
        true => (near.extent, (TILE * BLOCK / span).clamp(1, TILE)),
        false => (1, 1),
    };
    let mut block = vec![0.0; span * most.min(blocks)];
    each(&apart, &mut |at, start| {
        for first in (0..blocks).step_by(most) {
            let count = most.min(blocks - first);
            for (i, row) in block.chunks_exact_mut(span).take(count).enumerate() {
                read(at + (first + i) * near.from, row);
            }
            let (start, near) = match of_blocks {
                true => (start + first * near.to, Step { extent: count, from: span, ..near }),
                false => (start, near),
            };
            each(&together, &mut |from, target| {
                turn(&block[from..], &mut to[start + target..], fast, near)
            });
        }
    });
}

/// The axes as they are stored, so that values that are together there are read together; those that
/// are one axis both there and in the result are one.
fn steps(axes: &[Axis]) -> Vec<Step> {
    let mut steps: Vec<Step> = (axes.iter().zip(dense(axes)))
        .map(|(axis, to)| Step { extent: axis.extent, from: axis.stride, to: to.stride })
        .filter(|step| step.extent > 1)
        .collect();
    steps.sort_by_key(|step| std::cmp::Reverse(step.from));
    steps.dedup_by(|inner, outer| {
        let one = outer.from == inner.from * inner.extent && outer.to == inner.to * inner.extent;
        if one {
            *outer = Step { extent: outer.extent * inner.extent, ..*inner };
        }
        one
    });
    steps
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
fn each(steps: &[Step], see: &mut dyn FnMut(usize, usize)) {
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
    fn a_view_of_a_view_is_a_view() {
        let file: Vec<f32> = (0..5000).map(|i| i as f32).collect();
        let axes = |axes: &[(usize, usize)]| -> Vec<Axis> {
            axes.iter().map(|&(extent, stride)| Axis::new(extent, stride)).collect()
        };
        // A kernel of a file, height × width × in × out; then what reads it in that order again.
        let kernel = axes(&[(8, 1), (4, 8), (3, 96), (1, 1), (5, 300)]);
        let dense = plainly(&kernel, &file);
        let cases: [(usize, &[(usize, usize)]); 6] = [
            (0, &[(3, 5), (5, 1), (4, 15), (8, 60)]),
            (65, &[(2, 5), (1, 0), (3, 1), (2, 30), (7, 60)]),
            (7, &[]),
            (479, &[(1, 7)]),
            (3, &[(4, 0), (2, 15)]),
            (0, &[(2, 240), (4, 60)]),
        ];
        for (from, view) in cases {
            let view = axes(view);
            let (at, stored) = composed(&kernel, from, &view).unwrap();
            assert_eq!(plainly(&stored, &file[at..]), plainly(&view, &dense[from..]), "{view:?}");
        }
        // Over the end of an axis, and along two that are none together in the file.
        for (from, view) in [(4, (2, 1)), (0, (6, 1)), (0, (15, 4)), (0, (4, 7))] {
            assert_eq!(composed(&kernel, from, &axes(&[view])), None, "{view:?}");
        }
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
