//! What is read of an HDF5 file: groups, attributes that are text, and where datasets are.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use hdf5_reader::error::Error;
use hdf5_reader::group::Group;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::layout::DataLayout;
use hdf5_reader::{ByteOrder, Datatype, Hdf5File, OpenOptions};

use super::section::Section;
use crate::limits::{self, Room};
use crate::source::Source;
use crate::{Dtype, Element, FormatError};

/// An HDF5 file within a source.
pub(super) struct Hdf5<'p> {
    file: Hdf5File,
    place: &'p str,
    room: &'p Room,
    start: u64,
    len: u64,
    /// Addresses of the groups that were walked through: each is in one place only.
    seen: RefCell<HashSet<u64>>,
}

/// A dataset: what it holds, and where.
pub(super) struct Dataset {
    pub(super) shape: Vec<usize>,
    pub(super) element: Element,
    /// Its bytes in the file, if they follow each other there; else as many, from 0 on.
    pub(super) range: Range<usize>,
    in_file: bool,
    dataset: hdf5_reader::Dataset,
}

impl<'p> Hdf5<'p> {
    pub(super) fn open(
        source: &Source,
        bytes: Range<u64>,
        place: &'p str,
        room: &'p Room,
    ) -> Result<Hdf5<'p>, FormatError> {
        let (start, len) = (bytes.start, bytes.end - bytes.start);
        let section = Section::new(source.clone(), bytes);
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_chunk_bytes(within(room, limits::CHUNK))
            .with_max_object_header_bytes(within(room, limits::OBJECT_HEADER));
        let file = Hdf5File::from_storage_with_options(Arc::new(section), options)
            .map_err(|error| broken(place, start, &error))?;
        let file = Hdf5 { file, place, room, start, len, seen: RefCell::default() };
        let superblock = file.file.superblock();
        let end = superblock.eof_address;
        if [superblock.offset_size, superblock.length_size] != [8, 8] {
            return Err(file.malformed("addresses or lengths of another size", "eight bytes"));
        }
        if superblock.base_address != 0 {
            return Err(file.malformed("addresses from elsewhere than its first byte", "from it"));
        }
        if end > len {
            return Err(file.malformed(
                format!("the end of the file after {len} bytes of {end}"),
                "a whole one: copy or download it again",
            ));
        }
        Ok(file)
    }

    pub(super) fn malformed(&self, found: impl Into<String>, expected: &str) -> FormatError {
        FormatError::Malformed {
            place: self.place.to_owned(),
            offset: self.start,
            found: found.into(),
            expected: expected.to_owned(),
        }
    }

    fn broken(&self, error: &Error) -> FormatError {
        broken(self.place, self.start, error)
    }

    /// The group that all others are in.
    pub(super) fn root(&self) -> Result<Group, FormatError> {
        self.file.root_group().map_err(|error| self.broken(&error))
    }

    /// The group of a name in another, if there is one.
    pub(super) fn child(&self, group: &Group, name: &str) -> Result<Option<Group>, FormatError> {
        match group.group(name) {
            Ok(child) => Ok(Some(child)),
            Err(Error::GroupNotFound(_)) => Ok(None),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// The groups in another, by their names.
    pub(super) fn children(&self, group: &Group) -> Result<HashMap<String, Group>, FormatError> {
        let children = group.groups().map_err(|error| self.broken(&error))?;
        Ok(children.into_iter().map(|child| (child.name().to_owned(), child)).collect())
    }

    /// An attribute of a group that is text, or several; of several that are too long for one
    /// header Keras numbers the parts.
    pub(super) fn strings(
        &self,
        group: &Group,
        name: &str,
    ) -> Result<Option<Vec<String>>, FormatError> {
        let attributes = group.attributes().map_err(|error| self.broken(&error))?;
        let find = |name: &str| attributes.iter().find(|attribute| attribute.name == name);
        let mut all = Vec::new();
        let parts = match find(name) {
            Some(whole) => vec![whole],
            None => (0..).map_while(|part| find(&format!("{name}{part}"))).collect(),
        };
        if parts.is_empty() {
            return Ok(None);
        }
        for part in parts {
            // Of nothing h5py makes numbers.
            if part.num_elements().map_err(|error| self.broken(&error))? == 0 {
                continue;
            }
            let mut strings = part.read_strings();
            if strings.is_err() {
                strings = part.read_string().map(|one| vec![one]);
            }
            all.extend(strings.map_err(|error| self.broken(&error))?);
        }
        Ok(Some(all))
    }

    /// A group and all groups inside it, at any depth, with their paths from it on.
    pub(super) fn walk(&self, root: Group) -> Result<Vec<(String, Group)>, FormatError> {
        let mut walked = Vec::new();
        let mut open = vec![(String::new(), root, 0)];
        while let Some((path, group, depth)) = open.pop() {
            let mut seen = self.seen.borrow_mut();
            self.room.take(path.len() as u64, self.place, || String::from("the groups' names"))?;
            if depth > limits::GROUP_DEPTH || seen.len() == limits::GROUPS {
                return Err(FormatError::TooLarge {
                    place: self.place.to_owned(),
                    found: format!("`{}`", path.escape_debug()),
                    limit: format!(
                        "{} groups, {} in each other",
                        limits::GROUPS,
                        limits::GROUP_DEPTH
                    ),
                });
            }
            // A group may be linked from several places, also from inside itself.
            if !seen.insert(group.address()) {
                let found = format!("`{}` linked twice", group.name().escape_debug());
                return Err(self.malformed(found, "a tree of groups"));
            }
            let children = group.groups().map_err(|error| self.broken(&error))?;
            for child in children.into_iter().rev() {
                open.push((format!("{path}/{}", child.name()), child, depth + 1));
            }
            walked.push((path, group));
        }
        Ok(walked)
    }

    /// The datasets in a group, by their names.
    pub(super) fn datasets(&self, group: &Group) -> Result<HashMap<String, Dataset>, FormatError> {
        let datasets = group.datasets().map_err(|error| self.broken(&error))?;
        let known =
            |dataset: hdf5_reader::Dataset| Ok((dataset.name().to_owned(), self.dataset(dataset)?));
        datasets.into_iter().map(known).collect()
    }

    /// What a dataset holds, and where.
    fn dataset(&self, dataset: hdf5_reader::Dataset) -> Result<Dataset, FormatError> {
        let path = dataset.name().escape_debug().to_string();
        let (element, size) = element(&dataset);
        let shape: Option<Vec<usize>> =
            dataset.shape().iter().map(|&extent| usize::try_from(extent).ok()).collect();
        let bytes = shape.as_ref().and_then(|shape| {
            shape.iter().try_fold(size, |bytes, &extent| bytes.checked_mul(extent))
        });
        let (Some(shape), Some(bytes)) = (shape, bytes) else {
            let found = format!("`{path}` of shape {:?}", dataset.shape());
            return Err(self.malformed(found, "a size that a file can have"));
        };
        let header = self.file.get_or_parse_header(dataset.address());
        let header = header.map_err(|error| self.broken(&error))?;
        let mut layouts = header.messages.iter().filter_map(|message| {
            if let HdfMessage::DataLayout(layout) = message { Some(&layout.layout) } else { None }
        });
        // Those that no value was written to have no address.
        let address = match layouts.next_back() {
            Some(DataLayout::Contiguous { address, .. }) if *address != u64::MAX => Some(*address),
            Some(_) | None => None,
        };
        let outside = |found: String| self.malformed(found, "it to be within the file");
        let range = match address {
            Some(address) => {
                let end = address.checked_add(bytes as u64).filter(|end| *end <= self.len);
                let end = end.ok_or_else(|| {
                    outside(format!("`{path}`, {bytes} bytes from byte {address} on"))
                })?;
                address as usize..end as usize
            }
            None => 0..bytes,
        };
        Ok(Dataset { shape, element, range, in_file: address.is_some(), dataset })
    }

    /// The values of all datasets, one after the other, if some of them are not as they are in the
    /// file: in chunks, or compressed.
    pub(super) fn decoded<'d>(
        &self,
        datasets: impl Iterator<Item = &'d Dataset> + Clone,
    ) -> Result<Option<Vec<u8>>, FormatError> {
        if datasets.clone().all(|dataset| dataset.in_file) {
            return Ok(None);
        }
        let len: u64 = datasets.clone().map(|dataset| dataset.range.len() as u64).sum();
        let limit = self.len.saturating_mul(limits::RATIO);
        if len <= limit {
            self.room.take(len, self.place, || format!("{len} bytes of compressed values"))?;
        }
        let mut values = Vec::new();
        if len > limit || values.try_reserve_exact(len as usize).is_err() {
            return Err(FormatError::TooLarge {
                place: self.place.to_owned(),
                found: format!("{len} bytes of compressed values"),
                limit: format!("{limit} bytes for a file of {}, and what is free", self.len),
            });
        }
        for dataset in datasets {
            let start = values.len();
            values.resize(start + dataset.range.len(), 0);
            let read = dataset.dataset.read_raw_bytes_into(&mut values[start..]);
            read.map_err(|error| self.broken(&error))?;
        }
        Ok(Some(values))
    }
}

