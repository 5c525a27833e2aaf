//! GoogLeNet, Inception v1 (Szegedy et al. 2014).

use striate_graph::op::Lrn;
use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Resize, Value, concat};

use crate::papers::SZEGEDY_2014;
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// A row of Table 1: #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj.
type Row = [usize; 6];

#[rustfmt::skip]
const STAGES: [&[(&str, Row)]; 3] = [
    &[("3a", [ 64,  96, 128, 16,  32,  32]),
      ("3b", [128, 128, 192, 32,  96,  64])],
    &[("4a", [192,  96, 208, 16,  48,  64]),
      ("4b", [160, 112, 224, 24,  64,  64]),
      ("4c", [128, 128, 256, 24,  64,  64]),
      ("4d", [112, 144, 288, 32,  64,  64]),
      ("4e", [256, 160, 320, 32, 128, 128])],
    &[("5a", [256, 160, 320, 32, 128, 128]),
      ("5b", [384, 192, 384, 48, 128, 128])],
];

/// A convolution and what always follows it: (kernel, maps).
type Conv = fn(Value, usize, usize) -> Value;

fn conv_relu(x: Value, kernel: usize, maps: usize) -> Value {
    x.conv(kernel, maps).relu()
}

fn conv_bn_relu(x: Value, kernel: usize, maps: usize) -> Value {
    x.conv(kernel, maps).no_bias().batch_norm().eps(1e-3).relu()
}

/// Figure 2b. `wide` is the kernel of the branch the paper calls 5×5.
fn inception(x: Value, [n1, r3, n3, r5, n5, proj]: Row, conv: Conv, wide: usize) -> Value {
    concat(&[
        conv(x.at("1x1"), 1, n1),
        conv(conv(x.at("3x3_reduce"), 1, r3).at("3x3"), 3, n3),
        conv(conv(x.at("5x5_reduce"), 1, r5).at("5x5"), wide, n5),
        conv(x.at("pool").max_pool(3, 1).pad(1).at("pool_proj"), 1, proj),
    ])
}

/// §5: the auxiliary classifier behind 4a and 4d.
fn side_head(x: Value, pool: fn(Value) -> Value, conv: Conv, classes: usize) -> Value {
    let x = conv(pool(x.at("pool")).at("conv"), 1, 128).flatten();
    let x = x.at("fc1").linear(1024).relu().dropout(0.7);
    x.at("fc2").linear(classes)
}

fn pool_5x5(x: Value) -> Value {
    x.avg_pool(5, 3).ceil()
}

fn pool_to_4x4(x: Value) -> Value {
    x.adaptive_avg_pool(4)
}

/// Where the auxiliary classifiers are attached.
const HEADS: [(&str, &str); 2] = [("4a", "aux1"), ("4d", "aux2")];

/// Caffe's constants; α is divided by n there.
const LRN: Lrn = Lrn { size: 5, alpha: 1e-4, divided: true, beta: 0.75, k: 1.0 };

/// Table 1, with pooling that rounds up and no padding, as its sizes require.
fn googlenet_caffe(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = x.at("conv1").conv(7, 64).stride(2).relu();
        let x = x.at("pool1").max_pool(3, 2).ceil().at("norm1").lrn(LRN);
        let x = x.at("conv2_reduce").conv(1, 64).relu();
        let mut x = x.at("conv2").conv(3, 192).relu().at("norm2").lrn(LRN);
        for (i, stage) in (2..).zip(STAGES) {
            x = x.at(format!("pool{i}")).max_pool(3, 2).ceil();
            for &(name, row) in stage {
                x = x.within(name, |x| inception(x, row, conv_relu, 5));
                if let Some((_, head)) = HEADS.iter().find(|(at, _)| config.heads && *at == name) {
                    let aux =
                        x.within(*head, |x| side_head(x, pool_5x5, conv_relu, config.classes));
                    aux.output(*head);
                }
            }
        }
        let x = x.at("pool5").global_avg_pool().flatten().dropout(0.4);
        x.at("fc").linear(config.classes)
    })
}

/// torchvision's: batch normalisation, no LRN, 3×3 where the paper has 5×5 ("a known bug", kept for
/// its weights), and 2×2 windows in the fourth pooling.
fn googlenet(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = x.at("conv1").conv(7, 64).stride(2).no_bias().batch_norm().eps(1e-3).relu();
        let x = x.at("pool1").max_pool(3, 2).ceil();
        let x = conv_bn_relu(x.at("conv2_reduce"), 1, 64);
        let mut x = conv_bn_relu(x.at("conv2"), 3, 192);
        for (i, stage) in (2..).zip(STAGES) {
            let window = if i == 4 { 2 } else { 3 };
            x = x.at(format!("pool{i}")).max_pool(window, 2).ceil();
            for &(name, row) in stage {
                x = x.within(name, |x| inception(x, row, conv_bn_relu, 3));
                if let Some((_, head)) = HEADS.iter().find(|(at, _)| config.heads && *at == name) {
                    let aux = x
                        .within(*head, |x| side_head(x, pool_to_4x4, conv_bn_relu, config.classes));
                    aux.output(*head);
                }
            }
        }
        let x = x.at("pool5").global_avg_pool().flatten().dropout(0.2);
        x.at("fc").linear(config.classes)
    })
}

