//! ONNX's operators in our operations.
//!
//! Source: ONNX, `docs/Operators.md` and `docs/Changelog.md`, from version 7 of the set on.

use striate_graph::op::{AddScaled, BatchNorm, Clip, Conv2d};
use striate_graph::{Op, Sides, Size};

use super::arrange::Arrangement;
use super::constant::{Constant, Holds};
use super::import::{Computed, Form, Import, Known};
use super::operator::{Operator, axis};
use super::view::View;

/// What reads what is fed, in this order in errors.
const KINDS: &str = "Add, AveragePool, BatchNormalization, Clip, Concat, Conv, Div, Dropout, Flatten, \
    Gemm, GlobalAveragePool, GlobalMaxPool, Identity, LRN, LeakyRelu, LogSoftmax, MatMul, MaxPool, Mul, Pad, \
    ReduceMean, Relu, Reshape, Sigmoid, Softmax, Squeeze, Sub, Sum, Tanh, Transpose, Unsqueeze";

pub(super) type Inputs<'i> = &'i [Option<Known>];

/// An input that must be computed.
pub(super) fn computed(inputs: Inputs<'_>, i: usize) -> Result<&Computed, String> {
    match inputs.get(i) {
        Some(Some(Known::Computed(value))) => Ok(value),
        Some(Some(Known::Constant(_))) => Err(format!("input {i} is a constant")),
        Some(None) | None => Err(format!("input {i} is missing")),
    }
}

/// An input that must be known, if it is there.
pub(super) fn optional(inputs: Inputs<'_>, i: usize) -> Result<Option<&Constant>, String> {
    match inputs.get(i) {
        Some(Some(Known::Constant(constant))) => Ok(Some(constant)),
        Some(Some(Known::Computed(_))) => {
            Err(format!("input {i} depends on what is fed, expected a constant"))
        }
        Some(None) | None => Ok(None),
    }
}

pub(super) fn known(inputs: Inputs<'_>, i: usize) -> Result<&Constant, String> {
    optional(inputs, i)?.ok_or_else(|| format!("input {i} is missing"))
}

impl<'m> Import<'m> {
    /// What a node makes of what is fed.
    pub(super) fn layer(
        &mut self,
        operator: &Operator<'m>,
        inputs: Inputs<'_>,
    ) -> Result<Computed, String> {
        let x = || computed(inputs, 0);
        match operator.kind {
            "Identity" => Ok(x()?.clone()),
            "Dropout" => {
                let training = optional(inputs, 2)?.map(|flag| flag.to_integers(&self.source()));
                match training.transpose()?.as_deref() {
                    None | Some([0]) => Ok(x()?.clone()),
                    Some(_) => {
                        Err(String::from("drops values when it is run: export for inference"))
                    }
                }
            }
            "Cast" => match i32::try_from(operator.int("to", 1)?).ok().and_then(Holds::of) {
                Some(Holds::Floats(_)) => Ok(x()?.clone()),
                _ => Err(String::from("makes whole numbers of what is computed")),
            },
            "Relu" => self.each(x()?, Op::Relu),
            "Sigmoid" => self.each(x()?, Op::Sigmoid),
            "Tanh" => self.tanh(x()?),
            "LeakyRelu" => self.leaky(x()?, operator.float("alpha", 0.01)?),
            "Clip" => self.clip(operator, inputs),
            "Softmax" => self.softmax(operator, x()?, &Op::Softmax),
            "LogSoftmax" => self.softmax(operator, x()?, &Op::LogSoftmax),
            "Conv" => self.conv(operator, inputs),
            "Gemm" => self.gemm(operator, inputs),
            "MatMul" => self.matmul(inputs),
            "BatchNormalization" => self.batch_norm(operator, inputs),
            "LRN" => self.lrn(operator, x()?),
            "MaxPool" | "AveragePool" => self.pool(operator, x()?),
            "GlobalAveragePool" | "GlobalMaxPool" => self.global(operator, x()?),
            "ReduceMean" | "ReduceSum" => self.reduce(operator, inputs),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(operator, inputs),
            "Sum" if inputs.len() == 1 => Ok(x()?.clone()),
            "Sum" if inputs.len() == 2 => self.arithmetic(operator, inputs),
            "Sum" => {
                let values = (0..inputs.len()).map(|i| computed(inputs, i).cloned());
                self.sum(&values.collect::<Result<Vec<_>, _>>()?)
            }
            "Pow" => match (&x()?.form, known(inputs, 1)?.to_floats(&self.source())?.as_slice()) {
                (&Form::Sums(sums), &[beta]) => {
                    let form = Form::Powers(sums, beta);
                    Ok(Computed { form, node: self.now(), ..x()?.clone() })
                }
                _ => Err(String::from("a power that is of no local response normalisation")),
            },
            "Concat" => self.concat(operator, inputs),
            "Pad" => self.pad(operator, inputs),
            "Slice" => self.slice(operator, inputs),
            kind if Arrangement::is_made_by(kind) => self.arranged(operator, inputs),
            _ => Err(format!("an operator that is not read, expected one of {KINDS}")),
        }
    }

