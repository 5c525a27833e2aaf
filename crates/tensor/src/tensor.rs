/// A dense tensor of `f32`, contiguous, the last axis fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// A borrowed tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View<'a> {
    /// Extents, the last axis fastest.
    pub shape: &'a [usize],
    /// The values, as many as the product of the extents.
    pub data: &'a [f32],
}

/// As many values were given as the shape does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tensor of shape {shape:?} was given {found} values")]
pub struct ShapeError {
    /// The shape asked for.
    pub shape: Vec<usize>,
    /// How many values were given.
    pub found: usize,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(shape: &[usize]) -> Tensor {
        Tensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    /// A tensor of the given values.
    ///
    /// # Errors
    /// [`ShapeError`] if there are more or fewer values than the shape has.
    pub fn new(shape: &[usize], data: Vec<f32>) -> Result<Tensor, ShapeError> {
        let wanted = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        if wanted == Some(data.len()) {
            Ok(Tensor { shape: shape.to_vec(), data })
        } else {
            Err(ShapeError { shape: shape.to_vec(), found: data.len() })
        }
    }

    /// Extents, the last axis fastest.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All values in order.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All values in order, to be written.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The values alone.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// A borrowed tensor of the same shape.
    pub fn view(&self) -> View<'_> {
        View { shape: &self.shape, data: &self.data }
    }

    /// The values of one entry of the first axis: one picture of a batch, one row of logits.
    ///
    /// # Panics
    /// If the tensor has no axis or `index` is not below the first extent.
    pub fn row(&self, index: usize) -> &[f32] {
        let len = self.data.len() / self.shape[0];
        &self.data[index * len..][..len]
    }

    /// The rows of the first axis, in order.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.shape.first().copied().unwrap_or(0)).map(|i| self.row(i))
    }
}

/// The largest magnitude, NaN if one of the values is.
pub fn max_abs(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m, v| if v.is_nan() || m.is_nan() { f32::NAN } else { v.abs().max(m) })
}

/// The largest difference of two equally long slices, NaN if one of the values is.
///
/// # Panics
/// If the lengths differ.
pub fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "slices of different lengths are compared");
    let worst = |m: f32, (x, y): (&f32, &f32)| {
        let d = (x - y).abs();
        if d.is_nan() || m.is_nan() { f32::NAN } else { m.max(d) }
    };
    a.iter().zip(b).fold(0.0, worst)
}

/// The indices of the `k` largest values, largest first; of equal ones the lower index is first.
/// A NaN counts as smaller than everything.
pub fn top(values: &[f32], k: usize) -> Vec<usize> {
    let key = |i: usize| if values[i].is_nan() { f32::NEG_INFINITY } else { values[i] };
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| key(j).total_cmp(&key(i)).then(i.cmp(&j)));
    order.truncate(k);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_has_as_many_values_as_its_shape() {
        assert!(Tensor::new(&[2, 3], vec![0.0; 6]).is_ok());
        let wrong = Tensor::new(&[2, 3], vec![0.0; 5]).unwrap_err();
        assert_eq!(wrong.to_string(), "a tensor of shape [2, 3] was given 5 values");
        assert!(Tensor::new(&[usize::MAX, 2], vec![]).is_err());
    }

    #[test]
    fn rows_are_entries_of_the_first_axis() {
        let t = Tensor::new(&[2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(t.row(1), [3.0, 4.0]);
        assert_eq!(t.rows().count(), 2);
    }

    #[test]
    fn ties_go_to_the_lower_index_and_nan_comes_last() {
        assert_eq!(top(&[1.0, 3.0, f32::NAN, 3.0], 3), [1, 3, 0]);
    }

    #[test]
    fn nan_is_never_a_small_difference() {
        assert!(max_difference(&[f32::NAN, 0.0], &[0.0, 0.0]).is_nan());
        assert!(max_abs(&[1.0, f32::NAN, 2.0]).is_nan());
        assert_eq!(max_difference(&[1.0, 2.0], &[1.5, 2.0]), 0.5);
    }
}
