use std::ops::Range;

use striate_exec::geometry;
use striate_graph::op::PoolKind;
use striate_graph::{Graph, Node, NodeId, Op, Params};
use striate_kernels::{
    Threads, activation, concat, conv, dropout, elementwise, linear, lrn, norm, pool, rbf,
    shortcut, softmax,
};
use striate_tensor::Rng;

/// First word of the keys of dropout's random numbers.
const DROPOUT: u64 = 1;

/// A network compiled for training: the value of every node is kept, and so is what its gradient
/// needs. Memory is taken once, for the largest batch.
pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) threads: Threads,
    /// Where the parameters of each node are, in the order of [`Op::slots`].
    pub(crate) slots: Vec<Vec<Range<usize>>>,
    /// Whether a gradient reaches the node's value: something trained is at it or before it.
    pub(crate) reached: Vec<bool>,
    pub(crate) values: Vec<Vec<f32>>,
    pub(crate) kept: Vec<Kept>,
    pub(crate) scratch: Vec<f32>,
    /// Pictures of the batch that was last run.
    pub(crate) batch: usize,
}

/// What a gradient needs besides the values.
pub(crate) enum Kept {
    Nothing,
    /// Batch normalisation: mean and 1/√(variance + ε) of the batch; its variance goes into the
    /// running one.
    Norm {
        mean: Vec<f32>,
        inv_std: Vec<f32>,
        variance: Vec<f32>,
    },
    /// Dropout: which values stayed.
    Mask(Vec<bool>),
}

impl Network {
    /// Takes the memory for batches of up to `batch` pictures.
    pub(crate) fn new(graph: &Graph, batch: usize, threads: usize) -> Network {
        let mut slots = vec![Vec::new(); graph.nodes().len()];
        for param in graph.layout().params() {
            slots[param.node.index()].push(param.range.clone());
        }
        let mut reached = Vec::new();
        for node in graph.nodes() {
            let trained = node.op.slots(&graph.input_shapes(node));
            let here = trained.iter().any(|slot| slot.role.is_trained());
            reached.push(here || node.inputs.iter().any(|input| reached[input.index()]));
        }
        let kept = |node: &Node| {
            let channels = node.shape.channels();
            match node.op {
                Op::BatchNorm(_) => {
                    let [mean, inv_std, variance] = [(); 3].map(|()| vec![0.0; channels]);
                    Kept::Norm { mean, inv_std, variance }
                }
                Op::Dropout(_) => Kept::Mask(vec![true; batch * node.shape.volume()]),
                Op::Input(_)
                | Op::Conv2d(_)
                | Op::Linear(_)
                | Op::Pool(_)
                | Op::AdaptiveAvgPool(_)
                | Op::Subsample(_)
                | Op::Lrn(_)
                | Op::Rbf(_)
                | Op::Relu
                | Op::Tanh(_)
                | Op::Sigmoid
                | Op::Softmax
                | Op::LogSoftmax
                | Op::Clip(_)
                | Op::Add
                | Op::AddScaled(_)
                | Op::Concat
                | Op::Flatten
                | Op::Shortcut(_) => Kept::Nothing,
            }
        };
        Network {
            threads: Threads::new(threads),
            slots,
            reached,
            values: graph.nodes().iter().map(|n| vec![0.0; batch * n.shape.volume()]).collect(),
            kept: graph.nodes().iter().map(kept).collect(),
            scratch: Vec::new(),
            batch: 0,
            graph: graph.clone(),
        }
    }

    /// The value of a node for the batch that was last run.
    pub(crate) fn value(&self, id: NodeId) -> &[f32] {
        &self.values[id.index()][..self.batch * self.graph.node(id).shape.volume()]
    }

    /// Runs a batch forward as in training: batch statistics, which move the running ones in
    /// `params`, and dropout drawn from `rng`'s seed for this `step`.
    pub(crate) fn forward(&mut self, params: &mut Params, images: &[f32], rng: &Rng, step: u64) {
        self.batch = images.len() / self.graph.input().volume();
        self.values[0][..images.len()].copy_from_slice(images);
        for i in 1..self.graph.nodes().len() {
            self.node_forward(i, params, rng, step);
        }
    }

