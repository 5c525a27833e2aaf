use std::cell::RefCell;
use std::collections::HashSet;

use crate::graph::settled;
use crate::op::{
    AdaptiveAvgPool, AddScaled, BatchNorm, Clip, Conv2d, Dropout, Linear, Lrn, Pool, PoolKind, Rbf,
    Shortcut, Subsample, Table, Tanh,
};
use crate::{Graph, GraphError, Node, NodeId, Op, Output, Reason, Shape, Sides, Size};

/// What flows through a network while it is written down: the one type an architecture file sees.
///
/// A method is a layer; a method on a layer just made (`stride`, `pad`, `ceil`, …) sets an
/// attribute of it. [`at`](Value::at) labels the next layer with its row in the paper; a layer
/// without a label is called after the row it belongs to: `conv1`, `conv1.relu`, `conv1.pool`.
/// Nothing here returns an error: the first mistake is kept with the name of its node, and
/// [`Graph::build`] returns it.
#[derive(Clone, Copy)]
pub struct Value<'g> {
    network: &'g Network,
    node: NodeId,
    /// Index into `State::rows`: the row this value belongs to.
    row: usize,
    /// Whether `row` labels the layer that comes next.
    labels_next: bool,
}

type Network = RefCell<State>;

#[derive(Default)]
struct State {
    nodes: Vec<Node>,
    /// Whether the shape of a node is computed, and its attributes are final.
    settled: Vec<bool>,
    names: HashSet<String>,
    outputs: Vec<Output>,
    rows: Vec<Row>,
    /// The prefix of names at this place, dot included.
    scope: String,
    mistake: Option<GraphError>,
}

/// A row of the paper's table: its label, and the scope in which it was given.
struct Row {
    scope: String,
    label: String,
}

impl Graph {
    /// A network from its input's shape and the lines that describe it. What the lines return
    /// becomes the output `logits`.
    ///
    /// # Errors
    /// The first mistake, with the name of the node: a window larger than its map, channels that
    /// groups do not divide, an attribute on a layer that has none, …
    pub fn build(
        input: Shape,
        net: impl for<'g> FnOnce(Value<'g>) -> Value<'g>,
    ) -> Result<Graph, GraphError> {
        let network = Network::default();
        network.borrow_mut().rows.push(Row { scope: String::new(), label: String::new() });
        let name = String::from("input");
        let value = Value { network: &network, node: NodeId(0), row: 0, labels_next: false };
        let first = Node { name: name.clone(), op: Op::Input(input), inputs: vec![], shape: input };
        {
            let mut state = network.borrow_mut();
            state.names.insert(name);
            state.nodes.push(first);
            state.settled.push(false);
            state.settle(NodeId(0));
        }
        let last = net(value).node;
        let mut state = network.into_inner();
        for i in 0..state.nodes.len() {
            state.settle(NodeId(i as u32));
        }
        if let Some(mistake) = state.mistake {
            return Err(mistake);
        }
        let mut outputs = vec![Output { name: String::from("logits"), node: last }];
        outputs.append(&mut state.outputs);
        Graph::check(state.nodes, outputs)
    }
}

impl State {
    fn fail(&mut self, node: &str, reason: Reason) {
        self.mistake.get_or_insert_with(|| GraphError { node: node.to_owned(), reason });
    }

    /// Computes the shape of a node whose attributes are now final.
    fn settle(&mut self, id: NodeId) {
        let i = id.index();
        if self.settled[i] || self.mistake.is_some() {
            return;
        }
        self.settled[i] = true;
        let node = &self.nodes[i];
        let inputs: Vec<Shape> =
            node.inputs.iter().map(|id| self.nodes[id.index()].shape).collect();
        match settled(&node.op, &inputs) {
            Ok(shape) => self.nodes[i].shape = shape,
            Err(reason) => {
                let name = self.nodes[i].name.clone();
                self.fail(&name, reason);
            }
        }
    }

    /// The name of a layer without a label: its row and the operation's word, counted if taken.
    fn name(&self, row: &Row, word: &str) -> String {
        let scope = &self.scope;
        let stem = if row.scope == *scope && !row.label.is_empty() {
            format!("{scope}{}.{word}", row.label)
        } else {
            format!("{scope}{word}")
        };
        let counted = (2..).map(|i| format!("{stem}_{i}"));
        let mut candidates = std::iter::once(stem.clone()).chain(counted);
        candidates.find(|name| !self.names.contains(name)).unwrap_or(stem)
    }
}

