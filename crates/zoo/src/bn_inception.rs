//! BN-Inception (Ioffe & Szegedy 2015), also called Inception v2.

use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Resize, Value, concat};

use crate::papers::IOFFE_2015;
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// A row of Figure 5: #1×1, #3×3 reduce, #3×3, double #3×3 reduce, double #3×3, pooling.
type Row = (usize, usize, usize, usize, usize, Pooling);

/// The fourth branch of a module; the number is that of the projection behind it.
#[derive(Clone, Copy)]
enum Pooling {
    Avg(usize),
    Max(usize),
    /// Passed through at stride 2, which the 3×3 branches then have as well; no 1×1 branch.
    PassThrough,
}
use Pooling::{Avg, Max, PassThrough};

#[rustfmt::skip]
const MODULES: [(&str, Row); 10] = [
    ("3a", ( 64,  64,  64,  64,  96, Avg(32))),
    ("3b", ( 64,  64,  96,  64,  96, Avg(64))),
    ("3c", (  0, 128, 160,  64,  96, PassThrough)),
    ("4a", (224,  64,  96,  96, 128, Avg(128))),
    ("4b", (192,  96, 128,  96, 128, Avg(128))),
    ("4c", (160, 128, 160, 128, 160, Avg(128))),
    ("4d", ( 96, 128, 192, 160, 192, Avg(128))),
    ("4e", (  0, 128, 192, 192, 256, PassThrough)),
    ("5a", (352, 192, 320, 160, 224, Avg(128))),
    ("5b", (352, 192, 320, 192, 224, Max(128))),
];

/// Convolution with bias, batch normalisation, ReLU: as in the Caffe port.
fn conv(x: Value, kernel: usize, maps: usize, stride: usize) -> Value {
    x.conv(kernel, maps).stride(stride).batch_norm().relu()
}

fn module(x: Value, (n1, r3, n3, rd, nd, pooling): Row) -> Value {
    let stride = if matches!(pooling, PassThrough) { 2 } else { 1 };
    let narrow = conv(conv(x.at("3x3_reduce"), 1, r3, 1).at("3x3"), 3, n3, stride);
    let double = conv(conv(x.at("double_3x3_reduce"), 1, rd, 1).at("double_3x3_1"), 3, nd, 1);
    let double = conv(double.at("double_3x3_2"), 3, nd, stride);
    match pooling {
        PassThrough => concat(&[narrow, double, x.at("pool").max_pool(3, 2).ceil()]),
        Avg(proj) => {
            let pooled = x.at("pool").avg_pool(3, 1).pad(1).ceil();
            let pooled = conv(pooled.at("pool_proj"), 1, proj, 1);
            concat(&[conv(x.at("1x1"), 1, n1, 1), narrow, double, pooled])
        }
        Max(proj) => {
            let pooled = x.at("pool").max_pool(3, 1).pad(1).ceil();
            let pooled = conv(pooled.at("pool_proj"), 1, proj, 1);
            concat(&[conv(x.at("1x1"), 1, n1, 1), narrow, double, pooled])
        }
    }
}

/// Figure 5 with the widths of its rows. The figure prints outputs of 576 for 4c and 4d and 1024 for
/// 4e, which the widths do not sum to; the Caffe port keeps the widths, and so does this.
fn bn_inception(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = conv(x.at("conv1"), 7, 64, 2);
        let x = x.at("pool1").max_pool(3, 2).ceil();
        let x = conv(conv(x.at("conv2_reduce"), 1, 64, 1).at("conv2"), 3, 192, 1);
        let mut x = x.at("pool2").max_pool(3, 2).ceil();
        for (name, row) in MODULES {
            x = x.within(name, |x| module(x, row));
        }
        x.at("global_pool").global_avg_pool().flatten().at("fc").linear(config.classes)
    })
}

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture {
        name: "bn_inception",
        family: "Inception",
        edition: Edition::Caffe,
        note: "Inception v2 of the batch normalisation paper, Figure 5's widths",
        paper: &IOFFE_2015,
        data: DataSet::ImageNet,
        input: [3, 224, 224],
        net: bn_inception,
        init: Init::Xavier { bias: 0.2 },
        training: Training::ResNet,
        naming: Naming::rules(&[
            ("conv1", "conv1_7x7_s2"),
            ("conv1.bn", "conv1_7x7_s2_bn"),
            ("conv2_reduce", "conv2_3x3_reduce"),
            ("conv2_reduce.bn", "conv2_3x3_reduce_bn"),
            ("conv2", "conv2_3x3"),
            ("conv2.bn", "conv2_3x3_bn"),
            ("fc", "last_linear"),
            ("*.*.bn", "inception_*_*_bn"),
            ("*.*", "inception_*_*"),
        ]),
        also: &[],
        preparation: || InputSpec::caffe(Resize::Exact([256, 256]), 224, [104.0, 117.0, 123.0]),
        totals: Totals { params: 11_295_240, macs: 2_032_600_064 },
        pretrained: &[],
    },
];
