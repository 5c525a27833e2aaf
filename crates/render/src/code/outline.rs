//! A graph as a person would write it down: the names tell which nodes belong together, and parts
//! of the same form are one class.

use std::collections::{BTreeMap, HashMap, HashSet};

use striate_graph::op::{BatchNorm, PoolKind};
use striate_graph::{Graph, Node, NodeId, Op};

use super::class::{Class, Column, attributes, classes, lopsided};

/// Parts within parts, at most.
const DEEPEST: usize = 16;

/// What an outline depends on of the language it is for.
pub(crate) struct Style {
    /// Whether a layer has to be told how many channels it reads.
    pub(crate) inputs: bool,
    /// What a layer or part may be called in its part, by its name there; also given all the names.
    pub(crate) local: fn(&str, &HashSet<String>) -> String,
    /// Names that nothing may have.
    pub(crate) reserved: &'static [&'static str],
    /// What is called by a number where it is no item of a sequence.
    pub(crate) member: fn(&str) -> String,
    /// What a convolution is called in the part that it forms with its normalisation.
    pub(crate) own: &'static str,
    /// Whether layers and parts called `0`, `1`, …, one after the other, are a sequence and no class.
    pub(crate) is_sequence: fn(&[Step<'_>], &[Class<'_>]) -> bool,
}

/// Python's names, which PyTorch and Keras join by dots.
pub(crate) const PYTHON: Style = Style {
    inputs: true,
    local: dotted,
    reserved: &MODULE,
    member: str::to_owned,
    own: "",
    is_sequence: are_modules,
};

/// Where an operand comes from: a step before, or what the part is fed.
pub(crate) type Operand = Option<usize>;

/// A part of a network, or all of it.
#[derive(Clone, Debug)]
pub(crate) struct Body<'g> {
    /// In an order in which operands come first, branch by branch.
    pub(crate) steps: Vec<Step<'g>>,
    /// What comes out: one value, but for a whole network with several heads.
    pub(crate) outputs: Vec<Operand>,
}

/// A layer, or a part.
#[derive(Clone, Debug)]
pub(crate) struct Step<'g> {
    /// What it is called in its part.
    pub(crate) local: String,
    pub(crate) what: What<'g>,
    pub(crate) inputs: Vec<Operand>,
    /// Numbers that may be others in another part of the same form.
    pub(crate) columns: Vec<Column>,
    /// What takes its place where it is left out, if it can be.
    pub(crate) else_input: Option<Operand>,
}

#[derive(Clone, Debug)]
pub(crate) enum What<'g> {
    Op(&'g Node),
    /// A convolution and its normalisation, called `conv` and `conv.bn`.
    ConvNorm(&'g Node, &'g Node),
    /// A part of that class.
    Part(usize),
    /// Layers and parts called `0`, `1`, …, one after the other.
    Sequence(Vec<Step<'g>>),
    /// Steps that some parts of a class have, others not; their inner operands are the chain's.
    Optional(Vec<Step<'g>>),
}

/// A whole network, with the classes of its parts; a class comes before those that use it.
#[derive(Debug)]
pub(crate) struct Outline<'g> {
    pub(crate) body: Body<'g>,
    pub(crate) classes: Vec<Class<'g>>,
    /// The layer that tells the classes apart, by its name, if the network has one.
    pub(crate) classifier: Option<&'g str>,
    /// What each node with parameters is called in the code.
    pub(crate) keys: BTreeMap<NodeId, String>,
}

/// Nodes whose names begin alike.
#[derive(Debug, Default)]
struct Scope {
    items: Vec<Item>,
    scopes: Vec<(String, Scope)>,
}

#[derive(Clone, Debug)]
struct Item {
    local: String,
    node: NodeId,
    /// The normalisation that belongs to a convolution.
    norm: Option<NodeId>,
}

impl<'g> Outline<'g> {
    pub(crate) fn of(graph: &'g Graph, style: &'g Style) -> Outline<'g> {
        let classifier = classifier(graph);
        let mut root = tree(graph);
        dissolve(&mut root, graph, classifier);
        rename(&mut root, style);
        let mut reader = Reader { graph, style, classes: Vec::new(), made: HashMap::new() };
        let height = height(&root);
        for level in 1..height {
            let mut parts = Vec::new();
            reader.parts(&root, "", level, &mut parts);
            reader.classify(parts);
        }
        let body = reader.body(&root, "", graph.outputs().iter().map(|output| output.node));
        let classifier = classifier.map(|id| graph.node(id).name.as_str());
        let mut keys = BTreeMap::new();
        reader.keys(&root, "", "", &mut keys);
        let mut classes = reader.classes;
        distinguish(&mut classes);
        Outline { body, classes, classifier, keys }
    }
}

