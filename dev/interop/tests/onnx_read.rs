//! Models that others wrote: what we read of them computes what ONNX Runtime makes of them, or what
//! the tests of the package `onnx` ask for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use interop::{error, python};
use serde_json::Value;
use striate_exec::{Backend, Interpreter, Native, Options};
use striate_formats::{Model, onnx, read_tensor, read_tensors};
use striate_graph::{Params, Shape};
use striate_tensor::Tensor;

/// Cases of `onnx` that are not run, and why: a case and its reason a line.
const SKIPPED: &str = include_str!("onnx_skipped.tsv");

fn model(folder: &Path) -> Result<Model, String> {
    let read = onnx::read(&folder.join("model.onnx"), &onnx::ReadOptions::default());
    read.map_err(|error| error.to_string())
}

/// What is fed, as the graph wants it.
fn fed(model: &Model, x: &Tensor) -> Tensor {
    let shape = model.graph.input();
    let batch = x.data().len() / shape.volume();
    let mut data = x.data().to_vec();
    if let (true, Shape::Map { c, h, w }) = (model.ports.as_ref().unwrap().channels_last, shape) {
        for (picture, from) in data.chunks_mut(c * h * w).zip(x.data().chunks(c * h * w)) {
            for (at, value) in picture.iter_mut().enumerate() {
                *value = from[at % (h * w) * c + at / (h * w)];
            }
        }
    }
    Tensor::new(&shape.batched(batch), data).unwrap()
}

/// What a backend makes of it, in the order of the file's outputs.
fn run(backend: &dyn Backend, model: &Model, x: &Tensor) -> Result<Vec<Tensor>, String> {
    let x = fed(model, x);
    let options = Options { batch: x.shape()[0], ..Options::default() };
    let params = Params::read(&model.params).map_err(|error| error.to_string())?;
    let network = backend.compile(&model.graph, &params, &options);
    let outputs = network.map_err(|error| error.to_string())?.run(&x);
    let outputs = outputs.map_err(|error| error.to_string())?;
    let heads = model.graph.outputs().iter();
    Ok(heads.map(|head| outputs.get(&head.name).unwrap().clone()).collect())
}

/// Whether a case of the package `onnx` passes, or why not.
fn passes(folder: &Path, case: &Value, backends: &[&dyn Backend]) -> Result<(), String> {
    let folder = folder.join(case["name"].as_str().unwrap());
    let [rtol, atol] = ["rtol", "atol"].map(|key| case[key].as_f64().unwrap());
    let model = model(&folder)?;
    let x = read_tensor(&folder.join("input.safetensors")).unwrap();
    let expected = read_tensor(&folder.join("expected.safetensors")).unwrap();
    let port = &model.ports.as_ref().unwrap().outputs[0];
    let extents: Vec<usize> = port.shape[1..].iter().copied().flatten().collect();
    if expected.shape().get(1..) != Some(&extents[..]) {
        return Err(format!("gives {:?}, expected {:?}", port.shape, expected.shape()));
    }
    for backend in backends {
        let found = run(*backend, &model, &x)?.swap_remove(0);
        for (found, expected) in found.data().iter().zip(expected.data()) {
            let apart = (f64::from(*found) - f64::from(*expected)).abs();
            let far = apart > atol + rtol * f64::from(expected.abs());
            if found != expected && (far || apart.is_nan()) {
                return Err(format!("{}: {found} instead of {expected}", backend.name()));
            }
        }
    }
    Ok(())
}

fn cases(folder: &Path, kind: &str) -> Vec<Value> {
    python("onnx_cases.py", &[folder, Path::new(kind)]);
    let listed = fs::read_to_string(folder.join("cases.json")).unwrap();
    serde_json::from_str(&listed).unwrap()
}

#[test]
fn light_models_of_onnx() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases(folder.path(), "light");
    let failed: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            Some((&case["name"], passes(folder.path(), case, &[&Native::default()]).err()?))
        })
        .collect();
    assert!(cases.len() == 9 && failed.is_empty(), "{} tried, {failed:#?}", cases.len());
}

/// Those that are skipped must fail: what passes is tested.
#[test]
fn node_tests_of_onnx() {
    let folder = tempfile::tempdir().unwrap();
    let skipped: BTreeMap<&str, &str> =
        SKIPPED.lines().filter_map(|l| l.split_once('\t')).collect();
    let mut passed = 0;
    let mut wrong = Vec::new();
    let cases = cases(folder.path(), "node");
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let result = passes(folder.path(), case, &[&Native::default(), &Interpreter]);
        match (result, skipped.get(name)) {
            (Ok(()), None) => passed += 1,
            (Err(_), Some(_)) => {}
            (Ok(()), Some(reason)) => {
                wrong.push(format!("{name} passes, but is skipped: {reason}"))
            }
            (Err(error), None) => wrong.push(format!("{name}\t{error}")),
        }
    }
    let names: Vec<&str> = cases.iter().filter_map(|case| case["name"].as_str()).collect();
    let gone = skipped.keys().filter(|name| !names.contains(name));
    wrong.extend(gone.map(|name| format!("{name} is skipped, but is no case")));
    println!("{passed} of {} pass", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A network by its name there and the exporter, within 1e-4 of ONNX Runtime's largest.
#[track_caller]
fn exported(name: &str, exporter: &str) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    python("onnx_export.py", &[folder, Path::new(name), Path::new(exporter)]);
    let model = model(folder).unwrap_or_else(|error| panic!("{name} by {exporter}: {error}"));
    let x = read_tensor(&folder.join("input.safetensors")).unwrap();
    let expected = read_tensors(&folder.join("output.safetensors")).unwrap();
    let found = run(&Native::default(), &model, &x).unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, port) in found.iter().zip(&model.ports.as_ref().unwrap().outputs) {
        let (_, expected) = expected.iter().find(|(name, _)| *name == port.name).unwrap();
        let apart = error(expected.data(), found.data());
        println!("{name} by {exporter}, {}: {apart:.1e}", port.name);
        assert!(apart <= 1e-4, "{name} by {exporter}: {apart:e}");
    }
    model
}

#[test]
fn networks_of_torchvision() {
    for name in ["alexnet", "squeezenet1_1", "resnet18"] {
        // Nothing is folded, so that all parameters are there.
        let model = exported(name, "script_plain");
        let entry = striate_zoo::find(name).unwrap();
        let usual = entry.build(&entry.config()).unwrap();
        assert_eq!(model.graph.total().params, usual.total().params, "{name}");
    }
    for name in ["googlenet", "resnext50_32x4d", "of_2012"] {
        exported(name, "script");
    }
}

#[test]
fn networks_of_the_newer_exporter() {
    for name in ["squeezenet1_1", "resnet18", "densenet121", "inception_v3", "of_2012"] {
        exported(name, "dynamo");
    }
}

#[test]
fn networks_of_timm() {
    for name in ["timm_resnet18d", "timm_inception_v4"] {
        exported(name, "script");
    }
}

/// Pictures are N×H×W×C there, in the file, too.
#[test]
fn networks_of_keras() {
    for name in ["ResNet50", "InceptionV3"] {
        assert!(exported(name, "keras").ports.unwrap().channels_last, "{name}");
    }
}
