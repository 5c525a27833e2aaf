//! Keras models, in the functional style: a function for each form of part.

mod helpers;

use striate_graph::op::{Clip, Lrn, Pool, PoolKind, Tanh};
use striate_graph::{Node, NodeId, Op, Shape};

use super::class::{Class, Expr, Role};
use super::flow::{Statement, flow};
use super::lines::{Expression, Lines};
use super::outline::{Body, Outline, PYTHON, Step, Style, What, apart};
use super::python::{Py, identifier, quoted};
use super::script::{RENAMED, arguments, codes, docstring, literal, spoken, table};
use super::words::{column, own, shares, usual};
use super::{Source, real};
use helpers::{DEPTHWISE, EDGES, HELPERS, KERNEL, LEAF, LOAD, TURN};

/// What is called so in every program, or in those of some networks.
const KNOWN: [&str; 12] = [
    "build",
    "edges",
    "inputs",
    "json",
    "layers",
    "load_weights",
    "name",
    "ops",
    "pair",
    "renamed",
    "struct",
    "sys",
];

/// The program, imports included.
pub(crate) fn program(source: &Source<'_>) -> String {
    let mut outline = Outline::of(source.graph, &STYLE);
    apart(&mut outline.classes, |class| is_known(&snake(class)));
    let writer = Writer { outline, source };
    let mut functions = Lines::default();
    for class in &writer.outline.classes {
        writer.function(&mut functions, class);
    }
    writer.build(&mut functions);
    let functions = functions.finish();

    let mut lines = Lines::default();
    lines.lines(&source.docstring("Keras"));
    lines.line("");
    let names = source.names(&writer.outline.keys);
    lines.line("import json");
    if names.is_some() {
        lines.line("import re");
    }
    lines.line("import struct");
    let deep = source.graph.nodes().len() > DEEP;
    if deep {
        lines.line("import sys");
    }
    lines.line("");
    lines.line("import numpy as np");
    let helpers: Vec<&str> =
        HELPERS.iter().filter(|(name, _)| calls(&functions, name)).map(|(_, text)| *text).collect();
    let ops = functions.contains("ops.") || helpers.iter().any(|text| text.contains("ops."));
    lines.line(if ops {
        "from keras import Input, Model, layers, ops"
    } else {
        "from keras import Input, Model, layers"
    });
    if deep {
        lines.line("");
        lines.line("# Keras follows a model by a call a layer, each within the one before.");
        lines.line(format!("sys.setrecursionlimit({})", 20 * source.graph.nodes().len()));
    }
    if let Some(names) = &names {
        lines.line("");
        lines.line("# What weight files call the layers, and what they are called here.");
        lines.put("NAMES = ", names, "");
    }
    let (flattened, depthwise) = (writer.flattened(), writer.depthwise());
    if let Some(maps) = &flattened {
        lines.line("");
        lines.line("# The maps that are flattened before these layers, their channels first.");
        lines.put("FLATTENED = ", maps, "");
    }
    if let Some(codes) = source.graph.nodes().iter().find_map(codes) {
        lines.line("");
        lines.line("# The codes of the classes: a column is a value, `#` is +1 and `.` is -1.");
        lines.put("CODES = ", &codes, "");
    }
    if helpers.iter().any(|text| text.contains("pair(") || text.contains("edges(")) {
        lines.lines(EDGES);
    }
    helpers.iter().for_each(|text| lines.lines(text));
    let mut text = lines.finish() + &functions;
    text.push_str(if names.is_some() { RENAMED } else { "" });
    text.push_str(LOAD);
    text.replace("@KEY@", if names.is_some() { "renamed(name)" } else { "name" })
        .replace("@TURN@", if flattened.is_some() { TURN } else { "" })
        .replace("@DEPTHWISE@", if depthwise { DEPTHWISE } else { "" })
        .replace("@LEAF@", if depthwise { LEAF } else { "" })
        .replace("@KERNEL@", if depthwise { KERNEL } else { "" })
}