impl<'g> Value<'g> {
    /// Labels the next layer with its row in the paper's table.
    pub fn at(self, label: impl Into<String>) -> Value<'g> {
        let mut state = self.network.borrow_mut();
        let scope = state.scope.clone();
        state.rows.push(Row { scope, label: label.into() });
        Value { row: state.rows.len() - 1, labels_next: true, ..self }
    }

    /// Names everything inside with a common prefix. What comes out belongs to the row of that
    /// name.
    pub fn within(
        self,
        prefix: impl Into<String>,
        part: impl FnOnce(Value<'g>) -> Value<'g>,
    ) -> Value<'g> {
        let prefix = prefix.into();
        let outer = {
            let mut state = self.network.borrow_mut();
            let inner = format!("{}{prefix}.", state.scope);
            std::mem::replace(&mut state.scope, inner)
        };
        let value = part(Value { labels_next: false, ..self });
        let mut state = self.network.borrow_mut();
        state.scope = outer;
        let scope = state.scope.clone();
        state.rows.push(Row { scope, label: prefix });
        Value { row: state.rows.len() - 1, labels_next: false, ..value }
    }

    /// Names this value as a further result of the network: an auxiliary head.
    pub fn output(self, name: impl Into<String>) {
        let mut state = self.network.borrow_mut();
        state.settle(self.node);
        state.outputs.push(Output { name: name.into(), node: self.node });
    }

    /// Shape of this value. It ends the attributes of the layer that made it.
    pub fn shape(self) -> Shape {
        let mut state = self.network.borrow_mut();
        state.settle(self.node);
        state.nodes[self.node.index()].shape
    }

    /// Channels of this value.
    pub fn channels(self) -> usize {
        self.shape().channels()
    }

    fn push(self, op: Op, inputs: &[Value<'g>]) -> Value<'g> {
        let mut state = self.network.borrow_mut();
        for input in inputs {
            if !std::ptr::eq(input.network, self.network) {
                state.fail(op.word(), Reason::Foreign);
            } else {
                state.settle(input.node);
            }
        }
        if state.mistake.is_some() {
            return Value { labels_next: false, ..self };
        }
        let row = &state.rows[self.row];
        let name = if self.labels_next {
            format!("{}{}", row.scope, row.label)
        } else {
            state.name(row, op.word())
        };
        if !state.names.insert(name.clone()) {
            state.fail(&name, Reason::DuplicateName);
        }
        let node = NodeId(state.nodes.len() as u32);
        let inputs = inputs.iter().map(|value| value.node).collect();
        state.nodes.push(Node { name, op, inputs, shape: Shape::Flat(0) });
        state.settled.push(false);
        Value { node, labels_next: false, ..self }
    }

    fn set(self, attribute: &'static str, set: impl FnOnce(&mut Op) -> bool) -> Value<'g> {
        let mut state = self.network.borrow_mut();
        if state.mistake.is_some() {
            return self;
        }
        let i = self.node.index();
        let (name, op) = (state.nodes[i].name.clone(), state.nodes[i].op.kind());
        if !set(&mut state.nodes[i].op) {
            state.fail(&name, Reason::NoSuchAttribute { attribute, op });
        } else if state.settled[i] {
            state.fail(&name, Reason::TooLate(attribute));
        }
        self
    }
}

/// Layers.
impl<'g> Value<'g> {
    /// Convolution with bias, stride 1, and half the kernel as padding.
    pub fn conv(self, kernel: impl Into<Size>, out: usize) -> Value<'g> {
        self.push(Op::Conv2d(Conv2d::new(kernel.into(), out)), &[self])
    }

    /// Fully connected layer with bias.
    pub fn linear(self, out: usize) -> Value<'g> {
        self.push(Op::Linear(Linear { out, bias: true }), &[self])
    }

    /// Largest value of each window; no padding, rounded down.
    pub fn max_pool(self, kernel: impl Into<Size>, stride: impl Into<Size>) -> Value<'g> {
        self.pool(PoolKind::Max, kernel.into(), stride.into())
    }

    /// Mean of each window; no padding, rounded down, padding counted where it is set.
    pub fn avg_pool(self, kernel: impl Into<Size>, stride: impl Into<Size>) -> Value<'g> {
        self.pool(PoolKind::Avg { count_include_pad: true }, kernel.into(), stride.into())
    }

    fn pool(self, kind: PoolKind, kernel: Size, stride: Size) -> Value<'g> {
        self.push(Op::Pool(Pool { kind, kernel, stride, pad: 0.into(), ceil: false }), &[self])
    }

    /// Mean of each map.
    pub fn global_avg_pool(self) -> Value<'g> {
        self.push(Op::AdaptiveAvgPool(AdaptiveAvgPool { out: 1.into() }), &[self])
    }

    /// Means of as many windows as the output has pixels; nothing at all where the map already has
    /// that size.
    pub fn adaptive_avg_pool(self, out: impl Into<Size>) -> Value<'g> {
        let out = out.into();
        match self.shape() {
            Shape::Map { h, w, .. } if (h, w) == (out.h, out.w) => self,
            Shape::Map { .. } | Shape::Flat(_) => {
                self.push(Op::AdaptiveAvgPool(AdaptiveAvgPool { out }), &[self])
            }
        }
    }

    /// LeNet's trainable pooling.
    pub fn subsample(self, kernel: impl Into<Size>, stride: impl Into<Size>) -> Value<'g> {
        let (kernel, stride) = (kernel.into(), stride.into());
        self.push(Op::Subsample(Subsample { kernel, stride }), &[self])
    }

    /// Batch normalisation with ε = 1e-5 and a momentum of 0.1.
    pub fn batch_norm(self) -> Value<'g> {
        self.push(Op::BatchNorm(BatchNorm { eps: 1e-5, momentum: 0.1, scale: true }), &[self])
    }

    /// Local response normalisation.
    pub fn lrn(self, lrn: Lrn) -> Value<'g> {
        self.push(Op::Lrn(lrn), &[self])
    }

    /// Squared distances to fixed codes.
    pub fn rbf(self, codes: Vec<Vec<bool>>) -> Value<'g> {
        self.push(Op::Rbf(Rbf { codes }), &[self])
    }

    /// `max(x, 0)`.
    pub fn relu(self) -> Value<'g> {
        self.push(Op::Relu, &[self])
    }

    /// `a · tanh(s · x)`.
    pub fn tanh(self, tanh: Tanh) -> Value<'g> {
        self.push(Op::Tanh(tanh), &[self])
    }

    /// Logistic function.
    pub fn sigmoid(self) -> Value<'g> {
        self.push(Op::Sigmoid, &[self])
    }

    /// Values below `min` become `min`, those above `max` become `max`.
    pub fn clip(self, min: f32, max: f32) -> Value<'g> {
        self.push(Op::Clip(Clip { min: Some(min), max: Some(max) }), &[self])
    }

    /// The logarithm of [`softmax`](Value::softmax).
    pub fn log_softmax(self) -> Value<'g> {
        self.push(Op::LogSoftmax, &[self])
    }

    /// Softmax over the channels.
    pub fn softmax(self) -> Value<'g> {
        self.push(Op::Softmax, &[self])
    }

    /// Dropout, in training.
    pub fn dropout(self, p: f32) -> Value<'g> {
        self.push(Op::Dropout(Dropout { p }), &[self])
    }

    /// The map as a row.
    pub fn flatten(self) -> Value<'g> {
        self.push(Op::Flatten, &[self])
    }

    /// Every `stride`-th pixel, zero maps appended up to `out`.
    pub fn shortcut(self, stride: usize, out: usize) -> Value<'g> {
        self.push(Op::Shortcut(Shortcut { stride, out }), &[self])
    }
}

