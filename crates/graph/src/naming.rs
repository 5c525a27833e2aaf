use crate::{Graph, NodeId, Op};

/// What the parameters of a network are called in files, as data.
///
/// A node `conv1_1` may be `features.0` in torchvision's `state_dict`. Rules are tried in order and
/// the first that fits is taken; a node that none fits keeps its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naming {
    /// `(pattern, key)`: a `*` in the pattern stands for one or more characters, and what it stood
    /// for is put in place of the `*` in the key, in order.
    pub rules: &'static [(&'static str, &'static str)],
    /// `(first node, prefix)`: from that node on, layers are numbered from 0 behind the prefix, as
    /// in an `nn.Sequential`.
    pub sequences: &'static [(&'static str, &'static str)],
    /// `(kind, word)`: operations of that kind are counted, `word`, `word_1`, …, as Keras counts
    /// layers that were given no name.
    pub counted: &'static [(&'static str, &'static str)],
}

impl Naming {
    /// Files use the names of the nodes.
    pub const NODES: Naming = Naming { rules: &[], sequences: &[], counted: &[] };

    /// Files use the names of the nodes, with dots where these have slashes, as Caffe's layers do: a
    /// module is called so, or a layer of Keras's. Names in more than five parts keep some.
    pub const DOTS: Naming = Naming::rules(&[
        ("*/*/*/*/*", "*.*.*.*.*"),
        ("*/*/*/*", "*.*.*.*"),
        ("*/*/*", "*.*.*"),
        ("*/*", "*.*"),
    ]);

    /// Names by rules alone.
    pub const fn rules(rules: &'static [(&'static str, &'static str)]) -> Naming {
        Naming { rules, ..Naming::NODES }
    }

    /// Names by sequences alone.
    pub const fn sequences(sequences: &'static [(&'static str, &'static str)]) -> Naming {
        Naming { sequences, ..Naming::NODES }
    }

    /// Whether a rule's pattern fits the name of a node.
    pub fn fits(pattern: &str, node: &str) -> bool {
        matches(pattern, node).is_some()
    }

    /// The key of each node, in order; behind it come `.weight`, `.bias`, ….
    pub fn keys(&self, graph: &Graph) -> Vec<String> {
        let mut sequence: Option<(&str, usize)> = None;
        let mut counts = vec![0; self.counted.len()];
        let key = |(_, node): (NodeId, &crate::Node)| {
            if let Some((_, prefix)) = self.sequences.iter().find(|(first, _)| *first == node.name)
            {
                sequence = Some((prefix, 0));
            }
            let numbered = sequence.as_mut().map(|(prefix, next)| {
                let key = format!("{prefix}.{next}");
                // Flattening is a call there, not a layer.
                *next += usize::from(!matches!(node.op, Op::Flatten));
                key
            });
            let ruled = self.rules.iter().find_map(|(pattern, key)| {
                let found = matches(pattern, &node.name)?;
                let mut pieces = key.split('*');
                let mut text = String::from(pieces.next().unwrap_or_default());
                for (part, piece) in found.iter().zip(pieces) {
                    text.push_str(part);
                    text.push_str(piece);
                }
                Some(text)
            });
            let mut counted = || {
                let kind = self.counted.iter().position(|(kind, _)| *kind == node.op.kind())?;
                let (count, word) = (counts[kind], self.counted[kind].1);
                counts[kind] += 1;
                Some(if count == 0 { word.to_owned() } else { format!("{word}_{count}") })
            };
            let key = ruled.or(numbered).or_else(&mut counted);
            key.unwrap_or_else(|| node.name.clone())
        };
        graph.iter().map(key).collect()
    }
}

/// What each `*` of the pattern stands for, if the whole name fits; a `*` takes as little as it can.
fn matches<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
    let Some((head, tail)) = pattern.split_once('*') else {
        return (pattern == name).then(Vec::new);
    };
    let rest = name.strip_prefix(head)?;
    let ends = rest.char_indices().map(|(i, c)| i + c.len_utf8());
    ends.into_iter().find_map(|end| {
        let mut found = matches(tail, &rest[end..])?;
        found.insert(0, &rest[..end]);
        Some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    #[test]
    fn patterns() {
        let cases: [(&str, &str, Option<Vec<&str>>); 5] = [
            ("conv1", "conv1", Some(vec![])),
            ("*.1x1", "3a.1x1", Some(vec!["3a"])),
            ("layer*.bn_proj", "layer1.0.bn_proj", Some(vec!["1.0"])),
            ("*.b*.bn", "a.b.bn", None),
            ("*.1x1", "3a.1x1.bn", None),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn sequences_number_layers_and_rules_go_first() {
        let graph = Graph::build(Shape::map(3, 8, 8), |x| {
            let x = x.at("conv1").conv(3, 4).relu().at("conv2").conv(3, 4).max_pool(8, 8);
            x.flatten().at("fc6").linear(2).relu().at("fc7").linear(2)
        });
        let naming = Naming {
            rules: &[("fc7", "head")],
            sequences: &[("conv1", "features"), ("fc6", "classifier")],
            ..Naming::NODES
        };
        let keys = naming.keys(&graph.unwrap());
        let named = ["features.0", "features.1", "features.2", "features.3"];
        assert_eq!(keys[1..5], named);
        assert_eq!(keys[6..], ["classifier.0", "classifier.1", "head"]);
    }

    #[test]
    fn slashes_become_dots() {
        let names = ["a", "a/b", "a/b.c/d", "a/b/c/d/e/f"];
        let graph = Graph::build(Shape::map(3, 8, 8), |x| {
            names.iter().fold(x, |x, &name| x.at(name).conv(3, 3))
        });
        let keys = Naming::DOTS.keys(&graph.unwrap());
        assert_eq!(keys[1..], ["a", "a.b", "a.b.c.d", "a.b.c.d.e/f"]);
    }

    #[test]
    fn what_no_rule_names_is_counted() {
        let graph = Graph::build(Shape::map(3, 8, 8), |x| {
            x.at("a").conv(3, 4).relu().at("b").conv(3, 4).at("c").conv(3, 4).max_pool(2, 2)
        });
        let counted = &[("conv2d", "conv2d"), ("max_pool", "max_pooling2d")];
        let naming = Naming { counted, ..Naming::rules(&[("b", "named")]) };
        let keys = naming.keys(&graph.unwrap());
        assert_eq!(keys[1..], ["conv2d", "a.relu", "named", "conv2d_1", "max_pooling2d"]);
    }
}
