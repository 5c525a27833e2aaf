//! ResNet for ImageNet (He et al. 2015).

use std::fmt::Display;

use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Value, add};

use crate::keras;
use crate::papers::HE_2015;
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// Input, width, stride.
type Block = fn(Value, usize, usize) -> Value;
/// A column of Table 1: the block, and how often it stands in each of the four stages.
type Column = (Block, [usize; 4]);

#[rustfmt::skip]
mod table1 {
    use super::{Column, basic, bottleneck, bottleneck_v1_5};
    pub(super) const RESNET18:       Column = (basic,           [2, 2,  2, 2]);
    pub(super) const RESNET34:       Column = (basic,           [3, 4,  6, 3]);
    pub(super) const RESNET50:       Column = (bottleneck,      [3, 4,  6, 3]);
    pub(super) const RESNET101:      Column = (bottleneck,      [3, 4, 23, 3]);
    pub(super) const RESNET152:      Column = (bottleneck,      [3, 8, 36, 3]);
    pub(super) const RESNET50_V1_5:  Column = (bottleneck_v1_5, [3, 4,  6, 3]);
    pub(super) const RESNET101_V1_5: Column = (bottleneck_v1_5, [3, 4, 23, 3]);
    pub(super) const RESNET152_V1_5: Column = (bottleneck_v1_5, [3, 8, 36, 3]);
}
use table1::*;

/// Figure 5, left.
fn basic(x: Value, width: usize, stride: usize) -> Value {
    let y = conv_bn(x, 1, 3, width, stride).relu();
    let y = conv_bn(y, 2, 3, width, 1);
    add(y, shortcut(x, width, stride)).relu()
}

/// Figure 5, right: the stride in the first 1×1.
fn bottleneck(x: Value, width: usize, stride: usize) -> Value {
    let y = conv_bn(x, 1, 1, width, stride).relu();
    let y = conv_bn(y, 2, 3, width, 1).relu();
    let y = conv_bn(y, 3, 1, 4 * width, 1);
    add(y, shortcut(x, 4 * width, stride)).relu()
}

/// The same with the stride in the 3×3, as fb.resnet.torch and torchvision have it ("v1.5").
fn bottleneck_v1_5(x: Value, width: usize, stride: usize) -> Value {
    let y = conv_bn(x, 1, 1, width, 1).relu();
    let y = conv_bn(y, 2, 3, width, stride).relu();
    let y = conv_bn(y, 3, 1, 4 * width, 1);
    add(y, shortcut(x, 4 * width, stride)).relu()
}

/// Identity where the shapes agree, else a projection by 1×1 (§3.3, option B).
fn shortcut(x: Value, out: usize, stride: usize) -> Value {
    if stride == 1 && x.channels() == out { x } else { conv_bn(x, "_proj", 1, out, stride) }
}

/// Convolution without bias, then batch normalisation (§3.4).
pub(crate) fn conv_bn(
    x: Value,
    i: impl Display,
    kernel: usize,
    out: usize,
    stride: usize,
) -> Value {
    let x = x.at(format!("conv{i}")).conv(kernel, out).stride(stride).no_bias();
    x.at(format!("bn{i}")).batch_norm()
}

fn resnet(config: &Config, (block, repeats): Column) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let mut x = conv_bn(x, 1, 7, 64, 2).relu().at("maxpool").max_pool(3, 2).pad(1);
        for (stage, repeats) in (1..).zip(repeats) {
            for i in 0..repeats {
                let stride = if stage > 1 && i == 0 { 2 } else { 1 };
                x = x.within(format!("layer{stage}.{i}"), |x| block(x, 32 << stage, stride));
            }
        }
        x.at("avgpool").global_avg_pool().flatten().at("fc").linear(config.classes)
    })
}

/// Convolution with bias, then batch normalisation, as keras.applications has them.
fn biased_bn<'g>(x: Value<'g>, i: &str, kernel: usize, out: usize, stride: usize) -> Value<'g> {
    let x = x.at(format!("conv{i}")).conv(kernel, out).stride(stride);
    x.at(format!("bn{i}")).batch_norm().eps(keras::EPS)
}

/// Figure 5, right, as keras.applications has it: the stride in the first 1×1.
fn bottleneck_keras(x: Value, width: usize, stride: usize) -> Value {
    let out = 4 * width;
    let projects = stride > 1 || x.channels() != out;
    let shortcut = if projects { biased_bn(x, "_proj", 1, out, stride) } else { x };
    let y = biased_bn(x, "1", 1, width, stride).relu();
    let y = biased_bn(y, "2", 3, width, 1).relu();
    add(shortcut, biased_bn(y, "3", 1, out, 1)).relu()
}

