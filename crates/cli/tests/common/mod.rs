//! What the tests of the program share.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The program, run at the root of the repository.
pub(crate) fn striate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_striate"));
    command.current_dir(root());
    command
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs the program and expects an exit code.
pub(crate) fn expect(code: i32, arguments: &[&str]) -> (String, String) {
    let output = striate().args(arguments).output().expect("the program starts");
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    assert!(!err.contains("panicked"), "{arguments:?}\n{err}");
    (out, err)
}

pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The first digits of MNIST, `train` to train with and `test` to test with, in the form of MNIST.
pub(crate) fn few_digits(directory: &Path, train: usize, test: usize) {
    for (part, count) in [("train", train), ("t10k", test)] {
        for (kind, header, size) in
            [("images-idx3-ubyte", 16, 28 * 28), ("labels-idx1-ubyte", 8, 1)]
        {
            let name = format!("{part}-{kind}.gz");
            let packed = std::fs::read(root().join("data/mnist").join(&name)).unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut bytes)
                .unwrap();
            bytes.truncate(header + count * size);
            bytes[4..8].copy_from_slice(&(count as u32).to_be_bytes());
            let file = std::fs::File::create(directory.join(&name)).unwrap();
            GzEncoder::new(file, Compression::fast()).write_all(&bytes).unwrap();
        }
    }
}

/// A digit of the test set as a PNG of 28×28, and its label.
pub(crate) fn digit(directory: &Path, index: usize) -> (PathBuf, u8) {
    let read = |name: &str| {
        let packed = std::fs::read(root().join("data/mnist").join(name)).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut bytes)
            .unwrap();
        bytes
    };
    let images = read("t10k-images-idx3-ubyte.gz");
    let labels = read("t10k-labels-idx1-ubyte.gz");
    let path = directory.join(format!("digit{index}.png"));
    let pixels = &images[16 + index * 784..][..784];
    image::save_buffer(&path, pixels, 28, 28, image::ExtendedColorType::L8).unwrap();
    (path, labels[8 + index])
}
