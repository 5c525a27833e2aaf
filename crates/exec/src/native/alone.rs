//! Which steps the caller does alone: those too short to be shared out.

use super::choose::{Method, plain_cycles};
use super::legs::Leg;
use super::program::{Program, Step};

/// Cycles of such a step at most: threads that have no cache in common would take as long to hand
/// over what it reads.
const SHORT: f64 = 24_000.0;

/// How many threads do each step: all that there are, or one.
pub(crate) fn threads(
    program: &Program,
    methods: &[Method],
    legs: &[Leg],
    all: usize,
) -> Vec<usize> {
    let steps = legs.iter().flat_map(|leg| leg.steps.clone().map(move |at| (at, leg.pictures)));
    let short = |(at, pictures): (usize, usize)| {
        cycles(program, &program.steps[at], &methods[at], pictures) <= SHORT
    };
    steps.map(|step| if short(step) { 1 } else { all }).collect()
}

/// Cycles of a step of so many pictures on one core, at most.
fn cycles(program: &Program, step: &Step, method: &Method, pictures: usize) -> f64 {
    // A pixel of weights takes two cycles to read.
    let weights = (2 * method.packed_len()) as f64;
    method.cycles(step, pictures) + weights + plain_cycles(program, step, pictures)
}

#[cfg(test)]
mod tests {
    use striate_graph::{Graph, Shape, Value};

    use super::super::plan;
    use crate::Options;

    fn threads(input: Shape, net: impl for<'g> FnOnce(Value<'g>) -> Value<'g>) -> Vec<usize> {
        let graph = Graph::build(input, net).unwrap();
        plan(&graph, &Options { threads: 3, ..Options::default() }).unwrap().threads
    }

    #[test]
    fn a_short_step_is_done_by_one_and_a_long_one_by_all() {
        let all = threads(Shape::map(1, 28, 28), |x| {
            x.conv(5, 6).sigmoid().max_pool(2, 2).flatten().linear(20)
        });
        assert!(all.iter().all(|threads| *threads == 1), "{all:?}");
        // What has many channels, large maps, many weights; the mean of few pixels is short.
        let all = threads(Shape::map(64, 56, 56), |x| {
            x.conv(3, 64).max_pool(3, 2).global_avg_pool().flatten().linear(9000)
        });
        assert_eq!(all[all.len() - 4..], [3, 3, 1, 3]);
    }
}
