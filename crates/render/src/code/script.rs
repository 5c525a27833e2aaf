//! What the programs in Python share: what stands at their top and end, and how they say numbers.

use std::collections::BTreeMap;

use striate_graph::{Node, NodeId};

use super::class::{Argument, Class, Expr, Value};
use super::names::Renaming;
use super::python::{Py, keyword, quoted};
use super::words::usual;
use super::{Source, wrapped};

impl Source<'_> {
    /// The lines at the top.
    pub(crate) fn docstring(&self, framework: &str) -> String {
        let mut text = format!("\"\"\"{} in {framework}.\n", self.heading.name);
        if let Some(cited) = self.cited() {
            text.push('\n');
            text.push_str(&wrapped(&cited));
        }
        let (input, classes) = (self.graph.input(), self.graph.classes());
        text + &format!("\nInput {input}, {classes} classes.\n\"\"\"\n").replace('\\', "\\\\")
    }

    /// `build`.
    pub(crate) fn build(&self, classes: bool) -> String {
        let name = self.class_name();
        let n = self.graph.classes();
        let (parameter, argument) = match classes {
            true => (format!("classes={n}"), "classes"),
            false => (String::new(), ""),
        };
        format!(
            "\n\ndef build({parameter}):\n    \"\"\"The network, its weights drawn at random.\"\"\"\n    \
             return {name}({argument})\n"
        )
    }

    /// Patterns of what weight files call the layers and what takes their place, if these are not
    /// the names in the code.
    pub(crate) fn names(&self, keys: &BTreeMap<NodeId, String>) -> Option<Py> {
        let pair = |row: &Renaming| {
            let here = row.here.iter().enumerate().map(|(i, piece)| match i {
                0 => piece.clone(),
                i => format!("\\{i}{piece}"),
            });
            let here: String = here.collect();
            Py::tuple(vec![Py::text(raw(&row.pattern())), Py::text(raw(&format!("{here}.")))])
        };
        let rows = self.renamings(keys);
        (!rows.is_empty()).then(|| Py::Row("[", rows.iter().map(pair).collect(), "]"))
    }
}

/// A string, raw if it has a backslash.
fn raw(text: &str) -> String {
    match text.contains('\\') && !text.contains('"') {
        true => format!("r\"{text}\""),
        false => quoted(text),
    }
}

/// The codes of a network that ends in distances to them, as strings.
pub(crate) fn codes(node: &Node) -> Option<Py> {
    let rows = super::codes(node)?.into_iter().map(|row| Py::text(quoted(&row)));
    Some(Py::Row("[", rows.collect(), "]"))
}

/// A line of documentation.
pub(crate) fn docstring(text: &str) -> String {
    format!("\"\"\"{}\"\"\"", text.replace('\\', "\\\\").replace('"', "'"))
}

/// An expression; `object` comes before an argument.
pub(crate) fn spoken(expr: &Expr, object: &str) -> String {
    match expr {
        Expr::Same(value) => literal(*value),
        Expr::Argument { name, times: 1 } => format!("{object}{name}"),
        Expr::Argument { name, times } => format!("{times} * {object}{name}"),
    }
}

pub(crate) fn literal(value: Value) -> String {
    match value {
        Value::Number(n) => n.to_string(),
        Value::Pair(h, w) => format!("({h}, {w})"),
        // Top and bottom, left and right, as Keras has it; PyTorch pads these elsewhere.
        Value::Sides([top, left, bottom, right]) => {
            format!("(({top}, {bottom}), ({left}, {right}))")
        }
        Value::Flag(yes) => String::from(if yes { "True" } else { "False" }),
    }
}

/// What a class is called with: what has a usual value by name, if it is another.
pub(crate) fn arguments(class: &Class<'_>, exprs: &[Expr]) -> Vec<Py> {
    let argument = |(argument, expr): (&Argument, &Expr)| match (
        argument.role.default().is_some(),
        usual(expr, argument.role),
    ) {
        (true, true) => None,
        (true, false) => Some(format!("{}={}", argument.name, spoken(expr, ""))),
        (false, _) => Some(spoken(expr, "")),
    };
    class.arguments.iter().zip(exprs).filter_map(argument).map(Py::text).collect()
}

/// A loop over what differs between several calls.
pub(crate) struct Table {
    /// What the columns are called.
    pub(crate) words: Vec<String>,
    pub(crate) rows: Py,
    /// What a call is made with in the loop.
    pub(crate) arguments: Vec<Py>,
}

/// A table of calls that say their arguments in the same way; `words` are what the arguments
/// without a word of their own are called.
pub(crate) fn table(names: Vec<String>, calls: Vec<Vec<Py>>, words: &[&str]) -> Table {
    let first = &calls[0];
    let word = |at: usize| match keyword(&first[at]) {
        Some((word, _)) => word.to_owned(),
        None => words.get(at).map_or_else(|| format!("value_{at}"), |word| (*word).to_owned()),
    };
    let varies = |at: &usize| calls.iter().any(|items| items[*at] != first[*at]);
    let columns: Vec<usize> = (0..first.len()).filter(varies).collect();
    let row = |(name, items): (String, &Vec<Py>)| {
        let value = |&at: &usize| match keyword(&items[at]) {
            Some((_, value)) => Py::text(value),
            None => items[at].clone(),
        };
        let values = columns.iter().map(value);
        match columns.is_empty() {
            true => Py::Text(name),
            false => Py::tuple(std::iter::once(Py::Text(name)).chain(values).collect()),
        }
    };
    let rows = Py::Row("(", names.into_iter().zip(&calls).map(row).collect(), ")");
    let argument = |(at, item): (usize, &Py)| match (columns.contains(&at), keyword(item)) {
        (false, _) => item.clone(),
        (true, None) => Py::text(word(at)),
        (true, Some((word, _))) => Py::text(format!("{word}={word}")),
    };
    let arguments = first.iter().enumerate().map(argument).collect();
    let said = std::iter::once(String::from("name")).chain(columns.iter().map(|&at| word(at)));
    Table { words: said.collect(), rows, arguments }
}

pub(crate) const RENAMED: &str = r#"

def renamed(name):
    """What a layer of a weight file is called here."""
    for pattern, here in NAMES:
        name, found = re.subn(pattern, here, name)
        if found:
            break
    return name
"#;
