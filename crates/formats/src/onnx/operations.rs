//! The operations in ONNX's operators: mostly a node for a node; where ONNX has no such operator, or
//! runtimes differ on it, several that together compute exactly the same.
//!
//! Source: ONNX, `docs/Operators.md`, versions 13 to 23 of the operator set.

use striate_graph::op::{
    AdaptiveAvgPool, BatchNorm, Conv2d, Linear, Lrn, Pool, PoolKind, Shortcut, Subsample, Tanh,
};
use striate_graph::{Op, Shape, Sides, Size};

use super::nodes::{Layer, float, int, ints, signed};
use super::proto;

/// The most values of a constant that is made: 64 MiB.
const MAX_CONSTANT: usize = 1 << 24;

impl Layer<'_, '_> {
    /// Writes the nodes of an operation that has a value of its own.
    ///
    /// # Errors
    /// What would be too large.
    pub(super) fn write(&mut self, shapes: &[Shape]) -> Result<(), String> {
        let inputs = self.inputs.clone();
        let x = inputs.first().map_or("", String::as_str);
        match &self.node.op {
            // Their values are others'.
            Op::Input(_) | Op::Dropout(_) => {}
            Op::Conv2d(conv) => self.conv(x, conv),
            Op::Linear(linear) => self.linear(x, linear),
            Op::Pool(pool) => self.pool(x, pool, shapes[0]),
            Op::AdaptiveAvgPool(pool) => self.adaptive(x, pool, shapes[0])?,
            Op::Subsample(subsample) => self.subsample(x, subsample),
            Op::BatchNorm(norm) => self.batch_norm(x, norm, shapes[0].channels()),
            Op::Lrn(lrn) => self.lrn(x, lrn, shapes[0])?,
            Op::Rbf(_) => self.rbf(x),
            Op::Relu => self.end("Relu", &inputs, vec![]),
            Op::Tanh(tanh) => self.tanh(x, tanh),
            Op::Sigmoid => self.end("Sigmoid", &inputs, vec![]),
            Op::Clip(clip) => {
                // A bound that is not there is an input that is not.
                let bound = |this: &mut Self, name, bound: Option<f32>| {
                    bound.map_or_else(String::new, |bound| this.floats(name, &[], vec![bound]))
                };
                let min = bound(self, "min", clip.min);
                let mut inputs = vec![x.to_owned(), min];
                inputs.extend(clip.max.map(|max| self.floats("max", &[], vec![max])));
                self.end("Clip", &inputs, vec![]);
            }
            Op::Softmax => self.end("Softmax", &inputs, vec![int("axis", 1)]),
            Op::LogSoftmax => self.end("LogSoftmax", &inputs, vec![int("axis", 1)]),
            Op::Add => self.end(if inputs.len() == 2 { "Add" } else { "Sum" }, &inputs, vec![]),
            Op::AddScaled(add) => {
                let scale = self.floats("scale", &[], vec![add.scale]);
                let scaled = self.step("scaled", "Mul", &[&inputs[1], &scale]);
                self.end("Add", &[x, &scaled], vec![]);
            }
            Op::Concat => self.end("Concat", &inputs, vec![int("axis", 1)]),
            Op::Flatten => self.end("Flatten", &inputs, vec![int("axis", 1)]),
            Op::Shortcut(shortcut) => self.shortcut(x, shortcut, shapes[0]),
        }
        Ok(())
    }

    fn conv(&mut self, x: &str, conv: &Conv2d) {
        let dilations = ints("dilations", [conv.dilation.h, conv.dilation.w]);
        let mut attributes = window(conv.kernel, conv.stride, conv.pad);
        attributes.extend([dilations, int("group", conv.groups)]);
        self.weighted("Conv", x, conv.bias, attributes);
    }

    fn linear(&mut self, x: &str, linear: &Linear) {
        self.weighted("Gemm", x, linear.bias, vec![int("transB", 1)]);
    }

    fn weighted(&mut self, kind: &str, x: &str, bias: bool, attributes: Vec<proto::Attribute>) {
        let mut inputs = vec![x.to_owned(), self.learned("weight")];
        if bias {
            inputs.push(self.learned("bias"));
        }
        self.end(kind, &inputs, attributes);
    }

