//! What is read of `onnx.proto`, with the numbers of its fields.
//!
//! Of graphs inside of nodes those of `If` are, but for graphs inside of them.

use crate::Dtype;
use crate::protobuf::wire::{Kind, Schema};

/// `ModelProto`.
pub(super) const MODEL: &Schema = &[
    (2, "producer_name", Kind::Text),
    (7, "graph", Kind::Message(GRAPH)),
    (8, "opset_import", Kind::Message(&[(1, "domain", Kind::Text), (2, "version", Kind::Whole)])),
    (14, "metadata_props", Kind::Message(ENTRY)),
];

const GRAPH: &Schema = &[
    (1, "node", Kind::Message(NODE)),
    (5, "initializer", Kind::Message(TENSOR)),
    (11, "input", Kind::Message(VALUE)),
    (12, "output", Kind::Message(VALUE)),
];

const NODE: &Schema = &node(&attribute(BRANCH));

const BRANCH: &Schema =
    &[(1, "node", Kind::Message(&node(&attribute(&[])))), (12, "output", Kind::Message(VALUE))];

const fn node(attribute: &'static Schema) -> [(u64, &'static str, Kind); 7] {
    [
        (1, "input", Kind::Text),
        (2, "output", Kind::Text),
        (3, "name", Kind::Text),
        (4, "op_type", Kind::Text),
        (5, "attribute", Kind::Message(attribute)),
        (7, "domain", Kind::Text),
        (9, "metadata_props", Kind::Message(ENTRY)),
    ]
}

const fn attribute(graph: &'static Schema) -> [(u64, &'static str, Kind); 8] {
    [
        (1, "name", Kind::Text),
        (2, "f", Kind::Float),
        (3, "i", Kind::Whole),
        (4, "s", Kind::Text),
        (5, "t", Kind::Message(TENSOR)),
        (6, "g", Kind::Message(graph)),
        (7, "floats", Kind::Float),
        (8, "ints", Kind::Whole),
    ]
}

const TENSOR: &Schema = &[
    (1, "dims", Kind::Whole),
    (2, "data_type", Kind::Whole),
    (4, "float_data", Kind::Values(Dtype::F32)),
    (5, "int32_data", Kind::Whole),
    (7, "int64_data", Kind::Whole),
    (8, "name", Kind::Text),
    (9, "raw_data", Kind::Bytes),
    (10, "double_data", Kind::Values(Dtype::F64)),
    (13, "external_data", Kind::Message(ENTRY)),
    (14, "data_location", Kind::Whole),
];

const ENTRY: &Schema = &[(1, "key", Kind::Text), (2, "value", Kind::Text)];

const VALUE: &Schema = &[(1, "name", Kind::Text), (2, "type", Kind::Message(TYPE))];
const TYPE: &Schema = &[(1, "tensor_type", Kind::Message(TENSOR_TYPE))];
const TENSOR_TYPE: &Schema = &[(1, "elem_type", Kind::Whole), (2, "shape", Kind::Message(SHAPE))];
const SHAPE: &Schema = &[(1, "dim", Kind::Message(DIMENSION))];
const DIMENSION: &Schema = &[(1, "dim_value", Kind::Whole), (2, "dim_param", Kind::Text)];
