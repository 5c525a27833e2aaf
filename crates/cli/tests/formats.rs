//! Weights from format to format, what is in a file, and a network as code.

mod common;

use std::collections::BTreeMap;

use common::{expect, json, root};

const SQUEEZENET: &str = "crates/striate/assets/squeezenet1_1.safetensors";

#[test]
fn weights_go_through_every_format_and_back_to_the_bit() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let mut from = SQUEEZENET.to_owned();
    for to in ["a.pth", "b.weights.h5", "c.safetensors", "d.caffemodel", "e.weights.h5", "f.pth"] {
        let (out, _) = expect(0, &["convert", &from, &path(to), "--json"]);
        let report = json(&out);
        assert_eq!(report["model"], "squeezenet1_1", "{to}");
        assert_eq!(report["tensors"].as_array().unwrap().len(), 52, "{to}");
        from = path(to);
    }
    let digest = |file: &str| {
        let params =
            striate::Model::open("squeezenet1_1", Some(&root().join(file))).unwrap().params;
        let params = striate::graph::Params::read(&*params).unwrap();
        striate::formats::weights_sha256(&params)
    };
    assert_eq!(digest(&from), digest(SQUEEZENET));
    // The pictures are told as before: their preparation came along, but Caffe has no room for it.
    let photograph = "data/photographs/chelsea.png";
    let told = |weights: &str| {
        let arguments = ["predict", "squeezenet1_1", "--weights", weights, photograph, "--json"];
        json(&expect(0, &arguments).0)[0]["top"].clone()
    };
    assert_eq!(told(&path("c.safetensors")), told(SQUEEZENET));
}

#[test]
fn what_is_written_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("half.safetensors").display().to_string();
    let (out, _) = expect(0, &["convert", SQUEEZENET, &to, "--dtype", "f16", "--verify", "--json"]);
    let verified = &json(&out)["verified"];
    assert!(verified["changed"].as_u64().unwrap() > 40, "{verified}");
    let layers = verified["layers"].as_array().unwrap();
    let errors = layers.iter().map(|layer| layer["error"].as_f64().unwrap());
    let worst = errors.fold(0.0, f64::max);
    assert!(worst > 1e-5 && worst < 1e-2, "{worst}");
    let model = directory.path().join("model.onnx").display().to_string();
    // ONNX is a file of weights as any other, too.
    for [from, to] in [[SQUEEZENET, &to], [SQUEEZENET, &model], [&model, &to]] {
        let (text, _) = expect(0, &["convert", from, to, "--model", "squeezenet1_1", "--verify"]);
        assert!(text.contains("all parameters are the same to the bit"), "{text}");
    }
}

#[test]
fn what_cannot_be_converted_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["README.md", &path("x.pth")], 1, "a file of no format that is known"),
        (&[SQUEEZENET, &path("x.bin")], 1, "found a name that tells no format, expected one that"),
        (&[SQUEEZENET, &path("x.keras")], 1, "written as .weights.h5 alone"),
        (&[SQUEEZENET, &path("x.onnx"), "--dtype", "f16"], 1, "F16 is for safetensors and .pth"),
        (&[SQUEEZENET, &path("x.pth"), "--model", "squeezenet1_2"], 2, "no network"),
        (&[SQUEEZENET, &path("x.pth"), "--model", "squeezenet1_0"], 1, "squeezenet1_1"),
        (&[SQUEEZENET, &path("x.prototxt")], 1, "beside its .caffemodel"),
        (&[SQUEEZENET, &path("x.h5")], 1, "model.save()"),
        (&[&path("missing.pth"), &path("x.pth")], 1, "no such file"),
    ];
    for (arguments, code, expected) in cases {
        let (_, error) = expect(code, &[&["convert"], arguments].concat());
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_report_is_filed_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (keras, report) = (path("w.weights.h5"), path("report.json"));
    expect(0, &["convert", SQUEEZENET, &keras]);
    let pth = path("w.pth");
    let (out, warning) =
        expect(0, &["convert", &keras, &pth, "--verify", "--report", &report, "--json"]);
    let filed = json(&std::fs::read_to_string(&report).unwrap());
    assert_eq!(filed, json(&out));
    let first = &filed["tensors"][0];
    assert_eq!((&first["param"], &first["turned"]), (&"conv1.weight".into(), &true.into()));
    // Height × width × in × out, read as out × in × height × width.
    assert_eq!(first["steps"], serde_json::json!([[64, 1], [3, 64], [3, 576], [3, 192]]));
    assert_eq!(filed["verified"]["changed"], 0);
    assert_eq!(filed["preparation"]["crop"], serde_json::json!([224, 224]));
    assert!(!warning.contains("does not say"), "{warning}");

    // What is there stays when something is in the way, and is written over when nothing is.
    let before = std::fs::read(&pth).unwrap();
    expect(1, &["convert", SQUEEZENET, &pth, "--model", "squeezenet1_0"]);
    assert_eq!(std::fs::read(&pth).unwrap(), before);
    expect(0, &["convert", SQUEEZENET, &pth, "--dtype", "f16"]);
    assert!(std::fs::read(&pth).unwrap().len() < before.len());
    let (_, error) = expect(1, &["convert", &pth, &pth]);
    assert!(error.contains("would be written over"), "{error}");
    // The definition of what is read is not written over either.
    expect(0, &["convert", SQUEEZENET, &path("a.caffemodel")]);
    let definition = path("a.prototxt");
    std::fs::copy(path("a.caffemodel"), path("b.caffemodel")).unwrap();
    let arguments =
        ["convert", &path("b.caffemodel"), &path("a.caffemodel"), "--model", &definition];
    let (_, error) = expect(1, &arguments);
    assert!(error.contains("a.prototxt") && error.contains("written over"), "{error}");
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 6, "no half of a file");
}

