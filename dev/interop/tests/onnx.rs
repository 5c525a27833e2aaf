//! What we write as ONNX is valid, and ONNX Runtime computes with it what we compute.

use conformance::{cases, compare};
use interop::{Script, error, params, small};
use striate_exec::{Backend, Native, Options};
use striate_formats::{onnx, read_tensors, write_tensors};
use striate_graph::Graph;
use striate_tensor::{Rng, View};

/// Demands the same of ONNX Runtime as of us, for every output.
fn check(script: &mut Script, graph: &Graph, batch: usize, options: &onnx::Options<'_>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rng = Rng::new(1);
    let params = params(graph, &rng);
    let x = compare::images(graph.input(), batch, &mut rng.fork("x"));
    onnx::write(&path("model.onnx"), graph, &params, options).unwrap();
    assert_eq!(path("model.onnx.data").exists(), options.external);
    let view = View { shape: x.shape(), data: x.data() };
    write_tensors(&path("input.safetensors"), &[("x", view)]).unwrap();
    let answer = script.ask(&folder.path().display().to_string());
    if answer != "ok" {
        return answer.chars().take(400).collect();
    }
    let ours = Options { batch, ..Options::default() };
    let ours = Native::default().compile(graph, &params, &ours).unwrap().run(&x).unwrap();
    let found = read_tensors(&path("output.safetensors")).unwrap();
    assert_eq!(found.len(), graph.outputs().len());
    for (name, found) in found {
        let expected = ours.get(&name).unwrap();
        assert_eq!(found.shape(), expected.shape(), "{name}");
        let apart = error(expected.data(), found.data());
        if apart > 1e-4 || apart.is_nan() {
            return format!("{name} is {apart:.1e} apart");
        }
    }
    answer
}

/// All that went wrong, by name.
#[track_caller]
fn all_ok(answers: Vec<(String, String)>) {
    let wrong: Vec<_> = answers.iter().filter(|(_, answer)| answer != "ok").collect();
    assert!(!answers.is_empty() && wrong.is_empty(), "{} tried, {wrong:#?}", answers.len());
}

#[test]
fn networks() {
    let wanted = std::env::var("NETWORKS").unwrap_or_else(|_| String::from("*"));
    let mut script = Script::start("onnx_run.py");
    let tried = striate_zoo::matching(&wanted).map(|entry| {
        let answer = check(&mut script, &small(entry), 1, &onnx::Options::default());
        println!("{}: {answer}", entry.name);
        (entry.name.to_owned(), answer)
    });
    all_ok(tried.collect());
}

#[test]
fn networks_in_every_way() {
    let mut script = Script::start("onnx_run.py");
    let mut answers = Vec::new();
    for name in ["lenet5_1998", "alexnet", "squeezenet1_0", "googlenet", "resnet18"] {
        let graph = small(striate_zoo::find(name).unwrap());
        for (opset, external) in [(13, false), (21, true)] {
            let options = onnx::Options { opset, external, ..onnx::Options::default() };
            let answer = check(&mut script, &graph, 3, &options);
            answers.push((format!("{name}, opset {opset}"), answer));
        }
    }
    all_ok(answers);
}

#[test]
fn operations_of_odd_sizes() {
    let mut script = Script::start("onnx_run.py");
    let mut answers = Vec::new();
    for case in cases::all() {
        for opset in [13, 17, 19, 23] {
            let options = onnx::Options { opset, ..onnx::Options::default() };
            let answer = check(&mut script, &case.graph(), case.batch, &options);
            answers.push((format!("{}, opset {opset}", case.name), answer));
        }
    }
    all_ok(answers);
}
