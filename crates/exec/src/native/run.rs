use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use striate_graph::{NodeId, Shape};
use striate_kernels::blocked::{
    self, Added, Destination, Input, Isa, LANES, Outputs as Written, Pixel, Tail as End, blocks,
};
use striate_kernels::{Shortcut, Threads, Window, activation, elementwise, rbf};
use striate_tensor::Tensor;

use super::choose::{Lanes, Method};
use super::program::{Action, Step};
use super::weights::{StepWeights, Weights};
use super::{Memory, Plan};
use crate::backend;
use crate::outputs::Meaning;
use crate::{CompileError, Executable, Outputs, RunError};

/// A plan with weights, threads and memory.
pub(crate) struct Compiled {
    pub(crate) plan: Arc<Plan>,
    pub(crate) threads: Arc<Threads>,
    pub(crate) weights: Arc<Weights>,
    /// The caller without help.
    pub(crate) alone: Arc<Threads>,
    pub(crate) memory: Memory,
    pub(crate) meaning: Meaning,
}

impl Executable for Compiled {
    fn run(&mut self, images: &Tensor) -> Result<Outputs, RunError> {
        let count = backend::count(images, self.plan.input, self.plan.batch)?;
        let values = self.values(images.data(), count, None)?;
        let names = self.plan.program.outputs.iter().map(|(name, ..)| name.clone());
        Ok(Outputs::new(names.zip(values).collect(), self.meaning))
    }

    fn batch(&self) -> usize {
        self.plan.batch
    }

    fn another(&self) -> Result<Box<dyn Executable>, CompileError> {
        Ok(Box::new(Compiled {
            plan: Arc::clone(&self.plan),
            threads: Arc::clone(&self.threads),
            alone: Arc::clone(&self.alone),
            weights: Arc::clone(&self.weights),
            memory: Memory::of(&self.plan)?,
            meaning: self.meaning,
        }))
    }

    fn explain(&mut self, images: &Tensor, runs: usize) -> Result<String, RunError> {
        let count = backend::count(images, self.plan.input, self.plan.batch)?;
        let mut times = vec![Vec::new(); self.plan.program.steps.len()];
        for _ in 0..runs.max(1) {
            let clock = Clock::new(&self.plan);
            self.values(images.data(), count, Some(&clock))?;
            // Of threads that run steps each for itself, the mean.
            let at_once = match self.plan.lanes {
                Lanes::Channels => 1,
                Lanes::Pictures => self.threads.count().min(count.div_ceil(LANES)),
            };
            for (times, nanos) in times.iter_mut().zip(&clock.nanos) {
                times.push(Duration::from_nanos(nanos.load(Ordering::Relaxed) / at_once as u64));
            }
        }
        let median = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        Ok(self.plan.explain(count, times.into_iter().map(median).collect()))
    }
}

/// How long the steps took.
struct Clock {
    nanos: Vec<AtomicU64>,
}

