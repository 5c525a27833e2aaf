//! What joins, cuts, turns and gathers axes.

use striate_graph::op::{AdaptiveAvgPool, Rbf, Shortcut};
use striate_graph::{Op, Shape, Sides};

use super::arrange::Arrangement;
use super::constant::Constant;
use super::fold::along;
use super::import::{Computed, Form, Import};
use super::layers::{Inputs, computed, optional};
use super::operator::{Operator, axis};
use super::view::View;

impl<'m> Import<'m> {
    pub(super) fn reduce(
        &mut self,
        operator: &Operator<'m>,
        inputs: Inputs<'_>,
    ) -> Result<Computed, String> {
        let x = computed(inputs, 0)?;
        let axes = optional(inputs, 1)?.map(|axes| axes.to_integers(&self.source())).transpose()?;
        let axes = axes.map_or_else(|| operator.ints("axes"), |axes| Ok(Some(axes)))?;
        let rank = x.view.rank() + 1;
        let axes = axes.unwrap_or_default();
        let mut axes: Vec<usize> = axes.iter().map(|&a| axis(a, rank)).collect::<Result<_, _>>()?;
        axes.sort_unstable();
        let keeps = operator.int("keepdims", 1)? != 0;
        if let (Form::ApartSquared(codes), "ReduceSum", [2], false) =
            (&x.form, operator.kind, axes.as_slice(), keeps)
        {
            let rbf = Rbf { codes: codes.clone() };
            let values: Vec<f32> = rbf.weight().collect();
            let extents = [codes.len(), self.shape(x.part).volume()];
            let made = self.made(Op::Rbf(rbf), vec![x.part])?;
            self.weigh(made.part, "weight", Constant::floats(&extents, &values));
            return Ok(made);
        }
        let x = self.settle(x)?;
        let shape = self.shape(x.part);
        let sample: Option<Vec<usize>> = axes.iter().map(|axis| axis.checked_sub(1)).collect();
        let sample = sample.filter(|axes| !axes.is_empty());
        let sample = sample.ok_or("goes across the batch, or along no axis it names")?;
        let left = x.view.without(&sample);
        let channels = View::dense(&[shape.channels(), shape.area()]).axis(0).to_vec();
        let (is_mean, is_map) = (operator.kind == "ReduceMean", matches!(shape, Shape::Map { .. }));
        if !(is_mean && is_map && left.volume() == shape.channels() && left.steps() == channels) {
            return Err(format!("along the axes {axes:?}, expected the mean of all pixels"));
        }
        let pool = Op::AdaptiveAvgPool(AdaptiveAvgPool { out: 1.into() });
        let made = self.made(pool, vec![x.part])?;
        let mut extents = x.view.extents();
        sample.iter().for_each(|&axis| extents[axis] = 1);
        if !keeps {
            extents = left.extents();
        }
        Ok(Computed { view: View::dense(&extents), ..made })
    }

    pub(super) fn concat(
        &mut self,
        operator: &Operator<'m>,
        inputs: Inputs<'_>,
    ) -> Result<Computed, String> {
        let mut values = Vec::new();
        for i in 0..inputs.len() {
            values.push(self.settle(computed(inputs, i)?)?);
        }
        let rank = values[0].view.rank() + 1;
        let at = axis(operator.int("axis", 1)?, rank)?.checked_sub(1);
        let Some(at) = at else { return Err(String::from("joins pictures of a batch")) };
        let first = values[0].clone();
        for value in &values {
            let rest = |value: &Computed| value.view.without(&[at]);
            let alike = value.view.rank() + 1 == rank && rest(value) == rest(&first);
            if !(alike && self.is_channels(value, at)) {
                return Err(format!(
                    "along axis {}, expected the channels of maps of one size",
                    at + 1
                ));
            }
        }
        let parts = values.iter().map(|value| value.part).collect();
        let part = self.part(self.now(), "", Op::Concat, parts)?;
        let shape = self.shape(part);
        let channels = View::dense(&[shape.channels(), shape.area()]);
        Ok(self.plain(part, first.view.with(at, channels.axis(0).iter().copied())))
    }

