//! The attributes of operations by name: what the JSON of a layer says, and what a difference
//! between two layers is made of.

use std::fmt;

use serde_json::{Value, json};
use striate_graph::op::PoolKind;
use striate_graph::{Op, Shape, Sides, Size};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A number of something.
    Count(usize),
    /// A real number.
    Real(f32),
    /// Yes or no.
    Flag(bool),
    /// Height and width.
    Size(Size),
    /// Top, left, bottom, right.
    Sides(Sides),
    /// Extents of a value.
    Shape(Shape),
    /// A row for each map or class, `X` where it is on: a connection table, the codes of an RBF.
    Bits(Vec<String>),
    /// Names: of an operation, of inputs.
    Names(Vec<String>),
}

impl Attribute {
    /// As JSON has it: sizes as `[h, w]`, padding as `[top, left, bottom, right]`.
    pub fn json(&self) -> Value {
        match self {
            Attribute::Count(n) => json!(n),
            // By way of decimals, so that 0.1 does not become 0.10000000149011612.
            Attribute::Real(x) => json!(format!("{x:?}").parse::<f64>().ok()),
            Attribute::Flag(yes) => json!(yes),
            Attribute::Size(size) => json!([size.h, size.w]),
            Attribute::Sides(sides) => json!(sides.array()),
            Attribute::Shape(shape) => json!(shape.extents()),
            Attribute::Bits(rows) => json!(rows),
            Attribute::Names(names) => json!(names),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attribute::Count(n) => write!(f, "{n}"),
            Attribute::Real(x) => write!(f, "{x:?}"),
            Attribute::Flag(yes) => f.write_str(if *yes { "yes" } else { "no" }),
            Attribute::Size(size) => write!(f, "{size}"),
            Attribute::Sides(sides) => write!(f, "{sides}"),
            Attribute::Shape(shape) => write!(f, "{shape}"),
            Attribute::Bits(rows) if rows.is_empty() => f.write_str("none"),
            Attribute::Bits(rows) => {
                let (on, all) = (rows.concat().matches('X').count(), rows.concat().len());
                write!(f, "{on} of {all}")
            }
            Attribute::Names(names) => f.write_str(&names.join(", ")),
        }
    }
}

/// All attributes of an operation on inputs of these shapes. Operations of one kind that differ,
/// differ in one of these.
pub(crate) fn attributes(op: &Op, inputs: &[Shape]) -> Vec<(&'static str, Attribute)> {
    use Attribute::{Bits, Count, Flag, Real};
    match op {
        Op::Input(shape) => vec![("shape", Attribute::Shape(*shape))],
        Op::Conv2d(conv) => {
            let table = conv.table.as_ref().map_or(vec![], |table| {
                let reads = |row| (0..conv.out).map(|map| table.connects(row, map)).collect();
                (0..inputs[0].channels()).map(|row| bits(reads(row))).collect()
            });
            vec![
                ("out", Count(conv.out)),
                ("kernel", Attribute::Size(conv.kernel)),
                ("stride", Attribute::Size(conv.stride)),
                ("padding", Attribute::Sides(conv.pad)),
                ("dilation", Attribute::Size(conv.dilation)),
                ("groups", Count(conv.groups)),
                ("bias", Flag(conv.bias)),
                ("table", Bits(table)),
            ]
        }
        Op::Linear(linear) => vec![("out", Count(linear.out)), ("bias", Flag(linear.bias))],
        Op::Pool(pool) => {
            let mut all = vec![
                ("kernel", Attribute::Size(pool.kernel)),
                ("stride", Attribute::Size(pool.stride)),
                ("padding", Attribute::Sides(pool.pad)),
                ("ceil", Flag(pool.ceil)),
            ];
            match pool.kind {
                PoolKind::Max => {}
                PoolKind::MaxOfPadded => all.push(("zero_pad", Flag(true))),
                PoolKind::Avg { count_include_pad } => {
                    all.push(("count_include_pad", Flag(count_include_pad)));
                }
            }
            all
        }
        Op::AdaptiveAvgPool(pool) => vec![("size", Attribute::Size(pool.out))],
        Op::Subsample(pool) => {
            vec![("kernel", Attribute::Size(pool.kernel)), ("stride", Attribute::Size(pool.stride))]
        }
        Op::BatchNorm(norm) => vec![
            ("eps", Real(norm.eps)),
            ("momentum", Real(norm.momentum)),
            ("scale", Flag(norm.scale)),
        ],
        Op::Lrn(lrn) => vec![
            ("size", Count(lrn.size)),
            ("alpha", Real(lrn.alpha)),
            ("divided", Flag(lrn.divided)),
            ("beta", Real(lrn.beta)),
            ("k", Real(lrn.k)),
        ],
        Op::Rbf(rbf) => vec![("codes", Bits(rbf.codes.iter().cloned().map(bits).collect()))],
        Op::Clip(clip) => {
            let bounds = [("min", clip.min), ("max", clip.max)];
            bounds.into_iter().filter_map(|(name, bound)| Some((name, Real(bound?)))).collect()
        }
        Op::Tanh(tanh) => vec![("a", Real(tanh.a)), ("s", Real(tanh.s))],
        Op::Dropout(dropout) => vec![("p", Real(dropout.p))],
        Op::AddScaled(add) => vec![("scale", Real(add.scale))],
        Op::Shortcut(shortcut) => {
            vec![("stride", Attribute::Size(shortcut.stride.into())), ("out", Count(shortcut.out))]
        }
        Op::Relu
        | Op::Sigmoid
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Add
        | Op::Concat
        | Op::Flatten => vec![],
    }
}

fn bits(row: Vec<bool>) -> String {
    row.into_iter().map(|on| if on { 'X' } else { '.' }).collect()
}
