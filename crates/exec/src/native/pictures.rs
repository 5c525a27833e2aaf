//! Networks of few channels in batches: sixteen pictures run together, each in a lane.
//!
//! Whatever works on each channel by itself need not know: it sees one picture of sixteen times as
//! many channels. So the program is rewritten for that picture, and only convolutions, linear layers
//! and what looks at several channels at once have kernels of their own.

use striate_graph::NodeId;
use striate_kernels::blocked::{Isa, LANES, PictureConvolution};
use striate_kernels::{Conv, Window};

use super::choose::Method;
use super::program::{Action, Program, Step, Tail};

/// The most pixels that a step reads and writes: what stays in a second cache of 1 MiB.
const MOST: usize = 16 << 10;

/// The program for sixteen pictures, each in a lane, with a way to compute each step; none if a step
/// has none or the values are too large.
pub(crate) fn pictures(program: &Program, isa: Isa) -> Option<(Program, Vec<Method>)> {
    let mut program = program.clone().reading_pixels();
    let methods: Option<Vec<Method>> = program.steps.iter().map(|step| method(step, isa)).collect();
    program.extents.iter_mut().for_each(|extents| extents[0] *= LANES);
    let pixels = |id: &NodeId| super::place::pixels(program.extents(*id));
    let touched =
        |step: &Step| -> usize { step.inputs.iter().chain(&step.outputs).map(pixels).sum() };
    if program.steps.iter().map(touched).max().unwrap_or(0) > MOST {
        return None;
    }
    for step in &mut program.steps {
        if let Action::MaxPool(window) | Action::AvgPool(window) | Action::Subsample(window) =
            &mut step.action
        {
            let Window { input: [from, ..], output: [to, ..], .. } = window;
            (*from, *to) = (*from * LANES, *to * LANES);
        }
    }
    Some((program, methods?))
}

/// How a step of sixteen pictures is computed.
fn method(step: &Step, isa: Isa) -> Option<Method> {
    let convolution = match &step.action {
        Action::Conv(conv, Tail { factor: 1.0, residual: None, activation: None, .. }) => {
            PictureConvolution::new(isa, &Conv { batch: 1, ..*conv })?
        }
        &Action::Linear { from, outputs, .. } => PictureConvolution::linear(isa, from, outputs)?,
        Action::Pack
        | Action::MaxPool(_)
        | Action::AvgPool(_)
        | Action::AdaptiveAvgPool
        | Action::Subsample(_)
        | Action::BatchNorm { .. }
        | Action::Rbf
        | Action::Relu
        | Action::Tanh { .. }
        | Action::Sigmoid
        | Action::Softmax { .. }
        | Action::Clip(_)
        | Action::Add { .. }
        | Action::AddScaled(_) => return Some(Method::Plain),
        Action::Conv(..)
        | Action::Lrn(_)
        | Action::Concat
        | Action::Flatten
        | Action::Shortcut(_) => return None,
    };
    Some(Method::Pictures(Box::new(convolution)))
}
