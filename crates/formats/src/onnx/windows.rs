//! Windows that move over a map: how far, how they are padded, and what is taken of them.

use striate_graph::op::{AdaptiveAvgPool, Pool, PoolKind};
use striate_graph::{Op, Shape, Sides, Size};

use super::import::{Computed, Form, Import};
use super::operator::{Operator, sizes};
use super::view::View;

/// How a window moves.
pub(super) struct Window {
    pub(super) stride: Size,
    pub(super) pad: Sides,
    pub(super) dilation: Size,
}

impl<'m> Import<'m> {
    /// The window of a node over a map of these extents that has a border already.
    pub(super) fn window(
        &self,
        operator: &Operator<'m>,
        kernel: Size,
        map: [usize; 2],
        border: Sides,
    ) -> Result<Window, String> {
        let pair = |name| Ok::<_, String>(operator.pair(name)?.unwrap_or([1, 1]));
        let (stride, dilation) = (pair("strides")?, pair("dilations")?);
        if stride.contains(&0) || dilation.contains(&0) {
            return Err(String::from("a stride or a dilation of 0"));
        }
        let [top, left, bottom, right] = border.array();
        let padded = [map[0] + top + bottom, map[1] + left + right];
        let pads = match operator.text("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" | "" => match operator.ints("pads")?.as_deref() {
                None => [0; 4],
                Some(pads) => match *sizes(pads)? {
                    [top, left, bottom, right] => [top, left, bottom, right],
                    _ => return Err(format!("`pads` {pads:?}, expected those of two axes")),
                },
            },
            "VALID" => [0; 4],
            same @ ("SAME_UPPER" | "SAME_LOWER") => {
                let along = |axis: usize, kernel: usize| {
                    let reach = kernel.saturating_sub(1).saturating_mul(dilation[axis]) + 1;
                    let steps = padded[axis].div_ceil(stride[axis]).saturating_sub(1);
                    let all = (steps * stride[axis] + reach).saturating_sub(padded[axis]);
                    // The odd one comes last, or first.
                    if same == "SAME_UPPER" {
                        [all / 2, all.div_ceil(2)]
                    } else {
                        [all.div_ceil(2), all / 2]
                    }
                };
                let ([top, bottom], [left, right]) = (along(0, kernel.h), along(1, kernel.w));
                [top, left, bottom, right]
            }
            other => return Err(format!("`auto_pad` {}", other.escape_debug())),
        };
        let pad = Sides::from(pads);
        let pad = Sides {
            top: pad.top + top,
            left: pad.left + left,
            bottom: pad.bottom + bottom,
            right: pad.right + right,
        };
        let size = |[h, w]: [usize; 2]| Size { h, w };
        Ok(Window { stride: size(stride), pad, dilation: size(dilation) })
    }

    pub(super) fn pool(
        &mut self,
        operator: &Operator<'m>,
        x: &Computed,
    ) -> Result<Computed, String> {
        let is_max = operator.kind == "MaxPool";
        if let (Form::SquaresBetween(zeros), false) = (&x.form, is_max) {
            return self.means(operator, x, *zeros);
        }
        let [h, w] = operator.pair("kernel_shape")?.ok_or("no `kernel_shape`")?;
        let kernel = Size { h, w };
        let (border, fill) = if let Form::Padded(border, fill) = x.form {
            (border, fill)
        } else {
            (Sides::default(), 0.0)
        };
        let lowest = is_max && fill <= f32::MIN;
        let fits = border.top.max(border.bottom) < h && border.left.max(border.right) < w;
        let (x, border) = if lowest || (fill == 0.0 && fits && !border.is_zero()) {
            (Computed { form: Form::Plain, ..x.clone() }, border)
        } else {
            (x.clone(), Sides::default())
        };
        let (part, [_, map_h, map_w]) = self.map(&x)?;
        let ceil = operator.flag("ceil_mode")?;
        let Window { stride, pad: reached, dilation } =
            self.window(operator, kernel, [map_h, map_w], border)?;
        if dilation != 1.into() {
            return Err(format!("`dilations` {dilation}, expected 1"));
        }
        let own = Sides {
            top: reached.top - border.top,
            left: reached.left - border.left,
            bottom: reached.bottom - border.bottom,
            right: reached.right - border.right,
        };
        let counts = operator.flag("count_include_pad")?;
        // What a node pads for itself below a border only makes room for a last window.
        let room = (own.top, own.left) == (0, 0) && !own.is_zero();
        let (kind, pad, ceil) = match (is_max, border.is_zero() || lowest) {
            (true, true) => (PoolKind::Max, reached, ceil),
            (true, false) if own.is_zero() || room => (PoolKind::MaxOfPadded, border, ceil || room),
            (false, true) => (PoolKind::Avg { count_include_pad: counts }, reached, ceil),
            (false, false) if own.is_zero() || (room && !counts) => {
                (PoolKind::Avg { count_include_pad: true }, border, ceil || room)
            }
            (false, false) if counts => (PoolKind::Avg { count_include_pad: true }, reached, ceil),
            _ => return Err(String::from("pads a map that is padded with something else")),
        };
        let mut pool = Pool { kind, kernel, stride, pad, ceil };
        let ignored = matches!(kind, PoolKind::Max | PoolKind::Avg { count_include_pad: false });
        if ignored && (pad.bottom >= h || pad.right >= w) {
            // As much as is needed for as many windows.
            pool.pad.bottom = pad.bottom.min(h.saturating_sub(1));
            pool.pad.right = pad.right.min(w.saturating_sub(1));
            pool.ceil = true;
        }
        let along = |n: usize, before: usize, after: usize, kernel: usize, stride: usize| {
            let free = (n + before + after).checked_sub(kernel)?;
            let count = if operator.flag("ceil_mode").ok()? {
                free.div_ceil(stride)
            } else {
                free / stride
            };
            let beyond = operator.flag("ceil_mode").ok()? && count * stride >= n + before;
            Some(if beyond { count } else { count + 1 })
        };
        let expected = (
            along(map_h, reached.top, reached.bottom, h, stride.h),
            along(map_w, reached.left, reached.right, w, stride.w),
        );
        let made = self.made(Op::Pool(pool), vec![part])?;
        let [_, out_h, out_w] = self.shape(made.part).chw();
        if (Some(out_h), Some(out_w)) != expected {
            return Err(String::from("windows that lie in their padding"));
        }
        Ok(made)
    }

    /// One value for every channel.
    pub(super) fn global(
        &mut self,
        operator: &Operator<'m>,
        x: &Computed,
    ) -> Result<Computed, String> {
        let x = self.settle(x)?;
        let shape = self.shape(x.part);
        let (Shape::Map { c, h, w }, true) = (shape, self.is_channels(&x, 0)) else {
            return Err(String::from(
                "reads a value whose second axis is not that of the channels",
            ));
        };
        let kernel = Size { h, w };
        let op = match operator.kind {
            "GlobalAveragePool" => Op::AdaptiveAvgPool(AdaptiveAvgPool { out: 1.into() }),
            _ => Op::Pool(Pool {
                kind: PoolKind::Max,
                kernel,
                stride: 1.into(),
                pad: 0.into(),
                ceil: false,
            }),
        };
        let made = self.made(op, vec![x.part])?;
        let mut extents = vec![1; x.view.rank()];
        if let Some(first) = extents.first_mut() {
            *first = c;
        }
        Ok(Computed { view: View::dense(&extents), ..made })
    }
}
