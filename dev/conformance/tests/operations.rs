//! Every operation on every backend.

use conformance::cases::{self, Case, OPERATIONS, position};
use conformance::compare::{all, bits, close, close_values, images, params, run};
use striate_exec::{Backend, Interpreter, Native, Outputs};
use striate_graph::Params;
use striate_tensor::{Rng, Tensor};

/// Single precision and some hundred products, of the largest magnitude.
const TOLERANCE: f64 = 3e-6;

#[test]
fn every_operation_has_cases() {
    let positions = |graphs: Vec<striate_graph::Graph>| {
        let mut seen = vec![false; OPERATIONS];
        let ops = graphs.iter().flat_map(|graph| graph.nodes()).map(|node| position(&node.op));
        ops.for_each(|position| seen[position] = true);
        seen
    };
    let compared = positions(cases::all().map(|case| case.graph()).collect());
    let by_hand = positions(cases::hand().iter().map(|hand| hand.case.graph()).collect());
    assert_eq!(compared, [true; OPERATIONS]);
    assert_eq!(by_hand, [true; OPERATIONS]);
}

#[test]
fn results_are_those_worked_out_by_hand() {
    for hand in cases::hand() {
        let graph = hand.case.graph();
        let mut params = Params::zeros(&graph);
        for (name, values) in hand.params {
            params.get_mut(name).expect(name).copy_from_slice(values);
        }
        let shape = graph.input().batched(hand.case.batch);
        let images = Tensor::new(&shape, hand.images.to_vec()).unwrap();
        for backend in [&Interpreter as &dyn Backend, &Native::default()] {
            let outputs = run(backend, &graph, &params, &images, 1, vec![]);
            let what = format!("{} on {}", hand.case.name, backend.name());
            close_values(outputs.logits().data(), hand.expected, 1e-6, &what);
        }
    }
}

/// Runs a case on any number of threads, with all values kept and with none.
fn check(case: &Case, seed: u64, spoil: impl Fn(&mut Tensor)) {
    let graph = case.graph();
    let params = params(&graph, &Rng::new(seed));
    let mut images = images(graph.input(), case.batch, &mut Rng::keyed(seed, [2, 0, 0]));
    spoil(&mut images);
    let expected = run(&Interpreter, &graph, &params, &images, 1, all(&graph));
    for keep in [vec![], all(&graph)] {
        let native =
            |threads| run(&Native::default(), &graph, &params, &images, threads, keep.clone());
        let one = native(1);
        let what = format!("{} with {} values kept", case.name, keep.len());
        if images.data().iter().all(|x| x.is_finite()) {
            close(&one, &expected, TOLERANCE, &what);
        } else {
            as_wild(&one, &expected, &what);
        }
        for threads in [2, 3] {
            assert_eq!(bits(&one), bits(&native(threads)), "{what} on {threads} threads");
        }
    }
}

/// Demands that what is not finite in `expected` is not in `found`. There may be more of it: the
/// engine multiplies by zero what a table or small groups leave out, and transforms tiles.
fn as_wild(found: &Outputs, expected: &Outputs, what: &str) {
    for (name, value) in found.iter() {
        let expected = expected.get(name).expect("both have the value").data();
        for (at, (found, expected)) in value.data().iter().zip(expected).enumerate() {
            assert!(expected.is_finite() || !found.is_finite(), "{what}: {name} at {at}: {found}");
        }
    }
}

#[test]
fn native_is_the_interpreter() {
    for (seed, case) in (1..).zip(cases::all()) {
        check(&case, seed, |_| {});
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for (seed, case) in (1..).zip(cases::all()) {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            check(&case, seed, |images| {
                let at = images.data().len() / 2;
                images.data_mut()[at] = value;
            });
        }
    }
}
