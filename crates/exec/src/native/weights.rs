//! What the steps multiply and add, in the order in which the kernels read it.

use std::borrow::Cow;
use std::ops::Range;

use striate_graph::{Graph, NodeId, Params};
use striate_kernels::Threads;
use striate_kernels::blocked::{Buffer, LANES, Pixel, blocks, pack};

use super::Plan;
use super::choose::{Lanes, Method};
use super::program::{Action, Tail};
use crate::{CompileError, backend};

/// Of all steps.
#[derive(Debug)]
pub(crate) struct Weights {
    /// What convolutions and linear layers multiply, one after the other.
    packed: Buffer,
    steps: Vec<StepWeights>,
}

/// Of a step.
#[derive(Debug, Default)]
pub(crate) struct StepWeights {
    /// Where its own are.
    packed: Range<usize>,
    /// Values a channel, one block after the other: bias; scale and shift of a pre-activation or of
    /// what stands alone.
    pub(crate) channels: Vec<Vec<Pixel>>,
    /// Codes, as they are.
    pub(crate) plain: Vec<f32>,
}

impl Weights {
    /// A copy, so that the caller's parameters may go.
    ///
    /// # Errors
    /// [`CompileError::TooLarge`] if there is not so much memory.
    pub(crate) fn new(
        graph: &Graph,
        params: &Params,
        plan: &Plan,
        threads: &Threads,
    ) -> Result<Weights, CompileError> {
        let mut end = 0;
        let ranges: Vec<Range<usize>> = (plan.methods.iter())
            .map(|method| {
                let start = end;
                end += method.packed_len();
                start..end
            })
            .collect();
        let mut packed = super::memory(end, plan.batch)?;
        let mut steps = Vec::new();
        for (i, range) in ranges.into_iter().enumerate() {
            let mut step = pack_step(graph, params, plan, threads, i, &mut packed[range.clone()]);
            step.packed = range;
            steps.push(step);
        }
        Ok(Weights { packed, steps })
    }

    /// What a convolution or linear layer multiplies, and the rest.
    pub(crate) fn of(&self, step: usize) -> (&[Pixel], &StepWeights) {
        let step = &self.steps[step];
        (&self.packed[step.packed.clone()], step)
    }
}

fn pack_step(
    graph: &Graph,
    params: &Params,
    plan: &Plan,
    threads: &Threads,
    at: usize,
    packed: &mut [Pixel],
) -> StepWeights {
    let (step, method) = (&plan.program.steps[at], &plan.methods[at]);
    let slots = backend::slots(graph, params, graph.node(step.nodes[0]));
    let row = |values: &[f32]| match plan.lanes {
        Lanes::Channels => in_blocks(threads, values),
        Lanes::Pictures => values.iter().map(|value| Pixel([*value; LANES])).collect(),
    };
    match &step.action {
        Action::Conv(_, tail) | Action::Linear { tail, .. } => {
            let (weight, bias) = folded(graph, params, &slots, tail);
            match method {
                Method::Convolution(conv) => conv.pack(threads, &weight, packed),
                Method::Linear(linear) => linear.pack(threads, &weight, packed),
                Method::Pictures(conv) => conv.pack(&weight, packed),
                Method::Plain => {}
            }
            let channels = graph.node(step.nodes[0]).shape.channels();
            let bias = if bias.is_empty() { vec![0.0; channels] } else { bias };
            let mut channels = vec![in_blocks(threads, &bias)];
            if let Some((norm, eps)) = tail.activation {
                channels.extend(normalisation(graph, params, norm, eps).map(|v| row(&v)));
            }
            StepWeights { channels, ..StepWeights::default() }
        }
        &Action::BatchNorm { eps, .. } => {
            let norm = normalisation(graph, params, step.nodes[0], eps);
            StepWeights { channels: norm.map(|v| row(&v)).to_vec(), ..StepWeights::default() }
        }
        Action::Subsample(_) => {
            let channels = slots.into_iter().map(row).collect();
            StepWeights { channels, ..StepWeights::default() }
        }
        Action::Rbf => StepWeights { plain: slots[0].to_vec(), ..StepWeights::default() },
        Action::Pack
        | Action::MaxPool(_)
        | Action::AvgPool(_)
        | Action::AdaptiveAvgPool
        | Action::Lrn(_)
        | Action::Relu
        | Action::Tanh { .. }
        | Action::Sigmoid
        | Action::Softmax
        | Action::Add { .. }
        | Action::AddScaled(_)
        | Action::Concat
        | Action::Flatten
        | Action::Shortcut(_) => StepWeights::default(),
    }
}

/// A value a channel, in blocks.
fn in_blocks(threads: &Threads, values: &[f32]) -> Vec<Pixel> {
    let mut row = vec![Pixel::ZERO; blocks(values.len())];
    pack(threads, [1, values.len(), 1], values, &mut row);
    row
}

/// Scale and shift of a batch normalisation by its running statistics.
fn normalisation(graph: &Graph, params: &Params, id: NodeId, eps: f32) -> [Vec<f32>; 2] {
    let affine = affine(graph, params, id, eps);
    [
        affine.iter().map(|(scale, _)| *scale as f32).collect(),
        affine.iter().map(|(_, shift)| *shift as f32).collect(),
    ]
}

/// Batch normalisation as a factor and a summand for each channel.
type Affine = Vec<(f64, f64)>;

fn affine(graph: &Graph, params: &Params, id: NodeId, eps: f32) -> Affine {
    let slots = backend::slots(graph, params, graph.node(id));
    let at = |slot: usize, channel: usize| f64::from(slots[slot][channel]);
    let channel = |c| {
        let factor = at(0, c) / (at(3, c) + f64::from(eps)).sqrt();
        (factor, at(1, c) - at(2, c) * factor)
    };
    (0..graph.node(id).shape.channels()).map(channel).collect()
}

/// Weight and bias of `norms(weight · x + bias)`; no bias if there is none.
fn folded<'p>(
    graph: &Graph,
    params: &Params,
    slots: &[&'p [f32]],
    tail: &Tail,
) -> (Cow<'p, [f32]>, Vec<f32>) {
    let norms: Vec<Affine> =
        tail.norms.iter().map(|&(id, eps)| affine(graph, params, id, eps)).collect();
    let Some(channels) = norms.first().map(Vec::len) else {
        return (Cow::Borrowed(slots[0]), slots.get(1).map_or(Vec::new(), |bias| bias.to_vec()));
    };
    let bias = |channel: usize| slots.get(1).map_or(0.0, |bias| f64::from(bias[channel]));
    let through = |channel: usize| {
        norms.iter().fold((1.0, bias(channel)), |(factor, shift), norm| {
            (factor * norm[channel].0, shift * norm[channel].0 + norm[channel].1)
        })
    };
    let taps = slots[0].len() / channels;
    let scaled = |(channel, filter): (usize, &[f32])| {
        let factor = through(channel).0;
        filter.iter().map(move |w| (f64::from(*w) * factor) as f32).collect::<Vec<_>>()
    };
    let weight = slots[0].chunks_exact(taps).enumerate().flat_map(scaled).collect();
    (Cow::Owned(weight), (0..channels).map(|channel| through(channel).1 as f32).collect())
}
