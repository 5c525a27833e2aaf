//! Bad input gets a clear error and nothing is lost.

mod common;

use common::{expect, few_digits, root};
use std::fs;

#[test]
fn an_unknown_network_gets_the_nearest_names() {
    for arguments in [
        &["show", "resnet5O"][..],
        &["diff", "vgg16", "vgg61"],
        &["train", "lenet"],
        &["predict", "squeezenet", "data/photographs/chelsea.png"],
    ] {
        let (_, error) = expect(2, arguments);
        assert!(
            error.starts_with("error: ") && error.contains("nearest"),
            "{arguments:?}: {error}"
        );
    }
}

#[test]
fn what_is_no_picture_is_said_to_be_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let photograph = fs::read(root().join("data/photographs/chelsea.png")).unwrap();
    fs::write(path("text.png"), "no picture").unwrap();
    fs::write(path("empty.png"), "").unwrap();
    fs::write(path("half.png"), &photograph[..photograph.len() / 2]).unwrap();
    // A PNG that claims 65,000 × 65,000 pixels.
    let mut huge = photograph.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0xfd, 0xe8, 0, 0, 0xfd, 0xe8]);
    fs::write(path("huge.png"), huge).unwrap();
    for name in ["text.png", "empty.png", "half.png", "huge.png", "absent.png", "."] {
        let (_, error) = expect(1, &["predict", &path(name)]);
        assert!(error.starts_with("error: ") && error.contains(name), "{name}: {error}");
    }
}

#[test]
fn weights_that_do_not_fit_are_all_named() {
    let asset = "crates/striate/assets/squeezenet1_1.safetensors";
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let picture = "data/photographs/chelsea.png";
    let (_, error) = expect(1, &["predict", "squeezenet1_0", "--weights", asset, picture]);
    for name in ["features.0.weight", "features.5", "features.6"] {
        assert!(error.contains(name), "{name}: {error}");
    }
    expect(1, &["predict", "vgg16", picture]);
    expect(1, &["predict", "vgg16", "--weights", &path("absent.safetensors"), picture]);
    expect(1, &["predict", "vgg16", "--weights", directory.path().to_str().unwrap(), picture]);
    let good = fs::read(root().join(asset)).unwrap();
    fs::write(path("half.safetensors"), &good[..good.len() / 2]).unwrap();
    expect(1, &["predict", "squeezenet1_1", "--weights", &path("half.safetensors"), picture]);
    // A NaN in the last value of the file.
    let mut sick = good;
    let end = sick.len();
    sick[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(path("nan.safetensors"), sick).unwrap();
    let (_, error) =
        expect(1, &["predict", "squeezenet1_1", "--weights", &path("nan.safetensors"), picture]);
    assert!(error.contains("NaN") && error.contains("features."), "{error}");
}

#[test]
fn data_that_is_none_is_said_to_be_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let output = path("run");
    for name in ["empty", "classes/a", "magic", "length"] {
        fs::create_dir_all(path(name)).unwrap();
    }
    few_digits(path("magic").as_ref(), 64, 64);
    few_digits(path("length").as_ref(), 64, 64);
    fs::write(path("magic/t10k-images-idx3-ubyte.gz"), b"\x00\x00\x08\x01rest").unwrap();
    fs::rename(path("length/t10k-labels-idx1-ubyte.gz"), path("length/train-labels-idx1-ubyte.gz"))
        .unwrap();
    for name in ["empty", "classes", "magic", "length", "absent"] {
        let (_, error) = expect(1, &["train", "lenet5", &path(name), "--output", &output]);
        assert!(error.starts_with("error: ") && error.contains(name), "{name}: {error}");
    }
    let (_, error) = expect(2, &["train", "resnet18"]);
    assert!(error.contains("imagenet"), "{error}");
}

#[test]
fn an_input_of_another_shape_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (input, output) = (path("x.safetensors"), path("y.safetensors"));
    for shape in [&[1, 3, 224, 223][..], &[1, 1, 224, 224], &[3, 224, 224], &[0, 3, 224, 224], &[4]]
    {
        let tensor = striate::tensor::Tensor::zeros(shape);
        striate::formats::write_tensors(input.as_ref(), &[("x", tensor.view())]).unwrap();
        let (_, error) =
            expect(1, &["run", "squeezenet1_1", "--input", &input, "--output", &output]);
        assert!(error.contains("expected") && error.contains("3×224×224"), "{error}");
        assert!(!std::path::Path::new(&output).exists());
    }
    let tensor = striate::tensor::Tensor::zeros(&[1, 3, 224, 224]);
    striate::formats::write_tensors(input.as_ref(), &[("x", tensor.view())]).unwrap();
    let (_, error) = expect(
        2,
        &["run", "squeezenet1_1", "--input", &input, "--output", &output, "--keep", "conv99"],
    );
    assert!(error.contains("conv99"), "{error}");
    expect(1, &["run", "squeezenet1_1", "--input", &input, "--output", "/nowhere/y.safetensors"]);
}

#[test]
fn arguments_without_meaning_are_usage() {
    for arguments in [
        &["show", "vgg16", "--input", "224"][..],
        &["show", "vgg16", "--batch", "0"],
        &["predict", "--topk", "0", "data/photographs/chelsea.png"],
        &["predict"],
        &["train", "lenet5", "--epochs", "0"],
        &["train", "lenet5", "--momentum", "0.9", "--opt", "adam"],
        &["train", "--resume", "runs/none", "--lr", "1"],
    ] {
        expect(2, arguments);
    }
    let (_, error) = expect(2, &["show", "vgg16", "--input", "3x16x16"]);
    assert!(error.contains("pool5"), "{error}");
    let output = tempfile::tempdir().unwrap().path().join("run");
    let path = output.display().to_string();
    let (_, error) = expect(1, &["train", "lenet5", "--lr=-1", "--output", &path]);
    assert!(error.contains("learning rate") && !output.exists(), "{error}");
    expect(1, &["train", "--resume", "crates"]);
    expect(1, &["train", "lenet5", "--threads", "100000", "--output", &path]);
    expect(2, &["predict", "--threads", "100000", "data/photographs/chelsea.png"]);
    expect(1, &["train", "lenet5", "--batch-size", "4000000000", "--output", &path]);
    expect(1, &["train", "lenet5", "--batch-size", "10000000", "--output", &path]);
    expect(1, &["train", "lenet5", "--classes", "11", "--input", "3x1x1", "--output", &path]);
}

#[test]
fn sizes_beyond_all_measure_are_refused() {
    let (_, error) = expect(2, &["show", "vgg16", "--input", "3x99999999999x99999999999"]);
    assert!(error.contains("elements"), "{error}");
    expect(2, &["show", "resnet50", "--classes", "99999999999"]);
    expect(2, &["show", "resnet50", "--classes", "0"]);
}

#[cfg(unix)]
#[test]
fn a_run_that_cannot_be_written_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    few_digits(directory.path(), 64, 64);
    let (_, error) = expect(1, &["train", "lenet5", &data, "--output", "/proc/striate"]);
    assert!(error.contains("/proc/striate"), "{error}");
}
