//! Python as `black` formats it.

use super::lines::{Expression, Lines};

/// An expression, as far as it is broken over lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Py {
    /// Never broken.
    Text(String),
    /// `open`, items between commas, `close`: `f(a, b)`.
    Call(String, Vec<Py>, String),
    /// A tuple or list; if it is broken, every item has its own line.
    Row(&'static str, Vec<Py>, &'static str),
    /// Something before an expression: `padding=`, `*`.
    After(String, Box<Py>),
}

impl Py {
    pub(crate) fn text(text: impl Into<String>) -> Py {
        Py::Text(text.into())
    }

    /// `function(items)`.
    pub(crate) fn call(function: impl AsRef<str>, items: Vec<Py>) -> Py {
        Py::Call(format!("{}(", function.as_ref()), items, String::from(")"))
    }

    /// `(items)`.
    pub(crate) fn tuple(items: Vec<Py>) -> Py {
        Py::Row("(", items, ")")
    }

    pub(crate) fn after(text: impl Into<String>, py: Py) -> Py {
        Py::After(text.into(), Box::new(py))
    }
}

impl Expression for Py {
    const WIDTH: usize = 88;

    fn flat(&self) -> String {
        match self {
            Py::Text(text) => text.clone(),
            Py::Call(open, items, close) => format!("{open}{}{close}", joined(items)),
            Py::Row(open, items, close) => {
                let comma = if *open == "(" && items.len() == 1 { "," } else { "" };
                format!("{open}{}{comma}{close}", joined(items))
            }
            Py::After(before, py) => format!("{before}{}", py.flat()),
        }
    }

    fn broken(&self, lines: &mut Lines, before: &str, after: &str) {
        match self {
            Py::Text(text) => lines.line(format!("{before}{text}{after}")),
            Py::After(more, py) => lines.put(&format!("{before}{more}"), &**py, after),
            Py::Call(open, items, close) => {
                lines.line(format!("{before}{open}"));
                lines.block(|lines| put_items(lines, items, false));
                lines.line(format!("{close}{after}"));
            }
            Py::Row(open, items, close) => {
                lines.line(format!("{before}{open}"));
                lines.block(|lines| put_items(lines, items, items.len() > 1));
                lines.line(format!("{close}{after}"));
            }
        }
    }
}

fn joined(items: &[Py]) -> String {
    items.iter().map(Py::flat).collect::<Vec<_>>().join(", ")
}

/// Items on a line, or each on its own.
fn put_items(lines: &mut Lines, items: &[Py], apart: bool) {
    let flat = joined(items);
    // An argument that is unpacked, or that stands alone, has a comma behind it as well.
    match !apart && lines.has_room::<Py>(&flat) {
        true => lines.line(flat),
        false => items.iter().for_each(|item| lines.put("", item, ",")),
    }
}

/// `word=value`.
pub(crate) fn keyword(py: &Py) -> Option<(&str, &str)> {
    match py {
        Py::Text(text) => text.split_once('='),
        Py::Call(..) | Py::Row(..) | Py::After(..) => None,
    }
}

/// Whether a name can stand behind a dot.
pub(crate) fn is_identifier(name: &str) -> bool {
    let start = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.chars().next().is_some_and(start)
        && name.chars().all(|c| start(c) || c.is_ascii_digit())
        && !KEYWORDS.contains(&name)
}

/// A name that can be one of a variable: `3x3_reduce` becomes `n3x3_reduce`.
pub(crate) fn identifier(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = name.chars().map(plain).collect();
    if is_identifier(&name) { name } else { format!("n{name}") }
}

/// A string, quoted.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(depth: usize, before: &str, py: &Py, after: &str) -> String {
        let mut lines = Lines::default();
        match depth {
            0 => lines.put(before, py, after),
            _ => lines.block(|lines| lines.put(before, py, after)),
        }
        lines.finish()
    }

    #[test]
    fn what_does_not_fit_is_broken_as_black_does() {
        let word = |length: usize| Py::text("a".repeat(length));
        let call = |lengths: &[usize]| Py::call("f", lengths.iter().map(|&n| word(n)).collect());
        let [a, b] = ["a".repeat(40), "a".repeat(50)];
        assert_eq!(
            printed(1, "x = ", &call(&[20, 20]), ""),
            format!("    x = f({0}, {0})\n", &a[..20])
        );
        let broken = format!("x = f(\n    {a}, {a}\n)\n");
        assert_eq!(printed(0, "x = ", &call(&[40, 40]), ""), broken);
        let apart = format!("x = f(\n    {b},\n    {b},\n)\n");
        assert_eq!(printed(0, "x = ", &call(&[50, 50]), ""), apart);
        let row = Py::Row("(", vec![word(50), word(50)], ")");
        let rows = format!("for x in (\n    {b},\n    {b},\n):\n");
        assert_eq!(printed(0, "for x in ", &row, ":"), rows);
        assert_eq!(Py::tuple(vec![word(1)]).flat(), "(a,)");
    }

    #[test]
    fn names() {
        assert!(is_identifier("conv1_1") && !is_identifier("3a") && !is_identifier("in"));
        assert_eq!(identifier("3x3_reduce"), "n3x3_reduce");
        assert_eq!(quoted("a\"b\\\n"), "\"a\\\"b\\\\\\u000a\"");
    }
}
