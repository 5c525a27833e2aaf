//! The code we write computes what we compute, and its weights travel: every network, with weights
//! of every kind, from our file into the module, by the framework's own file to us, by ours back.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use conformance::compare;
use interop::{Script, chosen, error, params, python, same_bits, small};
use striate_exec::{Backend, Native, Options};
use striate_formats::{
    Dtype, FormatError, caffe, load, onnx, read_tensor, save, save_keras, write_tensors,
};
use striate_graph::{Graph, Naming, Params, Shape};
use striate_render::{Framework, Heading, code};
use striate_tensor::{Rng, Tensor, View};
use striate_zoo::Architecture;

fn logits(graph: &Graph, params: &Params, x: &Tensor) -> Vec<f32> {
    let mut network = Native::default().compile(graph, params, &Options::default()).unwrap();
    network.run(x).unwrap().logits().data().to_vec()
}

/// What runs in Python; Burn's modules are another test's.
#[derive(Clone, Copy)]
enum Library {
    PyTorch,
    Keras,
}

/// A network there and back: how far the logits are apart, or what went wrong.
fn trip(
    script: &mut Script,
    library: Library,
    name: &str,
    graph: &Graph,
    naming: &Naming,
) -> Result<f64, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rng = Rng::new(1);
    let params = params(graph, &rng);
    let x = compare::images(graph.input(), 1, &mut rng.fork("x"));
    let heading = Heading { name, ..Heading::default() };
    let (framework, word, file) = match library {
        Library::PyTorch => (Framework::PyTorch, "pytorch", "pth"),
        Library::Keras => (Framework::Keras, "keras", "weights.h5"),
    };
    let text = code(graph, &heading, naming, framework);
    std::fs::write(path("code.py"), text).unwrap();
    let weights = path("weights.safetensors");
    save(&weights, graph, &params, naming, None, &BTreeMap::new(), Dtype::F32).unwrap();
    let view = View { shape: x.shape(), data: x.data() };
    write_tensors(&path("input.safetensors"), &[("x", view)]).unwrap();
    let mut ask = |step: &str| match script.ask(&format!("{step} {}", folder.path().display())) {
        answer if answer == "ok" => Ok(()),
        answer => Err(format!("{step}: {answer}")),
    };
    ask(word)?;
    let theirs = load(&path(&format!("theirs.{file}")), graph, &Naming::DOTS);
    let theirs = theirs.map_err(|error| told(&error))?.params;
    if !same_bits(&theirs, &params) {
        return Err(format!("{word}'s file has other weights"));
    }
    let found = read_tensor(&path("output.safetensors")).unwrap();
    let apart = error(&logits(graph, &theirs, &x), found.data());
    write(library, &path(&format!("ours.{file}")), graph, &theirs).unwrap();
    ask("back")?;
    Ok(apart)
}

fn write(library: Library, path: &Path, graph: &Graph, params: &Params) -> Result<(), FormatError> {
    let (naming, nothing) = (&Naming::DOTS, BTreeMap::new());
    match library {
        Library::PyTorch => save(path, graph, params, naming, None, &nothing, Dtype::F32),
        Library::Keras => save_keras(path, graph, params, naming, None, &nothing),
    }
}

/// An error with its reason, on a line.
fn told(error: &FormatError) -> String {
    let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {}", reason.lines().take(6).collect::<Vec<_>>().join(", "))
}

