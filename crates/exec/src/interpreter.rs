//! The reference: every operation as it is defined, in plain loops and double precision, to be
//! checked by reading. What another engine computes is compared with this.

use std::ops::Range;
use std::sync::Arc;
use std::thread;

use striate_graph::op::{AddScaled, BatchNorm, Conv2d, Linear, Lrn, Pool, PoolKind, Tanh};
use striate_graph::{Graph, Node, NodeId, Op, Output, ParamSource, Params, Shape};
use striate_kernels::Threads;
use striate_tensor::Tensor;

use crate::backend;
use crate::outputs::Meaning;
use crate::{Backend, CompileError, Executable, Options, Outputs, RunError};

/// The engine that is right by definition, and slow. It computes as many images at once as the
/// machine has cores, whatever the options say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interpreter;

/// Whether a network is used or trained.
#[derive(Clone, Copy)]
pub enum Mode<'a> {
    /// Batch normalisation by the running statistics, no dropout.
    Infer,
    /// Batch normalisation by the statistics of the batch, dropout by masks.
    Train {
        /// Whether a dropout node lets the i-th value of the batch stay.
        stays: &'a (dyn Fn(NodeId, usize) -> bool + Sync),
    },
}

/// The values of all nodes, each `N×C×H×W` as one row, in the order of the graph.
///
/// # Errors
/// [`RunError`] if the images or the parameters do not fit the network.
pub fn evaluate(
    graph: &Graph,
    params: &Params,
    images: &Tensor,
    mode: Mode<'_>,
) -> Result<Vec<Vec<f64>>, RunError> {
    let batch = images.shape().first().copied().unwrap_or(0).max(1);
    Options { batch, ..Options::default() }.check(graph)?;
    backend::check_layout(graph, params.layout())?;
    backend::count(images, graph.input(), batch)?;
    Ok(values(graph, params, images, mode, Threads::available()))
}

/// [`evaluate`] of what is known to fit.
fn values(
    graph: &Graph,
    params: &Params,
    images: &Tensor,
    mode: Mode<'_>,
    threads: usize,
) -> Vec<Vec<f64>> {
    let batch = images.shape()[0];
    let mut values: Vec<Vec<f64>> = Vec::with_capacity(graph.nodes().len());
    for (id, node) in graph.iter() {
        let scene = Scene {
            id,
            batch,
            threads,
            images: images.data(),
            inputs: node.inputs.iter().map(|input| values[input.index()].as_slice()).collect(),
            shapes: graph.input_shapes(node),
            slots: backend::slots(graph, params, node),
            mode,
        };
        values.push(scene.value(node));
    }
    values
}

impl Backend for Interpreter {
    fn name(&self) -> &'static str {
        "interpreter"
    }

    fn compile(
        &self,
        graph: &Graph,
        params: &dyn ParamSource,
        options: &Options,
    ) -> Result<Box<dyn Executable>, CompileError> {
        options.check(graph)?;
        backend::check_layout(graph, params.layout())?;
        Ok(Box::new(Loaded {
            wanted: options.wanted(graph),
            batch: options.batch,
            threads: options.thread_count()?,
            graph: Arc::new(graph.clone()),
            params: Arc::new(Params::read(params)?),
        }))
    }
}

#[derive(Clone)]
struct Loaded {
    graph: Arc<Graph>,
    params: Arc<Params>,
    wanted: Vec<Output>,
    batch: usize,
    threads: usize,
}

impl Executable for Loaded {
    fn run(&mut self, images: &Tensor) -> Result<Outputs, RunError> {
        let batch = backend::count(images, self.graph.input(), self.batch)?;
        let values = values(&self.graph, &self.params, images, Mode::Infer, self.threads);
        let tensor = |node: NodeId| {
            let mut tensor = Tensor::zeros(&self.graph.node(node).shape.batched(batch));
            let pairs = tensor.data_mut().iter_mut().zip(&values[node.index()]);
            pairs.for_each(|(to, from)| *to = *from as f32);
            tensor
        };
        let named = self.wanted.iter().map(|output| (output.name.clone(), tensor(output.node)));
        Ok(Outputs::new(named.collect(), Meaning::of(&self.graph)))
    }

    fn another(&self) -> Result<Box<dyn Executable>, CompileError> {
        Ok(Box::new(self.clone()))
    }

    fn explain(&mut self, images: &Tensor, _: usize) -> Result<String, RunError> {
        self.run(images)?;
        let names: Vec<&str> = self.graph.nodes().iter().map(|node| node.name.as_str()).collect();
        Ok(format!("{}\n", names.join("\n")))
    }

