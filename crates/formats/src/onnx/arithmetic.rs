//! Sums, differences, products and quotients, of two values and of a value and numbers.

use striate_graph::op::{AddScaled, Tanh};
use striate_graph::{Op, Shape};

use super::constant::Constant;
use super::import::{Computed, Form, Import, Known};
use super::layers::Inputs;
use super::operator::Operator;

impl<'m> Import<'m> {
    pub(super) fn arithmetic(
        &mut self,
        operator: &Operator<'m>,
        inputs: Inputs<'_>,
    ) -> Result<Computed, String> {
        let kind = if operator.kind == "Sum" { "Add" } else { operator.kind };
        let (a, b) = match inputs {
            [Some(Known::Computed(a)), Some(Known::Computed(b))] => (a, b),
            [Some(Known::Computed(x)), Some(Known::Constant(constant))] => {
                if let (Some(codes), "Sub") = (self.codes(x, constant)?, kind) {
                    return Ok(Computed {
                        form: Form::Apart(codes),
                        node: self.now(),
                        ..x.clone()
                    });
                }
                return self.affine(kind, x, operator.inputs[0], constant, false);
            }
            [Some(Known::Constant(constant)), Some(Known::Computed(x))] => {
                return self.affine(kind, x, operator.inputs[1], constant, true);
            }
            _ => return Err(format!("{} inputs, expected two", inputs.len())),
        };
        match (kind, &a.form, &b.form) {
            ("Add", Form::Plain, Form::Affine { scale, shift, .. })
                if a.view == b.view && **shift == [0.0] && scale.len() == 1 =>
            {
                let add = Op::AddScaled(AddScaled { scale: scale[0] });
                let part = self.part(self.now(), "", add, vec![a.part, b.part])?;
                Ok(self.plain(part, a.view.clone()))
            }
            ("Add", ..) => self.sum(&[a.clone(), b.clone()]),
            ("Sub", ..) => {
                let (a, b) = (self.settle(a)?, self.settle(b)?);
                if a.view != b.view {
                    return Err(apart(&a, &b));
                }
                let minus = Op::AddScaled(AddScaled { scale: -1.0 });
                let part = self.part(self.now(), "", minus, vec![a.part, b.part])?;
                Ok(self.plain(part, a.view))
            }
            ("Mul", Form::Plain, Form::Plain) if a.part == b.part && a.view == b.view => {
                Ok(Computed { form: Form::Squares, node: self.now(), ..a.clone() })
            }
            ("Mul", Form::Apart(codes), _) if a.form == b.form && a.part == b.part => {
                let form = Form::ApartSquared(codes.clone());
                Ok(Computed { form, node: self.now(), ..a.clone() })
            }
            ("Div", Form::Plain, &Form::Powers(sums, beta))
                if a.part == b.part && a.view == b.view =>
            {
                let part = self.part(self.now(), "", Op::Lrn(sums.lrn(beta)), vec![a.part])?;
                Ok(self.plain(part, a.view.clone()))
            }
            _ => Err(String::from("of two computed values, for which there is no operation")),
        }
    }

    /// The codes that a row is compared with, if that is what a constant is.
    fn codes(&self, x: &Computed, codes: &Constant) -> Result<Option<Vec<Vec<bool>>>, String> {
        let &[_, len] = codes.extents().as_slice() else { return Ok(None) };
        let row = matches!(self.shape(x.part), Shape::Flat(n) if n == len);
        if !(row && x.form == Form::Plain && x.view.extents() == [1, len] && len > 0) {
            return Ok(None);
        }
        let values = codes.to_floats(&self.source())?;
        if values.iter().any(|value| value.abs() != 1.0) {
            return Ok(None);
        }
        let code = |code: &[f32]| code.iter().map(|value| *value > 0.0).collect();
        Ok(Some(values.chunks(len).map(code).collect()))
    }

