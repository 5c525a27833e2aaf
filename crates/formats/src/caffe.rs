//! Caffe's format: networks in protobuf's text (`.prototxt`), and with their values in its wire
//! format (`.caffemodel`), in both spellings of their layers.
//!
//! A `.caffemodel` is walked once, and of every tensor its place noted. It says what its layers are,
//! too, so that it is a network of its own where it says what is fed; a `.prototxt` says it.

mod blobs;
mod layers;
mod net;
mod network;
mod preparation;
mod schema;
mod text;
mod write;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

use striate_graph::{Graph, Naming, Shape};

use crate::limits::{self, Limits, Room};
use crate::protobuf::{message, wire};
use crate::source::Source;
use crate::{Dtype, Element, Format, FormatError, Listing, Model, StoredTensor, TensorFile, file};
use message::Message;
use preparation::metadata;
pub(crate) use preparation::preparation;
use wire::Wire;
pub use write::write;

/// The first bytes of a file that [`is_model`] looks at.
pub(crate) const SNIFFED: usize = 4096;

/// The most bytes of memory that a byte of a `.prototxt` becomes: a field has three at least.
const EXPANSION: u64 = 32;

/// A network with the weights of a `.caffemodel`.
///
/// What the network is says `definition`, a `.prototxt` of any kind, or the `.caffemodel` itself;
/// what is fed to it says `input`, or the file that says what the network is. Of a network that is
/// trained the part is taken that Caffe runs in its phase TEST, up to the logits.
///
/// # Errors
/// [`FormatError::Unsupported`] with the layer if one is of a type or has an attribute that no
/// operation of ours has; [`FormatError::Mismatch`] if the weights are of another network; as
/// [`read`](crate::read).
pub fn read(
    model: &Path,
    definition: Option<&Path>,
    input: Option<Shape>,
) -> Result<Model, FormatError> {
    let (source, place) = file::open(model)?;
    let room = Room::within(&Limits::current());
    let definition = definition.map(|path| definition_of(path, &room)).transpose()?;
    network_with_weights(source, &place, definition, input, &room)
}

/// [`read`], from files that are in memory already: `definition` is the text of a `.prototxt`, and
/// `place` what errors call them.
///
/// # Errors
/// As [`read`].
pub fn parse(
    model: impl Into<Cow<'static, [u8]>>,
    place: &str,
    definition: Option<&str>,
    input: Option<Shape>,
) -> Result<Model, FormatError> {
    let room = Room::within(&Limits::current());
    let message = |text: &str| Ok((message(text.as_bytes(), place, &room)?, place.to_owned()));
    let definition = definition.map(message).transpose()?;
    network_with_weights(Source::memory(model), place, definition, input, &room)
}

/// The network that a `.prototxt` describes, and what a reader should know of how it was read.
///
/// # Errors
/// As [`read`].
pub fn define(
    definition: &Path,
    input: Option<Shape>,
) -> Result<(Graph, Vec<String>), FormatError> {
    let (net, place) = definition_of(definition, &Room::within(&Limits::current()))?;
    let network = network::network(&net, true, input, None, &place)?;
    Ok((network.graph, network.warnings))
}

/// [`define`], from the text of a `.prototxt`; `place` is what errors call it.
///
/// # Errors
/// As [`read`].
pub fn parse_definition(
    text: &str,
    place: &str,
    input: Option<Shape>,
) -> Result<(Graph, Vec<String>), FormatError> {
    let net = message(text.as_bytes(), place, &Room::within(&Limits::current()))?;
    let network = network::network(&net, true, input, None, place)?;
    Ok((network.graph, network.warnings))
}

