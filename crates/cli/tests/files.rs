//! A network may be a file wherever a network is asked for.

mod common;

use common::{expect, json, root};
use std::fs;
use striate::formats::{read_tensors, write_tensors};
use striate::tensor::Tensor;

const SQUEEZENET: &str = "crates/striate/assets/squeezenet1_1.safetensors";
const PHOTOGRAPH: &str = "data/photographs/chelsea.png";

/// SqueezeNet 1.1 as files that define it, in a folder.
fn files() -> (tempfile::TempDir, [String; 3]) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    for to in ["net.onnx", "net.caffemodel"] {
        expect(0, &["convert", SQUEEZENET, &path(to), "--model", "squeezenet1_1"]);
    }
    let files = ["net.onnx", "net.caffemodel", "net.prototxt"].map(path);
    (directory, files)
}

#[test]
fn every_verb_takes_a_file_for_a_network() {
    let (directory, files) = files();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let pixels = (0..2 * 3 * 224 * 224).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let x = Tensor::new(&[2, 3, 224, 224], pixels).unwrap();
    let (input, output) = (path("x.safetensors"), path("y.safetensors"));
    write_tensors(input.as_ref(), &[("x", x.view())]).unwrap();
    let run = |network: &str, more: &[&str]| {
        let arguments = ["run", network, "--input", &input, "--output", &output];
        expect(0, &[&arguments[..], more].concat());
        read_tensors(output.as_ref()).unwrap().swap_remove(0)
    };
    let (_, expected) = run("squeezenet1_1", &["--weights", SQUEEZENET]);
    // Where no window is cut, ONNX is told to round down.
    let (difference, _) = expect(3, &["diff", &files[0], "squeezenet1_1"]);
    assert!(difference.contains("ceil no | yes"), "{difference}");
    expect(0, &["diff", &files[1], &files[2]]);
    // Weights of elsewhere are taken where they fit, by the names of the network they are of.
    expect(0, &["predict", &files[0], "--weights", SQUEEZENET, PHOTOGRAPH]);
    for file in &files {
        let shown = json(&expect(0, &["show", file, "--json"]).0);
        assert_eq!((&shown["name"], &shown["paper"]), (&"net".into(), &serde_json::Value::Null));
        assert_eq!(shown["totals"]["params"], 1_235_496);
        let (code, _) = expect(0, &["code", file, "--to", "pytorch"]);
        assert!(code.contains("class Net(nn.Module)"), "{code}");
        let (timed, _) = expect(0, &["bench", file, "--seconds", "0"]);
        assert!(timed.contains("median_ms="), "{timed}");
        let told = json(&expect(0, &["predict", file, PHOTOGRAPH, "--json"]).0);
        assert_eq!(told[0]["top"][0]["label"], "Egyptian cat", "{file}");
        let (_, found) = run(file, &[]);
        assert_eq!(found.shape(), expected.shape(), "{file}");
        let apart = found.data().iter().zip(expected.data()).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-4, "{file}");
    }
}

#[test]
fn a_network_of_nobodys_is_converted_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let own = "crates/formats/tests/caffe/v2.caffemodel";
    for (from, to) in [
        (own.to_owned(), "own.onnx"),
        (path("own.onnx"), "own.safetensors"),
        (path("own.onnx"), "again.onnx"),
    ] {
        let (text, _) = expect(0, &["convert", &from, &path(to), "--verify"]);
        assert!(text.contains("the same to the bit"), "{to}: {text}");
    }
    let [a, b] =
        ["own.onnx", "again.onnx"].map(|name| json(&expect(0, &["show", &path(name), "--json"]).0));
    assert_eq!(a["layers"], b["layers"]);
}

#[test]
fn what_defines_no_network_is_said() {
    let (directory, [onnx, _, prototxt]) = files();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let bytes = fs::read(&onnx).unwrap();
    fs::write(path("half.onnx"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(path("empty.onnx"), "").unwrap();
    let lstm = "input: 'x' input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
                layer { name: 'y' type: 'LSTM' bottom: 'x' top: 'y' }";
    fs::write(path("wrong.prototxt"), lstm).unwrap();
    fs::rename(path("net.caffemodel"), path("elsewhere.caffemodel")).unwrap();
    let weights = root().join(SQUEEZENET).display().to_string();
    let other = root().join("crates/formats/tests/caffe/v2.caffemodel").display().to_string();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["show", &weights], 1, "defines no network"),
        (&["show", &path("nte.onnx")], 1, "nearest names are net.onnx"),
        (&["show", &path("half.onnx")], 1, "half.onnx"),
        (&["show", &path("empty.onnx")], 1, "empty.onnx"),
        (&["show", &path("wrong.prototxt")], 1, "LSTM"),
        (&["show", &onnx, "--classes", "7"], 2, "--classes"),
        (&["predict", &prototxt, PHOTOGRAPH], 1, "--weights"),
        (&["predict", &onnx, "--weights", &other, PHOTOGRAPH], 1, "do not fit"),
        (&["val", &onnx], 2, "name a folder"),
    ];
    for (arguments, code, part) in cases {
        let (_, error) = expect(code, arguments);
        assert!(error.starts_with("error: ") && error.contains(part), "{arguments:?}: {error}");
    }
}
