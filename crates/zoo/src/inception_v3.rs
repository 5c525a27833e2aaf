//! Inception v3 (Szegedy et al. 2015). The paper's table has no names for its rows; modules and
//! branches are called as torchvision calls them.

use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Size, Value, concat};

use crate::keras;
use crate::papers::SZEGEDY_2015;
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// Convolution without bias, batch normalisation with ε = 10⁻³, ReLU. Inception v4 and
/// Inception-ResNet use it as well.
pub(crate) fn conv_bn<'g>(
    x: Value<'g>,
    label: &str,
    kernel: impl Into<Size>,
    maps: usize,
) -> Value<'g> {
    x.within(label, |x| {
        x.at("conv").conv(kernel, maps).no_bias().at("bn").batch_norm().eps(1e-3).relu()
    })
}

/// The same at stride 2 and without padding, which halves a map of odd size.
pub(crate) fn halve<'g>(x: Value<'g>, label: &str, maps: usize) -> Value<'g> {
    x.within(label, |x| {
        let x = x.at("conv").conv(3, maps).stride(2).pad(0).no_bias();
        x.at("bn").batch_norm().eps(1e-3).relu()
    })
}

/// The same 3×3 without padding.
pub(crate) fn shrink<'g>(x: Value<'g>, label: &str, maps: usize) -> Value<'g> {
    x.within(label, |x| {
        let x = x.at("conv").conv(3, maps).pad(0).no_bias();
        x.at("bn").batch_norm().eps(1e-3).relu()
    })
}

/// Figure 5, at 35×35.
fn module_a(x: Value, proj: usize) -> Value {
    let one = conv_bn(x, "branch1x1", 1, 64);
    let five = conv_bn(conv_bn(x, "branch5x5_1", 1, 48), "branch5x5_2", 5, 64);
    let double = conv_bn(conv_bn(x, "branch3x3dbl_1", 1, 64), "branch3x3dbl_2", 3, 96);
    let double = conv_bn(double, "branch3x3dbl_3", 3, 96);
    let pooled = conv_bn(x.at("pool").avg_pool(3, 1).pad(1), "branch_pool", 1, proj);
    concat(&[one, five, double, pooled])
}

/// Figure 10, 35×35 to 17×17.
fn reduction_a(x: Value) -> Value {
    let three = halve(x, "branch3x3", 384);
    let double = conv_bn(conv_bn(x, "branch3x3dbl_1", 1, 64), "branch3x3dbl_2", 3, 96);
    concat(&[three, halve(double, "branch3x3dbl_3", 96), x.at("pool").max_pool(3, 2)])
}

/// Figure 6, at 17×17, 7×7 factorised over `c` maps.
fn module_b(x: Value, c: usize) -> Value {
    let one = conv_bn(x, "branch1x1", 1, 192);
    let seven = conv_bn(conv_bn(x, "branch7x7_1", 1, c), "branch7x7_2", (1, 7), c);
    let seven = conv_bn(seven, "branch7x7_3", (7, 1), 192);
    let double = conv_bn(conv_bn(x, "branch7x7dbl_1", 1, c), "branch7x7dbl_2", (7, 1), c);
    let double = conv_bn(conv_bn(double, "branch7x7dbl_3", (1, 7), c), "branch7x7dbl_4", (7, 1), c);
    let double = conv_bn(double, "branch7x7dbl_5", (1, 7), 192);
    let pooled = conv_bn(x.at("pool").avg_pool(3, 1).pad(1), "branch_pool", 1, 192);
    concat(&[one, seven, double, pooled])
}

/// 17×17 to 8×8.
fn reduction_b(x: Value) -> Value {
    let three = halve(conv_bn(x, "branch3x3_1", 1, 192), "branch3x3_2", 320);
    let seven = conv_bn(conv_bn(x, "branch7x7x3_1", 1, 192), "branch7x7x3_2", (1, 7), 192);
    let seven = conv_bn(seven, "branch7x7x3_3", (7, 1), 192);
    concat(&[three, halve(seven, "branch7x7x3_4", 192), x.at("pool").max_pool(3, 2)])
}

/// 1×3 and 3×1 side by side.
fn spread<'g>(x: Value<'g>, labels: [&str; 2]) -> Value<'g> {
    concat(&[conv_bn(x, labels[0], (1, 3), 384), conv_bn(x, labels[1], (3, 1), 384)])
}