impl Clock {
    fn new(plan: &Plan) -> Clock {
        Clock { nanos: plan.program.steps.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    /// Does a step's work, timed if there is a clock.
    fn time(clock: Option<&Clock>, step: usize, work: impl FnOnce()) {
        let Some(clock) = clock else { return work() };
        let start = Instant::now();
        work();
        clock.nanos[step].fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Compiled {
    /// The values of all outputs.
    fn values(
        &mut self,
        images: &[f32],
        count: usize,
        clock: Option<&Clock>,
    ) -> Result<Vec<Tensor>, CompileError> {
        match self.plan.lanes {
            Lanes::Channels => self.together(images, count, clock),
            Lanes::Pictures => Ok(self.by_sixteen(images, count, clock)),
        }
    }

    /// Runs each step on the images of its leg with all threads.
    fn together(
        &mut self,
        images: &[f32],
        count: usize,
        clock: Option<&Clock>,
    ) -> Result<Vec<Tensor>, CompileError> {
        let Compiled { plan, weights, memory: Memory { arena, scratch }, .. } = self;
        let (isa, len) = (plan.isa, plan.input.volume());
        for leg in &plan.legs {
            for first in (0..count).step_by(leg.pictures) {
                let turn = first..(first + leg.pictures).min(count);
                let images = &images[turn.start * len..turn.end * len];
                for i in leg.steps.clone() {
                    let step = &plan.program.steps[i];
                    let (values, out, also) = lend(plan, step, &turn, arena);
                    let threads = if plan.threads[i] == 1 { &self.alone } else { &self.threads };
                    let (packed, weights) = weights.of(i);
                    let call = Call { isa, threads, images, step, values, packed, weights };
                    let mut method = Cow::Borrowed(&plan.methods[i]);
                    if turn.len() != leg.pictures {
                        // Fewer pictures may be cut otherwise, and need other scratch.
                        method = Cow::Owned(method.for_pictures(turn.len()));
                        let needed = method.scratch_len(threads.count());
                        if scratch.len() < needed {
                            *scratch = super::memory(needed, count)?;
                        }
                    }
                    Clock::time(clock, i, || call.run(&method, out, also, scratch));
                }
            }
        }
        let output = |(_, id, shape): &(String, NodeId, Shape)| {
            let mut value = Tensor::zeros(&shape.batched(count));
            let [channels, h, w] = plan.program.extents(*id);
            let from = &arena[plan.range(*id, &(0..count))];
            blocked::unpack(&self.threads, [count, channels, h * w], from, value.data_mut());
            value
        };
        Ok(plan.program.outputs.iter().map(output).collect())
    }

    /// Runs all steps on sixteen images, each thread on others.
    fn by_sixteen(&mut self, images: &[f32], count: usize, clock: Option<&Clock>) -> Vec<Tensor> {
        let Compiled { plan, threads, alone, weights, memory, .. } = self;
        let outputs = &plan.program.outputs;
        let ranges = || outputs.iter().map(|(_, id, _)| plan.range(*id, &(0..1)));
        let each: usize = ranges().map(|range| range.len()).sum();
        let len = plan.input.volume();
        let mut results = vec![Pixel::ZERO; count.div_ceil(LANES) * each];
        threads.chunks_with(&mut results, each, &mut memory.arena, |group, mut results, room| {
            let (arena, scratch) = room.split_at_mut(plan.placement.arena);
            let first = group * LANES;
            let images = &images[first * len..(first + LANES).min(count) * len];
            for (i, step) in plan.program.steps.iter().enumerate() {
                let (values, out, also) = lend(plan, step, &(0..1), arena);
                let (packed, weights) = weights.of(i);
                let (isa, threads) = (plan.isa, &**alone);
                let call = Call { isa, threads, images, step, values, packed, weights };
                Clock::time(clock, i, || call.run(&plan.methods[i], out, also, scratch));
            }
            for range in ranges() {
                let (to, rest) = results.split_at_mut(range.len());
                to.copy_from_slice(&arena[range]);
                results = rest;
            }
        });
        let mut start = 0;
        let output = |((_, _, shape), range): (&(String, NodeId, Shape), Range<usize>)| {
            let mut value = Tensor::zeros(&shape.batched(count));
            let groups = value.data_mut().chunks_mut(LANES * range.len().max(1));
            for (to, from) in groups.zip(results.chunks_exact(each)) {
                blocked::unpack_pictures(&from[start..][..range.len()], to);
            }
            start += range.len();
            value
        };
        outputs.iter().zip(ranges()).map(output).collect()
    }
}

/// The values that a step reads: the arena but for the places of what it writes.
struct Values<'a> {
    plan: &'a Plan,
    /// Which images of the batch are under way.
    turn: Range<usize>,
    /// Pieces of the arena, and where each begins.
    pieces: [(usize, &'a [Pixel]); 3],
}

impl<'a> Values<'a> {
    fn get(&self, id: NodeId) -> &'a [Pixel] {
        let Range { start, end } = self.plan.range(id, &self.turn);
        let holds = |piece: &&(usize, &[Pixel])| piece.0 <= start && end <= piece.0 + piece.1.len();
        match self.pieces.iter().find(holds) {
            Some((first, piece)) => &piece[start - first..end - first],
            None => unreachable!("a step does not write over what it reads"),
        }
    }
}

/// Splits the arena into what a step reads and the one or two values it writes.
fn lend<'a>(
    plan: &'a Plan,
    step: &Step,
    turn: &Range<usize>,
    arena: &'a mut [Pixel],
) -> (Values<'a>, Destination<'a>, Option<Destination<'a>>) {
    let places: Vec<Range<usize>> = step.outputs.iter().map(|id| plan.written(*id, turn)).collect();
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|&i| places[i].start);
    let mut pieces: [(usize, &[Pixel]); 3] = [(0, &[]); 3];
    let mut written: [Option<&mut [Pixel]>; 2] = [None, None];
    let (mut rest, mut at) = (arena, 0);
    for (piece, &i) in order.iter().enumerate() {
        let (before, behind) = rest.split_at_mut(places[i].start - at);
        let (value, behind) = behind.split_at_mut(places[i].len());
        pieces[piece] = (at, before);
        written[i] = Some(value);
        (rest, at) = (behind, places[i].end);
    }
    pieces[order.len()] = (at, rest);
    let mut written = written.into_iter().zip(&step.outputs).filter_map(|(value, id)| {
        let spot = &plan.placement.spots[id.index()];
        value.map(|value| Destination { value, blocks: spot.blocks, at: spot.at })
    });
    let Some(first) = written.next() else { unreachable!("every step makes a value") };
    let second = written.next();
    (Values { plan, turn: turn.clone(), pieces }, first, second)
}

/// A step, and what it works on.
struct Call<'a> {
    isa: Isa,
    threads: &'a Threads,
    images: &'a [f32],
    step: &'a Step,
    values: Values<'a>,
    packed: &'a [Pixel],
    weights: &'a StepWeights,
}

impl Call<'_> {
    fn input(&self, i: usize) -> &[Pixel] {
        self.values.get(self.step.inputs[i])
    }

