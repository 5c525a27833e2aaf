use std::fs;
use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, Sample, digest};
use crate::picture::open;
use crate::{DataError, imagenet};

/// How deep pictures may lie below the folder of their class. Links may lead in circles.
const MAX_DEPTH: usize = 8;

/// Pictures in folders, one folder a class: `train/cat/1.jpg`, `train/dog/2.png`. A picture is read
/// when it is asked for; only the paths are kept.
///
/// A picture is what is called `.jpg`, `.jpeg` or `.png`, in any case of letters; it may lie in
/// folders below that of its class. Names that begin with a dot are passed over.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    root: PathBuf,
    pictures: Vec<(PathBuf, u32)>,
    classes: Vec<String>,
}

impl ImageFolder {
    /// The classes are the sub-folders in the order of their names.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Empty`] if there is no sub-folder, or none but empty ones;
    /// a single folder without pictures is named as well.
    pub fn open(dir: &Path) -> Result<ImageFolder, DataError> {
        let folders = class_folders(dir)?;
        let classes: Vec<String> = folders.iter().map(|folder| name(folder)).collect();
        ImageFolder::collect(dir, (0..).zip(folders), classes)
    }

    /// The sub-folders are called by WordNet ids (`n01440764`) and a label is the index from 0 to
    /// 999 that weights trained on ImageNet count in, even if only some of the 1,000 folders are
    /// there. [`classes`](Dataset::classes) are the short names of all.
    ///
    /// # Errors
    /// As [`open`](ImageFolder::open); [`DataError::Unsupported`] naming all folders that are none
    /// of the 1,000.
    pub fn open_imagenet(dir: &Path) -> Result<ImageFolder, DataError> {
        let classes = imagenet::classes();
        let index = |folder: &Path| classes.binary_search_by(|c| c.wnid.cmp(&name(folder))).ok();
        let folders = class_folders(dir)?;
        let strangers: Vec<String> =
            folders.iter().filter(|folder| index(folder).is_none()).map(|f| name(f)).collect();
        if !strangers.is_empty() {
            return Err(DataError::Unsupported {
                place: dir.display().to_string(),
                found: format!("folders called {}", strangers.join(", ")),
                expected: "WordNet ids of the 1,000 classes of ILSVRC-2012".to_owned(),
            });
        }
        let labelled = folders.into_iter().filter_map(|f| Some((index(&f)? as u32, f)));
        let names = classes.iter().map(|class| class.name.to_owned()).collect();
        ImageFolder::collect(dir, labelled, names)
    }

    /// Where a sample is read from, if there is such a sample.
    pub fn path(&self, index: usize) -> Option<&Path> {
        self.pictures.get(index).map(|(path, _)| path.as_path())
    }

    fn collect(
        root: &Path,
        folders: impl Iterator<Item = (u32, PathBuf)>,
        classes: Vec<String>,
    ) -> Result<ImageFolder, DataError> {
        let mut pictures = Vec::new();
        for (label, folder) in folders {
            let paths = pictures_below(&folder, MAX_DEPTH)?;
            if paths.is_empty() {
                return Err(DataError::Empty {
                    place: folder.display().to_string(),
                    found: "no picture".to_owned(),
                    expected: "pictures of a class (.jpg, .jpeg, .png), or no folder".to_owned(),
                });
            }
            pictures.extend(paths.into_iter().map(|path| (path, label)));
        }
        Ok(ImageFolder { root: root.to_owned(), pictures, classes })
    }
}

impl Dataset for ImageFolder {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let len = self.pictures.len();
        let (path, label) = self.pictures.get(index).ok_or(DataError::Index { index, len })?;
        Ok(Sample { picture: open(path)?, label: *label })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn digest(&self) -> String {
        let classes = self.classes.iter().map(|name| name.as_bytes().to_vec());
        let pictures = self.pictures.iter().map(|(path, label)| {
            let path = path.strip_prefix(&self.root).unwrap_or(path);
            [&label.to_le_bytes(), path.as_os_str().as_encoded_bytes()].concat()
        });
        digest(classes.chain(pictures))
    }
}