impl Outline<'_> {
    /// The normalisation that convolutions have in one part with them, if some do.
    pub(crate) fn norm(&self) -> Option<&BatchNorm> {
        let bodies = self.classes.iter().map(|class| &class.body);
        let mut steps = std::iter::once(&self.body).chain(bodies).flat_map(|body| &body.steps);
        steps.find_map(|step| match &step.what {
            What::ConvNorm(_, Node { op: Op::BatchNorm(norm), .. }) => Some(norm),
            What::ConvNorm(..)
            | What::Op(_)
            | What::Part(_)
            | What::Sequence(_)
            | What::Optional(_) => None,
        })
    }
}

/// Adds letters to the names of classes that are called alike.
fn distinguish(classes: &mut [Class<'_>]) {
    let mut seen: HashMap<String, Vec<usize>> = HashMap::new();
    for (i, class) in classes.iter().enumerate() {
        seen.entry(class.name.clone()).or_default().push(i);
    }
    for (name, alike) in seen.iter().filter(|(_, alike)| alike.len() > 1) {
        for (letter, &i) in alike.iter().enumerate() {
            classes[i].name = match u8::try_from(letter) {
                Ok(letter) if letter < 26 => format!("{name}{}", char::from(b'A' + letter)),
                Ok(_) | Err(_) => format!("{name}{letter}"),
            };
        }
    }
}

/// Gives the classes names that nothing else has.
pub(crate) fn apart(classes: &mut [Class<'_>], taken: impl Fn(&str) -> bool) {
    for at in 0..classes.len() {
        let (before, rest) = classes.split_at_mut(at);
        let name = &mut rest[0].name;
        while taken(name) || before.iter().any(|other| other.name == *name) {
            name.push_str("Block");
        }
    }
}

/// The last layer with weights before the first output, if as many values come out of it.
fn classifier(graph: &Graph) -> Option<NodeId> {
    let mut id = graph.outputs().first()?.node;
    loop {
        let node = graph.node(id);
        if matches!(node.op, Op::Conv2d(_) | Op::Linear(_) | Op::Rbf(_)) {
            return (node.shape.channels() == graph.classes()).then_some(id);
        }
        match node.inputs[..] {
            [input] => id = input,
            _ => return None,
        }
    }
}

/// The name of a node, its parts joined by dots, where Caffe has slashes.
pub(crate) fn way(node: &Node) -> String {
    node.name.replace('/', ".")
}

/// Puts every node where its name says; `conv1.relu` is where `conv1` is, if that is a node.
fn tree(graph: &Graph) -> Scope {
    let ways: Vec<String> = graph.nodes().iter().map(way).collect();
    let names: HashSet<&str> = ways.iter().map(String::as_str).collect();
    let norms = norms(graph);
    let mut root = Scope::default();
    for ((id, _), name) in graph.iter().zip(&ways).skip(1) {
        if norms.values().any(|norm| *norm == id) {
            continue;
        }
        let scope = scope_of(name, &names);
        let scope = if scope.matches('.').count() < DEEPEST { scope } else { "" };
        let local = name[scope.len()..].trim_start_matches('.').to_owned();
        let mut at = &mut root;
        for part in scope.split('.').filter(|part| !part.is_empty()) {
            let found = at.scopes.iter().position(|(name, _)| name == part);
            let found = found.unwrap_or_else(|| {
                at.scopes.push((part.to_owned(), Scope::default()));
                at.scopes.len() - 1
            });
            at = &mut at.scopes[found].1;
        }
        at.items.push(Item { local, node: id, norm: norms.get(&id).copied() });
    }
    root
}

/// The part that a name is in: that of the layer it is called after, or what comes before its last dot.
fn scope_of<'n>(mut name: &'n str, names: &HashSet<&str>) -> &'n str {
    let row = |name: &'n str| {
        let dots = name.match_indices('.').map(|(at, _)| &name[..at]);
        dots.rev().find(|row| names.contains(row))
    };
    while let Some(row) = row(name) {
        name = row;
    }
    name.rfind('.').map_or("", |at| &name[..at])
}