fn network_with_weights(
    source: Source,
    place: &str,
    definition: Option<(Message, String)>,
    input: Option<Shape>,
    room: &Room,
) -> Result<Model, FormatError> {
    let saved = Wire::new(source.reader(), place, room).message(schema::NET, source.len())?;
    let channels = channels(&saved);
    let network = match &definition {
        Some((net, place)) => network::network(net, true, input, channels, place)?,
        None => network::network(&saved, false, input, channels, place)?,
    };
    let (graph, mut warnings) = (network.graph, network.warnings);

    let mut file = TensorFile::of_source(source, place.to_owned(), &Limits::current())?;
    let mut said = file.listing().metadata.clone();
    said.extend(definition.iter().flat_map(|(net, _)| metadata(net)));
    let prepared = preparation(&said, graph.input());
    if prepared.is_some() && !said.contains_key(preparation::MEAN) {
        warnings.push(String::from("which mean is taken off pictures is not said: ImageNet's is"));
    }
    file.add(constants(&graph, &network.constant, file.listing()));
    let layers: HashSet<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
    let unused: Vec<String> = file.listing().tensors.iter().map(layer_of).collect();
    let unused: Vec<&str> =
        unused.iter().map(String::as_str).filter(|layer| !layers.contains(layer)).collect();
    let params = file.weights(&graph, &Naming::NODES, &unused)?;
    warnings.extend(params.ignored().iter().map(|name| {
        format!("`{}` is left out: the network has no such layer", name.escape_debug())
    }));
    Ok(Model { graph, params, input: prepared, warnings, ports: None })
}

/// A network in protobuf's text format, and what its file is called.
fn definition_of(path: &Path, room: &Room) -> Result<(Message, String), FormatError> {
    let place = path.display().to_string();
    let file = File::open(path).map_err(FormatError::io("read", path))?;
    let mut bytes = Vec::new();
    let read = file.take(limits::PROTOTXT + 1).read_to_end(&mut bytes);
    read.map_err(FormatError::io("read", path))?;
    Ok((message(&bytes, &place, room)?, place))
}

/// The message that a text is.
fn message(bytes: &[u8], place: &str, room: &Room) -> Result<Message, FormatError> {
    let place = || place.to_owned();
    let len = bytes.len() as u64;
    if len > limits::PROTOTXT {
        let (found, limit) = (String::from("the text"), format!("{} bytes", limits::PROTOTXT));
        return Err(FormatError::TooLarge { place: place(), found, limit });
    }
    room.take(EXPANSION * len, &place(), || format!("a text of {len} bytes"))?;
    let malformed = |offset: usize, found: String, expected: &str| FormatError::Malformed {
        place: place(),
        offset: offset as u64,
        found,
        expected: expected.to_owned(),
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        malformed(error.valid_up_to(), String::from("bytes that are no UTF-8"), "a text")
    })?;
    text::parse(text).map_err(|refused| malformed(refused.at, refused.found, refused.expected))
}

/// Whether a file that begins so is a `.caffemodel`: of what protobuf has no mark, but the fields up
/// to the first layer are few and known.
pub(crate) fn is_model(first: &[u8]) -> bool {
    let varint = |bytes: &mut &[u8]| -> Option<u64> {
        let len = bytes.iter().take(9).position(|byte| *byte < 0x80)? + 1;
        let (number, rest) = bytes.split_at(len);
        *bytes = rest;
        Some(number.iter().rev().fold(0, |n, byte| n << 7 | u64::from(byte & 0x7f)))
    };
    let mut rest = first;
    while let Some(key) = varint(&mut rest) {
        let Some(value) = varint(&mut rest) else { return false };
        let mut inside = &rest[..rest.len().min(usize::try_from(value).unwrap_or(usize::MAX))];
        let known = match (key >> 3, key & 7) {
            // A layer begins with its name, its type, or what it reads or gives.
            (2 | 100, 2) => {
                let first = varint(&mut inside);
                return first.is_some_and(|key| {
                    [(1..=4, 2), (5..=5, 0)]
                        .iter()
                        .any(|(fields, form)| fields.contains(&(key >> 3)) && key & 7 == *form)
                });
            }
            (1 | 3, 2) => std::str::from_utf8(inside)
                .is_ok_and(|text| inside.len() as u64 == value && !text.contains(char::is_control)),
            (6 | 8, 2) => inside.len() as u64 == value,
            (4 | 5 | 7, 0) => {
                inside = &[];
                true
            }
            _ => false,
        };
        if !known {
            return false;
        }
        rest = &rest[inside.len()..];
    }
    false
}

