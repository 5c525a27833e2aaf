//! The trained SqueezeNet 1.1 through every format and back: weights equal to the bit, and the same best
//! five classes of the photographs here and in the frameworks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use interop::{python, same_bits};
use striate::data::{self, Picture, preprocess};
use striate::formats::{load, read, write_tensors};
use striate::graph::Params;
use striate::render::{Framework, Heading, code};
use striate::tensor::{Tensor, View};
use striate::{Class, Conversion, Model, convert};

const NAME: &str = "squeezenet1_1";

/// Those that are read and written.
const FORMATS: [&str; 5] = ["safetensors", "pth", "weights.h5", "caffemodel", "onnx"];

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn asset() -> PathBuf {
    repository("crates/striate/assets/squeezenet1_1.safetensors")
}

fn photographs() -> Vec<Picture> {
    let names = ["chelsea.png", "coffee.png", "rocket.jpg"];
    names.map(|name| data::open(&repository("data/photographs").join(name)).unwrap()).into()
}

/// The best five classes of each photograph.
fn classes(model: &Model) -> Vec<Vec<Class>> {
    let mut classifier = model.classifier(0).unwrap();
    photographs().iter().map(|picture| classifier.classify(picture, 5).unwrap()).collect()
}

fn weights(path: &Path) -> Params {
    let entry = striate::zoo::find(NAME).unwrap();
    let graph = entry.build(&entry.config()).unwrap();
    let file = read(path).unwrap();
    let naming = file.listing().naming(&graph, entry.namings());
    file.load(&graph, naming, &[]).unwrap().params
}

#[test]
fn any_format_becomes_any_other() {
    let entry = striate::zoo::find(NAME).unwrap();
    let graph = entry.build(&entry.config()).unwrap();
    let expected = load(&asset(), &graph, &entry.naming).unwrap().params;
    let (model, photographs) = (Model::embedded().unwrap(), photographs());
    let best = classes(&model);
    let directory = tempfile::tempdir().unwrap();
    let at = |name: String| directory.path().join(name);
    for from in FORMATS {
        let first = at(format!("from.{from}"));
        convert(&asset(), &first, &Conversion::default()).unwrap();
        for to in FORMATS {
            let second = at(format!("to.{to}"));
            let named = Conversion { network: Some(NAME), ..Conversion::default() };
            let done = convert(&first, &second, &named).unwrap();
            assert_eq!(done.tensors.len(), graph.layout().params().len(), "{from} to {to}");
            assert!(done.ignored.is_empty(), "{from} to {to}: {:?}", done.ignored);
            assert!(same_bits(&weights(&second), &expected), "{from} to {to}");
        }
        let mut read = Model::open(NAME, Some(&first)).unwrap();
        // Caffe's files cannot say how pictures are prepared; all others do.
        assert_eq!(read.input_is_stored, from != "caffemodel", "{from}");
        read.input = model.input.clone();
        assert_eq!(classes(&read), best, "{from}");
    }
    assert_eq!(best.len(), photographs.len());
}

#[test]
fn the_frameworks_tell_the_same() {
    let model = Model::embedded().unwrap();
    let best: Vec<Vec<usize>> =
        classes(&model).iter().map(|best| best.iter().map(|class| class.index).collect()).collect();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for format in ["pth", "weights.h5", "caffemodel", "onnx"] {
        let path = at(&format!("model.{format}"));
        convert(&asset(), &path, &Conversion::default()).unwrap();
    }
    let heading = Heading { name: NAME, ..Heading::default() };
    let network = &model.network;
    let text = code(&network.graph, &heading, network.naming(), Framework::Keras);
    std::fs::write(at("code.py"), text).unwrap();
    let pictures: Vec<Tensor> =
        photographs().iter().map(|picture| preprocess(picture, &model.input).unwrap()).collect();
    let values: Vec<f32> = pictures.iter().flat_map(|x| x.data()).copied().collect();
    let [_, c, h, w] = pictures[0].shape()[..] else { panic!("a batch of maps") };
    let shape = [pictures.len(), c, h, w];
    let view = View { shape: &shape, data: &values };
    write_tensors(&at("input.safetensors"), &[("x", view)]).unwrap();
    let told = python("trained.py", &[directory.path()]);
    let last = told.lines().last().unwrap();
    let told: BTreeMap<String, Vec<Vec<usize>>> = serde_json::from_str(last).unwrap();
    assert_eq!(told.len(), 4);
    for (framework, found) in told {
        assert_eq!(found, best, "{framework}");
    }
}