/// The normalisation of each convolution that has one called after it.
pub(crate) fn norms(graph: &Graph) -> HashMap<NodeId, NodeId> {
    let uses = graph.uses();
    let mut norms = HashMap::new();
    let mut first = None;
    for (id, node) in graph.iter() {
        let (Op::BatchNorm(_), [input]) = (&node.op, &node.inputs[..]) else { continue };
        let conv = graph.node(*input);
        let leaf = node.name.strip_prefix(&conv.name).and_then(|rest| rest.strip_prefix('.'));
        let own = matches!(conv.op, Op::Conv2d(_)) && leaf == Some("bn");
        // One class does for all of them if they have the same constants.
        if own && uses[input.index()] == 1 && *first.get_or_insert(&node.op) == &node.op {
            norms.insert(*input, id);
        }
    }
    norms
}

impl Scope {
    /// All nodes in it, however deep.
    fn nodes(&self) -> Vec<NodeId> {
        let own = self.items.iter().flat_map(|item| [Some(item.node), item.norm]);
        let inner = self.scopes.iter().flat_map(|(_, scope)| scope.nodes());
        own.flatten().chain(inner).collect()
    }

    /// The one value that is fed to it and the one that comes out, if so it is.
    fn ends(&self, graph: &Graph) -> Option<(NodeId, NodeId)> {
        let inside: HashSet<NodeId> = self.nodes().into_iter().collect();
        let (mut fed, mut out) = (HashSet::new(), HashSet::new());
        for (id, node) in graph.iter() {
            for input in &node.inputs {
                match (inside.contains(input), inside.contains(&id)) {
                    (false, true) => drop(fed.insert(*input)),
                    (true, false) => drop(out.insert(*input)),
                    (true, true) | (false, false) => {}
                }
            }
        }
        let outputs = graph.outputs().iter().map(|output| output.node);
        out.extend(outputs.filter(|id| inside.contains(id)));
        match (fed.len(), out.len()) {
            (1, 1) => Some((fed.into_iter().next()?, out.into_iter().next()?)),
            _ => None,
        }
    }
}

/// Whether a layer without a name of its own stands behind the part it is called after.
fn follows(node: &Node, local: &str) -> bool {
    let after =
        matches!(node.op, Op::Pool(_) | Op::AdaptiveAvgPool(_) | Op::Flatten | Op::Dropout(_));
    after && local == node.op.word()
}

/// Takes apart the scopes that are no part with one input and one output, those that hold the
/// classifier, and those of a single layer or part, unless it is the first of a sequence.
fn dissolve(scope: &mut Scope, graph: &Graph, classifier: Option<NodeId>) {
    for (local, mut inner) in std::mem::take(&mut scope.scopes) {
        dissolve(&mut inner, graph, classifier);
        while let Some((_, out)) = inner.ends(graph)
            && let Some(at) = inner.items.iter().position(|item| item.node == out)
            && follows(graph.node(out), &inner.items[at].local)
        {
            let item = inner.items.remove(at);
            scope.items.push(Item { local: format!("{local}.{}", item.local), ..item });
        }
        let weights = |id: &NodeId| graph.node(*id).op.has_parameters();
        let alone = match (&inner.items[..], &inner.scopes[..]) {
            ([Item { local, norm: None, .. }], []) | ([], [(local, _)]) => local != "0",
            _ => false,
        };
        let whole = !alone
            && inner.ends(graph).is_some()
            && inner.nodes().iter().any(weights)
            && !classifier.is_some_and(|classifier| inner.nodes().contains(&classifier));
        if whole {
            scope.scopes.push((local, inner));
        } else {
            let items = inner.items.into_iter();
            scope.items.extend(items.map(|item| {
                let local = format!("{local}.{}", item.local);
                Item { local, ..item }
            }));
            let scopes = inner.scopes.into_iter();
            scope.scopes.extend(scopes.map(|(name, scope)| (format!("{local}.{name}"), scope)));
        }
    }
}

fn height(scope: &Scope) -> usize {
    1 + scope.scopes.iter().map(|(_, scope)| height(scope)).max().unwrap_or(0)
}

