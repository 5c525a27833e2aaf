//! What each type of layer is in operations of ours.

use striate_graph::op::{
    AdaptiveAvgPool, AddScaled, BatchNorm, Conv2d, Dropout, Linear, Lrn, Pool, PoolKind, Tanh,
};
use striate_graph::{Op, Shape, Sides, Size};

use super::message::Message;
use super::net::Layer;

/// Which types of layers are known, for errors.
pub(super) const KNOWN: &str = "BatchNorm, Concat, Convolution, Dropout, Eltwise, Flatten, \
    InnerProduct, LRN, Pooling, Power, ReLU, Reshape, Scale, Sigmoid, Softmax, Split and TanH";

/// The operations that a layer is, one after the other, each with what is put behind the name of
/// the layer; none if it changes nothing. `inputs` are what it reads, one or more.
///
/// # Errors
/// What was found, and what is read instead.
pub(super) fn operations(
    layer: &Layer,
    inputs: &[Shape],
) -> Result<Vec<(&'static str, Op)>, String> {
    let one = |op: Op| Ok(vec![("", op)]);
    let input = inputs[0];
    match layer.kind {
        "BatchNorm" => one(Op::BatchNorm(batch_norm(layer.attributes("batch_norm_param"))?)),
        "Concat" => {
            let concat = layer.attributes("concat_param");
            axis(concat, "axis", &[1])?;
            axis(concat, "concat_dim", &[1])?;
            one(Op::Concat)
        }
        "Convolution" => one(Op::Conv2d(convolution(layer.attributes("convolution_param"))?)),
        "Dropout" => {
            let p = layer.attributes("dropout_param").number("dropout_ratio", 0.5)?;
            one(Op::Dropout(Dropout { p }))
        }
        "Eltwise" => one(eltwise(layer.attributes("eltwise_param"))?),
        "Flatten" => {
            let flatten = layer.attributes("flatten_param");
            axis(flatten, "axis", &[1])?;
            axis(flatten, "end_axis", &[-1])?;
            Ok(row(input))
        }
        "InnerProduct" => {
            let product = layer.attributes("inner_product_param");
            axis(product, "axis", &[1])?;
            let (out, bias) = (needed(product, "num_output")?, product.flag("bias_term", true)?);
            let mut operations = row(input);
            operations.iter_mut().for_each(|(behind, _)| *behind = ".flatten");
            operations.push(("", Op::Linear(Linear { out, bias })));
            Ok(operations)
        }
        "LRN" => one(Op::Lrn(lrn(layer.attributes("lrn_param"))?)),
        "Pooling" => one(pooling(layer.attributes("pooling_param"), input)?),
        "Power" => {
            let power = layer.attributes("power_param");
            let [power, scale, shift] = [("power", 1.0), ("scale", 1.0), ("shift", 0.0)]
                .map(|(name, default)| power.number(name, default));
            match (power?, scale?, shift?) {
                (1.0, 1.0, 0.0) => Ok(vec![]),
                (power, scale, shift) => Err(format!(
                    "power {power}, scale {scale} and shift {shift}, expected 1, 1 and 0"
                )),
            }
        }
        "ReLU" => match layer.attributes("relu_param").number("negative_slope", 0.0)? {
            0.0 => one(Op::Relu),
            slope => Err(format!("negative_slope {slope}, expected 0")),
        },
        "Reshape" => {
            let reshape = layer.attributes("reshape_param");
            axis(reshape, "axis", &[0])?;
            axis(reshape, "num_axes", &[-1])?;
            match reshape.message("shape").numbers("dim")?.as_slice() {
                [_, -1.0] => Ok(row(input)),
                dims => Err(format!("dimensions {dims:?}, expected a row a sample: 0 and -1")),
            }
        }
        "Scale" => one(scale(layer, input)?),
        "Sigmoid" => one(Op::Sigmoid),
        "Softmax" => {
            axis(layer.attributes("softmax_param"), "axis", &[1])?;
            one(Op::Softmax)
        }
        "Split" => Ok(vec![]),
        "TanH" => one(Op::Tanh(Tanh { a: 1.0, s: 1.0 })),
        _ => Err(format!("a type that is not known, expected one of {KNOWN}")),
    }
}

/// Of a map a row; a row is one.
fn row(input: Shape) -> Vec<(&'static str, Op)> {
    if matches!(input, Shape::Flat(_)) { vec![] } else { vec![("", Op::Flatten)] }
}

/// That an axis, if it is given, is one of those that we have.
fn axis(attributes: &Message, name: &str, expected: &[i32]) -> Result<(), String> {
    match attributes.numbers(name)?.last() {
        Some(found) if expected.iter().all(|axis| f64::from(*axis) != *found) => {
            Err(format!("{name} {found}, expected {expected:?}"))
        }
        Some(_) | None => Ok(()),
    }
}

fn needed(attributes: &Message, name: &str) -> Result<usize, String> {
    attributes.size(name)?.ok_or_else(|| format!("no `{name}`, expected one"))
}

