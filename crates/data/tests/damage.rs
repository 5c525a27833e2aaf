//! Truncated and flipped bits: an error or another picture, never a panic.

use std::fs;
use std::path::{Path, PathBuf};

use striate_data::{DataError, Digits, decode};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn small_pictures() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(HERE).join("tests/golden/pictures")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn photographs() -> [Vec<u8>; 2] {
    ["chelsea.png", "rocket.jpg"]
        .map(|name| fs::read(Path::new(HERE).join("../../data/photographs").join(name)).unwrap())
}

#[test]
fn a_picture_cut_off_anywhere_is_an_error() {
    // After the last byte of the pixels of a PNG come its sum and the end chunk, without which it
    // is read as most programs do.
    let tail = |bytes: &[u8]| if bytes.starts_with(b"\x89PNG") { 20 } else { 0 };
    for path in small_pictures() {
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() - tail(&bytes) {
            let result = decode(&bytes[..length], "cut");
            assert!(result.is_err(), "{} of {length} bytes", path.display());
        }
    }
    for bytes in photographs() {
        for part in 0..20 {
            let error = decode(&bytes[..bytes.len() * part / 20], "cut").unwrap_err();
            let kind = matches!(
                error,
                DataError::Malformed { .. }
                    | DataError::Empty { .. }
                    | DataError::Unsupported { .. }
            );
            assert!(kind, "{error}");
        }
    }
}

#[test]
fn flipped_bits_of_a_picture_do_no_harm() {
    let flip = |bytes: &mut Vec<u8>, bit: usize| bytes[bit / 8] ^= 1 << (bit % 8);
    for path in small_pictures() {
        let mut bytes = fs::read(&path).unwrap();
        for bit in 0..8 * bytes.len() {
            flip(&mut bytes, bit);
            decode(&bytes, "flipped").ok();
            flip(&mut bytes, bit);
        }
    }
    for mut bytes in photographs() {
        let bits = 8 * bytes.len();
        for bit in (0..bits.min(8 * 700)).step_by(97).chain((0..bits).step_by(bits / 37)) {
            flip(&mut bytes, bit);
            decode(&bytes, "flipped").ok();
            flip(&mut bytes, bit);
        }
    }
}

#[test]
fn damaged_digits_do_no_harm() {
    let read = |name: &str| fs::read(Path::new(HERE).join("../../data/mnist").join(name)).unwrap();
    let images = read("t10k-images-idx3-ubyte.gz");
    let labels = read("t10k-labels-idx1-ubyte.gz");
    for part in 0..30 {
        let cut = &images[..images.len() * part / 30];
        assert!(Digits::decode(cut, &labels).is_err(), "{part} thirtieths of the images");
    }
    let [mut images, labels] = [
        vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4],
        vec![0, 0, 8, 1, 0, 0, 0, 2, 4, 9],
    ];
    assert!(Digits::decode(&images, &labels).is_ok());
    for length in 0..images.len() {
        assert!(Digits::decode(&images[..length], &labels).is_err());
    }
    for bit in 0..8 * images.len() {
        images[bit / 8] ^= 1 << (bit % 8);
        let header = bit < 8 * 16;
        assert_eq!(Digits::decode(&images, &labels).is_err(), header, "bit {bit}");
        images[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn flipped_bits_of_packed_digits_are_noticed() {
    let read = |name: &str| fs::read(Path::new(HERE).join("../../data/mnist").join(name)).unwrap();
    let mut labels = read("t10k-labels-idx1-ubyte.gz");
    let images =
        [&[0, 0, 8, 3, 0, 0, 0x27, 0x10, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0; 10_000]].concat();
    assert!(Digits::decode(&images, &labels).is_ok());
    // The first ten bytes and the name hold a time and the like, which may change.
    for bit in (8 * 64..8 * labels.len()).step_by(41) {
        labels[bit / 8] ^= 1 << (bit % 8);
        assert!(Digits::decode(&images, &labels).is_err(), "bit {bit}");
        labels[bit / 8] ^= 1 << (bit % 8);
    }
}
