use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::op::Role;
use crate::{Cost, GraphError, Op, ParamLayout, Reason, Shape};

/// The most elements a value or a tensor of parameters may have: 2³¹, or 8 GiB.
pub const MAX_VOLUME: usize = 1 << 31;

/// Names a node, and as every operation has one output, a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An operation in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique; the key of its weights. A layer is called by its row in the paper.
    pub name: String,
    /// What is done.
    pub op: Op,
    /// To what, in order. All are earlier in the list of nodes.
    pub inputs: Vec<NodeId>,
    /// Shape of the result, for one sample.
    pub shape: Shape,
}

/// A named result of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// `logits`, or the name of a head.
    pub name: String,
    /// The node that gives it.
    pub node: NodeId,
}

/// A network. A node's inputs come before it, so the list of nodes *is* the order of execution;
/// names are unique; every shape is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    outputs: Vec<Output>,
}

/// The shape of what an operation makes of `inputs`, if it and the parameters are neither empty nor
/// too large.
pub(crate) fn settled(op: &Op, inputs: &[Shape]) -> Result<Shape, Reason> {
    let shape = op.shape(inputs)?;
    let fits = |extents: &[usize]| {
        let volume = extents.iter().try_fold(1usize, |v, &n| v.checked_mul(n));
        volume.is_some_and(|v| (1..=MAX_VOLUME).contains(&v))
    };
    if shape.extents().contains(&0) {
        let found = format!("every extent must be at least 1, found {shape}");
        return Err(Reason::Attribute(found));
    }
    // Volumes are checked before anything multiplies them.
    if !fits(&shape.extents()) {
        return Err(Reason::TooLarge);
    }
    let weights_fit = op.slots(inputs).iter().all(|slot| fits(&slot.shape));
    if weights_fit { Ok(shape) } else { Err(Reason::TooLarge) }
}

/// A node as a file describes it; see [`Graph::assemble`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// As in [`Node`].
    pub name: String,
    /// What is done.
    pub op: Op,
    /// Positions in the list of parts.
    pub inputs: Vec<usize>,
}

impl Graph {
    /// A network from a list of its nodes, as a reader of files has it. The first is the input, and
    /// the only one; `outputs` are names and positions, `logits` or what the file calls it first.
    ///
    /// # Errors
    /// The first mistake, with the name of the node, as [`Graph::build`] finds it; an input of a node
    /// that comes no earlier; an output that is none of the nodes.
    pub fn assemble(parts: Vec<Part>, outputs: &[(String, usize)]) -> Result<Graph, GraphError> {
        let mut nodes: Vec<Node> = Vec::new();
        for (i, Part { name, op, inputs }) in parts.into_iter().enumerate() {
            let fed = matches!(op, Op::Input(_));
            let shapes: Option<Vec<Shape>> =
                inputs.iter().map(|&input| nodes.get(input).map(|node| node.shape)).collect();
            let shape = match shapes {
                Some(shapes) if fed == (i == 0) => settled(&op, &shapes),
                Some(_) => Err(Reason::Input),
                None => Err(Reason::Foreign),
            };
            let inputs = inputs.into_iter().map(|input| NodeId(input as u32)).collect();
            match shape {
                Ok(shape) => nodes.push(Node { name, op, inputs, shape }),
                Err(reason) => return Err(GraphError { node: name, reason }),
            }
        }
        let missing = |name: &str| GraphError { node: name.to_owned(), reason: Reason::Foreign };
        if nodes.is_empty() || outputs.is_empty() {
            return Err(missing("logits"));
        }
        let output = |(name, node): &(String, usize)| match *node < nodes.len() {
            true => Ok(Output { name: name.clone(), node: NodeId(*node as u32) }),
            false => Err(missing(name)),
        };
        let outputs = outputs.iter().map(output).collect::<Result<_, _>>()?;
        Graph::check(nodes, outputs)
    }

    /// What [`assemble`](Graph::assemble) makes this network of.
    pub fn parts(&self) -> (Vec<Part>, Vec<(String, usize)>) {
        let part = |node: &Node| Part {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs: node.inputs.iter().map(|input| input.index()).collect(),
        };
        let outputs = self.outputs.iter().map(|out| (out.name.clone(), out.node.index()));
        (self.nodes.iter().map(part).collect(), outputs.collect())
    }

