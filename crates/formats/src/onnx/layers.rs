//! ONNX's operators in our operations.
//!
//! Source: ONNX, `docs/Operators.md` and `docs/Changelog.md`, from version 7 of the set on.

use striate_graph::op::{
    AdaptiveAvgPool, AddScaled, BatchNorm, Clip, Conv2d, Linear, Rbf, Shortcut, Tanh,
};
use striate_graph::{Op, Shape, Sides, Size};

use super::arrange::Arrangement;
use super::constant::{Constant, Holds};
use super::fold::along;
use super::import::{Computed, Form, Import, Known};
use super::operator::{Operator, axis};
use super::view::View;

/// What reads what is fed, in this order in errors.
const KINDS: &str = "Add, AveragePool, BatchNormalization, Clip, Concat, Conv, Div, Dropout, Flatten, \
    Gemm, GlobalAveragePool, GlobalMaxPool, Identity, LRN, LeakyRelu, LogSoftmax, MatMul, MaxPool, Mul, Pad, \
    ReduceMean, Relu, Reshape, Sigmoid, Softmax, Squeeze, Sub, Sum, Tanh, Transpose, Unsqueeze";

type Inputs<'i> = &'i [Option<Known>];

/// An input that must be computed.
fn computed(inputs: Inputs<'_>, i: usize) -> Result<&Computed, String> {
    match inputs.get(i) {
        Some(Some(Known::Computed(value))) => Ok(value),
        Some(Some(Known::Constant(_))) => Err(format!("input {i} is a constant")),
        Some(None) | None => Err(format!("input {i} is missing")),
    }
}

/// An input that must be known, if it is there.
fn optional(inputs: Inputs<'_>, i: usize) -> Result<Option<&Constant>, String> {
    match inputs.get(i) {
        Some(Some(Known::Constant(constant))) => Ok(Some(constant)),
        Some(Some(Known::Computed(_))) => {
            Err(format!("input {i} depends on what is fed, expected a constant"))
        }
        Some(None) | None => Ok(None),
    }
}

