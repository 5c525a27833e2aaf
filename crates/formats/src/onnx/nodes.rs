//! A network in ONNX's terms: nodes, the tensors that are stored with them, and what all is called.

use std::collections::HashSet;

use striate_graph::{Graph, Node, Op, Param, ParamLayout};

use super::proto;

/// The nodes of a network, and the tensors that are stored with them.
#[derive(Debug)]
pub(super) struct Nodes<'a> {
    /// In the order of execution.
    pub(super) nodes: Vec<proto::Node>,
    /// Weights and other constants.
    pub(super) initializers: Vec<Initializer<'a>>,
    /// What the input is called: `input`.
    pub(super) input: String,
    /// What the outputs are called: after the heads.
    pub(super) outputs: Vec<String>,
    /// What the value of each node of the graph is called: after the node.
    pub(super) values: Vec<String>,
    layout: &'a ParamLayout,
    /// What the tensors of the layout are called: as there.
    learned: Vec<String>,
    taken: HashSet<String>,
}

/// A tensor that is stored.
#[derive(Debug)]
pub(super) struct Initializer<'a> {
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
    pub(super) values: Values<'a>,
}

/// Where the values of a tensor are.
#[derive(Debug)]
pub(super) enum Values<'a> {
    /// Of the network, each so many times in a row.
    Learned(&'a Param, usize),
    Floats(Vec<f32>),
    Integers(Vec<i64>),
}

