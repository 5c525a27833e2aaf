//! PyTorch modules.

use std::collections::BTreeSet;

use striate_graph::op::{BatchNorm, Clip, Lrn, Pool, PoolKind, Tanh};
use striate_graph::{Graph, Node, Op, Shape, Sides};

use super::class::{Class, Expr, Role, less, lopsided, overhang};
use super::flow::{Statement, flow};
use super::lines::{Expression, Lines};
use super::outline::{Body, Outline, PYTHON, Step, What, is_module};
use super::python::{Py, is_identifier, keyword, quoted};
use super::script::{RENAMED, arguments, codes, docstring, literal, spoken, table};
use super::words::{column, own, shares, usual};
use super::{Source, real};

/// The program, imports included.
pub(crate) fn program(source: &Source<'_>) -> String {
    let graph = source.graph;
    let writer = Writer { graph, outline: Outline::of(graph, &PYTHON) };
    let mut modules = Lines::default();
    for class in &writer.outline.classes {
        writer.class(&mut modules, class);
    }
    writer.root(&mut modules, source);
    let modules = modules.finish();

    let mut lines = Lines::default();
    lines.lines(&source.docstring("PyTorch"));
    lines.line("");
    let sources = source.names(&writer.outline.keys);
    lines.lines(if sources.is_some() {
        "import json\nimport re\nimport struct"
    } else {
        "import json\nimport struct"
    });
    lines.line("");
    lines.lines("import torch\nfrom torch import nn");
    if modules.contains("F.") || modules.contains("Subsample(") {
        lines.line("from torch.nn import functional as F");
    }
    if let Some(names) = &sources {
        lines.line("");
        lines.line("# What weight files call the layers, and what they are called here.");
        lines.put("NAMES = ", names, "");
    }
    if modules.contains("mean_inside(") {
        lines.lines(MEAN_INSIDE);
    }
    let unscaled = |node: &Node| matches!(node.op, Op::BatchNorm(BatchNorm { scale: false, .. }));
    if graph.nodes().iter().any(unscaled) {
        lines.lines(UNSCALED);
    }
    writer.conv_norm(&mut lines);
    if modules.contains("Subsample(") {
        lines.lines(SUBSAMPLE);
    }
    if let Some(codes) = graph.nodes().iter().find_map(codes) {
        lines.line("");
        lines.line("");
        lines.line("# The codes of the classes: a column is a value, `#` is +1 and `.` is -1.");
        lines.put("CODES = ", &codes, "");
        lines.lines(RBF);
    }
    let mut text = lines.finish() + &modules;
    text.push_str(&source.build(writer.outline.classifier.is_some()));
    text.push_str(if sources.is_some() { RENAMED } else { "" });
    text.push_str(LOAD);
    let name = if sources.is_some() { "renamed(name)" } else { "name" };
    text.replace("@KEY@", name)
}

struct Writer<'g> {
    graph: &'g Graph,
    outline: Outline<'g>,
}

