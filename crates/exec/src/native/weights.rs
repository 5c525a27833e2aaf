//! What the steps multiply and add, in the order in which the kernels read it.

use std::borrow::Cow;

use striate_graph::{Graph, NodeId, Params};
use striate_kernels::Threads;
use striate_kernels::blocked::{Pixel, blocks, pack};

use super::Plan;
use super::choose::Method;
use super::program::{Action, Step, Tail};
use crate::{CompileError, backend};

/// Of a step.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    /// Of a convolution or linear layer.
    pub(crate) packed: Vec<Pixel>,
    /// Values a channel, one block after the other: bias; scale and shift of a pre-activation or of
    /// what stands alone.
    pub(crate) channels: Vec<Vec<Pixel>>,
    /// Codes, as they are.
    pub(crate) plain: Vec<f32>,
}

/// The weights of all steps. A copy, so that the caller's parameters may go.
///
/// # Errors
/// [`CompileError::TooLarge`] if there is not so much memory.
pub(crate) fn weights(
    graph: &Graph,
    params: &Params,
    plan: &Plan,
    threads: &Threads,
) -> Result<Vec<Weights>, CompileError> {
    let of = |(step, method): (&Step, &Method)| {
        let slots = backend::slots(graph, params, graph.node(step.nodes[0]));
        let row = |values: &[f32]| row(threads, values);
        Ok(match &step.action {
            Action::Conv(_, tail) | Action::Linear { tail, .. } => {
                let (weight, bias) = folded(graph, params, &slots, tail);
                let mut packed = super::memory(method.packed_len(), plan.batch)?;
                match method {
                    Method::Convolution(conv) => conv.pack(threads, &weight, &mut packed),
                    Method::Linear(linear) => linear.pack(threads, &weight, &mut packed),
                    Method::Plain => {}
                }
                let channels = plan.program.extents(step.outputs[0])[0];
                let bias = if bias.is_empty() { vec![0.0; channels] } else { bias };
                let mut channels = vec![row(&bias)];
                if let Some((norm, eps)) = tail.activation {
                    channels.extend(normalisation(graph, params, norm, eps).map(|v| row(&v)));
                }
                Weights { packed, channels, plain: Vec::new() }
            }
            &Action::BatchNorm { eps, .. } => {
                let norm = normalisation(graph, params, step.nodes[0], eps);
                Weights { channels: norm.map(|v| row(&v)).to_vec(), ..Weights::default() }
            }
            Action::Subsample(_) => {
                let channels = slots.into_iter().map(row).collect();
                Weights { channels, ..Weights::default() }
            }
            Action::Rbf => Weights { plain: slots[0].to_vec(), ..Weights::default() },
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
            | Action::Shortcut(_) => Weights::default(),
        })
    };
    plan.program.steps.iter().zip(&plan.methods).map(of).collect()
}

/// A value a channel, in blocks.
fn row(threads: &Threads, values: &[f32]) -> Vec<Pixel> {
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
