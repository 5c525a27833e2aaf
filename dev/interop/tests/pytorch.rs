//! What PyTorch saves, read and run here, and back: networks of torchvision, timm and
//! pretrainedmodels, and files that torch.save makes of odder things.

use std::collections::BTreeMap;
use std::path::Path;

use interop::{Script, chosen, error, python, small};
use striate_exec::{Backend, Native, Options};
use striate_formats::{Dtype, Element, FormatError, Listing, list, load, read, read_tensors, save};
use striate_graph::{Graph, Naming, Shape};
use striate_zoo::{Architecture, Config, Edition};

/// How torch.save is asked to write the networks, in turn.
const SPELLINGS: [&str; 6] = ["plain", "legacy", "parallel", "half", "bfloat16", "training"];

/// Where Caffe's BN-Inception is, ported.
const PRETRAINED_MODELS: &str = "pretrainedmodels";

/// Who has the network of an entry under the same name.
fn library(entry: &Architecture) -> Option<&'static str> {
    match entry.edition {
        Edition::Torchvision => Some("torchvision"),
        Edition::Timm => Some("timm"),
        Edition::Caffe if entry.name == "bn_inception" => Some(PRETRAINED_MODELS),
        Edition::Paper | Edition::Caffe | Edition::Keras | Edition::Authors | Edition::Modern => {
            None
        }
    }
}

/// A network there and back: how far the logits are apart, or what went wrong.
fn trip(
    script: &mut Script,
    library: &str,
    spelling: &str,
    entry: &'static Architecture,
) -> Result<f64, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut ask = |step: &str| match script.ask(&format!("{step} {}", folder.path().display())) {
        answer if answer == "ok" => Ok(()),
        answer => Err(format!("{step}: {answer}")),
    };
    // The libraries' networks have their auxiliary heads, which need the usual input, as a window of
    // 7×7 before the classifier does.
    let mut graph = small(entry);
    let whole = entry.build(&Config { heads: true, ..entry.config() }).unwrap();
    if whole.outputs().len() > 1 || library == PRETRAINED_MODELS {
        graph = whole;
    }
    let [_, height, width] = graph.input().chw();
    ask(&format!("save {library} {} {spelling} {height} {width}", entry.name))?;
    let file = read(&path("theirs.pth")).map_err(|error| error.to_string())?;
    let weights = file.weights(&graph, &entry.naming, &[]).map_err(|error| told(&error))?;
    let values = read_tensors(&path("values.safetensors")).unwrap();
    let value = |name: &str| &values.iter().find(|(found, _)| found == name).unwrap().1;
    let mut network = Native::default().compile(&graph, &weights, &Options::default()).unwrap();
    let found = network.run(value("input")).unwrap();
    let (naming, nothing) = (&entry.naming, BTreeMap::new());
    save(&path("ours.pth"), &graph, &weights, naming, None, &nothing, Dtype::F32).unwrap();
    ask("back")?;
    Ok(error(value("logits").data(), found.logits().data()))
}

/// An error with its reason, on a line.
fn told(error: &FormatError) -> String {
    let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {}", reason.lines().take(6).collect::<Vec<_>>().join(", "))
}

#[test]
fn networks_of_the_libraries() {
    let mut script = Script::start("pytorch_zoo.py");
    let (mut tried, mut wrong) = (0, Vec::new());
    let entries = chosen().into_iter().filter_map(|e| Some((library(e)?, e)));
    for ((library, entry), spelling) in entries.zip(SPELLINGS.iter().cycle()) {
        let result = trip(&mut script, library, spelling, entry);
        println!("{}, {spelling}: {result:?}", entry.name);
        tried += 1;
        if !result.as_ref().is_ok_and(|apart| *apart <= 1e-4) {
            wrong.push(format!("{}, {spelling}: {result:?}", entry.name));
        }
    }
    assert!(tried > 0 && wrong.is_empty(), "{tried} tried\n{}", wrong.join("\n"));
}

