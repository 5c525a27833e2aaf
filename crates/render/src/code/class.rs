//! Parts of the same form: what they share is the body of a class, and the numbers that differ are
//! its arguments.

use std::collections::HashMap;

use striate_graph::op::{Pool, PoolKind};
use striate_graph::{Graph, Node, Op, Shape, Sides, Size};

use super::outline::{Body, Operand, Step, What};
use super::python::identifier;

/// A number of a layer that may be another in other parts of the same form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) role: Role,
    /// What it is in this part; nothing if the part does not have that layer.
    pub(crate) value: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Channels that are read.
    Inputs,
    /// Channels that are made.
    Outputs,
    Kernel,
    Stride,
    Padding,
    Dilation,
    Groups,
    /// Whether the steps that some parts leave out are there.
    Project,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Number(usize),
    /// Vertical and horizontal.
    Pair(usize, usize),
    /// Top, left, bottom, right.
    Sides([usize; 4]),
    Flag(bool),
}

impl From<Size> for Value {
    fn from(Size { h, w }: Size) -> Value {
        if h == w { Value::Number(h) } else { Value::Pair(h, w) }
    }
}

impl From<Sides> for Value {
    fn from(sides: Sides) -> Value {
        let Sides { top, left, bottom, right } = sides;
        match (top, left) == (bottom, right) {
            true => Size { h: top, w: left }.into(),
            false => Value::Sides(sides.array()),
        }
    }
}

impl Role {
    /// What need not be said.
    pub(crate) fn default(self) -> Option<Value> {
        match self {
            Role::Inputs | Role::Outputs | Role::Kernel => None,
            Role::Stride | Role::Dilation | Role::Groups => Some(Value::Number(1)),
            Role::Padding => Some(Value::Number(0)),
            Role::Project => Some(Value::Flag(false)),
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Inputs => "inputs",
            Role::Outputs => "outputs",
            Role::Kernel => "kernel",
            Role::Stride => "stride",
            Role::Padding => "padding",
            Role::Dilation => "dilation",
            Role::Groups => "groups",
            Role::Project => "project",
        }
    }
}

/// What a column is in the body of a class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Expr {
    /// The same in all parts.
    Same(Value),
    /// A multiple of an argument.
    Argument { name: String, times: usize },
}

/// An argument of a class.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// For each part.
    values: Vec<Option<Value>>,
}

impl Argument {
    /// What it is in some part.
    pub(crate) fn values(&self) -> impl Iterator<Item = Value> {
        self.values.iter().copied().flatten()
    }
}

/// Parts of one form.
#[derive(Debug)]
pub(crate) struct Class<'g> {
    /// Unique among the classes of a network.
    pub(crate) name: String,
    /// In one line, what it is.
    pub(crate) about: String,
    pub(crate) body: Body<'g>,
    pub(crate) arguments: Vec<Argument>,
    /// What the columns of each step are, in order.
    pub(crate) exprs: Vec<Vec<Expr>>,
}

impl Class<'_> {
    /// The arguments of one of its parts.
    pub(crate) fn columns_of(&self, part: usize) -> Vec<Column> {
        let column =
            |argument: &Argument| Column { role: argument.role, value: argument.values[part] };
        self.arguments.iter().map(column).collect()
    }
}

