use std::fmt;

use serde::{Deserialize, Serialize};

/// Shape of one sample. The batch is no business of the network; it is chosen when a plan is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Channels of height × width.
    Map {
        /// Channels.
        c: usize,
        /// Height.
        h: usize,
        /// Width.
        w: usize,
    },
    /// A row of values.
    Flat(usize),
}

impl Shape {
    /// Channels of height × width.
    pub fn map(c: usize, h: usize, w: usize) -> Shape {
        Shape::Map { c, h, w }
    }

    /// How many values there are.
    pub fn volume(self) -> usize {
        match self {
            Shape::Map { c, h, w } => c * h * w,
            Shape::Flat(n) => n,
        }
    }

    /// Channels of a map, or the length of a row.
    pub fn channels(self) -> usize {
        match self {
            Shape::Map { c, .. } => c,
            Shape::Flat(n) => n,
        }
    }

    /// Values of one channel: height × width, or 1.
    pub fn area(self) -> usize {
        match self {
            Shape::Map { h, w, .. } => h * w,
            Shape::Flat(_) => 1,
        }
    }

    /// The extents: `[C, H, W]` or `[N]`.
    pub fn extents(self) -> Vec<usize> {
        match self {
            Shape::Map { c, h, w } => vec![c, h, w],
            Shape::Flat(n) => vec![n],
        }
    }

    /// The extents of a batch of these: `[batch, C, H, W]` or `[batch, N]`.
    pub fn batched(self, batch: usize) -> Vec<usize> {
        let mut extents = vec![batch];
        extents.extend(self.extents());
        extents
    }

    /// Channels, height, width; a row is a map of 1×1.
    pub fn chw(self) -> [usize; 3] {
        match self {
            Shape::Map { c, h, w } => [c, h, w],
            Shape::Flat(n) => [n, 1, 1],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Map { c, h, w } => write!(f, "{c}×{h}×{w}"),
            Shape::Flat(n) => write!(f, "{n}"),
        }
    }
}

/// Height and width of a kernel, a stride, a dilation. One number is a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Vertical.
    pub h: usize,
    /// Horizontal.
    pub w: usize,
}

impl Size {
    /// `h · w`.
    pub fn area(self) -> usize {
        self.h * self.w
    }
}

impl From<usize> for Size {
    fn from(side: usize) -> Size {
        Size { h: side, w: side }
    }
}

impl From<(usize, usize)> for Size {
    fn from((h, w): (usize, usize)) -> Size {
        Size { h, w }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.h, self.w)
    }
}

/// Zeros added on each side of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sides {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Sides {
    /// Top, left, bottom, right: ONNX's order.
    pub fn array(self) -> [usize; 4] {
        [self.top, self.left, self.bottom, self.right]
    }

    /// No padding at all.
    pub fn is_zero(self) -> bool {
        self == Sides::default()
    }
}

impl From<usize> for Sides {
    fn from(n: usize) -> Sides {
        Sides { top: n, left: n, bottom: n, right: n }
    }
}

/// Vertical and horizontal, the same on opposite sides.
impl From<(usize, usize)> for Sides {
    fn from((v, h): (usize, usize)) -> Sides {
        Sides { top: v, left: h, bottom: v, right: h }
    }
}

/// Top, left, bottom, right.
impl From<[usize; 4]> for Sides {
    fn from([top, left, bottom, right]: [usize; 4]) -> Sides {
        Sides { top, left, bottom, right }
    }
}

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sides { top, left, bottom, right } = *self;
        if top == bottom && left == right {
            if top == left { write!(f, "{top}") } else { write!(f, "{top}×{left}") }
        } else {
            write!(f, "{top},{left},{bottom},{right}")
        }
    }
}
