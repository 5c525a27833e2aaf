//! What a network computes, whatever its layers are called.

use std::hash::{DefaultHasher, Hash, Hasher};

use striate_graph::op::{AdaptiveAvgPool, BatchNorm, Conv2d, Lrn, Pool, PoolKind};
use striate_graph::{Graph, NodeId, Op, Shape, Sides, Size};

/// A number that two networks share if they compute the same of the same weights and input: the same
/// operations on the same values, but for what does nothing outside training, what only reorders
/// memory, and a softmax at the end. Two that compute the same by other operations may differ.
pub(crate) fn function(graph: &Graph) -> u64 {
    let mut values: Vec<u64> = Vec::new();
    for node in graph.nodes() {
        let shapes = graph.input_shapes(node);
        let mut inputs: Vec<u64> = node.inputs.iter().map(|input| values[input.index()]).collect();
        // Of a sum the order does not matter.
        if node.op == Op::Add {
            inputs.sort_unstable();
        }
        values.push(match (plain(&node.op, &shapes, node.shape), inputs.first()) {
            (None, Some(same)) => *same,
            (what, _) => {
                let mut hasher = DefaultHasher::new();
                (what, inputs).hash(&mut hasher);
                hasher.finish()
            }
        });
    }
    values[scores(graph).index()]
}

/// The first output, or what a softmax at the end makes it of.
pub(crate) fn scores(graph: &Graph) -> NodeId {
    let mut last = graph.outputs()[0].node;
    while let (Op::Softmax, Some(&before)) = (&graph.node(last).op, graph.node(last).inputs.first())
    {
        last = before;
    }
    last
}

/// The operation in one form of those that mean the same; none if its result is what it reads.
fn plain(op: &Op, inputs: &[Shape], output: Shape) -> Option<String> {
    let says = |what: &dyn std::fmt::Debug| Some(format!("{what:?}"));
    match op {
        Op::Dropout(_) | Op::Flatten => None,
        Op::Conv2d(conv) => says(&Conv2d { table: None, ..conv.clone() }),
        Op::AdaptiveAvgPool(AdaptiveAvgPool { out }) => {
            let [_, h, w] = inputs[0].chw();
            match h.is_multiple_of(out.h) && w.is_multiple_of(out.w) {
                true => mean(inputs[0], output, Size { h: h / out.h, w: w / out.w }, None),
                false => says(op),
            }
        }
        Op::Pool(Pool { kind: PoolKind::Avg { .. }, kernel, stride, pad, .. })
            if *pad == Sides::default() && (kernel == stride || output.area() == 1) =>
        {
            mean(inputs[0], output, *kernel, Some(*stride))
        }
        // How many windows there are is known by the result.
        Op::Pool(pool) => says(&(Pool { ceil: false, ..pool.clone() }, output)),
        Op::BatchNorm(BatchNorm { eps, scale, .. }) => says(&("norm", digits(*eps), scale)),
        Op::Lrn(Lrn { size, alpha, beta, k, divided }) => {
            let alpha = if *divided { *alpha } else { alpha * *size as f32 };
            says(&("lrn", size, [alpha, *beta, *k].map(digits)))
        }
        Op::Input(_)
        | Op::Linear(_)
        | Op::Subsample(_)
        | Op::Rbf(_)
        | Op::Relu
        | Op::Tanh(_)
        | Op::Sigmoid
        | Op::Softmax
        | Op::LogSoftmax
        | Op::Clip(_)
        | Op::Add
        | Op::AddScaled(_)
        | Op::Concat
        | Op::Shortcut(_) => says(op),
    }
}

/// Means of windows side by side; nothing if each is of one value.
fn mean(input: Shape, output: Shape, kernel: Size, stride: Option<Size>) -> Option<String> {
    let one = output.area() == 1;
    let stride = stride.filter(|stride| !one && *stride != kernel);
    let same = input == output && kernel.area() == 1;
    (!same).then(|| format!("{:?}", ("mean", kernel, stride, output)))
}

/// A number as files write it, some with fewer digits than others.
fn digits(value: f32) -> String {
    format!("{value:.4e}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use striate_graph::{Value, add};

    fn of(net: impl for<'g> FnOnce(Value<'g>) -> Value<'g>) -> u64 {
        function(&Graph::build(Shape::map(3, 8, 8), net).unwrap())
    }

    #[test]
    fn names_and_forms_do_not_matter_and_attributes_do() {
        let usual = of(|x| {
            let x = x.at("conv1").conv(3, 4).batch_norm().relu().max_pool(2, 2);
            let x = add(x, x.at("conv2").conv(3, 4)).global_avg_pool();
            x.flatten().dropout(0.5).at("fc").linear(5)
        });
        let same = of(|x| {
            let x = x.at("a").conv(3, 4).at("b").batch_norm().at("c").relu().max_pool(2, 2).ceil();
            let x = add(x.at("d").conv(3, 4), x).avg_pool(4, 4);
            x.at("flat").flatten().at("out").linear(5).at("prob").softmax()
        });
        assert_eq!(usual, same);
        let stride = of(|x| {
            let x = x.at("conv1").conv(3, 4).stride(2).batch_norm().relu().max_pool(1, 1);
            let x = add(x, x.at("conv2").conv(3, 4)).global_avg_pool();
            x.flatten().at("fc").linear(5)
        });
        let eps = of(|x| {
            let x = x.at("conv1").conv(3, 4).batch_norm().eps(1e-3).relu().max_pool(2, 2);
            let x = add(x, x.at("conv2").conv(3, 4)).global_avg_pool();
            x.flatten().at("fc").linear(5)
        });
        assert!(usual != stride && usual != eps && stride != eps);
    }

    #[test]
    fn editions_with_equal_shapes_differ() {
        let of = |name| function(&striate_zoo::build(name).unwrap());
        assert_eq!(of("resnet50"), of("resnet50"));
        assert_ne!(of("resnet50"), of("resnet50_v1"));
        assert_ne!(of("resnet50_v1"), of("resnet50_keras"));
    }
}
