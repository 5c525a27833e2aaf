//! Burn modules, in Rust.

mod choice;
mod forward;
mod helpers;
mod layers;
mod names;
mod said;

use std::collections::{BTreeMap, HashMap};

use striate_graph::{Graph, Node, Op};

use super::class::{Argument, Class, Expr};
use super::lines::{Expression, Lines};
use super::outline::{Body, Outline, Step, Style, What, apart};
use super::rust::{Rust, identifier, local, packed, raw};
use super::words::{own, shares};
use super::{Source, codes, real, wrapped};
use choice::Choice;
use helpers::{CONV_BN, HELPERS, LOAD_UNSCALED};
use layers::word;
use said::{Kind, Said, set};

const STYLE: Style = Style {
    inputs: true,
    local,
    // What `new` and `forward` call their own.
    reserved: &["device", "classes", "x", "y", "z", "u", "v", "w", "p", "q", "r"],
    member: identifier,
    own: ".conv",
    is_sequence: are_parts,
};

/// Whether a `Vec` can hold them, and a loop go from each to the next: none makes rows of maps.
fn are_parts(steps: &[Step<'_>], classes: &[Class<'_>]) -> bool {
    let is_part = |step: &Step<'_>| matches!(step.what, What::Part(_));
    steps.iter().all(is_part) && !flattens(steps, classes)
}

fn flattens(steps: &[Step<'_>], classes: &[Class<'_>]) -> bool {
    steps.iter().any(|step| match &step.what {
        What::Op(node) => node.op == Op::Flatten,
        What::ConvNorm(..) => false,
        What::Part(class) => flattens(&classes[*class].body.steps, classes),
        What::Sequence(steps) | What::Optional(steps) => flattens(steps, classes),
    })
}

/// The program, imports included.
pub(crate) fn program(source: &Source<'_>) -> String {
    let graph = source.graph;
    let mut outline = Outline::of(graph, &STYLE);
    let mut name = source.class_name();
    if is_known(&name) {
        name.push_str("Network");
    }
    apart(&mut outline.classes, |other| is_known(other) || other == name);
    let bodies = outline.classes.iter().map(|class| &class.body).chain([&outline.body]);
    let taken = |other: &str| {
        is_known(other) || other == name || outline.classes.iter().any(|class| class.name == other)
    };
    let choices = choice::choices(bodies, &outline.classes, taken);
    let writer = Writer { graph, outline, choices };
    let mut modules = Lines::default();
    writer.root(&mut modules, source, &name);
    for class in writer.outline.classes.iter().rev() {
        writer.class(&mut modules, class);
    }
    for choice in &writer.choices {
        let body = &writer.outline.classes[choice.variants[0].0].body;
        choice.written(&mut modules, &writer.outline.classes, writer.ranks(body).0);
    }
    writer.conv_norm(&mut modules);
    let helpers = HELPERS.iter().filter(|(name, _)| mentions(modules.text(), name));
    let helpers: Vec<&str> = helpers.map(|(_, text)| *text).collect();
    modules.lines(&helpers.concat());
    if let Some(codes) = graph.nodes().iter().find_map(codes) {
        modules
            .line("\n/// The codes of the classes: a column is a value, `#` is +1 and `.` is -1.");
        let rows: Vec<Rust> = codes.iter().map(|row| Rust::Text(raw(row))).collect();
        let before = format!("const CODES: [&str; {}] = ", rows.len());
        modules.put(&before, &Rust::List(String::from("["), rows, "]"), ";");
    }
    let unscaled = |node: &Node| matches!(&node.op, Op::BatchNorm(norm) if !norm.scale);
    let rows = names::patterns(source, &writer.outline.keys);
    let loaded = Loaded {
        network: &name,
        names: &rows,
        is_unscaled: graph.nodes().iter().any(unscaled),
        has_choices: !writer.choices.is_empty(),
    };
    load(&mut modules, &loaded);
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

/// Whether something of Burn or of ours is called so.
fn is_known(name: &str) -> bool {
    let is_imported = IMPORTS.iter().any(|(_, items)| items.contains(&name));
    let is_helper = HELPERS.iter().any(|(helper, _)| *helper == name);
    is_imported || is_helper || PRELUDE.contains(&name)
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
            _ => packed(lines, &line, &items, "};"),
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
    choices: Vec<Choice>,
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
                    let (kind, items) = self.items(steps, &exprs, &said);
                    names.insert((at, 0), name.clone());
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
        if count > 2 {
            lines.line(format!("for _ in 0..{count} {{"));
            lines.block(|lines| push(lines, name, item));
            lines.line("}");
        } else {
            (0..count).for_each(|_| push(lines, name, item));
        }
        rest = &rest[count..];
    }
    None
}

fn push(lines: &mut Lines, name: &str, item: &Rust) {
    let pushed = |item: &Rust| Rust::text(name).method("push", vec![item.clone()]);
    if lines.fits("", &pushed(item), ";") {
        return lines.put("", &pushed(item), ";");
    }
    lines.put("let block = ", item, ";");
    lines.put("", &pushed(&Rust::text("block")), ";");
}

/// What `load_weights` depends on.
struct Loaded<'a> {
    network: &'a str,
    /// What weight files call the layers, as patterns, and what they are called here.
    names: &'a [(String, String)],
    /// Whether there are normalisations without a scale.
    is_unscaled: bool,
    /// Whether the way to some layers goes through an enumeration, of which files know nothing.
    has_choices: bool,
}

/// `load_weights`, and what it needs.
fn load(lines: &mut Lines, loaded: &Loaded<'_>) {
    let &Loaded { network, names, is_unscaled, has_choices } = loaded;
    if !names.is_empty() {
        lines.line("\n/// What weight files call the layers, and what they are called here.");
        let pair = |(theirs, ours): &(String, String)| {
            let pair = [theirs, ours].map(|text| Rust::Text(raw(text)));
            Rust::List(String::from("("), pair.into(), ")")
        };
        let before = format!("const NAMES: [(&str, &str); {}] = ", names.len());
        let rows = names.iter().map(pair).collect();
        lines.put(&before, &Rust::List(String::from("["), rows, "]"), ";");
    }
    lines.line("\n/// Fills the model from a safetensors file, by the names of its layers.");
    let arguments = [format!("model: &mut {network}"), String::from("path: impl Into<PathBuf>")];
    let result = "Result<ApplyResult, SafetensorsStoreError>";
    signature(lines, "load_weights", arguments.map(Rust::Text).into(), result);
    lines.block(|lines| {
        lines.line("let adapter = PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32));");
        let on = |store: Rust, is_set: bool, option: &str| match is_set {
            true => store.method(option, vec![Rust::text("true")]),
            false => store,
        };
        let store = Rust::text("SafetensorsStore::from_file(path)");
        let store = store.method("with_from_adapter", vec![Rust::text("adapter")]);
        let store = on(store, has_choices, "skip_enum_variants");
        let store = on(store, is_unscaled, "allow_partial");
        lines.put("let mut store = ", &store, ";");
        if !names.is_empty() {
            lines.lines("for (theirs, ours) in NAMES {");
            lines.lines("    store = store.with_key_remapping(theirs, ours);\n}");
        }
        lines.lines(if is_unscaled { LOAD_UNSCALED } else { "model.load_from(&mut store)" });
    });
    lines.line("}");
}
