use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};
use striate_graph::{Cost, Graph, Node, NodeId, Op};

use crate::align::{Alignment, align, unpaired};
use crate::attribute::{Attribute, attributes};
use crate::grid::{Cell, Column, Grid, printable};
use crate::phrase::phrase;
use crate::{Heading, number};

/// What differs between two networks, `a` and `b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// What the two are called.
    pub names: [String; 2],
    /// What differs in the whole: input, classes, outputs.
    pub network: Vec<Change>,
    /// Layers that both have, with other attributes or other inputs.
    pub layers: Vec<LayerDiff>,
    /// Layers that one of them has alone.
    pub only: [Vec<OneSided>; 2],
    /// Layers that both have under different names. That alone is no difference.
    pub renamed: Vec<[String; 2]>,
    /// Parameters, multiply-adds, activations, whether they differ or not.
    pub totals: Vec<Total>,
}

/// An attribute with two values.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its name.
    pub attribute: &'static str,
    /// Its value in the first network.
    pub a: Attribute,
    /// Its value in the second.
    pub b: Attribute,
}

/// A layer that both networks have, and what differs in it.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDiff {
    /// What it is called in each.
    pub names: [String; 2],
    /// The kind of operation, in the first network.
    pub op: &'static str,
    /// What differs.
    pub changes: Vec<Change>,
}

/// A layer that one network has alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneSided {
    /// What it is called.
    pub name: String,
    /// The kind of operation.
    pub op: &'static str,
    /// The operation in a few words.
    pub phrase: String,
}

/// A total of both networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// Of what, as in the JSON of a network.
    pub name: &'static str,
    /// In the first network.
    pub a: u64,
    /// In the second.
    pub b: u64,
}

/// What differs between two networks. Layers are matched by name, and where names differ by what
/// they do and where they stand. A shape that differs because an earlier layer does is not told
/// again.
pub fn diff(a: &Graph, heading_a: &Heading, b: &Graph, heading_b: &Heading) -> Diff {
    let pairs = align(a, b);
    let (mut layers, mut renamed) = (Vec::new(), Vec::new());
    for (i, j) in pairs.pairs().skip(1) {
        let (node_a, node_b) = (&a.nodes()[i], &b.nodes()[j]);
        let names = [node_a.name.clone(), node_b.name.clone()];
        if names[0] != names[1] {
            renamed.push(names.clone());
        }
        let mut changes = attribute_changes((a, node_a), (b, node_b));
        changes.extend(input_change(a, b, &pairs, i, j));
        if !changes.is_empty() {
            layers.push(LayerDiff { names, op: node_a.op.kind(), changes });
        }
    }
    let one_sided = |graph: &Graph, partners: &[Option<usize>]| {
        let nodes = unpaired(partners).into_iter().map(|i| &graph.nodes()[i]);
        nodes
            .map(|node| OneSided {
                name: node.name.clone(),
                op: node.op.kind(),
                phrase: phrase(&node.op),
            })
            .collect()
    };
    Diff {
        names: [heading_a.name.to_owned(), heading_b.name.to_owned()],
        network: network_changes(a, b),
        layers,
        only: [one_sided(a, &pairs.to_b), one_sided(b, &pairs.to_a)],
        renamed,
        totals: totals(a, b),
    }
}

fn network_changes(a: &Graph, b: &Graph) -> Vec<Change> {
    let heads = |graph: &Graph| {
        Attribute::Names(graph.outputs().iter().map(|output| output.name.clone()).collect())
    };
    let mut changes = vec![
        Change {
            attribute: "input",
            a: Attribute::Shape(a.input()),
            b: Attribute::Shape(b.input()),
        },
        Change {
            attribute: "classes",
            a: Attribute::Count(a.classes()),
            b: Attribute::Count(b.classes()),
        },
    ];
    // As with layers, to be called otherwise is no difference.
    if a.outputs().len() != b.outputs().len() {
        changes.push(Change { attribute: "outputs", a: heads(a), b: heads(b) });
    }
    changes.retain(|change| change.a != change.b);
    changes
}

