//! What the editions of keras.applications have in common.

use striate_graph::op::{Pool, PoolKind};
use striate_graph::{Graph, GraphError, InputSpec, Op, Part, Resize};

/// ε of batch normalisation in its ResNets.
pub(crate) const EPS: f32 = 1.001e-5;

/// What layers without a name are called and counted as.
pub(crate) const COUNTED: &[(&str, &str)] = &[
    ("conv2d", "conv2d"),
    ("batch_norm", "batch_normalization"),
    ("max_pool", "max_pooling2d"),
    ("avg_pool", "average_pooling2d"),
];

/// The mode `caffe` of `preprocess_input`: BGR from 0 to 255 less ImageNet's mean.
pub(crate) fn caffe(size: usize) -> InputSpec {
    InputSpec::caffe(Resize::Exact([size, size]), size, [103.939, 116.779, 123.68])
}

/// The mode `tf` of `preprocess_input`: RGB from −1 to 1.
pub(crate) fn tf(size: usize) -> InputSpec {
    InputSpec {
        resize: Resize::Exact([size, size]),
        mean: vec![0.5; 3],
        deviation: vec![0.5; 3],
        ..InputSpec::imagenet(size, size)
    }
}

/// An Inception network with normalisation that learns no scale, means of the pixels inside the map
/// alone, and no dropout.
pub(crate) fn inception(network: &Graph) -> Result<Graph, GraphError> {
    let mut parts: Vec<Part> = Vec::new();
    // Where the value of each node is among the parts.
    let mut places: Vec<usize> = Vec::new();
    for node in network.nodes() {
        let inputs: Vec<usize> = node.inputs.iter().map(|input| places[input.index()]).collect();
        if let Op::Dropout(_) = node.op {
            places.extend(inputs);
            continue;
        }
        let mut op = node.op.clone();
        if let Op::BatchNorm(norm) = &mut op {
            norm.scale = false;
        }
        if let Op::Pool(Pool { kind: PoolKind::Avg { count_include_pad }, .. }) = &mut op {
            *count_include_pad = false;
        }
        places.push(parts.len());
        parts.push(Part { name: node.name.clone(), op, inputs });
    }
    let outputs = network.outputs().iter();
    let outputs: Vec<(String, usize)> =
        outputs.map(|output| (output.name.clone(), places[output.node.index()])).collect();
    Graph::assemble(parts, &outputs)
}
