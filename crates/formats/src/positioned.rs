use std::fs::File;
use std::io;

/// A file that many read or write at once, each where it likes.
#[derive(Debug)]
pub(crate) struct Positioned {
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: std::sync::Mutex<File>,
}

impl Positioned {
    pub(crate) fn new(file: File) -> Positioned {
        #[cfg(not(unix))]
        let file = std::sync::Mutex::new(file);
        Positioned { file }
    }

    /// Fills `to` with the bytes from the `from`-th on.
    #[cfg(unix)]
    pub(crate) fn read_exact_at(&self, to: &mut [u8], from: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, to, from)
    }

    /// Fills `to` with the bytes from the `from`-th on.
    #[cfg(not(unix))]
    pub(crate) fn read_exact_at(&self, to: &mut [u8], from: u64) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(to)
    }

    /// Writes all bytes from the `at`-th on.
    #[cfg(unix)]
    pub(crate) fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, at)
    }

    /// Writes all bytes from the `at`-th on.
    #[cfg(not(unix))]
    pub(crate) fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        use std::io::{Seek, SeekFrom, Write};
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    }

    /// Waits until all that is written is on the disk, where nobody else waits meanwhile.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        #[cfg(unix)]
        self.file.sync_data()?;
        Ok(())
    }

    /// The file, which nobody reads or writes any more.
    pub(crate) fn into_file(self) -> File {
        #[cfg(unix)]
        let file = self.file;
        #[cfg(not(unix))]
        let file = self.file.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        file
    }
}