/// Layers are not told how many channels they read.
const STYLE: Style = Style { inputs: false, ..PYTHON };

/// More layers than this may be too many for Python's usual limit.
const DEEP: usize = 900;

struct Writer<'a> {
    outline: Outline<'a>,
    source: &'a Source<'a>,
}

/// Where a body stands: in the function of a class, or in `build`.
type Place<'c, 'g> = Option<&'c Class<'g>>;

impl<'a> Writer<'a> {
    fn function(&self, lines: &mut Lines, class: &Class<'a>) {
        let mut parameters = vec![Py::text("x"), Py::text("name")];
        parameters.extend(class.arguments.iter().map(|argument| {
            Py::text(match argument.role.default() {
                Some(usual) => format!("{}={}", argument.name, literal(usual)),
                None => argument.name.clone(),
            })
        }));
        lines.lines("\n\n");
        lines.put(&format!("def {}", snake(&class.name)), &Py::call("", parameters), ":");
        lines.block(|lines| {
            lines.line(docstring(&class.about));
            self.body(lines, &class.body, Some(class));
        });
    }

    fn build(&self, lines: &mut Lines) {
        let graph = self.source.graph;
        let (classes, shape) = (graph.classes(), graph.input());
        let shape = match shape {
            Shape::Map { c, h, w } => format!("({h}, {w}, {c})"),
            Shape::Flat(n) => format!("({n},)"),
        };
        let parameters = match self.outline.classifier {
            Some(_) => format!("classes={classes}"),
            None => String::new(),
        };
        lines.lines("\n\n");
        lines.line(format!("def build({parameters}):"));
        lines.block(|lines| {
            lines.line(docstring(&self.source.about()));
            lines.line(format!("x = inputs = Input({shape})"));
            self.body(lines, &self.outline.body, None);
        });
    }

    /// Channels, height and width of the map that each layer reads as a row.
    fn flattened(&self) -> Option<Py> {
        let graph = self.source.graph;
        let map = |(id, key): (&NodeId, &String)| {
            let node = graph.node(*id);
            let [c, h, w] = graph.flattened(node).filter(|_| node.op.has_parameters())?;
            Some(Py::text(format!("{}: ({c}, {h}, {w})", quoted(&plain(key)))))
        };
        let maps: Vec<Py> = self.outline.keys.iter().filter_map(map).collect();
        (!maps.is_empty()).then_some(Py::Row("{", maps, "}"))
    }

    /// Whether a layer convolves each channel by itself.
    fn depthwise(&self) -> bool {
        let graph = self.source.graph;
        let channels = |node: &Node| graph.input_shapes(node)[0].channels();
        graph
            .nodes()
            .iter()
            .any(|node| matches!(&node.op, Op::Conv2d(conv) if conv.is_depthwise(channels(node))))
    }

    fn exprs(&self, body: &Body<'a>, place: Place<'_, 'a>, at: usize) -> Vec<Expr> {
        place.map_or_else(|| own(&body.steps[at]), |class| class.exprs[at].clone())
    }