    /// Channels, height and width of an operand.
    fn extents(&self, i: usize) -> [usize; 3] {
        self.values.plan.program.extents(self.step.inputs[i])
    }

    /// Pictures, channels and pixels of an operand.
    fn sizes(&self, i: usize) -> [usize; 3] {
        let [channels, h, w] = self.extents(i);
        [self.batch(), channels, h * w]
    }

    /// Images.
    fn batch(&self) -> usize {
        self.values.turn.len()
    }

    fn lanes(&self) -> Lanes {
        self.values.plan.lanes
    }

    fn channels(&self, i: usize) -> &[Pixel] {
        &self.weights.channels[i]
    }

    /// Makes the values of the step. `also` is there if it makes two: the first then is the sum.
    fn run(
        &self,
        method: &Method,
        out: Destination<'_>,
        also: Option<Destination<'_>>,
        scratch: &mut [Pixel],
    ) {
        let (&Call { isa, threads, .. }, batch) = (self, self.batch());
        let x = || self.input(0);
        match &self.step.action {
            Action::Pack if self.lanes() == Lanes::Pictures => {
                blocked::pack_pictures(self.images, out.value);
            }
            Action::Pack => {
                let [channels, h, w] = self.values.plan.input.chw();
                let sizes = [batch, channels, h * w];
                blocked::pack(threads, sizes, &self.images[..sizes.iter().product()], out.value);
            }
            Action::Conv(_, tail) | Action::Linear { tail, .. }
                if self.lanes() == Lanes::Pictures =>
            {
                let Method::Pictures(conv) = method else {
                    unreachable!("a convolution has a method")
                };
                let (packed, bias) = (self.packed, self.channels(0));
                conv.run(x(), packed, bias, tail.relu, out.value, scratch);
            }
            Action::Conv(_, tail) => {
                let Method::Convolution(conv) = method else {
                    unreachable!("a convolution has a method")
                };
                let residual = tail.residual.map(|stride| {
                    let [channels, h, w] = self.extents(1);
                    Added { value: self.input(1), blocks: blocks(channels), size: [h, w], stride }
                });
                let activation = tail.activation.map(|_| [self.channels(1), self.channels(2)]);
                let (bias, factor, relu) = (self.channels(0), tail.factor, tail.relu);
                let end = End { bias, factor, residual, relu, activation };
                let (out, sum) = match also {
                    None => (out, None),
                    Some(activated) => (activated, Some(out)),
                };
                let x = match self.values.plan.program.reads_planes(self.step) {
                    true => Input::Planes(self.images),
                    false => Input::Pixels(x()),
                };
                let outputs = Written { out, sum };
                conv.run(threads, x, self.packed, &end, outputs, scratch);
            }
            Action::Linear { tail, .. } => {
                let Method::Linear(linear) = method else {
                    unreachable!("a linear layer has a method")
                };
                let (packed, bias) = (self.packed, self.channels(0));
                linear.run(threads, batch, x(), packed, bias, tail.relu, out);
            }
            Action::MaxPool(window) => {
                blocked::max(isa, threads, &Window { batch, ..*window }, x(), out);
            }
            Action::AvgPool(window) => {
                blocked::average(isa, threads, &Window { batch, ..*window }, x(), out);
            }
            Action::AdaptiveAvgPool => {
                let [_, h, w] = self.values.plan.program.extents(self.step.outputs[0]);
                let from = self.extents(0);
                blocked::adaptive_average(isa, threads, batch, from, [h, w], x(), out);
            }
            Action::Subsample(window) => {
                let window = Window { batch, ..*window };
                let (weight, bias) = (self.channels(0), self.channels(1));
                blocked::subsample(isa, threads, &window, x(), weight, bias, out);
            }
            Action::BatchNorm { relu, .. } => {
                let norm = [self.channels(0), self.channels(1)];
                blocked::affine(isa, threads, batch, x(), norm, *relu, out);
            }
            Action::Lrn(lrn) => blocked::lrn(isa, threads, lrn, self.sizes(0), x(), out.value),
            Action::Rbf if self.lanes() == Lanes::Pictures => {
                blocked::rbf_pictures(isa, x(), &self.weights.plain, out.value);
            }
            Action::Rbf => {
                let [_, inputs, _] = self.sizes(0);
                let codes = &self.weights.plain;
                let outputs = codes.len() / inputs;
                let rows = x().chunks_exact(blocks(inputs));
                for (x, y) in rows.zip(out.value.chunks_exact_mut(blocks(outputs))) {
                    y.fill(Pixel::ZERO);
                    let x = &Pixel::numbers(x)[..inputs];
                    let y = &mut Pixel::numbers_mut(y)[..outputs];
                    rbf::forward(threads, [1, inputs, outputs], x, codes, y);
                }
            }
            Action::Relu => {
                let y = Pixel::numbers_mut(out.value);
                activation::relu(threads, Pixel::numbers(x()), y);
            }
            Action::Tanh { a, s } => {
                blocked::tanh(threads, self.sizes(0), [*a, *s], x(), out.value);
            }
            Action::Sigmoid => blocked::sigmoid(threads, self.sizes(0), x(), out.value),
            Action::Clip(bounds) => {
                let y = Pixel::numbers_mut(out.value);
                activation::clip(threads, *bounds, Pixel::numbers(x()), y);
                blocked::clear_padding(self.sizes(0), out.value);
            }
            Action::Softmax { log } if self.lanes() == Lanes::Pictures => {
                let [_, h, w] = self.extents(0);
                blocked::softmax_pictures(h * w, *log, x(), out.value);
            }
            Action::Softmax { log } => {
                blocked::softmax(threads, self.sizes(0), *log, x(), out.value);
            }
            Action::Add { relu } => self.add(*relu, Pixel::numbers_mut(out.value)),
            Action::AddScaled(factor) => {
                let [a, b] = [0, 1].map(|i| Pixel::numbers(self.input(i)));
                let y = Pixel::numbers_mut(out.value);
                elementwise::scaled_add(threads, a, *factor, b, y);
            }
            Action::Concat => {
                let Destination { value, blocks, at } = out;
                let mut channel = 0;
                for (i, id) in self.step.inputs.iter().enumerate() {
                    if !self.values.plan.lies_within(*id, self.step.outputs[0]) {
                        let to = Destination { value, blocks, at };
                        blocked::concat(threads, self.sizes(i), self.input(i), channel, to);
                    }
                    channel += self.extents(i)[0];
                }
            }
            Action::Flatten => blocked::flatten(threads, self.sizes(0), x(), out.value),
            &Action::Shortcut(stride) => {
                let output = self.values.plan.program.extents(self.step.outputs[0]);
                let geometry = Shortcut { batch, input: self.extents(0), output, stride };
                blocked::shortcut(threads, &geometry, x(), out);
            }
        }
    }

    /// The sum of all operands.
    fn add(&self, relu: bool, y: &mut [f32]) {
        let threads = self.threads;
        let operand = |i: usize| Pixel::numbers(self.input(i));
        let last = self.step.inputs.len() - 1;
        elementwise::add(threads, operand(0), operand(1), relu && last == 1, y);
        for i in 2..=last {
            elementwise::accumulate(threads, operand(i), y);
        }
        if relu && last > 1 {
            threads.chunks(y, 1 << 14, |_, y| {
                y.iter_mut().for_each(|y| *y = if *y < 0.0 { 0.0 } else { *y });
            });
        }
    }
}
