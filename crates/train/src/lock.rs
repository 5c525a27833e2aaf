use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use crate::TrainError;
use crate::checkpoint::io;

/// Keeps other processes out of the directory of a run for as long as it lives. The system lets go
/// of it when the process ends, however it ends; the file `lock` stays.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the directory, if it is not there, and locks it.
    ///
    /// # Errors
    /// [`TrainError::Locked`] if somebody else has it, [`TrainError::Io`] if it cannot be written.
    pub fn take(run: &Path) -> Result<Lock, TrainError> {
        fs::create_dir_all(run).map_err(io(run, "make the directory"))?;
        let path = run.join("lock");
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(io(&path, "open the lock of the run"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The lock may come without a name: some systems let nobody else read it.
                let named = file.take(64).read_to_string(&mut owner).is_ok() && !owner.is_empty();
                let owner = if named { owner } else { String::from("another process") };
                return Err(TrainError::Locked { path, owner });
            }
            // Where the file system has no locks, a run goes without.
            Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(io(&path, "lock the run")(e)),
        }
        // The name is a help to others; on a full disk the lock does without.
        let _ = file.set_len(0).and_then(|()| write!(file, "process {}", std::process::id()));
        Ok(Lock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_belongs_to_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        let first = Lock::take(&run).unwrap();
        let Err(error) = Lock::take(&run) else { panic!("locked twice") };
        let owner = format!("process {}", std::process::id());
        assert!(error.to_string().contains(&owner), "{error}");
        drop(first);
        assert!(Lock::take(&run).is_ok());
    }
}