    fn body(&self, lines: &mut Lines, body: &Body<'a>, place: Place<'_, 'a>) {
        let (statements, outputs) = flow(body, true);
        let mut rest = &statements[..];
        while let Some(statement) = rest.first() {
            let run = self.run(body, place, rest);
            if run > 1 {
                self.table(lines, body, &rest[..run]);
            } else if self.statement(lines, body, place, statement, rest.len() == 1) {
                return;
            }
            rest = &rest[run..];
        }
        let outputs = match &outputs[..] {
            [output] => output.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        match place {
            Some(_) => lines.line(format!("return {outputs}")),
            None => {
                let name = quoted(&identifier(self.source.heading.name));
                lines.line(format!("return Model(inputs, {outputs}, name={name})"));
            }
        }
    }

    /// How many parts of a class follow each other from the first statement on.
    fn run(&self, body: &Body<'a>, place: Place<'_, 'a>, statements: &[Statement]) -> usize {
        let part = |statement: &Statement| match (
            &body.steps[statement.steps[0]].what,
            &statement.steps[..],
        ) {
            (What::Part(class), [_]) => Some(*class),
            _ => None,
        };
        let first = &statements[0];
        let Some(class) = part(first).filter(|_| place.is_none()) else { return 1 };
        let said = |s: &Statement| keywords(&self.arguments(body, class, s));
        let goes_on = |s: &&Statement| {
            part(s) == Some(class)
                && s.target == first.target
                && s.operands == [s.target.clone()]
                && said(s) == said(first)
        };
        statements.iter().take_while(goes_on).count().max(1)
    }

    fn arguments(&self, body: &Body<'a>, class: usize, statement: &Statement) -> Vec<Py> {
        arguments(&self.outline.classes[class], &own(&body.steps[statement.steps[0]]))
    }

    /// Parts one after the other: what differs is a table.
    fn table(&self, lines: &mut Lines, body: &Body<'a>, run: &[Statement]) {
        let What::Part(class) = body.steps[run[0].steps[0]].what else { return };
        let names = run.iter().map(|s| quoted(&body.steps[s.steps[0]].local)).collect();
        let all = run.iter().map(|s| self.arguments(body, class, s)).collect();
        let class = &self.outline.classes[class];
        let words: Vec<&str> = class.arguments.iter().map(|a| a.name.as_str()).collect();
        let table = table(names, all, &words);
        lines.put(&format!("for {} in ", table.words.join(", ")), &table.rows, ":");
        let target = &run[0].target;
        let mut items = vec![Py::text(target), Py::text("name")];
        items.extend(table.arguments);
        let call = Py::call(snake(&class.name), items);
        lines.block(|lines| lines.put(&format!("{target} = "), &call, ""));
    }

    /// The `last` statement of a part is what it returns; whether it was.
    fn statement(
        &self,
        lines: &mut Lines,
        body: &Body<'a>,
        place: Place<'_, 'a>,
        statement: &Statement,
        last: bool,
    ) -> bool {
        let (target, first) = (&statement.target, &body.steps[statement.steps[0]]);
        let exprs = self.exprs(body, place, statement.steps[0]);
        let inside = place.is_some();
        if let (What::Optional(chain), Some(instead)) = (&first.what, &statement.instead) {
            lines.line(format!("if {}:", spoken(&exprs[0], "")));
            lines.block(|lines| {
                let mut x = statement.operands[0].clone();
                for (step, own) in chain.iter().zip(shares(chain, &exprs[1..])) {
                    let value =
                        self.applied(step, own, &[Py::text(&x)], &name(inside, &step.local));
                    lines.put(&format!("{target} = "), &value, "");
                    x.clone_from(target);
                }
            });
            lines.line("else:");
            lines.block(|lines| lines.line(format!("{target} = {instead}")));
            return false;
        }
        let mut operands: Vec<Py> = statement.operands.iter().map(Py::text).collect();
        let mut steps = &statement.steps[..];
        if let What::Sequence(layers) = &first.what {
            self.sequence(lines, layers, &exprs, statement, &first.local, inside);
            operands = vec![Py::text(target)];
            steps = &steps[1..];
            if steps.is_empty() {
                return false;
            }
        }
        let mut nested = operands.clone();
        let mut apart = Vec::new();
        for &at in steps {
            let (step, exprs) = (&body.steps[at], self.exprs(body, place, at));
            let name = name(inside, &step.local);
            for value in self.values(step, &exprs, &operands, &name, target) {
                nested = vec![within(&value, &operands, &nested)];
                apart.push(value);
                operands = vec![Py::text(target)];
            }
        }
        // In one line if it is short enough, else a line each.
        let assigned = format!("{target} = ");
        let returned = if last && inside { "return " } else { &assigned };
        if lines.fits(returned, &nested[0], "") {
            apart = nested;
        }
        let end = apart.len() - 1;
        apart[..end].iter().for_each(|value| lines.put(&assigned, value, ""));
        lines.put(returned, &apart[end], "");
        last && inside
    }

    /// Layers and parts called by their numbers; equal ones in a row are a loop.
    fn sequence(
        &self,
        lines: &mut Lines,
        steps: &[Step<'a>],
        exprs: &[Expr],
        statement: &Statement,
        local: &str,
        inside: bool,
    ) {
        let target = &statement.target;
        let mut x = statement.operands[0].clone();
        let shares: Vec<&[Expr]> = shares(steps, exprs).collect();
        let mut at = 0;
        while at < steps.len() {
            let (step, own) = (&steps[at], shares[at]);
            let call = |x: &str, name: &Py| self.applied(step, own, &[Py::text(x)], name);
            let same = |i: &usize| match (&step.what, &steps[*i].what) {
                (What::Part(a), What::Part(b)) => a == b && own == shares[*i],
                _ => false,
            };
            let run = (at..steps.len()).take_while(same).count();
            if run > 2 && x == *target {
                lines.line(format!("for i in range({at}, {}):", at + run));
                let prefix = if inside { "{name}." } else { "" };
                let name = Py::Text(format!("f\"{prefix}{local}.{{i}}\""));
                lines.block(|lines| lines.put(&format!("{target} = "), &call(&x, &name), ""));
                at += run;
            } else {
                let name = name(inside, &format!("{local}.{at}"));
                lines.put(&format!("{target} = "), &call(&x, &name), "");
                at += 1;
            }
            x.clone_from(target);
        }
    }

    /// A step applied to what it reads: one expression, or a second one of the first, called `target`.
    fn values(
        &self,
        step: &Step<'a>,
        exprs: &[Expr],
        x: &[Py],
        name: &Py,
        target: &str,
    ) -> Vec<Py> {
        let What::ConvNorm(conv, norm) = &step.what else {
            return vec![self.applied(step, exprs, x, name)];
        };
        let own = Step { what: What::Op(conv), ..step.clone() };
        let first = self.applied(&own, exprs, x, name);
        let called = Py::Text(format!("{}.bn\"", name.flat().trim_end_matches('"')));
        let again = Step { what: What::Op(norm), columns: Vec::new(), ..step.clone() };
        vec![first, self.applied(&again, &[], &[Py::text(target)], &called)]
    }

    fn applied(&self, step: &Step<'a>, exprs: &[Expr], x: &[Py], name: &Py) -> Py {
        let first = x[0].clone();
        let say = |role| column(step, exprs, role).map_or(String::new(), |expr| spoken(expr, ""));
        let node = match &step.what {
            What::Op(node) | What::ConvNorm(node, _) => node,
            What::Part(class) => {
                let class = &self.outline.classes[*class];
                let mut items = vec![first, name.clone()];
                items.extend(arguments(class, exprs));
                return Py::call(snake(&class.name), items);
            }
            What::Sequence(_) | What::Optional(_) => unreachable!("written step by step"),
        };
        let with = |function: &str, more: &[String]| {
            let items = std::iter::once(first.clone()).chain(more.iter().map(Py::text));
            Py::call(function, items.collect())
        };
        let layer = |made: &str, x: Py| Py::Call(format!("{made}("), vec![x], String::from(")"));
        match &node.op {
            Op::Conv2d(conv) => {
                let mut items = vec![
                    first,
                    Py::text(self.outputs(node, &say)),
                    Py::text(say(Role::Kernel)),
                    name.clone(),
                ];
                for role in [Role::Stride, Role::Padding, Role::Dilation, Role::Groups] {
                    let expr = column(step, exprs, role).filter(|expr| !usual(expr, role));
                    items.extend(
                        expr.map(|e| Py::text(format!("{}={}", role.word(), spoken(e, "")))),
                    );
                }
                if !conv.bias {
                    items.push(Py::text("bias=False"));
                }
                Py::call("conv", items)
            }
            Op::Linear(linear) => {
                let mut items = vec![self.outputs(node, &say)];
                if !linear.bias {
                    items.push(String::from("use_bias=False"));
                }
                items.push(format!("name={}", name.flat()));
                layer(&format!("layers.Dense({})", items.join(", ")), first)
            }
            Op::BatchNorm(norm) => {
                let mut items = vec![first, name.clone()];
                if !norm.scale {
                    items.push(Py::text("scale=False"));
                }
                if norm.eps != 1e-5 {
                    items.push(Py::text(format!("epsilon={}", real(norm.eps))));
                }
                if norm.momentum != 0.1 {
                    // The share of the old statistics, here.
                    items.push(Py::text(format!("momentum={}", real(share(norm.momentum)))));
                }
                Py::call("batch_norm", items)
            }
            Op::Subsample(op) => {
                let [kernel, stride] = [op.kernel, op.stride].map(|size| literal(size.into()));
                let made = format!("Subsample({kernel}, {stride}, name={})", name.flat());
                layer(&made, first)
            }
            Op::Rbf(_) => {
                let codes = match self.outline.classifier == Some(node.name.as_str()) {
                    true => "CODES[:classes]",
                    false => "CODES",
                };
                layer(&format!("Rbf({codes}, name={})", name.flat()), first)
            }
            Op::Pool(pool) => pooled(pool, step, exprs, first),
            Op::AdaptiveAvgPool(pool) => match pool.out.area() {
                1 => layer("layers.GlobalAveragePooling2D(keepdims=True)", first),
                _ => with("adaptive_avg_pool", &[format!("({}, {})", pool.out.h, pool.out.w)]),
            },
            Op::Lrn(lrn) => with("lrn", &lrn_options(lrn)),
            Op::Relu => layer("layers.ReLU()", first),
            Op::Tanh(Tanh { a: 1.0, s: 1.0 }) => with("ops.tanh", &[]),
            &Op::Tanh(Tanh { a, s }) => with("scaled_tanh", &[real(a), real(s)]),
            Op::Sigmoid => with("ops.sigmoid", &[]),
            Op::Softmax => layer("layers.Softmax()", first),
            Op::LogSoftmax => with("ops.log_softmax", &[]),
            &Op::Clip(Clip { min: Some(min), max: Some(max) }) => {
                with("ops.clip", &[real(min), real(max)])
            }
            &Op::Clip(Clip { min: None, max: Some(max) }) => with("ops.minimum", &[real(max)]),
            &Op::Clip(Clip { min, .. }) => {
                with("ops.maximum", &min.map(real).into_iter().collect::<Vec<_>>())
            }
            Op::Dropout(dropout) => layer(&format!("layers.Dropout({})", real(dropout.p)), first),
            Op::Add => layer("layers.Add()", Py::Row("[", x.to_vec(), "]")),
            Op::AddScaled(add) => {
                Py::text(format!("{} + {} * {}", x[0].flat(), real(add.scale), x[1].flat()))
            }
            Op::Concat => layer("layers.Concatenate()", Py::Row("[", x.to_vec(), "]")),
            Op::Flatten => {
                let graph = self.source.graph;
                let [_, h, w] = graph.node(node.inputs[0]).shape.chw();
                // Weights are turned with the row they weigh; who else reads it wants the channels first.
                let weighed = graph.find(&node.name).is_some_and(|row| graph.is_weighed(row));
                let x = match h * w > 1 && !weighed {
                    true => layer("layers.Permute((3, 1, 2))", first),
                    false => first,
                };
                layer("layers.Flatten()", x)
            }
            Op::Shortcut(_) => with("shrink", &[say(Role::Stride), say(Role::Outputs)]),
            Op::Input(_) => unreachable!("what is fed is no step"),
        }
    }

    fn outputs(&self, node: &Node, say: &dyn Fn(Role) -> String) -> String {
        match self.outline.classifier == Some(node.name.as_str()) {
            true => String::from("classes"),
            false => say(Role::Outputs),
        }
    }
}

/// What a layer is called: in the function of a class behind the part's own name.
fn name(inside: bool, local: &str) -> Py {
    match inside {
        true => Py::Text(format!("f\"{{name}}.{}", &quoted(&plain(local))[1..])),
        false => Py::text(quoted(local)),
    }
}

/// Without what an f-string would take for an expression.
fn plain(name: &str) -> String {
    name.replace(['{', '}'], "_")
}

/// `value`, its operand replaced by the expression that makes it.
fn within(value: &Py, operands: &[Py], nested: &[Py]) -> Py {
    if operands == nested {
        return value.clone();
    }
    match value {
        Py::Text(_) if *value == operands[0] => nested[0].clone(),
        Py::Call(open, items, close) => {
            let items = items.iter().map(|item| within(item, operands, nested)).collect();
            Py::Call(open.clone(), items, close.clone())
        }
        Py::After(before, py) => Py::after(before, within(py, operands, nested)),
        Py::Text(_) | Py::Row(..) => value.clone(),
    }
}

/// Whether something of Keras's or of ours is called so.
fn is_known(function: &str) -> bool {
    HELPERS.iter().any(|(name, _)| *name == function) || KNOWN.contains(&function)
}

/// `InceptionA` as the name of a function.
fn snake(class: &str) -> String {
    let mut name = String::new();
    for (i, c) in class.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    identifier(&name)
}

/// Which arguments are said, by word or by place.
fn keywords(items: &[Py]) -> Vec<Option<String>> {
    let word = |item: &Py| match item {
        Py::Text(text) => text.split_once('=').map(|(word, _)| word.to_owned()),
        Py::Call(..) | Py::Row(..) | Py::After(..) => None,
    };
    items.iter().map(word).collect()
}

fn pooled(pool: &Pool, step: &Step<'_>, exprs: &[Expr], x: Py) -> Py {
    let say = |role| column(step, exprs, role).map_or(String::new(), |expr| spoken(expr, ""));
    let (kernel, stride) = (say(Role::Kernel), say(Role::Stride));
    let padding = column(step, exprs, Role::Padding).filter(|expr| !usual(expr, Role::Padding));
    if pool.kind == PoolKind::MaxOfPadded {
        let padded = format!("layers.ZeroPadding2D({})(", literal(pool.pad.into()));
        let x = Py::Call(padded, vec![x], String::from(")"));
        let ceil = if pool.ceil { vec![Py::text("ceil=True")] } else { Vec::new() };
        let items = [vec![x, Py::text(kernel), Py::text(stride)], ceil];
        return Py::call("max_pool", items.concat());
    }
    if padding.is_none() && !pool.ceil {
        let made = match pool.kind {
            PoolKind::Max | PoolKind::MaxOfPadded => {
                format!("layers.MaxPooling2D({kernel}, {stride})(")
            }
            PoolKind::Avg { .. } => format!("layers.AveragePooling2D({kernel}, {stride})("),
        };
        return Py::Call(made, vec![x], String::from(")"));
    }
    let mut items = vec![x, Py::text(kernel), Py::text(stride)];
    items.extend(padding.map(|expr| Py::text(format!("padding={}", spoken(expr, "")))));
    if pool.ceil {
        items.push(Py::text("ceil=True"));
    }
    match pool.kind {
        PoolKind::Max | PoolKind::MaxOfPadded => Py::call("max_pool", items),
        PoolKind::Avg { count_include_pad } => {
            if !count_include_pad {
                items.push(Py::text("count_padding=False"));
            }
            Py::call("avg_pool", items)
        }
    }
}

/// 1 − `momentum`, in decimals: 0.99, not 0.99000001.
fn share(momentum: f32) -> f32 {
    ((1.0 - f64::from(momentum)) * 1e6).round() as f32 / 1e6
}

fn lrn_options(lrn: &Lrn) -> Vec<String> {
    vec![lrn.size.to_string(), real(lrn.factor()), real(lrn.beta), real(lrn.k)]
}

/// Whether a function of that name is called.
fn calls(text: &str, name: &str) -> bool {
    let call = format!("{name}(");
    text.match_indices(&call).any(|(at, _)| {
        !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    })
}
