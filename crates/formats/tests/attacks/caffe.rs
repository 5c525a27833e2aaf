//! Caffe's two formats: protobuf's wire format, and its text format.

use striate_formats::caffe;
use striate_graph::Shape;

use crate::Kind::{Malformed, TooLarge, Unsupported};
use crate::{Attack, kind, refused};

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A field of bytes.
fn field(number: u64, content: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | 2), &varint(content.len() as u64), content].concat()
}

/// A network of one layer with these blobs.
fn layer(kind: &str, blobs: &[Vec<u8>]) -> Vec<u8> {
    let blobs: Vec<u8> = blobs.iter().flat_map(|blob| field(7, blob)).collect();
    field(100, &[field(1, b"x"), field(2, kind.as_bytes()), blobs].concat())
}

fn blob(dims: &[u64], values: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| varint(*dim)).collect();
    [field(7, &field(1, &dims)), field(5, values)].concat()
}

pub(crate) fn attacks() -> Vec<Attack> {
    let allocate = "allocate what it claims";
    let read = "read what is behind the values";
    let overflow = "multiply them and get 0";
    let cut = [field(100, &[field(1, b"x"), field(2, b"New")].concat()), vec![0xa2, 6, 0xff, 0xff]];
    let beyond = field(100, &[&field(1, b"x")[..], &[0x12], &varint(1 << 62)].concat());
    let long = [&[0xa2, 6, 14][..], &field(1, b"x"), &[0x20], &[0xff; 10], &[1]].concat();
    let group = [&[0xa2, 6, 4][..], &field(1, b"x"), &[0x7b]].concat();
    let grouped = [field(1, b"net"), field(100, &[field(1, b"x"), [0x7b].repeat(100)].concat())];
    let fields = field(100, &[field(1, b"x"), [0x0a, 0].repeat(1 << 20)].concat());
    let values =
        |tail: &[u8]| field(100, &[field(1, b"x"), field(2, b"New"), field(7, tail)].concat());
    vec![
        refused("a field longer than the file", allocate, cut.concat(), Malformed, "byte"),
        refused("a text of 2^62 bytes", allocate, beyond, Malformed, "a field of"),
        refused(
            "a number of eleven bytes",
            "shift it out of its register",
            long,
            Malformed,
            "a number of more than 64 bits",
        ),
        refused("a group, which nobody uses", "follow it", group, Malformed, "of wire type 3"),
        refused(
            "a hundred groups in each other",
            "overflow the stack of its thread",
            grouped.concat(),
            Malformed,
            "of wire type 3",
        ),
        refused(
            "a million empty names",
            "keep a hundred bytes for each of two",
            fields,
            TooLarge,
            "more than 1048576 fields",
        ),
        refused(
            "packed values of odd length",
            read,
            values(&field(5, &[0; 7])),
            Malformed,
            "`data` of 7 bytes",
        ),
        refused(
            "more values than the shape says",
            read,
            layer("New", &[blob(&[1], &[0; 8])]),
            Unsupported,
            "of shape [1] with 2 values",
        ),
        refused(
            "fewer values than the shape says",
            read,
            layer("New", &[blob(&[3], &[0; 8])]),
            Unsupported,
            "of shape [3] with 2 values",
        ),
        refused(
            "extents whose product overflows",
            overflow,
            layer("New", &[blob(&[1 << 31, 1 << 31, 4], &[])]),
            Unsupported,
            "of shape [2147483648, 2147483648, 4] with 0 values",
        ),
        refused(
            "an extent of 2^62",
            overflow,
            layer("New", &[blob(&[1 << 62], &[0; 8])]),
            Unsupported,
            "`dim` 4611686018427388000",
        ),
        refused(
            "a negative extent",
            overflow,
            layer("New", &[blob(&[u64::MAX], &[0; 8])]),
            Unsupported,
            "`dim` -1",
        ),
        refused(
            "statistics with a factor of many values",
            "divide by what is behind the first",
            layer("BatchNorm", &[blob(&[1], &[0; 4]), blob(&[1], &[0; 4]), blob(&[2], &[0; 8])]),
            Unsupported,
            "of 2 values, for a factor",
        ),
        refused(
            "two layers of one name",
            "check the one and use the other",
            layer("New", &[blob(&[1], &[0; 4])]).repeat(2),
            Unsupported,
            "`x.0` twice",
        ),
        refused(
            "more layers than a network has",
            "take time that grows with their square",
            layer("New", &[]).repeat((1 << 14) + 1),
            Unsupported,
            "one of more than 16384 layers",
        ),
    ]
}

