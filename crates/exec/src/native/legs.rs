//! How many pictures of a batch go through which steps together.
//!
//! Many together read the weights once and fill the tiles; few leave what one step writes in the
//! cache for the next. Early steps have large maps and few weights, late ones small maps and many: so
//! a network is cut into legs, each with a number of its own.

use std::ops::Range;

use striate_graph::NodeId;
use striate_kernels::blocked::Pixel;

use super::choose::{Method, THREADS};
use super::place::pixels;
use super::program::{Action, Program};

/// Steps that so many pictures go through, then the next pictures, until all of the batch have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leg {
    pub(crate) steps: Range<usize>,
    pub(crate) pictures: usize,
}

/// Cycles that a step takes besides its work: threads meet, and the first waits for the last.
const MEETING: f64 = 3000.0;
/// Bytes a cycle from memory, and from the last cache.
const RATES: [f64; 2] = [8.6, 40.0];
/// Bytes of a step's weights that are still in the last cache when the next pictures come.
const STAYS: f64 = (1 << 20) as f64;

/// Bytes of the last cache that values may count on, and of the second caches.
const CACHES: [f64; 2] = [(12 << 20) as f64, (3 << 19) as f64];

/// The legs that are estimated to take the least time.
pub(crate) fn legs(program: &Program, methods: &[Method], batch: usize) -> Vec<Leg> {
    let mut numbers: Vec<usize> =
        (0..usize::BITS).map(|shift| 1 << shift).take_while(|&n| n < batch).collect();
    numbers.push(batch);
    let estimate = Estimate { program, methods, batch: batch as f64 };
    // Cycles to the end of the last step with each of the numbers, and of each step, for each of
    // them, the number before.
    let mut cycles = vec![0.0; numbers.len()];
    let mut before: Vec<Vec<usize>> = Vec::new();
    let least = |cost: &dyn Fn(usize) -> f64| {
        (0..numbers.len()).rev().min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(0)
    };
    for step in 0..program.steps.len() {
        let change = if step == 0 { 0.0 } else { estimate.change(step) };
        let through = |to: usize| {
            let cost = |from: usize| cycles[from] + if from == to { 0.0 } else { change };
            let from = least(&cost);
            (cost(from) + estimate.step(step, numbers[to]), from)
        };
        let (costs, from) = (0..numbers.len()).map(through).unzip();
        before.push(from);
        cycles = costs;
    }
    let mut number = least(&|number| cycles[number]);
    let mut legs: Vec<Leg> = Vec::new();
    for (step, before) in before.iter().enumerate().rev() {
        let pictures = numbers[number];
        match legs.last_mut().filter(|leg| leg.pictures == pictures) {
            Some(leg) => leg.steps.start = step,
            None => legs.push(Leg { steps: step..step + 1, pictures }),
        }
        number = before[number];
    }
    legs.reverse();
    legs
}

/// The methods for as many pictures as are in the leg of each step.
pub(crate) fn cut(methods: &[Method], legs: &[Leg]) -> Vec<Method> {
    let each = |leg: &Leg| {
        let pictures = leg.pictures;
        methods[leg.steps.clone()].iter().map(move |method| method.for_pictures(pictures))
    };
    legs.iter().flat_map(each).collect()
}

struct Estimate<'a> {
    program: &'a Program,
    methods: &'a [Method],
    batch: f64,
}