    /// Without `ceil_mode`: versions of ONNX, and of its runtimes, differ on a last window that
    /// begins in the padding, and on what it divides by.
    fn pool(&mut self, x: &str, pool: &Pool, input: Shape) {
        let Pool { kind, kernel, stride, pad, .. } = *pool;
        let ([_, h, w], [_, out_h, out_w]) = (input.chw(), self.node.shape.chw());
        // To where the last window reaches.
        let reached = Sides {
            bottom: pad.bottom.max(((out_h - 1) * stride.h + kernel.h).saturating_sub(pad.top + h)),
            right: pad.right.max(((out_w - 1) * stride.w + kernel.w).saturating_sub(pad.left + w)),
            ..pad
        };
        let (bottom, right) = (reached.bottom - pad.bottom, reached.right - pad.right);
        let beyond = Sides { top: 0, left: 0, bottom, right };
        match kind {
            PoolKind::MaxOfPadded => {
                let padded = self.padded(x, pad);
                self.end("MaxPool", &[&padded], window(kernel, stride, beyond));
            }
            PoolKind::Max => self.end("MaxPool", &[x], window(kernel, stride, reached)),
            // What lies beyond the padding does not count, but the padding does.
            PoolKind::Avg { count_include_pad: true } if reached != pad && !pad.is_zero() => {
                let padded = self.padded(x, pad);
                self.average(&padded, kernel, stride, beyond, false);
            }
            PoolKind::Avg { count_include_pad } => {
                let count_include_pad = count_include_pad && reached == pad;
                self.average(x, kernel, stride, reached, count_include_pad);
            }
        }
    }

    /// Zeros around a map.
    fn padded(&mut self, x: &str, Sides { top, left, bottom, right }: Sides) -> String {
        let pads = [0, 0, top, left, 0, 0, bottom, right].map(signed);
        let pads = self.integers("pads", pads.to_vec());
        self.step("padded", "Pad", &[x, &pads])
    }

    fn average(&mut self, x: &str, kernel: Size, stride: Size, pad: Sides, counts: bool) {
        let mut attributes = window(kernel, stride, pad);
        attributes.push(int("count_include_pad", usize::from(counts)));
        self.end("AveragePool", &[x], attributes);
    }

    fn adaptive(&mut self, x: &str, pool: &AdaptiveAvgPool, input: Shape) -> Result<(), String> {
        let [_, h, w] = input.chw();
        let Size { h: out_h, w: out_w } = pool.out;
        if (out_h, out_w) == (1, 1) {
            self.end("GlobalAveragePool", &[x], vec![]);
        } else if h % out_h == 0 && w % out_w == 0 {
            let kernel = Size { h: h / out_h, w: w / out_w };
            self.average(x, kernel, kernel, 0.into(), false);
        } else {
            // Windows of several sizes: a matrix for each axis, with the shares of its pixels.
            let rows = self.shares(h, out_h)?;
            let columns = self.shares(w, out_w)?;
            let columns = (0..w * out_w).map(|i| columns[i % out_w * w + i / out_w]).collect();
            let rows = self.floats("rows", &[out_h, h], rows);
            let columns = self.floats("columns", &[w, out_w], columns);
            let lines = self.step("lines", "MatMul", &[&rows, x]);
            self.end("MatMul", &[&lines, &columns], vec![]);
        }
        Ok(())
    }

    /// For each window of an axis, which share of it every pixel is.
    fn shares(&self, pixels: usize, windows: usize) -> Result<Vec<f32>, String> {
        let mut shares = vec![0.0; self.affordable(pixels.saturating_mul(windows))?];
        for (i, shares) in shares.chunks_exact_mut(pixels).enumerate() {
            let window = &mut shares[i * pixels / windows..((i + 1) * pixels).div_ceil(windows)];
            window.fill(1.0 / window.len() as f32);
        }
        Ok(shares)
    }

    /// A convolution of each map with its coefficient all over the window.
    fn subsample(&mut self, x: &str, subsample: &Subsample) {
        let Subsample { kernel, stride } = *subsample;
        let channels = self.node.shape.channels();
        let weight = self.spread("weight", vec![channels, 1, kernel.h, kernel.w], kernel.area());
        let bias = self.learned("bias");
        let mut attributes = window(kernel, stride, 0.into());
        attributes.push(int("group", channels));
        self.end("Conv", &[x, &weight, &bias], attributes);
    }

    fn batch_norm(&mut self, x: &str, norm: &BatchNorm, channels: usize) {
        let leaves = ["bias", "running_mean", "running_var"];
        let [shift, mean, variance] = leaves.map(|leaf| self.learned(leaf));
        let scale = match norm.scale {
            true => self.learned("weight"),
            false => self.floats("scale", &[channels], vec![1.0; channels]),
        };
        // ONNX's momentum is the share that stays.
        let momentum = float("momentum", 1.0 - norm.momentum);
        let attributes = vec![float("epsilon", norm.eps), momentum];
        self.end("BatchNormalization", &[x, &scale, &shift, &mean, &variance], attributes);
    }

