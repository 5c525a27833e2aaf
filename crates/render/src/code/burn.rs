//! Burn modules, in Rust.

mod helpers;
mod names;

use std::collections::{BTreeMap, HashMap};

use striate_graph::op::{Clip, Pool, PoolKind, Tanh};
use striate_graph::{Graph, Node, Op, Shape, Sides};

use super::class::{Argument, Class, Expr, Role, Value, less, overhang};
use super::flow::{Statement, flow};
use super::outline::{Body, Operand, Outline, Step, Style, What};
use super::rust::{Lines, Rust, identifier, local, raw};
use super::words::{column, own, shares, usual};
use super::{Source, codes, real, wrapped};
use helpers::{CONV_BN, HELPERS, LOAD_UNSCALED};

const STYLE: Style = Style {
    inputs: true,
    local,
    // What `new` and `forward` call their own.
    reserved: &["device", "classes", "x", "y", "z", "u", "v", "w", "p", "q", "r"],
    member: identifier,
    own: ".conv",
    is_sequence: are_of_a_class,
};

/// Whether a `Vec` can hold them.
fn are_of_a_class(steps: &[Step<'_>]) -> bool {
    let class = |step: &Step<'_>| match step.what {
        What::Part(class) => Some(class),
        What::Op(_) | What::ConvNorm(..) | What::Sequence(_) | What::Optional(_) => None,
    };
    steps.iter().all(|step| class(step).is_some() && class(step) == class(&steps[0]))
}

/// The program, imports included.
pub(crate) fn program(source: &Source<'_>) -> String {
    let graph = source.graph;
    let mut outline = Outline::of(graph, &STYLE);
    let name = apart(&mut outline.classes, source.class_name());
    let writer = Writer { graph, outline };
    let mut modules = Lines::default();
    writer.root(&mut modules, source, &name);
    for class in writer.outline.classes.iter().rev() {
        writer.class(&mut modules, class);
    }
    let helpers = HELPERS.iter().filter(|(name, _)| mentions(modules.text(), name));
    let helpers: Vec<&str> = helpers.map(|(_, text)| *text).collect();
    modules.lines(&helpers.concat());
    writer.conv_norm(&mut modules);
    if let Some(codes) = graph.nodes().iter().find_map(codes) {
        modules
            .line("\n/// The codes of the classes: a column is a value, `#` is +1 and `.` is -1.");
        let rows: Vec<Rust> = codes.iter().map(|row| Rust::Text(raw(row))).collect();
        let before = format!("const CODES: [&str; {}] = ", rows.len());
        modules.put(&before, &Rust::List(String::from("["), rows, "]"), ";");
    }
    let unscaled = |node: &Node| matches!(&node.op, Op::BatchNorm(norm) if !norm.scale);
    let rows = names::patterns(source, &writer.outline.keys);
    load(&mut modules, &name, &rows, graph.nodes().iter().any(unscaled));
    let modules = modules.finish();

    let mut lines = Lines::default();
    lines.line(format!("//! {} in Burn.", source.heading.name));
    if let Some(cited) = source.cited() {
        lines.line("//!");
        wrapped(&cited).lines().for_each(|line| lines.line(format!("//! {line}")));
    }
    lines.line("//!");
    lines.line(format!("//! Input {}, {} classes.", graph.input(), graph.classes()));
    lines.line("//!");
    lines.line("//! Needs the feature `store` of `burn` 0.22, and one of its backends.\n");
    lines.line("use std::path::PathBuf;\n");
    imports(&mut lines, &modules);
    lines.finish() + &modules
}

