//! The doors for files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};

use striate_data::{Digits, decode, preprocess};
use striate_formats::limits::RATIO;
use striate_formats::{Element, INPUT, NETWORK, TensorFile, caffe, onnx as from_onnx};
use striate_graph::{Graph, Naming, ParamSource, Shape};
use striate_train::Checkpoint;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::good;

/// Any weight file, which its first bytes tell, through everything that is done with one.
fn weights(bytes: Vec<u8>) -> bool {
    let most = bytes.len().saturating_mul(RATIO as usize);
    let Ok(file) = TensorFile::parse(bytes, "bytes") else { return false };
    let listing = file.listing();
    for stored in &listing.tensors {
        let volume: usize = stored.shape.iter().product();
        match (&stored.element, file.tensor(stored)) {
            (_, Ok(tensor)) => {
                assert_eq!(tensor.shape(), stored.shape);
                assert!(volume <= most, "no more values than the file can hold");
            }
            (Element::Float(_), Err(error)) => panic!("listed, but not read: {error}"),
            (Element::Other(_), Err(_)) => {}
        }
    }
    drop((listing.classes(), listing.input(), listing.network()));
    let network = small();
    drop(file.load(&network, &Naming::NODES, &["aux"]));
    true
}

/// The network of the good files.
fn small() -> Graph {
    Graph::build(Shape::map(2, 4, 5), |x| {
        let x = x.at("c1").conv((3, 2), 3).pad(0).at("bn1").batch_norm().eps(1e-3).no_scale();
        let x = x.at("d1").conv((1, 2), 6).pad(0).groups(3).relu();
        x.flatten().at("bn").batch_norm().eps(1e-3).at("fc").linear(4)
    })
    .expect("a network")
}

/// Safetensors.
pub fn safetensors(bytes: &[u8]) -> bool {
    weights(bytes.to_vec())
}

/// How pictures are prepared, as the metadata of a file say it.
pub fn input_spec(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let header = serde_json::json!({ "__metadata__": { INPUT: text } }).to_string();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let file = TensorFile::parse(file, "bytes").expect("a file without tensors");
    let Ok(Some(input)) = file.listing().input() else { return false };
    // What is let in can be printed and read again.
    assert!(serde_json::to_string(&input).is_ok());
    let small = input.output().iter().all(|extent| *extent <= 64);
    if small && let Ok(picture) = decode(good::PICTURE, "picture") {
        drop(preprocess(&picture, &input));
    }
    true
}

/// A network, as the metadata of its weights say it.
pub fn definition(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let header = serde_json::json!({ "__metadata__": { NETWORK: text } }).to_string();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let file = TensorFile::parse(file, "bytes").expect("a file without tensors");
    let Ok(Some(graph)) = file.listing().network() else { return false };
    // What is let in is a network as any other.
    drop((graph.layout(), graph.total()));
    true
}

/// PyTorch's archives.
pub fn pytorch(bytes: &[u8]) -> bool {
    weights(bytes.to_vec())
}

/// What PyTorch wrote before archives.
pub fn legacy(bytes: &[u8]) -> bool {
    weights(bytes.to_vec())
}

/// The pickle of an archive whose sums are right, with sixteen storages.
pub fn pickle(program: &[u8]) -> bool {
    let storages: Vec<String> = (0..16).map(|key| format!("x/data/{key}")).collect();
    let storages = storages.iter().map(|name| (name.as_str(), &[0; 1024][..]));
    let entries: Vec<_> = [("x/data.pkl", program)].into_iter().chain(storages).collect();
    weights(zipped(&entries))
}

/// Keras's HDF5, of weights and of whole models.
pub fn hdf5(bytes: &[u8]) -> bool {
    weights(bytes.to_vec())
}

/// Keras's archives.
pub fn keras_archive(bytes: &[u8]) -> bool {
    weights(bytes.to_vec())
}

/// The configuration in an archive of Keras's whose sums are right.
pub fn keras_config(config: &[u8]) -> bool {
    weights(zipped(&[("config.json", config), ("model.weights.h5", good::KERAS)]))
}

/// Caffe's networks with their weights, as weights and as a network.
pub fn caffemodel(bytes: &[u8]) -> bool {
    if let Ok(model) = caffe::parse(bytes.to_vec(), "bytes", None, None) {
        assert_eq!(*model.params.layout(), model.graph.layout());
    }
    weights(bytes.to_vec())
}

/// Networks in ONNX with their weights, as weights and as a network.
pub fn onnx(bytes: &[u8]) -> bool {
    let read = from_onnx::parse(bytes.to_vec(), "bytes", &from_onnx::ReadOptions::default());
    if let Ok(model) = &read {
        assert_eq!(*model.params.layout(), model.graph.layout());
    }
    weights(bytes.to_vec());
    read.is_ok()
}

/// Caffe's definitions, with the input that they have and with one by hand.
pub fn prototxt(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let fed = [None, Some(Shape::map(3, 32, 32))];
    let defined = fed.map(|input| caffe::parse_definition(text, "bytes", input).is_ok());
    defined.contains(&true)
}

/// MNIST's images, and its labels.
pub fn idx(bytes: &[u8]) -> bool {
    let [images, labels] = good::DIGITS;
    [Digits::decode(bytes, labels), Digits::decode(images, bytes)].iter().any(Result::is_ok)
}

/// Pictures.
pub fn picture(bytes: &[u8]) -> bool {
    // Not because they are refused: a million pixels say as much as a hundred.
    const LARGE: usize = 1 << 20;
    bytes.len() < LARGE && decode(bytes, "bytes").is_ok()
}

/// What a checkpoint says of its run.
pub fn state(bytes: &[u8]) -> bool {
    thread_local!(static RUN: TempDir = tempfile::tempdir().expect("a directory"));
    RUN.with(|run| {
        let last = run.path().join("last");
        fs::create_dir_all(&last).expect("a directory");
        fs::write(last.join("state.json"), bytes).expect("a file");
        // There are no weights beside it: the state is judged first.
        drop(Checkpoint::open(run.path(), &small(), &Naming::NODES));
        Checkpoint::model(run.path()).is_ok()
    })
}

/// An archive of entries that are not compressed.
fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(*name, stored).expect("an entry");
        zip.write_all(bytes).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}

/// The entries of an archive, by their names.
pub(crate) fn entries(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).expect("an archive");
    let mut read = |index| {
        let mut entry = zip.by_index(index).expect("an entry");
        let mut bytes = Vec::new();
        std::io::copy(&mut entry, &mut bytes).expect("a whole entry");
        (entry.name().expect("a name").into_owned(), bytes)
    };
    (0..zip::ZipArchive::new(Cursor::new(archive)).expect("an archive").len())
        .map(&mut read)
        .collect()
}