    /// A graph of nodes whose shapes are known, if it keeps the invariants.
    pub(crate) fn check(nodes: Vec<Node>, outputs: Vec<Output>) -> Result<Graph, GraphError> {
        let mut names = HashMap::new();
        for (i, node) in nodes.iter().enumerate() {
            let fail = |reason| GraphError { node: node.name.clone(), reason };
            if names.insert(node.name.as_str(), i).is_some() {
                return Err(fail(Reason::DuplicateName));
            }
            if node.inputs.iter().any(|input| input.index() >= i) {
                return Err(fail(Reason::Foreign));
            }
        }
        let mut heads = HashMap::new();
        for output in &outputs {
            if heads.insert(output.name.as_str(), output.node).is_some() {
                return Err(GraphError {
                    node: output.name.clone(),
                    reason: Reason::DuplicateName,
                });
            }
        }
        Ok(Graph { nodes, outputs })
    }

    /// All nodes, in the order of execution.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All nodes with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// One node.
    ///
    /// # Panics
    /// If the id is of a larger graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The node of a name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.iter().find(|(_, node)| node.name == name).map(|(id, _)| id)
    }

    /// `logits` first, then the named heads.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// What is fed: the shape of the first node.
    pub fn input(&self) -> Shape {
        self.nodes[0].shape
    }

    /// How many classes the network tells apart: the channels of its first output.
    pub fn classes(&self) -> usize {
        self.node(self.outputs[0].node).shape.channels()
    }

    /// Whether the smallest output is the winner: the network ends in distances.
    pub fn smallest_wins(&self) -> bool {
        matches!(self.node(self.outputs[0].node).op, Op::Rbf(_))
    }

    /// The shapes a node reads.
    pub fn input_shapes(&self, node: &Node) -> Vec<Shape> {
        node.inputs.iter().map(|&id| self.node(id).shape).collect()
    }

    /// How many nodes read each value; an output of the network counts as one more.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        let read = self.nodes.iter().flat_map(|node| &node.inputs);
        for id in read.chain(self.outputs.iter().map(|output| &output.node)) {
            uses[id.index()] += 1;
        }
        uses
    }

    /// Channels, height and width of the map that was flattened into the row a node reads. Where maps
    /// have their channels last the row has another order, and so have its weights.
    ///
    /// None if there is no such map, it has one pixel, or the row is read by anything but what has a
    /// weight for each of its values: its order then is that of [`Op::Flatten`] everywhere.
    pub fn flattened(&self, node: &Node) -> Option<[usize; 3]> {
        let mut row = *node.inputs.first()?;
        while keeps_order(&self.node(row).op) {
            row = *self.node(row).inputs.first()?;
        }
        let Op::Flatten = self.node(row).op else { return None };
        let [c, h, w] = self.input_shapes(self.node(row))[0].chw();
        (h * w > 1 && self.is_weighed(row)).then_some([c, h, w])
    }

    /// Whether a row is no output, and all that reads it has a weight for each of its values.
    pub fn is_weighed(&self, row: NodeId) -> bool {
        let mut readers = self.iter().filter(|(_, node)| node.inputs.contains(&row));
        self.outputs.iter().all(|output| output.node != row)
            && readers.all(|(id, node)| match keeps_order(&node.op) {
                true => self.is_weighed(id),
                false => matches!(node.op, Op::Linear(_)),
            })
    }

    /// A new graph of the kept nodes and all that they need. Outputs that are not kept go; a kept
    /// node that was no output becomes one of its own name. The input always stays.
    pub fn prune(&self, keep: &[NodeId]) -> Graph {
        let mut needed = vec![false; self.nodes.len()];
        needed[0] = true;
        keep.iter().for_each(|id| needed[id.index()] = true);
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if needed[i] {
                node.inputs.iter().for_each(|id| needed[id.index()] = true);
            }
        }
        let mut moved = vec![NodeId(0); self.nodes.len()];
        let mut nodes = Vec::new();
        for (i, node) in self.nodes.iter().enumerate().filter(|(i, _)| needed[*i]) {
            moved[i] = NodeId(nodes.len() as u32);
            let inputs = node.inputs.iter().map(|id| moved[id.index()]).collect();
            nodes.push(Node { inputs, ..node.clone() });
        }
        let kept = self.outputs.iter().filter(|output| keep.contains(&output.node));
        let mut outputs: Vec<Output> =
            kept.map(|o| Output { name: o.name.clone(), node: moved[o.node.index()] }).collect();
        for id in keep {
            let node = moved[id.index()];
            if outputs.iter().all(|output| output.node != node) {
                outputs.push(Output { name: self.node(*id).name.clone(), node });
            }
        }
        Graph { nodes, outputs }
    }

    /// What each node costs, in order.
    pub fn cost(&self) -> Vec<Cost> {
        let cost = |node: &Node| node.op.cost(&self.input_shapes(node), node.shape);
        self.nodes.iter().map(cost).collect()
    }

    /// What all nodes cost together.
    pub fn total(&self) -> Cost {
        self.cost().into_iter().sum()
    }

    /// The tensors of parameters the network has.
    pub fn layout(&self) -> ParamLayout {
        ParamLayout::of(self)
    }

    /// Values that are stored with the weights but not learned: running statistics, fixed codes.
    pub fn buffers(&self) -> u64 {
        let slots = self.nodes.iter().flat_map(|node| node.op.slots(&self.input_shapes(node)));
        let fixed = slots.filter(|slot| match slot.role {
            Role::Mean | Role::Variance | Role::Fixed => true,
            Role::Weight | Role::Bias | Role::Scale | Role::Shift => false,
        });
        fixed.map(|slot| slot.shape.iter().product::<usize>() as u64).sum()
    }
}

