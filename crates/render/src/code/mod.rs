//! A network as the source code a person would have written: classes and loops where it repeats.

mod burn;
mod class;
mod flow;
mod keras;
mod lines;
mod names;
mod outline;
mod python;
mod pytorch;
mod rust;
mod script;
mod words;

use striate_graph::{Graph, Naming, Node, Op};

use crate::{Heading, Paper};

/// What the code is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framework {
    /// Modules of `torch.nn`.
    PyTorch,
    /// A `keras.Model`, pictures as rows of pixels with their channels last.
    Keras,
    /// Modules of Burn, in Rust.
    Burn,
}

/// A program that builds the network: `build(classes=…)` makes it, in Rust its type's `new`, and
/// `load_weights(model, path)` fills it from a safetensors file, whose tensors are called as `naming`
/// says, or as the nodes are.
///
/// Layers are called as the nodes are. The program needs the framework and nothing else, and is
/// formatted as `black` or `rustfmt` does.
pub fn code(graph: &Graph, heading: &Heading<'_>, naming: &Naming, framework: Framework) -> String {
    let name = if heading.name.is_empty() { "network" } else { heading.name };
    let source = Source { graph, heading: &Heading { name, ..*heading }, naming };
    match framework {
        Framework::PyTorch => pytorch::program(&source),
        Framework::Keras => keras::program(&source),
        Framework::Burn => burn::program(&source),
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

    /// Whose paper it is from.
    fn cited(&self) -> Option<String> {
        let Paper { title, authors, year, id } = self.heading.paper?;
        Some(format!("{authors} ({year}): {title}. {id}"))
    }
}

/// The codes of a network that ends in distances to them: `#` is +1 and `.` is -1.
fn codes(node: &Node) -> Option<Vec<String>> {
    let Op::Rbf(rbf) = &node.op else { return None };
    let row = |code: &Vec<bool>| code.iter().map(|&up| if up { '#' } else { '.' }).collect();
    Some(rbf.codes.iter().map(row).collect())
}

/// A number with as few digits as tell it from all others.
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