fn class_folders(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let folders: Vec<PathBuf> = entries(dir)?.into_iter().filter(|path| path.is_dir()).collect();
    if folders.is_empty() {
        return Err(DataError::Empty {
            place: dir.display().to_string(),
            found: "no folder inside".to_owned(),
            expected: "one folder of pictures for each class, called by its name".to_owned(),
        });
    }
    Ok(folders)
}

fn pictures_below(dir: &Path, depth: usize) -> Result<Vec<PathBuf>, DataError> {
    let mut pictures = Vec::new();
    for path in entries(dir)? {
        if is_picture(&path) && path.is_file() {
            pictures.push(path);
        } else if depth > 0 && path.is_dir() {
            pictures.extend(pictures_below(&path, depth - 1)?);
        }
    }
    Ok(pictures)
}

/// What is in a folder, sorted by name, without what is hidden.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |e| DataError::io(dir, e);
    let entries = fs::read_dir(dir).map_err(failed)?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = entries.collect::<std::io::Result<_>>().map_err(failed)?;
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort_unstable();
    Ok(paths)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const CAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/photographs/chelsea.png");

    /// A folder with the given folders (ending in a slash) and files, each the same picture.
    fn tree(paths: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let to = dir.path().join(path);
            if path.ends_with('/') {
                fs::create_dir_all(to).unwrap();
            } else {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(CAT, to).unwrap();
            }
        }
        dir
    }

    #[test]
    fn classes_are_folders_in_the_order_of_their_names() {
        let dir = tree(&[
            "dog/b.PNG",
            "dog/a.jpeg",
            "cat/deep/er/1.jpg",
            ".git/x.png",
            "cat/.1.jpg",
            "readme.png",
            "dog/notes.txt",
        ]);
        let folder = ImageFolder::open(dir.path()).unwrap();
        assert_eq!((folder.classes(), folder.len()), (&["cat", "dog"].map(String::from)[..], 3));
        let labels: Vec<u32> = (0..3).map(|i| folder.sample(i).unwrap().label).collect();
        assert_eq!(labels, [0, 1, 1]);
        assert!(folder.path(1).unwrap().ends_with("dog/a.jpeg"));
        assert_eq!(folder.sample(0).unwrap().picture.size(), [300, 451]);
        assert!(folder.sample(3).is_err());
    }

    #[test]
    fn a_digest_is_of_the_names_wherever_the_folder_is() {
        let digest = |paths: &[&str]| ImageFolder::open(tree(paths).path()).unwrap().digest();
        let pictures = ["cat/1.png", "cat/2.png", "dog/1.png"];
        assert_eq!(digest(&pictures), digest(&pictures));
        let others = [&pictures[1..], &["cat/1.png", "dog/1.png", "dog/2.png"]];
        assert!(others.iter().all(|other| digest(other) != digest(&pictures)));
    }

    #[test]
    fn imagenet_has_its_own_labels() {
        let dir = tree(&["n02124075/1.png", "n01443537/2.png"]);
        let folder = ImageFolder::open_imagenet(dir.path()).unwrap();
        let labels = [0, 1].map(|i| folder.sample(i).unwrap().label);
        assert_eq!((labels, folder.classes().len()), ([1, 285], 1000));
        let stranger = tree(&["n02124075/1.png", "cat/2.png", "n99999999/3.png"]);
        let message = ImageFolder::open_imagenet(stranger.path()).unwrap_err().to_string();
        assert!(message.contains("cat, n99999999"), "{message}");
    }

    #[test]
    fn empty_folders_are_named() {
        let cases: [(&[&str], &str); 3] = [
            (&[], "no folder inside"),
            (&["a.png"], "no folder inside"),
            (&["cat/1.png", "dog/"], "dog: found no picture"),
        ];
        for (paths, said) in cases {
            let dir = tree(paths);
            let error = ImageFolder::open(dir.path()).unwrap_err();
            assert!(matches!(error, DataError::Empty { .. }), "{error}");
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(matches!(ImageFolder::open("none".as_ref()), Err(DataError::Io { .. })));
    }
}