/// Gives the classes names that are neither Burn's nor the network's, whose name is returned.
fn apart(classes: &mut [Class<'_>], name: String) -> String {
    let taken = |name: &str| {
        let known = IMPORTS.iter().any(|(_, items)| items.contains(&name));
        let helper = HELPERS.iter().any(|(helper, _)| *helper == name);
        known || helper || PRELUDE.contains(&name)
    };
    let name = if taken(&name) { name + "Network" } else { name };
    for class in classes {
        while taken(&class.name) || class.name == name {
            class.name.push_str("Block");
        }
    }
    name
}

/// What is in scope without being imported by its name.
const PRELUDE: [&str; 26] = [
    "Bool",
    "Box",
    "CODES",
    "Config",
    "ConvBn",
    "Device",
    "DeviceIndex",
    "DeviceKind",
    "Err",
    "Float",
    "Int",
    "Module",
    "NAMES",
    "None",
    "Ok",
    "Option",
    "Result",
    "Self",
    "Shape",
    "SliceArg",
    "Some",
    "String",
    "Tensor",
    "TensorData",
    "ToElement",
    "Vec",
];

/// What may be imported, and from where.
const IMPORTS: [(&str, &[&str]); 9] = [
    ("burn::module", &["Initializer", "Param"]),
    (
        "burn::nn",
        &[
            "BatchNorm",
            "BatchNormConfig",
            "Dropout",
            "DropoutConfig",
            "Linear",
            "LinearConfig",
            "LocalResponseNorm",
            "LocalResponseNormConfig",
            "PaddingConfig2d",
        ],
    ),
    ("burn::nn::conv", &["Conv2d", "Conv2dConfig"]),
    (
        "burn::nn::pool",
        &[
            "AdaptiveAvgPool2d",
            "AdaptiveAvgPool2dConfig",
            "AvgPool2d",
            "AvgPool2dConfig",
            "MaxPool2d",
            "MaxPool2dConfig",
        ],
    ),
    ("burn::prelude", &["*"]),
    (
        "burn::store",
        &[
            "ApplyResult",
            "FloatCastAdapter",
            "ModuleAdapter",
            "ModuleSnapshot",
            "PyTorchToBurnAdapter",
            "SafetensorsStore",
            "SafetensorsStoreError",
        ],
    ),
    ("burn::tensor", &["DType"]),
    ("burn::tensor::activation", &["log_softmax", "relu", "sigmoid", "softmax", "tanh"]),
    ("burn::tensor::ops", &["PadMode"]),
];

/// Traits, whose methods are called.
const TRAITS: [&str; 2] = ["ModuleAdapter", "ModuleSnapshot"];

/// The imports of a program, in the order of `rustfmt`.
fn imports(lines: &mut Lines, program: &str) {
    let mut imports = Vec::new();
    for (path, items) in IMPORTS {
        let used = |item: &&&str| **item == "*" || TRAITS.contains(item) || mentions(program, item);
        let items: Vec<&str> = items.iter().filter(used).copied().collect();
        match items[..] {
            [] => {}
            [item] => imports.push((format!("use {path}::{item};"), Vec::new())),
            _ => imports.push((format!("use {path}::{{"), items)),
        }
    }
    imports.sort();
    for (line, items) in imports {
        match items[..] {
            [] => lines.line(line),
            _ => lines.packed(&line, &items, "};"),
        }
    }
}

/// Whether a word stands in a text.
fn mentions(text: &str, word: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        // A method of that name is another.
        let before = text[..at].ends_with(|c: char| inner(c) || c == '.');
        !before && !text[at + word.len()..].starts_with(inner)
    })
}

struct Writer<'g> {
    graph: &'g Graph,
    outline: Outline<'g>,
}

/// Where a body stands: in a class, or in the network.
type Place<'c, 'g> = Option<&'c Class<'g>>;

/// What a structure holds.
struct Field {
    name: String,
    kind: String,
    value: Made,
}

/// What makes a field.
enum Made {
    One(Rust),
    /// If a flag is set.
    If(String, Rust),
    /// The flag itself.
    Flag,
    /// One after the other.
    Many(Vec<Rust>),
}

/// The fields of a body, and which is that of a step, or of a step of an optional chain.
struct Fields {
    fields: Vec<Field>,
    names: HashMap<(usize, usize), String>,
}

/// How an argument is said.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    /// Vertical and horizontal.
    Pair,
    Padding,
    Flag,
}

