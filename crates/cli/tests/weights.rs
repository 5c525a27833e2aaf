//! What a weight file says of itself is believed, and what it does not say is told.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{expect, root};
use striate::formats::{CLASSES, Dtype, MODEL, save};
use striate::graph::{InputSpec, Params};
use striate::tensor::Rng;
use striate::zoo;

/// Fresh weights of a network, with this metadata.
fn weights(path: &Path, network: &str, input: Option<&InputSpec>, metadata: &[(&str, &str)]) {
    let entry = zoo::find(network).unwrap();
    let graph = zoo::build(network).unwrap();
    let params = Params::init(&graph, &entry.init, &Rng::new(1));
    let metadata: BTreeMap<_, _> =
        metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    save(path, &graph, &params, &entry.naming, input, &metadata, Dtype::F32).unwrap();
}

const PICTURE: &str = "data/photographs/chelsea.png";

#[test]
fn weights_of_another_edition_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("w.safetensors");
    let path = file.display().to_string();
    // Equal shapes, another function: the stride is in the 3×3 or in the 1×1 before it.
    weights(&file, "resnet20_cifar", None, &[(MODEL, "resnet32_cifar")]);
    let digits = root().join("data/mnist").display().to_string();
    for arguments in [["predict", PICTURE], ["val", &digits], ["train", &digits]] {
        let [verb, data] = arguments;
        let (_, error) = expect(1, &[verb, "resnet20_cifar", "--weights", &path, data]);
        assert!(error.contains("resnet32_cifar") && error.contains("ask for"), "{error}");
    }
    weights(&file, "resnet20_cifar", None, &[(MODEL, "resnet20_cifar")]);
    expect(0, &["predict", "resnet20_cifar", "--weights", &path, PICTURE]);
    weights(&file, "resnet20_cifar", None, &[(CLASSES, "ten")]);
    let (_, error) = expect(1, &["predict", "resnet20_cifar", "--weights", &path, PICTURE]);
    assert!(error.contains("striate.classes") && error.contains("`ten`"), "{error}");
}

#[test]
fn an_assumed_preprocessing_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("w.safetensors");
    let path = file.display().to_string();
    let predict = ["predict", "resnet20_cifar", "--weights", &path, PICTURE];
    let entry = zoo::find("resnet20_cifar").unwrap();
    weights(&file, "resnet20_cifar", None, &[]);
    let (_, warning) = expect(0, &predict);
    assert!(warning.contains("does not say how pictures are prepared"), "{warning}");
    let (_, nothing) = expect(0, &[&predict[..], &["--quiet"]].concat());
    assert_eq!(nothing, "");
    weights(&file, "resnet20_cifar", Some(&(entry.preparation)()), &[]);
    assert_eq!(expect(0, &predict).1, "");
}

#[test]
fn a_preprocessing_or_weights_beyond_f32_are_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("w.safetensors");
    let path = file.display().to_string();
    let entry = zoo::find("squeezenet1_1").unwrap();
    let input = InputSpec { scale: 1e35, ..(entry.preparation)() };
    weights(&file, "squeezenet1_1", Some(&input), &[]);
    let (_, error) = expect(1, &["predict", "squeezenet1_1", "--weights", &path, PICTURE]);
    assert!(error.contains("beyond f32"), "{error}");
}

#[test]
fn a_mistyped_file_gets_the_nearest() {
    let (_, error) = expect(1, &["predict", "data/photographs/chelse.png"]);
    assert!(error.contains("the nearest names are chelsea.png"), "{error}");
    let (_, error) = expect(1, &["predict", "squeezenet1_1", "--weights", "READMEmd", PICTURE]);
    assert!(root().join("README.md").exists() && error.contains("README.md"), "{error}");
    let (_, error) = expect(1, &["train", "lenet5", "mnsit"]);
    assert!(error.contains("the nearest name is mnist"), "{error}");
    let (_, error) = expect(1, &["predict", "nowhere/chelsea.png"]);
    assert!(error.contains("no directory nowhere"), "{error}");
}