#[test]
fn definitions_that_are_attacks_are_refused() {
    let data = r#"input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8 "#;
    let one = |kind: &str, attributes: &str| {
        format!(
            r#"{data} layer {{ name: "x" type: "{kind}" bottom: "data" top: "x" {attributes} }}"#
        )
    };
    let relu = |name: &str, bottom: &str| {
        format!(r#"layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{name}" }} "#)
    };
    let convolution =
        |attributes: &str| one("Convolution", &format!("convolution_param {{ {attributes} }}"));
    let chain: String =
        (0..=1 << 14).map(|i| relu(&format!("n{}", i + 1), &format!("n{i}"))).collect();
    // Each adds what it reads to itself: 2^40 paths, forty nodes.
    let sums: String = (0..40)
        .map(|i| {
            format!(
                r#"layer {{ name: "n{0}" type: "Concat" bottom: "n{i}" bottom: "n{i}" top: "n{0}" }} "#,
                i + 1
            )
        })
        .collect();
    let fed = data.replace("\"data\"", "\"n0\"");
    let cases = [
        ("messages a million deep", "a{".repeat(1_000_000), Malformed, "more than 32 messages"),
        ("ends without beginnings", "}".repeat(1000), Malformed, "found `}`"),
        ("lists in lists", "a: [[[[".to_owned(), Malformed, "found `[`"),
        ("a text without an end", format!("a: \"{}", "x".repeat(1 << 20)), Malformed, "no end"),
        ("a million fields and more", "a:1 ".repeat((1 << 20) + 1), Malformed, "1048576 fields"),
        (
            "a list of a million and more",
            format!("a:[{}]", "1,".repeat((1 << 20) + 1)),
            Malformed,
            "a shorter list",
        ),
        ("a text of 17 MB", " ".repeat(17 << 20), TooLarge, "16777216 bytes"),
        (
            "outputs of 2^31",
            convolution("num_output: 2147483648 kernel_size: 1"),
            Unsupported,
            "more than 2147483648",
        ),
        (
            "outputs of 10^30",
            convolution("num_output: 1e30 kernel_size: 1"),
            Unsupported,
            "expected a whole number",
        ),
        (
            "a kernel of 2^31",
            convolution("num_output: 1 kernel_size: 2147483648"),
            Unsupported,
            "window over",
        ),
        (
            "a dilation of 2^31",
            convolution("num_output: 1 kernel_size: 3 dilation: 2147483648"),
            Unsupported,
            "window over",
        ),
        (
            "a border of 2^31",
            convolution("num_output: 1 kernel_size: 1 pad: 2147483648"),
            Unsupported,
            "more than 2147483648",
        ),
        (
            "a stride of 0",
            convolution("num_output: 1 kernel_size: 1 stride: 0"),
            Unsupported,
            "at least 1",
        ),
        (
            "groups of 0",
            convolution("num_output: 1 kernel_size: 1 group: 0"),
            Unsupported,
            "at least 1",
        ),
        (
            "a negative kernel",
            convolution("num_output: 1 kernel_size: -1"),
            Unsupported,
            "expected a whole number",
        ),
        (
            "ten million outputs of a row",
            one("InnerProduct", "inner_product_param { num_output: 2147483648 }"),
            Unsupported,
            "more than 2147483648",
        ),
        (
            "layers in a circle",
            format!("{data}{}{}", relu("a", "b"), relu("b", "a")),
            Unsupported,
            "which no layer before it gives",
        ),
        (
            "a layer that reads itself",
            format!("{data}{}", relu("a", "a")),
            Unsupported,
            "which no layer before it gives",
        ),
        (
            "more layers than a network has",
            format!("{fed}{chain}"),
            Unsupported,
            "more than 16384 layers",
        ),
        (
            "channels that double forty times",
            format!("{fed}{sums}"),
            Unsupported,
            "more than 2147483648",
        ),
        (
            "an input of 2^93 values",
            format!(
                "input: \"n0\" input_shape {{ dim: 1 {} }} {}",
                "dim: 2147483648 ".repeat(3),
                relu("n1", "n0")
            ),
            Unsupported,
            "more than 2147483648",
        ),
    ];
    for (name, text, expected, says) in cases {
        for input in [None, Some(Shape::map(3, 8, 8))] {
            if input.is_some() && name.starts_with("an input") {
                continue;
            }
            let error = caffe::parse_definition(&text, "net.prototxt", input).unwrap_err();
            assert_eq!(kind(&error), Some(expected), "{name}: {error}");
            assert!(error.to_string().contains(says), "{name}: {error}");
        }
    }
}
