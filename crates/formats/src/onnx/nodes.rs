//! A network in ONNX's operators: mostly a node for a node; where ONNX has no such operator, or
//! runtimes differ on it, several that together compute exactly the same.
//!
//! Source: ONNX, `docs/Operators.md`, versions 13 to 23 of the operator set.

use std::collections::HashSet;

use striate_graph::op::{AdaptiveAvgPool, Conv2d, Linear, Lrn, Pool, PoolKind, Shortcut, Tanh};
use striate_graph::{Graph, Node, Op, Param, ParamLayout, Shape, Sides, Size};

use super::proto;

/// The most values of a constant that is made: 64 MiB.
const MAX_CONSTANT: usize = 1 << 24;

/// The nodes of a network, and the tensors that are stored with them.
#[derive(Debug)]
pub(super) struct Nodes<'a> {
    /// In the order of execution.
    pub(super) nodes: Vec<proto::Node>,
    /// Weights and other constants.
    pub(super) initializers: Vec<Initializer<'a>>,
    /// What the input is called: `input`.
    pub(super) input: String,
    /// What the outputs are called: after the heads.
    pub(super) outputs: Vec<String>,
    /// What the value of each node of the graph is called: after the node.
    pub(super) values: Vec<String>,
    layout: &'a ParamLayout,
    /// What the tensors of the layout are called: as there.
    learned: Vec<String>,
    taken: HashSet<String>,
}

/// A tensor that is stored.
#[derive(Debug)]
pub(super) struct Initializer<'a> {
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
    pub(super) values: Values<'a>,
}

/// Where the values of a tensor are.
#[derive(Debug)]
pub(super) enum Values<'a> {
    /// Of the network, each so many times in a row.
    Learned(&'a Param, usize),
    Floats(Vec<f32>),
    Integers(Vec<i64>),
}