    fn batch(&self) -> usize {
        self.batch
    }
}

/// What a node sees when its turn comes.
struct Scene<'a> {
    id: NodeId,
    batch: usize,
    /// Threads that share the samples of a batch.
    threads: usize,
    images: &'a [f32],
    inputs: Vec<&'a [f64]>,
    shapes: Vec<Shape>,
    /// The node's parameters, in the order of [`Op::slots`].
    slots: Vec<&'a [f32]>,
    mode: Mode<'a>,
}

impl Scene<'_> {
    fn value(&self, node: &Node) -> Vec<f64> {
        match &node.op {
            Op::Input(_) => self.images.iter().copied().map(f64::from).collect(),
            Op::Conv2d(op) => {
                let [from, to] = [self.shapes[0].chw(), node.shape.chw()];
                self.each_sample(node.shape, |x, y| self.convolve(op, from, to, x, y))
            }
            Op::Linear(op) => self.each_sample(node.shape, |x, y| self.linear(op, x, y)),
            Op::Pool(op) => self.pool(op, node.shape),
            Op::AdaptiveAvgPool(op) => {
                let [_, h, w] = self.shapes[0].chw();
                let window = |axis: usize, at: usize| {
                    let (n, out) = ([h, w][axis], [op.out.h, op.out.w][axis]);
                    let pixels = at * n / out..((at + 1) * n).div_ceil(out);
                    (pixels.clone(), pixels.len())
                };
                self.windows(node.shape, window, |_, pixels, count| mean(pixels, count))
            }
            Op::Subsample(op) => {
                let (kernel, stride) = ([op.kernel.h, op.kernel.w], [op.stride.h, op.stride.w]);
                let window = |axis: usize, at: usize| {
                    let start = at * stride[axis];
                    (start..start + kernel[axis], kernel[axis])
                };
                self.windows(node.shape, window, |channel, pixels, _| {
                    pixels.sum::<f64>() * self.slot(0, channel) + self.slot(1, channel)
                })
            }
            Op::BatchNorm(op) => self.batch_norm(op),
            Op::Lrn(op) => self.lrn(op),
            Op::Rbf(_) => self.each_sample(node.shape, |x, y| self.rbf(x, y)),
            Op::Relu => self.map(|x| if x < 0.0 { 0.0 } else { x }),
            Op::Clip(clip) => {
                let [min, max] = clip.bounds().map(f64::from);
                self.map(|x| {
                    if x < min {
                        min
                    } else if x > max {
                        max
                    } else {
                        x
                    }
                })
            }
            Op::Tanh(Tanh { a, s }) => {
                let (a, s) = (f64::from(*a), f64::from(*s));
                self.map(|x| a * (s * x).tanh())
            }
            Op::Sigmoid => self.map(|x| 1.0 / (1.0 + (-x).exp())),
            Op::Softmax => self.softmax(|below, sum| below.exp() / sum),
            Op::LogSoftmax => self.softmax(|below, sum| below - sum.ln()),
            Op::Dropout(op) => match self.mode {
                Mode::Infer => self.inputs[0].to_vec(),
                Mode::Train { stays } => {
                    let factor = 1.0 / (1.0 - f64::from(op.p));
                    let drop = |(i, x)| if stays(self.id, i) { x * factor } else { 0.0 };
                    self.inputs[0].iter().enumerate().map(drop).collect()
                }
            },
            Op::Add => {
                let sum = |i| self.inputs.iter().map(|input| input[i]).sum();
                (0..self.inputs[0].len()).map(sum).collect()
            }
            Op::AddScaled(AddScaled { scale }) => {
                let pairs = self.inputs[0].iter().zip(self.inputs[1]);
                pairs.map(|(a, b)| a + f64::from(*scale) * b).collect()
            }
            Op::Concat => self.concat(),
            Op::Flatten => self.inputs[0].to_vec(),
            Op::Shortcut(op) => self.shortcut(op.stride, node.shape),
        }
    }

    /// A parameter.
    fn slot(&self, slot: usize, at: usize) -> f64 {
        f64::from(self.slots[slot][at])
    }

    /// A function of each value.
    fn map(&self, f: impl Fn(f64) -> f64) -> Vec<f64> {
        self.inputs[0].iter().map(|&x| f(x)).collect()
    }

    /// `make(x, y)` of each sample, some at the same time.
    fn each_sample(&self, shape: Shape, make: impl Fn(&[f64], &mut [f64]) + Sync) -> Vec<f64> {
        let (from, to) = (self.shapes[0].volume(), shape.volume());
        let mut y = vec![0.0; self.batch * to];
        let share = self.batch.div_ceil(self.threads);
        let some = |x: &[f64], y: &mut [f64]| {
            x.chunks_exact(from).zip(y.chunks_exact_mut(to)).for_each(|(x, y)| make(x, y));
        };
        if share == self.batch {
            some(self.inputs[0], &mut y);
            return y;
        }
        thread::scope(|scope| {
            let shares = self.inputs[0].chunks(share * from).zip(y.chunks_mut(share * to));
            shares.for_each(|(x, y)| _ = scope.spawn(|| some(x, y)));
        });
        y
    }

    /// Adds the products tap by tap, along whole rows of the result.
    fn convolve(&self, op: &Conv2d, from: [usize; 3], to: [usize; 3], x: &[f64], y: &mut [f64]) {
        let ([c, h, w], [out, out_h, out_w]) = (from, to);
        let (channels, filters) = (op.channels_per_group(c), out / op.groups);
        for (o, y) in y.chunks_exact_mut(out_h * out_w).enumerate() {
            y.fill(if op.bias { self.slot(1, o) } else { 0.0 });
            let read = (0..channels).map(|i| (i, o / filters * channels + i));
            let connected = |channel| op.table.as_ref().is_none_or(|t| t.connects(channel, o));
            for (i, channel) in read.filter(|(_, channel)| connected(*channel)) {
                let x = &x[channel * h * w..][..h * w];
                for (ky, kx) in pairs(op.kernel.h, op.kernel.w) {
                    let weight =
                        self.slot(0, ((o * channels + i) * op.kernel.h + ky) * op.kernel.w + kx);
                    let rows = Tap::new(ky, op.dilation.h, op.stride.h, op.pad.top);
                    let columns = Tap::new(kx, op.dilation.w, op.stride.w, op.pad.left);
                    let across = columns.inside(w, out_w);
                    if across.is_empty() {
                        continue;
                    }
                    for oy in rows.inside(h, out_h) {
                        let x = &x[rows.reads(oy) * w..][..w][columns.reads(across.start)..];
                        let y = &mut y[oy * out_w..][across.clone()];
                        match op.stride.w {
                            1 => y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x),
                            s => {
                                let x = x.iter().step_by(s);
                                y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x);
                            }
                        }
                    }
                }
            }
        }
    }

    fn linear(&self, op: &Linear, x: &[f64], y: &mut [f64]) {
        for (o, y) in y.iter_mut().enumerate() {
            let weights = &self.slots[0][o * x.len()..][..x.len()];
            let sum: f64 = x.iter().zip(weights).map(|(x, w)| x * f64::from(*w)).sum();
            *y = sum + if op.bias { self.slot(1, o) } else { 0.0 };
        }
    }

    fn rbf(&self, x: &[f64], y: &mut [f64]) {
        for (o, y) in y.iter_mut().enumerate() {
            let code = &self.slots[0][o * x.len()..][..x.len()];
            *y = x.iter().zip(code).map(|(x, w)| (x - f64::from(*w)).powi(2)).sum();
        }
    }

    fn pool(&self, op: &Pool, shape: Shape) -> Vec<f64> {
        let [_, h, w] = self.shapes[0].chw();
        // What lies in the picture, and how much of the window lies in picture and padding.
        let window = |axis: usize, at: usize| {
            let n = [h, w][axis];
            let kernel = [op.kernel.h, op.kernel.w][axis];
            let (before, after) = [(op.pad.top, op.pad.bottom), (op.pad.left, op.pad.right)][axis];
            let start = at * [op.stride.h, op.stride.w][axis];
            let end = (start + kernel).min(before + n + after);
            let inside = start.max(before) - before..end.min(before + n) - before;
            (inside, end - start)
        };
        match op.kind {
            PoolKind::Max => self.windows(shape, window, |_, pixels, _| largest(pixels)),
            PoolKind::MaxOfPadded => self.windows(shape, window, |_, pixels, count| {
                let (mut inside, zeros) = (0, std::iter::repeat(0.0));
                let most = largest(&mut pixels.inspect(|_| inside += 1));
                largest(&mut zeros.take(count - inside).chain([most]))
            }),
            PoolKind::Avg { count_include_pad: true } => {
                self.windows(shape, window, |_, pixels, count| mean(pixels, count))
            }
            PoolKind::Avg { count_include_pad: false } => {
                let window = |axis: usize, at: usize| {
                    let (inside, _) = window(axis, at);
                    (inside.clone(), inside.len())
                };
                self.windows(shape, window, |_, pixels, count| mean(pixels, count))
            }
        }
    }

    /// `take(channel, pixels, count)` of each window. `window` says, for an axis and a position of
    /// the result, which pixels of the input it covers and how many it counts as.
    fn windows(
        &self,
        shape: Shape,
        window: impl Fn(usize, usize) -> (Range<usize>, usize),
        take: impl Fn(usize, &mut dyn Iterator<Item = f64>, usize) -> f64,
    ) -> Vec<f64> {
        let [channels, h, w] = self.shapes[0].chw();
        let [_, out_h, out_w] = shape.chw();
        let mut y = Vec::with_capacity(self.batch * shape.volume());
        for (plane, x) in self.inputs[0].chunks_exact(h * w).enumerate() {
            for (oy, ox) in pairs(out_h, out_w) {
                let ((rows, tall), (columns, wide)) = (window(0, oy), window(1, ox));
                let lines = rows.map(|row| &x[row * w..][columns.clone()]);
                y.push(take(plane % channels, &mut lines.flatten().copied(), tall * wide));
            }
        }
        y
    }

    fn batch_norm(&self, op: &BatchNorm) -> Vec<f64> {
        let x = self.inputs[0];
        let (channels, area) = (self.shapes[0].channels(), self.shapes[0].area());
        // γ is the first, if there is one.
        let learned = usize::from(op.scale);
        let planes = |channel: usize| x.chunks_exact(area).skip(channel).step_by(channels);
        let statistics = |channel: usize| match self.mode {
            Mode::Infer => (self.slot(learned + 1, channel), self.slot(learned + 2, channel)),
            Mode::Train { .. } => {
                let count = (self.batch * area) as f64;
                let values = || planes(channel).flatten();
                let mean = values().sum::<f64>() / count;
                (mean, values().map(|x| (x - mean).powi(2)).sum::<f64>() / count)
            }
        };
        let mut y = vec![0.0; x.len()];
        for channel in 0..channels {
            let (mean, variance) = statistics(channel);
            let deviation = (variance + f64::from(op.eps)).sqrt();
            let scale = if op.scale { self.slot(0, channel) } else { 1.0 };
            let shift = self.slot(learned, channel);
            let normal = |x| (x - mean) / deviation * scale + shift;
            let results = y.chunks_exact_mut(area).skip(channel).step_by(channels);
            for (x, y) in planes(channel).zip(results) {
                y.iter_mut().zip(x).for_each(|(y, x)| *y = normal(x));
            }
        }
        y
    }

    fn lrn(&self, op: &Lrn) -> Vec<f64> {
        let (channels, area) = (self.shapes[0].channels(), self.shapes[0].area());
        let share = if op.divided { op.size as f64 } else { 1.0 };
        let (alpha, beta, k) = (f64::from(op.alpha) / share, f64::from(op.beta), f64::from(op.k));
        let mut y = Vec::with_capacity(self.inputs[0].len());
        for x in self.inputs[0].chunks_exact(channels * area) {
            for (channel, pixel) in pairs(channels, area) {
                // An even window reaches one map further down, as in PyTorch.
                let first = channel.saturating_sub(op.size / 2);
                let after = (channel + op.size.div_ceil(2)).min(channels);
                let squares = (first..after).map(|c| x[c * area + pixel].powi(2));
                let sum = k + alpha * squares.sum::<f64>();
                y.push(x[channel * area + pixel] / sum.powf(beta));
            }
        }
        y
    }

    /// What is made of the distance of each value to the largest, and of the sum of their powers.
    fn softmax(&self, make: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let (channels, area) = (self.shapes[0].channels(), self.shapes[0].area());
        let mut y = self.inputs[0].to_vec();
        for y in y.chunks_exact_mut(channels * area) {
            for pixel in 0..area {
                let logits = || y[pixel..].iter().step_by(area);
                let highest = logits().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = logits().map(|x| (x - highest).exp()).sum();
                y[pixel..].iter_mut().step_by(area).for_each(|y| *y = make(*y - highest, sum));
            }
        }
        y
    }

    fn concat(&self) -> Vec<f64> {
        let mut y = Vec::new();
        for sample in 0..self.batch {
            for (input, shape) in self.inputs.iter().zip(&self.shapes) {
                y.extend(&input[sample * shape.volume()..][..shape.volume()]);
            }
        }
        y
    }

    fn shortcut(&self, stride: usize, shape: Shape) -> Vec<f64> {
        let [channels, h, w] = self.shapes[0].chw();
        let [out, out_h, out_w] = shape.chw();
        let mut y = Vec::with_capacity(self.batch * shape.volume());
        for x in self.inputs[0].chunks_exact(channels * h * w) {
            for channel in 0..out {
                for (oy, ox) in pairs(out_h, out_w) {
                    let at = (channel * h + oy * stride) * w + ox * stride;
                    y.push(if channel < channels { x[at] } else { 0.0 });
                }
            }
        }
        y
    }
}

