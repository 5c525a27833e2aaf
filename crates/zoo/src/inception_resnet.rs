//! Inception-ResNet v1 and v2 (Szegedy et al. 2016).

use striate_graph::{Graph, GraphError, Init, Naming, Value, add_scaled, concat};

use crate::inception_v3::{conv_bn, halve, shrink};
use crate::keras;
use crate::papers::SZEGEDY_2016;
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// The sum of a module: the joined branches through a 1×1 with bias and without normalisation,
/// scaled down, added to the input (§3.3).
fn residual<'g>(x: Value<'g>, branches: &[Value<'g>], up: &str, scale: f32) -> Value<'g> {
    add_scaled(x, scale, concat(branches).at(up).conv(1, x.channels()))
}

/// v2 as released: a stem like that of v3, then one Inception module, 10 blocks at 35×35, 20 at
/// 17×17, 10 at 8×8. The paper draws v4's stem and wider sums; no released weights have them.
fn inception_resnet_v2(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = shrink(halve(x, "conv2d_1a", 32), "conv2d_2a", 32);
        let x = conv_bn(x, "conv2d_2b", 3, 64).at("maxpool_3a").max_pool(3, 2);
        let x = shrink(conv_bn(x, "conv2d_3b", 1, 80), "conv2d_4a", 192);
        let mut x = x.at("maxpool_5a").max_pool(3, 2).within("mixed_5b", mixed_5b);
        for i in 0..10 {
            x = x.within(format!("repeat.{i}"), |x| v2_a(x).relu());
        }
        x = x.within("mixed_6a", mixed_6a);
        for i in 0..20 {
            x = x.within(format!("repeat_1.{i}"), |x| v2_b(x).relu());
        }
        x = x.within("mixed_7a", mixed_7a);
        for i in 0..9 {
            x = x.within(format!("repeat_2.{i}"), |x| v2_c(x, 0.2).relu());
        }
        // The last block is neither scaled nor rectified.
        let x = conv_bn(x.within("block8", |x| v2_c(x, 1.0)), "conv2d_7b", 1, 1536);
        let x = x.at("global_pool").global_avg_pool().flatten().dropout(0.2);
        x.at("classif").linear(config.classes)
    })
}

fn mixed_5b(x: Value) -> Value {
    let one = conv_bn(x, "branch0", 1, 96);
    let five = conv_bn(conv_bn(x, "branch1.0", 1, 48), "branch1.1", 5, 64);
    let double = conv_bn(conv_bn(x, "branch2.0", 1, 64), "branch2.1", 3, 96);
    let double = conv_bn(double, "branch2.2", 3, 96);
    let pooled = x.at("branch3.0").avg_pool(3, 1).pad(1).exclude_pad();
    concat(&[one, five, double, conv_bn(pooled, "branch3.1", 1, 64)])
}

/// Figure 16, at 35×35.
fn v2_a(x: Value) -> Value {
    let one = conv_bn(x, "branch0", 1, 32);
    let three = conv_bn(conv_bn(x, "branch1.0", 1, 32), "branch1.1", 3, 32);
    let double = conv_bn(conv_bn(x, "branch2.0", 1, 32), "branch2.1", 3, 48);
    residual(x, &[one, three, conv_bn(double, "branch2.2", 3, 64)], "conv2d", 0.17)
}

/// Figure 7 with k, l, m, n = 256, 256, 384, 384 (Table 1).
fn mixed_6a(x: Value) -> Value {
    let three = halve(x, "branch0", 384);
    let double = conv_bn(conv_bn(x, "branch1.0", 1, 256), "branch1.1", 3, 256);
    concat(&[three, halve(double, "branch1.2", 384), x.at("branch2").max_pool(3, 2)])
}

/// Figure 17, at 17×17.
fn v2_b(x: Value) -> Value {
    let one = conv_bn(x, "branch0", 1, 192);
    let seven = conv_bn(conv_bn(x, "branch1.0", 1, 128), "branch1.1", (1, 7), 160);
    residual(x, &[one, conv_bn(seven, "branch1.2", (7, 1), 192)], "conv2d", 0.10)
}

