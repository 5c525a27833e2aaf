use crate::{Shape, Size};

/// A network that cannot be: which node, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{node}: {reason}")]
#[non_exhaustive]
pub struct GraphError {
    /// The node at which it was found.
    pub node: String,
    /// What is wrong there.
    pub reason: Reason,
}

/// Why a node cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// A kernel larger than the padded map it is moved over.
    #[error("{kernel} window over a {map} map")]
    Window {
        /// The window, dilation included.
        kernel: Size,
        /// The map, padding included.
        map: Size,
    },
    /// Channels that groups do not divide.
    #[error("{groups} groups do not divide {channels} channels")]
    Groups {
        /// How many groups.
        groups: usize,
        /// The channels, in or out, that do not divide.
        channels: usize,
    },
    /// A connection table of another size than the convolution.
    #[error(
        "a connection table of {rows} rows and {columns} columns for {inputs} maps in and {outputs} out"
    )]
    Table {
        /// Rows of the table: input maps.
        rows: usize,
        /// Columns of the table: output maps.
        columns: usize,
        /// Input maps of the convolution.
        inputs: usize,
        /// Output maps of the convolution.
        outputs: usize,
    },
    /// Values that are added or joined although their shapes do not allow it.
    #[error("inputs of shapes {} do not fit together", list(.0))]
    Join(Vec<Shape>),
    /// An operation on maps was given a row, or the other way round.
    #[error("found an input of shape {found}, expected {expected}")]
    Form {
        /// The shape that was found.
        found: Shape,
        /// What the operation works on.
        expected: &'static str,
    },
    /// An operation with another number of inputs than it takes.
    #[error("found {found} inputs, expected {expected}")]
    Inputs {
        /// How many there are.
        found: usize,
        /// How many the operation takes.
        expected: &'static str,
    },
    /// An attribute that is zero, negative or not a number where that has no meaning.
    #[error("{0}")]
    Attribute(String),
    /// An attribute set on an operation that does not have it.
    #[error("{attribute} was set on {op}, which has none")]
    NoSuchAttribute {
        /// The attribute.
        attribute: &'static str,
        /// The operation.
        op: &'static str,
    },
    /// An attribute set on an operation whose result was already used.
    #[error("{0} was set after the layer's result was used")]
    TooLate(&'static str),
    /// Two nodes or outputs of one name.
    #[error("the name is taken")]
    DuplicateName,
    /// A value of another network, or of a node that comes later.
    #[error("an input belongs to another network, or to no earlier node")]
    Foreign,
    /// An input of the network that is not its first node, or a first node that is none.
    #[error("the input is the first node of a network, and the only one")]
    Input,
    /// More values than the project handles in one sample.
    #[error("a value of more than {} elements", crate::MAX_VOLUME)]
    TooLarge,
}

fn list(shapes: &[Shape]) -> String {
    shapes.iter().map(Shape::to_string).collect::<Vec<_>>().join(", ")
}