/// What is in the file. The ranges of the tensors count from its first byte.
pub(crate) fn listing(
    source: &mut (impl Read + Seek),
    len: u64,
    place: String,
    room: &Room,
) -> Result<Listing, FormatError> {
    let net = Wire::new(&mut *source, &place, room).message(schema::NET, len)?;
    let layers = net::layers(&net, false).map_err(|(name, found)| FormatError::Unsupported {
        place: place.clone(),
        found: format!("`{}`, {found}", name.escape_debug()),
        expected: String::from("layers of later ones: convert it with upgrade_net_proto_binary"),
    })?;
    let mut tensors = blobs::tensors(&layers, source, &place, room)?;
    let mut names = HashSet::new();
    if let Some(twice) = tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
        return Err(FormatError::Unsupported {
            found: format!("`{}` twice", twice.name.escape_debug()),
            place,
            expected: String::from("layers with names of their own"),
        });
    }
    tensors.sort_by(|a, b| (a.range.start, &a.name).cmp(&(b.range.start, &b.name)));
    Ok(Listing { metadata: metadata(&net), tensors, place, format: Format::Caffe })
}

/// The channels that the first convolution reads.
fn channels(saved: &Message) -> Option<usize> {
    let layers = net::layers(saved, false).ok()?;
    let first = layers.iter().find(|layer| layer.kind == "Convolution")?;
    let weight = first.message.messages(&["blobs"]).next()?;
    let shape = weight.message("shape").sizes("dim").ok()?;
    let read = shape.get(1).copied().or(weight.size("channels").ok()?)?;
    let groups = first.attributes("convolution_param").size("group").ok()?.unwrap_or(1);
    read.checked_mul(groups)
}

/// The layer of a tensor.
fn layer_of(tensor: &StoredTensor) -> String {
    tensor.name.rsplit_once('.').map_or(&*tensor.name, |(layer, _)| layer).to_owned()
}

