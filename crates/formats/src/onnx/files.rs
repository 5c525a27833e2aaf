//! Where the bytes of a model are: in its file, and in others beside it.

use crate::limits::FILES;
use std::fs::File;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::protobuf::message::Message;
use crate::source::Source;

/// The file of a model, and those that its weights are in.
pub(super) struct Files {
    /// The folder of the model; none of one that is in memory.
    folder: Option<PathBuf>,
    sources: Vec<Source>,
    /// What the model calls those behind the first.
    locations: Vec<String>,
}

impl Files {
    pub(super) fn new(model: Source, folder: Option<PathBuf>) -> Files {
        Files { folder, sources: vec![model], locations: Vec::new() }
    }

    /// All of them, one after the other.
    pub(super) fn source(&self) -> Source {
        Source::several(self.sources.iter().cloned())
    }

    /// The bytes that a tensor says to have in another file, counted through all files. `needed` are
    /// those of its values.
    pub(super) fn external(&mut self, tensor: &Message, needed: u64) -> Result<Range<u64>, String> {
        let entry = |key: &str| {
            let entries = tensor.messages(&["external_data"]);
            let mut found = entries.filter(|entry| entry.texts("key").any(|found| found == key));
            found.next().and_then(|entry| entry.texts("value").last())
        };
        let location = entry("location").ok_or("values in another file that it does not name")?;
        let number = |key: &str, default: u64| match entry(key) {
            None => Ok(default),
            Some(text) => text.parse::<u64>().map_err(|_| {
                format!("`{key}` \"{}\", expected a number of bytes", text.escape_debug())
            }),
        };
        let (offset, length) = (number("offset", 0)?, number("length", needed)?);
        if length != needed {
            return Err(format!("{length} bytes in another file, expected {needed}"));
        }
        let file = self.open(location)?;
        let start: u64 = self.sources[..file].iter().map(Source::len).sum();
        let len = self.sources[file].len();
        match offset.checked_add(length).filter(|end| *end <= len) {
            Some(end) => Ok(start + offset..start + end),
            None => Err(format!(
                "{length} bytes from byte {offset} on in `{}`, which has {len}: copy or download \
                 it again",
                location.escape_debug()
            )),
        }
    }

    /// Which of the files has this name.
    fn open(&mut self, location: &str) -> Result<usize, String> {
        if let Some(known) = self.locations.iter().position(|known| known == location) {
            return Ok(known + 1);
        }
        if self.locations.len() == FILES {
            return Err(format!("values in more than {FILES} files"));
        }
        let called = || format!("values in `{}`", location.escape_debug());
        let Some(folder) = &self.folder else {
            return Err(format!("{}, but the model is in memory: read it from its file", called()));
        };
        let path = within(folder, location)
            .ok_or_else(|| format!("{}, expected a file in the folder of the model", called()))?;
        let opened = File::open(&path).and_then(|file| match file.metadata()?.is_file() {
            true => Source::disk(file),
            false => Err(std::io::Error::other("it is no file")),
        });
        self.sources.push(opened.map_err(|error| format!("{}: {error}", called()))?);
        self.locations.push(location.to_owned());
        Ok(self.locations.len())
    }
}

/// The file of that name, if it is in the folder or below, by way of links too.
fn within(folder: &Path, location: &str) -> Option<PathBuf> {
    let location = Path::new(location);
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.as_os_str().is_empty() || !location.components().all(plain) {
        return None;
    }
    let path = folder.join(location);
    match (folder.canonicalize(), path.canonicalize()) {
        (Ok(folder), Ok(found)) if !found.starts_with(&folder) => None,
        // What is not there is told when it is opened.
        _ => Some(path),
    }
}
