//! How Caffe has its pictures.

use std::collections::BTreeMap;

use striate_graph::{InputSpec, Resize, Shape};

use super::message::Message;

/// The key of the metadata under which is stored what the file is.
const FORMAT: &str = "format";
const CAFFE: &str = "caffemodel";
/// Keys of the metadata for what Caffe takes off a picture, and by what it multiplies the rest.
pub(super) const MEAN: &str = "caffe.mean_value";
const SCALE: &str = "caffe.scale";

/// The mean of ImageNet's pictures in Caffe, `imagenet_mean.binaryproto`: blue, green, red.
const IMAGENET: [f32; 3] = [104.007, 116.669, 122.679];

/// What a network says beside its layers.
pub(super) fn metadata(net: &Message) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(String::from(FORMAT), String::from(CAFFE))]);
    if let Some(name) = net.texts("name").last() {
        metadata.insert(String::from("name"), name.to_owned());
    }
    let layers = net.messages(&["layer", "layers"]);
    let transforms = layers.map(|layer| layer.message("transform_param"));
    for transform in transforms {
        for (key, field) in [(MEAN, "mean_value"), (SCALE, "scale")] {
            let numbers = transform.numbers(field).unwrap_or_default();
            if !numbers.is_empty() && !metadata.contains_key(key) {
                let numbers: Vec<String> =
                    numbers.iter().map(|n| (*n as f32).to_string()).collect();
                metadata.insert(String::from(key), numbers.join(" "));
            }
        }
    }
    metadata
}

/// How pictures of three channels are prepared for weights that Caffe trained, where their file
/// does not say more: blue, green and red from 0 to 255, less a mean.
pub(crate) fn preparation(metadata: &BTreeMap<String, String>, input: Shape) -> Option<InputSpec> {
    let Shape::Map { c: 3, h, w } = input else { return None };
    if metadata.get(FORMAT).is_none_or(|format| format != CAFFE) {
        return None;
    }
    let numbers = |key: &str| -> Vec<f32> {
        let text = metadata.get(key).map(String::as_str).unwrap_or_default();
        text.split(' ').filter_map(|number| number.parse().ok()).collect()
    };
    let mean = match *numbers(MEAN) {
        [blue, green, red] => [blue, green, red],
        [all] => [all; 3],
        _ => IMAGENET,
    };
    // Caffe multiplies what the mean is taken off from.
    let deviation = numbers(SCALE).first().map_or(1.0, |scale| 1.0 / scale);
    // ImageNet's pictures are all brought to 256×256 first.
    let large = |side: usize| (193..=256).contains(&side);
    let resize = if large(h) && large(w) { [256, 256] } else { [h, w] };
    let spec = InputSpec {
        crop: [h, w],
        deviation: vec![deviation; 3],
        ..InputSpec::caffe(Resize::Exact(resize), 0, mean)
    };
    spec.check().is_ok().then_some(spec)
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;

    #[test]
    fn what_the_file_says_and_what_is_usual() {
        let of = |transform: &str, shape| {
            let text = format!("layer {{ transform_param {{ {transform} }} }}");
            let spec = preparation(&metadata(&text::parse(&text).unwrap()), shape);
            spec.map(|spec| (spec.resize, spec.mean, spec.deviation))
        };
        let (imagenet, cifar) = (Shape::map(3, 227, 227), Shape::map(3, 32, 32));
        let whole = Resize::Exact([256, 256]);
        let usual = Some((whole, IMAGENET.to_vec(), vec![1.0; 3]));
        assert_eq!(of("mean_file: \"mean.binaryproto\"", imagenet), usual);
        let said = "mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5";
        assert_eq!(of(said, imagenet), Some((whole, vec![1.0, 2.0, 3.0], vec![2.0; 3])));
        let small = Some((Resize::Exact([32, 32]), vec![127.5; 3], vec![1.0; 3]));
        assert_eq!(of("mean_value: 127.5", cifar), small);
        assert_eq!(of("scale: 0", imagenet), None);
        assert_eq!(of("", Shape::map(1, 28, 28)), None);
        assert_eq!(preparation(&BTreeMap::new(), imagenet), None);
    }
}