impl Writer<'_> {
    fn class(&self, lines: &mut Lines, class: &Class<'_>) {
        lines.lines("\n\n");
        lines.line(format!("class {}(nn.Module):", class.name));
        lines.block(|lines| {
            lines.line(docstring(&class.about));
            lines.line("");
            // What `forward` needs is known once it is written.
            let kept = self.forward(&mut Lines::default(), &class.body, Some(class));
            let mut arguments = vec![Py::text("self")];
            arguments.extend(class.arguments.iter().map(|argument| {
                Py::text(match argument.role.default() {
                    Some(usual) => format!("{}={}", argument.name, literal(usual)),
                    None => argument.name.clone(),
                })
            }));
            lines.put("def __init__", &Py::call("", arguments), ":");
            lines.block(|lines| {
                lines.line("super().__init__()");
                kept.iter().for_each(|name| lines.line(format!("self.{name} = {name}")));
                self.modules(lines, &class.body, Some(class), false);
            });
            lines.line("");
            self.forward(lines, &class.body, Some(class));
        });
    }

    fn root(&self, lines: &mut Lines, source: &Source<'_>) {
        lines.lines("\n\n");
        lines.line(format!("class {}(nn.Module):", source.class_name()));
        lines.block(|lines| {
            lines.line(docstring(&source.about()));
            lines.line("");
            let classes = format!("classes={}", self.graph.classes());
            let arguments = match self.outline.classifier {
                Some(_) => vec![Py::text("self"), Py::Text(classes)],
                None => vec![Py::text("self")],
            };
            lines.put("def __init__", &Py::call("", arguments), ":");
            lines.block(|lines| {
                lines.line("super().__init__()");
                self.modules(lines, &self.outline.body, None, true);
            });
            lines.line("");
            self.forward(lines, &self.outline.body, None);
        });
    }

    /// What the columns of a step are.
    fn exprs(&self, body: &Body<'_>, class: Option<&Class<'_>>, at: usize) -> Vec<Expr> {
        let step = &body.steps[at];
        match class {
            Some(class) => class.exprs[at].clone(),
            None => own(step),
        }
    }

    /// The lines of a constructor that make what has weights. `tables`: long runs as loops.
    fn modules(&self, lines: &mut Lines, body: &Body<'_>, class: Option<&Class<'_>>, tables: bool) {
        let mut entries: Vec<(String, Py)> = Vec::new();
        let mut optional = Vec::new();
        for (at, step) in body.steps.iter().enumerate() {
            let exprs = self.exprs(body, class, at);
            if let What::Optional(chain) = &step.what {
                let modules = chain.iter().zip(shares(chain, &exprs[1..]));
                let named = |(step, own): (&Step<'_>, &[Expr])| {
                    self.module(step, own).map(|py| (step.local.clone(), py))
                };
                let inner: Vec<(String, Py)> = modules.filter_map(named).collect();
                optional.push((spoken(&exprs[0], ""), inner));
            } else if let Some(py) = self.module(step, &exprs) {
                entries.push((step.local.clone(), py));
            }
        }
        let entries = gathered(entries);
        let mut rest = &entries[..];
        while let Some(((local, py), others)) = rest.split_first() {
            let run = rest.iter().take_while(|(_, other)| alike(py, other)).count();
            if tables && run > 2 {
                self.table(lines, &rest[..run]);
                rest = &rest[run..];
            } else {
                add(lines, local, py);
                rest = others;
            }
        }
        for (flag, inner) in optional.iter().filter(|(_, inner)| !inner.is_empty()) {
            lines.line(format!("if {flag}:"));
            lines.block(|lines| inner.iter().for_each(|(local, py)| add(lines, local, py)));
        }
    }

    /// A run of modules of one kind: what differs is a table.
    fn table(&self, lines: &mut Lines, run: &[(String, Py)]) {
        let Py::Call(open, _, close) = &run[0].1 else { return };
        let classes = &self.outline.classes;
        let class = classes.iter().find(|class| open.strip_suffix('(') == Some(&class.name));
        let words: Vec<&str> = match class {
            Some(class) => class.arguments.iter().map(|argument| argument.name.as_str()).collect(),
            None => vec!["inputs", "outputs", "kernel"],
        };
        let names = run.iter().map(|(local, _)| quoted(local)).collect();
        let calls = run.iter().map(|(_, py)| items(py).to_vec()).collect();
        let table = table(names, calls, &words);
        lines.put(&format!("for {} in ", table.words.join(", ")), &table.rows, ":");
        let module = Py::Call(open.clone(), table.arguments, close.clone());
        let made = Py::call("self.add_module", vec![Py::text("name"), module]);
        lines.block(|lines| lines.put("", &made, ""));
    }

    /// What makes the module of a step, if it has weights.
    fn module(&self, step: &Step<'_>, exprs: &[Expr]) -> Option<Py> {
        match &step.what {
            What::Op(node) => node.op.has_parameters().then(|| self.layer(step, node, exprs)),
            What::ConvNorm(conv, _) => Some(self.convolution("ConvBn", step, conv, exprs)),
            What::Part(class) => {
                let class = &self.outline.classes[*class];
                Some(Py::call(&class.name, arguments(class, exprs)))
            }
            What::Sequence(steps) => {
                let item = |(step, own): (&Step<'_>, &[Expr])| match &step.what {
                    What::Op(node) => Some(self.layer(step, node, own)),
                    What::ConvNorm(..) | What::Part(_) | What::Sequence(_) | What::Optional(_) => {
                        self.module(step, own)
                    }
                };
                let items = steps.iter().zip(shares(steps, exprs)).filter_map(item).collect();
                Some(Py::call("nn.Sequential", repeated(items)))
            }
            What::Optional(_) => None,
        }
    }

    /// A layer as a module.
    fn layer(&self, step: &Step<'_>, node: &Node, exprs: &[Expr]) -> Py {
        let column = |role| column(step, exprs, role).map(|expr| spoken(expr, ""));
        let inputs = || column(Role::Inputs).unwrap_or_default();
        match &node.op {
            Op::Pool(pool) => {
                let items = pool_options(pool, step, exprs, "");
                match pool.kind {
                    PoolKind::Max | PoolKind::MaxOfPadded => Py::call("nn.MaxPool2d", items),
                    PoolKind::Avg { .. } => Py::call("nn.AvgPool2d", items),
                }
            }
            Op::Conv2d(_) => self.convolution("nn.Conv2d", step, node, exprs),
            Op::Linear(linear) => {
                let mut items = vec![Py::text(inputs()), Py::text(self.outputs(step, node, exprs))];
                if !linear.bias {
                    items.push(Py::text("bias=False"));
                }
                Py::call("nn.Linear", items)
            }
            Op::BatchNorm(norm) => {
                let kind = match node.shape {
                    Shape::Map { .. } => "nn.BatchNorm2d",
                    Shape::Flat(_) => "nn.BatchNorm1d",
                };
                let mut items = vec![Py::text(inputs())];
                items.extend(norm_options(norm));
                scaled(norm, Py::call(kind, items))
            }
            Op::Subsample(op) => {
                let sizes = [op.kernel, op.stride].map(|size| Py::text(literal(size.into())));
                let [kernel, stride] = sizes;
                Py::call("Subsample", vec![Py::text(inputs()), kernel, stride])
            }
            Op::Rbf(_) => match self.outputs(step, node, exprs).as_str() {
                "classes" => Py::text("Rbf(CODES[:classes])"),
                _ => Py::text("Rbf(CODES)"),
            },
            Op::Relu => Py::text("nn.ReLU()"),
            Op::Input(_)
            | Op::AdaptiveAvgPool(_)
            | Op::Lrn(_)
            | Op::Tanh(_)
            | Op::Sigmoid
            | Op::Softmax
            | Op::LogSoftmax
            | Op::Clip(_)
            | Op::Dropout(_)
            | Op::Add
            | Op::AddScaled(_)
            | Op::Concat
            | Op::Flatten
            | Op::Shortcut(_) => unreachable!("it has no weights and is in no sequence"),
        }
    }

    /// The channels that a layer makes: the classes, if it is the one that tells them apart.
    fn outputs(&self, step: &Step<'_>, node: &Node, exprs: &[Expr]) -> String {
        if self.outline.classifier == Some(node.name.as_str()) {
            return String::from("classes");
        }
        column(step, exprs, Role::Outputs).map_or(String::new(), |expr| spoken(expr, ""))
    }

    fn convolution(&self, kind: &str, step: &Step<'_>, node: &Node, exprs: &[Expr]) -> Py {
        let Op::Conv2d(conv) = &node.op else { unreachable!("a convolution") };
        let column = |role| column(step, exprs, role);
        let inputs = column(Role::Inputs).map_or(String::new(), |expr| spoken(expr, ""));
        let kernel = column(Role::Kernel).map_or(String::new(), |expr| spoken(expr, ""));
        let mut items =
            vec![Py::text(inputs), Py::text(self.outputs(step, node, exprs)), Py::text(kernel)];
        for role in [Role::Stride, Role::Padding, Role::Dilation, Role::Groups] {
            // What is padded differently on opposite sides is padded before.
            let said = role != Role::Padding || !lopsided(conv.pad);
            let expr = column(role).filter(|expr| said && !usual(expr, role));
            items.extend(expr.map(|e| Py::text(format!("{}={}", role.word(), spoken(e, "")))));
        }
        if !conv.bias {
            items.push(Py::text("bias=False"));
        }
        Py::call(kind, items)
    }

    /// `forward`, and which arguments it needs the module to keep.
    fn forward(
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

    /// The class of a convolution called `conv` with a normalisation called `conv.bn`.
    fn conv_norm(&self, lines: &mut Lines) {
        let Some(norm) = self.outline.norm() else { return };
        let mut items = vec![Py::text("self.out_channels")];
        items.extend(norm_options(norm));
        lines.lines(CONV_BN);
        lines.block(|lines| {
            lines.block(|lines| {
                lines.line("super().__init__(*args, **kwargs)");
                lines.put("self.bn = ", &scaled(norm, Py::call("nn.BatchNorm2d", items)), "");
            });
            lines.line("");
            lines.line("def forward(self, x):");
            lines.block(|lines| lines.line("return self.bn(super().forward(x))"));
        });
    }
}