    pub(super) fn pad(
        &mut self,
        operator: &Operator<'m>,
        inputs: Inputs<'_>,
    ) -> Result<Computed, String> {
        let x = computed(inputs, 0)?;
        if let Some(mode) = operator.text("mode").filter(|mode| *mode != "constant") {
            return Err(format!("`mode` {}, expected constant", mode.escape_debug()));
        }
        let source = self.source();
        let numbers =
            |i| optional(inputs, i)?.map(|values| values.to_integers(&source)).transpose();
        let pads = match numbers(1)? {
            Some(pads) => pads,
            None => operator.ints("pads")?.ok_or("no `pads`")?,
        };
        let fill = match optional(inputs, 2)? {
            Some(fill) => fill.to_floats(&source)?.first().copied().unwrap_or(0.0),
            None => operator.float("value", 0.0)?,
        };
        let rank = x.view.rank() + 1;
        let axes = match numbers(3)? {
            Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() || pads.iter().any(|pad| !(0..=1 << 20).contains(pad)) {
            return Err(format!("`pads` {pads:?} for {} axes", axes.len()));
        }
        let mut sides = vec![[0usize; 2]; rank];
        for (i, &axis) in axes.iter().enumerate() {
            sides[axis] = [pads[i] as usize, pads[axes.len() + i] as usize];
        }
        if sides.iter().all(|sides| *sides == [0, 0]) {
            let Form::Kept(stride) = x.form else { return Ok(x.clone()) };
            let out = self.shape(x.part).channels();
            return self.made(Op::Shortcut(Shortcut { stride, out }), vec![x.part]);
        }
        if let (Some(squares), 0.0) = (self.squares_between(x, &sides), fill) {
            return Ok(squares);
        }
        let dense = View::dense(&self.shape(x.part).extents());
        let [of_batch, of_c, of_h, of_w] = match *sides {
            [n, c, h, w] if x.view == dense => [n, c, h, w],
            [n, h, w, c] if dense.transposed(&[1, 2, 0]).as_ref() == Some(&x.view) => [n, c, h, w],
            _ => return Err(String::from("around a value that is no map")),
        };
        if let ([0, 0], [0, more], [0, 0], [0, 0], 0.0) = (of_batch, of_c, of_h, of_w, fill) {
            let (x, stride) = if let Form::Kept(stride) = x.form {
                (x.clone(), stride)
            } else {
                (self.settle(x)?, 1)
            };
            let out = self.shape(x.part).channels() + more;
            let made = self.made(Op::Shortcut(Shortcut { stride, out }), vec![x.part])?;
            return match x.view == dense {
                true => Ok(made),
                false => Err(self.unfinished(&x)),
            };
        }
        if [of_batch, of_c] != [[0, 0]; 2] {
            return Err(String::from("of the batch, or of channels before the first"));
        }
        let x = self.settle(x)?;
        let ([top, bottom], [left, right]) = (of_h, of_w);
        let sides = Sides { top, left, bottom, right };
        Ok(Computed { form: Form::Padded(sides, fill), node: self.now(), ..x })
    }

    /// What is left of a map where only every so manieth pixel is kept.
    pub(super) fn slice(
        &mut self,
        operator: &Operator<'m>,
        inputs: Inputs<'_>,
    ) -> Result<Computed, String> {
        let x = self.settle(computed(inputs, 0)?)?;
        let source = self.source();
        let numbers = |name, i| match optional(inputs, i)? {
            Some(values) => Ok(Some(values.to_integers(&source)?)),
            None => operator.ints(name),
        };
        let starts = numbers("starts", 1)?.ok_or("no starts")?;
        let ends = numbers("ends", 2)?.ok_or("no ends")?;
        let axes = numbers("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = numbers("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(String::from("starts, ends, axes and steps of several lengths"));
        }
        let extents = [vec![self.batch], x.view.extents()].concat();
        let mut kept = vec![1; extents.len()];
        for (((&start, &end), &at), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let at = axis(at, extents.len())?;
            let along = along(start, end, step, extents[at])?;
            let every = usize::try_from(step).unwrap_or(1);
            if along.first() != Some(&0) || along.len() != extents[at].div_ceil(every) {
                return Err(String::from("takes a part of what is computed"));
            }
            kept[at] = every;
        }
        match *kept {
            _ if kept.iter().all(|every| *every == 1) => Ok(x),
            [1, 1, h, w] if h == w && x.view == View::dense(&self.shape(x.part).extents()) => {
                Ok(Computed { form: Form::Kept(h), node: self.now(), ..x })
            }
            _ => Err(String::from("takes a part of what is computed")),
        }
    }

    pub(super) fn arranged(
        &mut self,
        operator: &Operator<'m>,
        inputs: Inputs<'_>,
    ) -> Result<Computed, String> {
        let x = computed(inputs, 0)?;
        let source = self.source();
        let second = optional(inputs, 1)?.map(|second| second.to_integers(&source)).transpose()?;
        // A border is turned with its map, and nothing else.
        let turns = operator.kind == "Transpose";
        let x = match x.form {
            Form::Padded(..) if turns => x.clone(),
            Form::Plain
            | Form::Affine { .. }
            | Form::Tanh(_)
            | Form::Squares
            | Form::Sums(_)
            | Form::Powers(..) => x.clone(),
            Form::Padded(..)
            | Form::SquaresBetween(_)
            | Form::Kept(_)
            | Form::Lines(_)
            | Form::Apart(_)
            | Form::ApartSquared(_) => self.settle(x)?,
        };
        let extents = [vec![self.batch], x.view.extents()].concat();
        let of_sample = match Arrangement::of(operator, &extents, second.as_deref())? {
            Arrangement::Extents(extents) => match extents.split_first() {
                Some((&batch, rest)) if batch == self.batch => Arrangement::Extents(rest.to_vec()),
                _ => return Err(format!("makes {extents:?} of {} samples", self.batch)),
            },
            Arrangement::Order(order) => match order.split_first() {
                Some((0, rest)) => Arrangement::Order(rest.iter().map(|axis| axis - 1).collect()),
                _ => return Err(format!("puts another axis before the batch: {order:?}")),
            },
        };
        let cannot =
            || format!("makes {of_sample:?} of {:?}, whose axes are turned", x.view.extents());
        let view = of_sample.apply(&x.view).ok_or_else(cannot)?;
        let row = view.rank() == 1 && view.is_dense() && !turns;
        let map = matches!(self.shape(x.part), Shape::Map { .. });
        if row && map && !matches!(x.form, Form::Squares | Form::Sums(_) | Form::Powers(..)) {
            let x = self.settle(&x)?;
            return self.made(Op::Flatten, vec![x.part]);
        }
        let node = if x.form == Form::Plain { self.now() } else { x.node };
        Ok(Computed { view, node, ..x })
    }
}
