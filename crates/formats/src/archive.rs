//! Zip archives, as PyTorch and Keras write them: opened with what their directory must keep to.
//!
//! The crate reads each entry where the directory says, and of several of one name the last. Another
//! reader may take the first, or those it meets from the first byte on: such archives are refused.

use zip::ZipArchive;
use zip::result::ZipError;

use crate::FormatError;
use crate::limits::{ENTRIES, Room};
use crate::source::{Reader, Source};

pub(crate) type Archive<'s> = ZipArchive<Reader<'s>>;

/// The most bytes of memory that are kept of an entry.
const KNOWN: u64 = 512;

/// An archive whose entries have names of their own and bytes of their own.
///
/// # Errors
/// [`FormatError::Malformed`] if it is none, is cut off, or its entries overlap;
/// [`FormatError::Unsupported`] if two have the same name; [`FormatError::TooLarge`] if there are
/// too many.
pub(crate) fn open<'s>(
    source: &'s Source,
    place: &str,
    room: &Room,
) -> Result<Archive<'s>, FormatError> {
    let mut zip = ZipArchive::new(source.reader()).map_err(|error| broken(place, error))?;
    let count = zip.len();
    let found = || format!("an archive of {count} entries");
    if count > ENTRIES {
        let (place, limit) = (place.to_owned(), format!("{ENTRIES} entries"));
        return Err(FormatError::TooLarge { place, found: found(), limit });
    }
    room.take(KNOWN * count as u64, place, found)?;
    if let Some(name) = twice(&zip, source) {
        return Err(FormatError::Unsupported {
            place: place.to_owned(),
            found: format!("`{}` twice", name.escape_debug()),
            expected: String::from("an archive whose entries have names of their own"),
        });
    }
    let mut parts = Vec::with_capacity(count);
    for index in 0..count {
        let entry = zip.by_index_raw(index).map_err(|error| broken(place, error))?;
        let name = entry.name().map_err(|error| broken(place, error))?;
        let (start, len) = (entry.data_start().unwrap_or(0), entry.compressed_size());
        let Some(end) = start.checked_add(len).filter(|end| *end <= source.len()) else {
            return Err(FormatError::Malformed {
                place: place.to_owned(),
                offset: start,
                found: format!("`{}` of {len} bytes", name.escape_debug()),
                expected: format!("it to end by {}: copy or download it again", source.len()),
            });
        };
        parts.push((entry.header_start(), end, index));
    }
    parts.sort_unstable();
    for pair in parts.windows(2) {
        let ((_, end, _), (start, _, index)) = (pair[0], pair[1]);
        if start < end {
            let name = zip.name_for_index(index).and_then(Result::ok).unwrap_or_default();
            return Err(FormatError::Malformed {
                place: place.to_owned(),
                offset: start,
                found: format!("`{}`, which begins before another entry ends", name.escape_debug()),
                expected: String::from("entries that do not overlap"),
            });
        }
    }
    Ok(zip)
}

/// For errors of the crate.
pub(crate) fn broken(place: &str, error: ZipError) -> FormatError {
    FormatError::Malformed {
        place: place.to_owned(),
        offset: 0,
        found: format!("a zip archive with a mistake ({error})"),
        expected: String::from("a whole one, as PyTorch or Keras makes: copy or download it again"),
    }
}

/// A name that the directory has twice: the crate keeps one of them, so that it knows of fewer
/// entries than there are.
fn twice(zip: &Archive<'_>, source: &Source) -> Option<String> {
    const HEADER: usize = 46;
    let mut at = zip.central_directory_start();
    let mut names = Vec::new();
    let mut header = [0; HEADER];
    while source.read(at, &mut header).is_ok() && header.starts_with(b"PK\x01\x02") {
        let length = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let [name, extra, comment] = [28, 30, 32].map(length);
        let mut text = vec![0; name.into()];
        source.read(at + HEADER as u64, &mut text).ok()?;
        names.push(String::from_utf8_lossy(&text).into_owned());
        if names.len() > ENTRIES {
            break;
        }
        at += HEADER as u64 + u64::from(name) + u64::from(extra) + u64::from(comment);
    }
    if names.len() == zip.len() {
        return None;
    }
    names.sort_unstable();
    let pair = names.windows(2).find(|pair| pair[0] == pair[1]);
    Some(pair.map_or_else(|| String::from("an entry"), |pair| pair[0].clone()))
}