/// Height and width: `kernel_size` once or twice, or `kernel_h` and `kernel_w`.
fn sides(
    attributes: &Message,
    both: &str,
    each: &str,
    default: Option<usize>,
) -> Result<Size, String> {
    let (h, w) = (format!("{each}_h"), format!("{each}_w"));
    let (h, w) = (attributes.size(&h)?, attributes.size(&w)?);
    let (all_h, all_w) = match attributes.sizes(both)?.as_slice() {
        [] => (default, default),
        [side] => (Some(*side), Some(*side)),
        [h, w] => (Some(*h), Some(*w)),
        more => return Err(format!("`{both}` for {} axes, expected two", more.len())),
    };
    match (h.or(all_h), w.or(all_w)) {
        (Some(h), Some(w)) => Ok(Size { h, w }),
        _ => Err(format!("no `{both}`, expected one")),
    }
}

fn padding(attributes: &Message) -> Result<Sides, String> {
    let Size { h, w } = sides(attributes, "pad", "pad", Some(0))?;
    Ok((h, w).into())
}

fn batch_norm(attributes: &Message) -> Result<BatchNorm, String> {
    let eps = attributes.number("eps", 1e-5)?;
    Ok(BatchNorm {
        eps,
        momentum: 1.0 - attributes.number("moving_average_fraction", 0.999)?,
        scale: true,
    })
}

fn convolution(attributes: &Message) -> Result<Conv2d, String> {
    axis(attributes, "axis", &[1])?;
    Ok(Conv2d {
        out: needed(attributes, "num_output")?,
        kernel: sides(attributes, "kernel_size", "kernel", None)?,
        stride: sides(attributes, "stride", "stride", Some(1))?,
        pad: padding(attributes)?,
        dilation: sides(attributes, "dilation", "dilation", Some(1))?,
        groups: attributes.size("group")?.unwrap_or(1),
        bias: attributes.flag("bias_term", true)?,
        table: None,
    })
}

fn eltwise(attributes: &Message) -> Result<Op, String> {
    match attributes.word("operation", "SUM")? {
        "SUM" => {}
        other => return Err(format!("operation {other}, expected SUM")),
    }
    let coefficients = attributes.numbers("coeff")?;
    match coefficients.as_slice() {
        all if all.iter().all(|coefficient| *coefficient == 1.0) => Ok(Op::Add),
        [1.0, scale] => Ok(Op::AddScaled(AddScaled { scale: *scale as f32 })),
        other => Err(format!("coeff {other:?}, expected 1, and of the second of two any")),
    }
}

fn lrn(attributes: &Message) -> Result<Lrn, String> {
    match attributes.word("norm_region", "ACROSS_CHANNELS")? {
        "ACROSS_CHANNELS" => Ok(Lrn {
            size: attributes.size("local_size")?.unwrap_or(5),
            alpha: attributes.number("alpha", 1.0)?,
            divided: true,
            beta: attributes.number("beta", 0.75)?,
            k: attributes.number("k", 1.0)?,
        }),
        other => Err(format!("norm_region {other}, expected ACROSS_CHANNELS")),
    }
}

fn pooling(attributes: &Message, input: Shape) -> Result<Op, String> {
    let kind = match attributes.word("pool", "MAX")? {
        "MAX" => PoolKind::Max,
        "AVE" => PoolKind::Avg { count_include_pad: true },
        other => return Err(format!("pool {other}, expected MAX or AVE")),
    };
    let [_, h, w] = input.chw();
    if attributes.flag("global_pooling", false)? {
        let whole =
            Pool { kind, kernel: (h, w).into(), stride: 1.into(), pad: 0.into(), ceil: true };
        return Ok(match kind {
            PoolKind::Max | PoolKind::MaxOfPadded => Op::Pool(whole),
            PoolKind::Avg { .. } => Op::AdaptiveAvgPool(AdaptiveAvgPool { out: 1.into() }),
        });
    }
    let ceil = match attributes.word("round_mode", "CEIL")? {
        "CEIL" => true,
        "FLOOR" => false,
        other => return Err(format!("round_mode {other}, expected CEIL or FLOOR")),
    };
    let pad = padding(attributes)?;
    let kernel = sides(attributes, "kernel_size", "kernel", None)?;
    let stride = sides(attributes, "stride", "stride", Some(1))?;
    if ceil && leaves_map(input, kernel, stride, pad) {
        return Err(format!("windows of {kernel} every {stride}, the last one outside the map"));
    }
    Ok(Op::Pool(Pool { kind, kernel, stride, pad, ceil }))
}

/// Whether Caffe, rounding up, has a last window outside the map: without padding it keeps one.
pub(super) fn leaves_map(input: Shape, kernel: Size, stride: Size, pad: Sides) -> bool {
    let [_, h, w] = input.chw();
    let leaves = |n: usize, kernel: usize, stride: usize| {
        stride > 0 && n >= kernel && (n - kernel).div_ceil(stride) * stride >= n
    };
    pad == Sides::from(0) && (leaves(h, kernel.h, stride.h) || leaves(w, kernel.w, stride.w))
}

/// A factor and a summand a channel: what a 1×1 convolution of each channel alone does.
fn scale(layer: &Layer, input: Shape) -> Result<Op, String> {
    let attributes = layer.attributes("scale_param");
    axis(attributes, "axis", &[1])?;
    axis(attributes, "num_axes", &[1])?;
    match input {
        Shape::Map { c, .. } => Ok(Op::Conv2d(Conv2d {
            groups: c,
            bias: attributes.flag("bias_term", false)?,
            ..Conv2d::new(1.into(), c)
        })),
        Shape::Flat(_) => {
            Err(String::from("a row to scale, expected a map, or a BatchNorm before"))
        }
    }
}
