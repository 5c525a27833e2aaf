//! Numbers and names as both languages have them.

use super::class::{Argument, Class, Expr, Role, Value};
use super::outline::Step;
use super::python::{Py, keyword};

/// The columns of a step that is in no class.
pub(crate) fn own(step: &Step<'_>) -> Vec<Expr> {
    step.columns.iter().filter_map(|column| column.value.map(Expr::Same)).collect()
}

/// What each of some steps has of the columns of all.
pub(crate) fn shares<'e>(
    steps: &[Step<'_>],
    exprs: &'e [Expr],
) -> impl Iterator<Item = &'e [Expr]> {
    let lens: Vec<usize> = steps.iter().map(|step| step.columns.len()).collect();
    let mut rest = exprs;
    lens.into_iter().map(move |len| {
        let (own, others) = rest.split_at(len);
        rest = others;
        own
    })
}

pub(crate) fn column<'e>(step: &Step<'_>, exprs: &'e [Expr], role: Role) -> Option<&'e Expr> {
    step.columns.iter().position(|column| column.role == role).and_then(|at| exprs.get(at))
}

/// An expression; `object` comes before an argument.
pub(crate) fn spoken(expr: &Expr, object: &str) -> String {
    match expr {
        Expr::Same(value) => literal(*value),
        Expr::Argument { name, times: 1 } => format!("{object}{name}"),
        Expr::Argument { name, times } => format!("{times} * {object}{name}"),
    }
}

pub(crate) fn usual(expr: &Expr, role: Role) -> bool {
    matches!(expr, Expr::Same(value) if role.default() == Some(*value))
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
