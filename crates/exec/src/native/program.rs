use striate_graph::{NodeId, Shape};
use striate_kernels::{Conv, Lrn, Shortcut, Window};

/// A network as the engine sees it: steps in order, each of which makes one value.
///
/// A value is called by the node that makes it. Nodes that compute nothing have none of their own.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// In the order of execution.
    pub(crate) steps: Vec<Step>,
    /// What is handed out: a name, the value, and the shape of a sample.
    pub(crate) outputs: Vec<(String, NodeId, Shape)>,
    /// How many numbers the value of each node is, for a sample.
    pub(crate) volumes: Vec<usize>,
    /// The value that is fed.
    pub(crate) input: NodeId,
}

/// One call of a kernel, or of a few.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The nodes whose work it does, in order. Its parameters are those of the first.
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) action: Action,
    pub(crate) inputs: Vec<NodeId>,
    /// The value it makes.
    pub(crate) output: NodeId,
}

/// What a step does. Geometries are those of one image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Conv(Conv, Tail),
    Linear { inputs: usize, outputs: usize, tail: Tail },
    MaxPool(Window),
    AvgPool(Window),
    AdaptiveAvgPool { channels: usize, from: [usize; 2], to: [usize; 2] },
    Subsample(Window),
    BatchNorm { channels: usize, area: usize, eps: f32 },
    Lrn { lrn: Lrn, channels: usize, area: usize },
    Rbf { inputs: usize, outputs: usize },
    Relu,
    Tanh { a: f32, s: f32 },
    Sigmoid,
    Softmax { channels: usize, area: usize },
    Add { relu: bool },
    AddScaled(f32),
    Concat,
    Shortcut(Shortcut),
}

/// What a convolution or linear layer has taken in of the steps behind it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tail {
    /// Batch normalisations, which are part of the weights: their nodes and ε.
    pub(crate) norms: Vec<(NodeId, f32)>,
    pub(crate) relu: bool,
}

impl Action {
    /// What it is called in a printed plan.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Action::Conv(..) => "conv",
            Action::Linear { .. } => "linear",
            Action::MaxPool(_) => "max pool",
            Action::AvgPool(_) => "average pool",
            Action::AdaptiveAvgPool { .. } => "adaptive average pool",
            Action::Subsample(_) => "subsample",
            Action::BatchNorm { .. } => "batch norm",
            Action::Lrn { .. } => "lrn",
            Action::Rbf { .. } => "rbf",
            Action::Relu => "relu",
            Action::Tanh { .. } => "tanh",
            Action::Sigmoid => "sigmoid",
            Action::Softmax { .. } => "softmax",
            Action::Add { .. } => "add",
            Action::AddScaled(_) => "scaled add",
            Action::Concat => "concat",
            Action::Shortcut(_) => "shortcut",
        }
    }
}

impl Program {
    /// How many numbers a value is, for a sample.
    pub(crate) fn volume(&self, id: NodeId) -> usize {
        self.volumes[id.index()]
    }

    /// How many steps read each value; handing it out counts as one more.
    pub(crate) fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.volumes.len()];
        let read = self.steps.iter().flat_map(|step| &step.inputs);
        for id in read.chain(self.outputs.iter().map(|(_, id, _)| id)) {
            readers[id.index()] += 1;
        }
        readers
    }

    /// Lets each step `take` in the one that alone reads its result, where it does.
    pub(crate) fn absorb(self, take: impl Fn(&mut Action, &Step) -> bool) -> Program {
        let readers = self.readers();
        let mut steps: Vec<Step> = Vec::new();
        // Which of the new steps makes a value.
        let mut maker: Vec<Option<usize>> = vec![None; self.volumes.len()];
        for step in self.steps {
            let producer = match step.inputs[..] {
                [input] if readers[input.index()] == 1 => maker[input.index()],
                _ => None,
            };
            let at = match producer {
                Some(at) if take(&mut steps[at].action, &step) => {
                    steps[at].nodes.extend(step.nodes);
                    steps[at].output = step.output;
                    at
                }
                _ => {
                    steps.push(step);
                    steps.len() - 1
                }
            };
            maker[steps[at].output.index()] = Some(at);
        }
        Program { steps, ..self }
    }
}
