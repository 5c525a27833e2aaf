//! The operations: a closed set, one file each, so that every reader of a graph is a `match` that
//! the compiler checks. A variant holds attributes and nothing else.

mod activation;
mod adaptive_avg_pool;
mod batch_norm;
mod conv2d;
mod join;
mod linear;
mod lrn;
mod pool;
mod rbf;
mod shortcut;
mod subsample;
mod window;

pub use activation::{Clip, Dropout, Tanh};
pub use adaptive_avg_pool::AdaptiveAvgPool;
pub use batch_norm::BatchNorm;
pub use conv2d::{Conv2d, Table};
pub use join::AddScaled;
pub use linear::Linear;
pub use lrn::Lrn;
pub use pool::{Pool, PoolKind};
pub use rbf::Rbf;
pub use shortcut::Shortcut;
pub use subsample::Subsample;

use serde::{Deserialize, Serialize};

use crate::{Cost, Reason, Shape};

/// One operation: its attributes, nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// What is fed to the network.
    Input(Shape),
    /// 2-D convolution.
    Conv2d(Conv2d),
    /// Fully connected layer.
    Linear(Linear),
    /// Maximum or mean of windows.
    Pool(Pool),
    /// Mean of as many windows as the output has pixels; 1×1 is global average pooling.
    AdaptiveAvgPool(AdaptiveAvgPool),
    /// LeNet's trainable pooling.
    Subsample(Subsample),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// Local response normalisation across channels.
    Lrn(Lrn),
    /// Radial basis functions: squared distances to fixed codes.
    Rbf(Rbf),
    /// `max(x, 0)`.
    Relu,
    /// Values kept within bounds.
    Clip(Clip),
    /// Scaled hyperbolic tangent.
    Tanh(Tanh),
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `eˣ / Σ eˣ` over the channels.
    Softmax,
    /// `x − ln Σ eˣ` over the channels.
    LogSoftmax,
    /// Drops values in training, does nothing else.
    Dropout(Dropout),
    /// Sum of two or more values of one shape.
    Add,
    /// `a + scale · b`.
    AddScaled(AddScaled),
    /// Maps joined along the channels, or rows end to end.
    Concat,
    /// A map as a row, in C, H, W order.
    Flatten,
    /// Parameter-free shortcut: pixels skipped, zero channels appended.
    Shortcut(Shortcut),
}

/// A learned or fixed tensor of an operation, as the operation declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What it is called behind the name of the node: `weight`, `bias`, …
    pub leaf: &'static str,
    /// Extents, as PyTorch stores it.
    pub shape: Vec<usize>,
    /// What it does.
    pub role: Role,
}

/// What a tensor of parameters does, which decides how it starts, whether it is trained and
/// whether weight decay touches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Multiplies the inputs: weights of convolutions and linear layers.
    Weight,
    /// Added to a weighted sum.
    Bias,
    /// Multiplies a channel: γ of batch normalisation, the coefficient of a subsampling map.
    Scale,
    /// Added to a channel: β of batch normalisation.
    Shift,
    /// Running mean of batch normalisation; not trained.
    Mean,
    /// Running variance of batch normalisation; not trained.
    Variance,
    /// Fixed codes; not trained.
    Fixed,
}

impl Role {
    /// Whether gradients reach it.
    pub fn is_trained(self) -> bool {
        match self {
            Role::Weight | Role::Bias | Role::Scale | Role::Shift => true,
            Role::Mean | Role::Variance | Role::Fixed => false,
        }
    }
}

