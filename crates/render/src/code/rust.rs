//! Rust as `rustfmt` formats it.

use std::collections::HashSet;

use super::lines::{Expression, Lines};

/// The widest arguments or items on a line, and the longest chain on a line.
const ITEMS: usize = 60;
const CHAIN: usize = 60;

/// An expression, as far as it is broken over lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rust {
    /// Never broken.
    Text(String),
    /// `open`, items between commas, `close`: `f(a, b)`, `vec![a, b]`.
    List(String, Vec<Rust>, &'static str),
    /// What fields are read from and methods called on: `.forward(x)` behind `self`.
    Chain(Box<Rust>, Vec<Rust>),
    /// `project.then(|| value)`: something before the body of a closure that is the only argument.
    Closure(String, Box<Rust>),
}

impl Rust {
    pub(crate) fn text(text: impl Into<String>) -> Rust {
        Rust::Text(text.into())
    }

    /// `function(items)`.
    pub(crate) fn call(function: impl AsRef<str>, items: Vec<Rust>) -> Rust {
        Rust::List(format!("{}(", function.as_ref()), items, ")")
    }

    /// `vec![items]`.
    pub(crate) fn vec(items: Vec<Rust>) -> Rust {
        Rust::List(String::from("vec!["), items, "]")
    }

    /// `self.name(items)`.
    pub(crate) fn method(self, name: &str, items: Vec<Rust>) -> Rust {
        self.link(Rust::call(format!(".{name}"), items))
    }

    /// A field or a method, with its dot.
    pub(crate) fn link(self, link: Rust) -> Rust {
        match self.closed() {
            Rust::Chain(root, mut links) => {
                links.push(link);
                Rust::Chain(root, links)
            }
            root @ (Rust::Text(_) | Rust::List(..) | Rust::Closure(..)) => {
                Rust::Chain(Box::new(root), vec![link])
            }
        }
    }

    /// In parentheses, if it is a sum or a product.
    pub(crate) fn closed(self) -> Rust {
        match self {
            Rust::Text(text) if text.contains(' ') => Rust::Text(format!("({text})")),
            rust @ (Rust::Text(_) | Rust::List(..) | Rust::Chain(..) | Rust::Closure(..)) => rust,
        }
    }
}

impl Expression for Rust {
    const WIDTH: usize = 100;

    fn flat(&self) -> String {
        match self {
            Rust::Text(text) => text.clone(),
            Rust::List(open, items, close) => format!("{open}{}{close}", joined(items)),
            Rust::Chain(root, links) => {
                let links = links.iter().map(Rust::flat);
                root.flat() + &links.collect::<String>()
            }
            Rust::Closure(before, body) => format!("{before}{})", body.flat()),
        }
    }

    fn is_short(&self) -> bool {
        let long = |text: &str, limit: usize| text.chars().count() > limit;
        match self {
            Rust::Text(_) => true,
            Rust::List(_, items, _) => {
                !long(&joined(items), ITEMS) && items.iter().all(Rust::is_short)
            }
            Rust::Chain(root, links) => {
                let is_long = links.len() > 1 && long(&self.flat(), CHAIN);
                !is_long && root.is_short() && links.iter().all(Rust::is_short)
            }
            Rust::Closure(_, body) => body.is_short(),
        }
    }

    fn broken(&self, lines: &mut Lines, before: &str, after: &str) {
        match self {
            Rust::Text(text) => lines.line([before, text, after].concat()),
            Rust::List(open, items, close) => {
                lines.line([before, open].concat());
                lines.block(|lines| items.iter().for_each(|item| lines.put("", item, ",")));
                lines.line([close, after].concat());
            }
            Rust::Chain(root, links) => {
                let mut root = (**root).clone();
                let mut links = &links[..];
                // What is no longer than an indentation has the first link beside it.
                if let (true, Rust::Text(text), [first, rest @ ..]) =
                    (before.is_empty(), &root, links)
                    && text.chars().count() <= 4
                {
                    (root, links) = (Rust::Text([text, &first.flat()[..]].concat()), rest);
                }
                lines.put(before, &root, "");
                lines.block(|lines| {
                    for (i, link) in links.iter().enumerate() {
                        lines.put("", link, if i + 1 == links.len() { after } else { "" });
                    }
                });
            }
            Rust::Closure(open, body) => {
                lines.line([before, open, "{"].concat());
                lines.block(|lines| lines.put("", &**body, ""));
                lines.line(["})", after].concat());
            }
        }
    }
}

