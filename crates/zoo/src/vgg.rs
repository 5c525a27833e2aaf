//! VGGNet (Simonyan & Zisserman 2014).

use striate_graph::op::Lrn;
use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Resize, Value};

use crate::papers::SIMONYAN_2014;
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// A column of Table 1: (kernel, maps) of the convolutions in each of the five stages.
type Column = [&'static [(usize, usize)]; 5];

#[rustfmt::skip]
mod table1 {
    use super::Column;
    pub(super) const A: Column = [&[(3, 64)],    &[(3, 128)],    &[(3, 256); 2], &[(3, 512); 2], &[(3, 512); 2]];
    pub(super) const B: Column = [&[(3, 64); 2], &[(3, 128); 2], &[(3, 256); 2], &[(3, 512); 2], &[(3, 512); 2]];
    pub(super) const C: Column = [&[(3, 64); 2], &[(3, 128); 2], &[(3, 256), (3, 256), (1, 256)],
                                                                 &[(3, 512), (3, 512), (1, 512)],
                                                                                &[(3, 512), (3, 512), (1, 512)]];
    pub(super) const D: Column = [&[(3, 64); 2], &[(3, 128); 2], &[(3, 256); 3], &[(3, 512); 3], &[(3, 512); 3]];
    pub(super) const E: Column = [&[(3, 64); 2], &[(3, 128); 2], &[(3, 256); 4], &[(3, 512); 4], &[(3, 512); 4]];
}
use table1::{A, B, C, D, E};

/// What follows every convolution: its label, and where it stands.
type After = for<'g> fn(Value<'g>, &str) -> Value<'g>;

fn relu<'g>(x: Value<'g>, _: &str) -> Value<'g> {
    x.relu()
}

/// torchvision's `vgg*_bn`; the convolution keeps its bias.
fn norm_relu<'g>(x: Value<'g>, _: &str) -> Value<'g> {
    x.batch_norm().relu()
}

/// Column A-LRN: normalised after the first convolution, with the constants of AlexNet's paper.
fn relu_lrn<'g>(x: Value<'g>, conv: &str) -> Value<'g> {
    const LRN: Lrn = Lrn { size: 5, alpha: 1e-4, divided: false, beta: 0.75, k: 2.0 };
    if conv == "conv1_1" { x.relu().lrn(LRN) } else { x.relu() }
}

/// The five stages, and the pooling behind each.
fn stages<'g>(mut x: Value<'g>, column: &Column, after: After) -> Value<'g> {
    for (stage, convs) in (1..).zip(column) {
        for (i, &(kernel, maps)) in (1..).zip(*convs) {
            let label = format!("conv{stage}_{i}");
            x = after(x.at(&label).conv(kernel, maps), &label);
        }
        x = x.at(format!("pool{stage}")).max_pool(2, 2);
    }
    x
}

fn vgg(config: &Config, column: &Column, after: After) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = stages(x, column, after);
        // 7×7 already at 224×224; torchvision averages larger pictures down to it.
        let x = x.at("avgpool").adaptive_avg_pool(7).flatten();
        let x = x.at("fc6").linear(4096).relu().dropout(0.5);
        let x = x.at("fc7").linear(4096).relu().dropout(0.5);
        x.at("fc8").linear(config.classes)
    })
}

/// keras.applications: every size of picture is flattened as it is, and nothing is dropped.
fn vgg_keras(config: &Config, column: &Column) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = stages(x, column, relu).flatten();
        let x = x.at("fc6").linear(4096).relu().at("fc7").linear(4096).relu();
        x.at("fc8").linear(config.classes)
    })
}

/// Without the two hidden linear layers: each map is averaged, and one layer classifies.
fn vgg_gap(config: &Config, column: &Column) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = stages(x, column, relu);
        x.at("avgpool").global_avg_pool().flatten().at("fc").linear(config.classes)
    })
}

const VGG: Architecture = Architecture {
    name: "",
    family: "VGGNet",
    edition: Edition::Torchvision,
    note: "",
    paper: &SIMONYAN_2014,
    data: DataSet::ImageNet,
    input: [3, 224, 224],
    net: |c| vgg(c, &D, relu),
    init: Init::KaimingFanOut,
    training: Training::Vgg,
    naming: Naming::sequences(&[("conv1_1", "features"), ("fc6", "classifier")]),
    also: &[],
    preparation: || InputSpec::imagenet(256, 224),
    totals: Totals { params: 0, macs: 0 },
    pretrained: &[],
};

