use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use striate_graph::{Param, ParamSource};
use striate_tensor::{Tensor, View};

use crate::output::Output;
use crate::parts::Placed;
use crate::{Dtype, FormatError, read, safetensors};

/// The one tensor of a file, whatever its name and rank.
///
/// # Errors
/// [`FormatError::NotOne`] if there are none or several; as [`read`].
pub fn read_tensor(path: &Path) -> Result<Tensor, FormatError> {
    let file = read(path)?;
    match file.listing().tensors.as_slice() {
        [stored] => file.tensor(stored),
        several => Err(FormatError::NotOne {
            place: file.listing().place.clone(),
            names: several.iter().map(|stored| stored.name.clone()).collect(),
        }),
    }
}

/// All tensors of a file with their names, in the order of the file.
///
/// # Errors
/// [`FormatError::Unsupported`] if one of them does not hold floating-point numbers; as [`read`].
pub fn read_tensors(path: &Path) -> Result<Vec<(String, Tensor)>, FormatError> {
    let file = read(path)?;
    let tensors = file.listing().tensors.iter();
    tensors.map(|stored| Ok((stored.name.clone(), file.tensor(stored)?))).collect()
}

/// Writes tensors to a safetensors file, in the order of their names, whole or not at all.
///
/// # Errors
/// [`FormatError::Unwritable`] if two have the same name, or one has more or fewer values than its
/// shape; [`FormatError::Io`] if the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &[(&str, View<'_>)]) -> Result<(), FormatError> {
    let tensors: Vec<Writing<'_>> = tensors.iter().map(Writing::of).collect();
    safetensors::write(path, &tensors, &BTreeMap::new(), Dtype::F32)
}

/// A tensor to be written.
#[derive(Clone, Copy)]
pub(crate) struct Writing<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: &'a [usize],
    pub(crate) values: Values<'a>,
}

/// Where its values are.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    Here(&'a [f32]),
    /// A parameter, read piece by piece.
    Of(&'a dyn ParamSource, &'a Param),
}

impl<'a> Writing<'a> {
    /// Values that are there.
    pub(crate) fn of((name, view): &(&'a str, View<'a>)) -> Writing<'a> {
        Writing { name, shape: view.shape, values: Values::Here(view.data) }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Writes the values.
    pub(crate) fn write(&self, file: &mut Output<'a>, dtype: Dtype) -> io::Result<()> {
        match self.values {
            Values::Here(values) => dtype.write(values, file),
            Values::Of(source, param) => file.values(source, param, None, dtype),
        }
    }

    /// One that the type cannot hold.
    fn too_large(&self, dtype: Dtype) -> io::Result<Option<f32>> {
        let mut large = None;
        let mut see = |values: &[f32]| {
            large = large.or(values.iter().copied().find(|value| !dtype.holds(*value)));
        };
        match self.values {
            Values::Here(values) => see(values),
            Values::Of(source, param) => {
                Placed::new(source, param, None, dtype, 0).each(&mut see)?
            }
        }
        Ok(large)
    }
}

/// That every tensor has as many values as its shape says, each of which the type can hold, and a
/// name of its own.
pub(crate) fn check(path: &Path, tensors: &[Writing<'_>], dtype: Dtype) -> Result<(), FormatError> {
    let unwritable =
        |reason| Err(FormatError::Unwritable { place: path.display().to_string(), reason });
    let mut names = HashSet::new();
    for tensor in tensors {
        let Writing { name, shape, values } = tensor;
        let volume = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        if let Values::Here(data) = values
            && volume != Some(data.len())
        {
            let found = data.len();
            return unwritable(format!("`{name}` has shape {shape:?} but {found} values"));
        }
        if !names.insert(*name) {
            return unwritable(format!("two tensors are called `{name}`"));
        }
        if matches!(dtype, Dtype::F16 | Dtype::BF16)
            && let Some(value) = tensor.too_large(dtype).map_err(FormatError::io("read", path))?
        {
            return unwritable(format!(
                "`{name}` holds {value}, which is too large for {dtype}: write F32"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_of_any_rank_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tensors.safetensors");
        let scalar = Tensor::new(&[], vec![2.5]).unwrap();
        let empty = Tensor::new(&[0, 3], vec![]).unwrap();
        let five = Tensor::new(&[1, 2, 1, 2, 1], vec![1.0, f32::NAN, 3.0, 4.0]).unwrap();
        let named = [("z", five.view()), ("b", scalar.view()), ("a", empty.view())];
        write_tensors(&path, &named).unwrap();
        let back = read_tensors(&path).unwrap();
        let names: Vec<_> = back.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "z"]);
        assert_eq!((&back[0].1, &back[1].1), (&empty, &scalar));
        assert_eq!(back[2].1.shape(), five.shape());
        let bits = |t: &Tensor| t.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back[2].1), bits(&five));

        let several = read_tensor(&path).unwrap_err().to_string();
        assert!(several.ends_with("found 3 (`a`, `b`, `z`), expected one tensor"), "{several}");
        write_tensors(&path, &named[1..2]).unwrap();
        assert_eq!(read_tensor(&path).unwrap(), scalar);
        write_tensors(&path, &[]).unwrap();
        let none = read_tensor(&path).unwrap_err().to_string();
        assert!(none.ends_with("found none, expected one tensor"), "{none}");
    }

    #[test]
    fn what_no_file_can_hold_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tensors.safetensors");
        let view = |shape| View { shape, data: &[1.0, 2.0] };
        let cases: [(&[(&str, View<'_>)], &str); 4] = [
            (&[("a", view(&[2])), ("a", view(&[2]))], "two tensors are called `a`"),
            (&[("a", view(&[3]))], "`a` has shape [3] but 2 values"),
            (&[("a", view(&[usize::MAX, 2]))], "but 2 values"),
            (&[("__metadata__", view(&[2]))], "a tensor cannot be called `__metadata__`"),
        ];
        for (tensors, expected) in cases {
            let error = write_tensors(&path, tensors).unwrap_err();
            assert!(error.to_string().ends_with(expected), "{error}");
            assert!(matches!(error, FormatError::Unwritable { .. }));
            assert!(!path.exists());
        }
    }
}