    fn node_forward(&mut self, i: usize, params: &mut Params, rng: &Rng, step: u64) {
        let (batch, threads) = (self.batch, &self.threads);
        let node = &self.graph.nodes()[i];
        let (before, rest) = self.values.split_at_mut(i);
        let y = &mut rest[0][..batch * node.shape.volume()];
        let shape = |k: usize| self.graph.node(node.inputs[k]).shape;
        let input = |k: usize| &before[node.inputs[k].index()][..batch * shape(k).volume()];
        let x = input(0);
        let slots = &self.slots[i];
        match &node.op {
            Op::Input(_) => {}
            Op::Conv2d(op) => {
                let sizes = geometry::conv(op, batch, shape(0), node.shape);
                let needed = conv::scratch(&sizes, threads.count());
                grow(&mut self.scratch, needed);
                let (weight, bias) = weight_and_bias(params.values(), slots);
                conv::forward(threads, &sizes, x, weight, bias, false, y, &mut self.scratch);
            }
            Op::Linear(op) => {
                let (weight, bias) = weight_and_bias(params.values(), slots);
                let inputs = shape(0).volume();
                linear::forward(threads, batch, inputs, op.out, x, weight, bias, false, y);
            }
            Op::Pool(op) => {
                let window = geometry::pool(op, batch, shape(0), node.shape);
                match op.kind {
                    PoolKind::Max | PoolKind::MaxOfPadded => {
                        pool::max_forward(threads, &window, x, y);
                    }
                    PoolKind::Avg { .. } => pool::average_forward(threads, &window, x, y),
                }
            }
            Op::AdaptiveAvgPool(_) => {
                let [c, h, w] = shape(0).chw();
                let [_, out_h, out_w] = node.shape.chw();
                let planes = batch * c;
                pool::adaptive_average_forward(threads, planes, [h, w], [out_h, out_w], x, y);
            }
            Op::Subsample(op) => {
                let window = geometry::subsample(op, batch, shape(0), node.shape);
                let (weight, bias) = (&params.values()[slots[0].clone()], slots[1].clone());
                pool::subsample_forward(threads, &window, x, weight, &params.values()[bias], y);
            }
            Op::BatchNorm(op) => {
                let Kept::Norm { mean, inv_std, variance } = &mut self.kept[i] else {
                    unreachable!()
                };
                let extents = [batch, node.shape.channels(), node.shape.area()];
                let [weight @ .., bias, running_mean, running_var] = &slots[..] else {
                    unreachable!("batch normalisation has them")
                };
                let ones = vec![1.0; extents[1]];
                let weight = weight.first().map_or(&ones[..], |at| &params.values()[at.clone()]);
                norm::batch_norm_train_forward(
                    threads,
                    extents,
                    x,
                    weight,
                    &params.values()[bias.clone()],
                    op.eps,
                    y,
                    mean,
                    inv_std,
                    variance,
                );
                let momentum = op.momentum;
                let blend = |running: &mut [f32], now: &[f32]| {
                    for (r, n) in running.iter_mut().zip(now) {
                        *r = (1.0 - momentum) * *r + momentum * n;
                    }
                };
                blend(&mut params.values_mut()[running_mean.clone()], mean);
                blend(&mut params.values_mut()[running_var.clone()], variance);
            }
            Op::Lrn(op) => {
                let extents = [batch, node.shape.channels(), node.shape.area()];
                lrn::forward(threads, &geometry::lrn(op, extents[1]), extents, x, y);
            }
            Op::Rbf(op) => {
                let codes = &params.values()[slots[0].clone()];
                let extents = [batch, shape(0).volume(), op.codes.len()];
                rbf::forward(threads, extents, x, codes, y);
            }
            Op::Relu => activation::relu(threads, x, y),
            Op::Tanh(op) => activation::tanh(threads, op.a, op.s, x, y),
            Op::Sigmoid => activation::sigmoid(threads, x, y),
            Op::Clip(op) => activation::clip(threads, op.bounds(), x, y),
            Op::LogSoftmax => {
                let extents = [batch, node.shape.channels(), node.shape.area()];
                softmax::log_forward(threads, extents, x, y);
            }
            Op::Softmax => {
                let extents = [batch, node.shape.channels(), node.shape.area()];
                softmax::forward(threads, extents, x, y);
            }
            Op::Dropout(op) => {
                let Kept::Mask(mask) = &mut self.kept[i] else { unreachable!() };
                let mask = &mut mask[..y.len()];
                draw_mask(&mut rng.stream([DROPOUT, step, i as u64]), op.p, mask);
                dropout::forward(threads, x, |k| mask[k], 1.0 / (1.0 - op.p), y);
            }
            Op::Add => {
                elementwise::add(threads, x, input(1), false, y);
                (2..node.inputs.len()).for_each(|k| elementwise::accumulate(threads, input(k), y));
            }
            Op::AddScaled(op) => elementwise::scaled_add(threads, x, op.scale, input(1), y),
            Op::Concat => {
                let mut first = 0;
                for k in 0..node.inputs.len() {
                    concat::write(threads, batch, first, input(k), y);
                    first += shape(k).volume();
                }
            }
            Op::Flatten => y.copy_from_slice(x),
            Op::Shortcut(op) => {
                let sizes = geometry::shortcut(op, batch, shape(0), node.shape);
                shortcut::forward(threads, &sizes, x, y);
            }
        }
    }
}

fn draw_mask(rng: &mut Rng, p: f32, mask: &mut [bool]) {
    mask.iter_mut().for_each(|stays| *stays = !rng.chance(p));
}

/// Which of the first `len` values of a batch stay at a dropout node in a step of a run, counted
/// from 0.
pub fn dropout_stays(seed: u64, step: u64, node: NodeId, p: f32, len: usize) -> Vec<bool> {
    let mut mask = vec![true; len];
    draw_mask(&mut Rng::keyed(seed, [DROPOUT, step, node.index() as u64]), p, &mut mask);
    mask
}

/// Makes scratch memory at least that long; it never shrinks.
pub(crate) fn grow(scratch: &mut Vec<f32>, len: usize) {
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
}

/// The weight of a convolution or linear layer, and its bias if it has one.
pub(crate) fn weight_and_bias<'p>(
    values: &'p [f32],
    slots: &[Range<usize>],
) -> (&'p [f32], Option<&'p [f32]>) {
    (&values[slots[0].clone()], slots.get(1).map(|range| &values[range.clone()]))
}
