//! Logits of the networks as the reference implementations compute them, within 1e-4 of their
//! maximum and with the same top 5. The files say how they were made.

use conformance::golden;
use striate_exec::{Backend, Interpreter, Isa, Native, Options};
use striate_tensor::top;

fn compare(name: &str, backend: &dyn Backend, isa: Option<Isa>) {
    let file = golden::read(&format!("logits/{name}.json"));
    let entry = striate_zoo::find(name).unwrap();
    let graph = entry.build(&entry.config()).unwrap();
    let params = golden::params(&graph, &entry.naming, file["gain"].as_f64().unwrap());
    let images = golden::input(&file["input"], "input");
    let options = Options { batch: images.shape()[0], isa, ..Options::default() };
    let mut network = backend.compile(&graph, &params, &options).unwrap();
    let outputs = network.run(&images).unwrap();
    let scale = file["max_abs"].as_f64().unwrap();
    let rows = file["logits"].as_array().unwrap();
    for (row, expected) in outputs.logits().rows().zip(rows) {
        let expected = golden::numbers(expected);
        assert_eq!(row.len(), expected.len(), "{name}");
        let pairs = row.iter().zip(&expected);
        let error = pairs.map(|(y, e)| (f64::from(*y) - e).abs()).fold(0.0, f64::max) / scale;
        assert!(error <= 1e-4, "{name} on {}: {error:e} of the maximum", backend.name());
        let expected: Vec<f32> = expected.iter().map(|&v| v as f32).collect();
        assert_eq!(top(row, 5), top(&expected, 5), "{name} on {}", backend.name());
    }
}

#[test]
fn native() {
    // All entries but lenet1, which no reference implementation has.
    let mut names: Vec<String> = std::fs::read_dir(golden::directory().join("logits"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 56, "golden files are missing: {names:?}");
    for name in names {
        compare(&name, &Native::default(), None);
    }
}

#[test]
fn interpreter() {
    // Double precision takes its time: small networks of every family, and the large classics.
    let names = [
        "lenet5",
        "lenet5_1998",
        "alexnet",
        "caffenet",
        "nin_imagenet",
        "nin_cifar10",
        "vgg16",
        "googlenet",
        "googlenet_caffe",
        "bn_inception",
        "resnet18",
        "resnet20_cifar",
        "resnet20_cifar_b",
        "preresnet110_cifar",
        "preresnet164_cifar",
        "squeezenet1_1",
    ];
    for name in names {
        compare(name, &Interpreter, None);
    }
}

#[test]
fn every_instruction_set() {
    let names = [
        "lenet5",
        "lenet5_1998",
        "alexnet_2012",
        "googlenet",
        "inception_resnet_v1",
        "resnet18",
        "resnet20_cifar",
        "preresnet164_cifar",
        "squeezenet1_1",
    ];
    for isa in Isa::available() {
        for name in names {
            compare(name, &Native::default(), Some(isa));
        }
    }
}