    /// A value and a constant that is one for all, or one for every channel.
    fn affine(
        &mut self,
        kind: &str,
        x: &Computed,
        name: &str,
        constant: &Constant,
        first: bool,
    ) -> Result<Computed, String> {
        let extents = constant.extents();
        let values = match extents.iter().product() {
            1usize => vec![constant.to_floats(&self.source())?[0]],
            _ => {
                let rank = x.view.rank() + 1;
                let mut wide = (0..extents.len()).filter(|&axis| extents[axis] != 1);
                let at = match (wide.next(), wide.next()) {
                    (Some(axis), None) => (rank + axis).checked_sub(extents.len()),
                    _ => None,
                };
                let at = at.and_then(|axis| axis.checked_sub(1));
                let at = at.filter(|&axis| {
                    extents.len() <= rank
                        && self.is_channels(x, axis)
                        && Some(&x.view.extents()[axis]) == extents.iter().max()
                });
                if at.is_none() {
                    return Err(format!(
                        "with a constant of {extents:?} to a value of {:?}, expected one value or \
                         one for every channel",
                        [vec![self.batch], x.view.extents()].concat()
                    ));
                }
                constant.to_floats(&self.source())?
            }
        };
        if let (Form::Sums(sums), &[value]) = (&x.form, values.as_slice())
            && let Some(sums) = sums.with(kind, value)
        {
            return Ok(Computed { form: Form::Sums(sums), node: self.now(), ..x.clone() });
        }
        if let (Form::Tanh(s), "Mul", &[a]) = (&x.form, kind, values.as_slice()) {
            let part = self.part(self.now(), "", Op::Tanh(Tanh { a, s: *s }), vec![x.part])?;
            return Ok(self.plain(part, x.view.clone()));
        }
        let unused = self.is_sole(x.part, name);
        if (&x.form, kind, unused) == (&Form::Plain, "Add", true) && self.bias(x.part, &values) {
            return Ok(self.plain(x.part, x.view.clone()));
        }
        let (x, scale, shift, sole) = if let Form::Affine { scale, shift, sole } = &x.form {
            let sole = *sole && self.uses(name) == 1;
            (x.clone(), scale.clone(), shift.clone(), sole)
        } else {
            (self.settle(x)?, vec![1.0], vec![0.0], unused)
        };
        let (scale, shift) = match (kind, first) {
            ("Add", _) => (scale, both(&shift, &values, |a, b| a + b)),
            ("Sub", false) => (scale, both(&shift, &values, |a, b| a - b)),
            ("Sub", true) => {
                let scale = scale.iter().map(|scale| -scale).collect();
                (scale, both(&shift, &values, |a, b| b - a))
            }
            ("Mul", _) => {
                (both(&scale, &values, |a, b| a * b), both(&shift, &values, |a, b| a * b))
            }
            (_, false) => {
                (both(&scale, &values, |a, b| a / b), both(&shift, &values, |a, b| a / b))
            }
            (_, true) => return Err(String::from("divides by a computed value")),
        };
        let shift = if shift.iter().all(|shift| *shift == 0.0) { vec![0.0] } else { shift };
        Ok(Computed { form: Form::Affine { scale, shift, sole }, node: self.now(), ..x })
    }

    pub(super) fn sum(&mut self, values: &[Computed]) -> Result<Computed, String> {
        let values: Vec<Computed> =
            values.iter().map(|value| self.settle(value)).collect::<Result<_, _>>()?;
        let view = values[0].view.clone();
        if let Some(other) = values.iter().find(|value| value.view != view) {
            return Err(apart(&values[0], other));
        }
        let parts = values.iter().map(|value| value.part).collect();
        let part = self.part(self.now(), "", Op::Add, parts)?;
        Ok(self.plain(part, view))
    }
}

/// Two lists of one value for all, or one for each.
fn both(a: &[f32], b: &[f32], compute: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let len = a.len().max(b.len());
    let at = |values: &[f32], i: usize| if values.len() == 1 { values[0] } else { values[i] };
    (0..len).map(|i| compute(at(a, i), at(b, i))).collect()
}

fn apart(a: &Computed, b: &Computed) -> String {
    format!("reads {:?} and {:?}, expected values of one shape", a.view.extents(), b.view.extents())
}
