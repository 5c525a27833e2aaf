//! Gradients: one arm of one `match` for every operation.

use striate_exec::geometry;
use striate_graph::op::PoolKind;
use striate_graph::{NodeId, Op, Params};
use striate_kernels::{
    activation, concat, conv, dropout, elementwise, linear, lrn, norm, pool, rbf, shortcut, softmax,
};

use crate::network::{Kept, Network, grow, weight_and_bias};

/// Gradients of values on their way down. A buffer that is done with is used again.
#[derive(Default)]
pub(crate) struct Gradients {
    /// Of each node, if anything has reached it yet.
    of: Vec<Option<Vec<f32>>>,
    spare: Vec<Vec<f32>>,
}

impl Gradients {
    /// A buffer of `len` values; what is in it is left over.
    pub(crate) fn buffer(&mut self, len: usize) -> Vec<f32> {
        let capacity = |&i: &usize| self.spare[i].capacity();
        let fits = (0..self.spare.len()).filter(|i| capacity(i) >= len).min_by_key(capacity);
        let mut buffer = fits.map(|i| self.spare.swap_remove(i)).unwrap_or_default();
        buffer.resize(len, 0.0);
        buffer
    }

    fn recycle(&mut self, buffer: Vec<f32>) {
        self.spare.push(buffer);
    }
}

impl Network {
    /// Runs backward from the gradients of outputs, and writes those of the trained parameters to
    /// `dparams`. The forward run of the same batch comes before.
    ///
    /// # Panics
    /// If `dparams` is not as long as the trained parameters.
    pub(crate) fn backward(
        &mut self,
        params: &Params,
        outputs: Vec<(NodeId, Vec<f32>)>,
        gradients: &mut Gradients,
        dparams: &mut [f32],
    ) {
        dparams.fill(0.0);
        gradients.of.clear();
        gradients.of.resize_with(self.graph.nodes().len(), || None);
        for (id, gradient) in outputs {
            self.arrive(gradients, id, gradient);
        }
        for i in (1..self.graph.nodes().len()).rev() {
            if let Some(dy) = gradients.of[i].take() {
                self.node_backward(i, params, &dy, gradients, dparams);
                gradients.recycle(dy);
            }
        }
    }

    /// Adds a gradient to what has reached a value so far.
    fn arrive(&self, gradients: &mut Gradients, id: NodeId, dx: Vec<f32>) {
        match &mut gradients.of[id.index()] {
            Some(sum) => {
                elementwise::accumulate(&self.threads, &dx, sum);
                gradients.recycle(dx);
            }
            none => *none = Some(dx),
        }
    }

