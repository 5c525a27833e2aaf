//! Bad input gets a clear error and nothing is lost.

mod common;

use common::{digit, expect, few_digits, root};
use std::fs;
use std::path::Path;

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
    let (_, error) = expect(1, &["train", "lenet5", &path("lenght"), "--output", &output]);
    assert!(error.contains("the nearest name is length"), "{error}");
    let (_, error) = expect(1, &["train", "--resume", &path("lenght")]);
    assert!(error.contains("the nearest name is length"), "{error}");
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
    for (flag, nonsense, expected) in [
        ("--lr", &["-1", "0", "nan", "inf"][..], "a finite number above 0"),
        ("--weight-decay", &["-1", "nan", "inf"], "a finite number from 0"),
        ("--momentum", &["-1", "1", "nan", "inf"], "a number from 0 to below 1"),
        ("--warmup-epochs", &["-1", "nan", "inf"], "a finite number from 0"),
        ("--warmup-epochs", &["11"], "no more than the 10 of the run"),
        ("--label-smoothing", &["-1", "1", "nan"], "a number from 0 to below 1"),
        ("--classes", &["0", "5"], "at least the 10 of"),
    ] {
        for value in nonsense {
            let (_, error) = expect(2, &["train", "lenet5", flag, value, "--output", &path]);
            let found = format!("found {}", value.replace("nan", "NaN"));
            assert!(error.contains(&found) && error.contains(expected), "{flag} {value}: {error}");
        }
    }
    for flag in ["--epochs", "--batch-size", "--checkpoint-every"] {
        for value in ["-1", "0", "many"] {
            let (_, error) = expect(2, &["train", "lenet5", flag, value, "--output", &path]);
            assert!(error.contains(flag) && error.contains(value), "{error}");
        }
    }
    assert!(!output.exists());
    let (_, error) = expect(2, &["train", "lenet5_1998", "--classes", "11", "--output", &path]);
    assert!(error.contains("at most 10 classes"), "{error}");
    expect(1, &["train", "--resume", "crates"]);
    expect(2, &["train", "lenet5", "--threads", "100000", "--output", &path]);
    expect(2, &["train", "lenet5", "--workers", "100000", "--output", &path]);
    expect(2, &["val", "lenet5", "--weights", &path, "--threads", "100000"]);
    expect(2, &["predict", "--threads", "100000", "data/photographs/chelsea.png"]);
    expect(1, &["train", "lenet5", "--batch-size", "4000000000", "--output", &path]);
    expect(1, &["train", "lenet5", "--batch-size", "10000000", "--output", &path]);
    expect(2, &["train", "lenet5", "--classes", "11", "--input", "3x1x1", "--output", &path]);
    assert!(!output.exists());
}

#[test]
fn a_folder_is_trained_on_and_tested_on_only_as_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (digit, _) = digit(directory.path(), 0);
    let picture = |name: &str| {
        let to = directory.path().join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&digit, to).unwrap();
    };
    for class in ["a", "b"] {
        for folder in ["flat", "alone/train", "other/train", "other/val"] {
            picture(&format!("{folder}/{class}/1.png"));
        }
    }
    picture("other/val/c/1.png");
    let short = ["--epochs", "1", "--batch-size", "2"];
    let train = |code, data: &str| {
        let (data, output) = (path(data), path("run"));
        let arguments = ["train", "lenet5", &data, "--output", &output];
        expect(code, &[&arguments[..], &short].concat()).1
    };
    let error = train(1, "flat");
    assert!(error.contains("expected `train` and `val`"), "{error}");
    let error = train(1, "other");
    assert!(error.contains(r#"["c"] in the test set alone"#), "{error}");
    assert!(!Path::new(&path("run")).exists());
    let warning = train(0, "alone");
    assert!(warning.contains("no `val` nor `test`: `best` is"), "{warning}");
    let best = path("run/best");
    // A batch of any size takes no more memory than there are pictures.
    let val = ["val", "lenet5", &path("flat"), "--weights", &best, "--batch-size", "4000000000"];
    let (out, _) = expect(0, &val);
    assert!(out.contains("on 2 pictures"), "{out}");
    for crops in ["10", "144"] {
        let (_, error) = expect(2, &[&val[..5], &["--crops", crops]].concat());
        assert!(error.contains("mirrored"), "{error}");
    }
    let (_, error) = expect(1, &["val", "lenet5", &path("flat"), "--weights", &path("run")]);
    assert!(error.contains(&best) && error.contains("model.safetensors"), "{error}");
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

#[test]
#[cfg(target_os = "linux")]
fn a_batch_that_memory_cannot_hold_is_an_error() {
    // As on a machine with four gigabytes.
    let limited = "ulimit -v 4000000; exec \"$0\" \"$@\"";
    for mode in ["infer", "train"] {
        let output = std::process::Command::new("sh")
            .args(["-c", limited, env!("CARGO_BIN_EXE_striate")])
            .args(["bench", "vgg16", "--batch", "65536", "--mode", mode])
            .output()
            .unwrap();
        let (_, error) = common::texts(&output);
        assert_eq!(output.status.code(), Some(1), "{mode}: {error}");
        assert!(error.starts_with("error: a batch of 65536 images takes more memory"), "{error}");
    }
}
