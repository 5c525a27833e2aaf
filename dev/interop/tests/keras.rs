//! What Keras saves, read and run here: logits within 1e-4 of their maximum of Keras's own. And back:
//! what is written here, loaded by Keras, equal to the bit.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use interop::{Script, error};
use striate_exec::{Backend, Native, Options};
use striate_formats::{StoredParams, read, read_tensors, save_keras};
use striate_graph::Graph;
use striate_tensor::Tensor;
use striate_zoo::{Config, find};

/// The classes that the script has the networks tell.
const CLASSES: usize = 10;

/// One for all tests: importing TensorFlow takes longer than most of them.
static KERAS: LazyLock<Mutex<Script>> = LazyLock::new(|| Mutex::new(Script::start("keras_zoo.py")));

/// A network as Keras runs it, the one that the script has at hand.
struct Known {
    script: MutexGuard<'static, Script>,
    directory: tempfile::TempDir,
    input: Tensor,
    logits: Tensor,
}

impl Known {
    /// A network of keras.applications for pictures of that height and width, saved in so many
    /// formats.
    fn of(application: &str, size: [usize; 2], formats: &[&str]) -> Known {
        let directory = tempfile::tempdir().unwrap();
        let mut script = KERAS.lock().unwrap_or_else(PoisonError::into_inner);
        let ([height, width], formats) = (size, formats.join(","));
        let folder = directory.path().display();
        let request = format!("save {application} {height} {width} {formats} {folder}");
        assert_eq!(script.ask(&request), "ok", "{application}");
        let mut values = read_tensors(&directory.path().join("values.safetensors")).unwrap();
        let mut take = |name: &str| {
            let at = values.iter().position(|(found, _)| found == name).unwrap();
            values.swap_remove(at).1
        };
        let (input, logits) = (take("input"), take("logits"));
        Known { script, directory, input, logits }
    }

    fn graph(&self, name: &str) -> Graph {
        let &[_, channels, height, width] = self.input.shape() else { panic!("a batch of maps") };
        let input = [channels, height, width];
        find(name).unwrap().build(&Config { classes: CLASSES, input, heads: false }).unwrap()
    }

    fn weights(&self, name: &str, file: &str) -> StoredParams {
        let file = read(&self.directory.path().join(file)).unwrap();
        let naming = &find(name).unwrap().naming;
        file.weights(&self.graph(name), naming, &[]).unwrap_or_else(|error| {
            let all = error.source().map(ToString::to_string).unwrap_or_default();
            panic!("{name}: {error}: {all}")
        })
    }

    /// Compares the logits of an entry of the zoo with the weights of each file.
    fn agrees(&self, name: &str, files: &[&str]) {
        for file in files {
            let graph = self.graph(name);
            let options = Options { batch: self.input.shape()[0], ..Options::default() };
            let weights = self.weights(name, file);
            let mut network = Native::default().compile(&graph, &weights, &options).unwrap();
            let outputs = network.run(&self.input).unwrap();
            let found: Vec<f32> = outputs.logits().rows().flatten().copied().collect();
            let error = error(self.logits.data(), &found);
            println!("{name} from {file}: {error:e}");
            assert!(error <= 1e-4, "{name} from {file}: {error:e} of the maximum");
            assert!(weights.ignored().is_empty() && weights.not_finite().is_empty());
        }
    }

    /// The same, and writes the weights for Keras to read: equal to the bit.
    fn agrees_and_returns(&mut self, name: &str, files: &[&str]) {
        self.agrees(name, files);
        let directory = self.directory.path();
        let weights = self.weights(name, files[0]);
        let (path, naming) = (directory.join("back.weights.h5"), &find(name).unwrap().naming);
        save_keras(&path, &self.graph(name), &weights, naming, None, &BTreeMap::new()).unwrap();
        let answer = self.script.ask(&format!("back {}", directory.display()));
        assert_eq!(answer, "ok", "{name} back in Keras");
    }
}

#[test]
fn vgg16_in_every_format() {
    let formats = ["weights", "nameless", "chunked", "legacy", "whole", "keras", "deflated"];
    let mut known = Known::of("VGG16", [64, 96], &formats);
    let files = [
        "model.weights.h5",
        "nameless.weights.h5",
        "chunked.weights.h5",
        "legacy.h5",
        "whole.h5",
        "model.keras",
        "deflated.keras",
    ];
    known.agrees_and_returns("vgg16_keras", &files);
}

#[test]
fn vgg16_of_another_edition() {
    // torchvision's is the same function where the maps are 7×7 in the end.
    let known = Known::of("VGG16", [224, 224], &["weights", "legacy"]);
    known.agrees("vgg16_keras", &["model.weights.h5"]);
    known.agrees("vgg16", &["model.weights.h5", "legacy.h5"]);
}

#[test]
fn vgg19() {
    Known::of("VGG19", [64, 64], &["weights"])
        .agrees_and_returns("vgg19_keras", &["model.weights.h5"]);
}

#[test]
fn resnet50() {
    let mut known = Known::of("ResNet50", [64, 96], &["weights", "nameless", "legacy", "keras"]);
    let files = ["model.weights.h5", "nameless.weights.h5", "legacy.h5", "model.keras"];
    known.agrees_and_returns("resnet50_keras", &files);
    // The convolutions of the other editions have no bias.
    let file = read(&known.directory.path().join("model.weights.h5")).unwrap();
    let other = file.weights(&known.graph("resnet50"), &find("resnet50").unwrap().naming, &[]);
    assert!(other.is_err());
}

#[test]
fn resnet101() {
    Known::of("ResNet101", [64, 64], &["weights"])
        .agrees_and_returns("resnet101_keras", &["model.weights.h5"]);
}

#[test]
fn resnet152() {
    Known::of("ResNet152", [64, 64], &["weights"])
        .agrees_and_returns("resnet152_keras", &["model.weights.h5"]);
}

#[test]
fn resnet50v2() {
    let mut known = Known::of("ResNet50V2", [96, 64], &["weights", "nameless", "whole"]);
    let files = ["model.weights.h5", "nameless.weights.h5", "whole.h5"];
    known.agrees_and_returns("resnet50v2_keras", &files);
}

#[test]
fn resnet101v2() {
    let mut known = Known::of("ResNet101V2", [64, 64], &["weights"]);
    known.agrees_and_returns("resnet101v2_keras", &["model.weights.h5"]);
}

#[test]
fn resnet152v2() {
    let mut known = Known::of("ResNet152V2", [64, 64], &["weights"]);
    known.agrees_and_returns("resnet152v2_keras", &["model.weights.h5"]);
}

#[test]
fn inception_v3() {
    let mut known =
        Known::of("InceptionV3", [107, 139], &["weights", "nameless", "legacy", "keras"]);
    let files = ["model.weights.h5", "nameless.weights.h5", "legacy.h5", "model.keras"];
    known.agrees_and_returns("inception_v3_keras", &files);
    // torchvision's normalisation has a scale, and its means count the padding.
    let file = read(&known.directory.path().join("legacy.h5")).unwrap();
    let naming = &find("inception_v3").unwrap().naming;
    assert!(file.weights(&known.graph("inception_v3"), naming, &[]).is_err());
}

#[test]
fn inception_resnet_v2() {
    let mut known = Known::of("InceptionResNetV2", [107, 139], &["weights", "nameless", "legacy"]);
    let files = ["model.weights.h5", "nameless.weights.h5", "legacy.h5"];
    known.agrees_and_returns("inception_resnet_v2_keras", &files);
}