    /// An operation on every value alone.
    pub(super) fn each(&mut self, x: &Computed, op: Op) -> Result<Computed, String> {
        let x = self.settle(x)?;
        let part = self.part(self.now(), "", op, vec![x.part])?;
        Ok(self.plain(part, x.view))
    }

    fn tanh(&mut self, x: &Computed) -> Result<Computed, String> {
        let (x, s) = if let Form::Affine { scale, shift, .. } = &x.form
            && let ([s], [0.0]) = (scale.as_slice(), shift.as_slice())
        {
            (x.clone(), *s)
        } else {
            (self.settle(x)?, 1.0)
        };
        Ok(Computed { form: Form::Tanh(s), node: self.now(), ..x })
    }

    /// `max(x, 0) + slope · min(x, 0)`, where the minimum is `x − max(x, 0)`, exactly.
    fn leaky(&mut self, x: &Computed, slope: f32) -> Result<Computed, String> {
        let (x, node) = (self.settle(x)?, self.now());
        let above = self.part(node, ".above", Op::Relu, vec![x.part])?;
        let minus = Op::AddScaled(AddScaled { scale: -1.0 });
        let below = self.part(node, ".below", minus, vec![x.part, above])?;
        let sum = Op::AddScaled(AddScaled { scale: slope });
        let part = self.part(node, "", sum, vec![above, below])?;
        Ok(self.plain(part, x.view))
    }

    fn clip(&mut self, operator: &Operator<'m>, inputs: Inputs<'_>) -> Result<Computed, String> {
        let x = computed(inputs, 0)?;
        let source = self.source();
        let bound = |name, i, default| match optional(inputs, i)? {
            Some(bound) => match *bound.to_floats(&source)? {
                [bound] => Ok(bound),
                _ => Err(format!("`{name}` of several values")),
            },
            None => operator.float(name, default),
        };
        let low = bound("min", 1, f32::MIN)?;
        let high = bound("max", 2, f32::MAX)?;
        if low <= f32::MIN && high >= f32::MAX {
            return Ok(x.clone());
        }
        if low == 0.0 && high >= f32::MAX {
            return self.each(x, Op::Relu);
        }
        // ONNX takes the upper bound last.
        let bounds = [(low.min(high), low > f32::MIN), (high, high < f32::MAX)];
        let [min, max] = bounds.map(|(bound, is_there)| is_there.then_some(bound));
        self.each(x, Op::Clip(Clip { min, max }))
    }

    fn softmax(
        &mut self,
        operator: &Operator<'m>,
        x: &Computed,
        op: &Op,
    ) -> Result<Computed, String> {
        let old = operator.opset < 13;
        let x = self.settle(x)?;
        let at = operator.int("axis", if old { 1 } else { -1 })?;
        let at = axis(at, x.view.rank() + 1)?;
        let Some(at) = at.checked_sub(1) else {
            return Err(String::from("goes across the batch"));
        };
        let extents = x.view.extents();
        // Once all axes from this one on were taken together.
        let others: usize = match old {
            true => extents[at + 1..].iter().product(),
            false => 1,
        };
        if self.is_channels(&x, at) && (others == 1) {
            return self.each(&x, op.clone());
        }
        let apart: usize = extents[..at].iter().product();
        let behind: usize = extents[at + 1..].iter().product();
        if apart == 1 && (old || behind == 1) {
            let (row, order) = self.row(&x)?;
            if order.is_none() {
                let part = self.part(self.now(), "", op.clone(), vec![row])?;
                return Ok(self.plain(part, View::dense(&extents)));
            }
        }
        Err(format!("goes along axis {} of {extents:?}, expected the channels", at + 1))
    }

