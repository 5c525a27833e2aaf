//! Pre-activation ResNet (He et al. 2016): normalise, rectify, convolve, and leave the shortcut
//! alone.

use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Value, add};

use crate::keras;
use crate::papers::HE_2016;
use crate::resnet_cifar::option_a;
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

fn norm_relu<'g>(x: Value<'g>, label: &str) -> Value<'g> {
    x.at(label).batch_norm().relu()
}

fn conv<'g>(x: Value<'g>, label: &str, kernel: usize, out: usize, stride: usize) -> Value<'g> {
    x.at(label).conv(kernel, out).stride(stride).no_bias()
}

/// Figure 1b. Where a stage begins, the shortcut reads the activated input.
fn basic(x: Value, width: usize, stride: usize, first: bool) -> Value {
    let active = norm_relu(x, "bn1");
    let y = norm_relu(conv(active, "conv1", 3, width, stride), "bn2");
    let y = conv(y, "conv2", 3, width, 1);
    add(option_a(if first { active } else { x }, width, stride), y)
}

/// The bottleneck behind its first activation, `active`; `strides` are those of the 1×1 and the
/// 3×3. Where maps change, a projection of the activated input is the shortcut.
fn bottleneck<'g>(x: Value<'g>, active: Value<'g>, width: usize, strides: [usize; 2]) -> Value<'g> {
    let out = 4 * width;
    let shortcut = if x.channels() == out {
        x
    } else {
        conv(active, "shortcut", 1, out, strides[0] * strides[1])
    };
    let y = norm_relu(conv(active, "conv1", 1, width, strides[0]), "bn2");
    let y = norm_relu(conv(y, "conv2", 3, width, strides[1]), "bn3");
    add(shortcut, conv(y, "conv3", 1, out, 1))
}

/// The last activation, and the classifier.
fn classify<'g>(x: Value<'g>, classes: usize) -> Value<'g> {
    norm_relu(x, "bn").at("avgpool").global_avg_pool().flatten().at("fc").linear(classes)
}

/// CIFAR-10, basic blocks: 6n + 2 layers.
fn cifar_basic(config: &Config, depth: usize) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let mut x = conv(x, "conv1", 3, 16, 1);
        for stage in 1..=3 {
            for i in 0..(depth - 2) / 6 {
                let stride = if stage > 1 && i == 0 { 2 } else { 1 };
                let name = format!("layer{stage}.{i}");
                x = x.within(name, |x| basic(x, 8 << stage, stride, i == 0));
            }
        }
        classify(x, config.classes)
    })
}

/// CIFAR-10, bottlenecks: 9n + 2 layers, the stride in the first 1×1 as in the authors' code.
fn cifar_bottleneck(config: &Config, depth: usize) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let mut x = conv(x, "conv1", 3, 16, 1);
        for stage in 1..=3 {
            for i in 0..(depth - 2) / 9 {
                let stride = if stage > 1 && i == 0 { 2 } else { 1 };
                x = x.within(format!("layer{stage}.{i}"), |x| {
                    bottleneck(x, norm_relu(x, "bn1"), 8 << stage, [stride, 1])
                });
            }
        }
        classify(x, config.classes)
    })
}

/// ImageNet, as fb.resnet.torch has it: the stem is activated, so the first unit is not, and the
/// stride is in the 3×3.
fn preresnet(config: &Config, repeats: [usize; 4]) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = norm_relu(conv(x, "conv1", 7, 64, 2), "bn1");
        let mut x = x.at("maxpool").max_pool(3, 2).pad(1);
        for (stage, repeats) in (1..).zip(repeats) {
            for i in 0..repeats {
                let stride = if stage > 1 && i == 0 { 2 } else { 1 };
                x = x.within(format!("layer{stage}.{i}"), |x| {
                    let active = if stage == 1 && i == 0 { x } else { norm_relu(x, "bn1") };
                    bottleneck(x, active, 32 << stage, [1, stride])
                });
            }
        }
        classify(x, config.classes)
    })
}

/// The same with ε as keras.applications has it.
fn norm_relu_keras<'g>(x: Value<'g>, label: &str) -> Value<'g> {
    x.at(label).batch_norm().eps(keras::EPS).relu()
}

/// As keras.applications has it: projection and last 1×1 with bias; a shortcut that only shrinks
/// takes every second pixel.
fn bottleneck_keras(x: Value, width: usize, stride: usize) -> Value {
    let out = 4 * width;
    let active = norm_relu_keras(x, "bn1");
    let shortcut = if x.channels() != out {
        active.at("shortcut").conv(1, out).stride(stride)
    } else if stride > 1 {
        x.at("shortcut").max_pool(1, stride)
    } else {
        x
    };
    let y = norm_relu_keras(conv(active, "conv1", 1, width, 1), "bn2");
    let y = norm_relu_keras(conv(y, "conv2", 3, width, stride), "bn3");
    add(shortcut, y.at("conv3").conv(1, out))
}