/// Padding in the order of `F.pad`.
fn borders(Sides { top, left, bottom, right }: Sides) -> String {
    format!("({left}, {right}, {top}, {bottom})")
}

/// The same several times is said once.
fn repeated(items: Vec<Py>) -> Vec<Py> {
    let mut said = Vec::new();
    let mut rest = &items[..];
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|item| *item == first).count();
        match run {
            1 | 2 => said.extend(rest[..run].iter().cloned()),
            _ => {
                let all = format!("{} for _ in range({run})", first.flat());
                said.push(Py::after("*", Py::Row("[", vec![Py::text(all)], "]")));
            }
        }
        rest = &rest[run..];
    }
    said
}

fn items(py: &Py) -> &[Py] {
    match py {
        Py::Call(_, items, _) => items,
        Py::Text(_) | Py::Row(..) | Py::After(..) => &[],
    }
}

/// Whether two modules are made in the same words, but for numbers.
fn alike(a: &Py, b: &Py) -> bool {
    let (Py::Call(f, a, _), Py::Call(g, b, _)) = (a, b) else { return false };
    let word = |py: &Py| keyword(py).map(|(word, _)| word.to_owned());
    let flat = |py: &Py| matches!(py, Py::Text(_));
    let same = |(a, b): (&Py, &Py)| flat(a) && flat(b) && word(a) == word(b);
    f == g && a.len() == b.len() && a.iter().zip(b).all(same)
}

