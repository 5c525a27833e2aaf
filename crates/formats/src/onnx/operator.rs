//! A node of a model: its operator, and what its attributes say.

use super::constant::Constant;
use super::files::Files;
use crate::protobuf::message::Message;

/// The largest extent that is taken for one.
const MAX_EXTENT: i64 = 1 << 31;

/// A node.
pub(super) struct Operator<'m> {
    /// What the node is called, or else its first output.
    pub(super) name: &'m str,
    pub(super) kind: &'m str,
    /// Empty where one that may be missing is.
    pub(super) inputs: Vec<&'m str>,
    pub(super) outputs: Vec<&'m str>,
    /// The version of the set of operators.
    pub(super) opset: usize,
    message: &'m Message,
}

impl<'m> Operator<'m> {
    pub(super) fn new(message: &'m Message, opset: usize) -> Operator<'m> {
        let text = |name| message.texts(name).last().unwrap_or_default();
        let outputs: Vec<&str> = message.texts("output").collect();
        let named = Some(text("name")).filter(|name| !name.is_empty());
        Operator {
            name: named.or(outputs.first().copied()).unwrap_or("a node without a name"),
            kind: text("op_type"),
            inputs: message.texts("input").collect(),
            outputs,
            opset,
            message,
        }
    }

    /// Whose operators it is one of, if not ONNX's own.
    pub(super) fn domain(&self) -> Option<&'m str> {
        self.message.texts("domain").last().filter(|domain| !matches!(*domain, "" | "ai.onnx"))
    }

    fn attribute(&self, name: &str) -> Option<&'m Message> {
        let mut all = self.message.messages(&["attribute"]);
        all.find(|attribute| attribute.texts("name").any(|found| found == name))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, String> {
        // What is zero may be left out.
        self.attribute(name).map_or(Ok(default), |attribute| attribute.number("f", 0.0))
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        let Some(attribute) = self.attribute(name) else { return Ok(default) };
        Ok(attribute.numbers("i")?.last().map_or(0, |number| *number as i64))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        Ok(self.int(name, 0)? != 0)
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        let Some(attribute) = self.attribute(name) else { return Ok(None) };
        Ok(Some(attribute.numbers("ints")?.into_iter().map(|number| number as i64).collect()))
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, String> {
        let Some(attribute) = self.attribute(name) else { return Ok(None) };
        Ok(Some(attribute.numbers("floats")?.into_iter().map(|number| number as f32).collect()))
    }

    pub(super) fn text(&self, name: &str) -> Option<&'m str> {
        self.attribute(name)?.texts("s").last()
    }

    pub(super) fn tensor(&self, name: &str, files: &mut Files) -> Result<Option<Constant>, String> {
        let tensor = self.attribute(name).map(|attribute| attribute.message("t"));
        tensor.map(|tensor| Constant::read(tensor, files)).transpose()
    }

    /// A graph inside of the node.
    pub(super) fn graph(&self, name: &str) -> Option<&'m Message> {
        self.attribute(name)?.messages(&["g"]).last()
    }

    /// Names of values that the graphs inside of the node read.
    pub(super) fn read_inside(message: &'m Message) -> impl Iterator<Item = &'m str> {
        let graphs = message.messages(&["attribute"]).flat_map(|inside| inside.messages(&["g"]));
        graphs.flat_map(|graph| {
            let read = graph.messages(&["node"]).flat_map(|node| node.texts("input"));
            read.chain(graph.messages(&["output"]).flat_map(|output| output.texts("name")))
        })
    }

    /// Sizes of a window along both axes of a map.
    pub(super) fn pair(&self, name: &str) -> Result<Option<[usize; 2]>, String> {
        let Some(values) = self.ints(name)? else { return Ok(None) };
        let sizes = sizes(&values).map_err(|found| format!("`{name}` {found}"))?;
        match *sizes {
            [h, w] => Ok(Some([h, w])),
            _ => Err(format!("`{name}` of {} axes, expected two: only maps are read", sizes.len())),
        }
    }
}

/// An axis counted from the front, of so many.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let counted = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let counted = usize::try_from(counted).ok().filter(|axis| *axis < rank);
    counted.ok_or_else(|| format!("axis {axis} of a value of {rank}"))
}

/// Numbers that must be sizes.
pub(super) fn sizes(values: &[i64]) -> Result<Vec<usize>, String> {
    let size = |&value: &i64| match value {
        0..=MAX_EXTENT => Ok(value as usize),
        _ => Err(format!("{value}, expected a size from 0 to {MAX_EXTENT}")),
    };
    values.iter().map(size).collect()
}