/// A limit, or what may still be taken.
fn within(room: &Room, limit: usize) -> usize {
    usize::try_from(room.left()).unwrap_or(usize::MAX).min(limit)
}

fn broken(place: &str, start: u64, error: &Error) -> FormatError {
    if let Error::ResourceLimit(found) = root(error) {
        return FormatError::TooLarge {
            place: place.to_owned(),
            found: format!("an HDF5 file ({})", found.escape_debug()),
            limit: String::from("what a network needs, and --max-memory"),
        };
    }
    FormatError::Malformed {
        place: place.to_owned(),
        offset: start,
        found: format!("an HDF5 file with a mistake ({})", error.to_string().escape_debug()),
        expected: String::from("a whole one, as Keras makes: copy or download it again"),
    }
}

/// What went wrong, without where.
fn root(error: &Error) -> &Error {
    let mut error = error;
    while let Error::Context { source, .. } = error {
        error = source;
    }
    error
}

/// The type of a dataset's values, and the bytes of one.
fn element(dataset: &hdf5_reader::Dataset) -> (Element, usize) {
    if let Datatype::FloatingPoint { size, byte_order: ByteOrder::LittleEndian } = *dataset.dtype()
    {
        let dtype = match size {
            8 => Some(Dtype::F64),
            4 => Some(Dtype::F32),
            2 => Some(Dtype::F16),
            _ => None,
        };
        if let Some(dtype) = dtype {
            return (Element::Float(dtype), dtype.size());
        }
    }
    let size = dataset.raw_element_size().unwrap_or(1);
    // What NumPy does not know, Keras says beside it.
    let said = dataset.attribute("dtype").and_then(|attribute| attribute.read_string());
    if size == 2 && said.is_ok_and(|dtype| dtype == "bfloat16") {
        return (Element::Float(Dtype::BF16), size);
    }
    let text = format!("{:?}", dataset.dtype());
    let word = text.split([' ', '{', '(']).next().unwrap_or_default();
    (Element::Other(format!("{word} of {size} bytes")), size)
}