    fn node_backward(
        &mut self,
        i: usize,
        params: &Params,
        dy: &[f32],
        gradients: &mut Gradients,
        dparams: &mut [f32],
    ) {
        let (batch, threads) = (self.batch, &self.threads);
        let node = &self.graph.nodes()[i];
        let shape = |k: usize| self.graph.node(node.inputs[k]).shape;
        let input = |k: usize| &self.values[node.inputs[k].index()][..batch * shape(k).volume()];
        let (x, y) = (input(0), &self.values[i][..dy.len()]);
        let slots = &self.slots[i];
        let values = params.values();
        let extents = [batch, node.shape.channels(), node.shape.area()];
        // Whether there is anything to train before it.
        let wanted = node.inputs.iter().any(|input| self.reached[input.index()]);
        if !wanted && slots.is_empty() {
            return;
        }
        // Operations of one input write its gradient here.
        let mut dx = gradients.buffer(if wanted { x.len() } else { 0 });
        match &node.op {
            Op::Input(_) => {}
            Op::Conv2d(op) => {
                let sizes = geometry::conv(op, batch, shape(0), node.shape);
                grow(&mut self.scratch, conv::scratch(&sizes, threads.count()));
                let (weight, bias) = weight_and_bias(values, slots);
                let dweight = &mut dparams[slots[0].clone()];
                conv::wgrad(threads, &sizes, x, dy, dweight, &mut self.scratch);
                if let Some(table) = &op.table {
                    let maps = shape(0).channels();
                    for (pair, kernel) in dweight.chunks_exact_mut(op.kernel.area()).enumerate() {
                        if !table.connects(pair % maps, pair / maps) {
                            kernel.fill(0.0);
                        }
                    }
                }
                if bias.is_some() {
                    let dbias = &mut dparams[slots[1].clone()];
                    conv::bias_grad(threads, batch, op.out, node.shape.area(), dy, dbias);
                }
                if wanted {
                    conv::dgrad(threads, &sizes, dy, weight, &mut dx, &mut self.scratch);
                }
            }
            Op::Linear(op) => {
                let inputs = shape(0).volume();
                grow(&mut self.scratch, linear::scratch(batch, op.out, threads.count()));
                let (weight, bias) = weight_and_bias(values, slots);
                let dweight = &mut dparams[slots[0].clone()];
                let scratch = &mut self.scratch;
                linear::wgrad(threads, batch, inputs, op.out, x, dy, dweight, scratch);
                if bias.is_some() {
                    let dbias = &mut dparams[slots[1].clone()];
                    conv::bias_grad(threads, batch, op.out, 1, dy, dbias);
                }
                if wanted {
                    linear::dgrad(threads, batch, inputs, op.out, dy, weight, &mut dx, scratch);
                }
            }
            Op::Subsample(op) => {
                let window = geometry::subsample(op, batch, shape(0), node.shape);
                let weight = &values[slots[0].clone()];
                dx.resize(x.len(), 0.0);
                let (dweight, dbias) = two(dparams, slots[0].clone(), slots[1].clone());
                pool::subsample_backward(threads, &window, x, weight, dy, &mut dx, dweight, dbias);
            }
            Op::BatchNorm(op) => {
                let Kept::Norm { mean, inv_std, .. } = &self.kept[i] else { unreachable!() };
                dx.resize(x.len(), 0.0);
                let (ones, mut unused) = (vec![1.0; extents[1]], vec![0.0; extents[1]]);
                let (weight, (dweight, dbias)) = match op.scale {
                    true => (
                        &values[slots[0].clone()],
                        two(dparams, slots[0].clone(), slots[1].clone()),
                    ),
                    false => (&ones[..], (&mut unused[..], &mut dparams[slots[0].clone()])),
                };
                norm::batch_norm_train_backward(
                    threads, extents, x, dy, mean, inv_std, weight, &mut dx, dweight, dbias,
                );
            }
            Op::Pool(op) => {
                let window = geometry::pool(op, batch, shape(0), node.shape);
                match op.kind {
                    PoolKind::Max | PoolKind::MaxOfPadded => {
                        pool::max_backward(threads, &window, x, y, dy, &mut dx);
                    }
                    PoolKind::Avg { .. } => pool::average_backward(threads, &window, dy, &mut dx),
                }
            }
            Op::AdaptiveAvgPool(_) => {
                let [c, h, w] = shape(0).chw();
                let [_, out_h, out_w] = node.shape.chw();
                let (planes, out) = (batch * c, [out_h, out_w]);
                pool::adaptive_average_backward(threads, planes, [h, w], out, dy, &mut dx);
            }
            Op::Lrn(op) => {
                grow(&mut self.scratch, lrn::scratch(extents[1], threads.count()));
                let constants = geometry::lrn(op, extents[1]);
                lrn::backward(threads, &constants, extents, x, dy, &mut dx, &mut self.scratch);
            }
            Op::Rbf(op) => {
                let codes = &values[slots[0].clone()];
                let extents = [batch, shape(0).volume(), op.codes.len()];
                rbf::backward(threads, extents, x, codes, dy, &mut dx);
            }
            Op::Relu => activation::relu_backward(threads, y, dy, &mut dx),
            Op::Tanh(op) => activation::tanh_backward(threads, op.a, op.s, y, dy, &mut dx),
            Op::Sigmoid => activation::sigmoid_backward(threads, y, dy, &mut dx),
            Op::Clip(op) => activation::clip_backward(threads, op.bounds(), y, dy, &mut dx),
            Op::LogSoftmax => softmax::log_backward(threads, extents, y, dy, &mut dx),
            Op::Softmax => softmax::backward(threads, extents, y, dy, &mut dx),
            Op::Dropout(op) => {
                let Kept::Mask(mask) = &self.kept[i] else { unreachable!() };
                dropout::backward(threads, dy, |k| mask[k], 1.0 / (1.0 - op.p), &mut dx);
            }
            Op::Flatten => dx.copy_from_slice(dy),
            Op::Shortcut(op) => {
                let sizes = geometry::shortcut(op, batch, shape(0), node.shape);
                shortcut::backward(threads, &sizes, dy, &mut dx);
            }
            Op::Add | Op::AddScaled(_) | Op::Concat => {
                gradients.recycle(dx);
                return self.join_backward(i, dy, gradients);
            }
        }
        let target = node.inputs[0];
        if wanted {
            self.arrive(gradients, target, dx);
        } else {
            gradients.recycle(dx);
        }
    }

    /// Operations of several inputs: each gets its share.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only joins come here; sums pass gradients on"
    )]
    fn join_backward(&self, i: usize, dy: &[f32], gradients: &mut Gradients) {
        let node = &self.graph.nodes()[i];
        let mut first = 0;
        for (k, &id) in node.inputs.iter().enumerate() {
            let block = self.graph.node(id).shape.volume();
            if self.reached[id.index()] {
                let mut dx = gradients.buffer(self.batch * block);
                match &node.op {
                    Op::AddScaled(op) if k == 1 => {
                        elementwise::scale(&self.threads, dy, op.scale, &mut dx);
                    }
                    Op::Concat => concat::read(&self.threads, self.batch, first, dy, &mut dx),
                    _ => dx.copy_from_slice(dy),
                }
                self.arrive(gradients, id, dx);
            }
            first += block;
        }
    }
}

/// Two disjoint ranges of a slice, both to be written; the first comes before the second.
fn two(
    values: &mut [f32],
    a: std::ops::Range<usize>,
    b: std::ops::Range<usize>,
) -> (&mut [f32], &mut [f32]) {
    let (head, tail) = values.split_at_mut(b.start);
    (&mut head[a], &mut tail[..b.len()])
}
