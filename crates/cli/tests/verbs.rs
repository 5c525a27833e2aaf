//! The verbs as a user types them.

mod common;

use common::{expect, json};

#[test]
fn photographs_are_told() {
    // As PyTorch gives them with these weights.
    let expected = [
        (
            "data/photographs/chelsea.png",
            &[("Egyptian cat", 0.393), ("tiger cat", 0.342), ("tabby", 0.251), ("lynx", 0.005)][..],
        ),
        ("data/photographs/coffee.png", &[("espresso", 0.965), ("consomme", 0.032)]),
        (
            "data/photographs/rocket.jpg",
            &[("pole", 0.217), ("crane", 0.098), ("missile", 0.097), ("beacon", 0.092)],
        ),
    ];
    let images: Vec<&str> = expected.iter().map(|(image, _)| *image).collect();
    let (out, _) = expect(0, &[&["predict", "--json"], &images[..]].concat());
    let predictions = json(&out);
    for ((image, classes), prediction) in expected.iter().zip(predictions.as_array().unwrap()) {
        assert_eq!(prediction["image"], *image);
        assert_eq!(prediction["model"], "squeezenet1_1");
        for ((label, probability), found) in
            classes.iter().zip(prediction["top"].as_array().unwrap())
        {
            assert!(found["label"].as_str().unwrap().starts_with(label), "{image}: {found}");
            let error = (found["probability"].as_f64().unwrap() - probability).abs();
            assert!(error < 0.006, "{image}: {found}, expected {probability}");
        }
    }
    assert_eq!(predictions[0]["top"][0]["synset"], "n02124075");
    let (text, _) = expect(0, &["predict", "--topk", "2", images[0]]);
    assert!(text.contains("Egyptian cat") && text.lines().count() == 3, "{text}");
}

#[test]
fn networks_are_listed_by_pattern() {
    let (all, _) = expect(0, &["list", "--json"]);
    assert!(json(&all).as_array().unwrap().len() >= 57);
    let (out, _) = expect(0, &["list", "resnet5*", "--json"]);
    let rows = json(&out);
    let names: Vec<&str> =
        rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    let expected = [
        "resnet50",
        "resnet50_v1",
        "resnet50_keras",
        "resnet50_caffe",
        "resnet56_cifar",
        "resnet56_cifar_b",
        "resnet50v2_keras",
    ];
    assert_eq!(names, expected);
    assert_eq!(rows[1]["edition"], "paper");
    assert_eq!(rows[0]["macs"], 4_089_184_256u64);
    let (text, _) = expect(0, &["list", "lenet*"]);
    assert!(text.contains("61,706") && text.contains("60,000"), "{text}");
    let (_, error) = expect(2, &["list", "nothing*"]);
    assert!(error.contains("no network fits"), "{error}");
}

#[test]
fn tables_have_the_right_figures() {
    let (vgg, _) = expect(0, &["show", "vgg16", "--style", "cs231n"]);
    for figure in ["138,357,544", "15,237,608", "7*7*512*4096"] {
        assert!(vgg.contains(figure), "{figure}\n{vgg}");
    }
    assert!(!vgg.contains("24M"));
    let (lenet, _) = expect(0, &["show", "lenet5", "--style", "lenet", "--format", "markdown"]);
    for figure in ["122,304", "241,600", "48,120", "61,706"] {
        assert!(lenet.contains(figure), "{figure}\n{lenet}");
    }
    assert!(!lenet.contains("326,144") && !lenet.contains("326144"));
    let (document, _) = expect(0, &["show", "vgg16", "--json"]);
    let document = json(&document);
    assert_eq!(document["totals"]["activations"], 15_087_080);
    assert_eq!(document["layers"][0]["connections"], 89_915_392);
    assert_eq!(document["layers"][0]["weights"], "features.0");
    assert!(document["totals"]["planned_peak_bytes"].as_u64().unwrap() > 0);
    let (other, _) =
        expect(0, &["show", "resnet50", "--classes", "7", "--input", "3x64x96", "--json"]);
    assert_eq!(json(&other)["classes"], 7);
    for style in ["layers", "lenet", "cs231n"] {
        for format in ["text", "markdown", "csv", "latex", "json"] {
            for model in ["lenet5_1998", "googlenet", "inception_resnet_v2", "preresnet110_cifar"] {
                let (out, _) = expect(0, &["show", model, "--style", style, "--format", format]);
                assert!(out.len() > 200, "{model} {style} {format}");
            }
        }
    }
}

#[test]
fn differences_are_found() {
    let (out, _) = expect(3, &["diff", "resnet50", "resnet50_v1"]);
    assert!(out.contains("layer2.0.conv1") && out.contains("stride"), "{out}");
    let (out, _) = expect(3, &["diff", "resnet50", "resnet50_v1", "--json"]);
    assert_eq!(json(&out)["equal"], false);
    expect(0, &["diff", "vgg16", "vgg16"]);
}

#[test]
fn raw_tensors_go_in_and_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let input = path("x.safetensors");
    let values = (0..3 * 3 * 224 * 224).map(|i| ((i % 255) as f32) - 128.0).collect();
    let images = striate::tensor::Tensor::new(&[3, 3, 224, 224], values).unwrap();
    striate::formats::write_tensors(input.as_ref(), &[("anything", images.view())]).unwrap();
    for (backend, output) in
        [("native", path("y.safetensors")), ("interpreter", path("z.safetensors"))]
    {
        let arguments = ["run", "squeezenet1_1", "--input", &input, "--output", &output];
        let more = ["--keep", "fire9.concat,conv1", "--backend", backend, "--json"];
        let (out, _) = expect(0, &[&arguments[..], &more[..]].concat());
        assert_eq!(json(&out)["outputs"]["logits"], serde_json::json!([3, 1000]));
        assert_eq!(json(&out)["outputs"]["conv1"], serde_json::json!([3, 64, 111, 111]));
    }
    let read = |name: &str| striate::formats::read_tensors(path(name).as_ref()).unwrap();
    for ((name, a), (other, b)) in read("y.safetensors").iter().zip(&read("z.safetensors")) {
        assert_eq!((name, a.shape()), (other, b.shape()));
        let scale = striate::tensor::max_abs(b.data());
        let error = striate::tensor::max_difference(a.data(), b.data()) / scale;
        assert!(error < 1e-4, "{name}: {error}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child =
        common::striate().arg("list").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn help_has_an_example_for_each_verb() {
    for verb in ["list", "show", "diff", "predict", "run", "train", "val"] {
        let (out, _) = expect(0, &[verb, "--help"]);
        assert!(out.contains(&format!("striate {verb}")) && out.contains("Example"), "{out}");
    }
    expect(2, &[]);
    expect(2, &["nonsense"]);
}
