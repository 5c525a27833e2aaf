use striate_graph::{Graph, Node, NodeId, Output, Param, ParamLayout, ParamSource, Params, Shape};
use striate_kernels::Threads;
use striate_kernels::blocked::Isa;
use striate_tensor::Tensor;

use crate::{CompileError, Outputs, RunError};

/// Something that runs networks.
pub trait Backend {
    /// What it is called: `native`, `interpreter`.
    fn name(&self) -> &'static str;

    /// Prepares a network to be run. What comes out stands on its own: it holds copies of the
    /// parameters it needs, so `params` may go.
    ///
    /// # Errors
    /// [`CompileError`] if the parameters are of another network or cannot be read, a kept node
    /// does not exist, or the sizes are too large.
    fn compile(
        &self,
        graph: &Graph,
        params: &dyn ParamSource,
        options: &Options,
    ) -> Result<Box<dyn Executable>, CompileError>;
}

/// A compiled network. It owns its memory between calls.
pub trait Executable: Send {
    /// Runs a batch of `N×C×H×W` images, N from 1 to [`batch`](Executable::batch).
    ///
    /// # Errors
    /// [`RunError::Shape`] if the images are of another size, none or too many.
    fn run(&mut self, images: &Tensor) -> Result<Outputs, RunError>;

    /// The most images of a call.
    fn batch(&self) -> usize;

    /// Another of the same network, for another caller: it has memory of its own, and shares the
    /// weights and the threads.
    ///
    /// # Errors
    /// [`CompileError::TooLarge`] if there is not so much memory.
    fn another(&self) -> Result<Box<dyn Executable>, CompileError>;

    /// What the steps of a run are and what each takes, as a table; the median of so many runs.
    ///
    /// # Errors
    /// As [`run`](Executable::run).
    fn explain(&mut self, images: &Tensor, runs: usize) -> Result<String, RunError>;
}

/// What a network is compiled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The most images of a call.
    pub batch: usize,
    /// Threads that share the work; 0 is as many as the machine runs at once.
    pub threads: usize,
    /// Values to look at besides the outputs.
    pub keep: Vec<NodeId>,
    /// The instructions of the engine for CPUs; none is the best that the machine has.
    pub isa: Option<Isa>,
    /// What the engine for CPUs may do to the last digits.
    pub accuracy: Accuracy,
}

/// How near the sums of convolutions are to those of the definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Accuracy {
    /// Every product of the definition, added in single precision.
    Strict,
    /// Winograd's algorithm where it is faster. Its rounding errors are some two to eight times those
    /// of the definition, and what is not finite spreads over the tile around it.
    #[default]
    Fast,
}

impl Default for Options {
    /// One image, all cores, the outputs alone.
    fn default() -> Options {
        Options { batch: 1, threads: 0, keep: Vec::new(), isa: None, accuracy: Accuracy::Fast }
    }
}

/// The most values of a plan: 2⁴⁰ bytes of f32. Sums and products below it do not overflow.
pub(crate) const MOST_VALUES: usize = 1 << 38;

impl Options {
    /// The most threads that may be asked for.
    pub const MOST_THREADS: usize = 1024;

    /// How many threads are meant.
    ///
    /// # Errors
    /// [`CompileError::Threads`] if they are more than make sense.
    pub fn thread_count(&self) -> Result<usize, CompileError> {
        match self.threads {
            0 => Ok(Threads::available()),
            found if found > Options::MOST_THREADS => {
                Err(CompileError::Threads { found, most: Options::MOST_THREADS })
            }
            threads => Ok(threads),
        }
    }

    /// Which instructions are meant.
    pub(crate) fn isa(&self) -> Isa {
        self.isa.unwrap_or_else(Isa::best)
    }

    /// Refuses what has no meaning for a network, before anything is allocated.
    pub(crate) fn check(&self, graph: &Graph) -> Result<(), CompileError> {
        let nodes = graph.nodes().len();
        if self.batch == 0 {
            return Err(CompileError::EmptyBatch);
        }
        if let Some(isa) = self.isa.filter(|isa| !isa.is_available()) {
            return Err(CompileError::Isa { found: isa });
        }
        if graph.outputs().is_empty() {
            return Err(CompileError::NoOutput);
        }
        if let Some(id) = self.keep.iter().find(|id| id.index() >= nodes) {
            return Err(CompileError::Keep { found: id.index(), nodes });
        }
        let mut volumes =
            graph.nodes().iter().map(|node| node.shape.volume().checked_mul(self.batch));
        let total = volumes.try_fold(0usize, |sum, n| sum.checked_add(n?));
        match total {
            Some(total) if total <= MOST_VALUES => Ok(()),
            Some(_) | None => Err(CompileError::TooLarge { batch: self.batch }),
        }
    }

    /// The values to hand out: the outputs, then what is kept besides them, by its own name.
    pub(crate) fn wanted(&self, graph: &Graph) -> Vec<Output> {
        let mut wanted = graph.outputs().to_vec();
        for &node in &self.keep {
            let output = Output { name: graph.node(node).name.clone(), node };
            if !wanted.contains(&output) {
                wanted.push(output);
            }
        }
        wanted
    }
}

/// Refuses parameters of another network.
pub(crate) fn check_layout(graph: &Graph, found: &ParamLayout) -> Result<(), CompileError> {
    let expected = graph.layout();
    if *found == expected {
        return Ok(());
    }
    let longest = found.params().len().max(expected.params().len());
    let pair = |i| (found.params().get(i), expected.params().get(i));
    let (found, expected) = (0..longest).map(pair).find(|(a, b)| a != b).unwrap_or((None, None));
    Err(CompileError::Params { found: told(found), expected: told(expected) })
}

fn told(param: Option<&Param>) -> String {
    param.map_or_else(
        || String::from("no further tensor"),
        |p| format!("`{}` {:?} of node {}", p.name, p.slot.shape, p.node.index()),
    )
}

/// How many images there are, if a plan for `batch` of them takes them.
pub(crate) fn count(images: &Tensor, input: Shape, batch: usize) -> Result<usize, RunError> {
    match images.shape().split_first() {
        Some((&n, sample)) if (1..=batch).contains(&n) && *sample == input.extents()[..] => Ok(n),
        Some(_) | None => {
            Err(RunError::Shape { found: images.shape().to_vec(), expected: input.batched(batch) })
        }
    }
}

/// What a node's parameters are called, in the order of [`Op::slots`](striate_graph::Op::slots).
pub(crate) fn names(graph: &Graph, node: &Node) -> Vec<String> {
    let slots = node.op.slots(&graph.input_shapes(node));
    slots.iter().map(|slot| format!("{}.{}", node.name, slot.leaf)).collect()
}

/// The values of a node's parameters, in the same order.
pub(crate) fn slots<'p>(graph: &Graph, params: &'p Params, node: &Node) -> Vec<&'p [f32]> {
    let names = names(graph, node);
    names.iter().filter_map(|name| params.get(name)).map(|view| view.data).collect()
}