/// What `pytorch_odd.py` saves: `fc.weight`, of the numbers from 0 to 11 as a matrix of 3×4, and
/// `fc.bias`, of −1, 0, 1.
fn numbers() -> Graph {
    Graph::build(Shape::Flat(4), |x| x.at("fc").linear(3)).unwrap()
}

fn listed<'l>(listing: &'l Listing, name: &str) -> (&'l str, &'l [usize]) {
    let tensor = listing.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    match &tensor.element {
        Element::Other(element) => (element, &tensor.shape),
        Element::Float(dtype) => panic!("{name} is of {dtype}"),
    }
}

#[test]
fn odd_files() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    python("pytorch_odd.py", &[directory]);
    let file = |name: &str| directory.join(name);
    let expected: Vec<f32> = (0..12u8).map(f32::from).chain([-1.0, 0.0, 1.0]).collect();
    let graph = numbers();
    for name in [
        "transposed.pth",
        "slices.pth",
        "double.pth",
        "half.pth",
        "bfloat16.pth",
        "parameters.pth",
        "cuda.pth",
        "optimizer.pth",
        "legacy_slices.pth",
        "legacy_cuda.pth",
        "legacy_double.pth",
        "counter.pth",
        "protocol4.pth",
        "plain_dict.pth",
        "f64.safetensors",
        "f16.safetensors",
        "bf16.safetensors",
    ] {
        let loaded = load(&file(name), &graph, &Naming::NODES);
        let loaded = loaded.unwrap_or_else(|error| panic!("{name}: {}", told(&error)));
        assert_eq!(loaded.params.values(), expected, "{name}");
    }

    // Tied weights: one storage, two names.
    let tied = Graph::build(Shape::Flat(4), |x| x.at("one").linear(4).at("two").linear(4));
    let loaded = load(&file("tied.pth"), &tied.unwrap(), &Naming::NODES).unwrap().params;
    let data = |name: &str| loaded.get(name).unwrap().data.to_vec();
    assert_eq!(data("one.weight"), data("two.weight"));
    assert_eq!(data("one.weight")[15], 15.0);

    // Other types are listed by what they are, and refused when they are asked for.
    for (name, tensor, element, shape) in [
        ("types.pth", "int8", "I8", &[2, 3][..]),
        ("types.pth", "uint8", "U8", &[2]),
        ("types.pth", "int16", "I16", &[2]),
        ("types.pth", "int32", "I32", &[2]),
        ("types.pth", "int64", "I64", &[]),
        ("types.pth", "bool", "BOOL", &[2]),
        ("types.pth", "complex64", "C64", &[2]),
        ("types.pth", "complex128", "C128", &[2]),
        ("new_types.pth", "uint16", "U16", &[2]),
        ("new_types.pth", "float8_e4m3fn", "F8_E4M3", &[2]),
        ("new_types.pth", "float8_e5m2", "F8_E5M2", &[2]),
        ("types.safetensors", "int64", "I64", &[2]),
        ("types.safetensors", "float8_e4m3fn", "F8_E4M3", &[2]),
    ] {
        let file = read(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(listed(file.listing(), tensor), (element, shape), "{name}");
        let stored = file.listing().tensors.iter().find(|t| t.name == tensor).unwrap();
        let error = file.tensor(stored).unwrap_err().to_string();
        assert!(error.contains(&format!("`{tensor}` of type {element}, expected F64")), "{error}");
    }

    for (name, expected) in [
        ("expanded.pth", "`fc.weight`, of shape [3, 4] and strides [0, 1]"),
        ("module.pth", "`torch.nn.modules.linear.Linear`"),
        ("legacy_module.pth", "`torch.nn.modules.linear.Linear`"),
        ("subclass.pth", "`__main__.Named`"),
        ("quantized.pth", "`torch._utils._rebuild_qtensor`"),
        ("sparse.pth", "`torch._utils._rebuild_sparse_tensor`"),
        (
            "script.pth",
            "a program of TorchScript, expected tensors alone: in PyTorch, torch.save(torch.jit.load(…).state_dict(), …)",
        ),
        ("tensor.pth", "no dictionary of tensors by name"),
        ("list.pth", "no dictionary of tensors by name"),
    ] {
        let error = list(Path::new(&file(name))).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}
