//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// The bytes that are written in one go where nobody reads before the file is whole. The rows of a run that keeps a log drive
/// the system's own code and data out of the caches between two writes: 64 KB then take longer to fetch those than to write.
const WHOLE_PIECE: usize = 1 << 20;

/// The same where somebody may read along.
const DIRECT_PIECE: usize = 64 << 10;

/// A file being written. It takes the place of what stood at its path only when it is [committed](Self::commit);
/// dropped before, it leaves everything as it was.
///
/// What is no regular file, a pipe or `/dev/stdout`, is written to directly.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    destination: Destination,
}

#[derive(Debug)]
enum Destination {
    Replace(BufWriter<NamedTempFile>),
    Direct(BufWriter<File>),
}

impl Destination {
    fn direct(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).open(path)?;
        Ok(Destination::Direct(BufWriter::with_capacity(DIRECT_PIECE, file)))
    }
}

impl AtomicFile {
    /// Starts writing the file at `path`.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if its folder does not exist or cannot be written to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let fail = |error| Error::io(path, "write", error);
        // Through a symbolic link the file it names is replaced, not the link.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let existing = fs::metadata(&target).ok();
        // Standard output is written to as it is, wherever it leads.
        let device = path.starts_with("/dev") || path.starts_with("/proc");
        let destination = match &existing {
            Some(_) if device => Destination::direct(path).map_err(fail)?,
            Some(metadata) if metadata.is_dir() => {
                return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
            }
            Some(metadata) if !metadata.is_file() => Destination::direct(&target).map_err(fail)?,
            _ => {
                if existing.is_some() {
                    // A file that may not be written to must not be replaced either.
                    File::options().append(true).open(&target).map_err(fail)?;
                }
                let file = temporary_beside(&target, existing).map_err(fail)?;
                Destination::Replace(BufWriter::with_capacity(WHOLE_PIECE, file))
            }
        };
        Ok(AtomicFile { path: target, destination })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if it cannot be written to the end.
    pub fn commit(self) -> Result<()> {
        let path = self.path;
        let done = match self.destination {
            Destination::Direct(mut file) => file.flush(),
            Destination::Replace(writer) => writer
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|file| file.persist(&path).map(drop).map_err(|error| error.error)),
        };
        done.map_err(|error| Error::io(&path, "write", error))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.destination {
            Destination::Replace(file) => file.write(bytes),
            Destination::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.destination {
            Destination::Replace(file) => file.flush(),
            Destination::Direct(file) => file.flush(),
        }
    }
}

/// A temporary file in the same folder, with the permissions of the file it will replace.
fn temporary_beside(target: &Path, existing: Option<fs::Metadata>) -> io::Result<NamedTempFile> {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".gradus-");
    #[cfg(unix)]
    {
        // What an ordinary new file gets; the process's mask is applied to it.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(folder)?;
    if let Some(existing) = existing {
        file.as_file().set_permissions(existing.permissions())?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_dropped_before_commit_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        // What is still held back, and so much that some of it has reached the disk before.
        for text in ["new".to_owned(), "lines\n".repeat(WHOLE_PIECE / 2)] {
            let write = || {
                let mut file = AtomicFile::create(&path).unwrap();
                text.split_inclusive('\n').for_each(|line| file.write_all(line.as_bytes()).unwrap());
                file
            };
            drop(write());
            assert_eq!(fs::read_to_string(&path).unwrap(), "old");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

            write().commit().unwrap();
            assert!(fs::read_to_string(&path).unwrap() == text);
            fs::write(&path, "old").unwrap();
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = AtomicFile::create(folder.path().join("no/a")).unwrap_err().to_string();
        assert!(message.contains("no/a: cannot write"), "{message}");
        assert!(AtomicFile::create(folder.path()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_to_and_a_link_is_kept() {
        let mut null = AtomicFile::create("/dev/null").unwrap();
        null.write_all(b"x").unwrap();
        null.commit().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());

        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut file = AtomicFile::create(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