/// The numbers of a layer; `inputs`: with the channels it reads.
pub(crate) fn attributes(graph: &Graph, node: &Node, inputs: bool) -> Vec<Column> {
    let read = || node.inputs.first().map_or(0, |&id| graph.node(id).shape.channels());
    let column = |role, value: Value| Column { role, value: Some(value) };
    let number = |role, n: usize| column(role, Value::Number(n));
    let mut columns = Vec::new();
    match &node.op {
        Op::Conv2d(conv) => {
            if inputs {
                columns.push(number(Role::Inputs, read()));
            }
            columns.push(number(Role::Outputs, conv.out));
            columns.push(column(Role::Kernel, conv.kernel.into()));
            columns.push(column(Role::Stride, conv.stride.into()));
            columns.push(column(Role::Padding, conv.pad.into()));
            columns.push(column(Role::Dilation, conv.dilation.into()));
            columns.push(number(Role::Groups, conv.groups));
        }
        Op::Linear(linear) => {
            if inputs {
                columns.push(number(Role::Inputs, read()));
            }
            columns.push(number(Role::Outputs, linear.out));
        }
        Op::Pool(pool) => {
            columns.push(column(Role::Kernel, pool.kernel.into()));
            columns.push(column(Role::Stride, pool.stride.into()));
            columns.push(column(Role::Padding, pool.pad.into()));
        }
        Op::Shortcut(shortcut) => {
            columns.push(number(Role::Stride, shortcut.stride));
            columns.push(number(Role::Outputs, shortcut.out));
        }
        Op::BatchNorm(_) | Op::Subsample(_) if inputs => columns.push(number(Role::Inputs, read())),
        Op::Input(_)
        | Op::AdaptiveAvgPool(_)
        | Op::BatchNorm(_)
        | Op::Subsample(_)
        | Op::Lrn(_)
        | Op::Rbf(_)
        | Op::Relu
        | Op::Tanh(_)
        | Op::Sigmoid
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Clip(_)
        | Op::Dropout(_)
        | Op::Add
        | Op::AddScaled(_)
        | Op::Concat
        | Op::Flatten => {}
    }
    columns
}