/// Gives items and scopes names that they can have, each its own.
fn rename(scope: &mut Scope, style: &Style) {
    let locals = scope.items.iter().map(|item| &item.local);
    let locals = locals.chain(scope.scopes.iter().map(|(local, _)| local));
    let whole: HashSet<String> = locals.cloned().collect();
    let mut taken: HashSet<String> = style.reserved.iter().map(|&name| name.to_owned()).collect();
    let mut plain = |local: &mut String| {
        *local = (style.local)(local, &whole);
        while local.is_empty() || local.ends_with('.') || !taken.insert(local.clone()) {
            local.push('_');
        }
    };
    scope.items.iter_mut().for_each(|item| plain(&mut item.local));
    scope.scopes.iter_mut().for_each(|(local, _)| plain(local));
    scope.scopes.iter_mut().for_each(|(_, inner)| rename(inner, style));
}

/// At most one dot, and that not behind a layer.
fn dotted(local: &str, whole: &HashSet<String>) -> String {
    match local.split_once('.') {
        Some((head, tail)) if !whole.contains(head) => {
            format!("{head}.{}", tail.replace('.', "_"))
        }
        Some(_) | None => local.replace('.', "_"),
    }
}

/// What `torch.nn.Module` calls its own.
const MODULE: [&str; 44] = [
    "add_module",
    "apply",
    "bfloat16",
    "buffers",
    "call_super_init",
    "children",
    "compile",
    "cpu",
    "cuda",
    "double",
    "dump_patches",
    "eval",
    "extra_repr",
    "float",
    "forward",
    "get_buffer",
    "get_extra_state",
    "get_parameter",
    "get_submodule",
    "half",
    "ipu",
    "load_state_dict",
    "modules",
    "mtia",
    "named_buffers",
    "named_children",
    "named_modules",
    "named_parameters",
    "parameters",
    "register_buffer",
    "register_forward_hook",
    "register_module",
    "register_parameter",
    "requires_grad_",
    "set_extra_state",
    "set_submodule",
    "share_memory",
    "state_dict",
    "to",
    "to_empty",
    "train",
    "training",
    "type",
    "zero_grad",
];

/// What became of a scope.
#[derive(Clone, Debug)]
enum Made<'g> {
    /// A part of a class: which, and the how many-eth.
    Part(usize, usize),
    Sequence(Vec<Step<'g>>),
}

struct Reader<'g> {
    graph: &'g Graph,
    style: &'g Style,
    classes: Vec<Class<'g>>,
    /// By the path of the scope.
    made: HashMap<String, Made<'g>>,
}

impl<'g> Reader<'g> {
    /// The scopes of a height, with their bodies.
    fn parts(&self, scope: &Scope, path: &str, level: usize, parts: &mut Vec<(String, Body<'g>)>) {
        for (local, inner) in &scope.scopes {
            let path = format!("{path}{local}.");
            match inner.ends(self.graph) {
                Some((_, out)) if height(inner) == level => {
                    parts.push((path.clone(), self.body(inner, &path, [out].into_iter())));
                }
                Some(_) | None => self.parts(inner, &path, level, parts),
            }
        }
    }

    fn classify(&mut self, parts: Vec<(String, Body<'g>)>) {
        let (chains, parts): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|(_, body)| self.is_sequence(body));
        for (path, body) in chains {
            self.made.insert(path, Made::Sequence(body.steps));
        }
        let first = self.classes.len();
        let (found, members) = classes(parts);
        self.classes.extend(found);
        for (path, class, member) in members {
            self.made.insert(path, Made::Part(first + class, member));
        }
    }

    /// Whether it is layers and parts called by their numbers, one after the other.
    fn is_sequence(&self, body: &Body<'g>) -> bool {
        let chained = body.steps.iter().enumerate().all(|(i, step)| {
            let before = i.checked_sub(1);
            step.local == i.to_string() && step.inputs == [before]
        });
        let last = body.steps.len().checked_sub(1);
        let is_sequence = self.style.is_sequence;
        chained && body.outputs == [last] && is_sequence(&body.steps, &self.classes)
    }

    /// Steps in the order of the branches.
    fn body(&self, scope: &Scope, path: &str, outputs: impl Iterator<Item = NodeId>) -> Body<'g> {
        // What makes each value: an item, or a scope behind the items.
        let mut makers: HashMap<NodeId, usize> = HashMap::new();
        let mut reads: Vec<Vec<NodeId>> = Vec::new();
        for item in &scope.items {
            makers.insert(item.norm.unwrap_or(item.node), reads.len());
            reads.push(self.graph.node(item.node).inputs.clone());
        }
        for (_, inner) in &scope.scopes {
            let Some((fed, out)) = inner.ends(self.graph) else {
                unreachable!("other scopes were taken apart")
            };
            makers.insert(out, reads.len());
            reads.push(vec![fed]);
        }
        let outputs: Vec<NodeId> = outputs.collect();
        let mut place: Vec<Option<usize>> = vec![None; reads.len()];
        let mut steps = Vec::new();
        for output in &outputs {
            // What is still to be made; an operand is made before what reads it.
            let mut stack: Vec<usize> = makers.get(output).copied().into_iter().collect();
            while let Some(&at) = stack.last() {
                let made = |id: &NodeId| makers.get(id).copied();
                let missing =
                    reads[at].iter().filter_map(made).find(|&maker| place[maker].is_none());
                match missing {
                    Some(maker) => stack.push(maker),
                    None => {
                        stack.pop();
                        if place[at].is_none() {
                            let operand = |id: &NodeId| made(id).and_then(|maker| place[maker]);
                            let inputs = reads[at].iter().map(operand).collect();
                            place[at] = Some(steps.len());
                            steps.push(self.step(scope, path, at, inputs));
                        }
                    }
                }
            }
        }
        let outputs = outputs.iter().map(|id| makers.get(id).and_then(|&maker| place[maker]));
        Body { steps, outputs: outputs.collect() }
    }

