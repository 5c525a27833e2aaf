//! What `forward` says.

use std::collections::BTreeSet;

use striate_graph::op::{Clip, Lrn, Pool, PoolKind, Tanh};
use striate_graph::{Node, Op, Sides};

use super::{Writer, pool_options};
use crate::code::class::{Class, Expr, Role, less, lopsided, overhang};
use crate::code::flow::{Statement, flow};
use crate::code::lines::{Expression, Lines};
use crate::code::outline::{Body, Step, What, is_module};
use crate::code::python::{Py, is_identifier, quoted};
use crate::code::real;
use crate::code::script::{literal, spoken};
use crate::code::words::{column, shares};

impl Writer<'_> {
    /// `forward`, and which arguments it needs the module to keep.
    pub(super) fn forward(
        &self,
        lines: &mut Lines,
        body: &Body<'_>,
        class: Option<&Class<'_>>,
    ) -> BTreeSet<String> {
        let mut kept = BTreeSet::new();
        let (statements, outputs) = flow(body, true);
        lines.line("def forward(self, x):");
        lines.block(|lines| {
            let mut rest = &statements[..];
            while let Some((statement, others)) = rest.split_first() {
                let run = self.run(body, class, rest);
                let optional = matches!(body.steps[statement.steps[0]].what, What::Optional(_));
                if run > 1 {
                    self.looped(lines, body, class, &rest[..run], &mut kept);
                    rest = &rest[run..];
                    continue;
                }
                if optional {
                    self.either(lines, body, class, statement, &mut kept);
                } else {
                    let value = self.value(body, class, statement, &reference, &mut kept);
                    if others.is_empty() && outputs.len() == 1 {
                        return lines.put("return ", &value, "");
                    }
                    lines.put(&format!("{} = ", statement.target), &value, "");
                }
                rest = others;
            }
            lines.line(format!("return {}", outputs.join(", ")));
        });
        kept
    }

    /// How many statements from the first on differ in the name of their layer alone and go on from
    /// one another; one if a loop would not be shorter.
    fn run(&self, body: &Body<'_>, class: Option<&Class<'_>>, statements: &[Statement]) -> usize {
        let first = &statements[0];
        let Some(template) = self.template(body, class, first) else { return 1 };
        let goes_on = |statement: &&Statement| {
            statement.operands == [statement.target.clone()]
                && statement.target == first.target
                && self.template(body, class, statement).as_ref() == Some(&template)
        };
        let run = statements.iter().take_while(goes_on).count();
        let spoken = is_identifier(&body.steps[first.steps[0]].local);
        let shorter = run > if spoken { 4 } else { 1 };
        if class.is_none() && shorter { run } else { 1 }
    }

    /// The statement without the name of its layer, if it has but one.
    fn template(
        &self,
        body: &Body<'_>,
        class: Option<&Class<'_>>,
        statement: &Statement,
    ) -> Option<Py> {
        let named = |at: &&usize| match &body.steps[**at].what {
            What::Op(node) => node.op.has_parameters(),
            What::ConvNorm(..) | What::Part(_) | What::Sequence(_) => true,
            What::Optional(_) => false,
        };
        if statement.steps.iter().filter(named).count() != 1 || !named(&&statement.steps[0]) {
            return None;
        }
        let name = |_: &str| String::from("getattr(self, name)");
        Some(self.value(body, class, statement, &name, &mut BTreeSet::new()))
    }

    fn looped(
        &self,
        lines: &mut Lines,
        body: &Body<'_>,
        class: Option<&Class<'_>>,
        run: &[Statement],
        kept: &mut BTreeSet<String>,
    ) {
        let local = |s: &Statement| Py::text(quoted(&body.steps[s.steps[0]].local));
        lines.put("for name in ", &Py::Row("(", run.iter().map(local).collect(), ")"), ":");
        let name = |_: &str| String::from("getattr(self, name)");
        let value = self.value(body, class, &run[0], &name, kept);
        lines.block(|lines| lines.put(&format!("{} = ", run[0].target), &value, ""));
    }

    /// A chain of steps, or what stands in its place.
    fn either(
        &self,
        lines: &mut Lines,
        body: &Body<'_>,
        class: Option<&Class<'_>>,
        statement: &Statement,
        kept: &mut BTreeSet<String>,
    ) {
        let step = &body.steps[statement.steps[0]];
        let (What::Optional(chain), Some(instead)) = (&step.what, &statement.instead) else {
            unreachable!("an optional step")
        };
        let (exprs, target) = (self.exprs(body, class, statement.steps[0]), &statement.target);
        let mut value = Py::text(&statement.operands[0]);
        for (step, own) in chain.iter().zip(shares(chain, &exprs[1..])) {
            value = self.applied(step, own, &[value], &reference, kept);
        }
        keep(&exprs[0], kept);
        lines.line(format!("if {}:", spoken(&exprs[0], "self.")));
        lines.block(|lines| lines.put(&format!("{target} = "), &value, ""));
        lines.line("else:");
        lines.block(|lines| lines.line(format!("{target} = {instead}")));
    }

    /// What a statement computes.
    fn value(
        &self,
        body: &Body<'_>,
        class: Option<&Class<'_>>,
        statement: &Statement,
        name: &dyn Fn(&str) -> String,
        kept: &mut BTreeSet<String>,
    ) -> Py {
        let mut operands: Vec<Py> = statement.operands.iter().map(Py::text).collect();
        for &at in &statement.steps {
            let exprs = self.exprs(body, class, at);
            operands = vec![self.applied(&body.steps[at], &exprs, &operands, name, kept)];
        }
        operands.remove(0)
    }

    /// A step applied to what it reads.
    fn applied(
        &self,
        step: &Step<'_>,
        exprs: &[Expr],
        x: &[Py],
        name: &dyn Fn(&str) -> String,
        kept: &mut BTreeSet<String>,
    ) -> Py {
        let module = |x: Py| Py::call(name(&step.local), vec![x]);
        let first = x[0].clone();
        let (What::Op(node) | What::ConvNorm(node, _)) = &step.what else { return module(first) };
        let with = |function: &str, more: &[String]| {
            let items = std::iter::once(first.clone()).chain(more.iter().map(Py::text));
            Py::call(function, items.collect())
        };
        match &node.op {
            Op::Conv2d(conv) if lopsided(conv.pad) => module(with("F.pad", &[borders(conv.pad)])),
            Op::Conv2d(_) | Op::Linear(_) | Op::Subsample(_) | Op::BatchNorm(_) | Op::Rbf(_) => {
                module(first)
            }
            Op::Pool(pool) => {
                exprs.iter().for_each(|expr| keep(expr, kept));
                self.pooled(node, pool, step, exprs, first)
            }
            Op::AdaptiveAvgPool(pool) => with("F.adaptive_avg_pool2d", &[literal(pool.out.into())]),
            Op::Lrn(lrn) => with("F.local_response_norm", &lrn_options(lrn)),
            Op::Relu => with("F.relu", &[]),
            &Op::Tanh(Tanh { a, s }) => {
                let inner = if s == 1.0 {
                    with("torch.tanh", &[])
                } else {
                    Py::call("torch.tanh", vec![Py::after(format!("{} * ", real(s)), first)])
                };
                if a == 1.0 { inner } else { Py::after(format!("{} * ", real(a)), inner) }
            }
            Op::Sigmoid => with("torch.sigmoid", &[]),
            Op::Softmax => with("F.softmax", &[String::from("dim=1")]),
            Op::LogSoftmax => with("F.log_softmax", &[String::from("dim=1")]),
            Op::Clip(Clip { min, max }) => {
                let bounds = [("min", min), ("max", max)];
                let bounds = bounds.into_iter().filter_map(|(name, bound)| {
                    bound.map(|bound| format!("{name}={}", real(bound)))
                });
                with("torch.clamp", &bounds.collect::<Vec<_>>())
            }
            Op::Dropout(dropout) => {
                with("F.dropout", &[real(dropout.p), String::from("self.training")])
            }
            Op::Add => Py::text(x.iter().map(Py::flat).collect::<Vec<_>>().join(" + ")),
            Op::AddScaled(add) => {
                Py::text(format!("{} + {} * {}", x[0].flat(), real(add.scale), x[1].flat()))
            }
            Op::Concat => {
                Py::call("torch.cat", vec![Py::Row("[", x.to_vec(), "]"), Py::text("dim=1")])
            }
            Op::Flatten => with("torch.flatten", &[String::from("1")]),
            Op::Shortcut(op) => {
                exprs.iter().for_each(|expr| keep(expr, kept));
                let say = |role| {
                    column(step, exprs, role).map_or(String::new(), |expr| spoken(expr, "self."))
                };
                let (stride, out) = (say(Role::Stride), say(Role::Outputs));
                let x = first.flat();
                let x = match op.stride {
                    1 if stride == "1" => x,
                    _ => format!("{x}[:, :, ::{stride}, ::{stride}]"),
                };
                let more = format!("(0, 0, 0, 0, 0, {out} - {}.shape[1])", first.flat());
                Py::call("F.pad", vec![Py::text(x), Py::text(more)])
            }
            Op::Input(_) => unreachable!("what is fed is no step"),
        }
    }

    fn pooled(&self, node: &Node, pool: &Pool, step: &Step<'_>, exprs: &[Expr], x: Py) -> Py {
        let [kernel, stride] = [pool.kernel, pool.stride].map(|size| literal(size.into()));
        if is_module(&node.op) {
            let mut items = vec![x];
            items.extend(pool_options(pool, step, exprs, "self."));
            return match pool.kind {
                PoolKind::Max | PoolKind::MaxOfPadded => Py::call("F.max_pool2d", items),
                PoolKind::Avg { .. } => Py::call("F.avg_pool2d", items),
            };
        }
        let from = self.graph.node(node.inputs[0]).shape;
        let all = overhang(pool, from, node.shape);
        let padded = |x: Py, sides: Sides, more: &str| match sides.is_zero() {
            true => x,
            false => {
                let more = (!more.is_empty()).then(|| Py::text(more));
                let items = [x, Py::text(borders(sides))].into_iter().chain(more);
                Py::call("F.pad", items.collect())
            }
        };
        match pool.kind {
            PoolKind::Max | PoolKind::MaxOfPadded => {
                let zeros = match pool.kind == PoolKind::MaxOfPadded {
                    true => pool.pad,
                    false => Sides::default(),
                };
                let x = padded(x, zeros, "");
                let x = padded(x, less(all, zeros), "value=float(\"-inf\")");
                Py::call("F.max_pool2d", vec![x, Py::text(kernel), Py::text(stride)])
            }
            PoolKind::Avg { count_include_pad } => {
                let counted = if count_include_pad { pool.pad } else { Sides::default() };
                let x = padded(x, counted, "");
                let rest = Py::text(borders(less(all, counted)));
                let items = vec![x, Py::text(kernel), Py::text(stride), rest];
                Py::call("mean_inside", items)
            }
        }
    }
}

/// Padding in the order of `F.pad`.
fn borders(Sides { top, left, bottom, right }: Sides) -> String {
    format!("({left}, {right}, {top}, {bottom})")
}

/// A module, where it is used.
fn reference(local: &str) -> String {
    if let Some((head, tail)) = local.split_once('.') {
        return format!("{}[{}]", reference(head), quoted(tail));
    }
    if is_identifier(local) {
        format!("self.{local}")
    } else {
        format!("getattr(self, {})", quoted(local))
    }
}

fn keep(expr: &Expr, kept: &mut BTreeSet<String>) {
    if let Expr::Argument { name, .. } = expr {
        kept.insert(name.clone());
    }
}

/// PyTorch divides α by the number of maps.
fn lrn_options(lrn: &Lrn) -> Vec<String> {
    let alpha = match lrn.divided {
        true => real(lrn.alpha),
        false => format!("{} * {}", lrn.size, real(lrn.alpha)),
    };
    vec![lrn.size.to_string(), alpha, real(lrn.beta), real(lrn.k)]
}
