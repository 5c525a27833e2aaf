//! `.keras`: a zip archive of a model's configuration and its `.weights.h5`.

use std::collections::HashMap;
use std::io::Read;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use zip::CompressionMethod;

use super::layers::Class;
use crate::FormatError;
use crate::archive::{self, broken};
use crate::file::Contents;
use crate::limits::{self, Room};
use crate::source::Source;

const WEIGHTS: &str = "model.weights.h5";
const CONFIG: &str = "config.json";
const METADATA: &str = "metadata.json";

/// The most bytes of memory that a byte of a description becomes: a layer is described in some
/// thirty at least.
const EXPANSION: u64 = 8;

/// What a model's configuration says of its layers.
#[derive(Default)]
pub(crate) struct Config {
    /// What the layer is called whose tensors are in a group: class and number.
    pub(super) names: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Model {
    config: ModelConfig,
}

#[derive(Deserialize)]
struct ModelConfig {
    #[serde(default)]
    layers: Vec<LayerConfig>,
}

#[derive(Deserialize)]
struct LayerConfig {
    class_name: String,
    config: Named,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

impl Config {
    fn of(model: Model) -> Config {
        let mut counts: HashMap<Class, usize> = HashMap::new();
        let mut names = HashMap::new();
        for layer in model.config.layers {
            let Some(class) = Class::of_name(&layer.class_name) else { continue };
            let count = counts.entry(class).or_default();
            let group = match *count {
                0 => class.word().to_owned(),
                _ => format!("{}_{count}", class.word()),
            };
            *count += 1;
            names.insert(group, layer.config.name);
        }
        Config { names }
    }
}

#[derive(Deserialize)]
struct Metadata {
    keras_version: Option<String>,
}

/// What is in an archive, if it is one of Keras's.
pub(crate) fn contents(
    zip: &mut archive::Archive<'_>,
    source: &Source,
    place: &str,
    room: &Room,
) -> Result<Option<Contents>, FormatError> {
    let mut archive = Archive { zip, source, place, room };
    let index = |name| archive.zip.index_for_name(name);
    let (Some(config), Some(weights), metadata) = (index(CONFIG), index(WEIGHTS), index(METADATA))
    else {
        return Ok(None);
    };
    let config = Config::of(archive.json(config, CONFIG)?);
    let mut contents = archive.weights(weights, &config)?;
    if let Some(metadata) = metadata {
        let Metadata { keras_version } = archive.json(metadata, METADATA)?;
        let version = keras_version.map(|version| (String::from("keras_version"), version));
        contents.listing.metadata.extend(version);
    }
    Ok(Some(contents))
}

/// An archive, where it is.
struct Archive<'a, 's> {
    zip: &'a mut archive::Archive<'s>,
    source: &'a Source,
    place: &'a str,
    room: &'a Room,
}

impl Archive<'_, '_> {
    /// What a text of the archive says.
    fn json<T: DeserializeOwned>(&mut self, index: usize, name: &str) -> Result<T, FormatError> {
        let place = self.place;
        let entry = self.zip.by_index(index).map_err(|error| broken(place, error))?;
        let size = entry.size();
        if size > limits::CONFIG {
            return Err(FormatError::TooLarge {
                place: place.to_owned(),
                found: format!("`{name}` of {size} bytes in it"),
                limit: format!("{} bytes", limits::CONFIG),
            });
        }
        let taken = EXPANSION * size;
        self.room.take(taken, place, || format!("`{name}` of {size} bytes in it"))?;
        let mut bytes = Vec::new();
        // What it says of its size may be a lie, which the sum of the entry then shows.
        let read = entry.take(size).read_to_end(&mut bytes);
        read.map_err(|error| broken(place, error.into()))?;
        serde_json::from_slice(&bytes).map_err(|error| FormatError::Metadata {
            place: place.to_owned(),
            key: name.to_owned(),
            found: error.to_string(),
            expected: String::from("a model's description, as Keras makes"),
        })
    }

    /// The weights: where they are, if they are stored; else inflated into memory.
    fn weights(&mut self, index: usize, config: &Config) -> Result<Contents, FormatError> {
        let place = self.place;
        let entry = self.zip.by_index_raw(index).map_err(|error| broken(place, error))?;
        let (stored, inflated) = (entry.compressed_size(), entry.size());
        let (method, start) = (entry.compression(), entry.data_start().unwrap_or(0));
        let encrypted = entry.encrypted();
        drop(entry);
        if method == CompressionMethod::Stored && !encrypted {
            let end = start.checked_add(stored).filter(|end| *end <= self.source.len());
            let end = end.ok_or_else(|| FormatError::Malformed {
                place: place.to_owned(),
                offset: start,
                found: format!("`{WEIGHTS}` of {stored} bytes"),
                expected: String::from("it to end with the file: copy or download it again"),
            })?;
            return super::contents(self.source, start..end, config, place.to_owned(), self.room);
        }
        if method != CompressionMethod::Deflated || encrypted {
            return Err(FormatError::Unsupported {
                place: place.to_owned(),
                found: format!("`{WEIGHTS}`, encrypted or compressed by another method"),
                expected: String::from("an archive as Keras makes, stored or deflated"),
            });
        }
        let limit = stored.saturating_mul(limits::RATIO);
        let found = || format!("`{WEIGHTS}` of {inflated} bytes in {stored}");
        if inflated <= limit {
            self.room.take(inflated, place, found)?;
        }
        let mut bytes = Vec::new();
        let len = usize::try_from(inflated).unwrap_or(usize::MAX);
        if inflated > limit || bytes.try_reserve_exact(len).is_err() {
            return Err(FormatError::TooLarge {
                place: place.to_owned(),
                found: found(),
                limit: format!("{limit} bytes, and what is free"),
            });
        }
        let entry = self.zip.by_index(index).map_err(|error| broken(place, error))?;
        let read = entry.take(inflated).read_to_end(&mut bytes);
        read.map_err(|error| broken(place, error.into()))?;
        let memory = Source::memory(bytes);
        let section = 0..memory.len();
        let contents = super::contents(&memory, section, config, place.to_owned(), self.room)?;
        Ok(Contents { values: Some(contents.values.unwrap_or(memory)), ..contents })
    }
}
