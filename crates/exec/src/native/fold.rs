//! Batch normalisation of what a convolution or linear layer makes becomes part of its weights.

use super::program::{Action, Program};

/// Lets convolutions and linear layers take in the normalisations behind them.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else has weights to fold into")]
pub(crate) fn fold(program: Program) -> Program {
    program.absorb(|action, next| {
        let Action::BatchNorm { eps, .. } = next.action else { return false };
        let tail = match action {
            Action::Conv(_, tail) | Action::Linear { tail, .. } => tail,
            _ => return false,
        };
        tail.norms.push((next.nodes[0], eps));
        true
    })
}
