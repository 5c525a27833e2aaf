//! `docs/formats.md` publishes the limits that the code keeps.

use striate_formats::limits as of;
use striate_graph::MAX_VOLUME;
use striate_train::{MAX_LOG, MAX_STATE};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formats.md"));

#[test]
fn the_table_of_limits_is_that_of_the_code() {
    let rows: [(&str, u64); 28] = [
        ("memory of a file, values as `f32`, in bytes", of::MEMORY),
        ("tensors of a file", of::TENSORS as u64),
        ("values of a tensor", MAX_VOLUME as u64),
        ("axes of a tensor", of::AXES as u64),
        ("name of a tensor, bytes", of::NAME as u64),
        ("safetensors: header, bytes", of::HEADER),
        ("zip: entries", of::ENTRIES as u64),
        ("`.pth`: pickle, bytes", of::PICKLE),
        ("`.pth`: operations of the pickle", of::OPERATIONS as u64),
        ("`.pth`: key of a storage, bytes", of::KEY as u64),
        ("`.pth`: metadata, bytes", of::METADATA),
        ("HDF5: groups", of::GROUPS as u64),
        ("HDF5: groups in each other", of::GROUP_DEPTH as u64),
        ("HDF5: header of an object, bytes", of::OBJECT_HEADER as u64),
        ("HDF5: chunk, bytes", of::CHUNK as u64),
        ("HDF5: names in all, bytes", of::NAMES),
        ("HDF5, `.keras`: bytes of one compressed byte", of::RATIO),
        ("`.keras`: text, bytes", of::CONFIG),
        ("Caffe, ONNX: fields", of::FIELDS as u64),
        ("Caffe: layers", of::LAYERS as u64),
        ("Caffe, ONNX: text, bytes", of::TEXT),
        ("Caffe: messages in each other", of::MESSAGE_DEPTH as u64),
        ("`.prototxt`, bytes", of::PROTOTXT),
        ("ONNX: axes of a computed value", of::COMPUTED_AXES as u64),
        ("ONNX: values computed with at a time", of::COMPUTED as u64),
        ("ONNX: values computed with in all", of::COMPUTED_IN_ALL as u64),
        ("ONNX: files beside it", of::FILES as u64),
        ("checkpoint: `state.json`, bytes", MAX_STATE),
    ];
    let mut table = String::from("| limit | |\n| --- | --- |\n");
    for (what, limit) in rows {
        table.push_str(&format!("| {what} | {limit} |\n"));
    }
    let times = format!("{} times its length and {} bytes", of::REREAD, of::REREAD_BESIDE);
    table.push_str(&format!("| HDF5: read in all | {times} |\n"));
    table.push_str(&format!("| checkpoint: `log.jsonl`, bytes | {MAX_LOG} |\n"));
    assert!(DOCUMENT.contains(&table), "docs/formats.md should have:\n{table}");
}
