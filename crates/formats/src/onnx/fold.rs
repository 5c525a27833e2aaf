//! Operators whose inputs are all known: shapes that are computed, and weights that are.

use super::arrange::Arrangement;
use super::constant::{Constant, Holds};
use super::files::Files;
use super::operator::{Operator, axis, sizes};
use super::view::View;
use crate::limits::{COMPUTED, COMPUTED_AXES, COMPUTED_IN_ALL};
use crate::source::Source;

/// Values of a kind of number.
enum Values {
    Floats(Vec<f32>),
    Whole(Vec<i64>),
}

impl Values {
    fn of(constant: &Constant, source: &Source) -> Result<Values, String> {
        Ok(match constant.holds {
            Holds::Floats(_) => Values::Floats(constant.to_floats(source)?),
            Holds::Whole { .. } => Values::Whole(constant.to_integers(source)?),
        })
    }

    fn constant(self, extents: &[usize]) -> Constant {
        match self {
            Values::Floats(values) => Constant::floats(extents, &values),
            Values::Whole(values) => Constant::integers(extents, &values),
        }
    }

    /// Those at these places.
    fn picked(&self, places: &[usize]) -> Values {
        match self {
            Values::Floats(values) => Values::Floats(places.iter().map(|&i| values[i]).collect()),
            Values::Whole(values) => Values::Whole(places.iter().map(|&i| values[i]).collect()),
        }
    }
}

/// The value that a node gives without reading another, if it is one that does.
pub(super) fn given(
    operator: &Operator<'_>,
    files: &mut Files,
) -> Result<Option<Constant>, String> {
    if operator.kind != "Constant" {
        return Ok(None);
    }
    if let Some(tensor) = operator.tensor("value", files)? {
        return Ok(Some(tensor));
    }
    let scalar = |name| operator.has(name).then(|| operator.float(name, 0.0)).transpose();
    Ok(Some(if let Some(value) = scalar("value_float")? {
        Constant::floats(&[], &[value])
    } else if operator.has("value_int") {
        Constant::integers(&[], &[operator.int("value_int", 0)?])
    } else if let Some(values) = operator.floats("value_floats")? {
        Constant::floats(&[values.len()], &values)
    } else if let Some(values) = operator.ints("value_ints")? {
        Constant::integers(&[values.len()], &values)
    } else {
        return Err(String::from("a value that is no tensor"));
    }))
}

/// What a node makes of values that are all known, if it is of a kind that is computed here.
pub(super) fn fold(
    operator: &Operator<'_>,
    inputs: &[Option<&Constant>],
    files: &mut Files,
) -> Result<Option<Constant>, String> {
    let source = files.source();
    let input = |i: usize| inputs.get(i).copied().flatten();
    let Some(first) = input(0) else { return Ok(None) };
    let integers = |i: usize| input(i).map(|constant| constant.to_integers(&source)).transpose();
    Ok(Some(match operator.kind {
        "Identity" | "Dropout" => first.clone(),
        "Cast" => cast(first, operator.int("to", 1)?, &source)?,
        "Shape" => shape(operator, &first.extents())?,
        "Size" => Constant::integers(&[], &[first.view.volume() as i64]),
        "ConstantOfShape" => {
            let extents = sizes(&first.to_integers(&source)?)?;
            of_shape(&extents, operator.tensor("value", files)?)?
        }
        kind if Arrangement::is_made_by(kind) => {
            let extents = first.extents();
            let arranged = Arrangement::of(operator, &extents, integers(1)?.as_deref())?;
            arrange(first, &arranged, &source)?
        }
        "Concat" => {
            let all: Option<Vec<&Constant>> = inputs.iter().copied().collect();
            concat(operator, &all.ok_or("an input that is missing")?, &source)?
        }
        "Gather" => {
            let indices = input(1).ok_or("no indices")?;
            gather(operator, first, indices, &source)?
        }
        "Slice" => {
            let attribute = |name, i| match operator.ints(name)? {
                Some(values) => Ok(Some(values)),
                None => integers(i),
            };
            let (starts, ends) = (attribute("starts", 1)?, attribute("ends", 2)?);
            let (axes, steps) = (attribute("axes", 3)?, integers(4)?);
            slice(
                first,
                &starts.ok_or("no starts")?,
                &ends.ok_or("no ends")?,
                axes,
                steps,
                &source,
            )?
        }
        "Range" => {
            let [Some(start), Some(limit), Some(step)] = [integers(0)?, integers(1)?, integers(2)?]
            else {
                return Err(String::from("no start, limit or step"));
            };
            range(&start, &limit, &step)?
        }
        "Add" | "Sub" | "Mul" | "Div" => {
            arithmetic(operator.kind, first, input(1).ok_or("one input")?, &source)?
        }
        "Equal" => {
            let (first, second) = (integers(0)?, integers(1)?);
            let (Some([a]), Some([b])) = (first.as_deref(), second.as_deref()) else {
                return Err(String::from("of several values, expected one of each"));
            };
            Constant::integers(&[], &[i64::from(a == b)])
        }
        "Sqrt" | "Neg" | "Reciprocal" | "Floor" | "Ceil" => unary(operator.kind, first, &source)?,
        _ => return Ok(None),
    }))
}