    /// What nodes are called in the code: `prefix` is that of the scope at `path`.
    fn keys(&self, scope: &Scope, path: &str, prefix: &str, keys: &mut BTreeMap<NodeId, String>) {
        let called = |local: &str| match self.made.get(path) {
            Some(Made::Sequence(_)) => format!("{prefix}{local}"),
            Some(Made::Part(..)) | None => format!("{prefix}{}", (self.style.member)(local)),
        };
        for item in &scope.items {
            let mut key = called(&item.local);
            if let Some(norm) = item.norm {
                keys.insert(norm, format!("{key}.bn"));
                key.push_str(self.style.own);
            }
            keys.insert(item.node, key);
        }
        for (local, inner) in &scope.scopes {
            let prefix = format!("{}.", called(local));
            self.keys(inner, &format!("{path}{local}."), &prefix, keys);
        }
    }

    fn step(&self, scope: &Scope, path: &str, at: usize, inputs: Vec<Operand>) -> Step<'g> {
        let else_input = None;
        if let Some(item) = scope.items.get(at) {
            let node = self.graph.node(item.node);
            let what = match item.norm {
                Some(norm) => What::ConvNorm(node, self.graph.node(norm)),
                None => What::Op(node),
            };
            let columns = attributes(self.graph, node, self.style.inputs);
            return Step { local: item.local.clone(), what, inputs, columns, else_input };
        }
        let local = &scope.scopes[at - scope.items.len()].0;
        let (what, columns) = match &self.made[&format!("{path}{local}.")] {
            Made::Part(class, member) => {
                (What::Part(*class), self.classes[*class].columns_of(*member))
            }
            Made::Sequence(steps) => {
                let columns = steps.iter().flat_map(|step| step.columns.clone()).collect();
                (What::Sequence(steps.clone()), columns)
            }
        };
        Step { local: local.clone(), what, inputs, columns, else_input }
    }
}

/// Whether an `nn.Sequential` can hold them.
fn are_modules(steps: &[Step<'_>], _: &[Class<'_>]) -> bool {
    steps.iter().all(|step| match &step.what {
        What::Op(node) => is_module(&node.op),
        What::Part(_) | What::Sequence(_) => true,
        What::ConvNorm(..) | What::Optional(_) => false,
    })
}

/// Whether PyTorch has a module that does just that.
pub(crate) fn is_module(op: &Op) -> bool {
    match op {
        Op::Conv2d(conv) => !lopsided(conv.pad),
        Op::Pool(pool) => {
            let half = pool.pad.top <= pool.kernel.h / 2 && pool.pad.left <= pool.kernel.w / 2;
            pool.kind != PoolKind::MaxOfPadded && !lopsided(pool.pad) && half
        }
        Op::Linear(_) | Op::BatchNorm(_) | Op::Relu => true,
        Op::Input(_)
        | Op::AdaptiveAvgPool(_)
        | Op::Subsample(_)
        | Op::Lrn(_)
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
        | Op::Shortcut(_) => false,
    }
}