/// Attributes of the layer just made.
#[expect(clippy::wildcard_enum_match_arm, reason = "an attribute belongs to the operations named")]
impl<'g> Value<'g> {
    /// Step of a convolution or pooling.
    pub fn stride(self, stride: impl Into<Size>) -> Value<'g> {
        let stride = stride.into();
        self.set("stride", |op| match op {
            Op::Conv2d(conv) => set(&mut conv.stride, stride),
            Op::Pool(pool) => set(&mut pool.stride, stride),
            _ => false,
        })
    }

    /// Padding of a convolution or pooling: one number, (vertical, horizontal), or
    /// `[top, left, bottom, right]`.
    pub fn pad(self, pad: impl Into<Sides>) -> Value<'g> {
        let pad = pad.into();
        self.set("pad", |op| match op {
            Op::Conv2d(conv) => set(&mut conv.pad, pad),
            Op::Pool(pool) => set(&mut pool.pad, pad),
            _ => false,
        })
    }

    /// Distance of the taps of a convolution. Padding follows, so that the size of the map is kept.
    pub fn dilation(self, dilation: impl Into<Size>) -> Value<'g> {
        let Size { h, w } = dilation.into();
        self.set("dilation", |op| match op {
            Op::Conv2d(conv) => {
                let half = |kernel: usize, dilation: usize| kernel.saturating_sub(1) * dilation / 2;
                conv.pad = (half(conv.kernel.h, h), half(conv.kernel.w, w)).into();
                set(&mut conv.dilation, Size { h, w })
            }
            _ => false,
        })
    }

    /// Blocks of channels of a convolution that do not see each other.
    pub fn groups(self, groups: usize) -> Value<'g> {
        self.set("groups", |op| match op {
            Op::Conv2d(conv) => set(&mut conv.groups, groups),
            _ => false,
        })
    }

    /// No bias in a convolution or linear layer.
    pub fn no_bias(self) -> Value<'g> {
        self.set("no_bias", |op| match op {
            Op::Conv2d(conv) => set(&mut conv.bias, false),
            Op::Linear(linear) => set(&mut linear.bias, false),
            _ => false,
        })
    }

    /// Which maps of a convolution see which: a row an input map, `X` where an output map reads it.
    pub fn table(self, rows: &[&str]) -> Value<'g> {
        self.set("table", |op| match op {
            Op::Conv2d(conv) => set(&mut conv.table, Some(Table::new(rows))),
            _ => false,
        })
    }

    /// The number of windows of a pooling rounded up, as in Caffe.
    pub fn ceil(self) -> Value<'g> {
        self.set("ceil", |op| match op {
            Op::Pool(pool) => set(&mut pool.ceil, true),
            _ => false,
        })
    }

    /// A largest value among which the padding counts, as zeros.
    pub fn zero_pad(self) -> Value<'g> {
        self.set("zero_pad", |op| match op {
            Op::Pool(Pool { kind: kind @ PoolKind::Max, .. }) => set(kind, PoolKind::MaxOfPadded),
            _ => false,
        })
    }

    /// A mean over the pixels inside the picture alone, as in TensorFlow.
    pub fn exclude_pad(self) -> Value<'g> {
        self.set("exclude_pad", |op| match op {
            Op::Pool(Pool { kind: PoolKind::Avg { count_include_pad }, .. }) => {
                set(count_include_pad, false)
            }
            _ => false,
        })
    }

    /// ε of batch normalisation.
    pub fn eps(self, eps: f32) -> Value<'g> {
        self.set("eps", |op| match op {
            Op::BatchNorm(norm) => set(&mut norm.eps, eps),
            _ => false,
        })
    }

    /// No γ in batch normalisation.
    pub fn no_scale(self) -> Value<'g> {
        self.set("no_scale", |op| match op {
            Op::BatchNorm(norm) => set(&mut norm.scale, false),
            _ => false,
        })
    }
}