const CAFFE_NAMES: Naming = Naming::rules(&[
    ("conv1", "conv1/7x7_s2"),
    ("conv2_reduce", "conv2/3x3_reduce"),
    ("conv2", "conv2/3x3"),
    ("aux*.conv", "loss*/conv"),
    ("aux*.fc1", "loss*/fc"),
    ("aux*.fc2", "loss*/classifier"),
    ("fc", "loss3/classifier"),
    ("*.1x1", "inception_*/1x1"),
    ("*.3x3_reduce", "inception_*/3x3_reduce"),
    ("*.3x3", "inception_*/3x3"),
    ("*.5x5_reduce", "inception_*/5x5_reduce"),
    ("*.5x5", "inception_*/5x5"),
    ("*.pool_proj", "inception_*/pool_proj"),
]);

const TORCHVISION_NAMES: Naming = Naming::rules(&[
    ("conv1", "conv1.conv"),
    ("conv1.bn", "conv1.bn"),
    ("conv2_reduce", "conv2.conv"),
    ("conv2_reduce.bn", "conv2.bn"),
    ("conv2", "conv3.conv"),
    ("conv2.bn", "conv3.bn"),
    ("aux*.conv", "aux*.conv.conv"),
    ("aux*.conv.bn", "aux*.conv.bn"),
    ("*.1x1", "inception*.branch1.conv"),
    ("*.1x1.bn", "inception*.branch1.bn"),
    ("*.3x3_reduce", "inception*.branch2.0.conv"),
    ("*.3x3_reduce.bn", "inception*.branch2.0.bn"),
    ("*.3x3", "inception*.branch2.1.conv"),
    ("*.3x3.bn", "inception*.branch2.1.bn"),
    ("*.5x5_reduce", "inception*.branch3.0.conv"),
    ("*.5x5_reduce.bn", "inception*.branch3.0.bn"),
    ("*.5x5", "inception*.branch3.1.conv"),
    ("*.5x5.bn", "inception*.branch3.1.bn"),
    ("*.pool_proj", "inception*.branch4.1.conv"),
    ("*.pool_proj.bn", "inception*.branch4.1.bn"),
]);

const GOOGLENET: Architecture = Architecture {
    name: "googlenet",
    family: "GoogLeNet",
    edition: Edition::Torchvision,
    note: "batch normalisation, no LRN, 3×3 where the paper has 5×5",
    paper: &SZEGEDY_2014,
    data: DataSet::ImageNet,
    input: [3, 224, 224],
    net: googlenet,
    init: Init::Truncated { deviation: 0.01 },
    training: Training::GoogLeNet,
    naming: TORCHVISION_NAMES,
    also: &[],
    // The published weights undo ImageNet's normalisation (`transform_input`): (x − ½) / ½.
    preparation: || InputSpec {
        mean: vec![0.5; 3],
        deviation: vec![0.5; 3],
        ..InputSpec::imagenet(256, 224)
    },
    totals: Totals { params: 6_624_904, macs: 1_498_376_192 },
    pretrained: &[],
};

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    GOOGLENET,
    Architecture {
        name: "googlenet_caffe", edition: Edition::Paper, net: googlenet_caffe,
        note: "Table 1 with 5×5 and LRN (bvlc_googlenet)",
        init: Init::Xavier { bias: 0.2 }, naming: CAFFE_NAMES,
        preparation: || InputSpec::caffe(Resize::Exact([256, 256]), 224, [104.0, 117.0, 123.0]),
        totals: Totals { params: 6_998_552, macs: 1_582_671_872 }, ..GOOGLENET
    },
];

#[cfg(test)]
mod tests {
    use crate::Config;

    #[test]
    fn auxiliary_heads_come_on_request() {
        for (name, params) in [("googlenet", 13_004_888), ("googlenet_caffe", 13_378_280)] {
            let entry = crate::find(name).unwrap();
            let graph = entry.build(&Config { heads: true, ..entry.config() }).unwrap();
            assert_eq!(graph.total().params, params);
            let heads: Vec<&str> = graph.outputs().iter().map(|o| o.name.as_str()).collect();
            assert_eq!(heads, ["logits", "aux1", "aux2"]);
        }
    }
}
