//! Remarks on standard error.

use std::fmt::Display;
use std::io::Write;

/// Writes a line to standard error. A reader that has gone away is no reason to fail.
pub fn remark(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
