use std::fmt;

use striate_graph::{Graph, GraphError, Init, InputSpec, Naming, Shape};

/// An entry of the registry: one edition of one network.
#[derive(Clone, Copy, Debug)]
pub struct Architecture {
    /// What it is called everywhere: `resnet50_v1`.
    pub name: &'static str,
    /// The family it is grouped under.
    pub family: &'static str,
    /// Whose network it is.
    pub edition: Edition,
    /// In one line, what sets this entry apart from its neighbours.
    pub note: &'static str,
    /// Where it was published.
    pub paper: &'static Paper,
    /// The data it was made for.
    pub data: DataSet,
    /// Channels, height and width of its input.
    pub input: [usize; 3],
    /// The network itself.
    pub net: fn(&Config) -> Result<Graph, GraphError>,
    /// How its weights are drawn before training.
    pub init: Init,
    /// How it is trained.
    pub training: Training,
    /// What its parameters are called in weight files.
    pub naming: Naming,
    /// What they are called in other people's files.
    pub also: &'static [Naming],
    /// How pictures are prepared for weights that do not say it themselves.
    pub preparation: fn() -> InputSpec,
    /// Published totals; one test checks them for every entry.
    pub totals: Totals,
    /// Trained weights the project knows of.
    pub pretrained: &'static [Pretrained],
}

/// What can be chosen when a network is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Classes to tell apart.
    pub classes: usize,
    /// Channels, height and width of the input.
    pub input: [usize; 3],
    /// Whether auxiliary classifiers, used in training alone, are part of it.
    pub heads: bool,
}

impl Config {
    /// The input as a shape.
    pub fn shape(&self) -> Shape {
        let [c, h, w] = self.input;
        Shape::Map { c, h, w }
    }
}

/// Whose network an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edition {
    /// As the paper has it.
    Paper,
    /// As torchvision has it.
    Torchvision,
    /// As Caffe's model zoo has it.
    Caffe,
    /// As keras.applications has it.
    Keras,
    /// As timm has it, after TensorFlow's.
    Timm,
    /// As the authors released it, where that is not what the paper prints.
    Authors,
    /// As it is usually redrawn today.
    Modern,
}

impl Edition {
    /// The word that listings print.
    pub fn word(self) -> &'static str {
        match self {
            Edition::Paper => "paper",
            Edition::Torchvision => "torchvision",
            Edition::Caffe => "caffe",
            Edition::Keras => "keras",
            Edition::Timm => "timm",
            Edition::Authors => "authors",
            Edition::Modern => "modern",
        }
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The data a network was made for; it decides classes and their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataSet {
    /// Handwritten digits, 10 classes.
    Mnist,
    /// Small colour pictures, 10 classes.
    Cifar10,
    /// ILSVRC-2012, 1,000 classes.
    ImageNet,
}

impl DataSet {
    /// How many classes it has.
    pub fn classes(self) -> usize {
        match self {
            DataSet::Mnist | DataSet::Cifar10 => 10,
            DataSet::ImageNet => 1000,
        }
    }
}

impl fmt::Display for DataSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DataSet::Mnist => "mnist",
            DataSet::Cifar10 => "cifar10",
            DataSet::ImageNet => "imagenet",
        })
    }
}

/// Whose way of training suits a network; `train` has a recipe for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Training {
    /// Digits, as LeNet-5 is usually trained today.
    Digits,
    /// LeNet-5 as published: distances to codes.
    Codes,
    /// Krizhevsky et al. 2012, §5.
    AlexNet,
    /// Simonyan & Zisserman 2014, §3.1.
    Vgg,
    /// Szegedy et al. 2014, §6: with auxiliary classifiers `aux1` and `aux2`.
    GoogLeNet,
    /// He et al. 2015, §3.4.
    ResNet,
    /// He et al. 2015, §4.2: on CIFAR-10.
    Cifar,
}

/// A publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    /// Title.
    pub title: &'static str,
    /// Authors, as printed.
    pub authors: &'static str,
    /// Year of first publication.
    pub year: u16,
    /// arXiv number, or where it was printed.
    pub id: &'static str,
}

/// Published counts: learned values and multiply-adds of one forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Learned values.
    pub params: u64,
    /// Multiply-adds.
    pub macs: u64,
}

/// Trained weights.
#[derive(Clone, Copy, Debug)]
pub struct Pretrained {
    /// File name.
    pub file: &'static str,
    /// SHA-256 of the file.
    pub sha256: &'static str,
    /// Who trained them, and how they came here.
    pub origin: &'static str,
    /// Under which terms.
    pub licence: &'static str,
    /// How they want their pictures.
    pub preparation: fn() -> InputSpec,
}

impl Architecture {
    /// Classes and input as published, without auxiliary classifiers.
    pub fn config(&self) -> Config {
        Config { classes: self.data.classes(), input: self.input, heads: false }
    }

    /// What its parameters may be called, the entry's own naming first.
    pub fn namings(&self) -> impl Iterator<Item = &Naming> {
        std::iter::once(&self.naming).chain(self.also)
    }

    /// The network.
    ///
    /// # Errors
    /// [`GraphError`] if it cannot be built for that input or that many classes.
    pub fn build(&self, config: &Config) -> Result<Graph, GraphError> {
        (self.net)(config)
    }
}

/// No network has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no network `{name}`; the nearest names are {}", nearest.join(", "))]
pub struct UnknownArchitecture {
    /// The name that was asked for.
    pub name: String,
    /// The most similar names, the most similar first.
    pub nearest: Vec<&'static str>,
}

impl UnknownArchitecture {
    pub(crate) fn of(name: &str) -> UnknownArchitecture {
        let wanted = name.to_lowercase();
        let mut names: Vec<(f64, &'static str)> = crate::all()
            .map(|entry| (strsim::jaro_winkler(&wanted, entry.name), entry.name))
            .collect();
        names.sort_by(|a, b| b.0.total_cmp(&a.0));
        let nearest = names.into_iter().take(3).map(|(_, name)| name).collect();
        UnknownArchitecture { name: name.to_owned(), nearest }
    }
}

/// Whether a name fits a pattern in which `*` stands for any characters, or none.
pub(crate) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    // Which beginnings of the name the pattern so far fits; the work is the product of the lengths.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for &p in pattern {
        if p == b'*' {
            let first = reached.iter().position(|&fits| fits).unwrap_or(name.len() + 1);
            reached.iter_mut().skip(first).for_each(|fits| *fits = true);
        } else {
            for i in (0..name.len()).rev() {
                reached[i + 1] = reached[i] && name[i] == p;
            }
            reached[0] = false;
        }
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("resnet*", "resnet50", true),
            ("*50*", "resnet50_v1", true),
            ("vgg1?", "vgg16", false),
            ("resnet50", "resnet50", true),
            ("resnet", "resnet50", false),
            ("*", "", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_mistyped_name_gets_the_nearest() {
        let error = crate::find("resnet5O").unwrap_err();
        assert!(error.nearest.contains(&"resnet50"), "{error}");
        assert!(crate::find("VGG-16").unwrap_err().nearest.contains(&"vgg16"));
    }

    #[test]
    fn names_are_unique_and_plain() {
        let mut names: Vec<&str> = crate::all().map(|entry| entry.name).collect();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(names.iter().all(|name| name.chars().all(plain)));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
