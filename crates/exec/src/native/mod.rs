//! The engine for CPUs: a straight pipe from a graph to a plan.
//!
//! ```text
//! Graph ─ lower ─► Program ─ fold ─► fuse ─► place ─► Plan ─ with weights ─► Executable
//!                  (steps) (BatchNorm into weights) (ReLU) (memory)
//! ```
//!
//! Everything but the weights is known without [`Params`], so a [`Plan`] can be looked at, and its
//! memory counted, before there are any.

mod fold;
mod lower;
mod place;
mod program;
mod run;

use std::fmt;
use std::ops::Range;

use striate_graph::{Graph, NodeId, Params, Shape};
use striate_kernels::{Conv, Threads, conv};

use self::place::Placement;
use self::program::{Action, Program};
use crate::backend::{MOST_VALUES, check_params};
use crate::outputs::Meaning;
use crate::{Backend, CompileError, Executable, Options};

/// The engine for CPUs. The bits of a result do not depend on the number of threads.
///
/// A compiled network holds one copy of the parameters it needs, folded where batch normalisation
/// was: it outlives the [`Params`] it was made from, which may be dropped to have the weights in
/// memory once.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Native;

impl Backend for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn compile(
        &self,
        graph: &Graph,
        params: &Params,
        options: &Options,
    ) -> Result<Box<dyn Executable>, CompileError> {
        let plan = plan(graph, options)?;
        check_params(graph, params)?;
        let steps = plan.program.steps.iter();
        Ok(Box::new(run::Compiled {
            weights: steps.map(|step| fold::weights(graph, params, step)).collect(),
            memory: zeros(plan.floats(), options.batch)?,
            threads: Threads::new(options.thread_count()?),
            meaning: Meaning::of(graph),
            plan,
        }))
    }
}

/// How a network will be run.
///
/// # Errors
/// [`CompileError`] if the options have no meaning for the graph or the sizes are too large.
pub fn plan(graph: &Graph, options: &Options) -> Result<Plan, CompileError> {
    options.check(graph)?;
    let threads = options.thread_count()?;
    let program = fold::fuse(fold::fold(lower::lower(graph, &options.wanted(graph))));
    let placement = place::place(&program, options.batch);
    let scratch = scratch(&program, options.batch, threads);
    let plan = Plan {
        names: graph.nodes().iter().map(|node| node.name.clone()).collect(),
        input: graph.input(),
        batch: options.batch,
        program,
        placement,
        scratch,
    };
    if plan.floats() > MOST_VALUES {
        return Err(CompileError::TooLarge { batch: options.batch });
    }
    Ok(plan)
}

/// Bytes that a network takes to run besides its weights: the values of a batch, of which those
/// that are not alive at the same time share memory, and the scratch of the kernels on all cores.
/// Nothing is allocated.
///
/// # Errors
/// [`CompileError`] if the batch is 0 or the sizes are too large.
pub fn planned_bytes(graph: &Graph, batch: usize) -> Result<usize, CompileError> {
    Ok(plan(graph, &Options { batch, ..Options::default() })?.bytes())
}

/// How a network is run: its steps, and where each value lies and when. Prints as a table.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of all nodes.
    names: Vec<String>,
    input: Shape,
    batch: usize,
    program: Program,
    placement: Placement,
    /// Floats that the kernels scribble on.
    scratch: usize,
}

/// Where a value lies and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The node that makes it.
    pub node: NodeId,
    /// From when it is written to after it was last read: 0 is before the first step.
    pub life: Range<usize>,
    /// Its floats in the arena.
    pub place: Range<usize>,
}

impl Plan {
    /// Bytes of all values and scratch.
    pub fn bytes(&self) -> usize {
        self.floats() * size_of::<f32>()
    }

    /// All values. Two that are alive at the same time do not overlap.
    pub fn values(&self) -> Vec<Placed> {
        let made = self.program.steps.iter().map(|step| step.output);
        let placed = |node: NodeId| Placed {
            node,
            life: self.placement.lives[node.index()].clone(),
            place: self.placement.places[node.index()].clone(),
        };
        std::iter::once(self.program.input).chain(made).map(placed).collect()
    }

    fn floats(&self) -> usize {
        self.placement.arena + self.scratch
    }

    /// Where the value of so many images is.
    fn range(&self, id: NodeId, count: usize) -> Range<usize> {
        let start = self.placement.places[id.index()].start;
        start..start + count * self.program.volume(id)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.program.steps {
            let nodes: Vec<&str> =
                step.nodes.iter().map(|id| self.names[id.index()].as_str()).collect();
            let Range { start, end } = self.placement.places[step.output.index()];
            writeln!(f, "{:<22} {:<40} {start}..{end}", step.action.word(), nodes.join(" + "))?;
        }
        let (arena, scratch) = (self.placement.arena, self.scratch);
        writeln!(f, "{arena} floats of values, {scratch} of scratch")
    }
}

