//! Headers of safetensors that lie.

use crate::Kind::{Malformed, TooLarge};
use crate::{Attack, refused};

/// A file with this header and so many bytes of values.
fn file(header: &str, values: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + values, 0);
    bytes
}

fn entry(name: &str, dtype: &str, shape: &str, offsets: [u64; 2]) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets:?}}}"#)
}

fn tensors(entries: &[String]) -> String {
    format!("{{{}}}", entries.join(","))
}

pub(crate) fn attacks() -> Vec<Attack> {
    let allocate = "allocate what it claims";
    let other = "give one tensor the bytes of another";
    let x = |shape: &str, offsets| tensors(&[entry("x", "F32", shape, offsets)]);
    let two = |a, b| tensors(&[entry("a", "F32", "[1]", a), entry("b", "F32", "[1]", b)]);
    let claims = |header: u64| [&header.to_le_bytes()[..], b"{}"].concat();
    let many: Vec<String> =
        (0..1_000_000).map(|i| entry(&i.to_string(), "F32", "[0]", [0, 0])).collect();
    let axes = format!("[{}1]", "1,".repeat(99));
    let deep = |with: &str| format!("{{\"x\":{}", with.repeat(1_000_000));
    vec![
        refused(
            "a header longer than the file",
            allocate,
            claims(1 << 40),
            Malformed,
            "a header of 1099511627776 bytes in a file of 10",
        ),
        refused("a header of 2^64 bytes", allocate, claims(u64::MAX), Malformed, "in a file of 10"),
        refused(
            "tensors that overlap",
            other,
            file(&two([0, 4], [2, 6]), 6),
            Malformed,
            "without gap or overlap",
        ),
        refused(
            "tensors that are the same bytes",
            other,
            file(&two([0, 4], [0, 4]), 4),
            Malformed,
            "without gap or overlap",
        ),
        refused(
            "a hole in which anything may hide",
            "keep it",
            file(&two([0, 4], [8, 12]), 12),
            Malformed,
            "without gap or overlap",
        ),
        refused(
            "something behind the last tensor",
            "keep it",
            file(&x("[1]", [0, 4]), 8),
            Malformed,
            "something else follows",
        ),
        refused(
            "a tensor beyond the end",
            "read what is behind the file in memory",
            file(&x("[1099511627776]", [0, 1 << 42]), 4),
            Malformed,
            "found 4 bytes of values",
        ),
        refused(
            "a range that ends before it begins",
            "subtract and get 2^64",
            file(&x("[1]", [4, 0]), 4),
            Malformed,
            "from 4 to 0",
        ),
        refused(
            "extents whose product overflows to what is there",
            "write 2^64 values into four bytes",
            file(&x("[4294967296,4294967296,1]", [0, 0]), 0),
            Malformed,
            "below 2^61",
        ),
        refused(
            "values of half the size that the type has",
            "read what is behind them",
            file(&tensors(&[entry("x", "F64", "[2]", [0, 8])]), 8),
            Malformed,
            "expected 16 bytes",
        ),
        refused(
            "values of less than a byte",
            "round the size to 0",
            file(&tensors(&[entry("x", "F4", "[1]", [0, 0])]), 0),
            Malformed,
            "a number of whole bytes",
        ),
        refused(
            "a type that nobody has",
            "take it for another",
            file(&tensors(&[entry("x", "F33", "[1]", [0, 4])]), 4),
            Malformed,
            "unknown variant `F33`",
        ),
        refused(
            "a million tensors of no bytes",
            "keep some hundred bytes for each",
            file(&tensors(&many), 0),
            TooLarge,
            "a header of 1000000 tensors",
        ),
        refused("a hundred axes", allocate, file(&x(&axes, [0, 4]), 4), TooLarge, "of 100 axes"),
        refused(
            "a name of a hundred thousand letters",
            "print it",
            file(&tensors(&[entry(&"n".repeat(100_000), "F32", "[1]", [0, 4])]), 4),
            TooLarge,
            "the name of a tensor, 100000 bytes",
        ),
        refused(
            "lists a million deep",
            "overflow the stack of its thread",
            file(&deep("["), 0),
            Malformed,
            "a header with a mistake",
        ),
        refused(
            "objects a million deep",
            "overflow the stack of its thread",
            file(&deep("{\"y\":"), 0),
            Malformed,
            "a header with a mistake",
        ),
        refused(
            "a name that is there twice",
            "check the one and use the other",
            file(&two([0, 4], [4, 8]).replace("\"b\"", "\"a\""), 8),
            Malformed,
            "`a` is given twice",
        ),
        refused(
            "metadata that are there twice",
            "check the one and use the other",
            file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0),
            Malformed,
            "is given twice",
        ),
    ]
}
