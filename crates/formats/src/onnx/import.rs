//! From nodes that name their values to a [`Graph`].
//!
//! A value is a part of the graph, seen in some arrangement, to which something may be done that only
//! makes an operation together with what follows: a padding, a factor. Most of these are never
//! carried out, since the next node takes them in.

use std::collections::HashMap;
use std::sync::Arc;

use striate_graph::op::{BatchNorm, Conv2d, Linear, Shortcut, Tanh};
use striate_graph::{Graph, MAX_VOLUME, NodeId, Op, Part, Shape, Sides};

use super::arrange::Arrangement;
use super::constant::{Constant, Place};
use super::files::Files;
use super::fold;
use super::modules::Modules;
use super::normalization::Sums;
use super::operator::Operator;
use super::view::View;
use crate::limits::{COMPUTED, COMPUTED_IN_ALL};
use crate::source::Source;

/// The most outputs of a network.
const MAX_OUTPUTS: usize = 256;

/// What the name of a value stands for.
#[derive(Clone, Debug)]
pub(super) enum Known {
    Constant(Constant),
    Computed(Computed),
}

/// A value that depends on what is fed.
#[derive(Clone, Debug)]
pub(super) struct Computed {
    /// The part that it is made of.
    pub(super) part: usize,
    /// How it is seen, one sample of it.
    pub(super) view: View,
    pub(super) form: Form,
    /// The node that gives it.
    pub(super) node: usize,
}

/// What is done to the value of a part and is no part yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    Plain,
    /// A border of one value around the maps.
    Padded(Sides, f32),
    /// `scale · x + shift`, one of each for all or for every channel. `sole` if nobody else reads the
    /// part.
    Affine {
        scale: Vec<f32>,
        shift: Vec<f32>,
        sole: bool,
    },
    /// `tanh(s · x)`.
    Tanh(f32),
    /// Every so manieth pixel of both axes.
    Kept(usize),
    /// The means of rows of pixels, so many.
    Lines(usize),
    /// The differences from codes, and their squares.
    Apart(Vec<Vec<bool>>),
    ApartSquared(Vec<Vec<bool>>),
    Squares,
    /// With so many channels of zeros before and behind them.
    SquaresBetween([usize; 2]),
    Sums(Sums),
    /// To this power.
    Powers(Sums, f32),
}

/// A network and what its file says beside it.
pub(super) struct Network {
    pub(super) graph: Graph,
    /// The tensors of its parameters, by name.
    pub(super) weights: HashMap<String, Constant>,
    /// For each output of the graph, one sample of it as the file has it.
    pub(super) outputs: Vec<Vec<usize>>,
    pub(super) warnings: Vec<String>,
}

/// A network while it is read.
pub(super) struct Import<'m> {
    pub(super) files: Files,
    pub(super) batch: usize,
    parts: Vec<Part>,
    shapes: Vec<Shape>,
    /// The node of each part.
    made_by: Vec<usize>,
    weights: Vec<HashMap<&'static str, Constant>>,
    values: HashMap<&'m str, Known>,
    /// How many nodes and outputs read a value.
    uses: HashMap<&'m str, usize>,
    /// What each node is called, and its first output.
    nodes: Vec<(&'m str, &'m str)>,
    modules: Modules<'m>,
    /// The parts that a node's value became, by what was done to it.
    settled: HashMap<(usize, &'static str), usize>,
    /// The names of parts, and of each the first number that may be free behind it.
    taken: HashMap<String, usize>,
    warnings: Vec<String>,
    /// How many values may still be computed with.
    left: usize,
}