fn known(inputs: Inputs<'_>, i: usize) -> Result<&Constant, String> {
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

    fn gemm(&mut self, operator: &Operator<'m>, inputs: Inputs<'_>) -> Result<Computed, String> {
        let (x, weight, bias) = (computed(inputs, 0)?, known(inputs, 1)?, optional(inputs, 2)?);
        if operator.flag("transA")? {
            return Err(String::from("turns what it reads (`transA`), across the batch"));
        }
        let weight = match operator.flag("transB")? {
            true => weight.clone(),
            false => turned(weight)?,
        };
        let (alpha, beta) = (operator.float("alpha", 1.0)?, operator.float("beta", 1.0)?);
        let weight = self.times(weight, alpha)?;
        let bias = bias.map(|bias| self.times(bias.clone(), beta)).transpose()?;
        self.linear(x, &weight, bias.as_ref())
    }

    fn times(&self, tensor: Constant, factor: f32) -> Result<Constant, String> {
        if factor == 1.0 {
            return Ok(tensor);
        }
        let values = tensor.to_floats(&self.source())?;
        let values: Vec<f32> = values.into_iter().map(|value| factor * value).collect();
        Ok(Constant::floats(&tensor.extents(), &values))
    }

    /// A fully connected layer; the weights are out × in.
    fn linear(
        &mut self,
        x: &Computed,
        weight: &Constant,
        bias: Option<&Constant>,
    ) -> Result<Computed, String> {
        let extents = weight.extents();
        let &[out, read] = extents.as_slice() else {
            return Err(format!("weights of {extents:?}, expected a matrix"));
        };
        if x.view.rank() != 1 {
            let found = x.view.rank() + 1;
            return Err(format!("reads a value of {found} axes, expected a row a picture"));
        }
        let (part, order) = self.row(x)?;
        if self.shape(part).volume() != read {
            let found = self.shape(part).volume();
            return Err(format!("reads {found} values, but has weights for {read}"));
        }
        let weight = match order {
            None => weight.clone(),
            Some(order) => reordered(weight, &order).ok_or("weights that cannot be turned")?,
        };
        let linear = Linear { out, bias: bias.is_some() };
        let made = self.made(Op::Linear(linear), vec![part])?;
        self.weigh(made.part, "weight", weight);
        if let Some(bias) = bias {
            self.weigh(made.part, "bias", vector(bias, out)?);
        }
        Ok(made)
    }

    fn matmul(&mut self, inputs: Inputs<'_>) -> Result<Computed, String> {
        if let Ok(x) = computed(inputs, 0) {
            let matrix = known(inputs, 1)?;
            if let Form::Lines(lines) = x.form {
                return self.columns(x, lines, matrix);
            }
            return self.linear(x, &turned(matrix)?, None);
        }
        // The means of rows of pixels: see `columns`.
        let (x, matrix) = (computed(inputs, 1)?, known(inputs, 0)?);
        let (part, [_, h, _]) = self.map(x)?;
        match *matrix.extents() {
            [out, read] if read == h && self.has_shares(matrix, h, out, false)? => {
                let view = View::dense(&self.shape(part).extents());
                Ok(Computed { form: Form::Lines(out), ..self.plain(part, view) })
            }
            _ => Err(String::from("multiplies by a constant from the left, which is no mean")),
        }
    }

    /// Means of windows of several sizes, as a matrix for each axis.
    fn columns(
        &mut self,
        x: &Computed,
        lines: usize,
        matrix: &Constant,
    ) -> Result<Computed, String> {
        let [_, _, w] = self.shape(x.part).chw();
        match *matrix.extents() {
            [read, out] if read == w && self.has_shares(matrix, w, out, true)? => {
                let out = Size { h: lines, w: out };
                self.made(Op::AdaptiveAvgPool(AdaptiveAvgPool { out }), vec![x.part])
            }
            _ => Err(String::from("multiplies by a constant, which is no mean")),
        }
    }

    /// Whether a matrix holds for each window of an axis which share of it every pixel is.
    fn has_shares(
        &self,
        matrix: &Constant,
        pixels: usize,
        windows: usize,
        turned: bool,
    ) -> Result<bool, String> {
        let values = matrix.to_floats(&self.source())?;
        let share = |i: usize, pixel: usize| {
            let window = i * pixels / windows..((i + 1) * pixels).div_ceil(windows);
            if window.contains(&pixel) { 1.0 / window.len() as f32 } else { 0.0 }
        };
        let is_share = |(at, value): (usize, &f32)| match turned {
            true => *value == share(at % windows, at / windows),
            false => *value == share(at / pixels, at % pixels),
        };
        Ok(values.iter().enumerate().all(is_share))
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

    fn reduce(&mut self, operator: &Operator<'m>, inputs: Inputs<'_>) -> Result<Computed, String> {
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

    fn arithmetic(
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

    fn sum(&mut self, values: &[Computed]) -> Result<Computed, String> {
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

    fn concat(&mut self, operator: &Operator<'m>, inputs: Inputs<'_>) -> Result<Computed, String> {
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

    fn pad(&mut self, operator: &Operator<'m>, inputs: Inputs<'_>) -> Result<Computed, String> {
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
    fn slice(&mut self, operator: &Operator<'m>, inputs: Inputs<'_>) -> Result<Computed, String> {
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

    fn arranged(
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

/// Two lists of one value for all, or one for each.
fn both(a: &[f32], b: &[f32], compute: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let len = a.len().max(b.len());
    let at = |values: &[f32], i: usize| if values.len() == 1 { values[0] } else { values[i] };
    (0..len).map(|i| compute(at(a, i), at(b, i))).collect()
}

fn apart(a: &Computed, b: &Computed) -> String {
    format!("reads {:?} and {:?}, expected values of one shape", a.view.extents(), b.view.extents())
}

/// A constant as a list of so many values.
fn vector(constant: &Constant, len: usize) -> Result<Constant, String> {
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

/// A matrix with its axes exchanged.
fn turned(matrix: &Constant) -> Result<Constant, String> {
    let view = matrix.view.transposed(&[1, 0]);
    let view = view.ok_or_else(|| format!("{:?} weights, expected a matrix", matrix.extents()))?;
    Ok(Constant { view, ..matrix.clone() })
}

/// Weights of values in an order of the file's as those of values in ours.
fn reordered(weight: &Constant, order: &View) -> Option<Constant> {
    let (extents, steps) = (weight.extents(), order.steps());
    let [out, read] = *extents else { return None };
    let split: Vec<usize> = std::iter::once(out).chain(steps.iter().map(|s| s.extent)).collect();
    let mut places: Vec<usize> = (0..steps.len()).collect();
    places.sort_by_key(|&place| std::cmp::Reverse(steps[place].stride));
    let places: Vec<usize> =
        std::iter::once(0).chain(places.into_iter().map(|place| place + 1)).collect();
    let view = weight.view.reshaped(&split)?.transposed(&places)?.reshaped(&[out, read])?;
    Some(Constant { view, ..weight.clone() })
}
