//! A gallery of attacks: each is made here, byte by byte, and says what a naive reader would do. All
//! ways to open a file are tried; each must refuse it with the right error, or have no use for what
//! is evil in it. Nothing is timed: what would run away would not end, or be seen by its memory.

mod caffe;
mod graph;
mod hdf5;
mod pickle;
mod safetensors;
mod zip;

use std::fmt::Debug;
use std::fs;

use striate_formats::{FormatError, Listing, TensorFile, list, load, read};
use striate_graph::{Graph, Naming, Shape};

/// A file that somebody made on purpose.
pub(crate) struct Attack {
    /// What kind it is, in a few words.
    pub(crate) name: &'static str,
    /// What a reader would do that does not expect it.
    pub(crate) naive: &'static str,
    /// Its bytes.
    pub(crate) file: Vec<u8>,
    /// What becomes of it here.
    pub(crate) outcome: Outcome,
}

/// What becomes of it.
pub(crate) enum Outcome {
    /// An error of the kind, which says this.
    Refused(Kind, &'static str),
    /// The tensors of these names are there, and nothing else happens.
    Harmless(&'static [&'static str]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Malformed,
    Unsupported,
    Foreign,
    TooLarge,
    Metadata,
}

pub(crate) fn refused(
    name: &'static str,
    naive: &'static str,
    file: impl Into<Vec<u8>>,
    kind: Kind,
    says: &'static str,
) -> Attack {
    Attack { name, naive, file: file.into(), outcome: Outcome::Refused(kind, says) }
}

pub(crate) fn harmless(
    name: &'static str,
    naive: &'static str,
    file: impl Into<Vec<u8>>,
    tensors: &'static [&'static str],
) -> Attack {
    Attack { name, naive, file: file.into(), outcome: Outcome::Harmless(tensors) }
}

/// The kind of an error.
pub(crate) fn kind(error: &FormatError) -> Option<Kind> {
    match error {
        FormatError::Malformed { .. } => Some(Kind::Malformed),
        FormatError::Unsupported { .. } => Some(Kind::Unsupported),
        FormatError::Foreign { .. } => Some(Kind::Foreign),
        FormatError::TooLarge { .. } => Some(Kind::TooLarge),
        FormatError::Metadata { .. } => Some(Kind::Metadata),
        FormatError::Io { .. }
        | FormatError::Mismatch { .. }
        | FormatError::NotOne { .. }
        | FormatError::Unwritable { .. }
        | _ => None,
    }
}

/// What opening a file may take at a time: a multiple of its length, for an empty tuple of a byte is
/// a value of many, what a small file may have compressed, and never more than this.
const TIMES: u64 = 64;
const BESIDE: u64 = 16 << 20;
const MOST: u64 = 128 << 20;

/// What a door says of a file, and the most memory that it took at a time.
fn measured<T>(door: impl FnOnce() -> T) -> (T, u64) {
    let mut said = None;
    let taken = allocation_counter::measure(|| said = Some(door()));
    (said.expect("a door that was opened"), taken.bytes_max)
}

#[test]
fn every_attack_is_refused_or_harmless() {
    let network = Graph::build(Shape::map(1, 4, 4), |x| x.at("c").conv(3, 2)).unwrap();
    let all = [
        pickle::attacks(),
        zip::attacks(),
        safetensors::attacks(),
        hdf5::attacks(),
        caffe::attacks(),
    ];
    let mut failures = Vec::new();
    for attack in all.into_iter().flatten() {
        let Attack { name, naive, file, outcome } = attack;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights");
        fs::write(&path, &file).unwrap();
        let limit = (TIMES * file.len() as u64 + BESIDE).min(MOST);
        let (parsed, of_parsed) =
            measured(|| TensorFile::parse(file, "bytes").map(|file| file.listing().clone()));
        let (listed, of_listed) = measured(|| list(&path));
        let names = |opened: Result<Listing, FormatError>| -> Result<Vec<String>, FormatError> {
            Ok(opened?.tensors.into_iter().map(|tensor| tensor.name).collect())
        };
        let (weights, of_weights) =
            measured(|| read(&path).and_then(|file| file.weights(&network, &Naming::NODES, &[])));
        let (loaded, of_loaded) = measured(|| load(&path, &network, &Naming::NODES));
        let mut failed = |door: &str, found: &dyn Debug| {
            failures.push(format!("{name}: {door} {found:?}; a naive reader would {naive}"));
        };
        match outcome {
            Outcome::Refused(expected, says) => {
                let opened = [("parse", names(parsed)), ("list", names(listed))];
                let fitted = [
                    ("weights", weights.map(|_| vec![String::from("its weights")])),
                    ("load", loaded.map(|_| vec![String::from("its values")])),
                ];
                for (door, opened) in opened.into_iter().chain(fitted) {
                    match opened {
                        Ok(names) => failed(door, &names),
                        Err(error) if kind(&error) != Some(expected) => failed(door, &error),
                        Err(error) if !error.to_string().contains(says) => failed(door, &error),
                        Err(_) => {}
                    }
                }
            }
            Outcome::Harmless(tensors) => {
                for (door, opened) in [("parse", names(parsed)), ("list", names(listed))] {
                    if !opened.as_ref().is_ok_and(|names| names == tensors) {
                        failed(door, &opened);
                    }
                }
            }
        }
        if fs::read_dir(directory.path()).unwrap().count() != 1 {
            failed("there are", &"files that were written");
        }
        let memory = [of_parsed, of_listed, of_weights, of_loaded].into_iter().max();
        if memory > Some(limit) {
            failed("memory in bytes", &memory);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
