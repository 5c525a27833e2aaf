//! Keras's layers: what their tensors are called and how they are turned.

use std::collections::HashSet;

use super::hdf5::Dataset;
use crate::StoredTensor;
use striate_tensor::strided::Axis;

/// The classes of layers whose tensors this project knows: Keras's own, and two of LeNet's that the
/// source we write for Keras defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    Conv2d,
    DepthwiseConv2d,
    Dense,
    BatchNormalization,
    Subsample,
    Rbf,
}

/// Of each class the word by which Keras counts its layers, and its name.
const CLASSES: [(Class, &str, &str); 6] = [
    (Class::Conv2d, "conv2d", "Conv2D"),
    (Class::DepthwiseConv2d, "depthwise_conv2d", "DepthwiseConv2D"),
    (Class::Dense, "dense", "Dense"),
    (Class::BatchNormalization, "batch_normalization", "BatchNormalization"),
    (Class::Subsample, "subsample", "Subsample"),
    (Class::Rbf, "rbf", "Rbf"),
];

/// A layer of a file.
pub(super) struct Layer {
    pub(super) name: String,
    /// Its class, and how many of it come before in the model.
    pub(super) ordinal: Option<(Class, usize)>,
    /// What each of its tensors is called here.
    pub(super) leaves: Vec<String>,
    pub(super) datasets: Vec<Dataset>,
}

impl Class {
    /// The word by which Keras counts the layers of the class.
    pub(super) fn word(self) -> &'static str {
        CLASSES.iter().find(|(class, ..)| *class == self).map_or("", |(_, word, _)| word)
    }

    pub(super) fn of_name(name: &str) -> Option<Class> {
        CLASSES.iter().find(|(.., known)| *known == name).map(|(class, ..)| *class)
    }

    /// What the tensors of such a layer are called, of which the file has so many, in its order.
    pub(super) fn leaves(self, count: usize) -> Vec<String> {
        let all: &[&str] = match (self, count) {
            // Normalisation without scale; without shift it would have as many, and nobody does.
            (Class::BatchNormalization, 3) => &["bias", "running_mean", "running_var"],
            (Class::BatchNormalization, 2) => &["running_mean", "running_var"],
            (Class::BatchNormalization, _) => &["weight", "bias", "running_mean", "running_var"],
            (Class::Rbf, _) => &["weight"],
            (_, _) => &["weight", "bias"],
        };
        let known = all.iter().map(|leaf| (*leaf).to_owned());
        known.chain((all.len()..).map(|i| i.to_string())).take(count).collect()
    }
}

/// A class and the number behind it: `conv2d`, `conv2d_1`, ….
pub(super) fn class_and_number(name: &str) -> (Option<Class>, usize) {
    let found = CLASSES.iter().find_map(|(class, word, _)| Some((*class, number(name, word)?)));
    found.map_or((None, 0), |(class, number)| (Some(class), number))
}

/// The number of a name that is counted: 0 for the word itself, else behind `_`.
fn number(name: &str, word: &str) -> Option<usize> {
    let rest = name.strip_prefix(word)?;
    match rest.strip_prefix('_') {
        None => rest.is_empty().then_some(0),
        Some(digits) => digits.parse().ok().filter(|n: &usize| n.to_string() == digits),
    }
}

/// How words end by which Keras has called tensors, and what they are called here.
const LEAVES: [(&str, &str); 10] = [
    ("kernel", "weight"),
    ("_W", "weight"),
    ("bias", "bias"),
    ("_b", "bias"),
    ("gamma", "weight"),
    ("beta", "bias"),
    ("mean", "running_mean"),
    ("variance", "running_var"),
    // So was the variance called, which it was.
    ("std", "running_var"),
    ("var", "running_var"),
];

