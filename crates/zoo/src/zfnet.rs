//! ZFNet (Zeiler & Fergus 2013).

use striate_graph::op::Lrn;
use striate_graph::{Graph, GraphError, Init, InputSpec, Naming};

use crate::papers::ZEILER_2013;
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// The paper gives no constants for its contrast normalisation; these are AlexNet's, α divided.
const LRN: Lrn = Lrn { size: 5, alpha: 1e-4, divided: true, beta: 0.75, k: 2.0 };

/// Figure 3; its sizes (110, 55, 26, 13, 6) need pooling that rounds up. `middle` are the maps of
/// conv3 to conv5.
fn zfnet(config: &Config, middle: [usize; 3]) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = x.at("conv1").conv(7, 96).stride(2).pad(1).relu();
        let x = x.at("pool1").max_pool(3, 2).ceil().at("norm1").lrn(LRN);
        let x = x.at("conv2").conv(5, 256).stride(2).pad(0).relu();
        let x = x.at("pool2").max_pool(3, 2).ceil().at("norm2").lrn(LRN);
        let x = x.at("conv3").conv(3, middle[0]).relu();
        let x = x.at("conv4").conv(3, middle[1]).relu();
        let x = x.at("conv5").conv(3, middle[2]).relu();
        let x = x.at("pool5").max_pool(3, 2).ceil().flatten();
        let x = x.at("fc6").linear(4096).relu().dropout(0.5);
        let x = x.at("fc7").linear(4096).relu().dropout(0.5);
        x.at("fc8").linear(config.classes)
    })
}

const ZFNET: Architecture = Architecture {
    name: "zfnet",
    family: "ZFNet",
    edition: Edition::Paper,
    note: "Figure 3",
    paper: &ZEILER_2013,
    data: DataSet::ImageNet,
    input: [3, 224, 224],
    net: |c| zfnet(c, [384, 384, 256]),
    init: Init::Gaussian { deviation: 0.01, ones: &[] },
    training: Training::AlexNet,
    naming: Naming::NODES,
    also: &[],
    preparation: || InputSpec::imagenet(256, 224),
    totals: Totals { params: 62_357_608, macs: 1_168_032_896 },
    pretrained: &[],
};

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    ZFNET,
    Architecture {
        name: "zfnet_512_1024_512", note: "Table 2: wider conv3, conv4, conv5",
        net: |c| zfnet(c, [512, 1024, 512]),
        totals: Totals { params: 107_627_624, macs: 2_476_704_896 }, ..ZFNET
    },
];
