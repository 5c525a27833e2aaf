//! `.keras`: a zip archive of a model's configuration and its `.weights.h5`.

use std::collections::HashMap;
use std::io::Read;

use serde::Deserialize;
use zip::{CompressionMethod, ZipArchive};

use super::layers::Class;
use crate::FormatError;
use crate::file::Contents;
use crate::source::Source;

const WEIGHTS: &str = "model.weights.h5";
const CONFIG: &str = "config.json";
const METADATA: &str = "metadata.json";

/// The largest configuration: it describes layers, some thousand bytes each.
const MAX_CONFIG: u64 = 64 << 20;

/// The largest weights that are stored compressed, as they are held in memory.
const MAX_INFLATED: u64 = 1 << 33;

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

/// What is in an archive, if it is one of Keras's.
pub(crate) fn contents(source: &Source, place: &str) -> Result<Option<Contents>, FormatError> {
    let broken = |error: zip::result::ZipError| FormatError::Malformed {
        place: place.to_owned(),
        offset: 0,
        found: format!("a zip archive with a mistake ({error})"),
        expected: String::from("a whole one, as Keras makes: copy or download it again"),
    };
    let mut zip = ZipArchive::new(source.reader()).map_err(broken)?;
    let (Some(config), Some(weights)) = (zip.index_for_name(CONFIG), zip.index_for_name(WEIGHTS))
    else {
        return Ok(None);
    };
    let mut text = |index: usize, name: &str| -> Result<Vec<u8>, FormatError> {
        let entry = zip.by_index(index).map_err(broken)?;
        let mut bytes = Vec::new();
        // What it says of its size is nothing to rely on.
        let mut entry = entry.take(MAX_CONFIG + 1);
        entry.read_to_end(&mut bytes).map_err(|error| broken(error.into()))?;
        if bytes.len() as u64 > MAX_CONFIG {
            return Err(FormatError::TooLarge {
                place: place.to_owned(),
                found: format!("`{name}` in it"),
                limit: format!("{MAX_CONFIG} bytes"),
            });
        }
        Ok(bytes)
    };
    let mistaken = |name: &str, error: serde_json::Error| FormatError::Metadata {
        place: place.to_owned(),
        key: name.to_owned(),
        found: error.to_string(),
        expected: String::from("a model's description, as Keras makes"),
    };
    let config = text(config, CONFIG)?;
    let model = serde_json::from_slice(&config).map_err(|error| mistaken(CONFIG, error))?;
    let mut version = None;
    if let Some(index) = zip.index_for_name(METADATA) {
        #[derive(Deserialize)]
        struct Metadata {
            keras_version: Option<String>,
        }
        let entry = zip.by_index(index).map_err(broken)?;
        let mut bytes = Vec::new();
        entry.take(1 << 16).read_to_end(&mut bytes).map_err(|error| broken(error.into()))?;
        let metadata: Metadata =
            serde_json::from_slice(&bytes).map_err(|error| mistaken(METADATA, error))?;
        version = metadata.keras_version;
    }
    let config = Config::of(model);
    let entry = zip.by_index_raw(weights).map_err(broken)?;
    let (stored, inflated) = (entry.compressed_size(), entry.size());
    let (method, encrypted) = (entry.compression(), entry.encrypted());
    let start = entry.data_start().unwrap_or(0);
    drop(entry);
    let mut contents = match method {
        _ if encrypted => return Err(refused(place, "encrypted")),
        CompressionMethod::Stored => {
            let end = start.checked_add(stored).filter(|end| *end <= source.len());
            let end = end.ok_or_else(|| FormatError::Malformed {
                place: place.to_owned(),
                offset: start,
                found: format!("`{WEIGHTS}` of {stored} bytes"),
                expected: String::from("it to end with the file: copy or download it again"),
            })?;
            super::contents(source, start..end, &config, place.to_owned())?
        }
        CompressionMethod::Deflated => {
            // Deflate makes at most 1032 bytes of one.
            let limit = MAX_INFLATED.min(stored.saturating_mul(1032));
            let mut bytes = Vec::new();
            let len = usize::try_from(inflated).unwrap_or(usize::MAX);
            if inflated > limit || bytes.try_reserve_exact(len).is_err() {
                return Err(FormatError::TooLarge {
                    place: place.to_owned(),
                    found: format!("`{WEIGHTS}` of {inflated} bytes in {stored}"),
                    limit: format!("{limit} bytes, and what is free"),
                });
            }
            let entry = zip.by_index(weights).map_err(broken)?;
            entry.take(limit).read_to_end(&mut bytes).map_err(|error| broken(error.into()))?;
            let (inside, len) = (Source::memory(bytes), inflated);
            let inside_len = inside.len().min(len);
            let contents = super::contents(&inside, 0..inside_len, &config, place.to_owned())?;
            Contents { values: Some(contents.values.unwrap_or(inside)), ..contents }
        }
        _ => return Err(refused(place, "compressed by another method than deflate")),
    };
    if let Some(version) = version {
        contents.listing.metadata.insert(String::from("keras_version"), version);
    }
    Ok(Some(contents))
}

fn refused(place: &str, how: &str) -> FormatError {
    FormatError::Unsupported {
        place: place.to_owned(),
        found: format!("`{WEIGHTS}` {how}"),
        expected: String::from("an archive as Keras makes, stored or deflated"),
    }
}
