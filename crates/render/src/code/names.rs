//! What weight files call the layers, if these are not the names in the code.

use std::collections::BTreeMap;

use striate_graph::{Naming, Node, NodeId};

use super::Source;

/// What a file calls layers and what they are called in the code; between two pieces of a name
/// stands what is alike in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renaming {
    pub(crate) file: Vec<String>,
    pub(crate) here: Vec<String>,
}

impl Source<'_> {
    /// All renamings; where several fit, the first is meant. `keys`: the names in the code.
    pub(crate) fn renamings(&self, keys: &BTreeMap<NodeId, String>) -> Vec<Renaming> {
        let files = self.naming.keys(self.graph);
        let layers: Vec<(&Node, &str, &str)> = self
            .graph
            .iter()
            .filter(|(_, node)| node.op.has_parameters())
            .filter_map(|(id, node)| {
                Some((node, files[id.index()].as_str(), keys.get(&id)?.as_str()))
            })
            .collect();
        // By the rules of the naming where the code has the names of the nodes.
        let plain = layers.iter().all(|(node, _, key)| node.name == *key);
        let rules: &[(&str, &str)] = if plain { self.naming.rules } else { &[] };
        // A rule that comes first is the narrower one.
        let mut rows: Vec<(Option<usize>, Renaming)> = Vec::new();
        for &(node, file, key) in layers.iter().filter(|(_, file, key)| file != key) {
            let at = rules.iter().position(|(pattern, _)| Naming::fits(pattern, &node.name));
            let pieces = |text: &str| text.split('*').map(str::to_owned).collect();
            let row = match at {
                Some(at) => Renaming { file: pieces(rules[at].1), here: pieces(rules[at].0) },
                None => Renaming { file: vec![file.to_owned()], here: vec![key.to_owned()] },
            };
            if !rows.iter().any(|(_, other)| *other == row) {
                rows.push((at, row));
            }
        }
        rows.sort_by_key(|(at, _)| *at);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

impl Renaming {
    /// What begins the name of a layer in a file, as a regular expression.
    pub(crate) fn pattern(&self) -> String {
        let pieces: Vec<String> = self.file.iter().map(|piece| escaped(piece)).collect();
        format!("^{}\\.", pieces.join("(.+?)"))
    }
}

/// A name as a regular expression.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '/' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