    fn lrn(&mut self, x: &str, lrn: &Lrn, input: Shape) -> Result<(), String> {
        let ([channels, h, w], size) = (input.chw(), lrn.size);
        let plain = size % 2 == 1 && size < 2 * channels;
        if plain && matches!(input, Shape::Map { .. }) {
            // ONNX divides it.
            let alpha = if lrn.divided { lrn.alpha } else { lrn.alpha * lrn.size as f32 };
            let attributes = [("alpha", alpha), ("beta", lrn.beta), ("bias", lrn.k)];
            let mut attributes = attributes.map(|(name, value)| float(name, value)).to_vec();
            attributes.push(int("size", lrn.size));
            self.end("LRN", &[x], attributes);
            return Ok(());
        }
        // An even window of ours reaches further down, one of ONNX further up, and runtimes have
        // none, nor rows, nor windows of any size. The sum is a convolution along the channels.
        let (down, up) = ((size / 2).min(channels - 1), ((size - 1) / 2).min(channels - 1));
        let taps = self.affordable(down + up + 1)?;
        let squares = self.step("squares", "Mul", &[x, x]);
        let column = self.integers("column", vec![0, 1, signed(channels), signed(h * w)]);
        let squares = self.step("columns", "Reshape", &[&squares, &column]);
        let weight = self.floats("alpha", &[1, 1, taps, 1], vec![lrn.factor(); taps]);
        let bias = self.floats("k", &[1], vec![lrn.k]);
        let pad = Sides { top: down, left: 0, bottom: up, right: 0 };
        let window = window(Size { h: taps, w: 1 }, 1.into(), pad);
        let sums = self.step_with("sums", "Conv", &[&squares, &weight, &bias], window);
        let beta = self.floats("beta", &[], vec![lrn.beta]);
        let powers = self.step("powers", "Pow", &[&sums, &beta]);
        // 0 keeps the batch.
        let shape = input.batched(0).into_iter().map(signed).collect();
        let shape = self.integers("shape", shape);
        let powers = self.step("divisors", "Reshape", &[&powers, &shape]);
        self.end("Div", &[x, &powers], vec![]);
        Ok(())
    }

    fn rbf(&mut self, x: &str) {
        let [among, along] = [1, 2].map(|axis| self.integers("axis", vec![axis]));
        let codes = self.learned("weight");
        let x = self.step("row", "Unsqueeze", &[x, &among]);
        let apart = self.step("apart", "Sub", &[&x, &codes]);
        let squares = self.step("squares", "Mul", &[&apart, &apart]);
        self.end("ReduceSum", &[&squares, &along], vec![int("keepdims", 0)]);
    }

    fn tanh(&mut self, x: &str, tanh: &Tanh) {
        let [a, s] =
            [("a", tanh.a), ("s", tanh.s)].map(|(n, value)| self.floats(n, &[], vec![value]));
        let scaled = self.step("scaled", "Mul", &[x, &s]);
        let bounded = self.step("tanh", "Tanh", &[&scaled]);
        self.end("Mul", &[&bounded, &a], vec![]);
    }

    fn shortcut(&mut self, x: &str, shortcut: &Shortcut, input: Shape) {
        let [channels, h, w] = input.chw();
        let starts = self.integers("starts", vec![0, 0]);
        let ends = self.integers("ends", vec![signed(h), signed(w)]);
        let axes = self.integers("axes", vec![2, 3]);
        let steps = self.integers("steps", vec![signed(shortcut.stride); 2]);
        let kept = self.step("kept", "Slice", &[x, &starts, &ends, &axes, &steps]);
        let zeros = signed(shortcut.out - channels);
        let pads = self.integers("pads", vec![0, 0, 0, 0, 0, zeros, 0, 0]);
        self.end("Pad", &[&kept, &pads], vec![]);
    }

    /// The number of values of a constant, if it is not too large.
    fn affordable(&self, count: usize) -> Result<usize, String> {
        if count <= MAX_CONSTANT {
            return Ok(count);
        }
        Err(format!(
            "`{}` needs a constant of {count} values, the limit is {MAX_CONSTANT}: choose a smaller input",
            self.node.name
        ))
    }
}