impl Kind {
    fn of(argument: &Argument) -> Kind {
        let (mut kind, role) = (Kind::Number, argument.role);
        for value in argument.values() {
            kind = match (value, kind) {
                (Value::Flag(_), _) => Kind::Flag,
                (Value::Sides(_), _) | (_, Kind::Padding) => Kind::Padding,
                (Value::Pair(..), _) | (_, Kind::Pair) => Kind::Pair,
                (Value::Number(_), Kind::Number | Kind::Flag) => Kind::Number,
            };
        }
        debug_assert!(
            kind != Kind::Padding || role == Role::Padding,
            "sides are those of paddings"
        );
        kind
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Number => "usize",
            Kind::Pair => "[usize; 2]",
            Kind::Padding => "PaddingConfig2d",
            Kind::Flag => "bool",
        }
    }
}

/// What an expression is where it stands in a class.
struct Said<'c, 'g> {
    place: Place<'c, 'g>,
}

impl Said<'_, '_> {
    fn kind(&self, name: &str) -> Kind {
        let arguments = self.place.map_or(&[][..], |class| &class.arguments[..]);
        arguments.iter().find(|argument| argument.name == name).map_or(Kind::Number, Kind::of)
    }

    fn number(&self, expr: &Expr) -> String {
        match expr {
            Expr::Same(Value::Number(n)) => n.to_string(),
            Expr::Same(Value::Flag(flag)) => flag.to_string(),
            Expr::Same(Value::Pair(..) | Value::Sides(_)) => unreachable!("a number"),
            Expr::Argument { name, times: 1 } => name.clone(),
            Expr::Argument { name, times } => format!("{times} * {name}"),
        }
    }

    /// Height and width.
    fn pair(&self, expr: &Expr) -> String {
        match expr {
            Expr::Same(Value::Pair(h, w)) => format!("[{h}, {w}]"),
            Expr::Argument { name, .. } if self.kind(name) == Kind::Pair => name.clone(),
            other => {
                let number = self.number(other);
                format!("[{number}, {number}]")
            }
        }
    }

    fn padding(&self, expr: &Expr) -> String {
        match expr {
            Expr::Same(Value::Sides(sides)) => explicit(*sides),
            &Expr::Same(Value::Pair(h, w)) => explicit([h, w, h, w]),
            Expr::Same(Value::Number(0)) => String::from("PaddingConfig2d::Valid"),
            Expr::Argument { name, .. } if self.kind(name) == Kind::Padding => {
                format!("{name}.clone()")
            }
            Expr::Argument { name, .. } if self.kind(name) == Kind::Pair => {
                format!("around({name})")
            }
            other => {
                let number = self.number(other);
                explicit([&number; 4])
            }
        }
    }

    /// The argument of another class.
    fn argument(&self, kind: Kind, expr: &Expr) -> Rust {
        Rust::Text(match kind {
            Kind::Number | Kind::Flag => self.number(expr),
            Kind::Pair => self.pair(expr),
            Kind::Padding => self.padding(expr),
        })
    }
}

fn explicit(sides: [impl std::fmt::Display; 4]) -> String {
    let [top, left, bottom, right] = sides;
    format!("PaddingConfig2d::Explicit({top}, {left}, {bottom}, {right})")
}

/// What a structure is made of.
struct Structure<'c, 'g> {
    name: &'c str,
    about: &'c str,
    body: &'c Body<'g>,
    place: Place<'c, 'g>,
    /// What `new` is given besides the device.
    arguments: Vec<Rust>,
}

impl<'g> Writer<'g> {
    fn class(&self, lines: &mut Lines, class: &Class<'g>) {
        let argument = |argument: &Argument| {
            Rust::Text(format!("{}: {}", argument.name, Kind::of(argument).name()))
        };
        let arguments = class.arguments.iter().map(argument).collect();
        let Class { name, about, body, .. } = class;
        self.structure(lines, Structure { name, about, body, place: Some(class), arguments });
    }

    fn root(&self, lines: &mut Lines, source: &Source<'_>, name: &str) {
        let classes = self.outline.classifier.map(|_| Rust::text("classes: usize"));
        let arguments = classes.into_iter().collect();
        let (about, body) = (&source.about(), &self.outline.body);
        self.structure(lines, Structure { name, about, body, place: None, arguments });
    }