fn set<T>(attribute: &mut T, value: T) -> bool {
    *attribute = value;
    true
}

/// Sum of two values of one shape.
pub fn add<'g>(a: Value<'g>, b: Value<'g>) -> Value<'g> {
    a.push(Op::Add, &[a, b])
}

/// `a + scale · b`.
pub fn add_scaled<'g>(a: Value<'g>, scale: f32, b: Value<'g>) -> Value<'g> {
    a.push(Op::AddScaled(AddScaled { scale }), &[a, b])
}

/// Maps of one size joined along the channels, in order.
///
/// # Panics
/// If there are none.
pub fn concat<'g>(values: &[Value<'g>]) -> Value<'g> {
    let network = values[0].network;
    // The join belongs to no branch: it is called after the scope alone.
    let row = {
        let mut state = network.borrow_mut();
        let scope = state.scope.clone();
        state.rows.push(Row { scope, label: String::new() });
        state.rows.len() - 1
    };
    Value { row, labels_next: false, ..values[0] }.push(Op::Concat, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(graph: &Graph) -> Vec<&str> {
        graph.nodes().iter().map(|node| node.name.as_str()).collect()
    }

    #[test]
    fn layers_are_called_after_their_rows() {
        let graph = Graph::build(Shape::map(3, 32, 32), |x| {
            let x = x.at("conv1").conv(3, 8).batch_norm().relu().max_pool(2, 2);
            let x = x.within("3a", |x| {
                concat(&[x.at("1x1").conv(1, 4).relu(), x.at("3x3").conv(3, 4).relu()])
            });
            x.relu().relu().at("fc").flatten().linear(2)
        });
        let expected = [
            "input",
            "conv1",
            "conv1.bn",
            "conv1.relu",
            "conv1.pool",
            "3a.1x1",
            "3a.1x1.relu",
            "3a.3x3",
            "3a.3x3.relu",
            "3a.concat",
            "3a.relu",
            "3a.relu_2",
            "fc",
            "fc.fc",
        ];
        assert_eq!(names(&graph.unwrap()), expected);
    }

    #[test]
    fn the_first_mistake_is_kept_with_its_node() {
        type Net = for<'g> fn(Value<'g>) -> Value<'g>;
        let cases: [(Net, &str); 9] = [
            (|x| x.at("conv2").conv(5, 6).pad(0), "conv2: 5×5 window over a 3×3 map"),
            (|x| x.at("r").relu().stride(2), "r: stride was set on relu, which has none"),
            (|x| x.at("a").conv(1, 2).at("a").conv(1, 2), "a: the name is taken"),
            (
                |x| x.at("fc").linear(3),
                "fc: found an input of shape 3×3×3, expected a row (flatten first)",
            ),
            (
                |x| x.at("c").conv(0, 2),
                "c: channels, kernel, stride, dilation and groups must be at least 1, found [2, 0, 0, 1, 1, 1, 1, 1]",
            ),
            (
                |x| add(x, x.at("c").conv(3, 4)),
                "add: inputs of shapes 3×3×3, 4×3×3 do not fit together",
            ),
            (
                |x| {
                    let y = x.at("c").conv(3, 4);
                    y.relu();
                    y.stride(2)
                },
                "c: stride was set after the layer's result was used",
            ),
            (|x| x.at("big").conv(1, 1 << 30), "big: a value of more than 2147483648 elements"),
            (
                |x| x.at("p").max_pool(2, 2).exclude_pad(),
                "p: exclude_pad was set on max_pool, which has none",
            ),
        ];
        for (net, expected) in cases {
            let error = Graph::build(Shape::map(3, 3, 3), net).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert!(Graph::build(Shape::map(3, 0, 3), |x| x.relu()).is_err());
        assert!(Graph::build(Shape::map(usize::MAX, 2, 3), |x| x.relu()).is_err());
    }

    #[test]
    fn a_window_may_need_the_padding_set_after_it() {
        let graph = Graph::build(Shape::map(3, 2, 2), |x| x.max_pool(3, 1).pad(1)).unwrap();
        assert_eq!(graph.nodes()[1].shape, Shape::map(3, 2, 2));
    }

    #[test]
    fn pruning_drops_a_head_and_keeps_a_value() {
        let graph = Graph::build(Shape::map(3, 8, 8), |x| {
            let x = x.at("conv1").conv(3, 8).relu();
            x.within("aux", |x| x.global_avg_pool().flatten().at("fc").linear(2)).output("aux");
            x.at("conv2").conv(3, 8)
        })
        .unwrap();
        assert_eq!(graph.outputs().len(), 2);
        let inference = graph.prune(&[graph.outputs()[0].node]);
        assert_eq!(names(&inference), ["input", "conv1", "conv1.relu", "conv2"]);
        assert_eq!(inference.outputs()[0].name, "logits");
        let looked_at = graph.prune(&[graph.find("conv1.relu").unwrap()]);
        assert_eq!(looked_at.outputs()[0].name, "conv1.relu");
    }
}
