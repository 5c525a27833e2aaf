//! `forward`: what is computed, and who takes a value and who a copy of it.

use std::collections::HashMap;

use striate_graph::op::{Clip, PoolKind, Tanh};
use striate_graph::{Op, Shape, Sides};

use super::Writer;
use crate::code::flow::{Statement, flow};
use crate::code::lines::{Expression, Lines};
use crate::code::outline::{Body, Operand, Step, What};
use crate::code::real;
use crate::code::rust::Rust;

impl<'g> Writer<'g> {
    pub(super) fn forward(
        &self,
        lines: &mut Lines,
        body: &Body<'g>,
        names: &HashMap<(usize, usize), String>,
    ) {
        let (statements, outputs) = flow(body, true);
        for (i, statement) in statements.iter().enumerate() {
            let x = operands(&statements, i, &outputs);
            let returned = i + 1 == statements.len() && outputs == [&statement.target[..]];
            let (before, after) = match returned {
                true => (String::new(), ""),
                false => (format!("let {} = ", statement.target), ";"),
            };
            let step = &body.steps[statement.steps[0]];
            if let What::Optional(chain) = &step.what {
                let name = |i: usize| names.get(&(statement.steps[0], i));
                let value = chain.iter().enumerate().fold(x[0].clone(), |x, (i, step)| {
                    self.applied(step, name(i).map(Rust::text), &[x])
                });
                let names: Vec<&str> = (0..=chain.len()).filter_map(name).map(|s| &s[..]).collect();
                let is_flag = name(chain.len()).is_some();
                either(lines, &before, &names, is_flag, [&value, &x[1]]);
                lines.line(format!("}}{after}"));
                continue;
            }
            let field = |at: usize| names.get(&(at, 0)).map(|name| field(name));
            let applied = |at: usize, x: &[Rust]| self.applied(&body.steps[at], field(at), x);
            let first = applied(statement.steps[0], &x);
            let rest = &statement.steps[1..];
            let whole = rest.iter().fold(first.clone(), |x, &at| applied(at, &[x]));
            // In one line if it is short enough, else a line each.
            if rest.is_empty() || lines.fits(&before, &whole, after) {
                lines.put(&before, &whole, after);
                continue;
            }
            let target = &statement.target;
            lines.put(&format!("let {target} = "), &first, ";");
            for (i, &at) in rest.iter().enumerate() {
                let value = applied(at, &[Rust::text(target)]);
                match i + 1 == rest.len() {
                    true => lines.put(&before, &value, after),
                    false => lines.put(&format!("let {target} = "), &value, ";"),
                }
            }
        }
        match &outputs[..] {
            [output] if statements.last().is_some_and(|last| last.target == *output) => {}
            [output] => lines.line(output),
            several => lines.line(format!("({})", several.join(", "))),
        }
    }

    /// A step applied to what it reads; `field`: what holds its module.
    fn applied(&self, step: &Step<'g>, field: Option<Rust>, x: &[Rust]) -> Rust {
        let first = x[0].clone();
        let module = |x: Rust| {
            let field = field.clone().unwrap_or_else(|| unreachable!("every module is a field"));
            field.method("forward", vec![x])
        };
        let node = match &step.what {
            What::Op(node) => node,
            What::Sequence(_) => {
                let fold = vec![first, Rust::text("|x, block| block.forward(x)")];
                let field = field.unwrap_or_else(|| unreachable!("every vector is a field"));
                return field.method("iter", Vec::new()).method("fold", fold);
            }
            What::ConvNorm(..) | What::Part(_) | What::Optional(_) => return module(first),
        };
        let all = |separator: &str| x.iter().map(Rust::flat).collect::<Vec<_>>().join(separator);
        let along = |function: &str| Rust::call(function, vec![first.clone(), Rust::text("1")]);
        match &node.op {
            Op::Pool(pool) if pool.kind == PoolKind::MaxOfPadded && !pool.pad.is_zero() => {
                let Sides { top, left, bottom, right } = pool.pad;
                let sides = Rust::Text(format!("({left}, {right}, {top}, {bottom})"));
                let zeros = Rust::text("PadMode::Constant(0.0)");
                module(first.method("pad", vec![sides, zeros]))
            }
            Op::Lrn(lrn) => match (node.shape, lrn.size % 2) {
                (Shape::Map { .. }, 1) => module(first),
                // An even window reaches one map further down here, and up there.
                (Shape::Map { .. }, _) => {
                    let turn = || vec![Rust::text("[1]")];
                    module(first.method("flip", turn())).method("flip", turn())
                }
                (Shape::Flat(_), _) => {
                    let wide = first.method("unsqueeze_dim::<3>", vec![Rust::text("2")]);
                    module(wide).method("squeeze_dim::<2>", vec![Rust::text("2")])
                }
            },
            Op::Conv2d(_)
            | Op::Linear(_)
            | Op::BatchNorm(_)
            | Op::Subsample(_)
            | Op::Rbf(_)
            | Op::Pool(_)
            | Op::AdaptiveAvgPool(_)
            | Op::Dropout(_)
            | Op::Shortcut(_) => module(first),
            Op::Relu => Rust::call("relu", vec![first]),
            Op::Sigmoid => Rust::call("sigmoid", vec![first]),
            &Op::Tanh(Tanh { a, s }) => {
                let times = |x: Rust, factor: f32| match factor {
                    1.0 => x,
                    _ => Rust::Text(format!("{} * {}", x.closed().flat(), real(factor))),
                };
                times(Rust::call("tanh", vec![times(first, s)]), a)
            }
            Op::Softmax => along("softmax"),
            Op::LogSoftmax => along("log_softmax"),
            &Op::Clip(Clip { min, max }) => {
                let bounds = min.into_iter().chain(max).map(real).map(Rust::Text).collect();
                let clamp = match (min, max) {
                    (Some(_), None) => "clamp_min",
                    (None, Some(_)) => "clamp_max",
                    (Some(_), Some(_)) | (None, None) => "clamp",
                };
                first.method(clamp, bounds)
            }
            Op::Add => Rust::Text(all(" + ")),
            Op::AddScaled(add) => Rust::Text(format!("{} * {}", all(" + "), real(add.scale))),
            Op::Concat => Rust::call("Tensor::cat", vec![Rust::vec(x.to_vec()), Rust::text("1")]),
            Op::Flatten => match self.graph.node(node.inputs[0]).shape {
                Shape::Map { .. } => {
                    first.method("flatten::<2>", vec![Rust::text("1"), Rust::text("3")])
                }
                Shape::Flat(_) => first,
            },
            Op::Input(_) => unreachable!("what is fed is no step"),
        }
    }