/// The parameters that have one value, and are in no file: of layers of which the file has as many
/// statistics.
fn constants(graph: &Graph, constant: &[(String, f32)], file: &Listing) -> Vec<StoredTensor> {
    let layout = graph.layout();
    let shapes = file.tensors.iter().map(|tensor| (tensor.name.as_str(), &tensor.shape));
    let shapes: HashMap<&str, &Vec<usize>> = shapes.collect();
    let tensor = |(name, value): &(String, f32)| {
        let param = layout.find(name)?;
        let (layer, _) = name.rsplit_once('.')?;
        let mean = shapes.get(&*format!("{layer}.running_mean"))?;
        if **mean != param.slot.shape {
            return None;
        }
        let bytes = value.to_le_bytes().repeat(param.range.len());
        Some(StoredTensor {
            name: name.clone(),
            shape: param.slot.shape.clone(),
            element: Element::Float(Dtype::F32),
            range: 0..bytes.len(),
            strides: None,
            ordinal: None,
            held: Some(Arc::from(bytes)),
        })
    };
    constant.iter().filter_map(tensor).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use striate_graph::Params;

    use super::*;

    /// What `make.py` there wrote, and the tensors in it.
    const V1: &[u8] = include_bytes!("../tests/caffe/v1.caffemodel");
    const V2: &[u8] = include_bytes!("../tests/caffe/v2.caffemodel");
    const SAME_V1: &[u8] = include_bytes!("../tests/caffe/v1.safetensors");
    const SAME_V2: &[u8] = include_bytes!("../tests/caffe/v2.safetensors");
    const TRAIN_VAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/caffe/train_val.prototxt");

    fn parse(bytes: &[u8]) -> Result<TensorFile, FormatError> {
        TensorFile::parse(bytes.to_vec(), "bytes")
    }

    /// The network that a file of weights describes.
    fn network_of(bytes: &[u8]) -> Result<network::Network, FormatError> {
        let len = bytes.len() as u64;
        let net = Wire::new(Cursor::new(bytes), "bytes", &Room::within(&Limits::default()))
            .message(schema::NET, len)?;
        network::network(&net, false, None, channels(&net), "bytes")
    }

    #[test]
    fn tensors_are_those_that_were_written() {
        for (bytes, same) in [(V1, SAME_V1), (V2, SAME_V2)] {
            let (file, expected) = (parse(bytes).unwrap(), parse(same).unwrap());
            assert_eq!(file.listing().tensors.len(), expected.listing().tensors.len());
            for theirs in &expected.listing().tensors {
                let ours = file.listing().tensors.iter().find(|ours| ours.name == theirs.name);
                let ours = file.tensor(ours.unwrap()).unwrap();
                assert_eq!(ours, expected.tensor(theirs).unwrap(), "{}", theirs.name);
            }
        }
    }

    #[test]
    fn a_network_is_the_same_by_its_weights_and_by_its_training() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v2.caffemodel");
        std::fs::write(&path, V2).unwrap();
        let alone = read(&path, None, None).unwrap();
        let both = read(&path, Some(TRAIN_VAL.as_ref()), None).unwrap();
        let values = |model: &Model| Params::read(&model.params).unwrap();
        assert_eq!((&alone.graph, values(&alone)), (&both.graph, values(&both)));
        let nodes: Vec<_> = both.graph.nodes().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(nodes, ["data", "conv", "bn", "fc.flatten", "fc"]);
        assert_eq!(both.graph.input(), Shape::map(3, 3, 3));
        let input = both.input.unwrap();
        assert_eq!((input.mean, input.deviation), (vec![104.0, 117.0, 123.0], vec![2.0; 3]));
        assert_eq!(both.warnings.len(), 2, "{:?}", both.warnings);
        let usual = alone.input.unwrap();
        assert!(alone.warnings[0].contains("is not said: ImageNet's"), "{:?}", alone.warnings);
        assert_eq!((usual.mean, usual.crop), (vec![104.007, 116.669, 122.679], [3, 3]));
    }

    #[test]
    fn what_is_fed_may_be_said_by_hand() {
        let graph = |size| define(TRAIN_VAL.as_ref(), Some(Shape::map(3, size, size)));
        // The size of the linear layer's weights is that of the weights.
        assert_eq!(graph(9).unwrap().0.input(), Shape::map(3, 9, 9));
        assert!(graph(1).unwrap_err().to_string().contains("`conv`: (Convolution) 2×2 window"));
    }

    /// As when a network is only defined: nothing is allocated for them.
    #[test]
    fn parameters_of_one_value_are_as_many_as_the_file_has_statistics() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (model, definition) = (at("v2.caffemodel"), at("net.prototxt"));
        std::fs::write(&model, V2).unwrap();
        let text = r#"input: "data" input_dim: 1 input_dim: 2147483648 input_dim: 1 input_dim: 1
            layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }"#;
        std::fs::write(&definition, text).unwrap();
        let error = read(&model, Some(&definition), None).unwrap_err();
        let FormatError::Mismatch { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.misshapen[0].expected, [1 << 31]);
    }

    #[test]
    fn weights_of_another_network_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("v1.caffemodel");
        std::fs::write(&path, V1).unwrap();
        let error = read(&path, Some(TRAIN_VAL.as_ref()), None).unwrap_err();
        let FormatError::Mismatch { source, .. } = error else { panic!("{error}") };
        let statistics = ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"];
        assert_eq!(source.missing, statistics);
        assert_eq!(source.unexpected, ["conv.bias"]);
    }

    #[test]
    fn what_is_no_caffemodel_is_not_taken_for_one() {
        assert!(is_model(V1) && is_model(V2));
        let safetensors: Vec<Vec<u8>> =
            (0..=255u64).map(|len| [&len.to_le_bytes()[..], b"{\"a\":{}}"].concat()).collect();
        // A GraphDef and a ModelProto are protobuf, too.
        let others: [&[u8]; 7] = [
            b"",
            b"\x0a",
            b"\x0a\x10\n\x03abc\x12\x0bPlaceholder",
            b"\x08\x07\x12\x07pytorch\x1a\x051.2.0\x3a\x02",
            b"\x89HDF\r\n\x1a\n",
            b"PK\x03\x04",
            b"name: \"net\"",
        ];
        for other in others.into_iter().chain(safetensors.iter().map(Vec::as_slice)) {
            assert!(!is_model(other), "{other:?}");
        }
    }

    /// A file cut off between two layers is a whole one of fewer: the format does not say how many
    /// there are.
    #[test]
    fn a_file_cut_off_inside_a_layer_is_refused() {
        for bytes in [V1, V2] {
            let whole = parse(bytes).unwrap().listing().tensors.len();
            let mut accepted = Vec::new();
            for len in 0..bytes.len() {
                let Ok(file) = parse(&bytes[..len]) else { continue };
                assert!(file.listing().tensors.len() <= whole);
                accepted.push(len);
            }
            // Its layers are few.
            assert!(accepted.len() <= 4, "{accepted:?}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_harmless() {
        for whole in [V1, V2] {
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                drop(network_of(&flipped));
                let Ok(file) = parse(&flipped) else { continue };
                for stored in &file.listing().tensors {
                    let tensor = file.tensor(stored).unwrap();
                    assert_eq!(tensor.shape(), stored.shape, "bit {bit}");
                }
            }
        }
    }

    /// A field of bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 128);
        let key: &[u8] = if number == 100 { &[0xa2, 6] } else { &[number << 3 | 2] };
        [key, &[content.len() as u8], content].concat()
    }

    #[test]
    fn attacks_are_refused() {
        let layer = |kind: &[u8], blobs: &[Vec<u8>]| {
            let blobs: Vec<u8> = blobs.iter().flat_map(|blob| field(7, blob)).collect();
            field(100, &[field(1, b"x"), field(2, kind), blobs].concat())
        };
        let dims = |dims: &[u8]| field(7, &field(1, dims));
        let values = field(5, &[0; 8]);
        let huge = [&[0xff; 4][..], &[7]].concat().repeat(3);
        let overflow = [dims(&huge), values.clone()].concat();
        let negative = [dims(&[[0xff; 9].as_slice(), &[1]].concat()), values.clone()].concat();
        let more = [dims(&[3]), values.clone()].concat();
        let good = [dims(&[2]), values.clone()].concat();
        let mixed = [dims(&[3]), values, field(8, &[0; 8])].concat();
        let twice = layer(b"New", std::slice::from_ref(&good)).repeat(2);
        for (bytes, found) in [
            (layer(b"New", &[overflow]), "of shape [2147483647, 2147483647, 2147483647]"),
            (layer(b"New", &[negative]), "`dim` -1, expected a whole number"),
            (layer(b"New", &[more]), "blob 0 of `x` (New) of shape [3] with 2 values"),
            (layer(b"New", &[mixed]), "of values of two types"),
            (twice, "found `x.0` twice"),
            (layer(b"BatchNorm", &[good.clone(), good.clone(), good.clone()]), "for a factor"),
            (layer(b"BatchNorm", &[good.clone(), good]), "as the last, not as the third"),
            (field(2, &field(4, b"x")), "`x`, a layer without a type"),
            (
                field(2, &[field(4, b"x"), field(1, b"")].concat()),
                "a layer of the format of before",
            ),
        ] {
            let error = parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(found), "{error}");
        }
    }
}
