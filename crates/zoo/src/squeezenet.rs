//! SqueezeNet (Iandola et al. 2016).

use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Resize, Value, concat};

use crate::papers::IANDOLA_2016;
use crate::{Architecture, Config, DataSet, Edition, Pretrained, Totals, Training};

/// Figure 1: squeeze to `s` maps by 1×1, expand to `e` by 1×1 and `e` by 3×3.
fn fire(x: Value, (s, e): (usize, usize)) -> Value {
    let x = x.at("squeeze").conv(1, s).relu();
    concat(&[x.at("expand1x1").conv(1, e).relu(), x.at("expand3x3").conv(3, e).relu()])
}

/// Table 1: (squeeze, expand) of fire2 to fire9.
const FIRES: [(usize, usize); 8] =
    [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)];

/// `stem` is (kernel, maps) of conv1; `pools` are the fires behind which the map is halved.
fn squeezenet(
    config: &Config,
    stem: (usize, usize),
    pools: [usize; 2],
) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = x.at("conv1").conv(stem.0, stem.1).stride(2).pad(0).relu();
        let mut x = x.at("pool1").max_pool(3, 2).ceil();
        for (i, row) in (2..).zip(FIRES) {
            x = x.within(format!("fire{i}"), |x| fire(x, row));
            if pools.contains(&i) {
                x = x.at(format!("pool{i}")).max_pool(3, 2).ceil();
            }
        }
        let x = x.at("drop9").dropout(0.5);
        let x = x.at("conv10").conv(1, config.classes).relu();
        x.at("pool10").global_avg_pool().flatten()
    })
}

/// What the authors' files in Caffe call them.
const CAFFE_NAMES: Naming = Naming::rules(&[
    ("*.squeeze", "*/squeeze1x1"),
    ("*.expand1x1", "*/expand1x1"),
    ("*.expand3x3", "*/expand3x3"),
]);

const SQUEEZENET: Architecture = Architecture {
    name: "",
    family: "SqueezeNet",
    edition: Edition::Torchvision,
    note: "",
    paper: &IANDOLA_2016,
    data: DataSet::ImageNet,
    input: [3, 224, 224],
    net: |c| squeezenet(c, (7, 96), [4, 8]),
    init: Init::KaimingFanIn,
    training: Training::ResNet,
    naming: Naming::NODES,
    also: &[CAFFE_NAMES],
    preparation: || InputSpec::imagenet(256, 224),
    totals: Totals { params: 0, macs: 0 },
    pretrained: &[],
};

/// Caffe's pictures: the shorter side to 256, BGR from 0 to 255 less a mean.
fn caffe_preparation() -> InputSpec {
    InputSpec::caffe(Resize::ShorterRounded(256), 224, [103.939, 116.779, 123.68])
}

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture {
        name: "squeezenet1_0", note: "as in the paper", net: |c| squeezenet(c, (7, 96), [4, 8]),
        naming: Naming::rules(&[
            ("conv1", "features.0"), ("fire2.*", "features.3.*"), ("fire3.*", "features.4.*"),
            ("fire4.*", "features.5.*"), ("fire5.*", "features.7.*"), ("fire6.*", "features.8.*"),
            ("fire7.*", "features.9.*"), ("fire8.*", "features.10.*"), ("fire9.*", "features.12.*"),
            ("conv10", "classifier.1"),
        ]),
        totals: Totals { params: 1_248_424, macs: 818_924_576 }, ..SQUEEZENET
    },
    Architecture {
        name: "squeezenet1_1", edition: Edition::Torchvision,
        note: "the authors' second: smaller stem, earlier pooling", net: |c| squeezenet(c, (3, 64), [3, 5]),
        naming: Naming::rules(&[
            ("conv1", "features.0"), ("fire2.*", "features.3.*"), ("fire3.*", "features.4.*"),
            ("fire4.*", "features.6.*"), ("fire5.*", "features.7.*"), ("fire6.*", "features.9.*"),
            ("fire7.*", "features.10.*"), ("fire8.*", "features.11.*"), ("fire9.*", "features.12.*"),
            ("conv10", "classifier.1"),
        ]),
        pretrained: &[Pretrained {
            file: "squeezenet1_1.safetensors",
            sha256: "e6cd558af4f4430883d7696aa6867ca9478b1665ffeb6585ad90852cedfb60a9",
            origin: "trained by the authors in Caffe, converted for Keras in the package ndf 0.1.4",
            licence: "BSD-2-Clause (SqueezeNet), MIT (ndf)",
            preparation: caffe_preparation,
        }],
        totals: Totals { params: 1_235_496, macs: 349_151_936 }, ..SQUEEZENET
    },
];
