//! Networks that are files, through every verb.

mod common;

use std::fs;
use std::path::Path;

use common::{digit, expect, few_digits, json};
use striate::formats::{read_tensors, write_tensors};
use striate::tensor::{Tensor, max_difference};

/// A network of digits, with the softmax and the accuracy that definitions of training have.
const DIGITS: &str = r#"
    name: "digits"
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 28 dim: 28 } } }
    layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
            convolution_param { num_output: 4 kernel_size: 5 stride: 2 } }
    layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
    layer { name: "drop1" type: "Dropout" bottom: "conv1" top: "conv1" }
    layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
            pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
    layer { name: "ip" type: "InnerProduct" bottom: "pool1" top: "ip"
            inner_product_param { num_output: 10 } }
    layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"#;

/// A folder with the definition, and the same network trained for a moment in every form.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("data")).unwrap();
        few_digits(&directory.path().join("data"), 256, 64);
        fs::write(directory.path().join("digits.prototxt"), DIGITS).unwrap();
        Files { directory }
    }

    /// With weights: `run`, a run of training, and files in all formats made of it.
    fn trained() -> Files {
        let files = Files::new();
        let (net, data, run) = (files.at("digits.prototxt"), files.at("data"), files.at("run"));
        let (out, warning) =
            expect(0, &["train", &net, &data, "--epochs", "2", "--output", &run, "--json"]);
        assert_eq!(json(&out)["epoch"], 2);
        for said in ["`prob` (Softmax) is left out", "does not say how pictures are prepared"] {
            assert!(warning.contains(said), "{warning}");
        }
        let best = files.at("run/best");
        for to in ["net.safetensors", "net.pth", "net.onnx", "net.caffemodel", "net.weights.h5"] {
            let (out, _) = expect(0, &["convert", &best, &files.at(to), "--verify", "--json"]);
            let report = json(&out);
            assert_eq!(report["model"], "digits", "{to}");
            assert_eq!(report["verified"]["changed"], 0, "{to}: {report}");
            assert_eq!(report["tensors"].as_array().unwrap().len(), 4);
        }
        files
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// How each form of the network is named, with what is needed beside it.
    fn forms(&self) -> Vec<Vec<String>> {
        let weights = |net: &str, weights: &str| {
            vec![self.at(net), String::from("--weights"), self.at(weights)]
        };
        vec![
            vec![self.at("net.onnx")],
            vec![self.at("net.caffemodel")],
            vec![self.at("net.safetensors")],
            vec![self.at("net.pth")],
            vec![self.at("run/best")],
            weights("digits.prototxt", "net.caffemodel"),
            weights("digits.prototxt", "net.pth"),
            weights("digits.prototxt", "net.weights.h5"),
            weights("digits.prototxt", "run/last"),
            weights("net.onnx", "run/best"),
        ]
    }
}

fn verb<'a>(verb: &'a str, form: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let form = form.iter().map(String::as_str);
    [verb].into_iter().chain(form).chain(more.iter().copied()).collect()
}

