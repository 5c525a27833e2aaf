//! Products with matrices of weights.

use striate_graph::op::{AdaptiveAvgPool, Linear};
use striate_graph::{Op, Size};

use super::constant::Constant;
use super::import::{Computed, Form, Import};
use super::layers::{Inputs, computed, known, optional, vector};
use super::operator::Operator;
use super::view::View;

impl<'m> Import<'m> {
    pub(super) fn gemm(
        &mut self,
        operator: &Operator<'m>,
        inputs: Inputs<'_>,
    ) -> Result<Computed, String> {
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

    pub(super) fn times(&self, tensor: Constant, factor: f32) -> Result<Constant, String> {
        if factor == 1.0 {
            return Ok(tensor);
        }
        let values = tensor.to_floats(&self.source())?;
        let values: Vec<f32> = values.into_iter().map(|value| factor * value).collect();
        Ok(Constant::floats(&tensor.extents(), &values))
    }

    /// A fully connected layer; the weights are out × in.
    pub(super) fn linear(
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

    pub(super) fn matmul(&mut self, inputs: Inputs<'_>) -> Result<Computed, String> {
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
