//! What is known of a file before its rows: its name, its dialect and its columns' names.

use super::dialect::Dialect;
use crate::error::{Error, Place, Result};

/// A file's name, its dialect and its columns' names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heading {
    /// What messages call the file.
    pub file: String,
    pub dialect: Dialect,
    /// Those of the header, or `c1`, `c2`, ...
    pub names: Vec<String>,
}

impl Heading {
    /// The index of the only column of this name.
    pub(crate) fn column_named(&self, name: &str) -> Result<usize> {
        let mut found = self.names.iter().enumerate().filter(|(_, n)| *n == name).map(|(c, _)| c);
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(column),
            (Some(_), Some(_)) => Err(self.duplicate(name)),
            (None, _) => {
                let unnamed =
                    if self.dialect.header { "" } else { " (taken without a header: if there is one, add --header)" };
                let help = format!("the columns are {}{unnamed}", list(self.names.iter().map(String::as_str)));
                Err(Error::data(self.place(), format!("there is no column \"{name}\""), help))
            }
        }
    }

    /// The error for a name that more than one column has.
    pub(crate) fn duplicate(&self, name: &str) -> Error {
        let help = "rename one of them, or leave both out with --drop";
        Error::data(self.place().in_column(name), "two columns have this name", help)
    }

    /// The whole file.
    pub(crate) fn place(&self) -> Place {
        Place::file(&self.file)
    }

    /// A whole column.
    pub(crate) fn column(&self, column: usize) -> Place {
        self.place().in_column(&self.names[column])
    }
}

/// Names in a row, the first twenty of them.
pub(crate) fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let count = names.len();
    let mut list = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if count > SHOWN {
        list.push_str(&format!(" and {} more", count - SHOWN));
    }
    list
}