/// Figure 7, at 8×8: 3×3 expanded into 1×3 and 3×1.
fn module_c(x: Value) -> Value {
    let one = conv_bn(x, "branch1x1", 1, 320);
    let three = conv_bn(x, "branch3x3_1", 1, 384);
    let three = spread(three, ["branch3x3_2a", "branch3x3_2b"]);
    let double = conv_bn(conv_bn(x, "branch3x3dbl_1", 1, 448), "branch3x3dbl_2", 3, 384);
    let double = spread(double, ["branch3x3dbl_3a", "branch3x3dbl_3b"]);
    let pooled = conv_bn(x.at("pool").avg_pool(3, 1).pad(1), "branch_pool", 1, 192);
    concat(&[one, three, double, pooled])
}

/// Figure 8: the auxiliary classifier on the last 17×17 map.
fn side_head(x: Value, classes: usize) -> Value {
    let x = conv_bn(x.at("pool").avg_pool(5, 3), "conv0", 1, 128);
    let x = x.within("conv1", |x| {
        x.at("conv").conv(5, 768).pad(0).no_bias().at("bn").batch_norm().eps(1e-3).relu()
    });
    x.at("global_pool").global_avg_pool().flatten().at("fc").linear(classes)
}

/// Table 1.
fn inception_v3(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = shrink(halve(x, "conv1a_3x3", 32), "conv2a_3x3", 32);
        let x = conv_bn(x, "conv2b_3x3", 3, 64).at("pool1").max_pool(3, 2);
        let x = shrink(conv_bn(x, "conv3b_1x1", 1, 80), "conv4a_3x3", 192);
        let mut x = x.at("pool2").max_pool(3, 2);
        for (name, proj) in [("5b", 32), ("5c", 64), ("5d", 64)] {
            x = x.within(name, |x| module_a(x, proj));
        }
        x = x.within("6a", reduction_a);
        for (name, c) in [("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)] {
            x = x.within(name, |x| module_b(x, c));
        }
        if config.heads {
            x.within("aux", |x| side_head(x, config.classes)).output("aux");
        }
        x = x.within("7a", reduction_b);
        for name in ["7b", "7c"] {
            x = x.within(name, module_c);
        }
        let x = x.at("pool3").global_avg_pool().flatten().dropout(0.5);
        x.at("fc").linear(config.classes)
    })
}

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture {
        name: "inception_v3",
        family: "Inception",
        edition: Edition::Torchvision,
        note: "mean pooling counts the padding, unlike TensorFlow's",
        paper: &SZEGEDY_2015,
        data: DataSet::ImageNet,
        input: [3, 299, 299],
        net: inception_v3,
        init: Init::Truncated { deviation: 0.1 },
        training: Training::ResNet,
        naming: Naming::rules(&[
            ("conv*", "Conv2d_*"),
            ("aux.*", "AuxLogits.*"),
            ("*.branch*", "Mixed_*.branch*"),
        ]),
        also: &[],
        preparation: || InputSpec {
            mean: vec![0.5; 3],
            deviation: vec![0.5; 3],
            ..InputSpec::imagenet(342, 299)
        },
        totals: Totals { params: 23_834_568, macs: 5_713_216_096 },
        pretrained: &[],
    },
    Architecture {
        name: "inception_v3_keras",
        family: "Inception",
        edition: Edition::Keras,
        note: "normalisation without scale, means without the padding",
        paper: &SZEGEDY_2015,
        data: DataSet::ImageNet,
        input: [3, 299, 299],
        net: |c| keras::inception(&inception_v3(&Config { heads: false, ..*c })?),
        init: Init::Xavier { bias: 0.0 },
        training: Training::ResNet,
        naming: Naming { counted: keras::COUNTED, ..Naming::rules(&[("fc", "predictions")]) },
        also: &[],
        preparation: || keras::tf(299),
        totals: Totals { params: 23_817_352, macs: 5_713_216_096 },
        pretrained: &[],
    },
];

#[cfg(test)]
mod tests {
    use crate::Config;

    #[test]
    fn the_auxiliary_head_comes_on_request() {
        let entry = crate::find("inception_v3").unwrap();
        let graph = entry.build(&Config { heads: true, ..entry.config() }).unwrap();
        assert_eq!(graph.total().params, 27_161_264);
        assert_eq!(graph.outputs()[1].name, "aux");
    }
}
