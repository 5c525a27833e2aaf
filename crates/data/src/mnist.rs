use std::path::{Path, PathBuf};
use std::sync::Arc;

use md5::{Digest, Md5};

use crate::dataset::{Dataset, Sample, digest, hex};
use crate::idx::Idx;
use crate::picture::{Colour, MAX_FILE, Picture};
use crate::{DataError, file};

/// The four files, and the MD5 digests of their unpacked content as published.
const FILES: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
    ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
    ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
    ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
];

/// MNIST (LeCun, Cortes, Burges): 60,000 handwritten digits to train with and 10,000 to test with,
/// 28×28 grey, light ink on a dark ground. Or other data in files of the same form, such as
/// Fashion-MNIST.
#[derive(Clone, Debug)]
pub struct Mnist {
    train: Digits,
    test: Digits,
}

impl Mnist {
    /// Reads the four files of a folder, packed with gzip or not, called
    /// `train-images-idx3-ubyte` or `train-images.idx3-ubyte`; in the folder itself or, as
    /// torchvision puts them, in `MNIST/raw` below it.
    ///
    /// # Errors
    /// [`DataError::Empty`] if none of the files is there, [`DataError::Missing`] if some are not;
    /// else as [`Digits::open`].
    pub fn open(dir: &Path) -> Result<Mnist, DataError> {
        // So that a folder that does not exist is told from one without the files.
        std::fs::read_dir(dir).map_err(|e| DataError::io(dir, e))?;
        let places = [dir.to_owned(), dir.join("MNIST").join("raw")];
        let found = FILES.map(|(name, _)| places.iter().find_map(|place| find(place, name)));
        let [Some(images), Some(labels), Some(test_images), Some(test_labels)] = &found else {
            let absent = FILES.iter().zip(&found).filter(|(_, path)| path.is_none());
            let missing: Vec<String> = absent.map(|((name, _), _)| (*name).to_owned()).collect();
            let place = dir.display().to_string();
            return Err(if missing.len() < FILES.len() {
                DataError::Missing { place, missing }
            } else {
                let found = "none of the files of MNIST".to_owned();
                let expected = format!("{}, each with or without .gz", missing.join(", "));
                DataError::Empty { place, found, expected }
            });
        };
        let train = Digits::open(images, labels)?;
        let test = Digits::open(test_images, test_labels)?;
        Ok(Mnist { train, test })
    }

    /// The digits to train with. They are shared, not copied.
    pub fn train(&self) -> Digits {
        self.train.clone()
    }

    /// The digits to test with. They are shared, not copied.
    pub fn test(&self) -> Digits {
        self.test.clone()
    }

    /// Whether this is MNIST to the byte, by the MD5 digests of all four files. If not, it is
    /// other data of the same form: a part of it, Fashion-MNIST.
    pub fn verified(&self) -> bool {
        let files = [&self.train, &self.test].into_iter().flat_map(Digits::files);
        files
            .zip(FILES)
            .all(|(file, (_, expected))| hex(Md5::new_with_prefix(&file.bytes)) == expected)
    }
}

/// The file of that name in a folder, in any of its spellings.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let dotted = name.replace("-idx", ".idx");
    let spellings = [name, &dotted].map(|name| [format!("{name}.gz"), name.to_owned()]);
    spellings.into_iter().flatten().map(|name| dir.join(name)).find(|path| path.is_file())
}

/// Grey pictures of ten classes from a pair of IDX files, kept in memory. A clone shares them.
#[derive(Clone, Debug)]
pub struct Digits {
    content: Arc<Content>,
}

#[derive(Debug)]
struct Content {
    images: Idx,
    labels: Idx,
    classes: Vec<String>,
}

impl Digits {
    /// Reads a file of images and a file of labels, packed with gzip or not.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Malformed`] with the byte where the content is not what it
    /// should be (magic number, length, a label above 9, as many labels as images);
    /// [`DataError::TooLarge`] beyond a gigabyte; [`DataError::Empty`] if there is no image.
    pub fn open(images: &Path, labels: &Path) -> Result<Digits, DataError> {
        let bytes = [file::read(images, MAX_FILE)?, file::read(labels, MAX_FILE)?];
        let names = [images, labels].map(|path| path.display().to_string());
        Digits::parse(bytes.each_ref().map(Vec::as_slice), names.each_ref().map(String::as_str))
    }

    /// [`open`](Digits::open) for the bytes of the two files.
    ///
    /// # Errors
    /// As [`open`](Digits::open), without [`DataError::Io`].
    pub fn decode(images: &[u8], labels: &[u8]) -> Result<Digits, DataError> {
        Digits::parse([images, labels], ["images", "labels"])
    }

    fn parse(
        bytes: [&[u8]; 2],
        [images_name, labels_name]: [&str; 2],
    ) -> Result<Digits, DataError> {
        let images = Idx::decode(bytes[0], 3, images_name)?;
        let labels = Idx::decode(bytes[1], 1, labels_name)?;
        let malformed = |place: String, found: String, expected: String| {
            Err(DataError::Malformed { place, found, expected })
        };
        if images.values().is_empty() {
            return Err(DataError::Empty {
                place: images_name.to_owned(),
                found: format!("images of extents {:?}", images.extents),
                expected: "at least one image of at least one pixel".to_owned(),
            });
        }
        let (count, labelled) = (images.extents[0], labels.extents[0]);
        if count != labelled {
            let found = format!("{labelled} labels");
            let expected = format!("{count}, as many as there are images in {images_name}");
            return malformed(format!("{labels_name}, byte 4"), found, expected);
        }
        if let Some(at) = labels.values().iter().position(|&label| label > 9) {
            let place = format!("{labels_name}, byte {}", labels.bytes.len() - labelled + at);
            let found = format!("the label {}", labels.values()[at]);
            return malformed(place, found, "a label from 0 to 9".to_owned());
        }
        let classes = (0..10).map(|digit| digit.to_string()).collect();
        Ok(Digits { content: Arc::new(Content { images, labels, classes }) })
    }

