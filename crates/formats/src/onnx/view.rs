//! Values in another order than they are stored in: what Reshape, Transpose, Squeeze and Unsqueeze
//! do, without doing it.

use striate_tensor::strided::Axis;

/// Axes over values that are stored, each of them some steps through the store, the last fastest.
///
/// An axis of extent 1 has no steps; one of 12 that two were joined to may have a step of 3 and one
/// of 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    axes: Vec<Vec<Axis>>,
}

impl View {
    /// Values that follow each other.
    pub(super) fn dense(extents: &[usize]) -> View {
        let mut stride = 1;
        let mut axes: Vec<Vec<Axis>> = Vec::new();
        for &extent in extents.iter().rev() {
            axes.push(joined([Axis::new(extent, stride)]));
            stride *= extent;
        }
        axes.reverse();
        View { axes }
    }

    /// One value at every place.
    pub(super) fn constant(extents: &[usize]) -> View {
        View { axes: extents.iter().map(|&extent| joined([Axis::new(extent, 0)])).collect() }
    }

    pub(super) fn rank(&self) -> usize {
        self.axes.len()
    }

    pub(super) fn extents(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.iter().map(|step| step.extent).product()).collect()
    }

    pub(super) fn volume(&self) -> usize {
        self.steps().iter().map(|step| step.extent).product()
    }

    /// The steps of an axis.
    pub(super) fn axis(&self, axis: usize) -> &[Axis] {
        &self.axes[axis]
    }

    /// All steps, those that follow each other joined.
    pub(super) fn steps(&self) -> Vec<Axis> {
        joined(self.axes.iter().flatten().copied())
    }

    /// Whether the values follow each other.
    pub(super) fn is_dense(&self) -> bool {
        match self.steps().as_slice() {
            [] => true,
            [step] => step.stride == 1,
            _ => false,
        }
    }

    /// The axes in another order, each of them once.
    pub(super) fn transposed(&self, order: &[usize]) -> Option<View> {
        let mut seen = vec![false; self.rank()];
        let fresh =
            |&axis: &usize| seen.get_mut(axis).is_some_and(|seen| !std::mem::replace(seen, true));
        if order.len() != self.rank() || !order.iter().all(fresh) {
            return None;
        }
        Some(View { axes: order.iter().map(|&axis| self.axes[axis].clone()).collect() })
    }

    /// Axes of these extents over the values in the same order, if steps need not be cut at no
    /// whole share.
    pub(super) fn reshaped(&self, extents: &[usize]) -> Option<View> {
        let mut steps = self.steps();
        if steps.iter().any(|step| step.extent == 0) {
            return None;
        }
        steps.reverse();
        let mut axes = Vec::new();
        for &extent in extents {
            let (mut left, mut axis) = (extent, Vec::new());
            while left > 1 {
                let step = steps.pop()?;
                if left % step.extent == 0 {
                    axis.push(step);
                    left /= step.extent;
                } else if step.extent % left == 0 {
                    let inner = step.extent / left;
                    axis.push(Axis::new(left, inner * step.stride));
                    steps.push(Axis::new(inner, step.stride));
                    left = 1;
                } else {
                    return None;
                }
            }
            axes.push(axis);
        }
        (steps.is_empty() && !extents.contains(&0)).then_some(View { axes })
    }

    /// The same with other steps at one axis.
    pub(super) fn with(&self, axis: usize, steps: impl IntoIterator<Item = Axis>) -> View {
        let mut view = self.clone();
        view.axes[axis] = joined(steps);
        view
    }

    /// The same without some axes.
    pub(super) fn without(&self, axes: &[usize]) -> View {
        let kept = self.axes.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        View { axes: kept.map(|(_, steps)| steps.clone()).collect() }
    }
}

/// Steps without those of one value, neighbours joined.
fn joined(steps: impl IntoIterator<Item = Axis>) -> Vec<Axis> {
    let mut joined: Vec<Axis> = Vec::new();
    for step in steps.into_iter().filter(|step| step.extent != 1) {
        match joined.last_mut() {
            Some(last) if last.stride == step.extent * step.stride => {
                *last = Axis::new(last.extent * step.extent, step.stride);
            }
            _ => joined.push(step),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_turned_back_is_as_before() {
        let map = View::dense(&[6, 4, 5]);
        let last = map.transposed(&[1, 2, 0]).unwrap();
        assert_eq!(last.extents(), [4, 5, 6]);
        assert!(!last.is_dense());
        assert_eq!(last.transposed(&[2, 0, 1]).unwrap(), map);
        // By way of a row, of pixels, of axes of one.
        let row = last.reshaped(&[120]).unwrap();
        assert_eq!(row.steps(), [Axis::new(20, 1), Axis::new(6, 20)]);
        assert_eq!(row.reshaped(&[4, 5, 6]).unwrap(), last);
        assert_eq!(
            row.reshaped(&[1, 20, 1, 6, 1])
                .unwrap()
                .without(&[0, 2, 4])
                .transposed(&[1, 0])
                .unwrap()
                .reshaped(&[6, 4, 5])
                .unwrap(),
            map
        );
        assert_eq!(last.reshaped(&[8, 15]), None);
        assert_eq!(last.reshaped(&[7, 5, 6]), None);
        assert_eq!(last.transposed(&[0, 0, 1]), None);
        assert_eq!(View::dense(&[1, 1]).reshaped(&[]).unwrap().volume(), 1);
    }

    #[test]
    fn shuffled_channels_have_two_steps() {
        let map = View::dense(&[2, 3, 4, 4]).transposed(&[1, 0, 2, 3]).unwrap();
        let map = map.reshaped(&[6, 4, 4]).unwrap();
        assert_eq!(map.axis(0), [Axis::new(3, 16), Axis::new(2, 48)]);
        assert_eq!(View::constant(&[7, 2]).steps(), [Axis::new(14, 0)]);
    }
}