/// What layers of one form share besides their columns.
fn form(step: &Step<'_>) -> String {
    let op = |node: &Node| match &node.op {
        Op::Conv2d(conv) => format!("conv {} {:?} {}", conv.bias, conv.table, lopsided(conv.pad)),
        Op::Linear(linear) => format!("linear {}", linear.bias),
        Op::Pool(pool) if pool.kind == PoolKind::MaxOfPadded => format!("{pool:?}"),
        Op::Pool(pool) => format!("{:?} {} {}", pool.kind, pool.ceil, lopsided(pool.pad)),
        Op::Shortcut(_) => String::from("shortcut"),
        other @ (Op::Input(_)
        | Op::AdaptiveAvgPool(_)
        | Op::BatchNorm(_)
        | Op::Subsample(_)
        | Op::Lrn(_)
        | Op::Rbf(_)
        | Op::Relu
        | Op::Tanh(_)
        | Op::Sigmoid
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Clip(_)
        | Op::Dropout(_)
        | Op::Add
        | Op::AddScaled(_)
        | Op::Concat
        | Op::Flatten) => format!("{other:?}"),
    };
    // What is computed of a row is other code than what is computed of a map, in some languages.
    let op = |node: &Node| match node.shape {
        Shape::Map { .. } => op(node),
        Shape::Flat(_) => format!("row {}", op(node)),
    };
    let named = |what: String| format!("{what} {}", step.local);
    match &step.what {
        What::Op(node) if node.op.has_parameters() => named(op(node)),
        What::Op(node) => op(node),
        What::ConvNorm(conv, norm) => named(format!("{} {}", op(conv), op(norm))),
        What::Part(class) => named(format!("part {class}")),
        What::Sequence(steps) | What::Optional(steps) => {
            named(steps.iter().map(form).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Whether opposite sides have different paddings.
pub(crate) fn lopsided(pad: Sides) -> bool {
    (pad.top, pad.left) != (pad.bottom, pad.right)
}

/// Padding with which a pooling needs no rounding up: as much below and to the right as its windows
/// reach.
pub(crate) fn overhang(pool: &Pool, from: Shape, to: Shape) -> Sides {
    let ([_, h, w], [_, out_h, out_w]) = (from.chw(), to.chw());
    let Sides { top, left, bottom, right } = pool.pad;
    let reach = |out: usize, stride: usize, kernel: usize, n: usize| {
        ((out - 1) * stride + kernel).saturating_sub(n)
    };
    Sides {
        bottom: reach(out_h, pool.stride.h, pool.kernel.h, h + top).max(bottom),
        right: reach(out_w, pool.stride.w, pool.kernel.w, w + left).max(right),
        top,
        left,
    }
}

/// What is left of a padding without some of it.
pub(crate) fn less(all: Sides, counted: Sides) -> Sides {
    Sides {
        top: all.top - counted.top,
        left: all.left - counted.left,
        bottom: all.bottom.saturating_sub(counted.bottom),
        right: all.right.saturating_sub(counted.right),
    }
}

/// Parts that have one form, before it is known what they share.
struct Draft<'g> {
    body: Body<'g>,
    /// The columns of each step, for each part.
    parts: Vec<Vec<Vec<Column>>>,
    paths: Vec<String>,
}

/// The classes of some parts, and for each part its path, its class and which of its class it is.
pub(crate) fn classes<'g>(
    parts: Vec<(String, Body<'g>)>,
) -> (Vec<Class<'g>>, Vec<(String, usize, usize)>) {
    let mut drafts: Vec<Draft<'g>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (path, body) in parts {
        let columns = body.steps.iter().map(|step| step.columns.clone()).collect();
        let at = *known.entry(written(&body, None)).or_insert_with(|| {
            drafts.push(Draft { body, parts: Vec::new(), paths: Vec::new() });
            drafts.len() - 1
        });
        drafts[at].parts.push(columns);
        drafts[at].paths.push(path);
    }
    let drafts = joined(drafts);
    let mut members = Vec::new();
    for (class, draft) in drafts.iter().enumerate() {
        let paths = draft.paths.iter().enumerate();
        members.extend(paths.map(|(part, path)| (path.clone(), class, part)));
    }
    (drafts.into_iter().map(class).collect(), members)
}

/// A body as a key: equal for parts of one form. With a `gap`, a chain of steps that ends in an
/// operand is left out, and what the operand is.
fn written(body: &Body<'_>, gap: Option<&Gap>) -> String {
    let mut place = Vec::new();
    let mut next = 0;
    for i in 0..body.steps.len() {
        place.push(next);
        next += usize::from(gap.is_none_or(|gap| !gap.chain.contains(&i)));
    }
    let operand = |operand: &Operand| match operand {
        None => String::from("x"),
        Some(i) => place[*i].to_string(),
    };
    let mut text = String::new();
    for (i, step) in body.steps.iter().enumerate() {
        if gap.is_some_and(|gap| gap.chain.contains(&i)) {
            continue;
        }
        let inputs = step.inputs.iter().enumerate().map(|(at, input)| match gap {
            Some(gap) if (gap.step, gap.operand) == (i, at) => String::from("?"),
            Some(_) | None => operand(input),
        });
        let inputs: Vec<String> = inputs.collect();
        text.push_str(&format!("{} ({})\n", form(step), inputs.join(" ")));
    }
    let outputs: Vec<String> = body.outputs.iter().map(operand).collect();
    text + &outputs.join(" ")
}

/// Steps that lead to nothing but an operand of a sum, and which.
#[derive(Clone, Debug)]
struct Gap {
    chain: Vec<usize>,
    step: usize,
    operand: usize,
}

/// The longest chain that some parts may have and others not.
const OPTIONAL: usize = 2;

/// All chains up to a length, empty ones as well, that end in an operand of a sum.
fn gaps(body: &Body<'_>) -> Vec<Gap> {
    let mut uses = vec![0; body.steps.len()];
    let read = body.steps.iter().flat_map(|step| &step.inputs);
    read.chain(&body.outputs).flatten().for_each(|&i| uses[i] += 1);
    let mut gaps = Vec::new();
    for (step, sum) in body.steps.iter().enumerate() {
        let What::Op(Node { op: Op::Add | Op::AddScaled(_), .. }) = sum.what else { continue };
        for operand in 0..sum.inputs.len() {
            let (mut chain, mut at) = (Vec::new(), sum.inputs[operand]);
            gaps.push(Gap { chain: chain.clone(), step, operand });
            while let Some(i) = at
                && uses[i] == 1
                && body.steps[i].inputs.len() == 1
                && chain.len() < OPTIONAL
            {
                chain.insert(0, i);
                at = body.steps[i].inputs[0];
                gaps.push(Gap { chain: chain.clone(), step, operand });
            }
        }
    }
    gaps
}

/// Makes one draft of two where the one has a few steps before a sum that the other has not: a
/// shortcut with a projection and without.
fn joined(drafts: Vec<Draft<'_>>) -> Vec<Draft<'_>> {
    let mut done: Vec<Draft<'_>> = Vec::new();
    for draft in drafts {
        let mut draft = Some(draft);
        for other in &mut done {
            let Some(new) = draft.take() else { break };
            draft = match meet(&other.body, &new.body) {
                Some((gap, short)) => {
                    let long = std::mem::replace(other, empty());
                    *other = join(long, new, &gap, &short);
                    None
                }
                None => match meet(&new.body, &other.body) {
                    Some((gap, short)) => {
                        let old = std::mem::replace(other, empty());
                        *other = join(new, old, &gap, &short);
                        None
                    }
                    None => Some(new),
                },
            };
        }
        done.extend(draft);
    }
    done
}

fn empty<'g>() -> Draft<'g> {
    let body = Body { steps: Vec::new(), outputs: Vec::new() };
    Draft { body, parts: Vec::new(), paths: Vec::new() }
}

/// Where `long` has steps that `short` has not, if that is all that sets them apart.
fn meet(long: &Body<'_>, short: &Body<'_>) -> Option<(Gap, Gap)> {
    let extra = long.steps.len().checked_sub(short.steps.len()).filter(|&extra| extra > 0)?;
    let gaps_of_short: Vec<(Gap, String)> = gaps(short)
        .into_iter()
        .filter(|gap| gap.chain.is_empty())
        .map(|gap| (gap.clone(), written(short, Some(&gap))))
        .collect();
    gaps(long).into_iter().filter(|gap| gap.chain.len() == extra).find_map(|gap| {
        let text = written(long, Some(&gap));
        let found = gaps_of_short.iter().find(|(_, short)| *short == text)?;
        Some((gap, found.0.clone()))
    })
}

/// Both as one, with a step that is a chain or nothing.
fn join<'g>(long: Draft<'g>, short: Draft<'g>, gap: &Gap, short_gap: &Gap) -> Draft<'g> {
    let (first, last) = (gap.chain[0], gap.chain[gap.chain.len() - 1]);
    let merged = |i: usize| i - gap.chain.iter().filter(|&&c| c < i && c != first).count();
    let moved =
        |operand: Operand| operand.map(|i| if i == last { merged(first) } else { merged(i) });
    // What `short` has at that place, by the steps of `long`.
    let kept: Vec<usize> = (0..long.body.steps.len()).filter(|i| !gap.chain.contains(i)).collect();
    let instead = short.body.steps[short_gap.step].inputs[short_gap.operand];
    let instead = moved(instead.map(|i| kept[i]));
    let mut steps = Vec::new();
    for (i, step) in long.body.steps.iter().enumerate() {
        if i == first {
            let chain = gap.chain.iter().enumerate().map(|(at, &c)| Step {
                inputs: vec![at.checked_sub(1)],
                ..long.body.steps[c].clone()
            });
            steps.push(Step {
                local: String::from("shortcut"),
                what: What::Optional(chain.collect()),
                inputs: step.inputs.iter().map(|&operand| moved(operand)).collect(),
                columns: Vec::new(),
                else_input: Some(instead),
            });
        } else if !gap.chain.contains(&i) {
            let inputs = step.inputs.iter().map(|&operand| moved(operand)).collect();
            steps.push(Step { inputs, ..step.clone() });
        }
    }
    let flag = |there: bool| Column { role: Role::Project, value: Some(Value::Flag(there)) };
    let whole = long.parts.into_iter().map(|columns| {
        let mut optional = vec![flag(true)];
        optional.extend(gap.chain.iter().flat_map(|&c| columns[c].clone()));
        let place = |(i, own): (usize, &Vec<Column>)| match i {
            i if i == first => Some(optional.clone()),
            i if gap.chain.contains(&i) => None,
            _ => Some(own.clone()),
        };
        columns.iter().enumerate().filter_map(place).collect::<Vec<_>>()
    });
    let whole: Vec<Vec<Vec<Column>>> = whole.collect();
    let mut absent = vec![flag(false)];
    absent.extend(whole[0][merged(first)].iter().skip(1).map(|c| Column { value: None, ..*c }));
    let less = short.parts.into_iter().map(|mut columns| {
        columns.insert(merged(first), absent.clone());
        columns
    });
    let parts = whole.iter().cloned().chain(less).collect();
    let paths = long.paths.into_iter().chain(short.paths).collect();
    let outputs = long.body.outputs.iter().map(|&operand| moved(operand)).collect();
    Draft { body: Body { steps, outputs }, parts, paths }
}

/// What the parts of a draft share, and how they differ.
fn class(draft: Draft<'_>) -> Class<'_> {
    let Draft { body, parts, paths } = draft;
    let mut arguments: Vec<Argument> = Vec::new();
    let convolutions = body.steps.iter().filter(|step| makes_channels(step)).count();
    // Widths first: all else may be a multiple of them. What some parts leave out comes last.
    let mut columns: Vec<(usize, usize)> = (0..body.steps.len())
        .flat_map(|step| (0..parts[0][step].len()).map(move |at| (step, at)))
        .collect();
    columns.sort_by_key(|&(step, at)| {
        let absent = parts.iter().any(|part| part[step][at].value.is_none());
        (absent, parts[0][step][at].role != Role::Outputs, step, at)
    });
    let mut exprs: Vec<Vec<Option<Expr>>> =
        parts[0].iter().map(|columns| vec![None; columns.len()]).collect();
    for (step, at) in columns {
        let role = parts[0][step][at].role;
        let values: Vec<Option<Value>> = parts.iter().map(|part| part[step][at].value).collect();
        let expr = same(&values).or_else(|| multiple(&values, role, &arguments));
        exprs[step][at] = Some(expr.unwrap_or_else(|| {
            let step = &body.steps[step];
            let name = named(role, &step.local, convolutions, &arguments);
            // Who leaves the layer out may say any number.
            let usual = role.default().or(values.iter().flatten().next().copied());
            let values = values.iter().map(|value| value.or(usual)).collect();
            arguments.push(Argument { name: name.clone(), role, values });
            Expr::Argument { name, times: 1 }
        }));
    }
    call_width(&mut arguments, &mut exprs, convolutions);
    // As one would say them: what is read, what is made, and then what has a usual value.
    arguments
        .sort_by_key(|argument| (argument.role.default().is_some(), argument.role != Role::Inputs));
    let exprs = exprs.into_iter().map(|exprs| exprs.into_iter().flatten().collect()).collect();
    let (name, about) = (name(&body, &paths), about(&body));
    Class { name, about, body, arguments, exprs }
}

/// If all widths are multiples of one, it is not called after its layer.
fn call_width(arguments: &mut [Argument], exprs: &mut [Vec<Option<Expr>>], convolutions: usize) {
    let mut widths = arguments.iter_mut().filter(|argument| argument.role == Role::Outputs);
    let (Some(argument), None) = (widths.next(), widths.next()) else { return };
    if convolutions < 2 {
        return;
    }
    let old = std::mem::replace(&mut argument.name, String::from("width"));
    for expr in exprs.iter_mut().flatten().flatten() {
        if let Expr::Argument { name, .. } = expr
            && *name == old
        {
            *name = String::from("width");
        }
    }
}

fn makes_channels(step: &Step<'_>) -> bool {
    step.columns.iter().any(|column| column.role == Role::Outputs)
}

fn same(values: &[Option<Value>]) -> Option<Expr> {
    let mut there = values.iter().flatten();
    let first = there.next()?;
    there.all(|value| value == first).then_some(Expr::Same(*first))
}

/// The argument that has these values, or a part of them, in all parts.
fn multiple(values: &[Option<Value>], role: Role, arguments: &[Argument]) -> Option<Expr> {
    let widths = matches!(role, Role::Inputs | Role::Outputs);
    arguments.iter().find_map(|argument| {
        let of_widths = matches!(argument.role, Role::Inputs | Role::Outputs);
        let mut times = None;
        for pair in values.iter().zip(&argument.values) {
            let (Some(value), of) = pair else { continue };
            let found = match (value, (*of)?) {
                (value, of) if *value == of && (role == argument.role || widths && of_widths) => 1,
                (Value::Number(value), Value::Number(of))
                    if widths && of_widths && of > 0 && value % of == 0 =>
                {
                    value / of
                }
                _ => return None,
            };
            if *times.get_or_insert(found) != found {
                return None;
            }
        }
        Some(Expr::Argument { name: argument.name.clone(), times: times? })
    })
}

fn named(role: Role, local: &str, convolutions: usize, arguments: &[Argument]) -> String {
    let local = identifier(local);
    let usual = match role {
        Role::Outputs if convolutions > 1 => local.clone(),
        Role::Inputs
        | Role::Outputs
        | Role::Kernel
        | Role::Stride
        | Role::Padding
        | Role::Dilation
        | Role::Groups
        | Role::Project => String::from(role.word()),
    };
    let longer = format!("{local}_{}", role.word());
    let counted = (2..).map(|i| format!("{longer}_{i}"));
    let taken = |name: &String| arguments.iter().any(|argument| argument.name == *name);
    let mut names = [usual, longer.clone()].into_iter().chain(counted);
    names.find(|name| !taken(name)).unwrap_or(longer)
}

/// What a class of such a form is called, by what its parts are called or by what it is made of.
fn name(body: &Body<'_>, paths: &[String]) -> String {
    let local = |path: &String| {
        let path = path.trim_end_matches('.');
        let local = path.rsplit('.').next().unwrap_or(path);
        local.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_').to_owned()
    };
    let first = local(&paths[0]);
    let alike = paths.iter().all(|path| local(path) == first);
    let letters = first.len() > 2 && first.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    let word = |step: &Step<'_>| match &step.what {
        What::Op(node) => node.op.word(),
        What::ConvNorm(..) | What::Part(_) | What::Sequence(_) | What::Optional(_) => "",
    };
    let ops: Vec<&str> = body.steps.iter().map(word).collect();
    let convolutions = ops.iter().filter(|word| **word == "conv").count();
    match ops[..] {
        ["conv", "bn", "relu"] => String::from("ConvBnRelu"),
        ["conv", "bn"] => String::from("ConvBn"),
        ["conv", "relu"] => String::from("ConvRelu"),
        _ if alike && letters => first.split('_').map(capitalized).collect(),
        _ if ops.contains(&"concat") => String::from("Inception"),
        _ if ops.contains(&"add") && convolutions == 2 => String::from("BasicBlock"),
        _ if ops.contains(&"add") => String::from("Bottleneck"),
        _ => String::from("Block"),
    }
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_ascii_uppercase().to_string() + chars.as_str())
}

/// What a class of such a form does, in a line.
fn about(body: &Body<'_>) -> String {
    let out = |operand: &Operand| operand.map(|i| &body.steps[i]);
    let mut last = body.outputs.first().and_then(out);
    while let Some(Step { what: What::Op(Node { op: Op::Relu, .. }), inputs, .. }) = last
        && let [Some(input)] = inputs[..]
        && let What::Op(Node { op: Op::Add | Op::AddScaled(_) | Op::Concat, .. }) =
            body.steps[input].what
    {
        last = Some(&body.steps[input]);
    }
    match last {
        Some(Step { what: What::Op(Node { op: Op::Concat, .. }), inputs, .. }) => {
            format!("{} branches, joined along the channels.", counted(inputs.len()))
        }
        Some(Step { what: What::Op(Node { op: Op::Add | Op::AddScaled(_), .. }), .. }) => {
            String::from("A residual unit: what its layers make, and a shortcut.")
        }
        _ => {
            let words: Vec<String> = body.steps.iter().map(said).collect();
            if words.len() > 2 && words.iter().all(|word| word == "part") {
                return format!("{} parts, one after the other.", counted(words.len()));
            }
            let text = words.join(", ");
            format!("{}.", capitalized(&text))
        }
    }
}

fn said(step: &Step<'_>) -> String {
    String::from(match &step.what {
        What::Op(node) => match &node.op {
            Op::Conv2d(_) => "convolution",
            Op::Linear(_) => "fully connected layer",
            Op::Pool(Pool { kind: PoolKind::Max | PoolKind::MaxOfPadded, .. }) => "max pooling",
            Op::Pool(_) | Op::AdaptiveAvgPool(_) | Op::Subsample(_) => "pooling",
            Op::BatchNorm(_) => "batch normalisation",
            Op::Lrn(_) => "local response normalisation",
            Op::Relu => "ReLU",
            Op::Input(_)
            | Op::Rbf(_)
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
            | Op::Shortcut(_) => node.op.kind(),
        },
        What::ConvNorm(..) => "convolution with batch normalisation",
        What::Part(_) | What::Sequence(_) | What::Optional(_) => "part",
    })
}

fn counted(n: usize) -> String {
    let words = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight"];
    words.get(n).map_or_else(|| n.to_string(), |word| (*word).to_owned())
}