    fn structure(&self, lines: &mut Lines, structure: Structure<'_, 'g>) {
        let Structure { name, about, body, place, mut arguments } = structure;
        let Fields { fields, names } = self.fields(body, place);
        lines.line("");
        lines.line(format!("/// {about}"));
        lines.line("#[derive(Module, Debug)]");
        lines.line(format!("pub struct {name} {{"));
        lines.block(|lines| {
            for Field { name, kind, .. } in &fields {
                lines.line(format!("{name}: {kind},"));
            }
        });
        lines.line("}\n");
        lines.line(format!("impl {name} {{"));
        lines.block(|lines| {
            let mut made = Lines::default();
            made.block(|made| made.block(|made| made_of(made, &fields)));
            let made = made.finish();
            let device = if mentions(&made, "device") { "device" } else { "_device" };
            arguments.push(Rust::Text(format!("{device}: &Device")));
            lines.line("/// Weights are drawn at random.");
            signature(lines, "new", arguments, "Self");
            lines.raw(&made);
            lines.line("}\n");
            let (fed, made) = self.ranks(body);
            let made: Vec<String> = made.iter().map(|rank| format!("Tensor<{rank}>")).collect();
            let result = match &made[..] {
                [one] => one.clone(),
                several => format!("({})", several.join(", ")),
            };
            let arguments = vec![Rust::text("&self"), Rust::Text(format!("x: Tensor<{fed}>"))];
            signature(lines, "forward", arguments, &result);
            lines.block(|lines| self.forward(lines, body, &names));
            lines.line("}");
        });
        lines.line("}");
    }

    fn exprs(&self, body: &Body<'g>, place: Place<'_, 'g>, at: usize) -> Vec<Expr> {
        place.map_or_else(|| own(&body.steps[at]), |class| class.exprs[at].clone())
    }

