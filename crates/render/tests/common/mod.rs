//! Networks written here, as the zoo is a neighbour, and the comparison with stored texts.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::{env, fs};

use striate_graph::op::{Lrn, Tanh};
use striate_graph::{Graph, Shape, Value, add, concat};
use striate_render::{Heading, Paper};

/// Compares with `tests/snapshots/<name>.txt`; `BLESS=1` writes it anew.
pub(crate) fn snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}.txt"));
    if env::var_os("BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "{} differs; BLESS=1 renews it. Found:\n{text}", path.display());
}

pub(crate) fn heading<'a>(name: &'a str, title: &'a str) -> Heading<'a> {
    Heading { name, title, ..Heading::default() }
}

pub(crate) const VGG16: Heading = Heading {
    name: "vgg16",
    title: "VGG-16",
    family: "VGGNet",
    edition: "torchvision",
    paper: Some(Paper {
        title: "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        authors: "K. Simonyan, A. Zisserman",
        year: 2014,
        id: "arXiv:1409.1556",
    }),
    weights: &[],
    planned_peak_bytes: 25_690_112,
};

pub(crate) fn lenet5() -> Graph {
    Graph::build(Shape::map(1, 32, 32), |x| {
        let x = x.at("c1").conv(5, 6).pad(0).relu();
        let x = x.at("s2").avg_pool(2, 2);
        let x = x.at("c3").conv(5, 16).pad(0).relu();
        let x = x.at("s4").avg_pool(2, 2);
        let x = x.at("c5").conv(5, 120).pad(0).relu().flatten();
        x.at("f6").linear(84).relu().at("output").linear(10).softmax()
    })
    .unwrap()
}

pub(crate) fn lenet5_1998() -> Graph {
    const C3: [&str; 6] = [
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    ];
    Graph::build(Shape::map(1, 32, 32), |x| {
        let x = x.at("c1").conv(5, 6).pad(0).tanh(Tanh::LECUN);
        let x = x.at("s2").subsample(2, 2).tanh(Tanh::LECUN);
        let x = x.at("c3").conv(5, 16).pad(0).table(&C3).tanh(Tanh::LECUN);
        let x = x.at("s4").subsample(2, 2).tanh(Tanh::LECUN);
        let x = x.at("c5").conv(5, 120).pad(0).tanh(Tanh::LECUN).flatten();
        let x = x.at("f6").linear(84).tanh(Tanh::LECUN);
        x.at("output").rbf(vec![vec![true; 84]; 10])
    })
    .unwrap()
}

pub(crate) fn vgg16() -> Graph {
    const STAGES: [(usize, usize); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];
    Graph::build(Shape::map(3, 224, 224), |mut x| {
        for (stage, (convs, maps)) in (1..).zip(STAGES) {
            for i in 1..=convs {
                x = x.at(format!("conv{stage}_{i}")).conv(3, maps).relu();
            }
            x = x.at(format!("pool{stage}")).max_pool(2, 2);
        }
        let x = x.flatten().at("fc6").linear(4096).relu().dropout(0.5);
        x.at("fc7").linear(4096).relu().dropout(0.5).at("fc8").linear(1000)
    })
    .unwrap()
}

/// Two bottlenecks, the second halving the map in its 1×1 or its 3×3.
pub(crate) fn bottlenecks(strides: [usize; 2]) -> Graph {
    fn conv_bn<'g>(x: Value<'g>, i: &str, kernel: usize, out: usize, stride: usize) -> Value<'g> {
        let x = x.at(format!("conv{i}")).conv(kernel, out).stride(stride).no_bias();
        x.at(format!("bn{i}")).batch_norm()
    }
    fn bottleneck(x: Value, width: usize, strides: [usize; 2]) -> Value {
        let y = conv_bn(x, "1", 1, width, strides[0]).relu();
        let y = conv_bn(y, "2", 3, width, strides[1]).relu();
        let y = conv_bn(y, "3", 1, 4 * width, 1);
        add(y, conv_bn(x, "_proj", 1, 4 * width, strides[0] * strides[1])).relu()
    }
    Graph::build(Shape::map(3, 224, 224), |x| {
        let x = conv_bn(x, "1", 7, 64, 2).relu().at("maxpool").max_pool(3, 2).pad(1);
        let x = x.within("layer1.0", |x| bottleneck(x, 64, [1, 1]));
        let x = x.within("layer2.0", |x| bottleneck(x, 128, strides));
        x.at("avgpool").global_avg_pool().flatten().at("fc").linear(1000)
    })
    .unwrap()
}

/// The first module of GoogLeNet behind a small stem, with an auxiliary head.
pub(crate) fn inception() -> Graph {
    Graph::build(Shape::map(3, 56, 56), |x| {
        let x = x.at("conv1").conv(7, 192).stride(2).relu();
        let x = x.at("norm1").lrn(Lrn { size: 5, alpha: 1e-4, divided: true, beta: 0.75, k: 1.0 });
        let x = x.within("3a", |x| {
            concat(&[
                x.at("1x1").conv(1, 64).relu(),
                x.at("3x3_reduce").conv(1, 96).relu().at("3x3").conv(3, 128).relu(),
                x.at("7x1").conv((7, 1), 32).relu().at("1x7").conv((1, 7), 32).relu(),
                x.at("pool").max_pool(3, 1).pad(1).at("pool_proj").conv(1, 32).relu(),
            ])
        });
        let aux = x.within("aux", |x| {
            let x = x.at("pool").avg_pool(5, 3).ceil().at("conv").conv(1, 128).relu();
            x.flatten().at("fc").linear(10)
        });
        aux.output("aux");
        x.at("pool5").global_avg_pool().flatten().dropout(0.4).at("fc").linear(10)
    })
    .unwrap()
}

/// The shape of AlexNet in small, in one tower or in two groups with normalisation.
pub(crate) fn tower(two_groups: bool) -> Graph {
    let (maps, groups) = if two_groups { (96, 2) } else { (64, 1) };
    Graph::build(Shape::map(3, 63, 63), |x| {
        let mut x = x.at("conv1").conv(11, maps).stride(4).pad(0).relu();
        if two_groups {
            x = x.at("norm1").lrn(Lrn { size: 5, alpha: 1e-4, divided: true, beta: 0.75, k: 1.0 });
        }
        let x = x.at("pool1").max_pool(3, 2);
        let x = x.at("conv2").conv(5, 256).groups(groups).relu();
        x.at("pool2").max_pool(3, 2).flatten().at("fc").linear(10)
    })
    .unwrap()
}
