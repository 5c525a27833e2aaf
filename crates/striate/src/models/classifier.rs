use striate_data::{Picture, imagenet, preprocess};
use striate_exec::{Executable, Options};
use striate_graph::InputSpec;
use striate_zoo::DataSet;

use super::{Model, ModelError};

/// A model compiled to classify one picture at a time.
pub struct Classifier {
    network: Box<dyn Executable>,
    input: InputSpec,
    data: Option<DataSet>,
    weights: String,
}

/// A class, and how probable the network holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its index among the outputs.
    pub index: usize,
    /// Its WordNet id, if it is one of ImageNet's.
    pub synset: Option<&'static str>,
    /// What it is called: ImageNet's short name, a digit, or its index.
    pub label: String,
    /// From 0 to 1.
    pub probability: f32,
}

impl Classifier {
    pub(crate) fn new(model: &Model, threads: usize) -> Result<Classifier, ModelError> {
        model.network.check_classes()?;
        let options = Options { threads, ..Options::default() };
        Ok(Classifier {
            network: model.compile(&options)?,
            input: model.input.clone(),
            data: model.network.data(),
            weights: model.weights.clone(),
        })
    }

    /// The most probable classes of a picture, at most `top`, the most probable first.
    ///
    /// # Errors
    /// [`ModelError`] if the picture cannot be prepared, or the network's answer is no number.
    pub fn classify(&mut self, picture: &Picture, top: usize) -> Result<Vec<Class>, ModelError> {
        let outputs = self.network.run(&preprocess(picture, &self.input)?)?;
        let probabilities = outputs.softmax();
        let row = probabilities.row(0);
        let classes = row.len();
        if !row.iter().all(|probability| probability.is_finite()) {
            return Err(ModelError::NoAnswer { weights: self.weights.clone() });
        }
        Ok(striate_tensor::top(row, top)
            .into_iter()
            .map(|index| {
                let (label, synset) = name(self.data, classes, index);
                Class { index, synset, label, probability: row[index] }
            })
            .collect())
    }
}

/// What a class is called, and its WordNet id.
fn name(data: Option<DataSet>, classes: usize, index: usize) -> (String, Option<&'static str>) {
    match data {
        Some(DataSet::ImageNet) if classes == DataSet::ImageNet.classes() => {
            let class = &imagenet::classes()[index];
            (class.name.to_owned(), Some(class.wnid))
        }
        Some(DataSet::ImageNet | DataSet::Mnist | DataSet::Cifar10) | None => {
            (index.to_string(), None)
        }
    }
}
