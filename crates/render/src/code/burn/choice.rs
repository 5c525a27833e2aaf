//! Items of a vector that are of several classes: an enumeration of these.

use std::collections::BTreeSet;

use crate::code::class::Class;
use crate::code::lines::Lines;
use crate::code::outline::{Body, Step, What};

/// An enumeration of classes, each a variant.
pub(super) struct Choice {
    pub(super) name: String,
    /// The classes, and what they are called in it.
    pub(super) variants: Vec<(usize, String)>,
}

/// The classes of the items of a sequence.
pub(super) fn classes(steps: &[Step<'_>]) -> BTreeSet<usize> {
    let class = |step: &Step<'_>| match step.what {
        What::Part(class) => Some(class),
        What::Op(_) | What::ConvNorm(..) | What::Sequence(_) | What::Optional(_) => None,
    };
    steps.iter().filter_map(class).collect()
}

/// The enumerations that the sequences of some bodies need; `taken`: names of others.
pub(super) fn choices<'c, 'g: 'c>(
    bodies: impl Iterator<Item = &'c Body<'g>>,
    all: &[Class<'_>],
    taken: impl Fn(&str) -> bool,
) -> Vec<Choice> {
    let mut sets: Vec<BTreeSet<usize>> = Vec::new();
    for step in bodies.flat_map(|body| &body.steps) {
        let chain = match &step.what {
            What::Optional(chain) => &chain[..],
            What::Op(_) | What::ConvNorm(..) | What::Part(_) | What::Sequence(_) => {
                std::slice::from_ref(step)
            }
        };
        for step in chain {
            let What::Sequence(items) = &step.what else { continue };
            let set = classes(items);
            if set.len() > 1 && !sets.contains(&set) {
                sets.push(set);
            }
        }
    }
    let mut choices: Vec<Choice> = Vec::new();
    for set in sets {
        // `BasicBlockA` and `BasicBlockB` are a `BasicBlock`, the one or the other.
        let names: Vec<&str> = set.iter().map(|&class| &all[class].name[..]).collect();
        let shared = names.iter().skip(1).fold(names[0], |shared, name| {
            let alike = shared.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
            &shared[..alike]
        });
        let is_name = |name: &str| name.starts_with(|c: char| c.is_ascii_uppercase());
        let apart = names.iter().all(|name| is_name(&name[shared.len()..]));
        let (prefix, mut name) = match apart && !shared.is_empty() {
            true => (shared.len(), shared.to_owned()),
            false => (0, String::from("Part")),
        };
        while taken(&name) || choices.iter().any(|choice| choice.name == name) {
            name.push_str("Kind");
        }
        let variants = set.iter().map(|&class| (class, all[class].name[prefix..].to_owned()));
        choices.push(Choice { name, variants: variants.collect() });
    }
    choices
}

impl Choice {
    /// The enumeration, which computes what its item does.
    pub(super) fn written(&self, lines: &mut Lines, classes: &[Class<'_>], rank: usize) {
        let Choice { name, variants } = self;
        lines.line("\n/// The one or the other, as they follow each other.");
        lines.line("#[derive(Module, Debug)]");
        lines.line(format!("pub enum {name} {{"));
        for (class, variant) in variants {
            lines.line(format!("    {variant}({}),", classes[*class].name));
        }
        lines.line("}\n");
        lines.line(format!("impl {name} {{"));
        lines.line(format!("    pub fn forward(&self, x: Tensor<{rank}>) -> Tensor<{rank}> {{"));
        lines.line("        match self {");
        for (_, variant) in variants {
            lines.line(format!("            Self::{variant}(block) => block.forward(x),"));
        }
        lines.lines("        }\n    }\n}");
    }
}
