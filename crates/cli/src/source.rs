//! Which data a verb works on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use striate::Network;
use striate::data::{DataError, Dataset, ImageFolder, Mnist};
use striate::train::Data;
use striate::zoo::DataSet;

use crate::failure::Failure;
use crate::nearest;

/// A data set with its two parts.
pub(crate) struct Source {
    /// As it was named, or where it was found.
    pub(crate) name: String,
    /// The folder, from the root of the file system.
    path: PathBuf,
    /// Whether it is in the form of MNIST.
    pub(crate) digits: bool,
    /// What is trained on.
    pub(crate) train: Option<Arc<dyn Dataset>>,
    /// What is tested on.
    pub(crate) test: Option<Arc<dyn Dataset>>,
}

impl Source {
    /// The data of a name or folder; without one, the data the network was made for.
    ///
    /// A folder holds the four files of MNIST (or of its form), or `train` and `val` (or `test`),
    /// each with a folder a class with pictures. Folders of classes without parts are a test set:
    /// nothing is tested on what it was trained on.
    pub(crate) fn open(data: Option<&str>, network: &Network) -> Result<Source, Failure> {
        match (data, network.data()) {
            (Some(name), _) if name.eq_ignore_ascii_case("mnist") && !Path::new(name).exists() => {
                mnist()
            }
            (Some(path), _) => folder(Path::new(path)),
            (None, Some(DataSet::Mnist)) => mnist(),
            (None, made_for) => Err(Failure::Usage(format!(
                "{} was made for {}, which does not come with the program: name a folder with \
                 `train` and `val`, each with a folder a class",
                network.name,
                made_for
                    .map_or(String::from("data that it does not name"), |data| data.to_string())
            ))),
        }
    }

    /// What is trained on.
    pub(crate) fn train(&self) -> Result<&Arc<dyn Dataset>, Failure> {
        self.train.as_ref().ok_or_else(|| {
            Failure::failed(format!(
                "{0}: found no `train`, expected `train` and `val` (or `test`), each with a folder \
                 of pictures a class; without a test set, put the pictures into {0}/train",
                self.name
            ))
        })
    }

    /// What a run that trains on them remembers of them.
    pub(crate) fn data(&self) -> Result<Data, Failure> {
        let path = self.path.display().to_string();
        Ok(Data::of(path, self.train()?, self.test.as_ref().map(|test| test as &dyn Dataset)))
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
    Ok(of_mnist(&digits, found))
}

fn of_mnist(digits: &Mnist, path: &Path) -> Source {
    let (train, test) = (Arc::new(digits.train()), Arc::new(digits.test()));
    of(path, true, Some(train), Some(test))
}

fn of(
    path: &Path,
    digits: bool,
    train: Option<Arc<dyn Dataset>>,
    test: Option<Arc<dyn Dataset>>,
) -> Source {
    let name = path.display().to_string();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Source { name, path, digits, train, test }
}

fn folder(path: &Path) -> Result<Source, Failure> {
    nearest::existing_or(path, &["mnist"])?;
    match Mnist::open(path) {
        Ok(digits) => return Ok(of_mnist(&digits, path)),
        Err(DataError::Empty { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let part = |names: &[&str]| names.iter().map(|name| path.join(name)).find(|p| p.is_dir());
    let (train, test) = (part(&["train"]), part(&["val", "test"]));
    if train.is_none() && test.is_none() {
        return Ok(of(path, false, None, Some(pictures(path)?)));
    }
    let open = |part: Option<PathBuf>| part.map(|path| pictures(&path)).transpose();
    let (train, test) = (open(train)?, open(test)?);
    if let (Some(train), Some(test)) = (&train, &test)
        && train.classes() != test.classes()
    {
        let alone = |these: &[String], others: &[String]| {
            let these: Vec<_> = these.iter().filter(|name| !others.contains(name)).collect();
            format!("{these:?}")
        };
        return Err(Failure::failed(format!(
            "{}: found the classes {} in the training set alone and {} in the test set alone, \
             expected the same folders in both",
            path.display(),
            alone(train.classes(), test.classes()),
            alone(test.classes(), train.classes())
        )));
    }
    Ok(of(path, false, train, test))
}

/// A folder a class; folders called by WordNet ids have ImageNet's labels.
fn pictures(path: &Path) -> Result<Arc<dyn Dataset>, Failure> {
    match ImageFolder::open_imagenet(path) {
        Ok(folder) => Ok(Arc::new(folder)),
        Err(DataError::Unsupported { .. }) => Ok(Arc::new(ImageFolder::open(path)?)),
        Err(error) => Err(error.into()),
    }
}
