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
fn pictures_may_be_numbers_alone() {
    let (directory, [onnx, ..]) = files();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let numbers: Vec<f32> = (0..3 * 224 * 224).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
    let x = Tensor::new(&[1, 3, 224, 224], numbers.clone()).unwrap();
    write_tensors(path("x.safetensors").as_ref(), &[("x", x.view())]).unwrap();
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    fs::write(path("x.f32"), &bytes).unwrap();
    let output = path("y.safetensors");
    let of = |input: &str| {
        expect(0, &["run", &onnx, "--input", &path(input), "--output", &output]);
        read_tensors(output.as_ref()).unwrap().swap_remove(0).1
    };
    let logits = of("x.f32");
    assert_eq!(logits, of("x.safetensors"));
    // Three times the same picture.
    let pictures = path("x.f32");
    let timed = ["bench", &onnx, "--input", &pictures, "--batch", "3", "--seconds", "0"];
    let (timed, _) = expect(0, &timed);
    let first: Vec<String> = logits.data()[..5].iter().map(f32::to_string).collect();
    assert!(timed.contains(&format!("out0={}", first.join(","))), "{timed}");

    fs::write(path("short.f32"), &bytes[4..]).unwrap();
    fs::write(path("none.f32"), []).unwrap();
    for (input, found) in [
        ("short.f32", "found 602108 bytes, expected 602112 for each picture of 3×224×224"),
        ("none.f32", "found 0 bytes"),
        ("x.f23", "the nearest name is x.f32"),
    ] {
        let (_, error) = expect(1, &["bench", &onnx, "--input", &path(input)]);
        assert!(error.starts_with("error: ") && error.contains(found), "{error}");
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
