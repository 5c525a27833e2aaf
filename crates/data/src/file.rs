use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::DataError;

/// The bytes of a regular file of at most `limit` bytes. Pipes and devices, which might never end,
/// are refused.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let place = || path.display().to_string();
    let metadata = fs::metadata(path).map_err(|e| DataError::io(path, e))?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "a pipe or device" };
        return Err(DataError::Unsupported {
            place: place(),
            found: found.to_owned(),
            expected: "a file".to_owned(),
        });
    }
    let file = File::open(path).map_err(|e| DataError::io(path, e))?;
    let mut bytes = Vec::new();
    // The file may grow while it is read, so its length alone is no limit.
    let read = file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| DataError::io(path, e))?;
    if read as u64 > limit {
        return Err(DataError::TooLarge {
            place: place(),
            found: format!("a file of {} bytes", metadata.len()),
            limit: format!("{limit} bytes"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_missing_files_and_large_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ten");
        fs::write(&path, [0; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap().len(), 10);
        assert!(matches!(read(&path, 9).unwrap_err(), DataError::TooLarge { .. }));
        assert!(matches!(read(dir.path(), 10).unwrap_err(), DataError::Unsupported { .. }));
        let missing = read(&dir.path().join("none"), 10).unwrap_err();
        assert!(missing.to_string().ends_with("none"), "{missing}");
    }
}