    fn conv(&mut self, operator: &Operator<'m>, inputs: Inputs<'_>) -> Result<Computed, String> {
        let (x, weight, bias) = (computed(inputs, 0)?, known(inputs, 1)?, optional(inputs, 2)?);
        let extents = weight.extents();
        let &[out, read, h, w] = extents.as_slice() else {
            let rank = extents.len().saturating_sub(2);
            return Err(format!("weights of {extents:?}, for {rank} axes: only maps are read"));
        };
        if let Some(found) = operator.pair("kernel_shape")?.filter(|found| *found != [h, w]) {
            return Err(format!("`kernel_shape` {found:?}, but weights of {extents:?}"));
        }
        let kernel = Size { h, w };
        if x.form == Form::Squares {
            return self.sums(operator, x, weight, bias);
        }
        let (x, border) = if let Form::Padded(sides, 0.0) = x.form {
            (Computed { form: Form::Plain, ..x.clone() }, sides)
        } else {
            (x.clone(), Sides::default())
        };
        let (part, [c, map_h, map_w]) = self.map(&x)?;
        let window = self.window(operator, kernel, [map_h, map_w], border)?;
        let groups = operator.int("group", 1)?;
        let groups = usize::try_from(groups).ok().filter(|groups| *groups > 0);
        let groups = groups.ok_or_else(|| String::from("`group` of less than 1"))?;
        if read.checked_mul(groups) != Some(c) {
            return Err(format!("weights of {extents:?} in {groups} groups over {c} channels"));
        }
        let conv = Conv2d {
            out,
            kernel,
            stride: window.stride,
            pad: window.pad,
            dilation: window.dilation,
            groups,
            bias: bias.is_some(),
            table: None,
        };
        let made = self.made(Op::Conv2d(conv), vec![part])?;
        self.weigh(made.part, "weight", weight.clone());
        if let Some(bias) = bias {
            self.weigh(made.part, "bias", vector(bias, out)?);
        }
        Ok(made)
    }

    fn batch_norm(
        &mut self,
        operator: &Operator<'m>,
        inputs: Inputs<'_>,
    ) -> Result<Computed, String> {
        if operator.flag("training_mode")? {
            return Err(String::from("is in training: export for inference"));
        }
        if operator.int("spatial", 1)? == 0 {
            return Err(String::from("has statistics for every pixel (`spatial` 0)"));
        }
        let x = self.settle(computed(inputs, 0)?)?;
        if !self.is_channels(&x, 0) {
            return Err(String::from(
                "reads a value whose second axis is not that of the channels",
            ));
        }
        let channels = self.shape(x.part).channels();
        // So the scale is called that a normalisation without one is written with.
        let named = operator.inputs.get(1).and_then(|name| name.strip_suffix("/scale"));
        let ones = || {
            Ok::<_, String>(known(inputs, 1)?.to_floats(&self.source())?.iter().all(|v| *v == 1.0))
        };
        let without = named == Some(operator.name) && ones()?;
        // The share that stays.
        let stays = operator.float("momentum", 0.9)?;
        let stays: f64 = stays.to_string().parse().unwrap_or(f64::from(stays));
        let norm = BatchNorm {
            eps: operator.float("epsilon", 1e-5)?,
            momentum: (1.0 - stays) as f32,
            scale: !without,
        };
        let part = self.part(self.now(), "", Op::BatchNorm(norm), vec![x.part])?;
        let leaves = ["weight", "bias", "running_mean", "running_var"];
        for (i, leaf) in leaves.into_iter().enumerate().skip(usize::from(without)) {
            self.weigh(part, leaf, vector(known(inputs, i + 1)?, channels)?);
        }
        Ok(self.plain(part, x.view))
    }
}

/// A constant as a list of so many values.
pub(super) fn vector(constant: &Constant, len: usize) -> Result<Constant, String> {
    let extents = constant.extents();
    let volume: usize = extents.iter().product();
    let view = match volume {
        1 if len > 1 => Some(View::constant(&[len])),
        _ if volume == len => constant.view.reshaped(&[len]),
        _ => None,
    };
    let view = view.ok_or_else(|| format!("a constant of {extents:?}, expected {len} values"))?;
    Ok(Constant { view, ..constant.clone() })
}