/// The extents of a value, or some of them.
pub(super) fn shape(operator: &Operator<'_>, extents: &[usize]) -> Result<Constant, String> {
    let rank = extents.len() as i64;
    let clamp =
        |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (clamp(operator.int("start", 0)?), clamp(operator.int("end", rank)?));
    let part = extents.get(start..end).unwrap_or_default();
    let part: Vec<i64> = part.iter().map(|&extent| extent as i64).collect();
    Ok(Constant::integers(&[part.len()], &part))
}

fn of_shape(extents: &[usize], value: Option<Constant>) -> Result<Constant, String> {
    if extents.len() > COMPUTED_AXES {
        return Err(format!("{} axes, the limit is {COMPUTED_AXES}", extents.len()));
    }
    let volume = extents.iter().try_fold(1usize, |volume, &n| volume.checked_mul(n));
    // Nothing is allocated for them, but who runs the network does it.
    if volume.is_none_or(|volume| volume > COMPUTED_IN_ALL) {
        return Err(format!("{extents:?} times a value, the limit is {COMPUTED_IN_ALL} values"));
    }
    let value = value.unwrap_or_else(|| Constant::floats(&[], &[0.0]));
    if value.view.volume() != 1 {
        return Err(String::from("several values to repeat"));
    }
    // Whatever the other extents are, where one is 0.
    let extents = if volume == Some(0) { &[0] } else { extents };
    Ok(Constant { view: View::constant(extents), ..value })
}

fn cast(constant: &Constant, to: i64, source: &Source) -> Result<Constant, String> {
    let to = i32::try_from(to).ok().and_then(Holds::of);
    let to = to.ok_or("a type that is neither of floats nor of whole numbers")?;
    let extents = constant.extents();
    Ok(match (to, constant.holds) {
        (Holds::Floats(_), Holds::Floats(_)) | (Holds::Whole { .. }, Holds::Whole { .. }) => {
            constant.clone()
        }
        (Holds::Floats(_), Holds::Whole { .. }) => {
            Constant::floats(&extents, &constant.to_floats(source)?)
        }
        (Holds::Whole { .. }, Holds::Floats(_)) => {
            Constant::integers(&extents, &constant.to_integers(source)?)
        }
    })
}

/// The values arranged, moved where that is needed.
pub(super) fn arrange(
    constant: &Constant,
    arrangement: &Arrangement,
    source: &Source,
) -> Result<Constant, String> {
    if let Some(view) = arrangement.apply(&constant.view) {
        return Ok(Constant { view, ..constant.clone() });
    }
    let dense = Values::of(constant, source)?.constant(&constant.extents());
    let view = arrangement.apply(&dense.view).ok_or("an arrangement of other values")?;
    Ok(Constant { view, ..dense })
}

/// For every index of the result, the places of what is picked along an axis.
fn places(extents: &[usize], axis: usize, along: &[usize]) -> Vec<usize> {
    let inner: usize = extents[axis + 1..].iter().product();
    let outer: usize = extents[..axis].iter().product();
    let place = |o: usize, i: usize| (o * extents[axis] + i) * inner;
    (0..outer)
        .flat_map(|o| along.iter().flat_map(move |&i| place(o, i)..place(o, i) + inner))
        .collect()
}