    /// The labels of all samples.
    pub fn labels(&self) -> &[u8] {
        self.content.labels.values()
    }

    fn files(&self) -> [&Idx; 2] {
        [&self.content.images, &self.content.labels]
    }
}

impl Dataset for Digits {
    fn len(&self) -> usize {
        self.labels().len()
    }

    fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let len = self.len();
        let label = *self.labels().get(index).ok_or(DataError::Index { index, len })?;
        let images = &self.content.images;
        let [height, width] = [images.extents[1], images.extents[2]];
        let pixels = images.values()[index * height * width..][..height * width].to_vec();
        let picture = Picture::new([height, width], Colour::Grey, pixels)?;
        Ok(Sample { picture, label: u32::from(label) })
    }

    fn classes(&self) -> &[String] {
        &self.content.classes
    }

    fn digest(&self) -> String {
        let extents = self.content.images.extents.iter().map(|&n| (n as u64).to_le_bytes());
        digest([self.labels().to_vec(), extents.flatten().collect()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idx::tests::{gzip, idx};
    use std::fs;

    const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/mnist");

    #[test]
    fn the_digits_of_this_repository_are_mnist() {
        let mnist = Mnist::open(REPOSITORY.as_ref()).unwrap();
        let (train, test) = (mnist.train(), mnist.test());
        assert!(mnist.verified());
        assert_eq!((train.len(), test.len()), (60_000, 10_000));
        assert_eq!(
            (&train.labels()[..5], &test.labels()[..3]),
            (&[5, 0, 4, 1, 9][..], &[7, 2, 1][..])
        );
        let sample = test.sample(9_999).unwrap();
        assert_eq!((sample.label, sample.picture.size()), (6, [28, 28]));
        assert!(matches!(train.sample(60_000), Err(DataError::Index { .. })));
    }

    /// Two images of 1×2 pixels for training, one for testing.
    fn small() -> [Vec<u8>; 4] {
        [
            idx(&[2, 1, 2], &[1, 2, 3, 4]),
            idx(&[2], &[0, 9]),
            idx(&[1, 1, 2], &[5, 6]),
            idx(&[1], &[3]),
        ]
    }

    #[test]
    fn other_data_and_other_spellings_open() {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("MNIST/raw");
        fs::create_dir_all(&raw).unwrap();
        let [images, labels, test_images, test_labels] = small();
        fs::write(raw.join("train-images.idx3-ubyte"), images).unwrap();
        fs::write(raw.join("train-labels-idx1-ubyte.gz"), gzip(&labels)).unwrap();
        fs::write(raw.join("t10k-images-idx3-ubyte"), test_images).unwrap();
        fs::write(raw.join("t10k-labels.idx1-ubyte.gz"), gzip(&test_labels)).unwrap();
        let mnist = Mnist::open(dir.path()).unwrap();
        assert!(!mnist.verified());
        let sample = mnist.train().sample(1).unwrap();
        assert_eq!((sample.label, sample.picture.bytes()), (9, &[3, 4][..]));
        assert_eq!(Mnist::open(&raw).unwrap().test().len(), 1);
    }

    #[test]
    fn a_digest_is_of_labels_and_extents() {
        let [images, labels, ..] = small();
        let digest =
            |images: &[u8], labels: &[u8]| Digits::decode(images, labels).unwrap().digest();
        assert_eq!(digest(&images, &labels), digest(&images, &gzip(&labels)));
        assert_ne!(digest(&images, &labels), digest(&images, &idx(&[2], &[0, 8])));
        assert_ne!(digest(&images, &labels), digest(&idx(&[2, 2, 1], &[1, 2, 3, 4]), &labels));
    }

    #[test]
    fn missing_files_are_all_named() {
        let dir = tempfile::tempdir().unwrap();
        let empty = Mnist::open(dir.path()).unwrap_err();
        assert!(matches!(empty, DataError::Empty { .. }), "{empty}");
        for name in ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        let message = Mnist::open(dir.path()).unwrap_err().to_string();
        let said = "missing train-labels-idx1-ubyte, t10k-images-idx3-ubyte";
        assert!(message.ends_with(said), "{message}");
        let nowhere = Mnist::open(&dir.path().join("none")).unwrap_err();
        assert!(matches!(nowhere, DataError::Io { .. }), "{nowhere}");
    }

    #[test]
    fn images_and_labels_must_fit_together() {
        let [images, ..] = small();
        let cases = [
            (&images, idx(&[3], &[0, 1, 2]), "labels, byte 4: found 3 labels, expected 2"),
            (&images, idx(&[2], &[0, 10]), "labels, byte 9: found the label 10"),
            (
                &idx(&[0, 28, 28], &[]),
                idx(&[0], &[]),
                "images: found images of extents [0, 28, 28]",
            ),
        ];
        for (images, labels, said) in cases {
            let message = Digits::decode(images, &labels).unwrap_err().to_string();
            assert!(message.starts_with(said), "{message}");
        }
    }
}
