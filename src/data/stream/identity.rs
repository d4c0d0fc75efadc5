//! Whether a file is still what it was.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// What tells a file from others, and from itself after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its absolute path.
    path: String,
    bytes: u64,
    /// When it was last modified, in nanoseconds since 1970, where that is known.
    modified: Option<u128>,
    /// Hashes of a few pieces of it, and of all.
    sample: u64,
    content: u64,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// It has other content.
    Content,
    /// It is another file, with other content than this one had.
    Other(String),
}

impl Identity {
    /// Of a file whose content has this hash, as it was `before` it was read. If it has changed since, its time is not
    /// kept, so that its content decides when it is compared.
    pub(super) fn of(path: &Path, content: u64, before: &Metadata) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let unchanged = metadata.len() == before.len() && modified(&metadata) == modified(before);
        Ok(Identity {
            path: absolute(path),
            bytes: metadata.len(),
            modified: modified(&metadata).filter(|_| unchanged),
            sample: sample(&mut File::open(path)?, metadata.len())?,
            content,
        })
    }

    /// How the file at `path` differs. All of it is read only if its time is another, or unknown.
    pub(super) fn compare(&self, path: &Path) -> io::Result<Change> {
        let metadata = fs::metadata(path)?;
        let mut file = File::open(path)?;
        let mut same = metadata.len() == self.bytes && sample(&mut file, self.bytes)? == self.sample;
        if same && (self.modified.is_none() || modified(&metadata) != self.modified) {
            file.rewind()?;
            same = content(&mut file)? == self.content;
        }
        Ok(match same {
            true => Change::None,
            false if absolute(path) == self.path => Change::Content,
            false => Change::Other(self.path.clone()),
        })
    }
}

fn absolute(path: &Path) -> String {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

fn modified(metadata: &fs::Metadata) -> Option<u128> {
    metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok().map(|since| since.as_nanos())
}

/// The hash of pieces from all over a file.
fn sample(file: &mut File, bytes: u64) -> io::Result<u64> {
    const PIECES: u64 = 16;
    const PIECE: u64 = 4096;
    let mut hash = Xxh3::new();
    for piece in 0..PIECES {
        file.seek(SeekFrom::Start(bytes.saturating_sub(PIECE) / (PIECES - 1) * piece))?;
        let mut read = Vec::new();
        file.take(PIECE).read_to_end(&mut read)?;
        hash.update(&read);
    }
    Ok(hash.digest())
}

fn content(file: &mut File) -> io::Result<u64> {
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest()),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// An input whose bytes are hashed as they are read.
pub(super) struct Hashed<R> {
    input: R,
    hash: ContentHash,
}

/// The hash of what was read so far.
#[derive(Clone, Default)]
pub(super) struct ContentHash(Arc<Mutex<Xxh3>>);

impl ContentHash {
    /// Hashes what is read from this input.
    pub(super) fn reading<R>(&self, input: R) -> Hashed<R> {
        Hashed { input, hash: self.clone() }
    }

    pub(super) fn digest(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).digest()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hash.0.lock().unwrap_or_else(PoisonError::into_inner).update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    /// Gives a file a time of its own.
    fn touch(path: &Path) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(9)).unwrap();
    }

    #[test]
    fn a_file_is_the_same_as_long_as_its_content_is() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
        let text = "1,2\n".repeat(50_000);
        fs::write(&path, &text).unwrap();
        let hash = ContentHash::default();
        hash.reading(text.as_bytes()).read_to_end(&mut Vec::new()).unwrap();
        let identity = Identity::of(&path, hash.digest(), &fs::metadata(&path).unwrap()).unwrap();
        assert_eq!(identity.compare(&path).unwrap(), Change::None);
        // A copy, whatever its name and time.
        fs::copy(&path, &other).unwrap();
        touch(&other);
        assert_eq!(identity.compare(&other).unwrap(), Change::None);
        // One byte between the sampled pieces.
        let mut changed = text.clone().into_bytes();
        changed[9000] = b'9';
        fs::write(&other, &changed).unwrap();
        touch(&other);
        assert!(matches!(identity.compare(&other).unwrap(), Change::Other(path) if path.ends_with("a.csv")));
        fs::write(&path, text + "3,4\n").unwrap();
        assert_eq!(identity.compare(&path).unwrap(), Change::Content);
        assert!(identity.compare(&folder.path().join("c.csv")).is_err());
    }
}