impl<'a> Nodes<'a> {
    /// The nodes of a network with that layout, or why there are none.
    pub(super) fn new(graph: &Graph, layout: &'a ParamLayout) -> Result<Nodes<'a>, String> {
        let mut nodes = Nodes {
            nodes: Vec::new(),
            initializers: Vec::new(),
            input: String::new(),
            outputs: Vec::new(),
            values: Vec::new(),
            layout,
            learned: Vec::new(),
            // Nothing is what an operator does without.
            taken: HashSet::from([String::new()]),
        };
        // Who comes first keeps the name.
        nodes.input = nodes.take("input");
        nodes.outputs = graph.outputs().iter().map(|output| nodes.take(&output.name)).collect();
        nodes.learned = layout.params().iter().map(|param| nodes.take(&param.name)).collect();
        for (id, node) in graph.iter() {
            let inputs: Vec<_> =
                node.inputs.iter().map(|input| nodes.values[input.index()].clone()).collect();
            let value = if let Op::Input(_) = node.op {
                nodes.input.clone()
            } else if let Op::Dropout(_) = node.op {
                inputs[0].clone()
            } else {
                let head = graph.outputs().iter().position(|output| output.node == id);
                let value = match head {
                    Some(head) => nodes.outputs[head].clone(),
                    None => nodes.take(&node.name),
                };
                let mut layer = Layer { node, inputs, value, nodes: &mut nodes };
                layer.write(&graph.input_shapes(node))?;
                layer.value
            };
            nodes.values.push(value);
        }
        // An output that is the input, or an output of another name already.
        for (output, name) in graph.outputs().iter().zip(nodes.outputs.clone()) {
            let value = &nodes.values[output.node.index()];
            if *value != name {
                let input = vec![value.clone()];
                nodes.push("Identity", name.clone(), input, name, Vec::new());
            }
        }
        Ok(nodes)
    }

    /// A name that no value and no tensor has yet: this one, or with a number behind it.
    fn take(&mut self, name: &str) -> String {
        let numbered = (2..).map(|i| format!("{name}_{i}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let free = names.find(|name| !self.taken.contains(name)).unwrap_or_default();
        self.taken.insert(free.clone());
        free
    }

    fn push(
        &mut self,
        kind: &str,
        name: String,
        input: Vec<String>,
        output: String,
        attribute: Vec<proto::Attribute>,
    ) {
        let (output, op_type, domain) = (vec![output], kind.to_owned(), String::new());
        self.nodes.push(proto::Node { input, output, name, op_type, attribute, domain });
    }
}

/// A node of the graph while it is written.
pub(super) struct Layer<'n, 'a> {
    pub(super) node: &'n Node,
    pub(super) inputs: Vec<String>,
    value: String,
    nodes: &'n mut Nodes<'a>,
}

impl<'a> Layer<'_, 'a> {
    /// The node that gives the value of this one.
    pub(super) fn end(
        &mut self,
        kind: &str,
        inputs: &[impl AsRef<str>],
        attributes: Vec<proto::Attribute>,
    ) {
        let inputs = inputs.iter().map(|input| input.as_ref().to_owned()).collect();
        self.nodes.push(kind, self.node.name.clone(), inputs, self.value.clone(), attributes);
    }

    /// A node before it, without attributes; the name of its value.
    pub(super) fn step(&mut self, word: &str, kind: &str, inputs: &[&str]) -> String {
        self.step_with(word, kind, inputs, vec![])
    }

    /// A node before it; the name of its value.
    pub(super) fn step_with(
        &mut self,
        word: &str,
        kind: &str,
        inputs: &[&str],
        attributes: Vec<proto::Attribute>,
    ) -> String {
        let name = self.within(word);
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        self.nodes.push(kind, name.clone(), inputs, name.clone(), attributes);
        name
    }

    fn within(&mut self, word: &str) -> String {
        self.nodes.take(&format!("{}/{word}", self.node.name))
    }

    /// A tensor of the network; its name.
    pub(super) fn learned(&mut self, leaf: &str) -> String {
        let dims = self.slot(leaf).0.slot.shape.clone();
        self.spread(leaf, dims, 1)
    }

    /// A tensor of the network, each value so many times in a row; its name.
    pub(super) fn spread(&mut self, leaf: &str, dims: Vec<usize>, times: usize) -> String {
        let (param, name) = self.slot(leaf);
        self.store(name, dims, Values::Learned(param, times))
    }

    fn slot(&self, leaf: &str) -> (&'a Param, String) {
        let layout = self.nodes.layout;
        let at = layout.position(&format!("{}.{leaf}", self.node.name));
        let at = at.expect("an operation has the tensors that it declares");
        (&layout.params()[at], self.nodes.learned[at].clone())
    }

    /// A constant; its name.
    pub(super) fn floats(&mut self, word: &str, dims: &[usize], values: Vec<f32>) -> String {
        let name = self.within(word);
        self.store(name, dims.to_vec(), Values::Floats(values))
    }

    /// A constant; its name.
    pub(super) fn integers(&mut self, word: &str, values: Vec<i64>) -> String {
        let name = self.within(word);
        self.store(name, vec![values.len()], Values::Integers(values))
    }

    fn store(&mut self, name: String, dims: Vec<usize>, values: Values<'a>) -> String {
        self.nodes.initializers.push(Initializer { name: name.clone(), dims, values });
        name
    }
}

pub(super) fn float(name: &str, f: f32) -> proto::Attribute {
    proto::Attribute { f, ..attribute(name, proto::attribute::FLOAT) }
}

pub(super) fn int(name: &str, i: usize) -> proto::Attribute {
    proto::Attribute { i: signed(i), ..attribute(name, proto::attribute::INT) }
}

pub(super) fn ints<const N: usize>(name: &str, ints: [usize; N]) -> proto::Attribute {
    let ints = ints.map(signed).to_vec();
    proto::Attribute { ints, ..attribute(name, proto::attribute::INTS) }
}

fn attribute(name: &str, kind: i32) -> proto::Attribute {
    proto::Attribute { name: name.to_owned(), kind, ..proto::Attribute::default() }
}

/// A size as ONNX has it. What is larger than any map is as large as can be.
pub(super) fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// An operator with its values: `Gemm(x, w) → y`.
#[cfg(test)]
pub(super) fn line(node: &proto::Node) -> String {
    format!("{}({}) → {}", node.op_type, node.input.join(", "), node.output.join(", "))
}

#[cfg(test)]
mod tests {
    use striate_graph::{Shape, add};

    use super::*;

    #[test]
    fn no_two_values_have_one_name() {
        let graph = Graph::build(Shape::map(1, 2, 2), |x| {
            x.output("first");
            let y = x.at("c").conv(1, 1);
            let z = y.at("c.weight").relu();
            z.output("second");
            add(y.at("second").relu(), z.at("drop").dropout(0.5)).at("drop2").dropout(0.5)
        })
        .unwrap();
        let layout = graph.layout();
        let lines = Nodes::new(&graph, &layout).unwrap().nodes.iter().map(line).collect::<Vec<_>>();
        let expected = [
            "Conv(input, c.weight, c.bias) → c",
            "Relu(c) → second",
            "Relu(c) → second_2",
            "Add(second_2, second) → second.add",
            "Identity(second.add) → logits",
            "Identity(input) → first",
        ];
        assert_eq!(lines, expected);
    }
}