    /// The ranks of what a body is fed and of what comes out.
    pub(super) fn ranks(&self, body: &Body<'g>) -> (usize, Vec<usize>) {
        let fed = body.steps.iter().find_map(|step| {
            let at = step.inputs.iter().position(Option::is_none)?;
            Some(self.rank_in(step, at))
        });
        let fed = fed.unwrap_or(4);
        let out = |operand: &Operand| operand.map_or(fed, |i| self.rank_out(&body.steps[i]));
        (fed, body.outputs.iter().map(out).collect())
    }

    fn rank_in(&self, step: &Step<'g>, at: usize) -> usize {
        match &step.what {
            What::Op(node) | What::ConvNorm(node, _) => {
                rank(self.graph.node(node.inputs[at]).shape)
            }
            What::Part(class) => self.ranks(&self.outline.classes[*class].body).0,
            What::Sequence(steps) | What::Optional(steps) => self.rank_in(&steps[0], at),
        }
    }

    fn rank_out(&self, step: &Step<'g>) -> usize {
        match &step.what {
            What::Op(node) => rank(node.shape),
            What::ConvNorm(..) => 4,
            What::Part(class) => self.ranks(&self.outline.classes[*class].body).1[0],
            What::Sequence(steps) | What::Optional(steps) => {
                steps.last().map_or(4, |step| self.rank_out(step))
            }
        }
    }
}

/// The value of a chain of steps, or what stands in its place, by the fields that may be there.
fn either(lines: &mut Lines, before: &str, names: &[&str], is_flag: bool, values: [&Rust; 2]) {
    let all = |form: &str| {
        let each: Vec<String> = names.iter().map(|name| form.replace("name", name)).collect();
        if each.len() == 1 { each.concat() } else { format!("({})", each.join(", ")) }
    };
    let (of, [some, none]) = match (is_flag, names.len()) {
        (true, _) => (all("self.name"), [String::from("true"), String::from("false")]),
        (false, 1) => (all("&self.name"), [all("Some(name)"), String::from("None")]),
        (false, _) => (all("&self.name"), [all("Some(name)"), String::from("_")]),
    };
    lines.line(format!("{before}match {of} {{"));
    lines.block(|lines| {
        lines.put(&format!("{some} => "), values[0], ",");
        lines.put(&format!("{none} => "), values[1], ",");
    });
}

/// What each operand of a statement is: a copy, if its value is still read after that.
fn operands(statements: &[Statement], i: usize, outputs: &[String]) -> Vec<Rust> {
    let statement = &statements[i];
    let read: Vec<&String> = statement.operands.iter().chain(&statement.instead).collect();
    let later = |name: &String| {
        if statement.target == *name {
            return false;
        }
        for other in &statements[i + 1..] {
            if other.operands.iter().chain(&other.instead).any(|operand| operand == name) {
                return true;
            }
            if other.target == *name {
                return false;
            }
        }
        outputs.contains(name)
    };
    let value = |(at, name): (usize, &&String)| {
        // An optional step reads the one or the other.
        let again = statement.instead.is_none() && read[at + 1..].contains(name);
        Rust::Text(match again || later(name) {
            true => format!("{name}.clone()"),
            false => (*name).clone(),
        })
    };
    read.iter().enumerate().map(value).collect()
}

fn rank(shape: Shape) -> usize {
    match shape {
        Shape::Map { .. } => 4,
        Shape::Flat(_) => 2,
    }
}

/// `self.name`.
fn field(name: &str) -> Rust {
    Rust::text("self").link(Rust::Text(format!(".{name}")))
}