    /// What the structure of a body holds: layers with weights by their names; of others that are
    /// alike one does for all.
    fn fields(&self, body: &Body<'g>, place: Place<'_, 'g>) -> Fields {
        let said = Said { place };
        let mut fields: Vec<Field> = Vec::new();
        let mut names = HashMap::new();
        let mut alike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut made: Vec<Option<(&'static str, Rust)>> = Vec::new();
        for (at, step) in body.steps.iter().enumerate() {
            let tool = self.tool(step, &self.exprs(body, place, at), &said);
            if let Some((_, value)) = &tool {
                alike.entry(value.flat()).or_default().push(at);
            }
            made.push(tool);
        }
        let taken: Vec<String> = body.steps.iter().map(|step| identifier(&step.local)).collect();
        for (at, (step, tool)) in body.steps.iter().zip(made).enumerate() {
            let exprs = self.exprs(body, place, at);
            let name = identifier(&step.local);
            match (&step.what, tool) {
                (What::Optional(chain), _) => {
                    let flag = said.number(&exprs[0]);
                    for (i, (step, own)) in chain.iter().zip(shares(chain, &exprs[1..])).enumerate()
                    {
                        let module = self.module(step, own, &said);
                        let tool = self.tool(step, own, &said);
                        let tool = tool.map(|(kind, value)| (kind.to_owned(), value));
                        let Some((kind, value)) = module.or(tool) else { continue };
                        let name = identifier(&step.local);
                        names.insert((at, i), name.clone());
                        let (kind, value) =
                            (format!("Option<{kind}>"), Made::If(flag.clone(), value));
                        fields.push(Field { name, kind, value });
                    }
                    if !(0..chain.len()).any(|i| names.contains_key(&(at, i))) {
                        names.insert((at, chain.len()), flag.clone());
                        let kind = String::from("bool");
                        fields.push(Field { name: flag, kind, value: Made::Flag });
                    }
                }
                (What::Sequence(steps), _) => {
                    let items = steps.iter().zip(shares(steps, &exprs));
                    let items = items.filter_map(|(step, own)| self.module(step, own, &said));
                    let (kinds, items): (Vec<String>, Vec<Rust>) = items.unzip();
                    names.insert((at, 0), name.clone());
                    let kind = format!("Vec<{}>", kinds[0]);
                    fields.push(Field { name, kind, value: Made::Many(items) });
                }
                (_, Some((kind, value))) => {
                    let same = &alike[&value.flat()];
                    if same[0] != at {
                        names.insert((at, 0), names[&(same[0], 0)].clone());
                        continue;
                    }
                    // One that stands for several has the name of its kind, if that is free.
                    let word = word(kind);
                    let is_free = !taken.iter().any(|name| name == word)
                        && !fields.iter().any(|field| field.name == word);
                    let name = if same.len() > 1 && is_free { word.to_owned() } else { name };
                    names.insert((at, 0), name.clone());
                    fields.push(Field { name, kind: kind.to_owned(), value: Made::One(value) });
                }
                (What::Op(_) | What::ConvNorm(..) | What::Part(_), None) => {
                    if let Some((kind, value)) = self.module(step, &exprs, &said) {
                        names.insert((at, 0), name.clone());
                        fields.push(Field { name, kind, value: Made::One(value) });
                    }
                }
            }
        }
        Fields { fields, names }
    }

    /// What makes the module of a step that has weights, and its type.
    fn module(
        &self,
        step: &Step<'g>,
        exprs: &[Expr],
        said: &Said<'_, 'g>,
    ) -> Option<(String, Rust)> {
        let number =
            |role| column(step, exprs, role).map_or(String::new(), |expr| said.number(expr));
        let device = || Rust::text("device");
        let init = |config: Rust| config.method("init", vec![device()]);
        let node = match &step.what {
            What::Part(class) => {
                let class = &self.outline.classes[*class];
                let arguments = class.arguments.iter().zip(exprs);
                let arguments = arguments.map(|(to, expr)| said.argument(Kind::of(to), expr));
                let items = arguments.chain([device()]).collect();
                return Some((
                    class.name.clone(),
                    Rust::call(format!("{}::new", class.name), items),
                ));
            }
            What::ConvNorm(conv, _) => {
                let items = vec![self.convolution(step, conv, exprs, said), device()];
                return Some((String::from("ConvBn"), Rust::call("ConvBn::new", items)));
            }
            What::Op(node) => node,
            What::Sequence(_) | What::Optional(_) => return None,
        };
        let inputs = || number(Role::Inputs);
        let (kind, value) = match &node.op {
            Op::Conv2d(_) => ("Conv2d", init(self.convolution(step, node, exprs, said))),
            Op::Linear(linear) => {
                let sizes = [inputs(), self.outputs(node, number(Role::Outputs))].map(Rust::Text);
                let config = Rust::call("LinearConfig::new", sizes.into());
                ("Linear", init(set(config, !linear.bias, "bias", "false")))
            }
            Op::BatchNorm(norm) => {
                let config = Rust::call("BatchNormConfig::new", vec![Rust::Text(inputs())]);
                let config = set(config, norm.eps != 1e-5, "epsilon", &real(norm.eps));
                let value =
                    init(set(config, norm.momentum != 0.1, "momentum", &real(norm.momentum)));
                let whole = if norm.scale { value } else { Rust::call("unscaled", vec![value]) };
                ("BatchNorm", whole)
            }
            Op::Subsample(op) => {
                let sizes = [op.kernel, op.stride].map(|size| said.pair(&Expr::Same(size.into())));
                let [kernel, stride] = sizes.map(Rust::Text);
                let items = vec![Rust::Text(inputs()), kernel, stride, device()];
                ("Subsample", Rust::call("Subsample::new", items))
            }
            Op::Rbf(_) => {
                let all = self.outputs(node, String::new()).is_empty();
                let codes = Rust::text(if all { "&CODES" } else { "&CODES[..classes]" });
                ("Rbf", Rust::call("Rbf::new", vec![codes, device()]))
            }
            Op::Input(_)
            | Op::Pool(_)
            | Op::AdaptiveAvgPool(_)
            | Op::Lrn(_)
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
            | Op::Flatten
            | Op::Shortcut(_) => return None,
        };
        Some((kind.to_owned(), value))
    }

    /// The channels that a layer makes: the classes, if it is the one that tells them apart.
    fn outputs(&self, node: &Node, number: String) -> String {
        match self.outline.classifier == Some(node.name.as_str()) {
            true => String::from("classes"),
            false => number,
        }
    }

    /// The configuration of a convolution.
    fn convolution(
        &self,
        step: &Step<'g>,
        node: &Node,
        exprs: &[Expr],
        said: &Said<'_, 'g>,
    ) -> Rust {
        let Op::Conv2d(conv) = &node.op else { unreachable!("a convolution") };
        let column = |role| column(step, exprs, role);
        let number = |role| column(role).map_or(String::new(), |expr| said.number(expr));
        let outputs = self.outputs(node, number(Role::Outputs));
        let channels = format!("[{}, {outputs}]", number(Role::Inputs));
        let kernel = column(Role::Kernel).map_or(String::new(), |expr| said.pair(expr));
        let mut config = Rust::call("Conv2dConfig::new", [channels, kernel].map(Rust::Text).into());
        for role in [Role::Stride, Role::Padding, Role::Dilation, Role::Groups] {
            if let Some(expr) = column(role).filter(|expr| !usual(expr, role)) {
                let value = match role {
                    Role::Padding => said.padding(expr),
                    Role::Stride | Role::Dilation => said.pair(expr),
                    Role::Inputs | Role::Outputs | Role::Kernel | Role::Groups | Role::Project => {
                        said.number(expr)
                    }
                };
                config = set(config, true, role.word(), &value);
            }
        }
        set(config, !conv.bias, "bias", "false")
    }

    /// What makes the module of a step without weights, and its type; none if it is an expression.
    fn tool(
        &self,
        step: &Step<'g>,
        exprs: &[Expr],
        said: &Said<'_, 'g>,
    ) -> Option<(&'static str, Rust)> {
        let What::Op(node) = &step.what else { return None };
        let init = |config: Rust| config.method("init", Vec::new());
        Some(match &node.op {
            Op::Pool(pool) => {
                let kind = match pool.kind {
                    PoolKind::Max | PoolKind::MaxOfPadded => "MaxPool2d",
                    PoolKind::Avg { .. } => "AvgPool2d",
                };
                (kind, init(self.pooling(kind, node, pool, step, exprs, said)))
            }
            Op::AdaptiveAvgPool(pool) => {
                let size = Rust::Text(format!("[{}, {}]", pool.out.h, pool.out.w));
                let config = Rust::call("AdaptiveAvgPool2dConfig::new", vec![size]);
                ("AdaptiveAvgPool2d", init(config))
            }
            Op::Lrn(lrn) => {
                // Burn divides α by the number of maps.
                let alpha = match lrn.divided {
                    true => real(lrn.alpha),
                    false => format!("{:?} * {}", lrn.size as f32, real(lrn.alpha)),
                };
                let size = vec![Rust::Text(lrn.size.to_string())];
                let config = Rust::call("LocalResponseNormConfig::new", size);
                let config = set(config, alpha != "0.0001", "alpha", &alpha);
                let config = set(config, lrn.beta != 0.75, "beta", &real(lrn.beta));
                ("LocalResponseNorm", init(set(config, lrn.k != 1.0, "k", &real(lrn.k))))
            }
            Op::Dropout(dropout) => {
                let share = vec![Rust::Text(real(dropout.p))];
                ("Dropout", init(Rust::call("DropoutConfig::new", share)))
            }
            Op::Shortcut(_) => {
                let say =
                    |role| column(step, exprs, role).map(|expr| Rust::Text(said.number(expr)));
                let items = [Role::Stride, Role::Outputs].into_iter().filter_map(say).collect();
                ("Shrink", Rust::call("Shrink::new", items))
            }
            Op::Input(_)
            | Op::Conv2d(_)
            | Op::Linear(_)
            | Op::BatchNorm(_)
            | Op::Subsample(_)
            | Op::Rbf(_)
            | Op::Relu
            | Op::Tanh(_)
            | Op::Sigmoid
            | Op::Softmax
            | Op::LogSoftmax
            | Op::Clip(_)
            | Op::Add
            | Op::AddScaled(_)
            | Op::Concat
            | Op::Flatten => return None,
        })
    }

    fn pooling(
        &self,
        kind: &str,
        node: &Node,
        pool: &Pool,
        step: &Step<'g>,
        exprs: &[Expr],
        said: &Said<'_, 'g>,
    ) -> Rust {
        let pair = |role| column(step, exprs, role).map_or(String::new(), |expr| said.pair(expr));
        let (kernel, stride) = (pair(Role::Kernel), pair(Role::Stride));
        let config = Rust::call(format!("{kind}Config::new"), vec![Rust::text(&kernel)]);
        let config = set(config, stride != kernel, "strides", &stride);
        if pool.kind == PoolKind::MaxOfPadded {
            // The zeros are there before; what a last window has beyond them is none.
            let from = self.graph.node(node.inputs[0]).shape;
            let rest = less(overhang(pool, from, node.shape), pool.pad);
            return set(config, !rest.is_zero(), "padding", &explicit(rest.array()));
        }
        let padding = column(step, exprs, Role::Padding);
        let padded = padding.filter(|expr| !usual(expr, Role::Padding));
        let config = match padded {
            Some(expr) => set(config, true, "padding", &said.padding(expr)),
            None => config,
        };
        let config = set(config, pool.ceil, "ceil_mode", "true");
        let inside = pool.kind == PoolKind::Avg { count_include_pad: false } && padded.is_some();
        set(config, inside, "count_include_pad", "false")
    }

    fn forward(&self, lines: &mut Lines, body: &Body<'g>, names: &HashMap<(usize, usize), String>) {
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
            let field = field.clone().unwrap_or(Rust::text("self"));
            field.method("forward", vec![x])
        };
        let node = match &step.what {
            What::Op(node) => node,
            What::Sequence(_) => {
                let fold = vec![first, Rust::text("|x, block| block.forward(x)")];
                let field = field.unwrap_or(Rust::text("self"));
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
    fn ranks(&self, body: &Body<'g>) -> (usize, Vec<usize>) {
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

    /// The structure of a convolution called `conv` with a normalisation called `conv.bn`.
    fn conv_norm(&self, lines: &mut Lines) {
        let Some(norm) = self.outline.norm() else { return };
        let config = Rust::text("BatchNormConfig::new(outputs)");
        let config = set(config, norm.eps != 1e-5, "epsilon", &real(norm.eps));
        let config = set(config, norm.momentum != 0.1, "momentum", &real(norm.momentum));
        let value = config.method("init", vec![Rust::text("device")]);
        let value = if norm.scale { value } else { Rust::call("unscaled", vec![value]) };
        let (before, after) = CONV_BN.split_once("@NORM@\n").unwrap_or_default();
        lines.lines(before);
        lines.block(|lines| {
            lines.block(|lines| lines.block(|lines| lines.put("bn: ", &value, ",")));
        });
        lines.lines(after);
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

/// `config.with_name(value)`, if that is to be said.
fn set(config: Rust, said: bool, name: &str, value: &str) -> Rust {
    match said {
        true => config.method(&format!("with_{name}"), vec![Rust::text(value)]),
        false => config,
    }
}

/// What a module without weights is called that stands for several.
fn word(kind: &str) -> &'static str {
    match kind {
        "MaxPool2d" => "max_pool",
        "AvgPool2d" | "AdaptiveAvgPool2d" => "avg_pool",
        "LocalResponseNorm" => "norm",
        "Dropout" => "dropout",
        _ => "shortcut",
    }
}

fn signature(lines: &mut Lines, name: &str, arguments: Vec<Rust>, result: &str) {
    let list = Rust::call(format!("pub fn {name}"), arguments);
    let line = format!("{} -> {result} {{", list.flat());
    match lines.fits("", &Rust::Text(line.clone()), "") {
        true => lines.line(line),
        false => lines.put("", &list, &format!(" -> {result} {{")),
    }
}

/// The value of a structure with these fields.
fn made_of(lines: &mut Lines, fields: &[Field]) {
    let mut values: Vec<(&str, Option<Rust>)> = Vec::new();
    for Field { name, value, .. } in fields {
        let value = match value {
            Made::One(value) => Some(value.clone()),
            Made::If(flag, value) => {
                let then = format!("{flag}.then(|| ");
                Some(Rust::Closure(then, Box::new(value.clone())))
            }
            Made::Flag => None,
            Made::Many(items) => sequence(lines, name, items),
        };
        values.push((name, value));
    }
    lines.line("Self {");
    lines.block(|lines| {
        for (name, value) in &values {
            match value {
                Some(value) => lines.put(&format!("{name}: "), value, ","),
                None => lines.line(format!("{name},")),
            }
        }
    });
    lines.line("}");
}

/// The value of a vector; or what fills it, several items that are alike in a loop.
fn sequence(lines: &mut Lines, name: &str, items: &[Rust]) -> Option<Rust> {
    let run = |rest: &[Rust]| rest.iter().take_while(|item| **item == rest[0]).count();
    if run(items) == items.len() && items.len() > 2 {
        let map = Rust::call(".map", vec![Rust::Text(format!("|_| {}", items[0].flat()))]);
        if lines.fits("        ", &map, "") {
            let counted = Rust::Text(format!("(0..{})", items.len())).link(map);
            return Some(counted.method("collect", Vec::new()));
        }
    }
    let mut first = 0;
    while first < items.len() && run(&items[first..]) < 3 {
        first += run(&items[first..]);
    }
    if first == items.len() {
        return Some(Rust::vec(items.to_vec()));
    }
    let start =
        if first > 0 { Rust::vec(items[..first].to_vec()) } else { Rust::text("Vec::new()") };
    lines.put(&format!("let mut {name} = "), &start, ";");
    let mut rest = &items[first..];
    while let Some(item) = rest.first() {
        let count = run(rest);
        let push = Rust::text(name).method("push", vec![item.clone()]);
        if count > 2 {
            lines.line(format!("for _ in 0..{count} {{"));
            lines.block(|lines| lines.put("", &push, ";"));
            lines.line("}");
        } else {
            (0..count).for_each(|_| lines.put("", &push, ";"));
        }
        rest = &rest[count..];
    }
    None
}

/// `load_weights`, and what it needs.
fn load(lines: &mut Lines, name: &str, rows: &[(String, String)], unscaled: bool) {
    if !rows.is_empty() {
        lines.line("\n/// What weight files call the layers, and what they are called here.");
        let pair = |(theirs, ours): &(String, String)| {
            let pair = [theirs, ours].map(|text| Rust::Text(raw(text)));
            Rust::List(String::from("("), pair.into(), ")")
        };
        let before = format!("const NAMES: [(&str, &str); {}] = ", rows.len());
        let rows = rows.iter().map(pair).collect();
        lines.put(&before, &Rust::List(String::from("["), rows, "]"), ";");
    }
    lines.line("\n/// Fills the model from a safetensors file, by the names of its layers.");
    let arguments = [format!("model: &mut {name}"), String::from("path: impl Into<PathBuf>")];
    let result = "Result<ApplyResult, SafetensorsStoreError>";
    signature(lines, "load_weights", arguments.map(Rust::Text).into(), result);
    lines.block(|lines| {
        lines.line("let adapter = PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32));");
        let store = Rust::text("SafetensorsStore::from_file(path)");
        let store = store.method("with_from_adapter", vec![Rust::text("adapter")]);
        let store = match unscaled {
            true => store.method("allow_partial", vec![Rust::text("true")]),
            false => store,
        };
        lines.put("let mut store = ", &store, ";");
        if !rows.is_empty() {
            lines.lines("for (theirs, ours) in NAMES {");
            lines.lines("    store = store.with_key_remapping(theirs, ours);\n}");
        }
        lines.lines(if unscaled { LOAD_UNSCALED } else { "model.load_from(&mut store)" });
    });
    lines.line("}");
}
