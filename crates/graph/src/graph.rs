use std::collections::HashMap;

use crate::op::Role;
use crate::{Cost, GraphError, Op, ParamLayout, Reason, Shape};

/// The most elements a value or a tensor of parameters may have: 2³¹, or 8 GiB.
pub(crate) const MAX_VOLUME: usize = 1 << 31;

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

impl Graph {
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