#[test]
fn a_file_that_says_its_network_is_taken_at_its_word() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let caffe = path("net.caffemodel");
    expect(0, &["convert", SQUEEZENET, &caffe]);
    let (out, warning) = expect(0, &["convert", &caffe, &path("a.onnx"), "--verify", "--json"]);
    assert_eq!(json(&out)["model"], "squeezenet1_1");
    assert!(warning.contains("taken for squeezenet1_1, which computes the same"), "{warning}");
    assert_eq!(json(&out)["verified"]["changed"], 0);
    // Another network with the same shapes: the stride is elsewhere.
    let definition = std::fs::read_to_string(path("net.prototxt")).unwrap();
    let other = definition.replacen("stride: 2", "stride: 3", 1);
    assert_ne!(other, definition);
    std::fs::write(path("net.prototxt"), other).unwrap();
    let (out, _) = expect(0, &["convert", &caffe, &path("b.onnx"), "--verify", "--json"]);
    assert_eq!(json(&out)["model"], "net");
    let layers = json(&out)["verified"]["layers"].as_array().unwrap().len();
    assert!(layers > 60, "{layers}");
    expect(0, &["convert", SQUEEZENET, &path("a.caffemodel")]);
    let (out, _) = expect(0, &["inspect", &path("a.prototxt"), "--json"]);
    assert_eq!(json(&out)["fits"], serde_json::json!(["squeezenet1_1"]));
    let (out, _) = expect(0, &["inspect", &path("net.prototxt"), "--json"]);
    assert_eq!(json(&out)["fits"], serde_json::json!([]));
}

#[test]
fn a_file_is_told_without_being_trusted() {
    let (out, _) = expect(0, &["inspect", SQUEEZENET, "--json"]);
    let found = json(&out);
    assert_eq!(found["format"], "safetensors");
    assert_eq!(found["params"], 1_235_496);
    assert_eq!(found["fits"], serde_json::json!(["squeezenet1_1"]));
    assert_eq!(found["tensors"].as_array().unwrap().len(), 52);
    // The digest of a tensor is of its values, not of the file.
    let directory = tempfile::tempdir().unwrap();
    let pth = directory.path().join("squeezenet1_1.pth").display().to_string();
    expect(0, &["convert", SQUEEZENET, &pth]);
    let (out, _) = expect(0, &["inspect", &pth, "--json"]);
    let digests = |found: &serde_json::Value| -> BTreeMap<String, String> {
        let tensors = found["tensors"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        tensors.map(|tensor| (text(&tensor["name"]), text(&tensor["sha256"]))).collect()
    };
    assert_eq!(digests(&json(&out)), digests(&found));
    assert_ne!(json(&out)["sha256"], found["sha256"]);
    // Values that are more than may be in memory are told of, but not looked at.
    let (out, _) = expect(0, &["inspect", SQUEEZENET, "--json", "--max-memory", "1MB"]);
    assert_eq!(json(&out)["params"], 1_235_496);
    assert!(json(&out)["tensors"][0]["sha256"].is_null(), "{out}");
    assert!(json(&out)["warnings"][0].as_str().unwrap().contains("--max-memory"), "{out}");
    let (text, _) = expect(0, &["inspect", SQUEEZENET]);
    assert!(text.contains("fits squeezenet1_1 (1000 classes)"), "{text}");
    // A pickle that would run a command is named and refused.
    let path = directory.path().join("evil.pth");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let stored = zip::CompressionMethod::Stored;
    let options = zip::write::SimpleFileOptions::default().compression_method(stored);
    zip.start_file("archive/data.pkl", options).unwrap();
    std::io::Write::write_all(&mut zip, b"cposix\nsystem\n(X\x04\0\0\0truetR.").unwrap();
    zip.finish().unwrap();
    let evil = path.display().to_string();
    let (out, _) = expect(0, &["inspect", &evil, "--json"]);
    assert!(json(&out)["warnings"][0].as_str().unwrap().contains("posix.system"), "{out}");
    assert_eq!(json(&out)["tensors"].as_array().unwrap().len(), 0);
    let (_, error) =
        expect(1, &["predict", "vgg16", "--weights", &evil, "data/photographs/chelsea.png"]);
    assert!(error.contains("posix.system"), "{error}");
    let (_, error) = expect(1, &["inspect", "README.md"]);
    assert!(error.contains("README.md"), "{error}");
}

#[test]
fn code_is_printed_or_written() {
    let (pytorch, _) = expect(0, &["code", "lenet5", "--to", "pytorch", "--classes", "7"]);
    assert!(pytorch.contains("def build(classes=7):"), "{pytorch}");
    assert!(pytorch.contains("Gradient-Based Learning"), "the paper is cited: {pytorch}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lenet5.py");
    let (printed, _) =
        expect(0, &["code", "lenet5", "--to", "keras", "-o", &path.display().to_string()]);
    assert!(printed.is_empty());
    let keras = std::fs::read_to_string(&path).unwrap();
    assert!(keras.contains("from keras import"), "{keras}");
    let (burn, _) = expect(0, &["code", "resnet18", "--to", "burn"]);
    assert!(burn.contains("pub struct ResNet18 {"), "{burn}");
    let (_, error) = expect(2, &["code", "lenet5", "--to", "theano"]);
    assert!(error.contains("pytorch"), "{error}");
    expect(1, &["code", "lenet5", "--to", "keras", "-o", "/no/such/folder/x.py"]);
}
