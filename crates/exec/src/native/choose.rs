//! Which algorithm computes each convolution.
//!
//! The cost of each that admits it is estimated in cycles of a 16-lane multiply-add, and the cheapest
//! taken. The figures are measurements on a processor that starts one such multiply-add a cycle.

use striate_kernels::blocked::{
    Algorithm, Convolution, Isa, LANES, Linear, PictureConvolution, Pixel,
};
use striate_kernels::{Conv, Window};

use super::pictures::pictures;
use super::place::pixels;
use super::program::{Action, Program, Step};
use crate::Accuracy;

/// How a step is computed.
#[derive(Clone, Debug)]
pub(crate) enum Method {
    Convolution(Box<Convolution>),
    Linear(Linear),
    /// Of sixteen pictures, each in a lane.
    Pictures(Box<PictureConvolution>),
    /// There is but one way.
    Plain,
}

impl Method {
    /// Pixels of its weights.
    pub(crate) fn packed_len(&self) -> usize {
        match self {
            Method::Convolution(conv) => conv.packed_len(),
            Method::Linear(linear) => linear.packed_len(),
            Method::Pictures(conv) => conv.packed_len(),
            Method::Plain => 0,
        }
    }

    /// Outputs whose weights lie together: a piece of them.
    pub(crate) fn piece_outputs(&self) -> usize {
        match self {
            Method::Convolution(_) => LANES,
            Method::Linear(_) => Linear::TOGETHER,
            Method::Pictures(conv) => conv.outputs(),
            Method::Plain => 0,
        }
    }

    /// Pixels of the packed weights of a piece; the last may have fewer.
    pub(crate) fn piece_len(&self) -> usize {
        match self {
            Method::Convolution(conv) => conv.block_len(),
            Method::Linear(linear) => linear.group_len(),
            Method::Pictures(conv) => conv.packed_len(),
            Method::Plain => 0,
        }
    }

    /// Brings the weights of a piece into the order in which they are read.
    pub(crate) fn pack(&self, piece: usize, weight: &[f32], packed: &mut [Pixel]) {
        match self {
            Method::Convolution(conv) => conv.pack_block(piece, weight, packed),
            Method::Linear(linear) => linear.pack_group(piece, weight, packed),
            Method::Pictures(conv) => conv.pack(weight, packed),
            Method::Plain => {}
        }
    }

    /// The same for another number of pictures. The packed weights stay what they are.
    pub(crate) fn for_pictures(&self, pictures: usize) -> Method {
        match self {
            Method::Convolution(conv) => Method::Convolution(Box::new(conv.for_pictures(pictures))),
            Method::Linear(_) | Method::Pictures(_) | Method::Plain => self.clone(),
        }
    }

    /// Cycles of the multiply-adds of its step, of so many pictures together, on one core.
    pub(crate) fn cycles(&self, step: &Step, pictures: usize) -> f64 {
        match self {
            Method::Convolution(conv) => conv.cycles(),
            Method::Linear(_) | Method::Pictures(_) | Method::Plain => {
                (pictures * step.action.macs()) as f64 / LANES as f64
            }
        }
    }

    /// Pixels of scratch.
    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        match self {
            Method::Convolution(conv) => conv.scratch_len(threads),
            Method::Pictures(conv) => conv.scratch_len(),
            Method::Linear(_) | Method::Plain => 0,
        }
    }
}

/// Bytes of weights that may stay in the last cache from one run to the next.
const CACHED: usize = 24 << 20;

/// Lets convolutions take in the largest of each two by two of their pixels, where they can.
fn pools(program: &mut Program, methods: &mut Vec<Method>) {
    let (makers, readers) = (program.makers(), program.readers());
    for at in 0..program.steps.len() {
        let Action::MaxPool(window) = &program.steps[at].action else { continue };
        let halves = Window {
            batch: window.batch,
            output: [window.input[0], window.input[1] / 2, window.input[2] / 2],
            kernel: [2, 2],
            stride: [2, 2],
            pad: [0; 4],
            ..*window
        };
        let input = program.steps[at].inputs[0];
        let Some(maker) = makers[input.index()] else { continue };
        let Action::Conv(_, tail) = &program.steps[maker].action else { continue };
        if *window != halves
            || readers[input.index()] > 1
            || tail.residual.is_some()
            || tail.activation.is_some()
        {
            continue;
        }
        let Method::Convolution(conv) = &methods[maker] else { continue };
        let Some(pooled) = conv.pooled() else { continue };
        methods[maker] = Method::Convolution(Box::new(pooled));
        let nodes = std::mem::take(&mut program.steps[at].nodes);
        let outputs = std::mem::take(&mut program.steps[at].outputs);
        program.steps[maker].nodes.extend(nodes);
        program.steps[maker].outputs = outputs;
    }
    let mut left = program.steps.iter().map(|step| !step.outputs.is_empty());
    methods.retain(|_| left.next() == Some(true));
    program.steps.retain(|step| !step.outputs.is_empty());
}

