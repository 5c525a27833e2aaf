//! Local response normalisation: one operator, or what exporters make of it. Squares are summed up
//! over neighbouring channels, by a convolution along them or by a mean over them with a border of
//! zeros; `k + factor · Σ x²` to a power then divides what was squared.

use striate_graph::Op;
use striate_graph::op::Lrn;

use super::constant::Constant;
use super::import::{Computed, Form, Import};
use super::operator::Operator;

/// `k + factor · Σ x²` over so many channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sums {
    taps: usize,
    /// Whether the sum is divided by their number.
    divided: bool,
    factor: f32,
    k: f32,
}

impl Sums {
    /// With a number multiplied or added.
    pub(super) fn with(self, kind: &str, value: f32) -> Option<Sums> {
        match kind {
            "Mul" => Some(Sums { factor: self.factor * value, k: self.k * value, ..self }),
            "Add" => Some(Sums { k: self.k + value, ..self }),
            _ => None,
        }
    }

    /// What divides by a power of them.
    pub(super) fn lrn(self, beta: f32) -> Lrn {
        Lrn { size: self.taps, alpha: self.factor, divided: self.divided, beta, k: self.k }
    }

    /// Channels that a window reaches before and behind its own.
    fn reach(taps: usize) -> [usize; 2] {
        [taps / 2, taps.saturating_sub(1) / 2]
    }
}

impl<'m> Import<'m> {
    pub(super) fn lrn(
        &mut self,
        operator: &Operator<'m>,
        x: &Computed,
    ) -> Result<Computed, String> {
        let x = self.settle(x)?;
        let size = operator.int("size", 0)?;
        let size = usize::try_from(size).ok().filter(|size| size % 2 == 1);
        let size = size.ok_or("an even `size`, of which ONNX's window is another than ours")?;
        if !self.is_channels(&x, 0) {
            return Err(String::from(
                "reads a value whose second axis is not that of the channels",
            ));
        }
        let lrn = Lrn {
            size,
            alpha: operator.float("alpha", 1e-4)?,
            divided: true,
            beta: operator.float("beta", 0.75)?,
            k: operator.float("bias", 1.0)?,
        };
        self.each(&x, Op::Lrn(lrn))
    }

    /// The sum of squares of neighbouring channels, with one factor.
    pub(super) fn sums(
        &mut self,
        operator: &Operator<'m>,
        x: &Computed,
        weight: &Constant,
        bias: Option<&Constant>,
    ) -> Result<Computed, String> {
        let source = self.source();
        let channels = self.shape(x.part).channels();
        let values = weight.to_floats(&source)?;
        let k = bias.map(|bias| bias.to_floats(&source)).transpose()?.unwrap_or(vec![0.0]);
        let pads = operator.ints("pads")?.unwrap_or(vec![0; 4]);
        if let (&[1, 1, taps, 1], &[down, 0, up, 0], &[k]) =
            (weight.extents().as_slice(), pads.as_slice(), k.as_slice())
        {
            let even = [down, up] == Sums::reach(taps).map(|reach| reach as i64);
            let column = x.view.extents().get(..2) == Some(&[1, channels]);
            if even && column && values.iter().all(|value| *value == values[0]) {
                let form = Form::Sums(Sums { taps, divided: false, factor: values[0], k });
                return Ok(Computed { form, node: self.now(), ..x.clone() });
            }
        }
        Err(String::from("reads squares that are of no local response normalisation"))
    }

    /// Squares with so many channels of zeros before and behind them, if that is what is padded.
    pub(super) fn squares_between(&self, x: &Computed, sides: &[[usize; 2]]) -> Option<Computed> {
        let &[[0, 0], [0, 0], zeros, [0, 0], [0, 0]] = sides else { return None };
        let column = x.view.extents().get(..2) == Some(&[1, self.shape(x.part).channels()]);
        (x.form == Form::Squares && column).then(|| Computed {
            form: Form::SquaresBetween(zeros),
            node: self.now(),
            ..x.clone()
        })
    }

    /// The means of squares over neighbouring channels.
    pub(super) fn means(
        &mut self,
        operator: &Operator<'m>,
        x: &Computed,
        zeros: [usize; 2],
    ) -> Result<Computed, String> {
        let all = |name, usual| match operator.ints(name)? {
            Some(values) => Ok::<_, String>(values.iter().all(|value| *value == usual)),
            None => Ok(true),
        };
        let dense = all("strides", 1)? && all("dilations", 1)? && all("pads", 0)?;
        if let Some(&[taps @ 1..=1_000_000, 1, 1]) = operator.ints("kernel_shape")?.as_deref()
            && dense
            && zeros == Sums::reach(taps as usize)
        {
            let taps = taps as usize;
            let form = Form::Sums(Sums { taps, divided: true, factor: 1.0, k: 0.0 });
            return Ok(Computed { form, node: self.now(), ..x.clone() });
        }
        Err(String::from("reads squares that are of no local response normalisation"))
    }
}