fn gather(
    operator: &Operator<'_>,
    data: &Constant,
    indices: &Constant,
    source: &Source,
) -> Result<Constant, String> {
    let extents = data.extents();
    let at = axis(operator.int("axis", 0)?, extents.len())?;
    let chosen = indices.to_integers(source)?;
    let chosen: Vec<usize> =
        chosen.iter().map(|&index| axis(index, extents[at])).collect::<Result<_, _>>()?;
    let rest: usize =
        extents.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, n)| n).product();
    if rest.saturating_mul(chosen.len()) > COMPUTED {
        return Err(format!("more than {COMPUTED} values"));
    }
    let gathered = Values::of(data, source)?.picked(&places(&extents, at, &chosen));
    let made = [&extents[..at], &indices.extents(), &extents[at + 1..]].concat();
    Ok(gathered.constant(&made))
}

fn slice(
    data: &Constant,
    starts: &[i64],
    ends: &[i64],
    axes: Option<Vec<i64>>,
    steps: Option<Vec<i64>>,
    source: &Source,
) -> Result<Constant, String> {
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(String::from("starts, ends, axes and steps of several lengths"));
    }
    let (mut extents, mut values) = (data.extents(), Values::of(data, source)?);
    for (((&start, &end), at), &step) in starts.iter().zip(ends).zip(axes).zip(&steps) {
        let at = axis(at, extents.len())?;
        let along = along(start, end, step, extents[at])?;
        values = values.picked(&places(&extents, at, &along));
        extents[at] = along.len();
    }
    Ok(values.constant(&extents))
}

/// The indices that a slice keeps of an axis.
pub(super) fn along(start: i64, end: i64, step: i64, extent: usize) -> Result<Vec<usize>, String> {
    let extent = extent as i64;
    let counted = |at: i64| if at < 0 { at.saturating_add(extent) } else { at };
    let mut along = Vec::new();
    let (mut at, end) = match step {
        1.. => (counted(start).clamp(0, extent), counted(end).clamp(0, extent)),
        0 => return Err(String::from("a step of 0")),
        _ => (counted(start).clamp(-1, extent - 1), counted(end).clamp(-1, extent - 1)),
    };
    while (step > 0 && at < end) || (step < 0 && at > end) {
        along.push(at as usize);
        at = at.saturating_add(step);
    }
    Ok(along)
}

fn concat(operator: &Operator<'_>, all: &[&Constant], source: &Source) -> Result<Constant, String> {
    let mut made = all[0].extents();
    let at = axis(operator.int("axis", 0)?, made.len())?;
    let volume: usize = all.iter().map(|part| part.view.volume()).sum();
    if volume > COMPUTED {
        return Err(format!("more than {COMPUTED} values"));
    }
    made[at] = 0;
    for part in all {
        let mut extents = part.extents();
        let along = extents.get_mut(at).map(std::mem::take).ok_or("values of several ranks")?;
        made[at] += along;
        let mut others = made.clone();
        others[at] = 0;
        if extents != others {
            return Err(format!("joins {:?} to {made:?}", part.extents()));
        }
    }
    let outer: usize = made[..at].iter().product();
    let parts: Vec<Values> =
        all.iter().map(|part| Values::of(part, source)).collect::<Result<_, _>>()?;
    let all_whole = parts.iter().all(|part| matches!(part, Values::Whole(_)));
    let (mut floats, mut whole) = (Vec::new(), Vec::new());
    for o in 0..outer {
        for part in &parts {
            match part {
                Values::Floats(values) => {
                    let len = values.len() / outer;
                    floats.extend(&values[o * len..][..len]);
                }
                Values::Whole(values) => {
                    let len = values.len() / outer;
                    whole.extend(&values[o * len..][..len]);
                }
            }
        }
    }
    match (all_whole, whole.is_empty()) {
        (true, _) => Ok(Constant::integers(&made, &whole)),
        (false, true) => Ok(Constant::floats(&made, &floats)),
        (false, false) => Err(String::from("joins floats and whole numbers")),
    }
}