impl Op {
    /// The operation's name in the field: `conv2d`, `max_pool`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Input(_) => "input",
            Op::Conv2d(_) => "conv2d",
            Op::Linear(_) => "linear",
            Op::Pool(pool) => match pool.kind {
                PoolKind::Max | PoolKind::MaxOfPadded => "max_pool",
                PoolKind::Avg { .. } => "avg_pool",
            },
            Op::AdaptiveAvgPool(_) => "adaptive_avg_pool",
            Op::Subsample(_) => "subsample",
            Op::BatchNorm(_) => "batch_norm",
            Op::Lrn(_) => "lrn",
            Op::Rbf(_) => "rbf",
            Op::Relu => "relu",
            Op::Tanh(_) => "tanh",
            Op::Sigmoid => "sigmoid",
            Op::Softmax => "softmax",
            Op::LogSoftmax => "log_softmax",
            Op::Clip(_) => "clip",
            Op::Dropout(_) => "dropout",
            Op::Add => "add",
            Op::AddScaled(_) => "add_scaled",
            Op::Concat => "concat",
            Op::Flatten => "flatten",
            Op::Shortcut(_) => "shortcut",
        }
    }

    /// The short word that names an unlabelled layer behind its row: `conv1.relu`.
    pub fn word(&self) -> &'static str {
        match self {
            Op::Conv2d(_) => "conv",
            Op::Linear(_) => "fc",
            Op::Pool(_) | Op::AdaptiveAvgPool(_) | Op::Subsample(_) => "pool",
            Op::BatchNorm(_) => "bn",
            Op::Lrn(_) => "norm",
            Op::Dropout(_) => "drop",
            Op::AddScaled(_) => "add",
            Op::Input(_)
            | Op::Rbf(_)
            | Op::Relu
            | Op::Tanh(_)
            | Op::Sigmoid
            | Op::Softmax
            | Op::LogSoftmax
            | Op::Clip(_)
            | Op::Add
            | Op::Concat
            | Op::Flatten
            | Op::Shortcut(_) => self.kind(),
        }
    }

    /// Whether there are tensors of its own, learned or fixed.
    pub fn has_parameters(&self) -> bool {
        match self {
            Op::Conv2d(_) | Op::Linear(_) | Op::Subsample(_) | Op::BatchNorm(_) | Op::Rbf(_) => {
                true
            }
            Op::Input(_)
            | Op::Pool(_)
            | Op::AdaptiveAvgPool(_)
            | Op::Lrn(_)
            | Op::Relu
            | Op::Tanh(_)
            | Op::Sigmoid
            | Op::Softmax
            | Op::LogSoftmax
            | Op::Clip(_)
            | Op::Dropout(_)
            | Op::Add
            | Op::AddScaled(_)
            | Op::Concat
            | Op::Flatten
            | Op::Shortcut(_) => false,
        }
    }

    /// The shape of the result.
    ///
    /// # Errors
    /// A [`Reason`] if the attributes have no meaning or the inputs do not fit.
    pub fn shape(&self, inputs: &[Shape]) -> Result<Shape, Reason> {
        match self {
            Op::Input(shape) => match inputs {
                [] => Ok(*shape),
                _ => Err(Reason::Inputs { found: inputs.len(), expected: "none" }),
            },
            Op::Conv2d(conv) => conv.shape(one(inputs)?),
            Op::Linear(linear) => linear.shape(one(inputs)?),
            Op::Pool(pool) => pool.shape(one(inputs)?),
            Op::AdaptiveAvgPool(pool) => pool.shape(one(inputs)?),
            Op::Subsample(subsample) => subsample.shape(one(inputs)?),
            Op::BatchNorm(norm) => norm.shape(one(inputs)?),
            Op::Lrn(lrn) => lrn.shape(one(inputs)?),
            Op::Rbf(rbf) => rbf.shape(one(inputs)?),
            Op::Clip(clip) => clip.shape(one(inputs)?),
            Op::Tanh(tanh) => tanh.shape(one(inputs)?),
            Op::Dropout(dropout) => dropout.shape(one(inputs)?),
            Op::Relu | Op::Sigmoid | Op::Softmax | Op::LogSoftmax => one(inputs),
            Op::Add => join::add_shape(inputs),
            Op::AddScaled(add) => add.shape(inputs),
            Op::Concat => join::concat_shape(inputs),
            Op::Flatten => Ok(Shape::Flat(one(inputs)?.volume())),
            Op::Shortcut(shortcut) => shortcut.shape(one(inputs)?),
        }
    }

    /// The tensors the operation needs, in the order in which PyTorch stores them.
    /// The inputs are those for which [`shape`](Self::shape) succeeded.
    pub fn slots(&self, inputs: &[Shape]) -> Vec<Slot> {
        match self {
            Op::Conv2d(conv) => conv.slots(inputs[0]),
            Op::Linear(linear) => linear.slots(inputs[0]),
            Op::Subsample(subsample) => subsample.slots(inputs[0]),
            Op::BatchNorm(norm) => norm.slots(inputs[0]),
            Op::Rbf(rbf) => rbf.slots(inputs[0]),
            Op::Input(_)
            | Op::Pool(_)
            | Op::AdaptiveAvgPool(_)
            | Op::Lrn(_)
            | Op::Relu
            | Op::Tanh(_)
            | Op::Sigmoid
            | Op::Softmax
            | Op::LogSoftmax
            | Op::Clip(_)
            | Op::Dropout(_)
            | Op::Add
            | Op::AddScaled(_)
            | Op::Concat
            | Op::Flatten
            | Op::Shortcut(_) => Vec::new(),
        }
    }

    /// What it costs; see [`Cost`] for the rules.
    /// The inputs are those for which [`shape`](Self::shape) succeeded, with that `output`.
    pub fn cost(&self, inputs: &[Shape], output: Shape) -> Cost {
        match self {
            Op::Conv2d(conv) => conv.cost(inputs[0], output),
            Op::Linear(linear) => linear.cost(inputs[0]),
            Op::Pool(pool) => pool.cost(inputs[0], output),
            Op::AdaptiveAvgPool(pool) => pool.cost(inputs[0], output),
            Op::Subsample(subsample) => subsample.cost(output),
            Op::BatchNorm(norm) => norm.cost(inputs[0]),
            Op::Rbf(rbf) => rbf.cost(inputs[0]),
            Op::Input(_)
            | Op::Lrn(_)
            | Op::Relu
            | Op::Tanh(_)
            | Op::Sigmoid
            | Op::Softmax
            | Op::LogSoftmax
            | Op::Clip(_)
            | Op::Dropout(_)
            | Op::Add
            | Op::AddScaled(_)
            | Op::Concat
            | Op::Flatten
            | Op::Shortcut(_) => Cost::default(),
        }
    }
}

/// The only input of an operation that has one.
fn one(inputs: &[Shape]) -> Result<Shape, Reason> {
    match inputs {
        [shape] => Ok(*shape),
        _ => Err(Reason::Inputs { found: inputs.len(), expected: "one" }),
    }
}

/// Channels, height, width of an input that must be a map.
fn map(shape: Shape) -> Result<[usize; 3], Reason> {
    match shape {
        Shape::Map { c, h, w } => Ok([c, h, w]),
        Shape::Flat(_) => Err(Reason::Form { found: shape, expected: "a map" }),
    }
}

/// The length of an input that must be a row.
fn row(shape: Shape) -> Result<usize, Reason> {
    match shape {
        Shape::Flat(n) => Ok(n),
        Shape::Map { .. } => Err(Reason::Form { found: shape, expected: "a row (flatten first)" }),
    }
}

/// A number that must be positive.
fn positive(what: &str, values: &[usize]) -> Result<(), Reason> {
    if values.contains(&0) {
        return Err(Reason::Attribute(format!("{what} must be at least 1, found {values:?}")));
    }
    Ok(())
}
