use serde::{Deserialize, Serialize};

use super::{Role, Slot, row};
use crate::{Cost, Reason, Shape};

/// Euclidean radial basis functions, `y_i = Σ_j (x_j − w_ij)²`: distances to fixed codes, so the
/// **smallest** output is the winner.
///
/// # Shape
/// `N` → as many as there are codes.
/// # Parameters
/// `weight` `codes×N` of −1 and +1, fixed, so stored but not counted.
/// # Errors
/// [`Reason::Attribute`] if a code is not as long as the input.
/// # Source
/// LeCun et al. 1998, §II.B, Figure 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rbf {
    /// A code a class; `true` is +1.
    pub codes: Vec<Vec<bool>>,
}

impl Rbf {
    /// The row of distances.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        let length = row(input)?;
        if self.codes.is_empty() {
            return Err(Reason::Attribute(String::from("there are no codes")));
        }
        if let Some(classes) = self.codes.iter().position(Vec::is_empty) {
            return Err(Reason::Attribute(format!(
                "found more classes than the {classes} that have codes: choose at most {classes} \
                 classes, or a network that learns its output"
            )));
        }
        if let Some(code) = self.codes.iter().find(|code| code.len() != length) {
            let found = format!("a code of {} values for {length} inputs", code.len());
            return Err(Reason::Attribute(found));
        }
        Ok(Shape::Flat(self.codes.len()))
    }

    /// The codes as the values of `weight`.
    pub fn weight(&self) -> impl Iterator<Item = f32> {
        self.codes.iter().flatten().map(|&up| if up { 1.0 } else { -1.0 })
    }

    pub(super) fn slots(&self, input: Shape) -> Vec<Slot> {
        let shape = vec![self.codes.len(), input.volume()];
        vec![Slot { leaf: "weight", shape, role: Role::Fixed }]
    }

    pub(super) fn cost(&self, input: Shape) -> Cost {
        let pairs = (self.codes.len() * input.volume()) as u64;
        Cost { params: 0, macs: pairs, connections: pairs, activations: self.codes.len() as u64 }
    }
}
