//! Cases of every operation: small networks whose sizes are odd on purpose, and results that were
//! worked out by hand.

mod conv;
mod hand;
mod others;
mod pool;

use striate_graph::{Graph, Op, Shape, Value};

pub use hand::{Hand, hand};

/// A network to run on every backend.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is special about it.
    pub name: &'static str,
    /// One image.
    pub input: Shape,
    /// How many of them.
    pub batch: usize,
    /// The network.
    pub net: Net,
}

/// The lines that describe a network.
pub type Net = for<'g> fn(Value<'g>) -> Value<'g>;

impl Case {
    /// The network.
    ///
    /// # Panics
    /// If it cannot be: a mistake in the table.
    pub fn graph(&self) -> Graph {
        Graph::build(self.input, self.net).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }
}

const fn case(name: &'static str, batch: usize, input: Shape, net: Net) -> Case {
    Case { name, input, batch, net }
}

/// A map of these extents.
const fn chw(c: usize, h: usize, w: usize) -> Shape {
    Shape::Map { c, h, w }
}

/// All cases.
pub fn all() -> impl Iterator<Item = Case> {
    [conv::CASES, pool::CASES, others::CASES].into_iter().flatten().copied()
}

/// How many operations there are.
pub const OPERATIONS: usize = 21;

/// The place of an operation in a list of all; the compiler asks for that of a new one, and a test
/// then for its cases.
pub fn position(op: &Op) -> usize {
    match op {
        Op::Input(_) => 0,
        Op::Conv2d(_) => 1,
        Op::Linear(_) => 2,
        Op::Pool(_) => 3,
        Op::AdaptiveAvgPool(_) => 4,
        Op::Subsample(_) => 5,
        Op::BatchNorm(_) => 6,
        Op::Lrn(_) => 7,
        Op::Rbf(_) => 8,
        Op::Relu => 9,
        Op::Tanh(_) => 10,
        Op::Sigmoid => 11,
        Op::Softmax => 12,
        Op::Dropout(_) => 13,
        Op::Add => 14,
        Op::AddScaled(_) => 15,
        Op::Concat => 16,
        Op::Flatten => 17,
        Op::Shortcut(_) => 18,
        Op::LogSoftmax => 19,
        Op::Clip(_) => 20,
    }
}
