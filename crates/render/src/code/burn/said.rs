//! Numbers, sizes and paddings as Burn takes them.

use super::Place;
use crate::code::class::{Argument, Expr, Value};
use crate::code::rust::Rust;

/// How an argument is said.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Number,
    /// Vertical and horizontal.
    Pair,
    Padding,
    Flag,
}

impl Kind {
    pub(super) fn of(argument: &Argument) -> Kind {
        let mut kind = Kind::Number;
        for value in argument.values() {
            kind = match (value, kind) {
                (Value::Flag(_), _) => Kind::Flag,
                (Value::Sides(_), _) | (_, Kind::Padding) => Kind::Padding,
                (Value::Pair(..), _) | (_, Kind::Pair) => Kind::Pair,
                (Value::Number(_), Kind::Number | Kind::Flag) => Kind::Number,
            };
        }
        kind
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Number => "usize",
            Kind::Pair => "[usize; 2]",
            Kind::Padding => "PaddingConfig2d",
            Kind::Flag => "bool",
        }
    }
}

/// What an expression is where it stands in a class.
pub(super) struct Said<'c, 'g> {
    pub(super) place: Place<'c, 'g>,
}

impl Said<'_, '_> {
    pub(super) fn kind(&self, name: &str) -> Kind {
        let arguments = self.place.map_or(&[][..], |class| &class.arguments[..]);
        arguments.iter().find(|argument| argument.name == name).map_or(Kind::Number, Kind::of)
    }

    pub(super) fn number(&self, expr: &Expr) -> String {
        match expr {
            Expr::Same(Value::Number(n)) => n.to_string(),
            Expr::Same(Value::Flag(flag)) => flag.to_string(),
            Expr::Same(Value::Pair(..) | Value::Sides(_)) => unreachable!("a number"),
            Expr::Argument { name, times: 1 } => name.clone(),
            Expr::Argument { name, times } => format!("{times} * {name}"),
        }
    }

    /// Height and width.
    pub(super) fn pair(&self, expr: &Expr) -> String {
        match expr {
            Expr::Same(Value::Pair(h, w)) => format!("[{h}, {w}]"),
            Expr::Argument { name, .. } if self.kind(name) == Kind::Pair => name.clone(),
            Expr::Same(_) | Expr::Argument { .. } => {
                let number = self.number(expr);
                format!("[{number}, {number}]")
            }
        }
    }

    pub(super) fn padding(&self, expr: &Expr) -> String {
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
            Expr::Same(_) | Expr::Argument { .. } => {
                let number = self.number(expr);
                explicit([&number; 4])
            }
        }
    }

    /// The argument of another class.
    pub(super) fn argument(&self, kind: Kind, expr: &Expr) -> Rust {
        Rust::Text(match kind {
            Kind::Number | Kind::Flag => self.number(expr),
            Kind::Pair => self.pair(expr),
            Kind::Padding => self.padding(expr),
        })
    }
}

pub(super) fn explicit(sides: [impl std::fmt::Display; 4]) -> String {
    let [top, left, bottom, right] = sides;
    format!("PaddingConfig2d::Explicit({top}, {left}, {bottom}, {right})")
}

/// `config.with_name(value)`, if that is to be said.
pub(super) fn set(config: Rust, said: bool, name: &str, value: &str) -> Rust {
    match said {
        true => config.method(&format!("with_{name}"), vec![Rust::text(value)]),
        false => config,
    }
}