/// keras.applications' V2: the stem is not activated, its pooling sees the zeros around it, and a
/// stage shrinks the map in its last unit.
fn preresnet_keras(config: &Config, repeats: [usize; 4]) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = x.at("conv1").conv(7, 64).stride(2);
        let mut x = x.at("pool1").max_pool(3, 2).pad(1).zero_pad();
        for (stage, repeats) in (2..).zip(repeats) {
            for i in 1..=repeats {
                let stride = if stage < 5 && i == repeats { 2 } else { 1 };
                let name = format!("conv{stage}_block{i}");
                x = x.within(name, |x| bottleneck_keras(x, 16 << stage, stride));
            }
        }
        let x = norm_relu_keras(x, "post_bn").at("avg_pool").global_avg_pool().flatten();
        x.at("predictions").linear(config.classes)
    })
}

const CIFAR: Architecture = Architecture {
    name: "",
    family: "Pre-activation ResNet",
    edition: Edition::Paper,
    note: "",
    paper: &HE_2016,
    data: DataSet::Cifar10,
    input: [3, 32, 32],
    net: |c| cifar_bottleneck(c, 164),
    init: Init::KaimingFanOut,
    training: Training::Cifar,
    naming: Naming::NODES,
    also: &[],
    preparation: crate::resnet_cifar::preparation,
    totals: Totals { params: 0, macs: 0 },
    pretrained: &[],
};

const IMAGENET: Architecture = Architecture {
    edition: Edition::Authors,
    note: "fb.resnet.torch: stride in the 3×3",
    data: DataSet::ImageNet,
    input: [3, 224, 224],
    training: Training::ResNet,
    preparation: || InputSpec::imagenet(256, 224),
    ..CIFAR
};

const KERAS: Architecture = Architecture {
    edition: Edition::Keras,
    note: "V2: a stage shrinks the map in its last unit",
    init: Init::Xavier { bias: 0.0 },
    naming: Naming::rules(&[
        ("*_block*.shortcut", "*_block*_0_conv"),
        ("*_block*.conv*", "*_block*_*_conv"),
        ("*_block*.bn1", "*_block*_preact_bn"),
        ("*_block*.bn2", "*_block*_1_bn"),
        ("*_block*.bn3", "*_block*_2_bn"),
        ("conv1", "conv1_conv"),
        ("pool1", "pool1_pool"),
    ]),
    preparation: || keras::tf(224),
    ..IMAGENET
};

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture { name: "preresnet110_cifar", note: "basic blocks, option A", net: |c| cifar_basic(c, 110),
        totals: Totals { params: 1_727_962, macs: 252_887_680 }, ..CIFAR },
    Architecture { name: "preresnet164_cifar", note: "bottlenecks", net: |c| cifar_bottleneck(c, 164),
        totals: Totals { params: 1_703_258, macs: 244_500_992 }, ..CIFAR },
    Architecture { name: "preresnet1001_cifar", note: "bottlenecks", net: |c| cifar_bottleneck(c, 1001),
        totals: Totals { params: 10_327_706, macs: 1_487_849_984 }, ..CIFAR },
    Architecture { name: "preresnet50", net: |c| preresnet(c, [3, 4, 6, 3]),
        totals: Totals { params: 25_549_352, macs: 4_089_184_256 }, ..IMAGENET },
    Architecture { name: "preresnet101", net: |c| preresnet(c, [3, 4, 23, 3]),
        totals: Totals { params: 44_541_480, macs: 7_801_405_440 }, ..IMAGENET },
    Architecture { name: "preresnet152", net: |c| preresnet(c, [3, 8, 36, 3]),
        totals: Totals { params: 60_185_128, macs: 11_513_626_624 }, ..IMAGENET },
    Architecture { name: "preresnet200", net: |c| preresnet(c, [3, 24, 36, 3]),
        totals: Totals { params: 64_666_152, macs: 15_007_481_856 }, ..IMAGENET },
    Architecture { name: "resnet50v2_keras", net: |c| preresnet_keras(c, [3, 4, 6, 3]),
        totals: Totals { params: 25_568_360, macs: 3_482_255_360 }, ..KERAS },
    Architecture { name: "resnet101v2_keras", net: |c| preresnet_keras(c, [3, 4, 23, 3]),
        totals: Totals { params: 44_577_896, macs: 7_194_476_544 }, ..KERAS },
    Architecture { name: "resnet152v2_keras", net: |c| preresnet_keras(c, [3, 8, 36, 3]),
        totals: Totals { params: 60_236_904, macs: 10_906_697_728 }, ..KERAS },
];
