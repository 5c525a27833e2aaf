//! What we write as ONNX is valid, ONNX Runtime computes with it what we compute, and so do we when we
//! read it again.

use std::collections::BTreeMap;

use conformance::{cases, compare, random};
use interop::{Script, chosen, error, params, small};
use striate_exec::{Backend, Native, Options};
use striate_formats::{Dtype, onnx, read_tensors, save, write_tensors};
use striate_graph::op::{BatchNorm, Linear, Lrn};
use striate_graph::{Graph, Naming, Op, ParamSource, Part, Shape};
use striate_tensor::{Rng, View};

/// Demands the same of ONNX Runtime as of us, for every output.
fn check(script: &mut Script, graph: &Graph, batch: usize, options: &onnx::Options<'_>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rng = Rng::new(1);
    let params = params(graph, &rng);
    let x = compare::images(graph.input(), batch, &mut rng.fork("x"));
    onnx::write(&path("model.onnx"), graph, &params, options).unwrap();
    let (weights, nothing) = (path("weights.safetensors"), BTreeMap::new());
    save(&weights, graph, &params, &Naming::NODES, None, &nothing, Dtype::F32).unwrap();
    assert_eq!(path("model.onnx.data").exists(), options.external);
    let view = View { shape: x.shape(), data: x.data() };
    write_tensors(&path("input.safetensors"), &[("x", view)]).unwrap();
    let answer = script.ask(&folder.path().display().to_string());
    if answer != "ok" {
        return answer.chars().take(400).collect();
    }
    let ours = Options { batch, ..Options::default() };
    let run = |graph: &Graph, params: &dyn ParamSource| {
        Native::default().compile(graph, params, &ours).unwrap().run(&x).unwrap()
    };
    let again = match onnx::read(&path("model.onnx"), &onnx::ReadOptions::default()) {
        Ok(model) => run(&model.graph, &model.params),
        Err(error) => return format!("read again: {error}"),
    };
    let ours = run(graph, &params);
    let found = read_tensors(&path("output.safetensors")).unwrap();
    assert_eq!(found.len(), graph.outputs().len());
    for (name, found) in found {
        let expected = ours.get(&name).unwrap();
        assert_eq!(found.shape(), expected.shape(), "{name}");
        let apart = error(expected.data(), found.data());
        if apart > 1e-4 || apart.is_nan() {
            return format!("{name} is {apart:.1e} apart");
        }
        let apart = error(expected.data(), again.get(&name).unwrap().data());
        if apart > 1e-5 || apart.is_nan() {
            return format!("{name}, read again, is {apart:.1e} apart");
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
    let mut script = Script::start("onnx_run.py");
    let tried = chosen().into_iter().map(|entry| {
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

#[test]
fn networks_at_random() {
    let mut script = Script::start("onnx_run.py");
    let tried = (0..100).map(|seed| {
        let options = onnx::Options { opset: 13 + seed % 11, ..onnx::Options::default() };
        let graph = random::graph(seed as u64);
        (format!("seed {seed}"), check(&mut script, &graph, 2, &options))
    });
    all_ok(tried.collect());
}

#[test]
fn windows_that_reach_beyond_the_picture() {
    let mut script = Script::start("onnx_run.py");
    let mut answers = Vec::new();
    for (kernel, before, after) in
        [(2, 0, 0), (2, 1, 0), (2, 0, 1), (3, 1, 1), (3, 2, 1), (4, 0, 3)]
    {
        let graph = Graph::build(Shape::map(2, 7, 10), |x| {
            for stride in 1..6 {
                let pad = [before, after, after, before];
                x.max_pool(kernel, stride).pad(pad).output(format!("max {stride}"));
                x.max_pool(kernel, stride).pad(pad).ceil().output(format!("max {stride} ceil"));
                let mean = || x.avg_pool(kernel, stride).pad(pad);
                mean().output(format!("mean {stride}"));
                mean().ceil().output(format!("mean {stride} ceil"));
                mean().exclude_pad().output(format!("mean {stride} left"));
                mean().exclude_pad().ceil().output(format!("mean {stride} left, ceil"));
            }
            x.relu()
        });
        for opset in [13, 19, 22] {
            let options = onnx::Options { opset, ..onnx::Options::default() };
            let answer = check(&mut script, graph.as_ref().unwrap(), 2, &options);
            answers.push((format!("{kernel}, {before}, {after}, opset {opset}"), answer));
        }
    }
    all_ok(answers);
}

/// What the builder does not make, or no case has: rows through layers of maps, a sum of three.
#[test]
fn rows_and_sums() {
    let part = |name: &str, op: Op, inputs: &[usize]| Part {
        name: name.to_owned(),
        op,
        inputs: inputs.to_vec(),
    };
    let lrn = |size| Op::Lrn(Lrn { size, alpha: 0.5, divided: false, beta: 0.75, k: 2.0 });
    let parts = vec![
        part("data", Op::Input(Shape::Flat(7)), &[]),
        part("fc", Op::Linear(Linear { out: 7, bias: false }), &[0]),
        part("bn", Op::BatchNorm(BatchNorm { eps: 1e-3, momentum: 0.01, scale: false }), &[1]),
        part("odd", lrn(3), &[2]),
        part("even", lrn(4), &[2]),
        part("sum", Op::Add, &[2, 3, 4]),
        part("softmax", Op::Softmax, &[5]),
    ];
    let outputs = [(String::from("logits"), 6), (String::from("again"), 6)];
    let graph = Graph::assemble(parts, &outputs).unwrap();
    let mut script = Script::start("onnx_run.py");
    let answer = check(&mut script, &graph, 3, &onnx::Options::default());
    all_ok(vec![(String::from("rows"), answer)]);
}
