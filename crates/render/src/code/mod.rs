//! A network as the source code a person would have written: classes and loops where it repeats.

mod class;
mod flow;
mod keras;
mod outline;
mod python;
mod pytorch;
mod words;

use std::collections::BTreeMap;

use striate_graph::{Graph, Naming, Node, NodeId, Op};

use crate::{Heading, Paper};
use python::{Py, quoted};

/// What the code is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framework {
    /// Modules of `torch.nn`.
    PyTorch,
    /// A `keras.Model`, pictures as rows of pixels with their channels last.
    Keras,
}

/// A Python program that builds the network: `build(classes=…)` makes it and
/// `load_weights(model, path)` fills it from a safetensors file, whose tensors are called as `naming`
/// says, or as the nodes are.
///
/// Layers are called as the nodes are. The program needs the framework and nothing else, and is
/// formatted as `black` does.
pub fn code(graph: &Graph, heading: &Heading<'_>, naming: &Naming, framework: Framework) -> String {
    let name = if heading.name.is_empty() { "network" } else { heading.name };
    let source = Source { graph, heading: &Heading { name, ..*heading }, naming };
    match framework {
        Framework::PyTorch => pytorch::program(&source),
        Framework::Keras => keras::program(&source),
    }
}

/// What is to be written.
struct Source<'a> {
    graph: &'a Graph,
    heading: &'a Heading<'a>,
    naming: &'a Naming,
}

impl Source<'_> {
    /// `VGG16`: the family, where the name begins with it, and the rest of the name.
    fn class_name(&self) -> String {
        let Heading { name, family, .. } = *self.heading;
        let family = family.split(' ').next().unwrap_or_default();
        let families = [family, family.trim_end_matches("Net")];
        let begun = families.iter().find_map(|family| {
            let head = name.get(..family.len())?;
            let fits = !family.is_empty() && head.eq_ignore_ascii_case(family);
            fits.then(|| format!("{family}{}", &name[family.len()..]))
        });
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let text: String = begun.as_deref().unwrap_or(name).chars().map(plain).collect();
        let word = |word: &str| {
            let mut chars = word.chars();
            chars
                .next()
                .map_or(String::new(), |c| c.to_ascii_uppercase().to_string() + chars.as_str())
        };
        let words: Vec<String> = text.split('_').map(word).collect();
        let words = words
            .into_iter()
            .map(|word| word.replace("resnet", "ResNet").replace("Resnet", "ResNet"));
        // `1_0` stays apart.
        let mut class = String::new();
        for word in words {
            let digits = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
            if digits(class.chars().last()) && digits(word.chars().next()) {
                class.push('_');
            }
            class.push_str(&word);
        }
        match class.chars().next() {
            Some(c) if c.is_ascii_alphabetic() => class,
            Some(_) | None => format!("Network{class}"),
        }
    }

    /// In a line, what network it is.
    fn about(&self) -> String {
        let Heading { name, family, edition, .. } = *self.heading;
        match (family, edition) {
            ("", _) | (_, "") => format!("{name}."),
            _ => format!("{name}: {family}, {edition} edition."),
        }
    }

    /// The lines at the top.
    fn docstring(&self, framework: &str) -> String {
        let mut text = format!("\"\"\"{} in {framework}.\n", self.heading.name);
        if let Some(Paper { title, authors, year, id }) = self.heading.paper {
            text.push('\n');
            text.push_str(&wrapped(&format!("{authors} ({year}): {title}. {id}")));
        }
        let (input, classes) = (self.graph.input(), self.graph.classes());
        text + &format!("\nInput {input}, {classes} classes.\n\"\"\"\n").replace('\\', "\\\\")
    }

    /// `build`.
    fn build(&self, classes: bool) -> String {
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
    fn names(&self, keys: &BTreeMap<NodeId, String>) -> Option<Py> {
        let files = self.naming.keys(self.graph);
        let layers: Vec<(&Node, &str, &str)> = self
            .graph
            .iter()
            .filter(|(_, node)| node.op.has_parameters())
            .filter_map(|(id, node)| {
                Some((node, files[id.index()].as_str(), keys.get(&id)?.as_str()))
            })
            .collect();
        if layers.iter().all(|(_, file, key)| file == key) {
            return None;
        }
        // By the rules of the naming where the code has the names of the nodes.
        let plain = layers.iter().all(|(node, _, key)| node.name == *key);
        let rules: &[(&str, &str)] = if plain { self.naming.rules } else { &[] };
        // A rule that comes first is the narrower one.
        let mut rows: Vec<(Option<usize>, String, String)> = Vec::new();
        for &(node, file, key) in layers.iter().filter(|(_, file, key)| file != key) {
            let at = rules.iter().position(|(pattern, _)| Naming::fits(pattern, &node.name));
            let (file, key) = match at {
                Some(at) => rule(rules[at].0, rules[at].1),
                None => (format!("^{}\\.", escaped(file)), format!("{key}.")),
            };
            let row = (at, file, key);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows.sort_by_key(|(at, ..)| *at);
        let pair = |(_, file, key): &(Option<usize>, String, String)| {
            Py::tuple(vec![Py::text(raw(file)), Py::text(raw(key))])
        };
        Some(Py::Row("[", rows.iter().map(pair).collect(), "]"))
    }
}

/// A rule of a naming backwards, as a regular expression and its replacement.
fn rule(ours: &str, theirs: &str) -> (String, String) {
    let pieces: Vec<String> = theirs.split('*').map(escaped).collect();
    let file = format!("^{}\\.", pieces.join("(.+?)"));
    let mut key = String::new();
    for (i, piece) in ours.split('*').enumerate() {
        if i > 0 {
            key.push_str(&format!("\\{i}"));
        }
        key.push_str(piece);
    }
    (file, key + ".")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if !c.is_alphanumeric() && c != '_' && c != '/' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A string, raw if it has a backslash.
fn raw(text: &str) -> String {
    match text.contains('\\') && !text.contains('"') {
        true => format!("r\"{text}\""),
        false => quoted(text),
    }
}

/// The codes of a network that ends in distances to them, as strings.
fn codes(node: &Node) -> Option<Py> {
    let Op::Rbf(rbf) = &node.op else { return None };
    let row = |code: &Vec<bool>| {
        let row: String = code.iter().map(|&up| if up { '#' } else { '.' }).collect();
        Py::text(quoted(&row))
    };
    Some(Py::Row("[", rbf.codes.iter().map(row).collect(), "]"))
}

/// A line of documentation.
fn docstring(text: &str) -> String {
    format!("\"\"\"{}\"\"\"", text.replace('\\', "\\\\").replace('"', "'"))
}

/// A number as Python reads it, with as few digits as tell it from all others.
fn real(x: f32) -> String {
    format!("{x:?}")
}

/// Lines of text.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 88 {
            lines.push_str(&line);
            lines.push('\n');
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &line + "\n"
}

const RENAMED: &str = r#"

def renamed(name):
    """What a layer of a weight file is called here."""
    for pattern, here in NAMES:
        name, found = re.subn(pattern, here, name)
        if found:
            break
    return name
"#;