impl Estimate<'_> {
    /// Cycles of a step for a picture, of so many together. The shorter of work and waiting for
    /// memory hides behind the longer, but for a quarter of it.
    fn step(&self, at: usize, pictures: usize) -> f64 {
        let step = &self.program.steps[at];
        let method = self.methods[at].for_pictures(pictures);
        let together = pictures as f64;
        let work = method.cycles(step, pictures) / together / THREADS;
        let weights = (method.packed_len() * size_of::<Pixel>()) as f64;
        let weights = weights / RATES[usize::from(weights <= STAYS)] / together;
        // The parts of a concatenation lie in it, most of them.
        let touched =
            step.inputs.iter().chain(&step.outputs).filter(|_| step.action != Action::Concat);
        let values: f64 = touched.map(|&id| self.bytes(id)).sum();
        let scratch = match &method {
            Method::Convolution(conv) => {
                let pixels = [conv.passing(THREADS as usize), conv.scratch_len(THREADS as usize)];
                let [passing, all] = pixels.map(|pixels| (pixels * size_of::<Pixel>()) as f64);
                Estimate::passing(passing / together, all)
            }
            Method::Linear(_) | Method::Pictures(_) | Method::Plain => 0.0,
        };
        let waiting = weights + Estimate::passing(values, values * together) + scratch;
        work.max(waiting) + work.min(waiting) / 4.0 + MEETING / together
    }

    /// Cycles for a picture to write what is alive before a step and read it again later, when all
    /// others have come as far.
    fn change(&self, at: usize) -> f64 {
        let (makers, steps) = (self.program.makers(), &self.program.steps);
        let outputs = self.program.outputs.iter().map(|(_, id, _)| *id);
        let mut read: Vec<NodeId> =
            steps[at..].iter().flat_map(|step| &step.inputs).copied().chain(outputs).collect();
        read.sort_by_key(|id| id.index());
        read.dedup();
        let alive = read.into_iter().filter(|id| makers[id.index()].is_some_and(|m| m < at));
        let alive: f64 = alive.map(|id| self.bytes(id)).sum();
        Estimate::passing(2.0 * alive, alive * self.batch)
    }

    /// Cycles to write or read so many bytes, of so many in all that are in use.
    fn passing(bytes: f64, all: f64) -> f64 {
        let [last, second] = CACHES;
        // The second caches are as fast as values are used.
        if all <= second {
            return 0.0;
        }
        let [memory, cache] = RATES.map(|rate| bytes / rate);
        let stays = (last / all).min(1.0);
        stays * cache + (1.0 - stays) * memory
    }

    fn bytes(&self, id: NodeId) -> f64 {
        (pixels(self.program.extents(id)) * size_of::<Pixel>()) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use striate_graph::{Graph, Init, Params, Shape, Value, add, concat};
    use striate_kernels::Threads;
    use striate_tensor::{Rng, Tensor};

    use super::super::weights::Weights;
    use super::super::{Memory, Plan, alone, place, plan, run, scratch};
    use super::*;
    use crate::outputs::Meaning;
    use crate::{Executable, Options};

    /// A value of every kind: in planes, in a concatenation, added, pooled, read much later, handed out.
    fn network() -> Graph {
        fn module(x: Value<'_>) -> Value<'_> {
            let wide = x.conv(3, 32).batch_norm().relu();
            concat(&[x.conv(1, 16), wide.conv(3, 16).relu(), x.max_pool(3, 1).pad(1)])
        }
        Graph::build(Shape::map(3, 20, 20), |x| {
            let stem = x.conv(3, 16).relu();
            let a = module(stem).max_pool(2, 2);
            let b = add(a.conv(3, 48).batch_norm(), a).relu();
            let c = add(b.conv(1, 48), module(b).conv(1, 48)).at("c").relu();
            c.global_avg_pool().output("middle");
            concat(&[c, a]).conv(3, 40).batch_norm().relu().flatten().linear(10)
        })
        .unwrap()
    }

    /// The plan with other legs.
    fn with(plan: &Plan, legs: Vec<Leg>, threads: usize) -> Plan {
        let methods = cut(&plan.methods, &legs);
        let threads = alone::threads(&plan.program, &methods, &legs, threads);
        let scratch = scratch(&methods, &threads);
        let placement = place::place(&plan.program, &legs, plan.batch);
        Plan { methods, legs, threads, scratch, placement, ..plan.clone() }
    }

    fn outputs(graph: &Graph, params: &Params, plan: Plan, images: &Tensor) -> Vec<u32> {
        let threads = Threads::new(2);
        let weights = Arc::new(Weights::new(graph, params, &plan, &threads).unwrap());
        let mut network = run::Compiled {
            memory: Memory::of(&plan).unwrap(),
            weights,
            threads: Arc::new(threads),
            alone: Arc::new(Threads::new(1)),
            meaning: Meaning::of(graph),
            plan: Arc::new(plan),
        };
        // What is left from the first time has no effect.
        network.run(images).unwrap();
        let found = network.run(images).unwrap();
        found.iter().flat_map(|(_, value)| value.data().to_vec()).map(f32::to_bits).collect()
    }

    #[test]
    fn however_a_batch_is_cut_it_has_the_same_bits() {
        let (graph, batch) = (network(), 7);
        let params = Params::init(&graph, &Init::KaimingFanIn, &Rng::new(1));
        let mut rng = Rng::new(2);
        let values = (0..batch * graph.input().volume()).map(|_| rng.normal()).collect();
        let images = Tensor::new(&graph.input().batched(batch), values).unwrap();
        let keep = vec![graph.find("c").unwrap()];
        for keep in [vec![], keep] {
            let options = Options { batch, threads: 2, keep, ..Options::default() };
            let plan = plan(&graph, &options).unwrap();
            let steps = plan.methods.len();
            assert_eq!(plan.legs, [Leg { steps: 0..steps, pictures: batch }]);
            let expected = outputs(&graph, &params, plan.clone(), &images);
            for _ in 0..60 {
                let mut legs: Vec<Leg> = Vec::new();
                while let start = legs.last().map_or(0, |leg| leg.steps.end)
                    && start < steps
                {
                    let end = (start + 1 + rng.below(6)).min(steps);
                    legs.push(Leg { steps: start..end, pictures: 1 + rng.below(batch) });
                }
                let cut = with(&plan, legs.clone(), 2);
                assert_eq!(outputs(&graph, &params, cut, &images), expected, "{legs:?}");
            }
        }
    }

    #[test]
    fn large_maps_go_in_few_pictures_and_heavy_weights_in_many() {
        let graph = Graph::build(Shape::map(64, 112, 112), |x| {
            let x = x.conv(3, 64).relu().conv(3, 64).relu().max_pool(4, 4).max_pool(4, 4);
            x.conv(3, 512).relu().conv(3, 512).relu().flatten().linear(1000)
        })
        .unwrap();
        let plan = |batch| plan(&graph, &Options { batch, ..Options::default() }).unwrap();
        assert_eq!(plan(1).legs.len(), 1);
        let (one, many) = (plan(1), plan(16));
        let [first, .., last] = &many.legs[..] else { panic!("{:?}", many.legs) };
        assert!(first.pictures < 4 && last.pictures == 16, "{:?}", many.legs);
        assert!(many.bytes() < 8 * one.bytes());
    }
}