/// The most scratch that a step needs.
#[expect(clippy::wildcard_enum_match_arm, reason = "other kernels need none")]
fn scratch(program: &Program, batch: usize, threads: usize) -> usize {
    let needed = program.steps.iter().map(|step| match &step.action {
        Action::Conv(geometry, _) => conv::scratch(&Conv { batch, ..*geometry }, threads),
        _ => 0,
    });
    needed.max().unwrap_or(0)
}

/// Memory, if there is so much.
fn zeros(len: usize, batch: usize) -> Result<Vec<f32>, CompileError> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(len).map_err(|_| CompileError::TooLarge { batch })?;
    memory.resize(len, 0.0);
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use striate_graph::{Init, add};
    use striate_tensor::{Rng, Tensor};

    fn block() -> Graph {
        Graph::build(Shape::map(4, 4, 4), |x| {
            let y = x.at("conv1").conv(3, 4).no_bias().at("bn1").batch_norm().relu();
            let y = y.at("conv2").conv(3, 4).at("bn2").batch_norm();
            let x = add(y, x).relu().dropout(0.5).flatten();
            x.at("fc").linear(3).at("bn3").batch_norm().softmax()
        })
        .unwrap()
    }

    fn printed(keep: &[&str]) -> String {
        let graph = block();
        let keep = keep.iter().map(|name| graph.find(name).unwrap()).collect();
        plan(&graph, &Options { keep, threads: 1, ..Options::default() }).unwrap().to_string()
    }

    #[test]
    fn steps_take_in_what_alone_reads_them() {
        let expected = [
            "conv                   conv1 + bn1 + bn1.relu                   64..128",
            "conv                   conv2 + bn2                              128..192",
            "add                    bn2.add + bn2.relu                       128..192",
            "linear                 fc + bn3                                 0..3",
            "softmax                bn3.softmax                              16..19",
        ];
        let plan = printed(&[]);
        assert_eq!(plan.lines().take(5).collect::<Vec<_>>(), expected, "{plan}");
        assert_eq!(plan.lines().count(), 6);
    }

    #[test]
    fn what_is_kept_is_neither_taken_in_nor_overwritten() {
        // The sum may not be made in place of bn2, nor take in its ReLU.
        let plan = printed(&["conv1", "bn2", "bn2.add"]);
        let steps: Vec<&str> = plan.lines().take(8).map(|line| line[..63].trim_end()).collect();
        let expected = [
            "conv                   conv1",
            "batch norm             bn1",
            "relu                   bn1.relu",
            "conv                   conv2 + bn2",
            "add                    bn2.add",
            "relu                   bn2.relu",
            "linear                 fc + bn3",
            "softmax                bn3.softmax",
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let graph = block();
        let options = Options::default();
        let message = |options: &Options| plan(&graph, options).unwrap_err().to_string();
        let cases = [
            (
                Options { batch: 0, ..options.clone() },
                "found a batch of 0 images, expected at least 1",
            ),
            (
                Options { threads: 9999, ..options.clone() },
                "found 9999 threads, expected at most 1024",
            ),
            (
                Options { batch: usize::MAX, ..options.clone() },
                "a batch of 18446744073709551615 images takes more memory than there is",
            ),
            (
                Options { batch: 1 << 35, ..options.clone() },
                "a batch of 34359738368 images takes more memory than there is",
            ),
        ];
        for (options, expected) in cases {
            assert_eq!(message(&options), expected);
        }
        let longer = Graph::build(Shape::Flat(1), |mut x| {
            (0..20).for_each(|_| x = x.relu());
            x
        });
        let keep = vec![longer.unwrap().iter().last().unwrap().0];
        let error = message(&Options { keep, ..options });
        assert_eq!(error, "node 20 cannot be kept: the network has 13 nodes");
        assert_eq!(planned_bytes(&graph, 0), Err(CompileError::EmptyBatch));
        assert_eq!(planned_bytes(&graph.prune(&[]), 1), Err(CompileError::NoOutput));
        assert!(planned_bytes(&graph, 1).unwrap() > 192 * 4);
    }

    #[test]
    fn images_that_do_not_fit_are_refused_and_fewer_are_taken() {
        let graph = block();
        let params = Params::init(&graph, &Init::KaimingFanIn, &Rng::new(1));
        let options = Options { batch: 2, threads: 2, ..Options::default() };
        let mut network = Native.compile(&graph, &params, &options).unwrap();
        assert_eq!(network.batch(), 2);
        for shape in [&[0, 4, 4, 4][..], &[3, 4, 4, 4], &[1, 4, 4], &[1, 4, 4, 5], &[64], &[]] {
            let error = network.run(&Tensor::zeros(shape)).unwrap_err().to_string();
            let expected =
                format!("found images of shape {shape:?}, expected N×4×4×4, N from 1 to 2");
            assert_eq!(error, expected);
        }
        let images = Tensor::new(&[1, 4, 4, 4], (0..64u8).map(f32::from).collect()).unwrap();
        let two = Tensor::new(&[2, 4, 4, 4], images.data().repeat(2)).unwrap();
        let [one, two] = [images, two].map(|x| network.run(&x).unwrap());
        assert_eq!(one.logits().row(0), two.logits().row(1));
        assert_eq!(one.softmax(), *one.logits(), "the network ends in softmax");
    }
}