/// A total as JSON calls it, as people call it, and where it is.
type Figure = (&'static str, &'static str, fn(Cost) -> u64);

const TOTALS: [Figure; 3] = [
    ("params", "Parameters", |cost| cost.params),
    ("macs", "Multiply-adds", |cost| cost.macs),
    ("activations", "Activations", |cost| cost.activations),
];

fn totals(a: &Graph, b: &Graph) -> Vec<Total> {
    let (a, b) = (a.total(), b.total());
    TOTALS.iter().map(|(name, _, of)| Total { name, a: of(a), b: of(b) }).collect()
}

fn attribute_changes((a, node_a): (&Graph, &Node), (b, node_b): (&Graph, &Node)) -> Vec<Change> {
    let kind = |node: &Node| Attribute::Names(vec![node.op.kind().to_owned()]);
    if node_a.op.kind() != node_b.op.kind() {
        return vec![Change { attribute: "op", a: kind(node_a), b: kind(node_b) }];
    }
    let both = attributes(&node_a.op, &a.input_shapes(node_a))
        .into_iter()
        .zip(attributes(&node_b.op, &b.input_shapes(node_b)));
    let changes = both.map(|((attribute, a), (_, b))| Change { attribute, a, b });
    changes.filter(|change| change.a != change.b).collect()
}

/// Whether two layers read different layers. Layers in between that one network has alone are seen
/// through, as they are told on their own.
fn input_change(a: &Graph, b: &Graph, pairs: &Alignment, i: usize, j: usize) -> Option<Change> {
    let (node_a, node_b) = (&a.nodes()[i], &b.nodes()[j]);
    let read = |graph: &Graph, node: &Node, partners: &[Option<usize>]| -> Option<Vec<usize>> {
        node.inputs.iter().map(|&input| paired_source(graph, input, partners)).collect()
    };
    let read_a = read(a, node_a, &pairs.to_b)?;
    let mut read_b = read(b, node_b, &pairs.to_a)?;
    let mut read_a: Vec<usize> = read_a.into_iter().filter_map(|i| pairs.to_b[i]).collect();
    if matches!(node_a.op, Op::Add) {
        read_a.sort_unstable();
        read_b.sort_unstable();
    }
    let names = |graph: &Graph, node: &Node| {
        Attribute::Names(node.inputs.iter().map(|&id| graph.node(id).name.clone()).collect())
    };
    (read_a != read_b).then(|| Change {
        attribute: "inputs",
        a: names(a, node_a),
        b: names(b, node_b),
    })
}

/// The nearest layer upstream that both networks have, if there is one way to it.
fn paired_source(graph: &Graph, mut id: NodeId, partners: &[Option<usize>]) -> Option<usize> {
    while partners[id.index()].is_none() {
        let [input] = graph.node(id).inputs[..] else { return None };
        id = input;
    }
    Some(id.index())
}

impl Diff {
    /// Whether the two are the same network, whatever their layers are called.
    pub fn is_empty(&self) -> bool {
        let same_totals = self.totals.iter().all(|total| total.a == total.b);
        let same_layers = self.layers.is_empty() && self.only.iter().all(Vec::is_empty);
        self.network.is_empty() && same_layers && same_totals
    }

