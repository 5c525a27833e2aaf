use serde::{Deserialize, Serialize};

use crate::{Reason, Shape};

/// Sum of a value and a scaled one, `a + scale · b`.
///
/// # Shape
/// Two inputs of one shape, unchanged.
/// # Parameters
/// None.
/// # Source
/// Szegedy et al. 2016 (Inception-ResNet), §3.3.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddScaled {
    /// Factor of the second input.
    pub scale: f32,
}

impl AddScaled {
    /// The shape both inputs have.
    pub fn shape(&self, inputs: &[Shape]) -> Result<Shape, Reason> {
        if !self.scale.is_finite() {
            return Err(Reason::Attribute(format!("scale must be finite, found {}", self.scale)));
        }
        match inputs {
            [_, _] => add_shape(inputs),
            _ => Err(Reason::Inputs { found: inputs.len(), expected: "two" }),
        }
    }
}

/// The one shape that all have.
pub(super) fn add_shape(inputs: &[Shape]) -> Result<Shape, Reason> {
    match inputs {
        [] | [_] => Err(Reason::Inputs { found: inputs.len(), expected: "two or more" }),
        [first, rest @ ..] if rest.iter().all(|shape| shape == first) => Ok(*first),
        _ => Err(Reason::Join(inputs.to_vec())),
    }
}

/// Channels added up over maps of one size, or lengths over rows.
pub(super) fn concat_shape(inputs: &[Shape]) -> Result<Shape, Reason> {
    let Some(&first) = inputs.first() else {
        return Err(Reason::Inputs { found: 0, expected: "one or more" });
    };
    let mut channels = 0;
    for &shape in inputs {
        let alike = match (first, shape) {
            (Shape::Map { h, w, .. }, Shape::Map { h: h2, w: w2, .. }) => (h, w) == (h2, w2),
            (Shape::Flat(_), Shape::Flat(_)) => true,
            (Shape::Map { .. }, Shape::Flat(_)) | (Shape::Flat(_), Shape::Map { .. }) => false,
        };
        if !alike {
            return Err(Reason::Join(inputs.to_vec()));
        }
        channels += shape.channels();
    }
    Ok(match first {
        Shape::Map { h, w, .. } => Shape::Map { c: channels, h, w },
        Shape::Flat(_) => Shape::Flat(channels),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fits_is_joined() {
        let (a, b) = (Shape::map(2, 4, 4), Shape::map(3, 4, 4));
        assert_eq!(concat_shape(&[a, b]), Ok(Shape::map(5, 4, 4)));
        assert_eq!(concat_shape(&[Shape::Flat(2), Shape::Flat(3)]), Ok(Shape::Flat(5)));
        assert!(concat_shape(&[a, Shape::map(2, 4, 5)]).is_err());
        assert!(concat_shape(&[a, Shape::Flat(2)]).is_err());
        assert_eq!(add_shape(&[a, a, a]), Ok(a));
        let error = add_shape(&[a, b]).unwrap_err().to_string();
        assert_eq!(error, "inputs of shapes 2×4×4, 3×4×4 do not fit together");
    }
}
