//! The engine for CPUs: a straight pipe from a graph to a plan.
//!
//! ```text
//! Graph ─ lower ─► Program ─ fold ─► fuse ─► choose ─► place ─► Plan ─ with weights ─► Executable
//!                  (steps) (BatchNorm) (ReLU, sums) (algorithms) (memory)
//! ```
//!
//! Everything but the weights is known without parameters, so a [`Plan`] can be looked at, and its
//! memory counted, before there are any.

mod alone;
mod choose;
mod fold;
mod fuse;
mod legs;
mod lower;
mod pictures;
mod place;
mod program;
mod run;
mod weights;

use std::fmt::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use striate_graph::{Graph, NodeId, ParamSource, Shape};
use striate_kernels::Threads;
use striate_kernels::blocked::{Buffer, Isa, LANES, Pixel};

use self::choose::{Lanes, Method};
use self::legs::Leg;
use self::place::{Placement, pixels};
use self::program::{Program, Step};
use self::weights::Weights;
use crate::backend::{MOST_VALUES, check_layout};
use crate::outputs::Meaning;
use crate::{Backend, CompileError, Executable, Options};

/// The engine for CPUs. The bits of a result do not depend on the number of threads.
///
/// A compiled network holds one copy of the parameters it needs, folded where batch normalisation
/// was and in the order in which its kernels read them. They are read piece by piece: of a file's
/// no more is in memory besides.
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
        params: &dyn ParamSource,
        options: &Options,
    ) -> Result<Box<dyn Executable>, CompileError> {
        let plan = plan(graph, options)?;
        check_layout(graph, params.layout())?;
        let threads = Threads::new(options.thread_count()?);
        let weights = Weights::new(graph, params, &plan, &threads)?;
        Ok(Box::new(run::Compiled {
            memory: Memory::of(&plan)?,
            weights: Arc::new(weights),
            threads: Arc::new(threads),
            alone: Arc::new(Threads::new(1)),
            meaning: Meaning::of(graph),
            plan: Arc::new(plan),
        }))
    }
}

/// How a network will be run.
///
/// # Errors
/// [`CompileError`] if the options have no meaning for the graph or the sizes are too large.
pub fn plan(graph: &Graph, options: &Options) -> Result<Plan, CompileError> {
    options.check(graph)?;
    let (batch, isa, threads) = (options.batch, options.isa(), options.thread_count()?);
    let program = fuse::fuse(fold::fold(lower::lower(graph, &options.wanted(graph))));
    let (lanes, program, methods) = choose::choose(program, isa, batch, options.accuracy);
    let (images, copies) = match lanes {
        Lanes::Channels => (batch, 1),
        Lanes::Pictures => (1, threads),
    };
    let legs = legs::legs(&program, &methods, images);
    let methods = legs::cut(&methods, &legs);
    let placement = place::place(&program, &legs, images);
    let threads = alone::threads(&program, &methods, &legs, threads);
    let scratch = scratch(&methods, &threads);
    let plan = Plan {
        names: graph.nodes().iter().map(|node| node.name.clone()).collect(),
        input: graph.input(),
        isa,
        batch,
        lanes,
        program,
        methods,
        legs,
        threads,
        placement,
        scratch,
        copies,
    };
    if plan.floats() > MOST_VALUES {
        return Err(CompileError::TooLarge { batch });
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
    isa: Isa,
    batch: usize,
    lanes: Lanes,
    program: Program,
    /// Of each step.
    methods: Vec<Method>,
    /// All steps, in order.
    legs: Vec<Leg>,
    /// How many do each step.
    threads: Vec<usize>,
    placement: Placement,
    /// Pixels that the kernels scribble on.
    scratch: usize,
    /// How many arenas with scratch there are: where lanes are pictures, one for each thread.
    copies: usize,
}

/// What a plan runs in.
#[derive(Debug)]
struct Memory {
    /// Of the values; where lanes are pictures, of each thread its values and its scratch.
    arena: Buffer,
    scratch: Buffer,
}

impl Memory {
    /// # Errors
    /// [`CompileError::TooLarge`] if there is not so much.
    fn of(plan: &Plan) -> Result<Memory, CompileError> {
        let [arena, scratch] = match plan.lanes {
            Lanes::Channels => [plan.placement.arena, plan.scratch],
            Lanes::Pictures => [plan.pixels(), 0],
        };
        Ok(Memory { arena: memory(arena, plan.batch)?, scratch: memory(scratch, plan.batch)? })
    }
}

/// Where a value lies and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The node that makes it.
    pub node: NodeId,
    /// From when it is written to after it was last read: 0 is before the first step.
    pub life: Range<usize>,
    /// Its pixels in the arena, for each image; once, where each image is in a lane.
    pub places: Vec<Range<usize>>,
}