fn add(lines: &mut Lines, local: &str, py: &Py) {
    if is_identifier(local) {
        lines.put(&format!("self.{local} = "), py, "");
    } else {
        let items = vec![Py::text(quoted(local)), py.clone()];
        lines.put("", &Py::call("self.add_module", items), "");
    }
}

/// Modules called `branches.0`, `branches.1` are those of one `branches`.
fn gathered(entries: Vec<(String, Py)>) -> Vec<(String, Py)> {
    let mut gathered: Vec<(String, Py)> = Vec::new();
    for (local, py) in entries {
        let Some((head, tail)) = local.split_once('.') else {
            gathered.push((local, py));
            continue;
        };
        let item = Py::after(format!("{}: ", quoted(tail)), py);
        match gathered.iter_mut().find(|(local, _)| local == head) {
            Some((_, Py::Row(_, items, _))) => items.push(item),
            _ => gathered.push((head.to_owned(), Py::Row("{", vec![item], "}"))),
        }
    }
    let whole = |(local, py)| match py {
        Py::Row(..) => (local, Py::call("nn.ModuleDict", vec![py])),
        Py::Text(_) | Py::Call(..) | Py::After(..) => (local, py),
    };
    gathered.into_iter().map(whole).collect()
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

/// Kernel, stride and what is not usual.
fn pool_options(pool: &Pool, step: &Step<'_>, exprs: &[Expr], object: &str) -> Vec<Py> {
    let say = |role| column(step, exprs, role).map_or(String::new(), |e| spoken(e, object));
    let mut items = vec![Py::text(say(Role::Kernel)), Py::text(say(Role::Stride))];
    let padding = column(step, exprs, Role::Padding);
    let padded = padding.is_some_and(|expr| !usual(expr, Role::Padding));
    if padded {
        items.push(Py::text(format!("padding={}", say(Role::Padding))));
    }
    if pool.ceil {
        items.push(Py::text("ceil_mode=True"));
    }
    if pool.kind == (PoolKind::Avg { count_include_pad: false }) && padded {
        items.push(Py::text("count_include_pad=False"));
    }
    items
}

fn norm_options(norm: &BatchNorm) -> Vec<Py> {
    let mut items = Vec::new();
    if norm.eps != 1e-5 {
        items.push(Py::text(format!("eps={}", real(norm.eps))));
    }
    if norm.momentum != 0.1 {
        items.push(Py::text(format!("momentum={}", real(norm.momentum))));
    }
    items
}

/// A normalisation, without a scale where there is none.
fn scaled(norm: &BatchNorm, py: Py) -> Py {
    if norm.scale { py } else { Py::call("unscaled", vec![py]) }
}

/// PyTorch divides α by the number of maps.
fn lrn_options(lrn: &Lrn) -> Vec<String> {
    let alpha = match lrn.divided {
        true => real(lrn.alpha),
        false => format!("{} * {}", lrn.size, real(lrn.alpha)),
    };
    vec![lrn.size.to_string(), alpha, real(lrn.beta), real(lrn.k)]
}

const CONV_BN: &str = r#"

class ConvBn(nn.Conv2d):
    """Convolution, then batch normalisation."""

    def __init__(self, *args, **kwargs):
"#;

const SUBSAMPLE: &str = r#"

class Subsample(nn.Module):
    """The sum of each window, times a coefficient, plus a bias: a pair a map."""

    def __init__(self, channels, kernel, stride):
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        x = F.avg_pool2d(x, self.kernel, self.stride, divisor_override=1)
        return x * self.weight[:, None, None] + self.bias[:, None, None]
"#;

const RBF: &str = r##"

class Rbf(nn.Module):
    """Squared distances to the codes of the classes: the smallest wins."""

    def __init__(self, codes):
        super().__init__()
        values = [[1.0 if value == "#" else -1.0 for value in code] for code in codes]
        self.register_buffer("weight", torch.tensor(values))

    def forward(self, x):
        return (x[:, None] - self.weight).square().sum(2)
"##;

const MEAN_INSIDE: &str = r#"

def mean_inside(x, kernel, stride, padding):
    """The mean of each window over the pixels that are no padding."""
    inside = F.pad(torch.ones_like(x[:1, :1]), padding)
    inside = F.avg_pool2d(inside, kernel, stride)
    return F.avg_pool2d(F.pad(x, padding), kernel, stride) / inside
"#;

const UNSCALED: &str = r#"

def unscaled(norm):
    """A normalisation without a scale."""
    norm.register_parameter("weight", None)
    return norm
"#;

const LOAD: &str = r#"

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def load_weights(model, path):
    """Fills the model from a safetensors file, by the names of its layers."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        values = file.read()
    header.pop("__metadata__", None)
    state = {}
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        data, dtype = bytearray(values[begin:end]), DTYPES[tensor["dtype"]]
        flat = torch.frombuffer(data, dtype=dtype)
        state[@KEY@] = flat.reshape(tensor["shape"])
    # Counters of batches are PyTorch's own.
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, value)
    model.load_state_dict(state)
    return model
"#;