/// The attributes that convolution and pooling share.
fn window(kernel: Size, stride: Size, pad: Sides) -> Vec<proto::Attribute> {
    vec![
        ints("kernel_shape", [kernel.h, kernel.w]),
        ints("strides", [stride.h, stride.w]),
        ints("pads", pad.array()),
    ]
}

#[cfg(test)]
mod tests {
    use striate_graph::{Graph, Value};

    use super::*;
    use crate::onnx::nodes::Nodes;

    fn nodes(graph: &Graph) -> Vec<proto::Node> {
        Nodes::new(graph, &graph.layout()).unwrap().nodes
    }

    /// `name=value` for the integers of an operator.
    fn integers(node: &proto::Node) -> Vec<String> {
        let value = |attribute: &proto::Attribute| match attribute.kind {
            proto::attribute::INT => format!("{}={}", attribute.name, attribute.i),
            proto::attribute::INTS => format!("{}={:?}", attribute.name, attribute.ints),
            _ => attribute.name.clone(),
        };
        node.attribute.iter().map(value).collect()
    }

    #[test]
    fn windows_are_told_by_their_padding() {
        type Net = for<'g> fn(Value<'g>) -> Value<'g>;
        #[rustfmt::skip]
        let cases: [(Net, &[&str]); 7] = [
            (|x| x.conv((3, 2), 4).pad([0, 1, 2, 0]).dilation(2).pad(1).groups(2),
                &["kernel_shape=[3, 2]", "strides=[1, 1]", "pads=[1, 1, 1, 1]", "dilations=[2, 2]", "group=2"]),
            (|x| x.max_pool(3, 2).pad([0, 1, 1, 0]), &["kernel_shape=[3, 3]", "strides=[2, 2]", "pads=[0, 1, 1, 0]"]),
            (|x| x.max_pool(3, 2).ceil(), &["kernel_shape=[3, 3]", "strides=[2, 2]", "pads=[0, 0, 1, 1]"]),
            // The last window would begin in the padding.
            (|x| x.max_pool(2, 4).pad(1).ceil(), &["kernel_shape=[2, 2]", "strides=[4, 4]", "pads=[1, 1, 1, 1]"]),
            (|x| x.avg_pool(3, 2).ceil(),
                &["kernel_shape=[3, 3]", "strides=[2, 2]", "pads=[0, 0, 1, 1]", "count_include_pad=0"]),
            (|x| x.avg_pool(3, 1).pad(1),
                &["kernel_shape=[3, 3]", "strides=[1, 1]", "pads=[1, 1, 1, 1]", "count_include_pad=1"]),
            (|x| x.subsample(2, 2), &["kernel_shape=[2, 2]", "strides=[2, 2]", "pads=[0, 0, 0, 0]", "group=2"]),
        ];
        for (net, expected) in cases {
            let graph = Graph::build(Shape::map(2, 6, 6), net).unwrap();
            let nodes = nodes(&graph);
            assert_eq!(integers(&nodes[0]), expected);
        }
    }

    #[test]
    fn what_onnx_has_not_is_several_operators() {
        type Net = for<'g> fn(Value<'g>) -> Value<'g>;
        let cases: [(Net, &[&str]); 6] = [
            (|x| x.avg_pool(3, 2).pad(1).ceil(), &["Pad", "AveragePool"]),
            (|x| x.adaptive_avg_pool(4), &["MatMul", "MatMul"]),
            (|x| x.tanh(Tanh::LECUN), &["Mul", "Tanh", "Mul"]),
            (|x| x.shortcut(2, 5), &["Slice", "Pad"]),
            (|x| x.flatten().rbf(vec![vec![true; 72]]), &["Unsqueeze", "Sub", "Mul", "ReduceSum"]),
            (
                |x| x.lrn(Lrn { size: 2, alpha: 1.0, divided: true, beta: 0.5, k: 1.0 }),
                &["Mul", "Reshape", "Conv", "Pow", "Reshape", "Div"],
            ),
        ];
        for (net, expected) in cases {
            let graph = Graph::build(Shape::map(2, 6, 6), net).unwrap();
            let nodes = nodes(&graph);
            let kinds: Vec<_> = nodes.iter().map(|node| node.op_type.as_str()).collect();
            assert_eq!(kinds[kinds.len() - expected.len()..], *expected);
            // The last gives the value, and has the name of the node.
            let last = graph.nodes().last().unwrap();
            assert_eq!(nodes.last().unwrap().name, last.name);
        }
    }
}
