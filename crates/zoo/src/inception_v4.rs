//! Inception v4 (Szegedy et al. 2016).

use striate_graph::{Filter, Graph, GraphError, Init, InputSpec, Naming, Value, concat};

use crate::inception_v3::{conv_bn, halve, shrink};
use crate::papers::SZEGEDY_2016;
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// Figure 3: 299×299 to 35×35.
fn stem(x: Value) -> Value {
    let x = conv_bn(shrink(halve(x, "conv1", 32), "conv2", 32), "conv3", 3, 64);
    let x =
        x.within("mixed_3a", |x| concat(&[x.at("maxpool").max_pool(3, 2), halve(x, "conv", 96)]));
    let x = x.within("mixed_4a", |x| {
        let long = conv_bn(conv_bn(x, "branch1.0", 1, 64), "branch1.1", (1, 7), 64);
        concat(&[
            shrink(conv_bn(x, "branch0.0", 1, 64), "branch0.1", 96),
            shrink(conv_bn(long, "branch1.2", (7, 1), 64), "branch1.3", 96),
        ])
    });
    x.within("mixed_5a", |x| concat(&[halve(x, "conv", 192), x.at("maxpool").max_pool(3, 2)]))
}

/// Mean over the pixels inside the picture, then 1×1: the pooling branch of all three modules.
fn pool_branch(x: Value, maps: usize) -> Value {
    conv_bn(x.at("branch3.0").avg_pool(3, 1).pad(1).exclude_pad(), "branch3.1", 1, maps)
}

/// Figure 4, at 35×35.
fn module_a(x: Value) -> Value {
    let double = conv_bn(conv_bn(x, "branch2.0", 1, 64), "branch2.1", 3, 96);
    concat(&[
        conv_bn(x, "branch0", 1, 96),
        conv_bn(conv_bn(x, "branch1.0", 1, 64), "branch1.1", 3, 96),
        conv_bn(double, "branch2.2", 3, 96),
        pool_branch(x, 96),
    ])
}

/// Figure 7 with k, l, m, n = 192, 224, 256, 384 (Table 1).
fn reduction_a(x: Value) -> Value {
    let double = conv_bn(conv_bn(x, "branch1.0", 1, 192), "branch1.1", 3, 224);
    concat(&[
        halve(x, "branch0", 384),
        halve(double, "branch1.2", 256),
        x.at("branch2").max_pool(3, 2),
    ])
}

/// Figure 5, at 17×17.
fn module_b(x: Value) -> Value {
    let seven = conv_bn(conv_bn(x, "branch1.0", 1, 192), "branch1.1", (1, 7), 224);
    let double = conv_bn(conv_bn(x, "branch2.0", 1, 192), "branch2.1", (7, 1), 192);
    let double = conv_bn(conv_bn(double, "branch2.2", (1, 7), 224), "branch2.3", (7, 1), 224);
    concat(&[
        conv_bn(x, "branch0", 1, 384),
        conv_bn(seven, "branch1.2", (7, 1), 256),
        conv_bn(double, "branch2.4", (1, 7), 256),
        pool_branch(x, 128),
    ])
}

/// Figure 8.
fn reduction_b(x: Value) -> Value {
    let seven = conv_bn(conv_bn(x, "branch1.0", 1, 256), "branch1.1", (1, 7), 256);
    let seven = conv_bn(seven, "branch1.2", (7, 1), 320);
    concat(&[
        halve(conv_bn(x, "branch0.0", 1, 192), "branch0.1", 192),
        halve(seven, "branch1.3", 320),
        x.at("branch2").max_pool(3, 2),
    ])
}

/// Figure 6, at 8×8.
fn module_c(x: Value) -> Value {
    let three = conv_bn(x, "branch1_0", 1, 384);
    let long = conv_bn(conv_bn(x, "branch2_0", 1, 384), "branch2_1", (3, 1), 448);
    let long = conv_bn(long, "branch2_2", (1, 3), 512);
    concat(&[
        conv_bn(x, "branch0", 1, 256),
        conv_bn(three, "branch1_1a", (1, 3), 256),
        conv_bn(three, "branch1_1b", (3, 1), 256),
        conv_bn(long, "branch2_3a", (1, 3), 256),
        conv_bn(long, "branch2_3b", (3, 1), 256),
        pool_branch(x, 256),
    ])
}

/// Figure 9.
fn inception_v4(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let mut x = stem(x);
        for i in 1..=4 {
            x = x.within(format!("a{i}"), module_a);
        }
        x = x.within("reduction_a", reduction_a);
        for i in 1..=7 {
            x = x.within(format!("b{i}"), module_b);
        }
        x = x.within("reduction_b", reduction_b);
        for i in 1..=3 {
            x = x.within(format!("c{i}"), module_c);
        }
        let x = x.at("global_pool").global_avg_pool().flatten().dropout(0.2);
        x.at("fc").linear(config.classes)
    })
}

/// timm numbers the modules of the whole network in one sequence.
#[rustfmt::skip]
const TIMM_NAMES: Naming = Naming::rules(&[
    ("conv1.*", "features.0.*"), ("conv2.*", "features.1.*"), ("conv3.*", "features.2.*"),
    ("mixed_3a.*", "features.3.*"), ("mixed_4a.*", "features.4.*"), ("mixed_5a.*", "features.5.*"),
    ("a1.*", "features.6.*"), ("a2.*", "features.7.*"), ("a3.*", "features.8.*"), ("a4.*", "features.9.*"),
    ("reduction_a.*", "features.10.*"),
    ("b1.*", "features.11.*"), ("b2.*", "features.12.*"), ("b3.*", "features.13.*"), ("b4.*", "features.14.*"),
    ("b5.*", "features.15.*"), ("b6.*", "features.16.*"), ("b7.*", "features.17.*"),
    ("reduction_b.*", "features.18.*"),
    ("c1.*", "features.19.*"), ("c2.*", "features.20.*"), ("c3.*", "features.21.*"),
    ("fc", "last_linear"),
]);

/// The picture as TensorFlow's models want it, (x − ½) / ½, resized with the bicubic filter.
pub(crate) fn preparation(resize: usize) -> InputSpec {
    InputSpec {
        filter: Filter::Bicubic,
        mean: vec![0.5; 3],
        deviation: vec![0.5; 3],
        ..InputSpec::imagenet(resize, 299)
    }
}

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture {
        name: "inception_v4",
        family: "Inception",
        edition: Edition::Timm,
        note: "4 A, 7 B, 3 C modules",
        paper: &SZEGEDY_2016,
        data: DataSet::ImageNet,
        input: [3, 299, 299],
        net: inception_v4,
        init: Init::Truncated { deviation: 0.1 },
        training: Training::ResNet,
        naming: TIMM_NAMES,
        also: &[],
        preparation: || preparation(341),
        totals: Totals { params: 42_679_816, macs: 12_253_974_624 },
        pretrained: &[],
    },
];