/// One tap of a kernel along one axis: output `o` reads input `o · stride + offset − pad`.
struct Tap {
    offset: usize,
    stride: usize,
    pad: usize,
}

impl Tap {
    fn new(index: usize, dilation: usize, stride: usize, pad: usize) -> Tap {
        Tap { offset: index * dilation, stride, pad }
    }

    /// The outputs that read a pixel of the picture, not of its padding.
    fn inside(&self, pixels: usize, outputs: usize) -> Range<usize> {
        let first = |pixel: usize| pixel.saturating_sub(self.offset).div_ceil(self.stride);
        first(self.pad).min(outputs)..first(self.pad + pixels).min(outputs)
    }

    /// The pixel that an output reads.
    fn reads(&self, output: usize) -> usize {
        output * self.stride + self.offset - self.pad
    }
}

/// All `(i, j)` below `n` and `m`, `j` fastest.
fn pairs(n: usize, m: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |i| (0..m).map(move |j| (i, j)))
}

fn mean(pixels: &mut dyn Iterator<Item = f64>, count: usize) -> f64 {
    pixels.sum::<f64>() / count as f64
}

/// Not a number if one of the values is not.
fn largest(values: &mut dyn Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, |m, x| if x > m || x.is_nan() { x } else { m })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Graph {
        Graph::build(Shape::map(1, 1, 2), |x| x.at("bn").batch_norm().at("drop").dropout(0.75))
            .unwrap()
    }

    fn images() -> Tensor {
        Tensor::new(&[2, 1, 1, 2], vec![1.0, 2.0, 3.0, 6.0]).unwrap()
    }

    #[test]
    fn training_looks_at_the_batch_and_at_the_masks() {
        let graph = network();
        let mut params = Params::zeros(&graph);
        params.get_mut("bn.weight").unwrap().fill(2.0);
        params.get_mut("bn.bias").unwrap().fill(1.0);
        let stays = |id: NodeId, i| id.index() == 2 && i != 1;
        let values = evaluate(&graph, &params, &images(), Mode::Train { stays: &stays }).unwrap();
        // Mean 3, biased variance (4 + 1 + 0 + 9) / 4 = 3.5; what stays is divided by 1 − 0.75.
        let normal = |x: f64| (x - 3.0) / (3.5_f64 + f64::from(1e-5_f32)).sqrt() * 2.0 + 1.0;
        let expected = [4.0 * normal(1.0), 0.0, 4.0, 4.0 * normal(6.0)];
        for (found, expected) in values[2].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
        }
    }

    #[test]
    fn inference_looks_at_the_running_statistics_alone() {
        let graph = network();
        let mut params = Params::zeros(&graph);
        params.get_mut("bn.weight").unwrap().fill(1.0);
        params.get_mut("bn.running_mean").unwrap().fill(1.0);
        params.get_mut("bn.running_var").unwrap().fill(4.0 - 1e-5);
        let values = evaluate(&graph, &params, &images(), Mode::Infer).unwrap();
        for (found, expected) in values[2].iter().zip([0.0, 0.5, 1.0, 2.5]) {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let graph = network();
        let other = Graph::build(Shape::map(2, 1, 2), |x| x.at("bn").batch_norm()).unwrap();
        let params = Params::zeros(&graph);
        for shape in [&[2, 1, 2, 1][..], &[4], &[], &[0, 1, 1, 2]] {
            let images = Tensor::zeros(shape);
            assert!(evaluate(&graph, &params, &images, Mode::Infer).is_err(), "{shape:?}");
        }
        let error = evaluate(&graph, &Params::zeros(&other), &images(), Mode::Infer).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the parameters are of another network: found `bn.weight` [2] of node 1, expected `bn.weight` [1] of node 1"
        );
    }
}
