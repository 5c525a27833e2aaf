//! The document of `show --json`; its keys are a contract.

use serde_json::{Map, Value, json};
use striate_graph::{Cost, Graph, Node};

use crate::Heading;
use crate::attribute::{Attribute, attributes};
use crate::number::times;

pub(crate) fn document(graph: &Graph, heading: &Heading, batch: usize) -> String {
    let paper = heading.paper.map(|paper| {
        json!({ "title": paper.title, "authors": paper.authors, "year": paper.year, "id": paper.id })
    });
    let layers = graph.nodes().iter().zip(graph.cost()).enumerate().skip(1);
    let layers: Vec<Value> =
        layers.map(|(i, (node, cost))| layer(graph, heading, i, node, cost, batch)).collect();
    let outputs = graph.outputs().iter();
    let outputs = outputs.map(|o| json!({ "name": o.name, "node": graph.node(o.node).name }));
    let Cost { params, macs, connections, activations } = graph.total();
    let document = json!({
        "name": heading.name,
        "title": heading.title,
        "family": heading.family,
        "edition": heading.edition,
        "paper": paper,
        "input": graph.input().extents(),
        "classes": graph.classes(),
        "batch": batch,
        "layers": layers,
        "outputs": outputs.collect::<Vec<_>>(),
        "totals": {
            "params": params,
            "trainable": params,
            "buffers": graph.buffers(),
            "macs": times(batch, macs),
            "connections": times(batch, connections),
            "activations": times(batch, activations),
            "weight_bytes": 4 * params,
            "activation_bytes": times(batch, 4 * activations),
            "planned_peak_bytes": heading.planned_peak_bytes,
        },
    });
    format!("{document}\n")
}

fn layer(
    graph: &Graph,
    heading: &Heading,
    index: usize,
    node: &Node,
    cost: Cost,
    batch: usize,
) -> Value {
    let shapes = graph.input_shapes(node);
    let inputs = node.inputs.iter().map(|&input| graph.node(input).name.as_str());
    let mut layer = Map::new();
    layer.insert("name".into(), json!(node.name));
    if !node.op.slots(&shapes).is_empty() {
        layer.insert("weights".into(), json!(heading.weights_of(index, &node.name)));
    }
    layer.insert("op".into(), json!(node.op.kind()));
    layer.insert("inputs".into(), json!(inputs.collect::<Vec<_>>()));
    let told = attributes(&node.op, &shapes).into_iter();
    for (name, value) in told.filter(|(_, value)| *value != Attribute::Bits(vec![])) {
        layer.insert(name.into(), value.json());
    }
    layer.insert("output".into(), json!(node.shape.extents()));
    layer.insert("params".into(), json!(cost.params));
    layer.insert("macs".into(), json!(times(batch, cost.macs)));
    layer.insert("connections".into(), json!(times(batch, cost.connections)));
    layer.insert("activations".into(), json!(times(batch, cost.activations)));
    Value::Object(layer)
}