#[test]
fn a_network_with_weights_is_run_in_every_form() {
    let files = Files::trained();
    let (input, output) = (files.at("x.safetensors"), files.at("y.safetensors"));
    let values = (0..3 * 28 * 28).map(|i| (i % 17) as f32 / 8.0).collect();
    let images = Tensor::new(&[3, 1, 28, 28], values).unwrap();
    write_tensors(input.as_ref(), &[("x", images.view())]).unwrap();
    let (picture, _) = digit(files.directory.path(), 3);
    let picture = picture.display().to_string();
    let mut answers: Vec<(Tensor, serde_json::Value, serde_json::Value)> = Vec::new();
    for form in files.forms() {
        let more = ["--input", &input, "--output", &output, "--keep", "conv1", "--json"];
        let (out, _) = expect(0, &verb("run", &form, &more));
        assert_eq!(json(&out)["outputs"]["logits"], serde_json::json!([3, 10]), "{form:?}");
        assert_eq!(json(&out)["outputs"]["conv1"], serde_json::json!([3, 4, 12, 12]));
        let logits = read_tensors(output.as_ref()).unwrap();
        let (_, logits) = logits.into_iter().find(|(name, _)| name == "logits").unwrap();

        let more = [picture.as_str(), "--json"];
        let told = json(&expect(0, &verb("predict", &form, &more)).0)[0].clone();
        let name = if form[0].contains("net.") && form[0].ends_with("x") { "net" } else { "" };
        assert!(told["model"].as_str().unwrap().starts_with(name), "{form:?}: {told}");
        let data = files.at("data");
        let found = json(&expect(0, &verb("val", &form, &[&data, "--json"])).0);
        let right = serde_json::json!([found["images"], found["top1"]]);
        answers.push((logits, told["top"][0]["class"].clone(), right));

        let more = ["--seconds", "0", "--json"];
        let (out, _) = expect(0, &verb("bench", &form, &more));
        assert!(json(&out)["median_ms"].as_f64().unwrap() > 0.0);
        let net = &form[..1];
        let (out, _) = expect(0, &verb("show", net, &["--json"]));
        let table = json(&out);
        assert_eq!(table["totals"]["params"], 104 + 1450, "{form:?}");
        assert_eq!(
            (&table["edition"], &table["paper"]),
            (&"file".into(), &serde_json::Value::Null)
        );
        let (out, _) = expect(0, &verb("code", net, &["--to", "keras"]));
        assert!(out.contains("from keras import"), "{out}");
        let (out, _) = expect(0, &verb("inspect", net, &["--json"]));
        assert_eq!(json(&out)["input"], serde_json::json!([1, 28, 28]), "{form:?}");
        assert!(json(&out)["layers"].as_array().unwrap().len() >= 4);
    }
    let (first, class, right) = &answers[0];
    for ((logits, other, score), form) in answers.iter().zip(files.forms()) {
        assert!(max_difference(logits.data(), first.data()) < 1e-5, "{form:?}");
        // Caffe and Keras have no room for how pictures are prepared; here it is as usual.
        assert_eq!((other, score), (class, right), "{form:?}");
    }
}

#[test]
fn a_run_of_a_file_is_gone_on_with() {
    let files = Files::new();
    let (net, data) = (files.at("digits.prototxt"), files.at("data"));
    let train = |epochs: &str, run: &str| {
        let (out, _) =
            expect(0, &["train", &net, &data, "--epochs", epochs, "--output", run, "--json"]);
        json(&out)["weights_sha256"].clone()
    };
    let run = files.at("run");
    let whole = train("2", &run);
    // As if it had been stopped after its first epoch: the definition is not needed any more.
    let stopped = files.at("stopped");
    let mut child = common::striate()
        .args(["train", &net, &data, "--epochs", "2", "--output", &stopped])
        .args(["--checkpoint-every", "1"])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !Path::new(&stopped).join("last/state.json").exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(&net).unwrap();
    let (_, error) = expect(2, &["train", "lenet5", "--resume", &stopped]);
    assert!(error.contains("a run of digits.prototxt, not of lenet5"), "{error}");
    let (out, _) = expect(0, &["train", &net, "--resume", &stopped, "--json"]);
    assert_eq!(json(&out)["weights_sha256"], whole);

    // Weights that say they are of a file are of no network of the registry.
    let (_, error) = expect(1, &["val", "lenet1", &data, "--weights", &files.at("run/best")]);
    assert!(error.contains("digits") || error.contains("do not fit"), "{error}");
    // From the file's own weights on.
    let (_, log) = expect(
        0,
        &["train", &files.at("run/best"), &data, "--epochs", "1", "--output", &files.at("more")],
    );
    assert!(!log.contains("does not say how pictures are prepared"), "{log}");
}

#[test]
fn a_run_that_has_stopped_does_not_name_another_network() {
    let files = Files::trained();
    let lenet = files.at("lenet5.prototxt");
    fs::copy(files.at("digits.prototxt"), &lenet).unwrap();
    let (data, run) = (files.at("data"), files.at("lenet"));
    expect(0, &["train", &lenet, &data, "--epochs", "1", "--output", &run]);
    // The stem is the name of another network, the mark of the weights is not.
    let best = files.at("lenet/best");
    let (out, _) = expect(0, &["convert", &best, &files.at("x.pth"), "--json"]);
    assert_eq!(json(&out)["model"], "lenet5");
    let (out, _) = expect(0, &["inspect", &files.at("x.pth"), "--json"]);
    assert_eq!(json(&out)["metadata"]["striate.model"], "lenet5.prototxt");
}