/// Figure 18.
fn mixed_7a(x: Value) -> Value {
    let wide = halve(conv_bn(x, "branch0.0", 1, 256), "branch0.1", 384);
    let narrow = halve(conv_bn(x, "branch1.0", 1, 256), "branch1.1", 288);
    let double = conv_bn(conv_bn(x, "branch2.0", 1, 256), "branch2.1", 3, 288);
    let double = halve(double, "branch2.2", 320);
    concat(&[wide, narrow, double, x.at("branch3").max_pool(3, 2)])
}

/// Figure 19, at 8×8.
fn v2_c(x: Value, scale: f32) -> Value {
    let one = conv_bn(x, "branch0", 1, 192);
    let three = conv_bn(conv_bn(x, "branch1.0", 1, 192), "branch1.1", (1, 3), 224);
    residual(x, &[one, conv_bn(three, "branch1.2", (3, 1), 256)], "conv2d", scale)
}

/// v1 after the paper's Figures 10 to 14: 5 blocks at 35×35, 10 at 17×17, 5 at 8×8.
fn inception_resnet_v1(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = shrink(halve(x, "stem.0", 32), "stem.1", 32);
        let x = conv_bn(x, "stem.2", 3, 64).at("stem.3").max_pool(3, 2);
        let x = shrink(conv_bn(x, "stem.4", 1, 80), "stem.5", 192);
        let mut x = halve(x, "stem.6", 256);
        for i in 0..5 {
            x = x.within(format!("a.{i}"), |x| v1_a(x).relu());
        }
        x = x.within("reduction_a", v1_reduction_a);
        for i in 0..10 {
            x = x.within(format!("b.{i}"), |x| v1_b(x).relu());
        }
        x = x.within("reduction_b", v1_reduction_b);
        for i in 0..5 {
            x = x.within(format!("c.{i}"), |x| v1_c(x).relu());
        }
        let x = x.at("pool").global_avg_pool().dropout(0.2).flatten();
        x.at("fc").linear(config.classes)
    })
}

/// Figure 10.
fn v1_a(x: Value) -> Value {
    let double = conv_bn(conv_bn(x, "branches.2.0", 1, 32), "branches.2.1", 3, 32);
    let branches = [
        conv_bn(x, "branches.0.0", 1, 32),
        conv_bn(conv_bn(x, "branches.1.0", 1, 32), "branches.1.1", 3, 32),
        conv_bn(double, "branches.2.2", 3, 32),
    ];
    residual(x, &branches, "up", 0.17)
}

/// Figure 7 with k, l, m, n = 192, 192, 256, 384 (Table 1).
fn v1_reduction_a(x: Value) -> Value {
    let double = conv_bn(conv_bn(x, "branches.1.0", 1, 192), "branches.1.1", 3, 192);
    concat(&[
        halve(x, "branches.0.0", 384),
        halve(double, "branches.1.2", 256),
        x.at("pool").max_pool(3, 2),
    ])
}

/// Figure 11.
fn v1_b(x: Value) -> Value {
    let seven = conv_bn(conv_bn(x, "branches.1.0", 1, 128), "branches.1.1", (1, 7), 128);
    let branches =
        [conv_bn(x, "branches.0.0", 1, 128), conv_bn(seven, "branches.1.2", (7, 1), 128)];
    residual(x, &branches, "up", 0.10)
}

/// Figure 12.
fn v1_reduction_b(x: Value) -> Value {
    let double = conv_bn(conv_bn(x, "branches.2.0", 1, 256), "branches.2.1", 3, 256);
    concat(&[
        halve(conv_bn(x, "branches.0.0", 1, 256), "branches.0.1", 384),
        halve(conv_bn(x, "branches.1.0", 1, 256), "branches.1.1", 256),
        halve(double, "branches.2.2", 256),
        x.at("pool").max_pool(3, 2),
    ])
}

/// Figure 13.
fn v1_c(x: Value) -> Value {
    let three = conv_bn(conv_bn(x, "branches.1.0", 1, 192), "branches.1.1", (1, 3), 192);
    let branches =
        [conv_bn(x, "branches.0.0", 1, 192), conv_bn(three, "branches.1.2", (3, 1), 192)];
    residual(x, &branches, "up", 0.20)
}

