use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use striate_graph::NodeId;
use striate_kernels::blocked::{
    self, Added, Buffer, Destination, Input, Isa, Outputs as Written, Pixel, Tail as End, blocks,
};
use striate_kernels::{Shortcut, Threads, Window, activation, elementwise, rbf};
use striate_tensor::Tensor;

use super::Plan;
use super::choose::Method;
use super::program::{Action, Step};
use super::weights::{StepWeights, Weights};
use crate::backend;
use crate::outputs::Meaning;
use crate::{CompileError, Executable, Outputs, RunError};

/// A plan with weights, threads and memory.
pub(crate) struct Compiled {
    pub(crate) plan: Arc<Plan>,
    pub(crate) threads: Arc<Threads>,
    pub(crate) weights: Arc<Weights>,
    pub(crate) arena: Buffer,
    pub(crate) scratch: Buffer,
    pub(crate) meaning: Meaning,
}

impl Executable for Compiled {
    fn run(&mut self, images: &Tensor) -> Result<Outputs, RunError> {
        let count = backend::count(images, self.plan.input, self.plan.batch)?;
        self.steps(images.data(), count, |_| {})?;
        let named = self.plan.program.outputs.iter().map(|(name, id, shape)| {
            let mut value = Tensor::zeros(&shape.batched(count));
            let [channels, h, w] = self.plan.program.extents(*id);
            let from = &self.arena[self.plan.range(*id, count)];
            blocked::unpack(&self.threads, [count, channels, h * w], from, value.data_mut());
            (name.clone(), value)
        });
        Ok(Outputs::new(named.collect(), self.meaning))
    }

    fn batch(&self) -> usize {
        self.plan.batch
    }

    fn another(&self) -> Result<Box<dyn Executable>, CompileError> {
        Ok(Box::new(Compiled {
            plan: Arc::clone(&self.plan),
            threads: Arc::clone(&self.threads),
            weights: Arc::clone(&self.weights),
            arena: super::memory(self.plan.placement.arena, self.plan.batch)?,
            scratch: super::memory(self.plan.scratch, self.plan.batch)?,
            meaning: self.meaning,
        }))
    }

    fn explain(&mut self, images: &Tensor, runs: usize) -> Result<String, RunError> {
        let count = backend::count(images, self.plan.input, self.plan.batch)?;
        let mut times = vec![Vec::new(); self.plan.program.steps.len()];
        for _ in 0..runs.max(1) {
            let mut start = Instant::now();
            self.steps(images.data(), count, |step| {
                times[step].push(start.elapsed());
                start = Instant::now();
            })?;
        }
        let median = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        Ok(self.plan.explain(count, times.into_iter().map(median).collect()))
    }
}

impl Compiled {
    /// Runs all steps; `done(i)` after the i-th.
    fn steps(
        &mut self,
        images: &[f32],
        count: usize,
        mut done: impl FnMut(usize),
    ) -> Result<(), CompileError> {
        let Compiled { plan, threads, weights, arena, scratch, .. } = self;
        for (i, step) in plan.program.steps.iter().enumerate() {
            let (values, out, also) = lend(plan, step, count, arena);
            let (packed, weights) = weights.of(i);
            let isa = plan.isa;
            let call = Call { isa, threads, images, step, count, values, packed, weights };
            let method = &plan.methods[i];
            if let Method::Convolution(conv) = method
                && count != plan.batch
            {
                // Fewer pictures may be cut otherwise, and need other scratch.
                let conv = conv.for_pictures(count);
                let needed = conv.scratch_len(threads.count());
                if scratch.len() < needed {
                    *scratch = super::memory(needed, count)?;
                }
                call.run(&Method::Convolution(Box::new(conv)), out, also, scratch);
            } else {
                call.run(method, out, also, scratch);
            }
            done(i);
        }
        Ok(())
    }
}

/// The values that a step reads: the arena but for the places of what it writes.
struct Values<'a> {
    plan: &'a Plan,
    count: usize,
    /// Pieces of the arena, and where each begins.
    pieces: [(usize, &'a [Pixel]); 3],
}

impl<'a> Values<'a> {
    fn get(&self, id: NodeId) -> &'a [Pixel] {
        let Range { start, end } = self.plan.range(id, self.count);
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
    count: usize,
    arena: &'a mut [Pixel],
) -> (Values<'a>, Destination<'a>, Option<Destination<'a>>) {
    let places: Vec<Range<usize>> =
        step.outputs.iter().map(|id| plan.written(*id, count)).collect();
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
    (Values { plan, count, pieces }, first, second)
}

/// A step, and what it works on.
struct Call<'a> {
    isa: Isa,
    threads: &'a Threads,
    images: &'a [f32],
    step: &'a Step,
    /// Images.
    count: usize,
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
        [self.count, channels, h * w]
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
        let &Call { isa, threads, count: batch, .. } = self;
        let x = || self.input(0);
        match &self.step.action {
            Action::Pack => {
                let [channels, h, w] = self.values.plan.input.chw();
                let sizes = [batch, channels, h * w];
                blocked::pack(threads, sizes, &self.images[..sizes.iter().product()], out.value);
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
                let y = Pixel::numbers_mut(out.value);
                activation::tanh(threads, *a, *s, Pixel::numbers(x()), y);
            }
            Action::Sigmoid => {
                let y = Pixel::numbers_mut(out.value);
                activation::sigmoid(threads, Pixel::numbers(x()), y);
                blocked::clear_padding(self.sizes(0), out.value);
            }
            Action::Softmax => blocked::softmax(threads, self.sizes(0), x(), out.value),
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
