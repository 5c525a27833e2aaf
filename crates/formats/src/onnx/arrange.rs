//! Operators that only arrange values: Reshape, Flatten, Squeeze, Unsqueeze, Transpose.

use super::operator::{Operator, axis, sizes};
use super::view::View;
use crate::limits::COMPUTED_AXES;

/// How the values lie afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// In the same order, with these extents.
    Extents(Vec<usize>),
    /// The axes in this order.
    Order(Vec<usize>),
}

impl Arrangement {
    pub(super) fn is_made_by(kind: &str) -> bool {
        matches!(kind, "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose")
    }

    /// What an operator makes of a value of these extents; `second` are the values of its second
    /// input.
    pub(super) fn of(
        operator: &Operator<'_>,
        extents: &[usize],
        second: Option<&[i64]>,
    ) -> Result<Arrangement, String> {
        let rank = extents.len();
        let axes = || match second {
            Some(axes) => Ok(Some(axes.to_vec())),
            None => operator.ints("axes"),
        };
        let extents = match operator.kind {
            "Transpose" => {
                let order = match operator.ints("perm")? {
                    Some(order) => {
                        order.iter().map(|&a| axis(a, rank)).collect::<Result<_, _>>()?
                    }
                    None => (0..rank).rev().collect(),
                };
                return Ok(Arrangement::Order(order));
            }
            "Flatten" => {
                let at = operator.int("axis", 1)?;
                let at = if at == rank as i64 { rank } else { axis(at, rank)? };
                let (before, behind) = extents.split_at(at);
                vec![before.iter().product(), behind.iter().product()]
            }
            "Squeeze" => {
                let squeezed: Vec<usize> = match axes()? {
                    Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<_, _>>()?,
                    None => (0..rank).filter(|&axis| extents[axis] == 1).collect(),
                };
                if let Some(&wide) = squeezed.iter().find(|&&axis| extents[axis] != 1) {
                    return Err(format!("takes away axis {wide} of {extents:?}"));
                }
                let kept = (0..rank).filter(|axis| !squeezed.contains(axis));
                kept.map(|axis| extents[axis]).collect()
            }
            "Unsqueeze" => {
                let axes = axes()?.ok_or("no axes")?;
                if axes.len() > COMPUTED_AXES - rank.min(COMPUTED_AXES) {
                    return Err(format!("{} axes more", axes.len()));
                }
                let rank = rank + axes.len();
                let axes = axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
                let mut old = extents.iter().copied();
                (0..rank)
                    .map(|axis| if axes.contains(&axis) { Some(1) } else { old.next() })
                    .collect::<Option<_>>()
                    .ok_or("an axis twice")?
            }
            _ => {
                let wanted = match second {
                    Some(wanted) => wanted.to_vec(),
                    None => operator.ints("shape")?.ok_or("no shape")?,
                };
                reshaped(extents, &wanted, operator.flag("allowzero")?)?
            }
        };
        Ok(Arrangement::Extents(extents))
    }

    /// The values arranged, if they can be without being moved.
    pub(super) fn apply(&self, view: &View) -> Option<View> {
        match self {
            Arrangement::Extents(extents) => view.reshaped(extents),
            Arrangement::Order(order) => view.transposed(order),
        }
    }
}

/// The extents that a Reshape asks for: 0 is as it was, −1 what is left.
fn reshaped(extents: &[usize], wanted: &[i64], zeros: bool) -> Result<Vec<usize>, String> {
    if wanted.len() > COMPUTED_AXES {
        return Err(format!("makes {} axes, the limit is {COMPUTED_AXES}", wanted.len()));
    }
    let volume: usize = extents.iter().product();
    let cannot = || format!("makes {wanted:?} of {extents:?}");
    let mut free = None;
    let mut made = Vec::new();
    for (i, &extent) in wanted.iter().enumerate() {
        made.push(match extent {
            -1 if free.is_none() => {
                free = Some(i);
                1
            }
            0 if !zeros => *extents.get(i).ok_or_else(cannot)?,
            extent => sizes(&[extent]).map_err(|_| cannot())?[0],
        });
    }
    let known =
        made.iter().try_fold(1usize, |volume, &n| volume.checked_mul(n)).ok_or_else(cannot)?;
    if let Some(free) = free {
        made[free] = volume.checked_div(known).unwrap_or(0);
    }
    let fits = made.iter().try_fold(1usize, |volume, &n| volume.checked_mul(n)) == Some(volume);
    if fits { Ok(made) } else { Err(cannot()) }
}
