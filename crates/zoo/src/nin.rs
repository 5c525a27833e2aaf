//! NiN, Network in Network (Lin, Chen, Yan 2013).

use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Resize, Value};

use crate::papers::LIN_2013;
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// §3.1: a convolution followed by two 1×1 convolutions, each with ReLU ("cccp", cascaded
/// cross-channel parametric pooling). A row is (name, maps).
fn mlpconv<'g>(conv: Value<'g>, cccp: [(&str, usize); 2]) -> Value<'g> {
    let [(first, a), (second, b)] = cccp;
    conv.relu().at(first).conv(1, a).relu().at(second).conv(1, b).relu()
}

/// The authors' CIFAR-10 definition. ReLU after every layer, the last included, so no score is ever
/// negative.
fn nin_cifar10(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = mlpconv(x.at("conv1").conv(5, 192), [("cccp1", 160), ("cccp2", 96)]);
        let x = x.at("pool1").max_pool(3, 2).ceil().dropout(0.5);
        let x = mlpconv(x.at("conv2").conv(5, 192), [("cccp3", 192), ("cccp4", 192)]);
        let x = x.at("pool2").max_pool(3, 2).ceil().dropout(0.5);
        let x = mlpconv(x.at("conv3").conv(3, 192), [("cccp5", 192), ("cccp6", config.classes)]);
        x.at("poolg").global_avg_pool().flatten()
    })
}

/// The ImageNet network of Caffe's model zoo.
fn nin_imagenet(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let stem = x.at("conv1").conv(11, 96).stride(4).pad(0);
        let x = mlpconv(stem, [("cccp1", 96), ("cccp2", 96)]);
        let x = x.at("pool0").max_pool(3, 2).ceil();
        let x = mlpconv(x.at("conv2").conv(5, 256), [("cccp3", 256), ("cccp4", 256)]);
        let x = x.at("pool2").max_pool(3, 2).ceil();
        let x = mlpconv(x.at("conv3").conv(3, 384), [("cccp5", 384), ("cccp6", 384)]);
        let x = x.at("pool3").max_pool(3, 2).ceil().dropout(0.5);
        let last = [("cccp7-1024", 1024), ("cccp8-1024", config.classes)];
        let x = mlpconv(x.at("conv4-1024").conv(3, 1024), last);
        x.at("pool4").global_avg_pool().flatten()
    })
}

const NIN: Architecture = Architecture {
    name: "",
    family: "NiN",
    edition: Edition::Authors,
    note: "",
    paper: &LIN_2013,
    data: DataSet::Cifar10,
    input: [3, 32, 32],
    net: nin_cifar10,
    init: Init::Gaussian { deviation: 0.05, ones: &[] },
    training: Training::Cifar,
    naming: Naming::NODES,
    also: &[],
    preparation: crate::resnet_cifar::preparation,
    totals: Totals { params: 0, macs: 0 },
    pretrained: &[],
};

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture {
        name: "nin_cifar10", note: "the authors' CIFAR-10 definition",
        totals: Totals { params: 966_986, macs: 222_486_528 }, ..NIN
    },
    Architecture {
        name: "nin_imagenet", edition: Edition::Caffe, note: "the ImageNet network of the model zoo",
        net: nin_imagenet, data: DataSet::ImageNet, input: [3, 224, 224],
        training: Training::Vgg,
        preparation: || InputSpec::caffe(Resize::Exact([256, 256]), 224, [104.0, 117.0, 123.0]),
        totals: Totals { params: 7_595_176, macs: 1_100_188_800 }, ..NIN
    },
];