impl Plan {
    /// Bytes of all values and scratch.
    pub fn bytes(&self) -> usize {
        self.floats() * size_of::<f32>()
    }

    /// All values. Two that are alive at the same time do not overlap.
    pub fn values(&self) -> Vec<Placed> {
        let made = self.program.steps.iter().flat_map(|step| &step.outputs);
        let placed = |&node: &NodeId| {
            let spot = &self.placement.spots[node.index()];
            let [_, h, w] = self.program.extents(node);
            let len = pixels(self.program.extents(node));
            let place = |image: usize| {
                let start = spot.place.start + (image * spot.blocks + spot.at) * h * w;
                start..start + len
            };
            let life = self.placement.lives[node.index()].clone();
            Placed { node, life, places: (0..spot.pictures).map(place).collect() }
        };
        made.map(placed).collect()
    }

    /// All values and scratch.
    fn pixels(&self) -> usize {
        (self.placement.arena + self.scratch).saturating_mul(self.copies)
    }

    fn floats(&self) -> usize {
        self.pixels().saturating_mul(LANES)
    }

    /// Where a value of some images of the batch is read, if it lies in no other.
    fn range(&self, id: NodeId, images: &Range<usize>) -> Range<usize> {
        let spot = &self.placement.spots[id.index()];
        spot.of(images, pixels(self.program.extents(id)))
    }

    /// What a value of some images is written to: itself, or the one it lies in.
    fn written(&self, id: NodeId, images: &Range<usize>) -> Range<usize> {
        let (spot, [_, h, w]) = (&self.placement.spots[id.index()], self.program.extents(id));
        spot.of(images, spot.blocks * h * w)
    }

    /// A table of the steps with what each took.
    fn explain(&self, count: usize, times: Vec<Duration>) -> String {
        let total: f64 = times.iter().map(Duration::as_secs_f64).sum();
        let mut text = format!(
            "{:<16} {:>6} {:>8} {:>9} {:>6} {:>8} {:>9}  {}\n",
            "step", "tile", "together", "ms", "share", "GFLOP/s", "weights", "nodes"
        );
        let together = self.legs.iter().flat_map(|leg| leg.steps.clone().map(|_| leg.pictures));
        let steps = self.program.steps.iter().zip(&self.methods).zip(&self.threads).zip(together);
        for ((((step, method), threads), together), time) in steps.zip(times) {
            let seconds = time.as_secs_f64();
            let macs = step.action.macs();
            let rate = 2e-9 * (macs * count) as f64 / seconds;
            let rate = if macs == 0 { String::new() } else { format!("{rate:.0}") };
            let weights = (method.packed_len() * size_of::<Pixel>()) as f64 / 1e6;
            let weights = if macs == 0 { String::new() } else { format!("{weights:.2} MB") };
            let tile = match method {
                Method::Convolution(conv) => {
                    let [pixels, blocks] = conv.tile(*threads);
                    format!("{pixels}×{blocks}")
                }
                Method::Linear(_) | Method::Pictures(_) | Method::Plain => String::new(),
            };
            let together = match self.lanes {
                Lanes::Channels => together.min(count),
                Lanes::Pictures => LANES.min(count),
            };
            let _ = writeln!(
                text,
                "{:<16} {tile:>6} {together:>8} {:>9.4} {:>5.1}% {rate:>8} {weights:>9}  {}",
                self.what(step, method),
                seconds * 1e3,
                100.0 * seconds / total,
                self.nodes(step),
            );
        }
        let bytes = |pixels: usize| (pixels * size_of::<Pixel>()) as f64 / 1e6;
        let weights: usize = self.methods.iter().map(Method::packed_len).sum();
        let _ = writeln!(
            text,
            "{:.3} ms in all; {:.1} MB of values, {:.1} MB of scratch, {:.1} MB of weights",
            total * 1e3,
            bytes(self.placement.arena * self.copies),
            bytes(self.scratch * self.copies),
            bytes(weights),
        );
        text
    }

