use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::positioned::Positioned;

/// Bytes that are brought to the disk at a time.
const TOGETHER: usize = 1 << 26;

/// A file that threads write, each where it likes; what is written is brought to the disk meanwhile,
/// so that little is left to wait for.
pub(crate) struct Disk {
    file: Arc<Positioned>,
    unsynced: Mutex<Unsynced>,
    turn: Mutex<()>,
}

/// Bytes that are not yet brought to the disk, and who brings those before.
#[derive(Default)]
struct Unsynced {
    bytes: usize,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Disk {
    pub(crate) fn new(file: File) -> Disk {
        let file = Arc::new(Positioned::new(file));
        Disk { file, unsynced: Mutex::default(), turn: Mutex::default() }
    }

    /// For who writes for a while: threads that wait for the system's own lock of a file spin.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all bytes from the `at`-th on. An error may be of bytes that were written before.
    pub(crate) fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        unsynced.bytes += bytes.len();
        let idle = unsynced.thread.as_ref().is_none_or(JoinHandle::is_finished);
        if unsynced.bytes >= TOGETHER && idle {
            unsynced.wait()?;
            let file = Arc::clone(&self.file);
            // Without a thread more is left for the end.
            unsynced.thread = thread::Builder::new().spawn(move || file.sync_data()).ok();
            unsynced.bytes = 0;
        }
        Ok(())
    }

    /// The file, which nobody writes any more.
    pub(crate) fn finish(mut self) -> io::Result<File> {
        self.wait()?;
        let file = Arc::clone(&self.file);
        drop(self);
        let file = Arc::into_inner(file).ok_or_else(|| io::Error::other("it is still synced"))?;
        Ok(file.into_file())
    }

    fn wait(&mut self) -> io::Result<()> {
        self.unsynced.get_mut().unwrap_or_else(PoisonError::into_inner).wait()
    }
}

impl Unsynced {
    fn wait(&mut self) -> io::Result<()> {
        let ended = |_| Err(io::Error::other("a thread that synced ended"));
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(ended))
    }
}

impl Drop for Disk {
    /// Nobody has the file any more when it is removed.
    fn drop(&mut self) {
        let _ = self.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_goes_to_the_disk_meanwhile() {
        let begun = |disk: &Disk| disk.unsynced.lock().unwrap().thread.is_some();
        let disk = Disk::new(tempfile::tempfile().unwrap());
        let bytes = vec![7; TOGETHER / 2];
        disk.write_all_at(&bytes, 0).unwrap();
        assert!(!begun(&disk));
        disk.write_all_at(&bytes, bytes.len() as u64).unwrap();
        assert!(begun(&disk));
        assert_eq!(disk.finish().unwrap().metadata().unwrap().len(), TOGETHER as u64);
    }

    #[test]
    fn what_cannot_be_synced_is_told_once_and_for_all() {
        let failing = || Some(thread::spawn(|| Err(io::ErrorKind::StorageFull.into())));
        let mut disk = Disk::new(tempfile::tempfile().unwrap());
        disk.unsynced.get_mut().unwrap().thread = failing();
        assert_eq!(disk.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);

        let mut disk = Disk::new(tempfile::tempfile().unwrap());
        let thread = failing();
        while !thread.as_ref().unwrap().is_finished() {
            thread::yield_now();
        }
        *disk.unsynced.get_mut().unwrap() = Unsynced { bytes: TOGETHER, thread };
        assert_eq!(disk.write_all_at(&[0], 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