impl<'a> Nodes<'a> {
    /// The nodes of a network with that layout, or why there are none.
    pub(super) fn new(graph: &Graph, layout: &'a ParamLayout) -> Result<Nodes<'a>, String> {
        let mut nodes = Nodes {
            nodes: Vec::new(),
            initializers: Vec::new(),
            input: String::new(),
            outputs: Vec::new(),
            values: Vec::new(),
            layout,
            learned: Vec::new(),
            taken: HashSet::new(),
        };
        // Who comes first keeps the name.
        nodes.input = nodes.take("input");
        nodes.outputs = graph.outputs().iter().map(|output| nodes.take(&output.name)).collect();
        nodes.learned = layout.params().iter().map(|param| nodes.take(&param.name)).collect();
        for (id, node) in graph.iter() {
            let inputs: Vec<_> =
                node.inputs.iter().map(|input| nodes.values[input.index()].clone()).collect();
            let value = if let Op::Input(_) = node.op {
                nodes.input.clone()
            } else if let Op::Dropout(_) = node.op {
                inputs[0].clone()
            } else {
                let head = graph.outputs().iter().position(|output| output.node == id);
                let value = match head {
                    Some(head) => nodes.outputs[head].clone(),
                    None => nodes.take(&node.name),
                };
                let mut layer = Layer { node, inputs, value, nodes: &mut nodes };
                layer.write(&graph.input_shapes(node))?;
                layer.value
            };
            nodes.values.push(value);
        }
        // An output that is the input, or an output of another name already.
        for (output, name) in graph.outputs().iter().zip(nodes.outputs.clone()) {
            let value = &nodes.values[output.node.index()];
            if *value != name {
                let input = vec![value.clone()];
                nodes.push("Identity", name.clone(), input, name, Vec::new());
            }
        }
        Ok(nodes)
    }

    /// A name that no value and no tensor has yet: this one, or with a number behind it.
    fn take(&mut self, name: &str) -> String {
        let numbered = (2..).map(|i| format!("{name}_{i}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let free = names.find(|name| !self.taken.contains(name)).unwrap_or_default();
        self.taken.insert(free.clone());
        free
    }

    fn push(
        &mut self,
        kind: &str,
        name: String,
        input: Vec<String>,
        output: String,
        attribute: Vec<proto::Attribute>,
    ) {
        let (output, op_type, domain) = (vec![output], kind.to_owned(), String::new());
        self.nodes.push(proto::Node { input, output, name, op_type, attribute, domain });
    }
}

/// A node of the graph while it is written.
struct Layer<'n, 'a> {
    node: &'n Node,
    inputs: Vec<String>,
    value: String,
    nodes: &'n mut Nodes<'a>,
}

impl Layer<'_, '_> {
    fn write(&mut self, shapes: &[Shape]) -> Result<(), String> {
        let inputs = self.inputs.clone();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        match &self.node.op {
            // Their values are others'.
            Op::Input(_) | Op::Dropout(_) => {}
            Op::Conv2d(conv) => self.conv(inputs[0], conv),
            Op::Linear(linear) => self.linear(inputs[0], linear),
            Op::Pool(pool) => self.pool(inputs[0], pool, shapes[0]),
            Op::AdaptiveAvgPool(pool) => self.adaptive(inputs[0], pool, shapes[0])?,
            Op::Subsample(subsample) => {
                // A convolution of each map with its coefficient all over the window.
                let (kernel, channels) = (subsample.kernel, self.node.shape.channels());
                let dims = vec![channels, 1, kernel.h, kernel.w];
                let weight = self.learned_as("weight", dims, kernel.area());
                let bias = self.learned("bias");
                let group = int("group", channels);
                let attributes = [window(kernel, subsample.stride, 0.into()), vec![group]].concat();
                self.end("Conv", &[inputs[0], &weight, &bias], attributes);
            }
            Op::BatchNorm(norm) => {
                let leaves = ["bias", "running_mean", "running_var"];
                let [shift, mean, variance] = leaves.map(|leaf| self.learned(leaf));
                let channels = shapes[0].channels();
                let scale = match norm.scale {
                    true => self.learned("weight"),
                    false => self.floats("scale", &[channels], vec![1.0; channels]),
                };
                let values = [inputs[0], &scale, &shift, &mean, &variance];
                // ONNX's momentum is the share that stays.
                let momentum = float("momentum", 1.0 - norm.momentum);
                self.end("BatchNormalization", &values, vec![float("epsilon", norm.eps), momentum]);
            }
            Op::Lrn(lrn) => self.lrn(inputs[0], lrn, shapes[0])?,
            Op::Rbf(_) => {
                let [classes, codes] = [self.integers("axis", vec![1]), self.learned("weight")];
                let x = self.step("row", "Unsqueeze", &[inputs[0], &classes]);
                let apart = self.step("apart", "Sub", &[&x, &codes]);
                let squares = self.step("squares", "Mul", &[&apart, &apart]);
                let axis = self.integers("axis", vec![2]);
                self.end("ReduceSum", &[&squares, &axis], vec![int("keepdims", 0)]);
            }
            Op::Relu => self.end("Relu", &inputs, vec![]),
            Op::Tanh(Tanh { a, s }) => {
                let s = self.floats("s", &[], vec![*s]);
                let x = self.step("scaled", "Mul", &[inputs[0], &s]);
                let y = self.step("tanh", "Tanh", &[&x]);
                let a = self.floats("a", &[], vec![*a]);
                self.end("Mul", &[&y, &a], vec![]);
            }
            Op::Sigmoid => self.end("Sigmoid", &inputs, vec![]),
            Op::Softmax => self.end("Softmax", &inputs, vec![int("axis", 1)]),
            Op::Add => self.end(if inputs.len() == 2 { "Add" } else { "Sum" }, &inputs, vec![]),
            Op::AddScaled(add) => {
                let scale = self.floats("scale", &[], vec![add.scale]);
                let scaled = self.step("scaled", "Mul", &[inputs[1], &scale]);
                self.end("Add", &[inputs[0], &scaled], vec![]);
            }
            Op::Concat => self.end("Concat", &inputs, vec![int("axis", 1)]),
            Op::Flatten => self.end("Flatten", &inputs, vec![int("axis", 1)]),
            Op::Shortcut(shortcut) => self.shortcut(inputs[0], shortcut, shapes[0]),
        }
        Ok(())
    }

    fn conv(&mut self, x: &str, conv: &Conv2d) {
        let mut values = vec![x.to_owned(), self.learned("weight")];
        if conv.bias {
            values.push(self.learned("bias"));
        }
        let dilations = ints("dilations", [conv.dilation.h, conv.dilation.w]);
        let attributes = [
            window(conv.kernel, conv.stride, conv.pad),
            vec![dilations, int("group", conv.groups)],
        ];
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        self.end("Conv", &values, attributes.concat());
    }

    fn linear(&mut self, x: &str, linear: &Linear) {
        let weight = self.learned("weight");
        match linear.bias {
            true => {
                let bias = self.learned("bias");
                self.end("Gemm", &[x, &weight, &bias], vec![int("transB", 1)]);
            }
            false => self.end("Gemm", &[x, &weight], vec![int("transB", 1)]),
        }
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
            PoolKind::Max => self.end("MaxPool", &[x], window(kernel, stride, reached)),
            // What lies beyond the padding does not count, but the padding does.
            PoolKind::MaxOfPadded => {
                let padded = self.padded(x, pad);
                self.end("MaxPool", &[&padded], window(kernel, stride, beyond));
            }
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
        let sides = [0, 0, top, left, 0, 0, bottom, right];
        let sides = self.integers("pads", sides.into_iter().map(signed).collect());
        self.step("padded", "Pad", &[x, &sides])
    }

    fn average(&mut self, x: &str, kernel: Size, stride: Size, pad: Sides, counts: bool) {
        let counts = int("count_include_pad", usize::from(counts));
        let attributes = [window(kernel, stride, pad), vec![counts]].concat();
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
        let shape = [0].into_iter().chain(input.extents().into_iter().map(signed)).collect();
        let shape = self.integers("shape", shape);
        let powers = self.step("divisors", "Reshape", &[&powers, &shape]);
        self.end("Div", &[x, &powers], vec![]);
        Ok(())
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

    /// The node that gives the value of this one.
    fn end(&mut self, kind: &str, inputs: &[&str], attributes: Vec<proto::Attribute>) {
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        self.nodes.push(kind, self.node.name.clone(), inputs, self.value.clone(), attributes);
    }

    /// A node before it, without attributes; the name of its value.
    fn step(&mut self, word: &str, kind: &str, inputs: &[&str]) -> String {
        self.step_with(word, kind, inputs, vec![])
    }

    fn step_with(
        &mut self,
        word: &str,
        kind: &str,
        inputs: &[&str],
        attributes: Vec<proto::Attribute>,
    ) -> String {
        let name = self.within(word);
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        self.nodes.push(kind, name.clone(), inputs, name.clone(), attributes);
        name
    }

    fn within(&mut self, word: &str) -> String {
        self.nodes.take(&format!("{}/{word}", self.node.name))
    }

    /// A tensor of the network.
    fn learned(&mut self, leaf: &str) -> String {
        self.learned_as(leaf, Vec::new(), 1)
    }

    /// A tensor of the network, each value so many times, of these extents if any are given.
    fn learned_as(&mut self, leaf: &str, dims: Vec<usize>, times: usize) -> String {
        let position = self.nodes.layout.position(&format!("{}.{leaf}", self.node.name));
        let position = position.expect("an operation has the tensors that it declares");
        let (param, name) =
            (&self.nodes.layout.params()[position], self.nodes.learned[position].clone());
        let dims = if dims.is_empty() { param.slot.shape.clone() } else { dims };
        self.store(name, dims, Values::Learned(param, times))
    }

    fn floats(&mut self, word: &str, dims: &[usize], values: Vec<f32>) -> String {
        let name = self.within(word);
        self.store(name, dims.to_vec(), Values::Floats(values))
    }

    fn integers(&mut self, word: &str, values: Vec<i64>) -> String {
        let name = self.within(word);
        self.store(name, vec![values.len()], Values::Integers(values))
    }
}

impl<'a> Layer<'_, 'a> {
    fn store(&mut self, name: String, dims: Vec<usize>, values: Values<'a>) -> String {
        self.nodes.initializers.push(Initializer { name: name.clone(), dims, values });
        name
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

fn float(name: &str, f: f32) -> proto::Attribute {
    proto::Attribute { f, ..attribute(name, proto::attribute::FLOAT) }
}

fn int(name: &str, i: usize) -> proto::Attribute {
    proto::Attribute { i: signed(i), ..attribute(name, proto::attribute::INT) }
}

fn ints<const N: usize>(name: &str, ints: [usize; N]) -> proto::Attribute {
    let ints = ints.map(signed).to_vec();
    proto::Attribute { ints, ..attribute(name, proto::attribute::INTS) }
}

fn attribute(name: &str, kind: i32) -> proto::Attribute {
    proto::Attribute { name: name.to_owned(), kind, ..proto::Attribute::default() }
}

/// A size as ONNX has it. What is larger than any map is as large as can be.
pub(super) fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