    fn what(&self, step: &Step, method: &Method) -> String {
        match method {
            Method::Convolution(conv) => format!("conv {}", conv.algorithm().name()),
            Method::Pictures(_) | Method::Linear(_) | Method::Plain => {
                step.action.word().to_owned()
            }
        }
    }

    fn nodes(&self, step: &Step) -> String {
        let names: Vec<&str> =
            step.nodes.iter().map(|id| self.names[id.index()].as_str()).collect();
        names.join(" + ")
    }

    /// Whether a value was written where its concatenation lies.
    fn lies_within(&self, id: NodeId, concat: NodeId) -> bool {
        self.placement.homes[id.index()].is_some_and(|(home, _)| home == concat)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, method) in self.program.steps.iter().zip(&self.methods) {
            let (what, nodes) = (self.what(step, method), self.nodes(step));
            let Range { start, end } = self.placement.spots[step.outputs[0].index()].place;
            writeln!(f, "{what:<22} {nodes:<40} {start}..{end}")?;
        }
        let (arena, scratch) = (self.placement.arena, self.scratch);
        writeln!(f, "{arena} pixels of values, {scratch} of scratch")
    }
}

/// Pixels of scratch that suffice for each of the steps, done by so many threads.
fn scratch(methods: &[Method], threads: &[usize]) -> usize {
    methods
        .iter()
        .zip(threads)
        .map(|(method, &threads)| method.scratch_len(threads))
        .max()
        .unwrap_or(0)
}

/// Memory, if there is so much.
fn memory(len: usize, batch: usize) -> Result<Buffer, CompileError> {
    Buffer::zeroed(len).ok_or(CompileError::TooLarge { batch })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Accuracy;
    use striate_graph::{Init, Params, add};
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
            "pack                   input                                    0..16",
            "conv first layer       conv1 + bn1 + bn1.relu                   65..81",
            "conv direct            conv2 + bn2 + bn2.add + bn2.relu         129..145",
            "linear                 fc + bn3                                 0..1",
            "softmax                bn3.softmax                              65..66",
        ];
        let plan = printed(&[]);
        assert_eq!(plan.lines().take(5).collect::<Vec<_>>(), expected, "{plan}");
        assert_eq!(plan.lines().count(), 6);
    }

    #[test]
    fn what_is_kept_is_neither_taken_in_nor_overwritten() {
        // What conv1 makes before its normalisation is a value of its own beside the activation.
        let plan = printed(&["conv1", "bn2", "bn2.add"]);
        let steps: Vec<&str> =
            plan.lines().take(10).map(|line| line.get(..63).unwrap_or(line).trim_end()).collect();
        let expected = [
            "pack                   input",
            "conv first layer       conv1 + bn1 + bn1.relu",
            "conv direct            conv2 + bn2",
            "add                    bn2.add",
            "relu                   bn2.relu",
            "linear                 fc + bn3",
            "softmax                bn3.softmax",
        ];
        let steps = &steps[..expected.len()];
        assert_eq!(steps, expected);
    }

    #[test]
    fn strict_sums_are_those_of_the_definition() {
        let graph = Graph::build(Shape::map(64, 56, 56), |x| x.conv(3, 64)).unwrap();
        let printed = |accuracy| {
            let options = Options { accuracy, ..Options::default() };
            plan(&graph, &options).unwrap().to_string()
        };
        assert!(printed(Accuracy::Fast).contains("F(4,3)"));
        assert!(printed(Accuracy::Strict).contains("direct"));
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

    #[test]
    fn many_callers_share_weights_and_threads() {
        let graph = block();
        let params = Params::init(&graph, &Init::KaimingFanIn, &Rng::new(1));
        let options = Options { threads: 3, ..Options::default() };
        let mut network = Native.compile(&graph, &params, &options).unwrap();
        let images = |caller: u8| {
            let values = (0..64u8).map(|i| f32::from(i ^ caller) / 64.0).collect();
            Tensor::new(&[1, 4, 4, 4], values).unwrap()
        };
        let expected: Vec<_> = (0..4).map(|caller| network.run(&images(caller)).unwrap()).collect();
        std::thread::scope(|scope| {
            for (caller, expected) in (0..4).zip(&expected) {
                let mut network = network.another().unwrap();
                scope.spawn(move || {
                    for _ in 0..50 {
                        assert_eq!(network.run(&images(caller)).unwrap(), *expected);
                    }
                });
            }
        });
    }
}
