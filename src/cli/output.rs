//! Results to standard output, remarks to standard error, and how a command can fail.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use gradus::Error;

/// How a command ends early.
pub enum Failure {
    Error(Error),
    /// By a signal, with this exit status; what there was to save is saved.
    Interrupted(u8),
    /// With a result that is a refusal, and has been printed.
    Refused,
    /// Standard output was closed by its reader.
    OutputClosed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

pub type Done = Result<(), Failure>;

/// Prints text to standard output.
pub fn print(text: impl Display) -> Done {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(stdout_failure)
}

/// `1 row`, `2 rows`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A number in about six digits: plain where that is short, with an exponent elsewhere.
pub fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 {
        "0".into()
    } else if (1e-4..1e6).contains(&magnitude) {
        let decimals = 5 - magnitude.log10().floor() as i32;
        format!("{value:.*}", decimals.max(1) as usize)
    } else {
        format!("{value:.5e}")
    }
}

/// The width of a page.
pub const WIDTH: usize = 80;

/// Text broken into lines of at most [`WIDTH`] characters, the first behind `start`, the others below its end. A word
/// longer than a line is broken where the line ends.
pub fn paragraph(start: &str, text: &str) -> String {
    let indent = start.chars().count();
    let mut page = start.to_owned();
    let mut column = indent;
    let new_line = |page: &mut String| {
        page.push('\n');
        page.extend(std::iter::repeat_n(' ', indent));
        indent
    };
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            column = new_line(&mut page);
        } else if column > indent {
            page.push(' ');
            column += 1;
        }
        for character in word.chars() {
            if column == WIDTH {
                column = new_line(&mut page);
            }
            page.push(character);
            column += 1;
        }
    }
    page.push('\n');
    page
}

/// Prints one JSON object to standard output.
pub fn print_json(value: &serde_json::Value) -> Done {
    print(format!("{value:#}\n"))
}

/// What a failed write to standard output means.
pub fn stdout_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::OutputClosed
    } else {
        Failure::Error(Error::io("standard output", "write", error))
    }
}

/// Refuses an output that is an input or another output.
pub fn refuse_same_files(inputs: &[&Path], outputs: &[Option<&Path>]) -> gradus::Result<()> {
    let outputs: Vec<&Path> = outputs.iter().flatten().copied().collect();
    for (at, output) in outputs.iter().enumerate() {
        if let Some(input) = inputs.iter().find(|input| same_file(input, output)) {
            let why = format!("{} is the input {}; choose another path", output.display(), input.display());
            return Err(Error::setting("output", why));
        }
        if outputs[..at].iter().any(|other| same_file(other, output)) {
            return Err(Error::setting("output", format!("{} is named for two outputs", output.display())));
        }
    }
    Ok(())
}

/// Where a file that is not there yet would be.
fn to_be(path: &Path) -> Option<(std::path::PathBuf, std::ffi::OsString)> {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return None,
    };
    // A folder that is not there is told of when the file is written.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    Some((folder, path.file_name()?.to_owned()))
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a.is_file() && a == b,
        (Err(_), Err(_)) => to_be(a) == to_be(b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_break_between_words_and_hang_below_their_start() {
        let page = paragraph("help: ", &"word ".repeat(20));
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), 80);
        assert_eq!(lines[1], "      word word word word word");
    }

    #[test]
    fn a_word_longer_than_a_line_is_broken_and_nothing_is_lost() {
        let page = paragraph("  -> ", &format!("--drop {} now", "x".repeat(200)));
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH && line.trim_end() == line), "{page}");
        assert_eq!(page.matches('x').count(), 200);
        assert!(page.starts_with("  -> --drop\n     x") && page.ends_with("x now\n"), "{page}");
    }
}
