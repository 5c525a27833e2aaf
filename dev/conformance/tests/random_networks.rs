//! What holds for any network, on random ones.

use std::ops::Range;

use conformance::compare::{all, bits, close, images, params, run};
use conformance::random::graph;
use striate_exec::native::{Placed, plan};
use striate_exec::{Backend, Interpreter, Native, Options, planned_bytes};
use striate_graph::Graph;
use striate_tensor::Rng;

const SEEDS: std::ops::Range<u64> = 0..300;

/// Some ten layers in single precision, of the largest magnitude of a value.
const TOLERANCE: f64 = 2e-5;

fn each(check: impl Fn(u64, Graph, &mut Rng)) {
    for seed in SEEDS {
        check(seed, graph(seed), &mut Rng::keyed(seed, [3, 0, 0]));
    }
}

#[test]
fn native_is_the_interpreter_and_fused_is_unfused() {
    each(|seed, graph, rng| {
        let params = params(&graph, rng);
        // Now and then enough for lanes that are pictures.
        let count = if rng.chance(0.2) { 17 + rng.below(20) } else { 1 + rng.below(3) };
        let images = images(graph.input(), count, rng);
        let expected = run(&Interpreter, &graph, &params, &images, 0, all(&graph));
        let some = all(&graph).into_iter().filter(|_| rng.chance(0.2)).collect();
        for keep in [vec![], some, all(&graph)] {
            let native =
                |threads| run(&Native::default(), &graph, &params, &images, threads, keep.clone());
            let found = native(1);
            let what = format!("seed {seed} with {} values kept", keep.len());
            close(&found, &expected, TOLERANCE, &what);
            assert_eq!(bits(&found), bits(&native(2)), "{what}");
            assert_eq!(bits(&found), bits(&native(3)), "{what}");
        }
    });
}

#[test]
fn a_plan_is_run_again_and_with_fewer_images() {
    each(|seed, graph, rng| {
        let params = params(&graph, rng);
        let counts = if rng.chance(0.2) { [33, 1, 16, 33] } else { [3, 1, 2, 3] };
        let options = Options { batch: counts[0], threads: 2, ..Options::default() };
        let mut network = Native::default().compile(&graph, &params, &options).unwrap();
        for count in counts {
            let images = images(graph.input(), count, rng);
            let again = network.run(&images).unwrap();
            let expected = run(&Interpreter, &graph, &params, &images, 0, vec![]);
            close(&again, &expected, TOLERANCE, &format!("seed {seed}, {count} images"));
        }
    });
}

#[test]
fn values_alive_at_the_same_time_do_not_overlap() {
    each(|seed, graph, rng| {
        let some: Vec<_> = all(&graph).into_iter().filter(|_| rng.chance(0.2)).collect();
        for batch in [1, 2, 5, 40] {
            for keep in [vec![], some.clone(), all(&graph)] {
                let options = Options { batch, keep, ..Options::default() };
                let plan = plan(&graph, &options).unwrap();
                let values = plan.values();
                for (i, a) in values.iter().enumerate() {
                    let [channels, h, w] = graph.node(a.node).shape.chw();
                    // Lanes are channels, or pictures.
                    let channel_lanes = [batch, channels.div_ceil(16) * h * w];
                    let picture_lanes = [1, channels * h * w];
                    let found = [a.places.len(), a.places[0].len()];
                    assert!(found == channel_lanes || found == picture_lanes, "{found:?}");
                    assert!(a.places.iter().all(|place| place.len() == found[1]));
                    for b in &values[i + 1..] {
                        assert!(!(alive_together(a, b) && overlap(a, b)), "seed {seed}: {plan}");
                    }
                }
            }
        }
        assert!(planned_bytes(&graph, 1).unwrap() > 0);
    });
}

fn alive_together(a: &Placed, b: &Placed) -> bool {
    a.life.start < b.life.end && b.life.start < a.life.end
}

fn overlap(a: &Placed, b: &Placed) -> bool {
    let meet = |(a, b): (&Range<usize>, &Range<usize>)| a.start < b.end && b.start < a.end;
    a.places.iter().any(|a| b.places.iter().any(|b| meet((a, b))))
}

#[test]
fn memory_is_that_of_what_is_alive() {
    // All values together are a multiple of what has to be there at once.
    let mut planned = [0; 2];
    for seed in SEEDS {
        let graph = graph(seed);
        for (sum, keep) in planned.iter_mut().zip([vec![], all(&graph)]) {
            let options = Options { batch: 64, keep, ..Options::default() };
            let values = plan(&graph, &options).unwrap().values();
            *sum += values
                .iter()
                .flat_map(|value| &value.places)
                .map(|place| place.end)
                .max()
                .unwrap_or(0);
        }
    }
    assert!(2 * planned[0] < planned[1], "{planned:?} pixels with nothing and all kept");
}