/// What the sixteen lanes of a pixel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lanes {
    /// Channels of one picture.
    Channels,
    /// One channel of sixteen pictures. Each thread runs sixteen through all steps.
    Pictures,
}

/// The layout, the program for it, and a way to compute each step.
pub(crate) fn choose(
    mut program: Program,
    isa: Isa,
    batch: usize,
    accuracy: Accuracy,
) -> (Lanes, Program, Vec<Method>) {
    let mut methods = channels(&program, isa, batch, accuracy);
    if let Some((for_pictures, ways)) = pictures(&program, isa) {
        let macs: usize = program.steps.iter().map(|step| step.action.macs()).sum();
        let rounds = (batch.div_ceil(LANES) as f64 / THREADS).ceil();
        let beside = for_pictures.steps.iter().map(|step| plain_cycles(&for_pictures, step, 1));
        let together = rounds * (macs as f64 / 0.8 + beside.sum::<f64>());
        let apart = program.steps.iter().zip(&methods).map(|(step, method)| match method {
            Method::Convolution(way) => cycles(way, false),
            Method::Linear(_) | Method::Pictures(_) | Method::Plain => {
                let macs = (batch * step.action.macs()) as f64 / LANES as f64;
                (macs + plain_cycles(&program, step, batch)) / THREADS
            }
        });
        if together < apart.sum() {
            return (Lanes::Pictures, for_pictures, ways);
        }
    }
    pools(&mut program, &mut methods);
    (Lanes::Channels, program, methods)
}

/// A way to compute each step, lanes being channels.
#[expect(clippy::wildcard_enum_match_arm, reason = "for all else there is one way")]
fn channels(program: &Program, isa: Isa, batch: usize, accuracy: Accuracy) -> Vec<Method> {
    let method = |step: &Step, cold: bool| match &step.action {
        Action::Conv(conv, _) => {
            let conv = Conv { batch, ..*conv };
            let planes = program.reads_planes(step);
            let fits = |algorithm: &Algorithm| planes == (*algorithm == Algorithm::FirstLayer);
            let near = |algorithm: &Algorithm| match accuracy {
                Accuracy::Strict => algorithm.is_definition(),
                Accuracy::Fast => true,
            };
            let ways = Algorithm::ALL.into_iter().filter(fits).filter(near);
            let ways = ways.filter_map(|algorithm| Convolution::new(isa, algorithm, &conv));
            let cost = |way: &Convolution| cycles(way, cold);
            let best = ways.min_by(|a, b| cost(a).total_cmp(&cost(b)));
            best.map_or(Method::Plain, |way| Method::Convolution(Box::new(way)))
        }
        &Action::Linear { from, outputs, .. } => Method::Linear(Linear::new(isa, from, outputs)),
        _ => Method::Plain,
    };
    let methods = |cold: bool| -> Vec<Method> {
        program.steps.iter().map(|step| method(step, cold)).collect()
    };
    let cached = methods(false);
    let weights: usize = cached.iter().map(Method::packed_len).sum();
    if weights * size_of::<Pixel>() > CACHED { methods(true) } else { cached }
}

/// Cycles of a step of so many pictures that multiplies nothing: some eight for each pixel that it reads
/// or writes, in windows or with the logarithms and divisions that there are.
pub(crate) fn plain_cycles(program: &Program, step: &Step, pictures: usize) -> f64 {
    if step.action.macs() > 0 {
        return 0.0;
    }
    let values = step.inputs.iter().chain(&step.outputs);
    8.0 * values.map(|&id| pictures * pixels(program.extents(id))).sum::<usize>() as f64
}

/// Threads that the estimate is made for, however many there are: the algorithms decide the bits of a
/// result, and these must not depend on the machine's load.
pub(crate) const THREADS: f64 = 2.0;

/// What a convolution takes, in cycles.
fn cycles(way: &Convolution, cold: bool) -> f64 {
    let compute = way.cycles() / THREADS;
    // Bytes a cycle from memory, or from the last cache. The shorter of the two hides behind the
    // longer, but for a quarter of it.
    let rate = if cold { 8.6 } else { 40.0 };
    let weights = (way.packed_len() * size_of::<Pixel>()) as f64 / rate;
    compute.max(weights) + compute.min(weights) / 4.0
}
