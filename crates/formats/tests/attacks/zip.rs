//! Archives that are not what they say, of PyTorch's and of Keras's.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::Kind::{Malformed, Metadata, TooLarge, Unsupported};
use crate::{Attack, harmless, refused};

const STATE: &[u8] = include_bytes!("../pytorch/state.pth");
const TINY: &[u8] = include_bytes!("../keras/tiny_chunked.weights.h5");
const CONFIG: &[u8] = b"{\"config\":{}}";

/// An archive of entries that are not compressed.
pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    with(entries, CompressionMethod::Stored, false)
}

fn with(entries: &[(&str, &[u8])], method: CompressionMethod, large: bool) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method).large_file(large);
    for (name, bytes) in entries {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn deflated(entries: &[(&str, &[u8])]) -> Vec<u8> {
    with(entries, CompressionMethod::Deflated, false)
}

/// The same with other bytes wherever these are.
fn patched(mut file: Vec<u8>, these: &[u8], others: &[u8]) -> Vec<u8> {
    assert_eq!(these.len(), others.len());
    let places: Vec<usize> =
        (0..=file.len() - these.len()).filter(|&at| file[at..].starts_with(these)).collect();
    assert!(!places.is_empty(), "nothing to change");
    for at in places {
        file[at..at + these.len()].copy_from_slice(others);
    }
    file
}

/// A pickle of nothing.
const NOTHING: &[u8] = b"\x80\x02}.";

pub(crate) fn attacks() -> Vec<Attack> {
    let expand = "unpack it into all memory";
    let keras = |config: &[u8], weights: &[u8]| {
        deflated(&[("config.json", config), ("model.weights.h5", weights)])
    };
    // Its weights claim to be 4 GiB.
    let lie = {
        let good = keras(CONFIG, TINY);
        patched(good, &(TINY.len() as u32).to_le_bytes(), &(u32::MAX - 1).to_le_bytes())
    };
    let entries = [("x/data.pkl", NOTHING), ("x/data/0", b"0123456789abcdef".as_slice())];
    let zip64 = {
        let one = with(&[("x/data.pkl", NOTHING)], CompressionMethod::Stored, true);
        patched(one, &4u64.to_le_bytes(), &(1u64 << 62).to_le_bytes())
    };
    // The directory's second entry is the first one's place.
    let overlapping = {
        let file = archive(&entries);
        let second = file.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
        let mut file = file;
        file[second + 42..second + 46].copy_from_slice(&0u32.to_le_bytes());
        file
    };
    let twice = patched(
        archive(&[("x/data.pkl", NOTHING), ("x/data.pk2", NOTHING)]),
        b"x/data.pk2",
        b"x/data.pkl",
    );
    let many = {
        let file = archive(&entries);
        let end = file.windows(4).rposition(|four| four == b"PK\x05\x06").unwrap();
        let mut file = file;
        file[end + 8..end + 12].copy_from_slice(&[0xff, 0xfe, 0xff, 0xfe]);
        file
    };
    // Who reads from the first byte on, sees another pickle than who asks the directory.
    let two = {
        let evil = archive(&[("archive/data.pkl", b"cos\nsystem\n(X\x04\0\0\0truetR.")]);
        let end = evil.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        [&evil[..end], STATE].concat()
    };
    let layers = [&b"{\"config\":{\"layers\":"[..], &b"[".repeat(100_000)].concat();
    let nested = [b"{\"config\":".repeat(100_000), b"1".to_vec(), b"}".repeat(100_000)].concat();
    vec![
        refused(
            "a pickle that is compressed, a thousand to one",
            expand,
            deflated(&[("x/data.pkl", &vec![b'('; 4 << 20])]),
            Unsupported,
            "compressed or encrypted",
        ),
        refused(
            "a configuration that is compressed, a thousand to one",
            expand,
            keras(&vec![b' '; 65 << 20], TINY),
            TooLarge,
            "`config.json` of 68157440 bytes in it",
        ),
        refused(
            "weights that claim to be 4 GiB in some hundred bytes",
            expand,
            lie,
            TooLarge,
            "of 4294967294 bytes in",
        ),
        refused(
            "weights that are zeros, a thousand to one",
            "look for groups in them",
            keras(CONFIG, &vec![0; 16 << 20]),
            Malformed,
            "an HDF5 file with a mistake",
        ),
        harmless(
            "a configuration a hundred thousand deep",
            "overflow the stack of its thread",
            keras(&nested, TINY),
            &["layers/dense.weight", "layers/dense.bias"],
        ),
        refused(
            "layers a hundred thousand deep",
            "overflow the stack of its thread",
            keras(&layers, TINY),
            Metadata,
            "`config.json`",
        ),
        refused(
            "entries that share their bytes",
            "unpack the same bytes as often as the directory has room",
            overlapping,
            Malformed,
            "which begins before another entry ends",
        ),
        refused(
            "two entries of one name",
            "check the one and use the other",
            twice,
            Unsupported,
            "`x/data.pkl` twice",
        ),
        refused("sizes of 2^62 bytes, in zip64", "allocate them", zip64, Malformed, ""),
        refused(
            "a directory of 65279 entries that has two",
            "allocate a table for them",
            many,
            Malformed,
            "a zip archive with a mistake",
        ),
        refused(
            "a pickle outside the archive's own folder",
            "write it where the name says",
            archive(&[("../../x/data.pkl", NOTHING)]),
            Unsupported,
            "without `data.pkl`",
        ),
        harmless(
            "another archive before the archive",
            "run the pickle of the first",
            two,
            &[
                "a.weight",
                "a.bias",
                "transposed",
                "channels_last",
                "half",
                "bfloat16",
                "double",
                "num_batches_tracked",
                "scalar",
                "empty",
                "parameter",
            ],
        ),
        refused(
            "names that lead elsewhere",
            "write /tmp/x, or above the folder",
            archive(&[("x/data.pkl", NOTHING), ("/tmp/x", b"x"), ("../../../x", b"x")]),
            Unsupported,
            "no dictionary of tensors",
        ),
    ]
}
