//! PyTorch modules.

mod forward;
mod helpers;

use striate_graph::op::{BatchNorm, Pool, PoolKind};
use striate_graph::{Graph, Node, Op, Shape};

use super::class::{Class, Expr, Role, lopsided};
use super::lines::{Expression, Lines};
use super::outline::{Body, Outline, PYTHON, Step, What, apart};
use super::python::{Py, is_identifier, keyword, quoted};
use super::script::{RENAMED, arguments, codes, docstring, literal, spoken, table};
use super::words::{column, own, shares, usual};
use super::{Source, real};
use helpers::{CONV_BN, LOAD, MEAN_INSIDE, RBF, SUBSAMPLE, UNSCALED};

/// What classes of ours are called.
const KNOWN: [&str; 3] = ["ConvBn", "Subsample", "Rbf"];

/// The program, imports included.
pub(crate) fn program(source: &Source<'_>) -> String {
    let graph = source.graph;
    let (mut outline, name) = (Outline::of(graph, &PYTHON), source.class_name());
    apart(&mut outline.classes, |class| KNOWN.contains(&class) || class == name);
    let writer = Writer { graph, outline };
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
