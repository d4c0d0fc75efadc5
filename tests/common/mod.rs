//! What the tests of whole commands share.

#![allow(dead_code)] // Each test file uses its part of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own for a test.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), contents).expect("a file in a temporary folder");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("UTF-8")
    }

    /// Every file with its bytes.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.path()).expect("a temporary folder").map(|entry| entry.expect("an entry"));
        let files = entries.filter(|entry| entry.path().is_file());
        files
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("a file")))
            .collect()
    }
}

/// What a command did.
pub struct Run {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The one JSON object on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

/// Runs `gradus` in a folder.
pub fn gradus(folder: &Folder, arguments: &[&str]) -> Run {
    gradus_with_input(folder, arguments, "")
}

/// Runs `gradus` in a folder with this on standard input.
pub fn gradus_with_input(folder: &Folder, arguments: &[&str], input: &str) -> Run {
    let mut command = cargo_bin_cmd!("gradus");
    let output = command.current_dir(folder.path()).args(arguments).write_stdin(input).output().expect("gradus runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs `gradus`, which must succeed, with the instructions of a level.
pub fn gradus_at_level(folder: &Folder, arguments: &[&str], level: &str) {
    let mut command = cargo_bin_cmd!("gradus");
    command.current_dir(folder.path()).env("GRADUS_SIMD", level).args(arguments).assert().success();
}

/// Runs `gradus`, which must succeed.
pub fn succeed(folder: &Folder, arguments: &[&str]) -> Run {
    let run = gradus(folder, arguments);
    assert_eq!(run.status, 0, "{arguments:?}: {}", run.stderr);
    run
}

/// A file of the project's own data.
pub fn data(name: &str) -> String {
    format!("{}/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file of reference figures.
pub fn reference(name: &str) -> String {
    format!("{}/tests/data/reference/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The program that `cargo test` has built: `target/PROFILE/examples/NAME`, where this is `target/PROFILE/deps/...`.
pub fn program(name: &str) -> std::path::PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).with_extension("rs");
    let this = std::env::current_exe().unwrap();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let program = this.parent().and_then(Path::parent).unwrap().join("examples").join(file);
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified());
    let current = changed(&program).is_ok_and(|built| built >= changed(&source).unwrap());
    // `cargo test` builds the examples as programs only when it is not told which targets to test.
    assert!(current, "{} is missing or older than its source: run `cargo build --examples`", program.display());
    program
}