fn every_network(library: Library) {
    let mut networks: Vec<_> = chosen().into_iter().map(|entry| (entry, small(entry))).collect();
    networks.sort_by_key(|(_, graph)| graph.layout().len());
    let networks = Mutex::new(VecDeque::from(networks));
    let check = |next: Next| {
        // The queue is nobody's while a network is checked.
        let next = || next(&mut networks.lock().unwrap());
        let mut script = Script::start("generated.py");
        let (mut tried, mut wrong) = (0, Vec::new());
        while let Some((entry, graph)) = next() {
            let what = match trip(&mut script, library, entry.name, &graph, &entry.naming) {
                Ok(apart) if apart <= 1e-4 => {
                    println!("{}: {apart:.1e}", entry.name);
                    tried += 1;
                    continue;
                }
                Ok(apart) => format!("{}: {apart:.1e} apart", entry.name),
                Err(what) => format!("{}: {what}", entry.name),
            };
            println!("{what}");
            wrong.push(what);
        }
        (tried, wrong)
    };
    // Two at once, but few large ones: each is in memory several times.
    let (small, large) = thread::scope(|scope| {
        let small = scope.spawn(|| check(VecDeque::pop_front));
        let large = check(VecDeque::pop_back);
        (small.join().unwrap(), large)
    });
    let (tried, wrong) = (small.0 + large.0, [small.1, large.1].concat());
    assert!(tried > 0 && wrong.is_empty(), "{tried} right\n{}", wrong.join("\n"));
}

/// Takes a network of those that are left, the smallest first.
type Next =
    fn(&mut VecDeque<(&'static Architecture, Graph)>) -> Option<(&'static Architecture, Graph)>;

/// Convolutions of some channels, and of each by itself: in parts of one form, with more maps than
/// channels, and with a stride for each axis.
fn groups(library: Library) {
    let graph = Graph::build(Shape::map(3, 17, 16), |x| {
        let mut x = x.at("stem").conv(3, 8).relu();
        for (i, maps) in (1..).zip([12, 20]) {
            let channels = x.shape().channels();
            x = x.within(format!("block{i}"), |x| {
                let x = x.at("depthwise").conv(3, channels).groups(channels).stride(2).relu();
                x.at("pointwise").conv(1, maps).relu()
            });
        }
        let x = x.at("more").conv((3, 2), 60).groups(20).no_bias();
        let x = x.at("some").conv(3, 24).groups(4).relu();
        let x = x.at("each").conv(3, 24).groups(24).stride((2, 1));
        x.flatten().at("fc").linear(5)
    })
    .unwrap();
    let mut script = Script::start("generated.py");
    let apart = trip(&mut script, library, "groups", &graph, &Naming::NODES).unwrap();
    assert!(apart <= 1e-4, "{apart:e}");
}

/// Networks as others' files have them, with the names that these give to layers.
fn networks_of_files(library: Library) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut script = Script::start("generated.py");
    let mut check = |what: &str, graph: &Graph, class: &str| {
        let apart = trip(&mut script, library, "net", graph, &Naming::DOTS).unwrap();
        println!("{what}: {apart:.1e}");
        assert!(apart <= 1e-4, "{what}: {apart:e}");
        let text = code(graph, &Heading::default(), &Naming::DOTS, Framework::PyTorch);
        // Layers are called as there.
        let alike = text.contains(&format!("class {class}")) && !text.contains("NAMES");
        assert!(alike, "{what}:\n{text}");
    };
    for (name, exporter, class) in [
        ("resnet18", "script", "BasicBlock"),
        ("resnet18", "dynamo", "BasicBlock"),
        ("squeezenet1_1", "dynamo", "Inception"),
    ] {
        python("onnx_export.py", &[folder, Path::new(name), Path::new(exporter)]);
        let model = onnx::read(&folder.join("model.onnx"), &onnx::ReadOptions::default()).unwrap();
        check(&format!("{name} by {exporter}"), &model.graph, class);
    }
    for (name, class) in [("squeezenet", "Fire"), ("googlenet", "Inception")] {
        python("caffe_nets.py", &[folder, Path::new(name)]);
        let (graph, ..) = caffe::define(&folder.join(format!("{name}.prototxt")), None).unwrap();
        check(&format!("{name} of Caffe"), &graph, class);
    }
}

#[test]
fn networks_of_files_in_pytorch() {
    networks_of_files(Library::PyTorch);
}

#[test]
fn networks_of_files_in_keras() {
    networks_of_files(Library::Keras);
}

#[test]
fn groups_in_pytorch() {
    groups(Library::PyTorch);
}

#[test]
fn groups_in_keras() {
    groups(Library::Keras);
}

#[test]
fn pytorch() {
    every_network(Library::PyTorch);
}

#[test]
fn keras() {
    every_network(Library::Keras);
}
