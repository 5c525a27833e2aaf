//! The file: a message of protobuf that is put together by hand where the weights are, so that they
//! are written part by part.

use std::io::{self, Read, Write};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use striate_graph::ParamSource;
use striate_tensor::strided::Axis;

use super::nodes::{Initializer, Nodes, Values, signed};
use super::proto;
use super::write::entry;
use crate::Dtype;
use crate::output::Output;

/// Tensors of so many bytes begin where a page can be mapped, on any system.
const LARGE: u64 = 1 << 20;
const PAGE: u64 = 1 << 16;

/// The model, encoded but for the values.
pub(super) struct ModelFile<'n> {
    model: Vec<u8>,
    graph: Vec<u8>,
    initializers: Vec<Encoded<'n>>,
}

/// A tensor, encoded up to its values.
struct Encoded<'n> {
    head: Vec<u8>,
    place: Place,
    values: &'n Values<'n>,
}

/// Where the values of a tensor are written.
#[derive(Clone, Copy)]
enum Place {
    /// Behind the head, so many bytes.
    Within(u64),
    /// At this byte of the other file.
    Beside(u64),
}

impl<'n> ModelFile<'n> {
    /// With the weights in a second file if that has a name.
    pub(super) fn new(
        model: &proto::Model,
        graph: &proto::Graph,
        nodes: &'n Nodes<'_>,
        location: Option<&str>,
    ) -> ModelFile<'n> {
        let mut end = 0;
        let encode = |initializer| Encoded::new(initializer, location, &mut end);
        let initializers = nodes.initializers.iter().map(encode).collect();
        let (model, graph) = (model.encode_to_vec(), graph.encode_to_vec());
        ModelFile { model, graph, initializers }
    }

    /// Bytes of the graph.
    fn graph_len(&self) -> u64 {
        let initializers = self.initializers.iter().map(Encoded::len);
        self.graph.len() as u64 + initializers.sum::<u64>()
    }

    /// Bytes of the model, a few too many.
    pub(super) fn len(&self) -> u64 {
        self.model.len() as u64 + self.graph_len() + 16
    }

    pub(super) fn write<'w>(
        &'w self,
        to: &mut Output<'w>,
        params: &'w dyn ParamSource,
    ) -> io::Result<()> {
        to.write_all(&self.model)?;
        to.write_all(&opened(7, self.graph_len()))?;
        to.write_all(&self.graph)?;
        for Encoded { head, place, values } in &self.initializers {
            to.write_all(head)?;
            if let Place::Within(_) = place {
                write_values(to, values, params)?;
            }
        }
        Ok(())
    }

    /// The second file.
    pub(super) fn write_data<'w>(
        &'w self,
        to: &mut Output<'w>,
        params: &'w dyn ParamSource,
    ) -> io::Result<()> {
        let mut at = 0;
        for Encoded { place, values, .. } in &self.initializers {
            let Place::Beside(start) = *place else { continue };
            io::copy(&mut io::repeat(0).take(start - at), to)?;
            write_values(to, values, params)?;
            at = start + bytes(values);
        }
        Ok(())
    }
}

impl<'n> Encoded<'n> {
    /// With the values of learned tensors at `location`, from the byte `end` on. Runtimes want the
    /// values of others, shapes among them, when they read the model.
    fn new(initializer: &'n Initializer<'_>, location: Option<&str>, end: &mut u64) -> Encoded<'n> {
        let Initializer { name, dims, values } = initializer;
        let data_type = match values {
            Values::Learned(..) | Values::Floats(_) => proto::tensor::FLOAT,
            Values::Integers(_) => proto::tensor::INT64,
        };
        let dims = dims.iter().copied().map(signed).collect();
        let mut tensor =
            proto::Tensor { dims, data_type, name: name.clone(), ..proto::Tensor::default() };
        let length = bytes(values);
        let place = match (location, values) {
            (Some(location), Values::Learned(..)) => {
                let start = if length >= LARGE { end.next_multiple_of(PAGE) } else { *end };
                *end = start + length;
                tensor.data_location = proto::tensor::EXTERNAL;
                tensor.external_data = vec![
                    entry("location", location.to_owned()),
                    entry("offset", start.to_string()),
                    entry("length", length.to_string()),
                ];
                Place::Beside(start)
            }
            (Some(_) | None, _) => Place::Within(length),
        };
        let mut tensor = tensor.encode_to_vec();
        if let Place::Within(length) = place {
            tensor.extend(opened(9, length));
        }
        let mut encoded = Encoded { head: tensor, place, values };
        encoded.head = [opened(5, encoded.len()), encoded.head].concat();
        encoded
    }

    /// Bytes in the model.
    fn len(&self) -> u64 {
        let values = match self.place {
            Place::Within(bytes) => bytes,
            Place::Beside(_) => 0,
        };
        self.head.len() as u64 + values
    }
}

/// The begin of a field of so many bytes.
fn opened(tag: u32, bytes: u64) -> Vec<u8> {
    let mut begin = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut begin);
    encode_varint(bytes, &mut begin);
    begin
}

fn bytes(values: &Values<'_>) -> u64 {
    match values {
        Values::Learned(param, times) => 4 * (param.range.len() * times) as u64,
        Values::Floats(values) => 4 * values.len() as u64,
        Values::Integers(values) => 8 * values.len() as u64,
    }
}

fn write_values<'w>(
    to: &mut Output<'w>,
    values: &'w Values<'_>,
    params: &'w dyn ParamSource,
) -> io::Result<()> {
    match values {
        Values::Learned(param, 1) => to.values(params, param, None, Dtype::F32),
        Values::Learned(param, times) => {
            let view = vec![Axis::new(param.range.len(), 1), Axis::new(*times, 0)];
            to.values(params, param, Some(view), Dtype::F32)
        }
        Values::Floats(values) => Dtype::F32.write(values, to),
        Values::Integers(values) => values.iter().try_for_each(|v| to.write_all(&v.to_le_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use striate_graph::{Graph, Shape};

    use super::*;

    #[test]
    fn weights_beside_do_not_count() {
        let graph =
            Graph::build(Shape::map(1, 1, 1 << 15), |x| x.flatten().linear(1 << 14)).unwrap();
        let layout = graph.layout();
        let nodes = Nodes::new(&graph, &layout).unwrap();
        let (model, network) = (proto::Model::default(), proto::Graph::default());
        assert!(ModelFile::new(&model, &network, &nodes, None).len() > (2 << 30));
        assert!(ModelFile::new(&model, &network, &nodes, Some("large.data")).len() < 1 << 10);
    }
}
