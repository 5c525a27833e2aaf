use striate_graph::{Graph, InputSpec};

use crate::StoredParams;

/// A network as a file has it, with its weights.
#[derive(Debug)]
pub struct Model {
    /// The network, its nodes called as in the file.
    pub graph: Graph,
    /// Its weights, where they are stored.
    pub params: StoredParams,
    /// How pictures are prepared for it, if the file says so.
    pub input: Option<InputSpec>,
    /// What a reader should know: what was left out, or taken for something else.
    pub warnings: Vec<String>,
    /// What is fed and what comes out in the file's own terms, if the format has names for them.
    pub ports: Option<Ports>,
}

/// What a file calls what is fed to its network, and what comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// What is fed.
    pub input: Port,
    /// Whether that is N×H×W×C there. The graph is fed N×C×H×W.
    pub channels_last: bool,
    /// What comes out, in the order of the outputs of the graph, of which it has the values in the
    /// same order.
    pub outputs: Vec<Port>,
}

/// A value by its name, and its extents. The batch, which is the first, may be of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What the file calls it.
    pub name: String,
    /// With the batch.
    pub shape: Vec<Option<usize>>,
}
