//! AlexNet.

use striate_graph::op::Lrn;
use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Resize, Value};

use crate::papers::{KRIZHEVSKY_2012, KRIZHEVSKY_2014};
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// §3.3: k = 2, n = 5, α = 10⁻⁴, β = 0.75.
const LRN_PAPER: Lrn = Lrn { size: 5, alpha: 1e-4, divided: false, beta: 0.75, k: 2.0 };

/// The constants of Caffe's `bvlc_alexnet`, where α is divided by n.
const LRN_CAFFE: Lrn = Lrn { size: 5, alpha: 1e-4, divided: true, beta: 0.75, k: 1.0 };

/// Figure 2 on 227×227 (the paper prints 224, which does not give its 55×55). Two groups stand for
/// the two GPUs.
fn alexnet_2012(
    config: &Config,
    norm_pool: fn(Value, usize) -> Value,
) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = norm_pool(x.at("conv1").conv(11, 96).stride(4).pad(0).relu(), 1);
        let x = norm_pool(x.at("conv2").conv(5, 256).groups(2).relu(), 2);
        let x = x.at("conv3").conv(3, 384).relu();
        let x = x.at("conv4").conv(3, 384).groups(2).relu();
        let x = x.at("conv5").conv(3, 256).groups(2).relu();
        let x = x.at("pool5").max_pool(3, 2).ceil().flatten();
        let x = x.at("fc6").linear(4096).relu().dropout(0.5);
        let x = x.at("fc7").linear(4096).relu().dropout(0.5);
        x.at("fc8").linear(config.classes)
    })
}

fn norm_then_pool(x: Value, i: usize, lrn: Lrn) -> Value {
    x.at(format!("norm{i}")).lrn(lrn).at(format!("pool{i}")).max_pool(3, 2).ceil()
}

fn pool_then_norm(x: Value, i: usize, lrn: Lrn) -> Value {
    x.at(format!("pool{i}")).max_pool(3, 2).ceil().at(format!("norm{i}")).lrn(lrn)
}

/// One tower (Krizhevsky 2014) as torchvision has it: other widths, no groups, no normalisation,
/// dropout before the linear layers.
fn alexnet(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = x.at("conv1").conv(11, 64).stride(4).pad(2).relu();
        let x = x.at("pool1").max_pool(3, 2);
        let x = x.at("conv2").conv(5, 192).relu();
        let x = x.at("pool2").max_pool(3, 2);
        let x = x.at("conv3").conv(3, 384).relu();
        let x = x.at("conv4").conv(3, 256).relu();
        let x = x.at("conv5").conv(3, 256).relu();
        let x = x.at("pool5").max_pool(3, 2);
        let x = x.at("avgpool").adaptive_avg_pool(6).flatten();
        let x = x.at("drop6").dropout(0.5).at("fc6").linear(4096).relu();
        let x = x.at("drop7").dropout(0.5).at("fc7").linear(4096).relu();
        x.at("fc8").linear(config.classes)
    })
}

const ALEXNET: Architecture = Architecture {
    name: "",
    family: "AlexNet",
    edition: Edition::Caffe,
    note: "",
    paper: &KRIZHEVSKY_2012,
    data: DataSet::ImageNet,
    input: [3, 227, 227],
    net: alexnet,
    init: Init::Gaussian { deviation: 0.01, ones: &["conv2", "conv4", "conv5", "fc6", "fc7"] },
    training: Training::AlexNet,
    naming: Naming::NODES,
    also: &[],
    preparation: || InputSpec::caffe(Resize::Exact([256, 256]), 227, [104.007, 116.669, 122.679]),
    totals: Totals { params: 60_965_224, macs: 724_406_816 },
    pretrained: &[],
};

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture {
        name: "alexnet", edition: Edition::Torchvision, paper: &KRIZHEVSKY_2014,
        note: "one tower: no groups, no LRN, other widths", net: alexnet,
        input: [3, 224, 224], preparation: || InputSpec::imagenet(256, 224),
        naming: Naming::sequences(&[("conv1", "features"), ("drop6", "classifier")]),
        totals: Totals { params: 61_100_840, macs: 714_188_480 }, ..ALEXNET
    },
    Architecture {
        name: "alexnet_2012", note: "two groups, LRN before pooling (bvlc_alexnet)",
        net: |c| alexnet_2012(c, |x, i| norm_then_pool(x, i, LRN_CAFFE)), ..ALEXNET
    },
    Architecture {
        name: "alexnet_2012_paper", edition: Edition::Paper,
        note: "alexnet_2012 with the paper's LRN: k = 2, α not divided by n",
        net: |c| alexnet_2012(c, |x, i| norm_then_pool(x, i, LRN_PAPER)), ..ALEXNET
    },
    Architecture {
        name: "caffenet", note: "alexnet_2012 with pooling before LRN",
        net: |c| alexnet_2012(c, |x, i| pool_then_norm(x, i, LRN_CAFFE)), ..ALEXNET
    },
];