/// Columns that torchvision does not have, with the preprocessing of the authors' Caffe weights.
const PAPER: Architecture = Architecture {
    edition: Edition::Paper,
    preparation: || InputSpec::caffe(Resize::Shorter(256), 224, [103.939, 116.779, 123.68]),
    ..VGG
};

const KERAS: Architecture = Architecture {
    edition: Edition::Keras,
    init: Init::Xavier { bias: 0.0 },
    naming: Naming::rules(&[
        ("conv*_*", "block*_conv*"),
        ("pool*", "block*_pool"),
        ("fc6", "fc1"),
        ("fc7", "fc2"),
        ("fc8", "predictions"),
    ]),
    preparation: || crate::keras::caffe(224),
    ..VGG
};

const GAP: Architecture = Architecture {
    edition: Edition::Modern,
    naming: Naming {
        sequences: &[("conv1_1", "features")],
        ..Naming::rules(&[("fc", "classifier")])
    },
    ..VGG
};

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture { name: "vgg11", note: "Table 1, A", net: |c| vgg(c, &A, relu),
        totals: Totals { params: 132_863_336, macs: 7_609_090_048 }, ..VGG },
    Architecture { name: "vgg13", note: "Table 1, B", net: |c| vgg(c, &B, relu),
        totals: Totals { params: 133_047_848, macs: 11_308_466_176 }, ..VGG },
    Architecture { name: "vgg16", note: "Table 1, D", net: |c| vgg(c, &D, relu),
        totals: Totals { params: 138_357_544, macs: 15_470_264_320 }, ..VGG },
    Architecture { name: "vgg19", note: "Table 1, E", net: |c| vgg(c, &E, relu),
        totals: Totals { params: 143_667_240, macs: 19_632_062_464 }, ..VGG },
    Architecture { name: "vgg11_bn", note: "A with batch normalisation", net: |c| vgg(c, &A, norm_relu),
        totals: Totals { params: 132_868_840, macs: 7_609_090_048 }, ..VGG },
    Architecture { name: "vgg13_bn", note: "B with batch normalisation", net: |c| vgg(c, &B, norm_relu),
        totals: Totals { params: 133_053_736, macs: 11_308_466_176 }, ..VGG },
    Architecture { name: "vgg16_bn", note: "D with batch normalisation", net: |c| vgg(c, &D, norm_relu),
        totals: Totals { params: 138_365_992, macs: 15_470_264_320 }, ..VGG },
    Architecture { name: "vgg19_bn", note: "E with batch normalisation", net: |c| vgg(c, &E, norm_relu),
        totals: Totals { params: 143_678_248, macs: 19_632_062_464 }, ..VGG },
    Architecture { name: "vgg_a_lrn", note: "Table 1, A-LRN", net: |c| vgg(c, &A, relu_lrn),
        totals: Totals { params: 132_863_336, macs: 7_609_090_048 }, ..PAPER },
    Architecture { name: "vgg_c", note: "Table 1, C: 1×1 convolutions end stages 3 to 5", net: |c| vgg(c, &C, relu),
        totals: Totals { params: 133_638_952, macs: 11_770_888_192 }, ..PAPER },
    Architecture { name: "vgg16_keras", note: "Table 1, D", net: |c| vgg_keras(c, &D),
        totals: Totals { params: 138_357_544, macs: 15_470_264_320 }, ..KERAS },
    Architecture { name: "vgg19_keras", note: "Table 1, E", net: |c| vgg_keras(c, &E),
        totals: Totals { params: 143_667_240, macs: 19_632_062_464 }, ..KERAS },
    Architecture { name: "vgg11_gap", note: "A, global average for the hidden linear layers", net: |c| vgg_gap(c, &A),
        totals: Totals { params: 9_733_480, macs: 7_485_968_384 }, ..GAP },
    Architecture { name: "vgg16_gap", note: "D, global average for the hidden linear layers", net: |c| vgg_gap(c, &D),
        totals: Totals { params: 15_227_688, macs: 15_347_142_656 }, ..GAP },
    Architecture { name: "vgg19_gap", note: "E, global average for the hidden linear layers", net: |c| vgg_gap(c, &E),
        totals: Totals { params: 20_537_384, macs: 19_508_940_800 }, ..GAP },
];

#[cfg(test)]
mod tests {
    #[test]
    fn stored_values_of_vgg16_are_those_of_the_memory_column() {
        let vgg16 = crate::build("vgg16").unwrap();
        assert_eq!(vgg16.total().activations, 15_087_080);
    }
}
