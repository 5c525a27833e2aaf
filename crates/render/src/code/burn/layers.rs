//! What makes the modules of layers.

use striate_graph::op::{Pool, PoolKind};
use striate_graph::{Node, Op};

use super::Writer;
use super::choice::{Choice, classes};
use super::said::{Kind, Said, explicit, set};
use crate::code::class::{Expr, Role, less, overhang};
use crate::code::outline::{Step, What};
use crate::code::real;
use crate::code::rust::Rust;
use crate::code::words::{column, shares, usual};

impl<'g> Writer<'g> {
    /// What makes the module of a step that has weights, and its type.
    pub(super) fn module(
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
            What::Sequence(steps) => {
                let (kind, items) = self.items(steps, exprs, said);
                return Some((kind, Rust::vec(items)));
            }
            What::Op(node) => node,
            What::Optional(_) => return None,
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

    /// What makes the items of a vector, and its type.
    pub(super) fn items(
        &self,
        steps: &[Step<'g>],
        exprs: &[Expr],
        said: &Said<'_, 'g>,
    ) -> (String, Vec<Rust>) {
        let found = classes(steps);
        let is_of = |choice: &&Choice| choice.variants.iter().map(|(class, _)| class).eq(&found);
        let choice = self.choices.iter().find(is_of);
        let mut kind = String::new();
        let mut items = Vec::new();
        for (step, own) in steps.iter().zip(shares(steps, exprs)) {
            let Some((class, item)) = self.module(step, own, said) else { continue };
            let variant = choice.and_then(|choice| {
                let is_own = |(of, _): &&(usize, String)| matches!(step.what, What::Part(class) if class == *of);
                Some((&choice.name, &choice.variants.iter().find(is_own)?.1))
            });
            match variant {
                Some((name, variant)) => {
                    kind.clone_from(name);
                    items.push(Rust::call(format!("{name}::{variant}"), vec![item]));
                }
                None => {
                    kind = class;
                    items.push(item);
                }
            }
        }
        (format!("Vec<{kind}>"), items)
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
    pub(super) fn tool(
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
}

/// What a module without weights is called that stands for several.
pub(super) fn word(kind: &str) -> &'static str {
    match kind {
        "MaxPool2d" => "max_pool",
        "AvgPool2d" | "AdaptiveAvgPool2d" => "avg_pool",
        "LocalResponseNorm" => "norm",
        "Dropout" => "dropout",
        _ => "shortcut",
    }
}
