use striate_graph::{Graph, InputSpec, Params};

/// A network as a file has it, with its weights.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network, its nodes called as in the file.
    pub graph: Graph,
    /// Its weights.
    pub params: Params,
    /// How pictures are prepared for it, if the file says so.
    pub input: Option<InputSpec>,
    /// What a reader should know: what was left out, or taken for something else.
    pub warnings: Vec<String>,
}
