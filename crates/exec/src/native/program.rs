use striate_graph::{NodeId, Shape};
use striate_kernels::blocked::{Algorithm, Convolution, Isa};
use striate_kernels::{Conv, Lrn, Window};

/// A network as the engine sees it: steps in order, each of which makes a value or two.
///
/// A value is called by the node that makes it. Nodes that compute nothing have none of their own.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// In the order of execution.
    pub(crate) steps: Vec<Step>,
    /// What is handed out: a name, the value, and the shape of a sample.
    pub(crate) outputs: Vec<(String, NodeId, Shape)>,
    /// Channels, height and width of the value of each node.
    pub(crate) extents: Vec<[usize; 3]>,
    /// The value that is fed.
    pub(crate) input: NodeId,
}

/// One call of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The nodes whose work it does, in order. Its parameters are those of the first.
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) action: Action,
    pub(crate) inputs: Vec<NodeId>,
    /// The values it makes: one, but for a sum with its activation.
    pub(crate) outputs: Vec<NodeId>,
}

/// What a step does. Geometries are those of one image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// The images brought into the layout of the engine.
    Pack,
    Conv(Conv, Tail),
    Linear {
        from: [usize; 3],
        outputs: usize,
        tail: Tail,
    },
    MaxPool(Window),
    AvgPool(Window),
    AdaptiveAvgPool,
    Subsample(Window),
    BatchNorm {
        eps: f32,
        relu: bool,
    },
    Lrn(Lrn),
    Rbf,
    Relu,
    Tanh {
        a: f32,
        s: f32,
    },
    Sigmoid,
    Softmax {
        log: bool,
    },
    /// To what is from the first to the second.
    Clip([f32; 2]),
    Add {
        relu: bool,
    },
    AddScaled(f32),
    Concat,
    Flatten,
    Shortcut(usize),
}

/// What a convolution or linear layer has taken in of the steps behind it, in the order in which it
/// is done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tail {
    /// Batch normalisations, which are part of the weights: their nodes and ε.
    pub(crate) norms: Vec<(NodeId, f32)>,
    /// Multiplies the result before the residual is added.
    pub(crate) factor: f32,
    /// What is added: the second operand, every `stride`-th pixel of it.
    pub(crate) residual: Option<usize>,
    pub(crate) relu: bool,
    /// The pre-activation of the next block, normalised and rectified: the last value the step
    /// makes, or the only one.
    pub(crate) activation: Option<(NodeId, f32)>,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail { norms: Vec::new(), factor: 1.0, residual: None, relu: false, activation: None }
    }
}

impl Action {
    /// Whether its kernel can write some blocks of a larger value.
    pub(crate) fn writes_blocks(&self) -> bool {
        match self {
            Action::Conv(..)
            | Action::Linear { .. }
            | Action::MaxPool(_)
            | Action::AvgPool(_)
            | Action::AdaptiveAvgPool
            | Action::Subsample(_)
            | Action::BatchNorm { .. }
            | Action::Concat
            | Action::Shortcut(_) => true,
            Action::Pack
            | Action::Lrn(_)
            | Action::Rbf
            | Action::Relu
            | Action::Tanh { .. }
            | Action::Sigmoid
            | Action::Softmax { .. }
            | Action::Clip(_)
            | Action::Add { .. }
            | Action::AddScaled(_)
            | Action::Flatten => false,
        }
    }

    /// Multiply-adds for an image, where they are what takes the time.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest moves memory")]
    pub(crate) fn macs(&self) -> usize {
        match self {
            Action::Conv(conv, _) => conv.output.iter().product::<usize>() * self.row(),
            Action::Linear { outputs, .. } => self.row() * outputs,
            _ => 0,
        }
    }

    /// Weights of an output channel, where they are packed.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest has none, or few")]
    pub(crate) fn row(&self) -> usize {
        match self {
            Action::Conv(conv, _) => {
                let [kh, kw] = conv.kernel;
                conv.input[0] / conv.groups * kh * kw
            }
            Action::Linear { from, .. } => from.iter().product(),
            _ => 0,
        }
    }

