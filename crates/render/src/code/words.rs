//! The numbers of a step, as all languages say them.

use super::class::{Expr, Role};
use super::outline::Step;

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

pub(crate) fn usual(expr: &Expr, role: Role) -> bool {
    matches!(expr, Expr::Same(value) if role.default() == Some(*value))
}
