//! ResNet for ImageNet (He et al. 2015).

use std::fmt::Display;

use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Resize, Value, add};

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

fn resnet(config: &Config, column: Column) -> Result<Graph, GraphError> {
    stages(config, column, |x| conv_bn(x, 1, 7, 64, 2).relu().at("maxpool").max_pool(3, 2).pad(1))
}

/// The authors' definition in Caffe, whose first pooling rounds up instead of padding.
fn resnet_caffe(config: &Config, column: Column) -> Result<Graph, GraphError> {
    stages(config, column, |x| conv_bn(x, 1, 7, 64, 2).relu().at("maxpool").max_pool(3, 2).ceil())
}

/// The same for their ResNet-50 alone: a bias before the first batch normalisation.
fn resnet50_caffe(config: &Config) -> Result<Graph, GraphError> {
    stages(config, RESNET50, |x| {
        let x = x.at("conv1").conv(7, 64).stride(2).at("bn1").batch_norm();
        x.relu().at("maxpool").max_pool(3, 2).ceil()
    })
}

/// What is behind the stem: the four stages, and the layer that classifies.
fn stages(
    config: &Config,
    (block, repeats): Column,
    stem: fn(Value) -> Value,
) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let mut x = stem(x);
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

/// The names of the authors' layers in Caffe, from (stage and block here, and there).
macro_rules! caffe_names {
    ($($here:literal $there:literal),*) => {
        Naming::rules(&[
            ("bn1", "bn_conv1"),
            ("fc", "fc1000"),
            $(
                (concat!("layer", $here, ".conv_proj"), concat!("res", $there, "_branch1")),
                (concat!("layer", $here, ".conv1"), concat!("res", $there, "_branch2a")),
                (concat!("layer", $here, ".conv2"), concat!("res", $there, "_branch2b")),
                (concat!("layer", $here, ".conv3"), concat!("res", $there, "_branch2c")),
                (concat!("layer", $here, ".bn_proj"), concat!("bn", $there, "_branch1")),
                (concat!("layer", $here, ".bn1"), concat!("bn", $there, "_branch2a")),
                (concat!("layer", $here, ".bn2"), concat!("bn", $there, "_branch2b")),
                (concat!("layer", $here, ".bn3"), concat!("bn", $there, "_branch2c")),
            )*
        ])
    };
}

#[rustfmt::skip]
const CAFFE_50: Naming = caffe_names!(
    "1.0" "2a", "1.1" "2b", "1.2" "2c",
    "2.0" "3a", "2.1" "3b", "2.2" "3c", "2.3" "3d",
    "3.0" "4a", "3.1" "4b", "3.2" "4c", "3.3" "4d", "3.4" "4e", "3.5" "4f",
    "4.0" "5a", "4.1" "5b", "4.2" "5c"
);

/// Of ResNet-101 and ResNet-152, whose long stages number their blocks.
#[rustfmt::skip]
const CAFFE_DEEP: Naming = caffe_names!(
    "1.0" "2a", "1.1" "2b", "1.2" "2c",
    "2.0" "3a", "2.*" "3b*",
    "3.0" "4a", "3.*" "4b*",
    "4.0" "5a", "4.1" "5b", "4.2" "5c"
);

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
    also: &[],
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
        ("*_block*.conv_proj", "*_block*_0_conv"),
        ("*_block*.bn_proj", "*_block*_0_bn"),
        ("*_block*.conv*", "*_block*_*_conv"),
        ("*_block*.bn*", "*_block*_*_bn"),
        ("conv1", "conv1_conv"),
        ("bn1", "conv1_bn"),
        ("pool1", "pool1_pool"),
    ]),
    preparation: || keras::caffe(224),
    ..RESNET
};
const V1: Architecture =
    Architecture { edition: Edition::Paper, note: "stride in the first 1×1", ..RESNET };

const CAFFE: Architecture = Architecture {
    edition: Edition::Caffe,
    note: "the authors' weights: no padding before the first pooling",
    also: &[CAFFE_DEEP],
    preparation: || InputSpec::caffe(Resize::Shorter(256), 224, [103.939, 116.779, 123.68]),
    ..RESNET
};

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
    Architecture { name: "resnet50_caffe", net: resnet50_caffe, also: &[CAFFE_50],
        totals: Totals { params: 25_557_096, macs: 3_857_973_248 }, ..CAFFE },
    Architecture { name: "resnet101_caffe", net: |c| resnet_caffe(c, RESNET101),
        totals: Totals { params: 44_549_160, macs: 7_570_194_432 }, ..CAFFE },
    Architecture { name: "resnet152_caffe", net: |c| resnet_caffe(c, RESNET152),
        totals: Totals { params: 60_192_808, macs: 11_282_415_616 }, ..CAFFE },
];
