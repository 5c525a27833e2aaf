//! Steps that are taken in by the one before them.

use striate_graph::{Graph, NodeId, Params};

use super::program::{Action, Program, Step, Tail};
use crate::backend;

/// Batch normalisation of what a convolution or linear layer makes becomes part of its weights.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else has weights to fold into")]
pub(crate) fn fold(program: Program) -> Program {
    program.absorb(|action, next| {
        let &Action::BatchNorm { channels, eps, .. } = &next.action else { return false };
        let (outputs, tail) = match action {
            Action::Conv(conv, tail) => (conv.output[0], tail),
            Action::Linear { outputs, tail, .. } => (*outputs, tail),
            _ => return false,
        };
        // A flattened map has other channels.
        let same = channels == outputs;
        if same {
            tail.norms.push((next.nodes[0], eps));
        }
        same
    })
}

/// ReLU is done by the step that makes its operand, while the operand is at hand.
#[expect(clippy::wildcard_enum_match_arm, reason = "other kernels have no ReLU")]
pub(crate) fn fuse(program: Program) -> Program {
    program.absorb(|action, next| {
        let relu = match action {
            Action::Conv(_, tail) | Action::Linear { tail, .. } => &mut tail.relu,
            Action::Add { relu } => relu,
            _ => return false,
        };
        let rectifies = next.action == Action::Relu;
        *relu |= rectifies;
        rectifies
    })
}

/// What a step multiplies and adds, in the order of the slots. A copy, so that the caller's
/// parameters may go.
#[expect(clippy::wildcard_enum_match_arm, reason = "only these two have taken anything in")]
pub(crate) fn weights(graph: &Graph, params: &Params, step: &Step) -> Vec<Vec<f32>> {
    let slots = backend::slots(graph, params, graph.node(step.nodes[0]));
    match &step.action {
        Action::Conv(_, Tail { norms, .. }) | Action::Linear { tail: Tail { norms, .. }, .. }
            if !norms.is_empty() =>
        {
            let norms = norms.iter().map(|&(id, eps)| affine(graph, params, id, eps));
            folded(&slots, norms)
        }
        _ => slots.into_iter().map(<[f32]>::to_vec).collect(),
    }
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

/// Weight and bias of `norms(weight · x + bias)`.
fn folded(slots: &[&[f32]], norms: impl Iterator<Item = Affine>) -> Vec<Vec<f32>> {
    let bias = |channel: usize| slots.get(1).map_or(0.0, |bias| f64::from(bias[channel]));
    let norms: Vec<Affine> = norms.collect();
    let channels = norms.first().map_or(0, Vec::len);
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
    vec![weight, (0..channels).map(|channel| through(channel).1 as f32).collect()]
}
