//! Which data a verb works on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use striate::data::{DataError, Dataset, ImageFolder, Mnist};
use striate::zoo::{Architecture, DataSet};

use crate::failure::Failure;

/// A data set with its two parts.
pub(crate) struct Source {
    /// As it was named, or where it was found.
    pub(crate) name: String,
    /// What is trained on.
    pub(crate) train: Option<Arc<dyn Dataset>>,
    /// What is tested on.
    pub(crate) test: Option<Arc<dyn Dataset>>,
}

impl Source {
    /// The data of a name or folder; without one, the data the network was made for.
    ///
    /// A folder holds the four files of MNIST (or of its form), or a folder a class with pictures,
    /// or `train` and `val` (or `test`) with such folders.
    pub(crate) fn open(data: Option<&str>, entry: &Architecture) -> Result<Source, Failure> {
        match (data, entry.data) {
            (Some(name), _) if name.eq_ignore_ascii_case("mnist") && !Path::new(name).exists() => {
                mnist()
            }
            (Some(path), _) => folder(Path::new(path)),
            (None, DataSet::Mnist) => mnist(),
            (None, made_for @ (DataSet::Cifar10 | DataSet::ImageNet)) => {
                Err(Failure::Usage(format!(
                    "{} was made for {made_for}, which does not come with the program: name a \
                     folder with `train` and `val`, each with a folder a class",
                    entry.name
                )))
            }
        }
    }

    /// How many classes the labels tell apart.
    pub(crate) fn classes(&self) -> usize {
        self.train.iter().chain(&self.test).map(|part| part.classes().len()).max().unwrap_or(0)
    }
}

/// MNIST, in `data/mnist` below this folder or below `$STRIATE_DATA`.
fn mnist() -> Result<Source, Failure> {
    let elsewhere = std::env::var_os("STRIATE_DATA").map(|dir| PathBuf::from(dir).join("mnist"));
    let places: Vec<PathBuf> = elsewhere.into_iter().chain([PathBuf::from("data/mnist")]).collect();
    let Some(found) = places.iter().find(|place| place.is_dir()) else {
        let places: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        return Err(Failure::failed(format!(
            "MNIST is not in {}: name the folder with its four files, or set STRIATE_DATA to the \
             folder that holds `mnist`",
            places.join(" nor in ")
        )));
    };
    let digits = Mnist::open(found)?;
    if !digits.verified() {
        eprintln!("warning: {}: other digits than the published MNIST", found.display());
    }
    Ok(of_mnist(digits, found))
}

fn of_mnist(digits: Mnist, path: &Path) -> Source {
    Source {
        name: path.display().to_string(),
        train: Some(Arc::new(digits.train())),
        test: Some(Arc::new(digits.test())),
    }
}

fn folder(path: &Path) -> Result<Source, Failure> {
    match Mnist::open(path) {
        Ok(digits) => return Ok(of_mnist(digits, path)),
        Err(DataError::Empty { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let name = path.display().to_string();
    let part = |names: &[&str]| names.iter().map(|name| path.join(name)).find(|p| p.is_dir());
    let (train, test) = (part(&["train"]), part(&["val", "test"]));
    if train.is_none() && test.is_none() {
        let all = pictures(path)?;
        return Ok(Source { name, train: Some(all.clone()), test: Some(all) });
    }
    let open = |part: Option<PathBuf>| part.map(|path| pictures(&path)).transpose();
    Ok(Source { name, train: open(train)?, test: open(test)? })
}

/// A folder a class; folders called by WordNet ids have ImageNet's labels.
fn pictures(path: &Path) -> Result<Arc<dyn Dataset>, Failure> {
    match ImageFolder::open_imagenet(path) {
        Ok(folder) => Ok(Arc::new(folder)),
        Err(DataError::Unsupported { .. }) => Ok(Arc::new(ImageFolder::open(path)?)),
        Err(error) => Err(error.into()),
    }
}
