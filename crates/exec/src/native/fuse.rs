//! Steps that are taken in by the one that makes their operand, while the operand is at hand.

use striate_graph::NodeId;

use super::program::{Action, Program, Tail};

/// ReLU, residuals, pre-activations and flattening become part of other steps.
pub(crate) fn fuse(program: Program) -> Program {
    flattening(activations(residuals(relu(program)))).pruned()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "other kernels have no ReLU")]
fn relu(program: Program) -> Program {
    program.absorb(|action, next| {
        let relu = match action {
            Action::Conv(_, Tail { relu, .. })
            | Action::Linear { tail: Tail { relu, .. }, .. }
            | Action::Add { relu }
            | Action::BatchNorm { relu, .. } => relu,
            _ => return false,
        };
        let rectifies = next.action == Action::Relu;
        *relu |= rectifies;
        rectifies
    })
}

/// A sum of two is made by the convolution that makes one of them, if that one comes later.
fn residuals(mut program: Program) -> Program {
    for at in 0..program.steps.len() {
        let [a, b] = program.steps[at].inputs[..] else { continue };
        #[expect(clippy::wildcard_enum_match_arm, reason = "no sum")]
        let (factor, relu, found) = match program.steps[at].action {
            Action::Add { relu } => {
                (1.0, relu, residual(&program, b, a).or_else(|| residual(&program, a, b)))
            }
            Action::AddScaled(factor) => (factor, false, residual(&program, b, a)),
            _ => continue,
        };
        let Some(found) = found else { continue };
        let nodes = std::mem::take(&mut program.steps[at].nodes);
        let outputs = std::mem::take(&mut program.steps[at].outputs);
        let step = &mut program.steps[found.conv];
        if let Action::Conv(_, tail) = &mut step.action {
            (tail.factor, tail.residual, tail.relu) = (factor, Some(found.stride), relu);
        }
        step.inputs.push(found.operand);
        step.nodes.extend(nodes);
        step.outputs = outputs;
    }
    program.steps.retain(|step| !step.outputs.is_empty());
    program
}

struct Residual {
    /// The step that can add it.
    conv: usize,
    operand: NodeId,
    /// Every so many pixels of the operand, down and right.
    stride: usize,
}

/// How the convolution that makes `own` can add `other`: it has to be there before, or a shortcut
/// of something that is.
fn residual(program: &Program, own: NodeId, other: NodeId) -> Option<Residual> {
    let (makers, readers) = (program.makers(), program.readers());
    let conv = makers[own.index()]?;
    let Action::Conv(_, tail) = &program.steps[conv].action else { return None };
    if tail.relu || tail.residual.is_some() || readers[own.index()] > 1 || own == other {
        return None;
    }
    let there = |id: NodeId| makers[id.index()].is_none_or(|maker| maker < conv);
    if let Some(maker) = makers[other.index()]
        && let Action::Shortcut(stride) = program.steps[maker].action
        && readers[other.index()] == 1
    {
        let operand = program.steps[maker].inputs[0];
        return there(operand).then_some(Residual { conv, operand, stride });
    }
    there(other).then_some(Residual { conv, operand: other, stride: 1 })
}

/// Normalisation and ReLU of what a convolution makes, if that is read elsewhere as well or is a
/// sum, are a second result of it.
fn activations(mut program: Program) -> Program {
    let (makers, readers) = (program.makers(), program.readers());
    for at in 0..program.steps.len() {
        let Action::BatchNorm { eps, relu: true } = program.steps[at].action else { continue };
        let (sum, norm) = (program.steps[at].inputs[0], program.steps[at].nodes[0]);
        let Some(conv) = makers[sum.index()] else { continue };
        let Action::Conv(_, tail) = &mut program.steps[conv].action else { continue };
        if tail.activation.is_some() {
            continue;
        }
        tail.activation = Some((norm, eps));
        let nodes = std::mem::take(&mut program.steps[at].nodes);
        let outputs = std::mem::take(&mut program.steps[at].outputs);
        let step = &mut program.steps[conv];
        step.nodes.extend(nodes);
        match readers[sum.index()] {
            1 => step.outputs = outputs,
            _ => step.outputs.extend(outputs),
        }
    }
    program.steps.retain(|step| !step.outputs.is_empty());
    program
}

/// A linear layer reads a map as it lies; its weights are put in that order.
fn flattening(mut program: Program) -> Program {
    let makers = program.makers();
    for at in 0..program.steps.len() {
        let Some(flatten) = makers[program.steps[at].inputs.first().map_or(0, |id| id.index())]
        else {
            continue;
        };
        if program.steps[flatten].action != Action::Flatten {
            continue;
        }
        let map = program.steps[flatten].inputs[0];
        let extents = program.extents(map);
        if let Action::Linear { from, .. } = &mut program.steps[at].action {
            *from = extents;
            program.steps[at].inputs[0] = map;
        }
    }
    program
}