fn joined(items: &[Rust]) -> String {
    items.iter().map(Rust::flat).collect::<Vec<_>>().join(", ")
}

/// Words between commas, as many in a line as have room.
pub(crate) fn packed(lines: &mut Lines, before: &str, items: &[&str], after: &str) {
    let flat = [before, &items.join(", "), after].concat();
    if lines.has_room::<Rust>(&flat) {
        return lines.line(flat);
    }
    lines.line(before);
    lines.block(|lines| {
        let mut line = String::new();
        for item in items {
            let longer = format!("{line} {item},");
            if !line.is_empty() && !lines.has_room::<Rust>(&longer) {
                lines.line(&line);
                line.clear();
            }
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(item);
            line.push(',');
        }
        lines.line(line);
    });
    lines.line(after);
}

/// A name that a field can have: `3x3_reduce` becomes `n3x3_reduce`.
pub(crate) fn identifier(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = name.chars().map(plain).collect();
    match name.chars().next() {
        Some(c) if c.is_ascii_digit() => format!("n{name}"),
        _ if KEYWORDS.contains(&&name[..]) => name + "_",
        _ => name,
    }
}

/// The name of a field, but for a number, which may be that of an item.
pub(crate) fn local(name: &str, _: &HashSet<String>) -> String {
    let is_number = name.chars().all(|c| c.is_ascii_digit());
    if is_number { name.to_owned() } else { identifier(name) }
}

/// A string, as it is but for what its quotes need.
pub(crate) fn raw(text: &str) -> String {
    let special = text.contains(['"', '\\']) || text.chars().any(char::is_control);
    match special && !text.contains(['"', '\n']) {
        true => format!("r\"{text}\""),
        false => format!("{text:?}"),
    }
}

const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(depth: usize, before: &str, rust: &Rust, after: &str) -> String {
        let mut lines = Lines::default();
        match depth {
            0 => lines.put(before, rust, after),
            _ => lines.block(|lines| lines.put(before, rust, after)),
        }
        lines.finish()
    }

    #[test]
    fn what_does_not_fit_is_broken_as_rustfmt_does() {
        let word = |length: usize| Rust::text("a".repeat(length));
        let [a, b] = ["a".repeat(29), "a".repeat(30)];
        let call = |lengths: &[usize]| Rust::call("f", lengths.iter().map(|&n| word(n)).collect());
        let line = format!("    x: f({a}, {a}),\n");
        assert_eq!(printed(1, "x: ", &call(&[29, 29]), ","), line);
        let broken = format!("    x: f(\n        {a},\n        {b},\n    ),\n");
        assert_eq!(printed(1, "x: ", &call(&[29, 30]), ","), broken);

        // One method has the whole line, more have less.
        let one = Rust::text("config").method("init", vec![word(60)]);
        let line = format!("let x = config.init({});\n", "a".repeat(60));
        assert_eq!(printed(0, "let x = ", &one, ";"), line);
        let two = Rust::text("config").method("with", vec![word(40)]).method("init", vec![word(1)]);
        let broken = format!("let x = config\n    .with({})\n    .init(a);\n", "a".repeat(40));
        assert_eq!(printed(0, "let x = ", &two, ";"), broken);
        let field = Rust::text("self").link(Rust::text(".layer")).method("forward", vec![word(50)]);
        let broken = format!("self.layer\n    .forward({})\n", "a".repeat(50));
        assert_eq!(printed(0, "", &field, ""), broken);

        let then = Rust::Closure(String::from("project.then(|| "), Box::new(two));
        let broken =
            format!("{{\n    config\n        .with({})\n        .init(a)\n}}),\n", "a".repeat(40));
        assert_eq!(printed(0, "x: ", &then, ","), format!("x: project.then(|| {broken}"));
    }

    #[test]
    fn sums_are_closed_before_a_method() {
        let clamped = Rust::text("x + y").method("clamp_min", vec![Rust::text("0.0")]);
        assert_eq!(clamped.flat(), "(x + y).clamp_min(0.0)");
    }

    #[test]
    fn names() {
        assert_eq!(
            ["3x3_reduce", "type", "Conv/1"].map(identifier),
            ["n3x3_reduce", "type_", "conv_1"]
        );
        assert_eq!(["12", "1x1"].map(|name| local(name, &HashSet::new())), ["12", "n1x1"]);
        assert_eq!(["a.", "a\\.", "a\""].map(raw), ["\"a.\"", "r\"a\\.\"", "\"a\\\"\""]);
    }
}
