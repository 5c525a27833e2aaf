use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::FormatError;
use crate::output::Output;

/// Writes a file whole or not at all.
///
/// The content goes to a temporary file in the same directory, to the disk, and only then takes the
/// name. Whatever fails before (`write` itself, a full disk), the old file stays as it was and the
/// temporary one is removed. A symbolic link is followed; a device or a pipe is written directly,
/// since there is no old file to keep.
///
/// # Errors
/// [`FormatError::Io`] with what the operating system or `write` says.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FormatError> {
    let written = match target(path) {
        Ok(Target::File(path)) => replace(&path, |file| fill(&file, write).map(|()| file)),
        Ok(Target::Device(device)) => fill(&device, write),
        Err(error) => Err(error),
    };
    written.map_err(FormatError::io("write", path))
}

/// [`write_atomically`] for who writes values of parameters. A device or a pipe gets the bytes in
/// order, from a file that is removed again.
pub(crate) fn write_output<'w>(
    path: &Path,
    write: impl FnOnce(&mut Output<'w>) -> io::Result<()>,
) -> Result<(), FormatError> {
    let write = |file| {
        let mut output = Output::new(file);
        write(&mut output)?;
        output.finish()
    };
    let written = match target(path) {
        Ok(Target::File(path)) => replace(&path, write),
        Ok(Target::Device(mut device)) => Temporary::create(&std::env::temp_dir())
            .and_then(|(file, _temporary)| {
                let mut file = write(file)?;
                file.rewind()?;
                io::copy(&mut file, &mut device)
            })
            .map(drop),
        Err(error) => Err(error),
    };
    written.map_err(FormatError::io("write", path))
}

/// What a path names.
enum Target {
    /// A file that is there, or will be.
    File(PathBuf),
    /// A device or a pipe: renaming onto /dev/null would take it away from everybody.
    Device(File),
}

fn target(path: &Path) -> io::Result<Target> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => fs::canonicalize(path).map(Target::File),
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => OpenOptions::new().write(true).open(path).map(Target::Device),
        Err(_) => Ok(Target::File(path.to_owned())),
    }
}

/// Writes two files that belong together, each whole or not at all: `small` takes its name when
/// `large` has its own, and if that cannot be written neither does.
pub(crate) fn write_both<'w>(
    small: &Path,
    write_small: impl FnOnce(&mut Output<'w>) -> io::Result<()>,
    large: &Path,
    write_large: impl FnOnce(&mut Output<'w>) -> io::Result<()>,
) -> Result<(), FormatError> {
    let mut second = Ok(());
    let first = write_output(small, |file| {
        write_small(file)?;
        file.place()?;
        second = write_output(large, write_large);
        second.as_ref().map_or(Err(io::ErrorKind::Interrupted.into()), |()| Ok(()))
    });
    second.and(first)
}

/// Puts a new file in the place of a path. `write` fills it and gives it back.
fn replace(path: &Path, write: impl FnOnce(File) -> io::Result<File>) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let (file, mut temporary) = Temporary::create(directory)?;
    write(file)?.sync_all()?;
    fs::rename(&temporary.path, path)?;
    temporary.renamed = true;
    // Some file systems cannot sync a directory. The file is whole either way; after a power
    // failure the name may then still be the old file's.
    if cfg!(unix) {
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    Ok(())
}

fn fill(file: &File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut buffered = BufWriter::with_capacity(1 << 16, file);
    write(&mut buffered)?;
    buffered.flush()
}

/// Removes the file it names, unless that was renamed.
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn create(directory: &Path) -> io::Result<(File, Temporary)> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!(".striate-{}-{number}.tmp", std::process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, Temporary { path, renamed: false })),
                // Left behind by a process of the same number that was killed.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        fs::read_dir(directory).unwrap().map(|entry| name(entry).unwrap()).collect()
    }

    #[test]
    fn a_writer_that_fails_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights");
        write_atomically(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |file| {
            file.write_all(&[0; 1 << 20])?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(failed, Err(FormatError::Io { what: "write", .. })));
        let panicked = std::panic::catch_unwind(|| write_atomically(&path, |_| panic!("half way")));
        assert!(panicked.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(files(directory.path()), ["weights"]);
        write_atomically(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(files(directory.path()), ["weights"]);
    }

    #[test]
    fn of_two_files_neither_is_new_alone() {
        let directory = tempfile::tempdir().unwrap();
        let [small, large] = ["small", "large"].map(|name| directory.path().join(name));
        let both = |text: &'static [u8], fails: [bool; 2]| {
            let write = |fails: bool| {
                move |file: &mut Output<'_>| match fails {
                    true => Err(io::ErrorKind::StorageFull.into()),
                    false => file.write_all(text),
                }
            };
            write_both(&small, write(fails[0]), &large, write(fails[1]))
        };
        both(b"old", [false, false]).unwrap();
        for (fails, place) in [([true, false], "small"), ([false, true], "large")] {
            let Err(FormatError::Io { place: found, source, .. }) = both(b"new", fails) else {
                panic!("{place} is not written")
            };
            assert!(found.ends_with(place), "{found}");
            assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            assert_eq!([&small, &large].map(|path| fs::read(path).unwrap()), [b"old"; 2]);
        }
        both(b"new", [false, false]).unwrap();
        assert_eq!([&small, &large].map(|path| fs::read(path).unwrap()), [b"new"; 2]);
        assert_eq!(files(directory.path()).len(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let is_directory = write_atomically(directory.path(), |_| Ok(()));
        assert!(is_directory.unwrap_err().to_string().starts_with("cannot write "));
        let nowhere = directory.path().join("no").join("weights");
        assert!(write_atomically(&nowhere, |_| Ok(())).is_err());
        assert_eq!(files(directory.path()), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_stay() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| directory.path().join(name));
        fs::write(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_atomically(&link, |file| file.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");

        write_atomically(Path::new("/dev/null"), |file| file.write_all(b"gone")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let full = Path::new("/dev/full");
        if full.exists() {
            let failed = write_atomically(full, |file| file.write_all(b"too much"));
            let Err(FormatError::Io { source, .. }) = failed else { panic!("{failed:?}") };
            assert_eq!(source.kind(), io::ErrorKind::StorageFull);
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_output_is_whole_or_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights");
        let write = |output: &mut Output<'_>| output.write_all(b"new");
        write_output(&path, write).unwrap();
        let failed = write_output(&path, |output| {
            output.write_all(b"other")?;
            output.place()?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(files(directory.path()), ["weights"]);

        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        std::thread::scope(|scope| {
            let read = scope.spawn(|| fs::read(&pipe).unwrap());
            write_output(&pipe, write).unwrap();
            assert_eq!(read.join().unwrap(), b"new");
        });
    }
}
