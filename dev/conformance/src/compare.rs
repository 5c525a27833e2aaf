//! Comparison of what two backends say, in units of what is compared.

use std::sync::Arc;

use striate_exec::{Backend, Options, Outputs};
use striate_graph::op::Role;
use striate_graph::{Graph, NodeId, Params, Shape};
use striate_tensor::{Rng, Tensor};

/// Parameters of every kind at random, so that none is one or zero by habit. Weights are uniform,
/// which takes less time to draw than normal ones.
pub fn params(graph: &Graph, rng: &Rng) -> Params {
    let mut params = Params::zeros(graph);
    for param in Arc::clone(params.layout()).params() {
        let mut rng = rng.fork(&param.name);
        let fan_in = param.slot.shape[1..].iter().product::<usize>() as f32;
        let mut fill = |draw: &mut dyn FnMut(&mut Rng) -> f32| {
            params.values_mut()[param.range.clone()].iter_mut().for_each(|v| *v = draw(&mut rng));
        };
        match param.slot.role {
            Role::Weight => {
                let most = (6.0 / fan_in).sqrt();
                fill(&mut |rng| rng.within(-most, most));
            }
            Role::Scale => fill(&mut |rng| rng.within(0.5, 1.5)),
            Role::Variance => fill(&mut |rng| rng.within(0.5, 2.0)),
            Role::Bias | Role::Shift | Role::Mean => fill(&mut |rng| rng.within(-0.5, 0.5)),
            Role::Fixed => {}
        }
    }
    params.sever(graph);
    params
}

/// Normal numbers.
pub fn images(shape: Shape, batch: usize, rng: &mut Rng) -> Tensor {
    let values = (0..batch * shape.volume()).map(|_| rng.normal()).collect();
    Tensor::new(&shape.batched(batch), values).expect("as many values as the shape has")
}

/// The ids of all nodes.
pub fn all(graph: &Graph) -> Vec<NodeId> {
    graph.iter().map(|(id, _)| id).collect()
}

/// What a backend makes of images.
///
/// # Panics
/// If it makes nothing of them.
pub fn run(
    backend: &dyn Backend,
    graph: &Graph,
    params: &Params,
    images: &Tensor,
    threads: usize,
    keep: Vec<NodeId>,
) -> Outputs {
    let options = Options { batch: images.shape()[0], threads, keep, ..Options::default() };
    let mut network = backend.compile(graph, params, &options).expect("the network compiles");
    network.run(images).expect("the images fit")
}

/// Demands that every value of `found` is that of `expected` but for `tolerance` times the largest
/// magnitude of that value. What is not finite in one is not finite in the other.
///
/// # Panics
/// If it is not so.
#[track_caller]
pub fn close(found: &Outputs, expected: &Outputs, tolerance: f64, what: &str) {
    for (name, value) in found.iter() {
        let expected = expected.get(name).expect("both have the value");
        assert_eq!(value.shape(), expected.shape(), "{what}: {name}");
        let expected: Vec<f64> = expected.data().iter().map(|&v| f64::from(v)).collect();
        close_values(value.data(), &expected, tolerance, &format!("{what}: {name}"));
    }
}

/// [`close`] of a single value.
///
/// # Panics
/// If it is not so.
#[track_caller]
pub fn close_values(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let finite = expected.iter().filter(|v| v.is_finite());
    let scale = finite.fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let found = f64::from(found);
        let fine = match expected.is_finite() {
            true => (found - expected).abs() <= tolerance * scale,
            false => !found.is_finite(),
        };
        assert!(fine, "{what} at {i}: {found} instead of {expected}, the largest is {scale}");
    }
}

/// The bits of all values, in order.
pub fn bits(outputs: &Outputs) -> Vec<u32> {
    outputs.iter().flat_map(|(_, value)| value.data()).map(|v| v.to_bits()).collect()
}
