//! A graph as the rows of a table: what follows a layer and only changes its values one by one
//! belongs to the row of that layer.

use striate_graph::{Cost, Graph, Node, Op, Shape};

/// A row: a layer, and what follows it.
pub(crate) struct Layer<'g> {
    pub(crate) node: &'g Node,
    /// The shapes it reads.
    pub(crate) inputs: Vec<Shape>,
    /// The rows it reads, as positions in the list of rows.
    pub(crate) reads: Vec<usize>,
    pub(crate) cost: Cost,
    /// Activation, dropout, flattening behind it.
    pub(crate) then: Vec<&'g Op>,
    /// Whether an output of the network is in this row.
    pub(crate) is_output: bool,
}

/// The rows of a network, in the order of execution; the first is the input.
pub(crate) fn layers(graph: &Graph) -> Vec<Layer<'_>> {
    let uses = graph.uses();
    let mut rows: Vec<Layer> = Vec::new();
    let mut row_of = vec![0; graph.nodes().len()];
    for ((id, node), cost) in graph.iter().zip(graph.cost()) {
        row_of[id.index()] = match node.inputs[..] {
            [input] if follows(&node.op) && uses[input.index()] == 1 => {
                let row = row_of[input.index()];
                rows[row].then.push(&node.op);
                row
            }
            _ => {
                let reads = node.inputs.iter().map(|input| row_of[input.index()]).collect();
                let inputs = graph.input_shapes(node);
                rows.push(Layer { node, inputs, reads, cost, then: vec![], is_output: false });
                rows.len() - 1
            }
        };
    }
    for output in graph.outputs() {
        rows[row_of[output.node.index()]].is_output = true;
    }
    rows
}

/// Whether an operation is told in the row of the layer before it.
fn follows(op: &Op) -> bool {
    match op {
        Op::Relu
        | Op::Clip(_)
        | Op::Tanh(_)
        | Op::Sigmoid
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Dropout(_)
        | Op::Flatten => true,
        Op::Input(_)
        | Op::Conv2d(_)
        | Op::Linear(_)
        | Op::Pool(_)
        | Op::AdaptiveAvgPool(_)
        | Op::Subsample(_)
        | Op::BatchNorm(_)
        | Op::Lrn(_)
        | Op::Rbf(_)
        | Op::Add
        | Op::AddScaled(_)
        | Op::Concat
        | Op::Shortcut(_) => false,
    }
}

impl Layer<'_> {
    /// Whether the row reads the one above it and no other.
    pub(crate) fn reads_previous(&self, index: usize) -> bool {
        match self.reads[..] {
            [] => true,
            [read] => read + 1 == index,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use striate_graph::add;

    #[test]
    fn a_value_that_others_read_keeps_its_row() {
        let graph = Graph::build(Shape::map(3, 8, 8), |x| {
            let x = x.at("conv1").conv(3, 3).relu();
            let y = x.at("conv2").conv(3, 3);
            add(y, y.relu()).flatten()
        })
        .unwrap();
        let rows = layers(&graph);
        let names: Vec<_> = rows.iter().map(|row| row.node.name.as_str()).collect();
        assert_eq!(names, ["input", "conv1", "conv2", "conv2.relu", "conv2.add"]);
        assert_eq!(rows[1].then, [&Op::Relu]);
        assert_eq!(rows[4].reads, [2, 3]);
        assert!(rows[4].is_output && !rows[3].is_output);
    }
}
