//! Writing `.weights.h5`: the few structures of HDF5 that a tree of groups and plain datasets needs,
//! in the form of its version 3.
//!
//! The crates that write HDF5 make a file in memory, which may be as large as the machine's.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use hdf5_reader::checksum::jenkins_lookup3;
use striate_graph::op::Role;
use striate_graph::{Graph, InputSpec, Naming, Op, Param, ParamSource};

use striate_tensor::strided::Axis;

use super::order;
use crate::atomic::write_output;
use crate::{Dtype, FormatError, INPUT};

/// No address.
const NOWHERE: u64 = u64::MAX;

/// Bytes of the superblock.
const SUPERBLOCK: u64 = 48;

/// The longest attribute: the length of a message is 16 bits.
const MAX_ATTRIBUTE: usize = 60_000;

/// Writes the weights of a network to a `.weights.h5` file as Keras 3 reads it, whole or not at all.
/// Keras finds a layer's tensors by its class and its place among the layers of that class, as the
/// model has them that is the same network; the names of `naming` are put beside them. What
/// `metadata` and `input` say is kept for this project; Keras does not look at it.
///
/// # Errors
/// [`FormatError::Unwritable`] if `input` makes no sense; [`FormatError::Io`] if the file cannot be
/// written or the weights cannot be read.
pub fn save_keras(
    path: &Path,
    graph: &Graph,
    weights: &dyn ParamSource,
    naming: &Naming,
    input: Option<&InputSpec>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), FormatError> {
    let unwritable = |reason| FormatError::Unwritable { place: path.display().to_string(), reason };
    let mut attributes = metadata.clone();
    attributes.remove(INPUT);
    if let Some(input) = input {
        input.check().map_err(unwritable)?;
        let json = serde_json::to_string(input).map_err(|error| unwritable(error.to_string()))?;
        attributes.insert(INPUT.to_owned(), json);
    }
    if let Some((key, _)) = attributes.iter().find(|(k, v)| k.len() + v.len() > MAX_ATTRIBUTE) {
        return Err(unwritable(format!("`{}` is too long", key.escape_debug())));
    }
    let layout = weights.layout();
    if *layout != graph.layout() {
        return Err(unwritable(String::from("the weights are of another network than the graph")));
    }
    let keys = naming.keys(graph);
    let ordinals = order::ordinals(graph, layout);
    let mut layers: BTreeMap<&str, (&str, Vec<&Param>)> = BTreeMap::new();
    for (param, ordinal) in layout.params().iter().zip(&ordinals) {
        let key = keys[param.node.index()].as_str();
        let group = ordinal.split_once('.').map_or("", |(group, _)| group);
        layers.entry(group).or_insert((key, Vec::new())).1.push(param);
    }
    let tree = Tree::of(graph, &layers, &attributes);
    write_output(path, |file| {
        file.write_all(&tree.head())?;
        let mut values = tree.values.into_iter();
        values.try_for_each(|(param, view)| file.values(weights, param, Some(view), Dtype::F32))
    })
}

/// The extents that Keras has for a parameter, and how its values, in Keras's order, lie in ours.
fn turned(graph: &Graph, param: &Param) -> (Vec<usize>, Vec<Axis>) {
    let node = graph.node(param.node);
    // The axis along which a node reads a map that was flattened.
    let inputs = |extent: usize| match graph.flattened(node) {
        Some([c, h, w]) => vec![Axis::new(h, w), Axis::new(w, 1), Axis::new(c, h * w)],
        None => vec![Axis::new(extent, 1)],
    };
    match (&node.op, param.slot.role, &param.slot.shape[..]) {
        (Op::Conv2d(conv), Role::Weight, &[outputs, read, h, w]) => {
            let axes = vec![
                Axis::new(h, w),
                Axis::new(w, 1),
                Axis::new(read, h * w),
                Axis::new(outputs, read * h * w),
            ];
            let last = match conv.is_depthwise(read * conv.groups) {
                true => [conv.groups, outputs / conv.groups],
                false => [read, outputs],
            };
            (vec![h, w, last[0], last[1]], axes)
        }
        (Op::Linear(_), Role::Weight, &[outputs, read]) => {
            let mut axes = inputs(read);
            axes.push(Axis::new(outputs, read));
            (vec![read, outputs], axes)
        }
        (Op::BatchNorm(_), _, &[channels]) => (vec![channels], inputs(channels)),
        (_, _, shape) => (shape.to_vec(), vec![Axis::new(shape.iter().product(), 1)]),
    }
}

/// A group or a dataset, by what its header says.
enum Object {
    Group { links: Vec<(String, usize)>, attributes: Vec<(String, String)> },
    Dataset { shape: Vec<usize>, at: u64 },
}

/// All objects of a file, the root first, and the parameters in the order of their values.
struct Tree<'p> {
    objects: Vec<Object>,
    values: Vec<(&'p Param, Vec<Axis>)>,
    /// Bytes of all values.
    len: u64,
}