fn resnet_keras(config: &Config, repeats: [usize; 4]) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = biased_bn(x, "1", 7, 64, 2).relu();
        let mut x = x.at("pool1").max_pool(3, 2).pad(1);
        for (stage, repeats) in (2..).zip(repeats) {
            for i in 1..=repeats {
                let stride = if stage > 2 && i == 1 { 2 } else { 1 };
                let name = format!("conv{stage}_block{i}");
                x = x.within(name, |x| bottleneck_keras(x, 16 << stage, stride));
            }
        }
        x.at("avg_pool").global_avg_pool().flatten().at("predictions").linear(config.classes)
    })
}

/// torchvision's keys, which the deeper editions share.
pub(crate) const NAMES: Naming =
    Naming::rules(&[("*.conv_proj", "*.downsample.0"), ("*.bn_proj", "*.downsample.1")]);

const RESNET: Architecture = Architecture {
    name: "",
    family: "ResNet",
    edition: Edition::Torchvision,
    note: "",
    paper: &HE_2015,
    data: DataSet::ImageNet,
    input: [3, 224, 224],
    net: |c| resnet(c, RESNET18),
    init: Init::KaimingFanOut,
    training: Training::ResNet,
    naming: NAMES,
    preparation: || InputSpec::imagenet(256, 224),
    totals: Totals { params: 0, macs: 0 },
    pretrained: &[],
};

const V1_5: Architecture = Architecture { note: "v1.5: stride in the 3×3", ..RESNET };
const KERAS: Architecture = Architecture {
    edition: Edition::Keras,
    note: "stride in the first 1×1, convolutions with bias",
    init: Init::Xavier { bias: 0.0 },
    naming: Naming::rules(&[
        ("*.conv_proj", "*_0_conv"),
        ("*.bn_proj", "*_0_bn"),
        ("*.conv*", "*_*_conv"),
        ("*.bn*", "*_*_bn"),
        ("conv1", "conv1_conv"),
        ("bn1", "conv1_bn"),
        ("pool1", "pool1_pool"),
    ]),
    preparation: || keras::caffe(224),
    ..RESNET
};
const V1: Architecture =
    Architecture { edition: Edition::Paper, note: "stride in the first 1×1", ..RESNET };

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture { name: "resnet18", note: "basic blocks, 2 2 2 2", net: |c| resnet(c, RESNET18),
        totals: Totals { params: 11_689_512, macs: 1_814_073_344 }, ..RESNET },
    Architecture { name: "resnet34", note: "basic blocks, 3 4 6 3", net: |c| resnet(c, RESNET34),
        totals: Totals { params: 21_797_672, macs: 3_663_761_408 }, ..RESNET },
    Architecture { name: "resnet50", net: |c| resnet(c, RESNET50_V1_5),
        totals: Totals { params: 25_557_032, macs: 4_089_184_256 }, ..V1_5 },
    Architecture { name: "resnet101", net: |c| resnet(c, RESNET101_V1_5),
        totals: Totals { params: 44_549_160, macs: 7_801_405_440 }, ..V1_5 },
    Architecture { name: "resnet152", net: |c| resnet(c, RESNET152_V1_5),
        totals: Totals { params: 60_192_808, macs: 11_513_626_624 }, ..V1_5 },
    Architecture { name: "resnet50_v1", net: |c| resnet(c, RESNET50),
        totals: Totals { params: 25_557_032, macs: 3_857_973_248 }, ..V1 },
    Architecture { name: "resnet101_v1", net: |c| resnet(c, RESNET101),
        totals: Totals { params: 44_549_160, macs: 7_570_194_432 }, ..V1 },
    Architecture { name: "resnet152_v1", net: |c| resnet(c, RESNET152),
        totals: Totals { params: 60_192_808, macs: 11_282_415_616 }, ..V1 },
    Architecture { name: "resnet50_keras", net: |c| resnet_keras(c, [3, 4, 6, 3]),
        totals: Totals { params: 25_583_592, macs: 3_857_973_248 }, ..KERAS },
    Architecture { name: "resnet101_keras", net: |c| resnet_keras(c, [3, 4, 23, 3]),
        totals: Totals { params: 44_601_832, macs: 7_570_194_432 }, ..KERAS },
    Architecture { name: "resnet152_keras", net: |c| resnet_keras(c, [3, 8, 36, 3]),
        totals: Totals { params: 60_268_520, macs: 11_282_415_616 }, ..KERAS },
];