    /// What it is called in a printed plan.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Action::Pack => "pack",
            Action::Conv(..) => "conv",
            Action::Linear { .. } => "linear",
            Action::MaxPool(_) => "max pool",
            Action::AvgPool(_) => "average pool",
            Action::AdaptiveAvgPool => "adaptive average pool",
            Action::Subsample(_) => "subsample",
            Action::BatchNorm { .. } => "batch norm",
            Action::Lrn(_) => "lrn",
            Action::Rbf => "rbf",
            Action::Relu => "relu",
            Action::Tanh { .. } => "tanh",
            Action::Sigmoid => "sigmoid",
            Action::Softmax { log: false } => "softmax",
            Action::Softmax { log: true } => "log softmax",
            Action::Clip(_) => "clip",
            Action::Add { .. } => "add",
            Action::AddScaled(_) => "scaled add",
            Action::Concat => "concat",
            Action::Flatten => "flatten",
            Action::Shortcut(_) => "shortcut",
        }
    }
}

impl Program {
    /// Channels, height and width of a value.
    pub(crate) fn extents(&self, id: NodeId) -> [usize; 3] {
        self.extents[id.index()]
    }

    /// Whether a step reads the images as they come, plane by plane.
    pub(crate) fn reads_planes(&self, step: &Step) -> bool {
        let Action::Conv(conv, _) = &step.action else { return false };
        step.inputs[0] == self.input
            && step.inputs.get(1) != Some(&self.input)
            && Convolution::new(Isa::Portable, Algorithm::FirstLayer, conv).is_some()
    }

    /// With a step that brings the images into the layout of the engine.
    pub(crate) fn reading_pixels(mut self) -> Program {
        let input = self.input;
        if self.steps.iter().all(|step| step.action != Action::Pack) {
            let (nodes, outputs) = (vec![input], vec![input]);
            self.steps.insert(0, Step { nodes, action: Action::Pack, inputs: vec![], outputs });
        }
        self
    }

    /// How many steps read each value; handing it out counts as one more.
    pub(crate) fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.extents.len()];
        let read = self.steps.iter().flat_map(|step| &step.inputs);
        for id in read.chain(self.outputs.iter().map(|(_, id, _)| id)) {
            readers[id.index()] += 1;
        }
        readers
    }

    /// Which step makes each value.
    pub(crate) fn makers(&self) -> Vec<Option<usize>> {
        let mut makers = vec![None; self.extents.len()];
        for (at, step) in self.steps.iter().enumerate() {
            step.outputs.iter().for_each(|id| makers[id.index()] = Some(at));
        }
        makers
    }

    /// Lets each step `take` in the one that alone reads its result, where it does.
    pub(crate) fn absorb(self, take: impl Fn(&mut Action, &Step) -> bool) -> Program {
        let readers = self.readers();
        let mut steps: Vec<Step> = Vec::new();
        // Which of the new steps makes a value.
        let mut maker: Vec<Option<usize>> = vec![None; self.extents.len()];
        for step in self.steps {
            let producer = match step.inputs[..] {
                [input] if readers[input.index()] == 1 => maker[input.index()],
                _ => None,
            };
            let at = match producer {
                Some(at) if take(&mut steps[at].action, &step) => {
                    steps[at].nodes.extend(step.nodes);
                    steps[at].outputs = step.outputs;
                    at
                }
                _ => {
                    steps.push(step);
                    steps.len() - 1
                }
            };
            steps[at].outputs.iter().for_each(|id| maker[id.index()] = Some(at));
        }
        Program { steps, ..self }
    }

    /// Without the steps whose results nobody reads any more.
    pub(crate) fn pruned(mut self) -> Program {
        let mut read = vec![false; self.extents.len()];
        self.outputs.iter().for_each(|(_, id, _)| read[id.index()] = true);
        let mut steps = Vec::new();
        for step in self.steps.into_iter().rev() {
            if step.outputs.iter().any(|id| read[id.index()]) {
                step.inputs.iter().for_each(|id| read[id.index()] = true);
                steps.push(step);
            }
        }
        steps.reverse();
        self.steps = steps;
        self
    }
}