fn range(start: &[i64], limit: &[i64], step: &[i64]) -> Result<Constant, String> {
    let (&[start], &[limit], &[step]) = (start, limit, step) else {
        return Err(String::from("several starts, limits or steps"));
    };
    let count = match step {
        0 => return Err(String::from("a step of 0")),
        _ => {
            (i128::from(limit) - i128::from(start) + i128::from(step) - i128::from(step.signum()))
                / i128::from(step)
        }
    };
    let count = usize::try_from(count.max(0)).ok().filter(|count| *count <= COMPUTED);
    let count = count.ok_or_else(|| format!("more than {COMPUTED} values"))?;
    let values: Vec<i64> =
        (0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(step))).collect();
    Ok(Constant::integers(&[count], &values))
}

/// Two tensors element by element, each as long as the other or one along every axis.
fn arithmetic(kind: &str, a: &Constant, b: &Constant, source: &Source) -> Result<Constant, String> {
    let rank = a.view.rank().max(b.view.rank());
    let lengthened = |constant: &Constant| {
        let extents = constant.extents();
        [vec![1; rank - extents.len()], extents].concat()
    };
    let (of_a, of_b) = (lengthened(a), lengthened(b));
    let made = of_a.iter().zip(&of_b).map(|(&a, &b)| match (a, b) {
        (a, 1) => Ok(a),
        (1, b) => Ok(b),
        (a, b) if a == b => Ok(a),
        _ => Err(format!("{:?} and {:?} do not fit together", a, b)),
    });
    let made = made.collect::<Result<Vec<usize>, String>>()?;
    let volume = made.iter().try_fold(1usize, |volume, &n| volume.checked_mul(n));
    if volume.is_none_or(|volume| volume > COMPUTED) {
        return Err(format!("more than {COMPUTED} values"));
    }
    let spread = |extents: &[usize]| {
        let mut places = vec![0];
        for (&extent, &made) in extents.iter().zip(&made) {
            let index = move |i: usize| if extent == 1 { 0 } else { i };
            places = places
                .iter()
                .flat_map(|place| (0..made).map(move |i| place * extent + index(i)))
                .collect();
        }
        places
    };
    let a = Values::of(a, source)?.picked(&spread(&of_a));
    let b = Values::of(b, source)?.picked(&spread(&of_b));
    Ok(match (a, b) {
        (Values::Whole(a), Values::Whole(b)) => {
            let compute = |(&a, &b): (&i64, &i64)| match kind {
                "Add" => a.checked_add(b),
                "Sub" => a.checked_sub(b),
                "Mul" => a.checked_mul(b),
                _ => a.checked_div(b),
            };
            let values: Option<Vec<i64>> = a.iter().zip(&b).map(compute).collect();
            Constant::integers(&made, &values.ok_or("a result that is no number of 64 bits")?)
        }
        (Values::Floats(a), Values::Floats(b)) => {
            let compute = |(&a, &b): (&f32, &f32)| match kind {
                "Add" => a + b,
                "Sub" => a - b,
                "Mul" => a * b,
                _ => a / b,
            };
            Constant::floats(&made, &a.iter().zip(&b).map(compute).collect::<Vec<_>>())
        }
        _ => return Err(String::from("floats and whole numbers do not fit together")),
    })
}

fn unary(kind: &str, constant: &Constant, source: &Source) -> Result<Constant, String> {
    let extents = constant.extents();
    Ok(match (kind, Values::of(constant, source)?) {
        ("Neg", Values::Whole(values)) => {
            let values: Vec<i64> = values.iter().map(|value| value.wrapping_neg()).collect();
            Constant::integers(&extents, &values)
        }
        (_, Values::Whole(_)) => return Err(String::from("whole numbers, expected floats")),
        (kind, Values::Floats(values)) => {
            let compute = |value: &f32| match kind {
                "Sqrt" => value.sqrt(),
                "Neg" => -value,
                "Floor" => value.floor(),
                "Ceil" => value.ceil(),
                _ => 1.0 / value,
            };
            Constant::floats(&extents, &values.iter().map(compute).collect::<Vec<_>>())
        }
    })
}
