use std::ops::Range;

use striate_graph::NodeId;
use striate_kernels::{
    Conv, Shortcut, Threads, Window, activation, concat, conv, elementwise, linear, lrn, norm,
    pool, rbf, shortcut, softmax,
};
use striate_tensor::Tensor;

use super::Plan;
use super::program::{Action, Step};
use crate::backend;
use crate::outputs::Meaning;
use crate::{Executable, Outputs, RunError};

/// A plan with weights, threads and memory.
pub(crate) struct Compiled {
    pub(crate) plan: Plan,
    pub(crate) threads: Threads,
    /// For each step, in the order of the slots.
    pub(crate) weights: Vec<Vec<Vec<f32>>>,
    /// The arena, and behind it the scratch of the kernels.
    pub(crate) memory: Vec<f32>,
    pub(crate) meaning: Meaning,
}

impl Executable for Compiled {
    fn run(&mut self, images: &Tensor) -> Result<Outputs, RunError> {
        let Compiled { plan, threads, weights, memory, meaning } = self;
        let count = backend::count(images, plan.input, plan.batch)?;
        let (arena, scratch) = memory.split_at_mut(plan.placement.arena);
        arena[plan.range(plan.program.input, count)].copy_from_slice(images.data());
        for (step, weights) in plan.program.steps.iter().zip(weights) {
            let (inputs, y) = lend(plan, step, count, arena);
            run(threads, step, count, &inputs, weights, y, scratch);
        }
        let named = plan.program.outputs.iter().map(|(name, id, shape)| {
            let mut value = Tensor::zeros(&shape.batched(count));
            value.data_mut().copy_from_slice(&arena[plan.range(*id, count)]);
            (name.clone(), value)
        });
        Ok(Outputs::new(named.collect(), *meaning))
    }

    fn batch(&self) -> usize {
        self.plan.batch
    }
}

/// The operands of a step: the arena but for the place of its result.
struct Inputs<'a> {
    plan: &'a Plan,
    ids: &'a [NodeId],
    count: usize,
    place: Range<usize>,
    before: &'a [f32],
    after: &'a [f32],
}

/// Splits the arena into what a step reads and what it writes.
fn lend<'a>(
    plan: &'a Plan,
    step: &'a Step,
    count: usize,
    arena: &'a mut [f32],
) -> (Inputs<'a>, &'a mut [f32]) {
    let place = plan.range(step.output, count);
    let (before, rest) = arena.split_at_mut(place.start);
    let (y, after) = rest.split_at_mut(place.len());
    (Inputs { plan, ids: &step.inputs, count, place, before, after }, y)
}

impl<'a> Inputs<'a> {
    fn get(&self, i: usize) -> &'a [f32] {
        let range = self.plan.range(self.ids[i], self.count);
        match range.end <= self.place.start {
            true => &self.before[range],
            false => &self.after[range.start - self.place.end..range.end - self.place.end],
        }
    }

    /// Whether an operand lies where the result will be.
    fn is_in_place(&self, i: usize) -> bool {
        self.place.contains(&self.plan.range(self.ids[i], self.count).start)
    }

    /// The operands that lie elsewhere.
    fn others(&self) -> impl Iterator<Item = &'a [f32]> {
        (0..self.ids.len()).filter(|&i| !self.is_in_place(i)).map(|i| self.get(i))
    }
}

/// Makes `y`, the result of a step for `batch` images.
fn run(
    threads: &Threads,
    step: &Step,
    batch: usize,
    inputs: &Inputs<'_>,
    weights: &[Vec<f32>],
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let x = || inputs.get(0);
    let slot = |i: usize| weights[i].as_slice();
    let bias = weights.get(1).map(Vec::as_slice);
    match &step.action {
        Action::Conv(geometry, tail) => {
            let geometry = Conv { batch, ..*geometry };
            conv::forward(threads, &geometry, x(), slot(0), bias, tail.relu, y, scratch);
        }
        Action::Linear { inputs, outputs, tail } => {
            let relu = tail.relu;
            linear::forward(threads, batch, *inputs, *outputs, x(), slot(0), bias, relu, y);
        }
        Action::MaxPool(window) => {
            pool::max_forward(threads, &Window { batch, ..*window }, x(), y);
        }
        Action::AvgPool(window) => {
            pool::average_forward(threads, &Window { batch, ..*window }, x(), y);
        }
        Action::AdaptiveAvgPool { channels, from, to } => {
            pool::adaptive_average_forward(threads, batch * channels, *from, *to, x(), y);
        }
        Action::Subsample(window) => {
            let window = Window { batch, ..*window };
            pool::subsample_forward(threads, &window, x(), slot(0), slot(1), y);
        }
        Action::BatchNorm { channels, area, eps } => {
            let [weight, bias, mean, var] = [0, 1, 2, 3].map(slot);
            let sizes = [batch, *channels, *area];
            norm::batch_norm_inference(threads, sizes, x(), mean, var, weight, bias, *eps, y);
        }
        Action::Lrn { lrn, channels, area } => {
            lrn::forward(threads, lrn, [batch, *channels, *area], x(), y);
        }
        Action::Rbf { inputs, outputs } => {
            rbf::forward(threads, [batch, *inputs, *outputs], x(), slot(0), y);
        }
        Action::Relu => match inputs.is_in_place(0) {
            true => threads.chunks(y, PART, |_, y| y.iter_mut().for_each(|y| *y = relu(*y))),
            false => activation::relu(threads, x(), y),
        },
        Action::Tanh { a, s } => activation::tanh(threads, *a, *s, x(), y),
        Action::Sigmoid => activation::sigmoid(threads, x(), y),
        Action::Softmax { channels, area } => {
            softmax::forward(threads, [batch, *channels, *area], x(), y);
        }
        Action::Add { relu } => add(threads, inputs, *relu, y),
        Action::AddScaled(factor) => {
            elementwise::scaled_add(threads, x(), *factor, inputs.get(1), y);
        }
        Action::Concat => {
            let mut offset = 0;
            for (i, id) in step.inputs.iter().enumerate() {
                if !inputs.is_in_place(i) {
                    concat::write(threads, batch, offset, inputs.get(i), y);
                }
                offset += inputs.plan.program.volume(*id);
            }
        }
        Action::Shortcut(geometry) => {
            shortcut::forward(threads, &Shortcut { batch, ..*geometry }, x(), y);
        }
    }
}

/// Elements of a part of the work.
const PART: usize = 1 << 14;

/// What is not a number stays so.
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// The sum of all operands, of which one may lie in `y` already.
fn add(threads: &Threads, inputs: &Inputs<'_>, rectify: bool, y: &mut [f32]) {
    let mut left = inputs.others().count();
    let mut others = inputs.others();
    if left == inputs.ids.len()
        && let (Some(a), Some(b)) = (others.next(), others.next())
    {
        left -= 2;
        elementwise::add(threads, a, b, rectify && left == 0, y);
    }
    for x in others {
        left -= 1;
        let finish = |sum: f32| if rectify && left == 0 { relu(sum) } else { sum };
        threads.chunks(y, PART, |part, y| {
            y.iter_mut().zip(&x[part * PART..]).for_each(|(y, x)| *y = finish(*y + x));
        });
    }
}