const INCEPTION_RESNET: Architecture = Architecture {
    name: "",
    family: "Inception",
    edition: Edition::Paper,
    note: "",
    paper: &SZEGEDY_2016,
    data: DataSet::ImageNet,
    input: [3, 299, 299],
    net: inception_resnet_v1,
    init: Init::Truncated { deviation: 0.1 },
    training: Training::ResNet,
    naming: Naming::NODES,
    also: &[],
    preparation: || crate::inception_v4::preparation(333),
    totals: Totals { params: 0, macs: 0 },
    pretrained: &[],
};

/// keras.applications names the convolutions before the sums and the last one, and counts the rest.
#[rustfmt::skip]
const KERAS_NAMES: &[(&str, &str)] = &[
    ("conv2d_7b.conv", "conv_7b"), ("conv2d_7b.bn", "conv_7b_bn"),
    ("block8.conv2d", "block8_10_conv"), ("classif", "predictions"),
    ("repeat.0.conv2d", "block35_1_conv"), ("repeat.1.conv2d", "block35_2_conv"), ("repeat.2.conv2d", "block35_3_conv"),
    ("repeat.3.conv2d", "block35_4_conv"), ("repeat.4.conv2d", "block35_5_conv"), ("repeat.5.conv2d", "block35_6_conv"),
    ("repeat.6.conv2d", "block35_7_conv"), ("repeat.7.conv2d", "block35_8_conv"), ("repeat.8.conv2d", "block35_9_conv"),
    ("repeat.9.conv2d", "block35_10_conv"),
    ("repeat_1.0.conv2d", "block17_1_conv"), ("repeat_1.1.conv2d", "block17_2_conv"), ("repeat_1.2.conv2d", "block17_3_conv"),
    ("repeat_1.3.conv2d", "block17_4_conv"), ("repeat_1.4.conv2d", "block17_5_conv"), ("repeat_1.5.conv2d", "block17_6_conv"),
    ("repeat_1.6.conv2d", "block17_7_conv"), ("repeat_1.7.conv2d", "block17_8_conv"), ("repeat_1.8.conv2d", "block17_9_conv"),
    ("repeat_1.9.conv2d", "block17_10_conv"), ("repeat_1.10.conv2d", "block17_11_conv"), ("repeat_1.11.conv2d", "block17_12_conv"),
    ("repeat_1.12.conv2d", "block17_13_conv"), ("repeat_1.13.conv2d", "block17_14_conv"), ("repeat_1.14.conv2d", "block17_15_conv"),
    ("repeat_1.15.conv2d", "block17_16_conv"), ("repeat_1.16.conv2d", "block17_17_conv"), ("repeat_1.17.conv2d", "block17_18_conv"),
    ("repeat_1.18.conv2d", "block17_19_conv"), ("repeat_1.19.conv2d", "block17_20_conv"),
    ("repeat_2.0.conv2d", "block8_1_conv"), ("repeat_2.1.conv2d", "block8_2_conv"), ("repeat_2.2.conv2d", "block8_3_conv"),
    ("repeat_2.3.conv2d", "block8_4_conv"), ("repeat_2.4.conv2d", "block8_5_conv"), ("repeat_2.5.conv2d", "block8_6_conv"),
    ("repeat_2.6.conv2d", "block8_7_conv"), ("repeat_2.7.conv2d", "block8_8_conv"), ("repeat_2.8.conv2d", "block8_9_conv"),
];

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture {
        name: "inception_resnet_v1", note: "Figures 10 to 14",
        totals: Totals { params: 22_756_328, macs: 6_206_361_696 }, ..INCEPTION_RESNET
    },
    Architecture {
        name: "inception_resnet_v2", edition: Edition::Timm, net: inception_resnet_v2,
        note: "as released: v3's stem, sums of 320, 1088, 2080",
        totals: Totals { params: 55_843_464, macs: 13_155_794_016 }, ..INCEPTION_RESNET
    },
    Architecture {
        name: "inception_resnet_v2_keras", edition: Edition::Keras,
        net: |c| keras::inception(&inception_resnet_v2(c)?),
        note: "the same, normalisation without scale", init: Init::Xavier { bias: 0.0 },
        naming: Naming { counted: keras::COUNTED, ..Naming::rules(KERAS_NAMES) },
        preparation: || keras::tf(299),
        totals: Totals { params: 55_813_192, macs: 13_155_794_016 }, ..INCEPTION_RESNET
    },
];