    /// For people, ending in a line break.
    pub fn text(&self) -> String {
        let [a, b] = &self.names;
        let mut out = format!("{a} | {b}\n");
        let mut part = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let _ = write!(out, "\n{title}\n  {}\n", lines.join("\n  "));
            }
        };
        part("The networks differ in", self.network.iter().map(told).collect());
        let differences = self.layers.iter().map(|layer| {
            let changes: Vec<String> = layer.changes.iter().map(told).collect();
            (layer.names[0].as_str(), layer.op, changes.join(", "))
        });
        part(&count(self.layers.len(), "differs", "differ"), summed_up(differences.collect()));
        for (name, only) in self.names.iter().zip(&self.only) {
            let layers = only.iter().map(|one| (one.name.as_str(), "", one.phrase.clone()));
            let title = count(only.len(), "is", "are");
            part(&format!("{title} in {name} alone"), summed_up(layers.collect()));
        }
        let renamed = self.renamed.iter().map(|[a, b]| format!("{a} | {b}"));
        let shown: Vec<String> = renamed.clone().take(MANY).collect();
        let more = renamed.len() - shown.len();
        let more = (more > 0).then(|| format!("… and {more} more"));
        let title = count(self.renamed.len(), "has another name", "have other names");
        part(&title, shown.into_iter().chain(more).collect());
        if self.is_empty() {
            out += "\nNo difference.\n";
        }
        let printed: Vec<String> = out.lines().map(printable).collect();
        format!("{}\n\n{}", printed.join("\n"), self.totals_table().text())
    }

    fn totals_table(&self) -> Grid {
        let row = |(total, (_, name, _)): (&Total, &Figure)| {
            let change = match (total.b as f64 / total.a as f64 - 1.0) * 100.0 {
                _ if total.a == total.b => String::from("same"),
                percent if percent.is_finite() => format!("{percent:+.1} %"),
                _ => String::new(),
            };
            vec![Cell::text(*name), Cell::Count(total.a), Cell::Count(total.b), Cell::Text(change)]
        };
        let [a, b] = self.names.clone();
        Grid {
            columns: vec![
                Column::left("Total"),
                Column::right(a),
                Column::right(b),
                Column::right("Change"),
            ],
            rows: self.totals.iter().zip(&TOTALS).map(row).collect(),
            ..Grid::default()
        }
    }

    /// One document, ending in a line break.
    pub fn json(&self) -> String {
        let [a, b] = &self.names;
        let change =
            |c: &Change| json!({ "attribute": c.attribute, "a": c.a.json(), "b": c.b.json() });
        let changes = |all: &[Change]| -> Vec<Value> { all.iter().map(change).collect() };
        let only = |all: &[OneSided]| -> Vec<Value> {
            all.iter().map(|one| json!({ "name": one.name, "op": one.op })).collect()
        };
        let layers = self.layers.iter().map(|layer| {
            let [a, b] = &layer.names;
            json!({ "a": a, "b": b, "op": layer.op, "changes": changes(&layer.changes) })
        });
        let renamed = self.renamed.iter().map(|[a, b]| json!({ "a": a, "b": b }));
        let totals = self.totals.iter();
        let totals = totals.map(|t| (t.name.to_owned(), json!({ "a": t.a, "b": t.b })));
        let document = json!({
            "a": a,
            "b": b,
            "equal": self.is_empty(),
            "network": changes(&self.network),
            "layers": layers.collect::<Vec<_>>(),
            "only_a": only(&self.only[0]),
            "only_b": only(&self.only[1]),
            "renamed": renamed.collect::<Vec<_>>(),
            "totals": Value::Object(totals.collect()),
        });
        format!("{document}\n")
    }
}

/// `stride 1×1 | 2×2`.
fn told(change: &Change) -> String {
    format!("{} {} | {}", change.attribute, change.a, change.b)
}

fn count(n: usize, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 layer {one}"),
        _ => format!("{} layers {many}", number::thousands(n as u64)),
    }
}

/// Where as many layers are alike, they are told in one line.
const MANY: usize = 4;

/// A line a layer: its name, and what is said of it. The kind is told where layers are alike.
fn summed_up(layers: Vec<(&str, &str, String)>) -> Vec<String> {
    let mut alike: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
    for (name, kind, said) in &layers {
        alike.entry((kind, said)).or_default().push(name);
    }
    let alone = alike.values().filter(|names| names.len() < MANY).flatten();
    let longest = alone.map(|name| name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (name, kind, said) in &layers {
        match &alike[&(*kind, said.as_str())][..] {
            names @ [first, .., last] if names.len() >= MANY => {
                if first == name {
                    let kind = if kind.is_empty() { "" } else { &format!("{kind}: ") };
                    lines.push(format!("{} × {kind}{said} ({first} … {last})", names.len()));
                }
            }
            _ => lines.push(format!("{name:longest$}  {said}")),
        }
    }
    lines
}
