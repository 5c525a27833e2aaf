//! What weight files call the layers, as patterns that Burn's store applies one after the other.

use std::collections::{BTreeMap, BTreeSet};

use striate_graph::NodeId;

use crate::code::Source;
use crate::code::names::{Renaming, escaped};
use crate::code::outline::{norms, way};

/// A layer: its name in a file, its node's with dots, and its field with the way there.
struct Layer<'a> {
    file: &'a str,
    node: &'a str,
    path: &'a str,
    /// Whether it is a convolution in one part with its normalisation.
    is_inner: bool,
}

/// Regular expressions and what takes the place of what they find. `paths`: where the layers are.
pub(super) fn patterns(
    source: &Source<'_>,
    paths: &BTreeMap<NodeId, String>,
) -> Vec<(String, String)> {
    let graph = source.graph;
    let (files, inner) = (source.naming.keys(graph), norms(graph));
    let nodes: BTreeMap<NodeId, String> = graph.iter().map(|(id, node)| (id, way(node))).collect();
    let weighed = graph.iter().filter(|(_, node)| node.op.has_parameters());
    let layers: Vec<Layer<'_>> = weighed
        .filter_map(|(id, _)| {
            let (file, path) = (&files[id.index()], paths.get(&id)?);
            Some(Layer { file, node: &nodes[&id], path, is_inner: inner.contains_key(&id) })
        })
        .collect();
    let renamings = source.renamings(&nodes);
    let renamed = layers.iter().all(|layer| after(&renamings, layer.file) == layer.node);
    let moved = if renamed { moved(&layers) } else { None };
    let Some(moved) = moved else { return one_by_one(&layers) };
    let row = |row: &Renaming| {
        let pieces = row.here.iter().map(|piece| piece.replace('$', "$$")).enumerate();
        let here = pieces.map(|(i, piece)| match i {
            0 => piece,
            i => format!("${{{i}}}{piece}"),
        });
        (row.pattern(), here.collect::<String>() + ".")
    };
    renamings.iter().map(row).chain(moved).collect()
}

/// The name of a layer after all renamings.
fn after(renamings: &[Renaming], file: &str) -> String {
    let begun = renamings.iter().fold(format!("{file}."), |name, row| {
        let Some((found, rest)) = captured(&row.file, &name) else { return name };
        let mut here = row.here[0].clone();
        for (part, piece) in found.iter().zip(&row.here[1..]) {
            here.push_str(part);
            here.push_str(piece);
        }
        format!("{here}.{rest}")
    });
    begun.trim_end_matches('.').to_owned()
}

/// What stands between the pieces, and behind them and a dot.
fn captured<'n>(pieces: &[String], name: &'n str) -> Option<(Vec<&'n str>, &'n str)> {
    let rest = name.strip_prefix(&pieces[0][..])?;
    if pieces.len() == 1 {
        return Some((Vec::new(), rest.strip_prefix('.')?));
    }
    rest.char_indices().skip(1).find_map(|(end, _)| {
        let (mut found, behind) = captured(&pieces[1..], &rest[end..])?;
        found.insert(0, &rest[..end]);
        Some((found, behind))
    })
}

/// The way from the names of nodes to fields, if a few patterns tell it: parts of a name that are no
/// identifiers, and convolutions in one part with their normalisation.
fn moved(layers: &[Layer<'_>]) -> Option<Vec<(String, String)>> {
    let mut parts: BTreeMap<&str, &str> = BTreeMap::new();
    for layer in layers {
        let path = if layer.is_inner { layer.path.strip_suffix(".conv")? } else { layer.path };
        let (from, to): (Vec<&str>, Vec<&str>) =
            (layer.node.split('.').collect(), path.split('.').collect());
        if from.len() != to.len() {
            return None;
        }
        for (from, to) in from.into_iter().zip(to) {
            if *parts.entry(from).or_insert(to) != to {
                return None;
            }
        }
    }
    // Numbers that are names of fields, and those of items.
    let numbers = parts.iter().filter(|(from, _)| from.chars().all(|c| c.is_ascii_digit()));
    let (fields, items): (Vec<_>, Vec<_>) = numbers.partition(|(from, to)| from != to);
    let are_fields = !fields.is_empty();
    if are_fields && !items.is_empty() {
        return None;
    }
    parts.retain(|from, to| from != to);
    // A pattern finds no two neighbours, for they share a dot.
    let twice = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        parts.windows(2).any(|pair| pair[0] == pair[1])
    };
    if layers.iter().any(|layer| twice(layer.node)) {
        return None;
    }
    let mut rows = Vec::new();
    let begins = |(from, to): &(&&str, &&str)| {
        from.starts_with(|c: char| c.is_ascii_digit()) && **to == format!("n{from}")
    };
    if parts.iter().any(|part| begins(&part)) {
        let digits = if are_fields { r"(^|\.)(\d)" } else { r"(^|\.)(\d+[A-Za-z_])" };
        rows.push((digits.to_owned(), String::from("${1}n${2}")));
    }
    for (from, to) in parts.iter().filter(|part| !begins(part)) {
        rows.push((format!(r"(^|\.){}\.", escaped(from)), format!("${{1}}{to}.")));
    }
    let last = |layer: &Layer<'_>| {
        let path = if layer.is_inner { layer.path.strip_suffix(".conv") } else { Some(layer.path) };
        let last = path.and_then(|path| path.rsplit('.').next()).unwrap_or_default();
        digits(last)
    };
    let (inner, others): (Vec<&Layer<'_>>, Vec<&Layer<'_>>) =
        layers.iter().partition(|layer| layer.is_inner);
    let inner: BTreeSet<String> = inner.into_iter().map(last).collect();
    if others.into_iter().any(|layer| inner.contains(&last(layer))) {
        return None;
    }
    if !inner.is_empty() {
        let any: Vec<String> = inner.into_iter().collect();
        let pattern = format!(r"(^|\.)({})\.(weight|bias)$", any.join("|"));
        rows.push((pattern, String::from("${1}${2}.conv.${3}")));
    }
    Some(rows)
}

/// An identifier as a pattern that any numbers in it fit.
fn digits(name: &str) -> String {
    let mut pattern = String::new();
    for c in name.chars() {
        match c.is_ascii_digit() {
            true if pattern.ends_with(r"\d+") => {}
            true => pattern.push_str(r"\d+"),
            false => pattern.push(c),
        }
    }
    pattern
}

/// A row a layer. What was renamed is marked until the end, as it may be what another is called.
fn one_by_one(layers: &[Layer<'_>]) -> Vec<(String, String)> {
    let row = |layer: &Layer<'_>| {
        let pattern = format!(r"^{}\.(\w+)$", escaped(layer.file));
        (pattern, format!("={}.${{1}}", layer.path))
    };
    let rows = layers.iter().filter(|layer| layer.file != layer.path).map(row);
    let mut rows: Vec<(String, String)> = rows.collect();
    if !rows.is_empty() {
        rows.push((String::from("^="), String::new()));
    }
    rows
}