impl<'p> Tree<'p> {
    fn of(
        graph: &Graph,
        layers: &BTreeMap<&str, (&str, Vec<&'p Param>)>,
        attributes: &BTreeMap<String, String>,
    ) -> Tree<'p> {
        let group = |links, attributes| Object::Group { links, attributes };
        let attributes = attributes.iter().map(|(key, value)| (key.clone(), value.clone()));
        let mut tree = Tree { objects: Vec::new(), values: Vec::new(), len: 0 };
        tree.objects.push(group(vec![(String::from("layers"), 1)], attributes.collect()));
        tree.objects.push(group(Vec::new(), Vec::new()));
        let mut links = Vec::new();
        for (word, (name, params)) in layers {
            let at = tree.objects.len();
            links.push(((*word).to_owned(), at));
            tree.objects.push(group(vec![(String::from("vars"), at + 1)], Vec::new()));
            let variables = (0..params.len()).map(|i| (i.to_string(), at + 2 + i)).collect();
            let named = vec![(String::from("name"), (*name).to_owned())];
            tree.objects.push(group(variables, named));
            for param in params {
                let (shape, axes) = turned(graph, param);
                tree.objects.push(Object::Dataset { shape, at: tree.len });
                tree.len += 4 * param.range.len() as u64;
                tree.values.push((param, axes));
            }
        }
        tree.objects[1] = group(links, Vec::new());
        tree
    }

    /// All of the file before its values.
    fn head(&self) -> Vec<u8> {
        // Addresses have one length, so that the headers do, whatever they are.
        let nowhere = vec![0; self.objects.len()];
        let mut at = SUPERBLOCK;
        let addresses: Vec<u64> = (self.objects.iter())
            .map(|object| {
                let address = at;
                at += object.header(&nowhere, 0).len() as u64;
                address
            })
            .collect();
        let values = at.next_multiple_of(8);
        let mut head = b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00".to_vec();
        for address in [0, NOWHERE, values + self.len, addresses[0]] {
            head.extend(address.to_le_bytes());
        }
        let checksum = jenkins_lookup3(&head);
        head.extend(checksum.to_le_bytes());
        for object in &self.objects {
            head.extend(object.header(&addresses, values));
        }
        head.resize(values as usize, 0);
        head
    }
}

impl Object {
    /// Its object header, of version 2, where the objects are at these addresses and the values
    /// begin at that one.
    fn header(&self, addresses: &[u64], values: u64) -> Vec<u8> {
        let mut messages = Vec::new();
        let mut message = |kind: u8, parts: &[&[u8]]| {
            let data = parts.concat();
            messages.push(kind);
            messages.extend((data.len() as u16).to_le_bytes());
            messages.push(0);
            messages.extend(data);
        };
        match self {
            Object::Group { links, attributes } => {
                // Links are here, and not in a heap or a tree.
                message(0x02, &[&[0, 0], &NOWHERE.to_le_bytes(), &NOWHERE.to_le_bytes()]);
                message(0x0a, &[&[0, 0]]);
                for (name, object) in links {
                    // A hard one, its name in UTF-8 with a length of two bytes.
                    let length = (name.len() as u16).to_le_bytes();
                    let address = addresses[*object].to_le_bytes();
                    message(0x06, &[&[1, 0x11, 1], &length, name.as_bytes(), &address]);
                }
                for (name, value) in attributes {
                    // One text of fixed length in UTF-8, padded with zeros.
                    let lengths = [name.len() as u16 + 1, 8, 4].map(u16::to_le_bytes).concat();
                    let text = (value.len().max(1) as u32).to_le_bytes();
                    let padding: &[u8] = if value.is_empty() { &[0] } else { &[] };
                    message(
                        0x0c,
                        &[
                            &[3, 0],
                            &lengths,
                            &[1],
                            name.as_bytes(),
                            &[0],
                            &[0x13, 0x11, 0, 0],
                            &text,
                            &[2, 0, 0, 0],
                            value.as_bytes(),
                            padding,
                        ],
                    );
                }
            }
            Object::Dataset { shape, at } => {
                let extents = shape.iter().flat_map(|&extent| (extent as u64).to_le_bytes());
                let extents: Vec<u8> = extents.collect();
                message(0x01, &[&[2, shape.len() as u8, 0, 1], &extents]);
                message(0x03, &[&F32]);
                // None, and space when values are written.
                message(0x05, &[&[3, 0x0a]]);
                let len = 4 * shape.iter().product::<usize>() as u64;
                message(0x08, &[&[3, 1], &(values + at).to_le_bytes(), &len.to_le_bytes()]);
            }
        }
        let mut header = b"OHDR\x02\x02".to_vec();
        header.extend((messages.len() as u32).to_le_bytes());
        header.extend(messages);
        let checksum = jenkins_lookup3(&header);
        header.extend(checksum.to_le_bytes());
        header
    }
}

/// A number of IEEE's single precision, little-endian: 32 bits from bit 0 on; sign at bit 31, 8 bits
/// of exponent at 23, 23 of mantissa at 0; bias 127.
const F32: [u8; 20] = [0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];
