use serde::{Deserialize, Serialize};

use super::{Role, Slot, map, positive, window};
use crate::{Cost, Reason, Shape, Sides, Size};

/// 2-D convolution (as everywhere in the field: cross-correlation).
///
/// # Shape
/// `C×H×W` → `out×H'×W'`, `H' = ⌊(H + top + bottom − dilation·(kernel − 1) − 1) / stride⌋ + 1`.
/// # Parameters
/// `weight` `out×(C/groups)×kernel.h×kernel.w`, `bias` `out`. With a `table` the weights of absent
/// connections are stored as zeros, and not counted.
/// # Errors
/// [`Reason::Window`] if the window is larger than the padded map, [`Reason::Groups`] if `C` or
/// `out` does not divide, [`Reason::Table`] if the table is of another size.
/// # Source
/// LeCun et al. 1998, §II.A; ONNX `Conv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    /// Output channels.
    pub out: usize,
    /// Height and width of the window.
    pub kernel: Size,
    /// Step of the window.
    pub stride: Size,
    /// Zeros around the map.
    pub pad: Sides,
    /// Distance of neighbouring taps; 1 is a dense window.
    pub dilation: Size,
    /// Blocks of channels that do not see each other.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// Which output map reads which input map; all read all without.
    pub table: Option<Table>,
}

/// A sparse connection of maps: LeNet-5's Table I.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// A row an input map, a column an output map.
    rows: Vec<Vec<bool>>,
}

impl Table {
    /// A row an input map, a character an output map: `X` reads it.
    pub fn new(rows: &[&str]) -> Table {
        Table { rows: rows.iter().map(|row| row.chars().map(|c| c == 'X').collect()).collect() }
    }

    /// Whether an output map reads an input map.
    pub fn connects(&self, input: usize, output: usize) -> bool {
        self.rows[input][output]
    }

    /// How many pairs of maps are connected.
    pub fn pairs(&self) -> usize {
        self.rows.iter().flatten().filter(|&&reads| reads).count()
    }

    fn columns(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }
}

impl Conv2d {
    /// Whether each of so many channels is convolved by itself, as far as Keras has a layer of its own
    /// for it: with one stride for both axes.
    pub fn is_depthwise(&self, channels: usize) -> bool {
        self.groups > 1 && self.groups == channels && self.stride.h == self.stride.w
    }

    /// A convolution with bias, stride 1, and half the kernel as padding, so that odd kernels keep
    /// the size of the map.
    pub fn new(kernel: Size, out: usize) -> Conv2d {
        Conv2d {
            out,
            kernel,
            stride: 1.into(),
            pad: ((kernel.h.max(1) - 1) / 2, (kernel.w.max(1) - 1) / 2).into(),
            dilation: 1.into(),
            groups: 1,
            bias: true,
            table: None,
        }
    }

    /// Input channels a filter reads.
    pub fn channels_per_group(&self, channels: usize) -> usize {
        channels / self.groups
    }

    /// The map that comes out; see the type.
    pub fn shape(&self, input: Shape) -> Result<Shape, Reason> {
        let [c, h, w] = map(input)?;
        let Conv2d { out, kernel, stride, pad, dilation, groups, .. } = *self;
        positive(
            "channels, kernel, stride, dilation and groups",
            &[out, kernel.h, kernel.w, stride.h, stride.w, dilation.h, dilation.w, groups],
        )?;
        for channels in [c, out] {
            if channels % groups != 0 {
                return Err(Reason::Groups { groups, channels });
            }
        }
        if let Some(table) = &self.table {
            let (rows, columns) = (table.rows.len(), table.columns());
            let ragged = table.rows.iter().any(|row| row.len() != columns);
            if ragged || groups != 1 || [rows, columns] != [c, out] {
                return Err(Reason::Table { rows, columns, inputs: c, outputs: out });
            }
        }
        let reach = Size {
            h: (kernel.h - 1).saturating_mul(dilation.h).saturating_add(1),
            w: (kernel.w - 1).saturating_mul(dilation.w).saturating_add(1),
        };
        let [h, w] = window::steps([h, w], reach, stride, pad, false)?;
        Ok(Shape::Map { c: out, h, w })
    }

    pub(super) fn slots(&self, input: Shape) -> Vec<Slot> {
        let Conv2d { out, kernel, .. } = *self;
        let read = self.channels_per_group(input.channels());
        let shape = vec![out, read, kernel.h, kernel.w];
        let mut slots = vec![Slot { leaf: "weight", shape, role: Role::Weight }];
        if self.bias {
            slots.push(Slot { leaf: "bias", shape: vec![out], role: Role::Bias });
        }
        slots
    }

    pub(super) fn cost(&self, input: Shape, output: Shape) -> Cost {
        let pairs = match &self.table {
            Some(table) => table.pairs(),
            None => self.out * self.channels_per_group(input.channels()),
        };
        let weights = (pairs * self.kernel.area()) as u64;
        let params = weights + if self.bias { self.out as u64 } else { 0 };
        let area = output.area() as u64;
        Cost {
            params,
            macs: weights * area,
            connections: params * area,
            activations: output.volume() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        struct Case(Conv2d, &'static str);
        let conv = |kernel: usize, out| Conv2d::new(kernel.into(), out);
        let cases = [
            Case(Conv2d { pad: 0.into(), ..conv(5, 6) }, "5×5 window over a 3×3 map"),
            Case(
                Conv2d { dilation: 3.into(), pad: 0.into(), ..conv(3, 6) },
                "7×7 window over a 3×3 map",
            ),
            Case(Conv2d { groups: 4, ..conv(3, 8) }, "4 groups do not divide 6 channels"),
            Case(Conv2d { groups: 2, ..conv(3, 7) }, "2 groups do not divide 7 channels"),
            Case(
                Conv2d { table: Some(Table::new(&["XX"])), ..conv(3, 2) },
                "a connection table of 1 rows and 2 columns for 6 maps in and 2 out",
            ),
        ];
        for Case(conv, expected) in cases {
            assert_eq!(conv.shape(Shape::map(6, 3, 3)).unwrap_err().to_string(), expected);
        }
        assert!(conv(3, 0).shape(Shape::map(6, 3, 3)).is_err());
    }

    #[test]
    fn a_table_is_counted_by_its_connections() {
        let conv = Conv2d { table: Some(Table::new(&["XX.", ".XX"])), ..Conv2d::new(1.into(), 3) };
        let cost = conv.cost(Shape::map(2, 4, 4), Shape::map(3, 4, 4));
        assert_eq!((cost.params, cost.macs, cost.connections), (4 + 3, 4 * 16, 7 * 16));
    }
}