impl<'m> Import<'m> {
    pub(super) fn new(
        files: Files,
        batch: usize,
        uses: HashMap<&'m str, usize>,
        modules: Modules<'m>,
    ) -> Import<'m> {
        Import {
            files,
            batch,
            parts: Vec::new(),
            shapes: Vec::new(),
            made_by: Vec::new(),
            weights: Vec::new(),
            values: HashMap::new(),
            uses,
            nodes: Vec::new(),
            modules,
            settled: HashMap::new(),
            taken: HashMap::new(),
            warnings: Vec::new(),
            left: COMPUTED_IN_ALL,
        }
    }

    /// What is fed: of that shape, and how the file sees it.
    pub(super) fn input(&mut self, name: &'m str, shape: Shape, view: View) -> Result<(), String> {
        self.nodes.push((name, name));
        let part = self.part(0, "", Op::Input(shape), vec![])?;
        self.define(name, Known::Computed(Computed { part, view, form: Form::Plain, node: 0 }))
    }

    pub(super) fn define(&mut self, name: &'m str, value: Known) -> Result<(), String> {
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(format!("gives `{}` a second time", name.escape_debug())),
        }
    }

    /// A node of the file.
    pub(super) fn node(&mut self, operator: &Operator<'m>) -> Result<(), String> {
        if let Some(domain) = operator.domain() {
            return Err(format!("an operator of `{}`, expected ONNX's own", domain.escape_debug()));
        }
        let Some((&output, others)) = operator.outputs.split_first() else {
            return Err(String::from("gives nothing"));
        };
        if let Some(other) = others.iter().find(|other| self.uses(other) > 0) {
            return Err(format!(
                "`{}`, which is read: only its first output is",
                other.escape_debug()
            ));
        }
        self.nodes.push((operator.name, output));
        let known = |name: &&str| match (self.values.get(name), name.is_empty()) {
            (Some(value), _) => Ok(Some(value.clone())),
            (None, true) => Ok(None),
            (None, false) => {
                Err(format!("reads `{}`, which no node before it gives", name.escape_debug()))
            }
        };
        let inputs = operator.inputs.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        self.charge(operator.kind, &inputs)?;
        if operator.kind == "If" {
            let value = self.branch(operator, &inputs)?;
            return self.define(output, value);
        }
        let value = match fold::given(operator, &mut self.files)? {
            Some(constant) => Known::Constant(constant),
            None => self.value(operator, &inputs)?,
        };
        self.define(output, value)
    }

    /// The value of the branch that is taken, where that can be known.
    fn branch(
        &mut self,
        operator: &Operator<'m>,
        inputs: &[Option<Known>],
    ) -> Result<Known, String> {
        let Some(Some(Known::Constant(condition))) = inputs.first() else {
            return Err(String::from("a condition that depends on what is fed"));
        };
        let holds = condition.to_integers(&self.source())?.first().is_some_and(|value| *value != 0);
        let name = if holds { "then_branch" } else { "else_branch" };
        let graph = operator.graph(name).ok_or_else(|| format!("no `{name}`"))?;
        for node in graph.messages(&["node"]) {
            let operator = Operator::new(node, operator.opset);
            self.node(&operator).map_err(|found| {
                format!("`{}` ({}): {found}", operator.name.escape_debug(), operator.kind)
            })?;
        }
        let output = graph.message("output").texts("name").last();
        let output = output.ok_or_else(|| {
            format!("`{name}` gives nothing; of a branch within a branch nothing is read")
        })?;
        self.values.get(output).cloned().ok_or_else(|| {
            format!("`{name}` gives `{}`, which no node before it makes", output.escape_debug())
        })
    }

    /// A file of a few bytes may ask for many computations on many values.
    fn charge(&mut self, kind: &str, inputs: &[Option<Known>]) -> Result<(), String> {
        if Arrangement::is_made_by(kind)
            || matches!(kind, "Conv" | "Gemm" | "MatMul" | "Identity" | "Shape")
        {
            return Ok(());
        }
        let volume = |input: &Option<Known>| match input {
            Some(Known::Constant(constant)) => constant.view.volume(),
            Some(Known::Computed(_)) | None => 0,
        };
        let volume = inputs.iter().map(volume).max().unwrap_or(0);
        self.spend(volume)
    }

    fn spend(&mut self, values: usize) -> Result<(), String> {
        let left = self.left.checked_sub(values);
        self.left =
            left.ok_or_else(|| format!("computations on more than {COMPUTED_IN_ALL} values"))?;
        Ok(())
    }

    fn value(
        &mut self,
        operator: &Operator<'m>,
        inputs: &[Option<Known>],
    ) -> Result<Known, String> {
        let constant = |input: &Option<Known>| match input {
            Some(Known::Computed(_)) => None,
            Some(Known::Constant(constant)) => Some(Some(constant.clone())),
            None => Some(None),
        };
        if let Some(constants) = inputs.iter().map(constant).collect::<Option<Vec<_>>>() {
            let inputs: Vec<_> = constants.iter().map(Option::as_ref).collect();
            let folded = fold::fold(operator, &inputs, &mut self.files)?;
            let folded = folded.ok_or_else(|| match operator.inputs.is_empty() {
                true => String::from("reads nothing"),
                false => String::from("reads constants alone, of which it is not computed here"),
            })?;
            if let Place::Held(made) = &folded.place {
                let is_made = |input: &&Constant| match &input.place {
                    Place::Held(bytes) => Arc::ptr_eq(bytes, made),
                    Place::Stored(_) => false,
                };
                if !inputs.iter().flatten().any(is_made) {
                    self.spend(made.len() / 4)?;
                }
            }
            return Ok(Known::Constant(folded));
        }
        if let ("Shape", Some(Some(Known::Computed(value)))) = (operator.kind, inputs.first()) {
            return Ok(Known::Constant(fold::shape(operator, &self.extents(value)?)?));
        }
        self.layer(operator, inputs).map(Known::Computed)
    }

    /// With the batch.
    pub(super) fn extents(&self, value: &Computed) -> Result<Vec<usize>, String> {
        let same = matches!(
            value.form,
            Form::Plain
                | Form::Affine { .. }
                | Form::Tanh(_)
                | Form::Squares
                | Form::Sums(_)
                | Form::Powers(..)
        );
        if !same {
            return Err(self.unfinished(value));
        }
        Ok([vec![self.batch], value.view.extents()].concat())
    }

    pub(super) fn source(&self) -> Source {
        self.files.source()
    }

    pub(super) fn uses(&self, name: &str) -> usize {
        self.uses.get(name).copied().unwrap_or(0)
    }

    pub(super) fn shape(&self, part: usize) -> Shape {
        self.shapes[part]
    }

    /// Whether nobody reads a part but by this value of it.
    pub(super) fn is_sole(&self, part: usize, name: &str) -> bool {
        self.uses(self.nodes[self.made_by[part]].1) == 1 && self.uses(name) == 1
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// The node that is read at the moment.
    pub(super) fn now(&self) -> usize {
        self.nodes.len() - 1
    }

    /// A part of the node.
    pub(super) fn part(
        &mut self,
        node: usize,
        behind: &str,
        op: Op,
        inputs: Vec<usize>,
    ) -> Result<usize, String> {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shapes[input]).collect();
        let shape = op.shape(&shapes).map_err(|reason| reason.to_string())?;
        // The next layer multiplies its extents.
        let volume = shape.extents().iter().try_fold(1usize, |n, extent| n.checked_mul(*extent));
        if !volume.is_some_and(|volume| (1..=MAX_VOLUME).contains(&volume)) {
            return Err(format!("gives {shape} values, none or more than {MAX_VOLUME}"));
        }
        let called = format!("{}{behind}", self.modules.called(self.nodes[node].0));
        let mut name = called.clone();
        while self.taken.contains_key(&name) {
            let number = self.taken.entry(called.clone()).or_insert(2);
            name = format!("{called}_{number}");
            *number += 1;
        }
        self.taken.insert(name.clone(), 2);
        self.parts.push(Part { name, op, inputs });
        self.shapes.push(shape);
        self.made_by.push(node);
        self.weights.push(HashMap::new());
        Ok(self.parts.len() - 1)
    }

    /// The value of a part of the node that is read, as it is.
    pub(super) fn made(&mut self, op: Op, inputs: Vec<usize>) -> Result<Computed, String> {
        let part = self.part(self.now(), "", op, inputs)?;
        Ok(self.plain(part, View::dense(&self.shapes[part].extents())))
    }

    pub(super) fn plain(&self, part: usize, view: View) -> Computed {
        Computed { part, view, form: Form::Plain, node: self.now() }
    }

    /// The tensor of a part, of as many values.
    pub(super) fn weigh(&mut self, part: usize, leaf: &'static str, tensor: Constant) {
        self.weights[part].insert(leaf, tensor);
    }

    /// Adds a bias to a layer that has none and is read by nobody else, if it is one.
    pub(super) fn bias(&mut self, part: usize, bias: &[f32]) -> bool {
        let (Op::Conv2d(Conv2d { bias: has @ false, out, .. })
        | Op::Linear(Linear { bias: has @ false, out })) = &mut self.parts[part].op
        else {
            return false;
        };
        *has = true;
        let out = *out;
        let bias = spread(bias, out);
        self.weigh(part, "bias", Constant::floats(&[out], &bias));
        true
    }

    /// The value with all that is done to it carried out.
    pub(super) fn settle(&mut self, value: &Computed) -> Result<Computed, String> {
        let Computed { part, view, form, node } = value;
        let settled = |part| Computed { part, view: view.clone(), form: Form::Plain, node: *node };
        if *form == Form::Plain {
            return Ok(value.clone());
        }
        if let Some(&part) = self.settled.get(&(*node, "")) {
            return Ok(settled(part));
        }
        let (part, channels) = (*part, self.shapes[*part].channels());
        let part = match form {
            Form::Affine { scale, shift, sole } => {
                let (scale, shift) = (spread(scale, channels), spread(shift, channels));
                self.scaled(part, *node, &scale, &shift, *sole)?
            }
            Form::Tanh(s) => self.part(*node, "", Op::Tanh(Tanh { a: 1.0, s: *s }), vec![part])?,
            Form::Padded(pad, 0.0) => {
                let conv = Conv2d { pad: *pad, ..each(channels) };
                let part = self.part(*node, "", Op::Conv2d(conv), vec![part])?;
                self.weigh(part, "weight", Constant::everywhere(&[channels, 1, 1, 1], 1.0));
                // It is larger than what it was made of.
                let view = View::dense(&self.shapes[part].extents());
                self.settled.insert((*node, ""), part);
                let plain = value.view == View::dense(&self.shapes[value.part].extents());
                return match plain {
                    true => Ok(Computed { part, view, form: Form::Plain, node: *node }),
                    false => Err(self.unfinished(value)),
                };
            }
            Form::Kept(stride) => {
                let shortcut = Op::Shortcut(Shortcut { stride: *stride, out: channels });
                let part = self.part(*node, "", shortcut, vec![part])?;
                let view = View::dense(&self.shapes[part].extents());
                return Ok(Computed { part, view, form: Form::Plain, node: *node });
            }
            Form::Plain
            | Form::Padded(..)
            | Form::Lines(_)
            | Form::Apart(_)
            | Form::ApartSquared(_)
            | Form::Squares
            | Form::SquaresBetween(_)
            | Form::Sums(_)
            | Form::Powers(..) => return Err(self.unfinished(value)),
        };
        self.settled.insert((*node, ""), part);
        Ok(settled(part))
    }

    /// Each channel by its factor, plus its summand.
    fn scaled(
        &mut self,
        part: usize,
        node: usize,
        scale: &[f32],
        shift: &[f32],
        sole: bool,
    ) -> Result<usize, String> {
        let (source, channels) = (self.source(), scale.len());
        if let (true, Op::BatchNorm(_), Some(weight), Some(bias)) = (
            sole,
            &self.parts[part].op,
            self.weights[part].get("weight"),
            self.weights[part].get("bias"),
        ) {
            // As Caffe has it: a normalisation, and a scale behind it.
            let (weight, bias) = (weight.to_floats(&source)?, bias.to_floats(&source)?);
            let weight: Vec<f32> = weight.iter().zip(scale).map(|(a, b)| a * b).collect();
            let bias = bias.iter().zip(scale).zip(shift);
            let bias: Vec<f32> =
                bias.map(|((x, scale), shift)| x.mul_add(*scale, *shift)).collect();
            self.weigh(part, "weight", Constant::floats(&[channels], &weight));
            self.weigh(part, "bias", Constant::floats(&[channels], &bias));
            return Ok(part);
        }
        if let Shape::Map { .. } = self.shapes[part] {
            let conv = Conv2d { bias: true, ..each(channels) };
            let part = self.part(node, "", Op::Conv2d(conv), vec![part])?;
            self.weigh(part, "weight", Constant::floats(&[channels, 1, 1, 1], scale));
            self.weigh(part, "bias", Constant::floats(&[channels], shift));
            return Ok(part);
        }
        // Statistics by which nothing is changed: variance and epsilon are one.
        let eps = 1.0 / f32::from(1u16 << 15);
        let norm = BatchNorm { eps, momentum: 0.1, scale: true };
        let part = self.part(node, "", Op::BatchNorm(norm), vec![part])?;
        let name = self.parts[part].name.escape_debug().to_string();
        self.warn(format!("`{name}` scales a row: here a normalisation, which training changes"));
        self.weigh(part, "weight", Constant::floats(&[channels], scale));
        self.weigh(part, "bias", Constant::floats(&[channels], shift));
        self.weigh(part, "running_mean", Constant::everywhere(&[channels], 0.0));
        self.weigh(part, "running_var", Constant::everywhere(&[channels], 1.0 - eps));
        Ok(part)
    }

    pub(super) fn unfinished(&self, value: &Computed) -> String {
        let name = self.nodes[value.node].0.escape_debug();
        format!("reads `{name}`, which alone makes no operation, nor with it")
    }

    /// The part whose value this is, in the order of its axes.
    pub(super) fn natural(&mut self, value: &Computed) -> Result<usize, String> {
        let value = self.settle(value)?;
        let shape = self.shapes[value.part];
        let (extents, view) = (shape.extents(), &value.view);
        let dense = View::dense(&extents);
        if *view == dense {
            return Ok(value.part);
        }
        if let (Shape::Map { c, .. }, true) = (shape, view.extents() == extents) {
            let others = (1..3).all(|axis| view.axis(axis) == dense.axis(axis));
            if let (true, [size, groups]) = (others, view.axis(0)) {
                let follow = size.stride == shape.area();
                if follow && groups.stride == size.extent * size.stride {
                    return self.shuffled(&value, c, groups.extent);
                }
            }
        }
        let name = self.nodes[value.node].0.escape_debug();
        Err(format!(
            "reads {:?} of `{name}`, which is {shape} with its axes turned",
            view.extents()
        ))
    }

    /// Channels of several groups dealt out in turn: the first of each group, the second of each, …
    /// As a convolution, each of whose outputs is one of its inputs.
    fn shuffled(
        &mut self,
        value: &Computed,
        channels: usize,
        groups: usize,
    ) -> Result<usize, String> {
        if let Some(&part) = self.settled.get(&(value.node, "shuffled")) {
            return Ok(part);
        }
        let weights = channels.checked_mul(channels).filter(|weights| *weights <= COMPUTED);
        let left = weights.and_then(|weights| self.left.checked_sub(weights));
        self.left = left.ok_or_else(|| format!("shuffles {channels} channels, too many"))?;
        let conv = Conv2d { bias: false, ..Conv2d::new(1.into(), channels) };
        let part = self.once(value, "shuffled", "", Op::Conv2d(conv))?;
        let mut weight = vec![0.0; channels * channels];
        for (channel, row) in weight.chunks_exact_mut(channels).enumerate() {
            row[channel % groups * (channels / groups) + channel / groups] = 1.0;
        }
        self.weigh(part, "weight", Constant::floats(&[channels, channels, 1, 1], &weight));
        let name = self.parts[part].name.escape_debug().to_string();
        self.warn(format!(
            "`{name}` shuffles channels: here a convolution, which training changes"
        ));
        Ok(part)
    }

    /// What an operation makes of the part of a value, for all who read the value so.
    fn once(
        &mut self,
        value: &Computed,
        why: &'static str,
        behind: &str,
        op: Op,
    ) -> Result<usize, String> {
        if let Some(&part) = self.settled.get(&(value.node, why)) {
            return Ok(part);
        }
        let part = self.part(value.node, behind, op, vec![value.part])?;
        self.settled.insert((value.node, why), part);
        Ok(part)
    }

    /// A map, in the order of its axes.
    pub(super) fn map(&mut self, value: &Computed) -> Result<(usize, [usize; 3]), String> {
        let part = self.natural(value)?;
        if let (Shape::Map { c, h, w }, 3) = (self.shapes[part], value.view.rank()) {
            return Ok((part, [c, h, w]));
        }
        Err(format!("reads a value of {} axes, expected N×C×H×W", value.view.rank() + 1))
    }

    /// A value as a row in C, H, W order; and, where the file has it in another, the steps that the
    /// file's takes through ours.
    pub(super) fn row(&mut self, value: &Computed) -> Result<(usize, Option<View>), String> {
        let value = self.settle(value)?;
        let order = (!value.view.is_dense()).then(|| value.view.clone());
        let part = match self.shapes[value.part] {
            Shape::Flat(_) => value.part,
            Shape::Map { .. } => self.once(&value, "flattened", ".flatten", Op::Flatten)?,
        };
        Ok((part, order))
    }

    /// Whether an axis of a value is that of the channels of its part.
    pub(super) fn is_channels(&self, value: &Computed, axis: usize) -> bool {
        let shape = self.shapes[value.part];
        let channels = View::dense(&[shape.channels(), shape.area()]);
        axis < value.view.rank() && value.view.axis(axis) == channels.axis(0)
    }

    /// The graph, of these values of the file. With `logits` a softmax at its end is left out.
    pub(super) fn finish(
        mut self,
        names: &[&str],
        logits: bool,
    ) -> Result<Network, (String, String)> {
        if names.len() > MAX_OUTPUTS {
            let found = format!("{} outputs, the limit is {MAX_OUTPUTS}", names.len());
            return Err((String::from("outputs"), found));
        }
        let mut outputs: Vec<(String, usize)> = Vec::new();
        let mut seen = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let failed = |found: String| ((*name).to_owned(), found);
            let Some(Known::Computed(value)) = self.values.get(name).cloned() else {
                return Err(failed(String::from("an output that no node computes of the input")));
            };
            let value = self.settle(&value).map_err(failed)?;
            let mut part = match value.view.is_dense() {
                true => value.part,
                false => self.natural(&value).map_err(failed)?,
            };
            if let (true, Op::Softmax) = (logits && i == 0, &self.parts[part].op) {
                self.warnings.push(format!(
                    "`{}` (Softmax) is left out: the network ends in logits",
                    self.parts[part].name.escape_debug()
                ));
                part = self.parts[part].inputs[0];
            }
            let called = if i == 0 { "logits" } else { name };
            let numbered = (2..).map(|i| format!("{called}_{i}"));
            let mut free = std::iter::once(called.to_owned()).chain(numbered);
            let free = free.find(|name| outputs.iter().all(|(taken, _)| taken != name));
            outputs.push((free.unwrap_or_default(), part));
            seen.push(value.view.extents());
        }
        let names: Vec<String> = self.parts.iter().map(|part| part.name.clone()).collect();
        let mut weights = HashMap::new();
        for (name, tensors) in names.iter().zip(self.weights) {
            weights.extend(
                tensors.into_iter().map(|(leaf, tensor)| (format!("{name}.{leaf}"), tensor)),
            );
        }
        let graph = Graph::assemble(self.parts, &outputs)
            .map_err(|error| (error.node, error.reason.to_string()))?;
        let keep: Vec<NodeId> = graph.outputs().iter().map(|output| output.node).collect();
        let graph = graph.prune(&keep);
        Ok(Network { graph, weights, outputs: seen, warnings: self.warnings })
    }
}

/// A convolution of every channel with one value.
fn each(channels: usize) -> Conv2d {
    Conv2d { groups: channels, bias: false, ..Conv2d::new(1.into(), channels) }
}

/// One value for all as one for each.
pub(super) fn spread(values: &[f32], len: usize) -> Vec<f32> {
    match *values {
        [value] => vec![value; len],
        _ => values.to_vec(),
    }
}