/// Whether an operation leaves the values of a row in their places.
fn keeps_order(op: &Op) -> bool {
    matches!(
        op,
        Op::Relu | Op::Clip(_) | Op::Sigmoid | Op::Tanh(_) | Op::Dropout(_) | Op::BatchNorm(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Linear;

    fn part(name: &str, op: Op, inputs: &[usize]) -> Part {
        Part { name: name.to_owned(), op, inputs: inputs.to_vec() }
    }

    #[test]
    fn what_is_assembled_is_what_is_built() {
        let built = Graph::build(Shape::map(2, 3, 3), |x| x.flatten().at("fc").linear(4));
        let fc = Op::Linear(Linear { out: 4, bias: true });
        let parts = vec![
            part("input", Op::Input(Shape::map(2, 3, 3)), &[]),
            part("flatten", Op::Flatten, &[0]),
            part("fc", fc, &[1]),
        ];
        let logits = [(String::from("logits"), 2)];
        assert_eq!(Graph::assemble(parts.clone(), &logits), built);
        assert_eq!(built.unwrap().parts(), (parts, logits.to_vec()));
    }

    #[test]
    fn a_row_is_a_map_where_each_of_its_values_is_weighed() {
        let flattened =
            |graph: &Graph, name| graph.flattened(graph.node(graph.find(name).unwrap()));
        let graph = Graph::build(Shape::map(2, 3, 4), |x| {
            let x = x.flatten().at("bn").batch_norm().relu().dropout(0.5).at("fc1").linear(4);
            x.relu().at("fc2").linear(4)
        })
        .unwrap();
        assert_eq!(flattened(&graph, "fc1"), Some([2, 3, 4]));
        assert_eq!(flattened(&graph, "bn"), Some([2, 3, 4]));
        assert_eq!(flattened(&graph, "fc2"), None);
        let graph = Graph::build(Shape::map(2, 3, 4), |x| {
            let row = x.flatten().relu();
            row.output("row");
            row.at("fc").linear(4)
        });
        assert_eq!(flattened(&graph.unwrap(), "fc"), None);
        let graph =
            Graph::build(Shape::map(2, 3, 4), |x| x.global_avg_pool().flatten().at("fc").linear(4));
        assert_eq!(flattened(&graph.unwrap(), "fc"), None);
    }

    #[test]
    fn what_is_no_network_is_refused_by_its_node() {
        let input = || part("input", Op::Input(Shape::map(2, 3, 3)), &[]);
        let linear = Op::Linear(Linear { out: 4, bias: true });
        let later = "an input belongs to another network, or to no earlier node";
        let first = "the input is the first node of a network, and the only one";
        let cases = [
            (vec![], 0, format!("logits: {later}")),
            (vec![input()], 1, format!("logits: {later}")),
            (vec![input(), part("r", Op::Relu, &[1])], 1, format!("r: {later}")),
            (vec![input(), part("r", Op::Relu, &[usize::MAX])], 1, format!("r: {later}")),
            (vec![part("r", Op::Relu, &[])], 0, format!("r: {first}")),
            (vec![input(), input()], 0, format!("input: {first}")),
            (vec![input(), part("r", Op::Relu, &[])], 1, "r: found 0 inputs, expected one".into()),
            (
                vec![input(), part("fc", linear, &[0])],
                1,
                "fc: found an input of shape 2×3×3, expected a row (flatten first)".into(),
            ),
            (vec![input(), part("input", Op::Relu, &[0])], 1, "input: the name is taken".into()),
        ];
        for (parts, output, expected) in cases {
            let outputs = [(String::from("logits"), output)];
            let error = Graph::assemble(parts, &outputs).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert!(Graph::assemble(vec![input()], &[]).is_err());
    }
}
