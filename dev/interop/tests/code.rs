//! The code we write computes what we compute: every network, with weights of every kind.

use std::collections::BTreeMap;

use conformance::compare;
use interop::{Script, error, params, small};
use striate_exec::{Backend, Native, Options};
use striate_formats::{Dtype, read_tensor, save, write_tensors};
use striate_graph::{Graph, Params};
use striate_render::{Framework, Heading, code};
use striate_tensor::{Rng, Tensor, View};

fn logits(graph: &Graph, params: &Params, x: &Tensor) -> Vec<f32> {
    let mut network = Native::default().compile(graph, params, &Options::default()).unwrap();
    network.run(x).unwrap().logits().data().to_vec()
}

fn compare(framework: Framework, word: &str) {
    let wanted = std::env::var("NETWORKS").unwrap_or_else(|_| String::from("*"));
    let mut script = Script::start("generated.py");
    let (mut tried, mut wrong) = (0, Vec::new());
    for entry in striate_zoo::matching(&wanted) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let graph = small(entry);
        let rng = Rng::new(1);
        let params = params(&graph, &rng);
        let x = compare::images(graph.input(), 1, &mut rng.fork("x"));
        let heading = Heading { name: entry.name, ..Heading::default() };
        let text = code(&graph, &heading, &entry.naming, framework);
        std::fs::write(path("code.py"), text).unwrap();
        let weights = path("weights.safetensors");
        let (naming, metadata) = (&entry.naming, BTreeMap::new());
        save(&weights, &graph, &params, naming, None, &metadata, Dtype::F32).unwrap();
        let view = View { shape: x.shape(), data: x.data() };
        write_tensors(&path("input.safetensors"), &[("x", view)]).unwrap();
        let answer = script.ask(&format!("{word} {}", folder.path().display()));
        let apart = match answer.as_str() {
            "ok" => {
                let found = read_tensor(&path("output.safetensors")).unwrap();
                error(&logits(&graph, &params, &x), found.data())
            }
            _ => f64::NAN,
        };
        tried += 1;
        println!("{}: {answer}, {apart:.1e}", entry.name);
        if apart > 1e-4 || apart.is_nan() {
            wrong.push(format!("{}: {answer}, {apart:.1e}", entry.name));
        }
    }
    assert!(tried > 0 && wrong.is_empty(), "{tried} tried\n{}", wrong.join("\n"));
}

#[test]
fn pytorch() {
    compare(Framework::PyTorch, "pytorch");
}

#[test]
fn keras() {
    compare(Framework::Keras, "keras");
}
