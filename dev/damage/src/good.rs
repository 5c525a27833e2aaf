//! Small files that are as they should be: those of the tests beside the readers.

use striate_formats::onnx as to_onnx;
use striate_graph::{Graph, Init, InputSpec, Params, Shape, add};
use striate_tensor::Rng;

use crate::files::entries;

macro_rules! file {
    ($path:literal) => {
        include_bytes!(concat!("../../../crates/", $path)).as_slice()
    };
}

pub(crate) const KERAS: &[u8] = file!("formats/tests/keras/tiny_chunked.weights.h5");
pub(crate) const PICTURE: &[u8] = file!("data/tests/golden/pictures/rgb.png");

const ARCHIVES: [&[u8]; 2] =
    [file!("formats/tests/pytorch/state.pth"), file!("formats/tests/pytorch/checkpoint.pth")];

/// Images and labels of two digits of a pixel.
pub(crate) const DIGITS: [&[u8]; 2] =
    [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7, 9], &[0, 0, 8, 1, 0, 0, 0, 2, 3, 9]];

fn owned(files: &[&[u8]]) -> Vec<Vec<u8>> {
    files.iter().map(|file| file.to_vec()).collect()
}

pub(crate) fn safetensors() -> Vec<Vec<u8>> {
    owned(&[
        file!("formats/tests/pytorch/state.safetensors"),
        file!("formats/tests/keras/expected.safetensors"),
    ])
}

pub(crate) fn input_spec() -> Vec<Vec<u8>> {
    let specs = [InputSpec::imagenet(36, 32), InputSpec { border: 2, ..InputSpec::imagenet(8, 8) }];
    specs.iter().map(|spec| serde_json::to_vec(spec).expect("JSON")).collect()
}

pub(crate) fn definition() -> Vec<Vec<u8>> {
    let graph = Graph::build(Shape::map(3, 9, 9), |x| {
        let x = x.at("a").conv((3, 2), 6).stride(2).groups(3).at("b").batch_norm().relu();
        let x = x.at("c").conv(1, 4).table(&["XX..", ".XX.", "..XX", "X..X", "XXXX", "X.X."]);
        x.max_pool(2, 1).ceil().dropout(0.5).flatten().at("fc").linear(5).softmax()
    });
    vec![striate_formats::definition(&graph.expect("it builds")).into_bytes()]
}

pub(crate) fn pytorch() -> Vec<Vec<u8>> {
    owned(&ARCHIVES)
}

pub(crate) fn legacy() -> Vec<Vec<u8>> {
    owned(&[file!("formats/tests/pytorch/legacy.pth")])
}

pub(crate) fn pickle() -> Vec<Vec<u8>> {
    let pickles = ARCHIVES.iter().flat_map(|archive| {
        entries(archive).into_iter().filter(|(name, _)| name.ends_with("data.pkl"))
    });
    pickles.map(|(_, pickle)| pickle).collect()
}

pub(crate) fn hdf5() -> Vec<Vec<u8>> {
    owned(&[
        file!("formats/tests/keras/tiny.h5"),
        file!("formats/tests/keras/tiny.weights.h5"),
        KERAS,
        file!("formats/tests/keras/chunked.weights.h5"),
    ])
}

pub(crate) fn keras_archive() -> Vec<Vec<u8>> {
    owned(&[file!("formats/tests/keras/tiny.keras"), file!("formats/tests/keras/deflated.keras")])
}

pub(crate) fn keras_config() -> Vec<Vec<u8>> {
    let archives = keras_archive();
    let configs = archives.iter().filter_map(|archive| entries(archive).remove("config.json"));
    configs.collect()
}

pub(crate) fn caffemodel() -> Vec<Vec<u8>> {
    owned(&[file!("formats/tests/caffe/v1.caffemodel"), file!("formats/tests/caffe/v2.caffemodel")])
}

pub(crate) fn onnx() -> Vec<Vec<u8>> {
    let graph = Graph::build(Shape::map(3, 8, 8), |x| {
        let x = x.at("conv1").conv(3, 4).batch_norm().relu().max_pool(2, 2);
        let x = add(x.at("conv2").conv(3, 4).pad(1), x);
        x.flatten().at("fc").linear(5).softmax()
    });
    let graph = graph.expect("it builds");
    let params = Params::init(&graph, &Init::LeCun, &Rng::new(1));
    let folder = tempfile::tempdir().expect("a folder");
    let write = |opset| {
        let path = folder.path().join("model.onnx");
        let options = to_onnx::Options { opset, ..to_onnx::Options::default() };
        to_onnx::write(&path, &graph, &params, &options).expect("it is written");
        std::fs::read(&path).expect("it is read")
    };
    vec![write(13), write(21)]
}

pub(crate) fn prototxt() -> Vec<Vec<u8>> {
    owned(&[file!("formats/tests/caffe/train_val.prototxt")])
}

pub(crate) fn idx() -> Vec<Vec<u8>> {
    owned(&DIGITS)
}

pub(crate) fn picture() -> Vec<Vec<u8>> {
    owned(&[
        PICTURE,
        file!("data/tests/golden/pictures/palette_transparent.png"),
        file!("data/tests/golden/pictures/rgb_alpha16.png"),
        file!("data/tests/golden/pictures/cmyk.jpg"),
        file!("data/tests/golden/pictures/progressive.jpg"),
        file!("data/tests/golden/pictures/exif6.jpg"),
    ])
}

pub(crate) fn graph() -> Vec<Vec<u8>> {
    let convolution = [1, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0];
    let (pooling, row, linear) = ([3, 0, 2, 2, 2, 2, 0, 0, 0, 1, 1], [17, 1, 2], [2, 10, 1, 1, 3]);
    let chain = [&[0, 3, 8, 8][..], &convolution, &pooling, &row, &linear].concat();
    let (sum, join, relu) = ([14, 2, 0, 0], [16, 2, 0, 1], [9, 1, 2]);
    let fork = [&[0, 2, 4, 4][..], &sum, &join, &relu].concat();
    vec![chain, fork]
}

pub(crate) fn state() -> Vec<Vec<u8>> {
    owned(&[include_bytes!("../good/state.json")])
}
