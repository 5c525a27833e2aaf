//! Pictures, resizing and preprocessing against Pillow. The files in `golden/` were written by the
//! scripts beside them, which say how; `preprocess_*.json` is the project's reference for the whole
//! way from bytes to the input of a network.

use std::path::PathBuf;

use serde_json::Value;
use striate_data::{Colour, Picture, open, preprocess, resize};
use striate_graph::{Filter, InputSpec};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
}

fn sizes(value: &Value) -> [usize; 2] {
    let [width, height] = numbers(value)[..] else { panic!("{value} is no size") };
    [height as usize, width as usize]
}

fn worst(found: &[u8], expected: &[i64]) -> i64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(&a, b)| (i64::from(a) - b).abs()).max().unwrap_or(0)
}

fn rgb([height, width]: [usize; 2], pixel: impl Fn(usize, usize) -> [u8; 3]) -> Picture {
    let pixel = &pixel;
    let rows = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y)));
    Picture::new([height, width], Colour::Rgb, rows.collect()).unwrap()
}

#[test]
fn every_form_of_picture_is_read_as_pillow_reads_it() {
    let file = json("pictures.json");
    let pictures = file["pictures"].as_object().unwrap();
    assert_eq!(pictures.len(), 26);
    for (name, expected) in pictures {
        let picture = open(&golden("pictures").join(name)).unwrap();
        assert_eq!((picture.size(), picture.colour()), (sizes(&expected["size"]), Colour::Rgb));
        let worst = worst(picture.bytes(), &numbers(&expected["rgb"]));
        let content = std::fs::read(golden("pictures").join(name)).unwrap();
        // JPEG leaves the last digits of its transforms to the decoder.
        let allowed = if content.starts_with(b"\x89PNG") { 0 } else { 3 };
        assert!(worst <= allowed, "{name}: a difference of {worst}");
    }
}

#[test]
fn resizing_is_pillows_to_the_bit() {
    let file = json("resize.json");
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 28);
    for case in cases {
        let picture = rgb(sizes(&case["from"]), |x, y| {
            let checks = 255 * ((x / 5 + y / 3) % 2);
            [(3 * x + 5 * y) as u8, (x * x / 64 + 2 * y) as u8, checks as u8]
        });
        let filter: Filter = serde_json::from_value(case["filter"].clone()).unwrap();
        let size = sizes(&case["to"]);
        let resized = resize(&picture, size, filter).unwrap();
        let what = format!("{} from {} to {}", case["filter"], case["from"], case["to"]);
        for (row, expected) in case["rows"].as_object().unwrap() {
            let worst = worst(resized.row(row.parse().unwrap()), &numbers(expected));
            assert_eq!(worst, 0, "{what}, row {row}");
        }
        for (channel, expected) in numbers(&case["sums"]).into_iter().enumerate() {
            let values = resized.bytes().iter().skip(channel).step_by(3);
            assert_eq!(values.map(|&value| i64::from(value)).sum::<i64>(), expected, "{what}");
        }
    }
}

/// `u` of the reference: an exact number in [0, 1) from a name and an index.
fn u(name: &str, index: u64) -> f64 {
    let fnv = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    let z = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
}

#[test]
fn preprocessing_is_the_reference() {
    let file = json("preprocess_500x375_256_224.json");
    let size = sizes(&file["image"]);
    let picture = rgb(size, |x, y| {
        let noise = (256.0 * u("image", (y * size[1] + x) as u64)).floor() as usize;
        let checks = 128 * ((x / 32 + y / 32) % 2);
        [(3 * x + 5 * y) as u8, (x * x / 64 + 2 * y) as u8, (noise / 2 + checks) as u8]
    });
    for (channel, expected) in numbers(&file["image_sum"]).into_iter().enumerate() {
        let values = picture.bytes().iter().skip(channel).step_by(3);
        assert_eq!(values.map(|&value| i64::from(value)).sum::<i64>(), expected);
    }

    let bytes = InputSpec {
        scale: 1.0,
        mean: vec![0.0; 3],
        deviation: vec![1.0; 3],
        ..InputSpec::imagenet(256, 224)
    };
    let bytes = preprocess(&picture, &bytes).unwrap();
    assert_eq!(bytes.shape(), [1, 3, 224, 224]);
    for sample in file["samples"].as_array().unwrap() {
        let [y, x, ref expected @ ..] = numbers(sample)[..] else { panic!("{sample}") };
        let at = (224 * y + x) as usize;
        let found = [0, 1, 2].map(|channel| bytes.data()[channel * 224 * 224 + at] as u8);
        assert_eq!(worst(&found, expected), 0, "row {y}, column {x}");
    }

    for (values, expected) in bytes.data().chunks(224 * 224).zip(numbers(&file["crop_sum"])) {
        assert_eq!(values.iter().map(|&value| value as i64).sum::<i64>(), expected);
    }

    let input = preprocess(&picture, &InputSpec::imagenet(256, 224)).unwrap();
    for (channel, values) in input.data().chunks(224 * 224).enumerate() {
        let mean = |f: &dyn Fn(f64) -> f64| {
            values.iter().map(|&value| f(f64::from(value))).sum::<f64>() / values.len() as f64
        };
        let average = mean(&|value| value);
        let deviation = mean(&|value| (value - average).powi(2)).sqrt();
        let expected = |name: &str| file[name][channel].as_f64().unwrap();
        assert!((average - expected("normalized_mean")).abs() < 1e-5, "mean {average}");
        assert!((deviation - expected("normalized_std")).abs() < 1e-5, "deviation {deviation}");
    }
}