#[test]
fn networks_are_compared_and_written_as_code() {
    let files = Files::trained();
    let (net, onnx) = (files.at("digits.prototxt"), files.at("net.onnx"));
    // ONNX has no layer for what does nothing outside training.
    let (out, _) = expect(3, &["diff", &net, &onnx]);
    assert!(out.contains("drop1"), "{out}");
    expect(0, &["diff", &net, &files.at("net.safetensors")]);
    let (out, _) = expect(3, &["diff", &net, "lenet5", "--json"]);
    assert_eq!(
        (&json(&out)["a"], &json(&out)["totals"]["params"]["a"]),
        (&"digits".into(), &1554.into())
    );
    let (out, _) = expect(0, &["code", &net, "--to", "pytorch"]);
    assert!(out.contains("class Digits(nn.Module)") && out.contains("self.conv1"), "{out}");
    for (flag, value) in [("--classes", "7"), ("--heads", "")] {
        let arguments = ["show", &net, flag, value];
        let arguments = if value.is_empty() { &arguments[..3] } else { &arguments[..] };
        let (_, error) = expect(2, arguments);
        assert!(error.contains("digits.prototxt") && error.contains(flag), "{error}");
    }
    let (out, _) = expect(0, &["show", &net, "--input", "1x32x32", "--classes", "10", "--json"]);
    assert_eq!(json(&out)["input"], serde_json::json!([1, 32, 32]));
    let (out, _) = expect(0, &["bench", &net, "--mode", "train", "--seconds", "0", "--json"]);
    assert_eq!(json(&out)["model"], "digits");
    let (out, _) = expect(0, &["bench", &net, "--seconds", "0"]);
    assert!(out.contains("digits: infer"), "{out}");
}

#[test]
fn what_is_no_network_is_said() {
    let files = Files::trained();
    let (picture, _) = digit(files.directory.path(), 0);
    let picture = picture.display().to_string();
    fs::write(files.at("empty.onnx"), "").unwrap();
    fs::write(files.at("text.onnx"), "no model at all").unwrap();
    fs::write(files.at("bad.prototxt"), "layer { name: \"x\" type: \"Warp\" bottom: \"x\" }")
        .unwrap();
    fs::create_dir(files.at("folder")).unwrap();
    let squeezenet = "crates/striate/assets/squeezenet1_1.safetensors";
    let cases: [(&[&str], i32, &[&str]); 12] = [
        (&["show", &files.at("empty.onnx")], 1, &["an empty file", ".prototxt"]),
        (&["show", &files.at("text.onnx")], 1, &["text.onnx", "found"]),
        (&["show", &files.at("bad.prototxt")], 1, &["bad.prototxt", "no size of what is fed"]),
        (&["show", &files.at("folder")], 1, &["a directory", "checkpoint"]),
        (&["show", &files.at("digts.prototxt")], 1, &["digits.prototxt"]),
        (&["show", "squeezenet1.1"], 2, &["squeezenet1_1"]),
        (
            &["show", squeezenet],
            1,
            &["do not say of which network", "squeezenet1_1 --weights crates/striate/assets"],
        ),
        (&["show", &files.at("net.weights.h5")], 1, &["weights (keras)", "fit none of these"]),
        (&["predict", &files.at("digits.prototxt"), &picture], 1, &["without trained weights"]),
        (&["val", &files.at("net.onnx")], 2, &["name a folder"]),
        (
            &["val", &files.at("net.onnx"), &files.at("data"), "--weights", squeezenet],
            1,
            &["do not fit", "missing: ip.weight"],
        ),
        (
            &["run", &files.at("net.onnx"), "--input", squeezenet, "--output", &files.at("y")],
            1,
            &["52"],
        ),
    ];
    for (arguments, code, expected) in cases {
        let (_, error) = expect(code, arguments);
        for expected in expected {
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }
}
