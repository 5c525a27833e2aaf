//! ResNet for CIFAR-10 (He et al. 2015, §4.2): 6n + 2 layers.

use striate_graph::{ChannelOrder, Graph, GraphError, Init, InputSpec, Resize, Value, add};

use crate::papers::HE_2015;
use crate::resnet::{NAMES, conv_bn};
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// What a shortcut is (§3.3): input, maps, stride.
type Shortcut = fn(Value, usize, usize) -> Value;

/// Option A: where shapes change, every second pixel, and zero maps behind the others.
pub(crate) fn option_a(x: Value, out: usize, stride: usize) -> Value {
    if stride == 1 && x.channels() == out { x } else { x.at("shortcut").shortcut(stride, out) }
}

/// Option B: where shapes change, a projection.
fn option_b(x: Value, out: usize, stride: usize) -> Value {
    if stride == 1 && x.channels() == out { x } else { option_c(x, out, stride) }
}

/// Option C: a projection everywhere.
fn option_c(x: Value, out: usize, stride: usize) -> Value {
    conv_bn(x, "_proj", 1, out, stride)
}

fn basic(x: Value, width: usize, stride: usize, shortcut: Shortcut) -> Value {
    let y = conv_bn(x, 1, 3, width, stride).relu();
    let y = conv_bn(y, 2, 3, width, 1);
    add(y, shortcut(x, width, stride)).relu()
}

fn resnet_cifar(config: &Config, depth: usize, shortcut: Shortcut) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let mut x = conv_bn(x, 1, 3, 16, 1).relu();
        for stage in 1..=3 {
            for i in 0..(depth - 2) / 6 {
                let stride = if stage > 1 && i == 0 { 2 } else { 1 };
                let name = format!("layer{stage}.{i}");
                x = x.within(name, |x| basic(x, 8 << stage, stride, shortcut));
            }
        }
        x.at("avgpool").global_avg_pool().flatten().at("fc").linear(config.classes)
    })
}

/// Pictures of 32×32 from −1 to 1. The papers subtract a mean per pixel of their training set,
/// which weights trained so carry themselves.
pub(crate) fn preparation() -> InputSpec {
    InputSpec {
        resize: Resize::Exact([32, 32]),
        order: ChannelOrder::Rgb,
        mean: vec![0.5; 3],
        deviation: vec![0.5; 3],
        ..InputSpec::imagenet(32, 32)
    }
}

const CIFAR: Architecture = Architecture {
    name: "",
    family: "ResNet for CIFAR",
    edition: Edition::Paper,
    note: "option A",
    paper: &HE_2015,
    data: DataSet::Cifar10,
    input: [3, 32, 32],
    net: |c| resnet_cifar(c, 20, option_a),
    init: Init::KaimingFanOut,
    training: Training::Cifar,
    naming: NAMES,
    also: &[],
    preparation,
    totals: Totals { params: 0, macs: 0 },
    pretrained: &[],
};

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture { name: "resnet20_cifar", net: |c| resnet_cifar(c, 20, option_a),
        totals: Totals { params: 269_722, macs: 40_551_040 }, ..CIFAR },
    Architecture { name: "resnet20_cifar_b", note: "option B", net: |c| resnet_cifar(c, 20, option_b),
        totals: Totals { params: 272_474, macs: 40_813_184 }, ..CIFAR },
    Architecture { name: "resnet20_cifar_c", note: "option C", net: |c| resnet_cifar(c, 20, option_c),
        totals: Totals { params: 283_962, macs: 42_648_192 }, ..CIFAR },
    Architecture { name: "resnet32_cifar", net: |c| resnet_cifar(c, 32, option_a),
        totals: Totals { params: 464_154, macs: 68_862_592 }, ..CIFAR },
    Architecture { name: "resnet44_cifar", net: |c| resnet_cifar(c, 44, option_a),
        totals: Totals { params: 658_586, macs: 97_174_144 }, ..CIFAR },
    Architecture { name: "resnet56_cifar", net: |c| resnet_cifar(c, 56, option_a),
        totals: Totals { params: 853_018, macs: 125_485_696 }, ..CIFAR },
    Architecture { name: "resnet56_cifar_b", note: "option B", net: |c| resnet_cifar(c, 56, option_b),
        totals: Totals { params: 855_770, macs: 125_747_840 }, ..CIFAR },
    Architecture { name: "resnet110_cifar", net: |c| resnet_cifar(c, 110, option_a),
        totals: Totals { params: 1_727_962, macs: 252_887_680 }, ..CIFAR },
    Architecture { name: "resnet1202_cifar", net: |c| resnet_cifar(c, 1202, option_a),
        totals: Totals { params: 19_421_274, macs: 2_829_238_912 }, ..CIFAR },
];
