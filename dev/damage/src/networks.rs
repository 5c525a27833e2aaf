//! The door for networks: nodes of any kind, with any numbers, that read any values.

use striate_graph::op::{
    AdaptiveAvgPool, AddScaled, BatchNorm, Clip, Conv2d, Dropout, Linear, Lrn, Pool, PoolKind, Rbf,
    Shortcut, Subsample, Tanh,
};
use striate_graph::{Graph, Op, Part, Shape, Sides, Size};

/// The most nodes: that of a thousand says no more.
const MOST: usize = 256;

/// A network that bytes describe, a few for each node: whatever they say, it is refused or all that
/// can be asked of it has an answer.
pub fn graph(bytes: &[u8]) -> bool {
    let mut numbers = Numbers { bytes };
    let mut parts = Vec::new();
    while !numbers.bytes.is_empty() && parts.len() < MOST {
        let op = numbers.op(parts.is_empty());
        let count = if parts.is_empty() { 0 } else { numbers.byte() % 4 };
        let inputs = (0..count).map(|_| numbers.size()).collect();
        parts.push(Part { name: format!("n{}", parts.len()), op, inputs });
    }
    let outputs = [(String::from("logits"), parts.len().saturating_sub(1))];
    let Ok(graph) = Graph::assemble(parts, &outputs) else { return false };
    drop((graph.total(), graph.buffers(), graph.uses(), graph.classes()));
    let layout = graph.layout();
    assert!(layout.params().iter().all(|param| layout.find(&param.name).is_some()));
    for (id, node) in graph.iter() {
        assert!(node.inputs.iter().all(|input| input.index() < id.index()));
        assert!(graph.prune(&[id]).nodes().len() <= graph.nodes().len());
    }
    true
}

/// Bytes as numbers; zeros when there are no more.
struct Numbers<'b> {
    bytes: &'b [u8],
}

impl Numbers<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        first
    }

    /// Small ones as they are, else those at which something overflows.
    fn size(&mut self) -> usize {
        match self.byte() {
            small @ 0..=127 => small.into(),
            power @ 128..=191 => 1 << (power - 128),
            below @ 192..=254 => (1 << (below - 191)) - 1,
            255 => usize::MAX,
        }
    }

    fn sizes(&mut self) -> Size {
        Size { h: self.size(), w: self.size() }
    }

    fn sides(&mut self) -> Sides {
        (self.size(), self.size()).into()
    }

    fn real(&mut self) -> f32 {
        match self.byte() {
            0 => 0.0,
            1 => 1.0,
            2 => -1.0,
            3 => f32::NAN,
            4 => f32::INFINITY,
            5 => f32::MIN_POSITIVE,
            other => f32::from(other) / 256.0,
        }
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn op(&mut self, first: bool) -> Op {
        let kind = self.byte();
        if first {
            return Op::Input(match kind & 1 {
                0 => Shape::map(self.size(), self.size(), self.size()),
                _ => Shape::Flat(self.size()),
            });
        }
        match kind % 20 {
            0 => Op::Input(Shape::Flat(self.size())),
            1 => Op::Conv2d(Conv2d {
                out: self.size(),
                kernel: self.sizes(),
                stride: self.sizes(),
                pad: self.sides(),
                dilation: self.sizes(),
                groups: self.size(),
                bias: self.flag(),
                table: None,
            }),
            2 => Op::Linear(Linear { out: self.size(), bias: self.flag() }),
            3 => Op::Pool(Pool {
                kind: match self.byte() % 4 {
                    0 => PoolKind::Max,
                    1 => PoolKind::MaxOfPadded,
                    other => PoolKind::Avg { count_include_pad: other == 2 },
                },
                kernel: self.sizes(),
                stride: self.sizes(),
                pad: self.sides(),
                ceil: self.flag(),
            }),
            4 => Op::AdaptiveAvgPool(AdaptiveAvgPool { out: self.sizes() }),
            5 => Op::Subsample(Subsample { kernel: self.sizes(), stride: self.sizes() }),
            6 => Op::BatchNorm(BatchNorm {
                eps: self.real(),
                momentum: self.real(),
                scale: self.flag(),
            }),
            7 => Op::Lrn(Lrn {
                size: self.size(),
                alpha: self.real(),
                divided: self.flag(),
                beta: self.real(),
                k: self.real(),
            }),
            8 => {
                let (classes, len) = (self.byte() % 8, self.byte());
                Op::Rbf(Rbf { codes: vec![vec![true; len.into()]; classes.into()] })
            }
            9 => Op::Relu,
            10 => Op::Tanh(Tanh { a: self.real(), s: self.real() }),
            11 => Op::Sigmoid,
            12 => Op::Softmax,
            13 => Op::Dropout(Dropout { p: self.real() }),
            14 => Op::Add,
            15 => Op::AddScaled(AddScaled { scale: self.real() }),
            16 => Op::Concat,
            17 => Op::Flatten,
            18 => Op::LogSoftmax,
            19 => Op::Clip(Clip {
                min: self.flag().then(|| self.real()),
                max: self.flag().then(|| self.real()),
            }),
            _ => Op::Shortcut(Shortcut { stride: self.size(), out: self.size() }),
        }
    }
}
