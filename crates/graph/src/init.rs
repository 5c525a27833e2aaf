use striate_tensor::Rng;

use crate::op::{Conv2d, Role};
use crate::{Graph, Op, Param};

/// How weights are drawn before training. Biases start at zero unless said otherwise, γ and
/// variances at one, β and means at zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Weights and biases uniform in ±2.4/F, F the number of inputs of the unit (LeCun et al. 1998,
    /// appendix A).
    LeCun,
    /// Normal with one deviation everywhere, and biases of one in the listed nodes (Krizhevsky et
    /// al. 2012, §5).
    Gaussian {
        /// Standard deviation.
        deviation: f32,
        /// Nodes whose biases start at one.
        ones: &'static [&'static str],
    },
    /// Uniform in ±√(3/F), F the number of inputs (Caffe's `xavier`; Glorot & Bengio 2010).
    Xavier {
        /// What the biases start at.
        bias: f32,
    },
    /// Normal with variance 2/(inputs of a unit) (He et al. 2015, arXiv 1502.01852); linear layers
    /// too.
    KaimingFanIn,
    /// Normal with variance 2/(outputs reached) for convolutions; linear layers uniform in
    /// ±1/√F with their biases (PyTorch's ResNet).
    KaimingFanOut,
    /// Normal cut off at two deviations (TensorFlow's Inception).
    Truncated {
        /// Standard deviation.
        deviation: f32,
    },
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the operations named start otherwise than the rest"
)]
impl Init {
    /// Draws values of one tensor, from the `from`-th on.
    pub(crate) fn fill(
        &self,
        graph: &Graph,
        param: &Param,
        rng: &Rng,
        from: usize,
        values: &mut [f32],
    ) {
        let rng = || rng.fork(&param.name);
        let inputs = fan_in(graph, param) as f32;
        let uniform = |values: &mut [f32], bound: f32| {
            let mut rng = rng();
            rng.skip(from * Rng::UNIFORM);
            values.iter_mut().for_each(|v| *v = rng.within(-bound, bound));
        };
        let normal = |values: &mut [f32], deviation: f32| {
            let mut rng = rng();
            rng.skip(from * Rng::NORMAL);
            values.iter_mut().for_each(|v| *v = deviation * rng.normal());
        };
        match (param.slot.role, *self) {
            (Role::Mean | Role::Variance | Role::Fixed, _) => {}
            (Role::Shift, _) => values.fill(0.0),
            (Role::Scale, _) => values.fill(match &graph.node(param.node).op {
                // A subsampling map starts as the mean of its window.
                Op::Subsample(subsample) => 1.0 / subsample.kernel.area() as f32,
                _ => 1.0,
            }),
            (Role::Weight, Init::LeCun) => uniform(values, 2.4 / inputs),
            (Role::Bias, Init::LeCun) => match &graph.node(param.node).op {
                Op::Subsample(_) => values.fill(0.0),
                _ => uniform(values, 2.4 / inputs),
            },
            (Role::Weight, Init::Xavier { .. }) => uniform(values, (3.0 / inputs).sqrt()),
            (Role::Bias, Init::Xavier { bias }) => values.fill(bias),
            (Role::Weight, Init::Gaussian { deviation, .. }) => normal(values, deviation),
            (Role::Bias, Init::Gaussian { ones, .. }) => {
                let one = ones.contains(&graph.node(param.node).name.as_str());
                values.fill(if one { 1.0 } else { 0.0 });
            }
            (Role::Weight, Init::KaimingFanIn) => normal(values, (2.0 / inputs).sqrt()),
            (Role::Weight, Init::KaimingFanOut) => match &graph.node(param.node).op {
                Op::Conv2d(conv) => normal(values, (2.0 / fan_out(conv)).sqrt()),
                _ => uniform(values, 1.0 / inputs.sqrt()),
            },
            (Role::Bias, Init::KaimingFanOut) => match &graph.node(param.node).op {
                Op::Linear(_) => uniform(values, 1.0 / inputs.sqrt()),
                _ => values.fill(0.0),
            },
            (Role::Weight, Init::Truncated { deviation }) => {
                let mut rng = rng();
                let mut within = || loop {
                    let x = rng.normal();
                    if x.abs() <= 2.0 {
                        break deviation * x;
                    }
                };
                (0..from).for_each(|_| _ = within());
                values.iter_mut().for_each(|v| *v = within());
            }
            (Role::Bias, Init::KaimingFanIn | Init::Truncated { .. }) => values.fill(0.0),
        }
    }

    /// Whether a value can be drawn without those before it.
    pub(crate) fn skips(&self) -> bool {
        match self {
            Init::LeCun
            | Init::Gaussian { .. }
            | Init::Xavier { .. }
            | Init::KaimingFanIn
            | Init::KaimingFanOut => true,
            Init::Truncated { .. } => false,
        }
    }
}

/// Inputs of one unit, without the bias; the mean over the maps where a table is sparse.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other units read their whole input")]
fn fan_in(graph: &Graph, param: &Param) -> usize {
    let node = graph.node(param.node);
    match &node.op {
        Op::Conv2d(conv) => {
            let channels = graph.node(node.inputs[0]).shape.channels();
            let pairs = match &conv.table {
                Some(table) => table.pairs() / conv.out,
                None => conv.channels_per_group(channels),
            };
            pairs.max(1) * conv.kernel.area()
        }
        Op::Subsample(subsample) => subsample.kernel.area(),
        _ => node.inputs.first().map_or(1, |&id| graph.node(id).shape.volume()),
    }
}

/// Output values that one input value reaches, in PyTorch's count.
fn fan_out(conv: &Conv2d) -> f32 {
    (conv.out / conv.groups * conv.kernel.area()) as f32
}