/// What tensors are called here that a file calls so (`conv1/kernel:0`, `block1_conv1_W_1:0`), and
/// the class of the layer that has them.
pub(super) fn by_name(datasets: &[(String, Dataset)]) -> (Vec<String>, Option<Class>) {
    let mut class = None;
    let leaf = |(name, dataset): &(String, Dataset)| {
        let last = name.rsplit('/').next().unwrap_or_default();
        let last = last.split(':').next().unwrap_or_default();
        let word = last.trim_end_matches(|c: char| c.is_ascii_digit());
        let word = if word.len() < last.len() { word.trim_end_matches('_') } else { last };
        let leaf = LEAVES.iter().find(|(end, _)| word.ends_with(end));
        let found = match (leaf, dataset.shape.len()) {
            (Some((_, "weight")), 4) if word.contains("depthwise") => Some(Class::DepthwiseConv2d),
            (Some((_, "weight")), 4) => Some(Class::Conv2d),
            (Some((_, "weight")), 2) => Some(Class::Dense),
            (Some((_, "running_mean")), 1) => Some(Class::BatchNormalization),
            _ => None,
        };
        class = class.or(found);
        leaf.map_or_else(|| last.to_owned(), |(_, leaf)| (*leaf).to_owned())
    };
    let leaves = datasets.iter().map(leaf).collect();
    // Depthwise convolutions have had a `kernel` too, but a bias for each input times the last axis.
    let shapes: Vec<&[usize]> = datasets.iter().map(|(_, dataset)| &dataset.shape[..]).collect();
    if let [[_, _, channels, multiplier], [outputs]] = shapes[..]
        && class == Some(Class::Conv2d)
        && *channels > 1
        && channels.checked_mul(*multiplier) == Some(*outputs)
    {
        class = Some(Class::DepthwiseConv2d);
    }
    (leaves, class)
}

/// Counts layers that were given no name from 0 on. Keras counts on from model to model, so that
/// the first one's may be `conv2d_94`.
pub(super) fn number_from_zero(layers: &mut [Layer]) {
    for (_, word, _) in CLASSES {
        let numbers = || layers.iter().filter_map(|layer| number(&layer.name, word));
        let Some(first @ 1..) = numbers().min() else { continue };
        for layer in layers.iter_mut() {
            layer.name = match number(&layer.name, word) {
                Some(number) if number == first => word.to_owned(),
                Some(number) => format!("{word}_{}", number - first),
                None => continue,
            };
        }
    }
}

/// A name that two tensors have.
pub(super) fn twice(tensors: &[StoredTensor]) -> Option<&str> {
    let mut seen = HashSet::new();
    tensors.iter().map(|tensor| tensor.name.as_str()).find(|name| !seen.insert(*name))
}

impl Layer {
    /// Its tensors, in the shapes that this project has.
    pub(super) fn tensors(&self) -> impl Iterator<Item = StoredTensor> {
        self.leaves.iter().zip(&self.datasets).map(|(leaf, dataset)| {
            let class = self.ordinal.map(|(class, _)| class);
            let turned = class.filter(|_| leaf == "weight");
            let turned = turned.and_then(|class| turn(class, &dataset.shape));
            let (shape, strides) = match turned {
                Some((shape, axes)) => (shape, Some(axes)),
                None => (dataset.shape.clone(), None),
            };
            let ordinal = self.ordinal.map(|(class, number)| match number {
                0 => format!("{}.{leaf}", class.word()),
                _ => format!("{}_{number}.{leaf}", class.word()),
            });
            StoredTensor {
                name: format!("{}.{leaf}", self.name),
                shape,
                element: dataset.element.clone(),
                range: dataset.range.clone(),
                strides,
                ordinal,
                held: None,
            }
        })
    }
}

/// The shape of a kernel here, and how it lies in the file; nothing if it is as here, or empty.
fn turn(class: Class, shape: &[usize]) -> Option<(Vec<usize>, Vec<Axis>)> {
    if shape.contains(&0) {
        return None;
    }
    match (class, shape) {
        (Class::Dense, &[inputs, outputs]) => {
            Some((vec![outputs, inputs], vec![Axis::new(outputs, 1), Axis::new(inputs, outputs)]))
        }
        (Class::Conv2d, &[height, width, inputs, outputs]) => Some((
            vec![outputs, inputs, height, width],
            vec![
                Axis::new(outputs, 1),
                Axis::new(inputs, outputs),
                Axis::new(height, width * inputs * outputs),
                Axis::new(width, inputs * outputs),
            ],
        )),
        // Of each channel as many outputs, next to each other.
        (Class::DepthwiseConv2d, &[height, width, channels, multiplier]) => {
            let outputs = channels * multiplier;
            Some((
                vec![outputs, 1, height, width],
                vec![
                    Axis::new(outputs, 1),
                    Axis::new(1, 1),
                    Axis::new(height, width * outputs),
                    Axis::new(width, outputs),
                ],
            ))
        }
        _ => None,
    }
}
