//! Which columns are the target, the sample weight and the features.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::csv::Heading;
use super::infer::SchemaOptions;
use crate::error::{Error, Result};

/// Which column is what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Roles {
    pub target: usize,
    pub weight: Option<usize>,
    /// In ascending order.
    pub features: Vec<usize>,
}

impl Roles {
    /// By the columns' names alone.
    pub(crate) fn find(heading: &Heading, options: &SchemaOptions) -> Result<Self> {
        let names = &heading.names;
        let target = match &options.target {
            Some(name) => heading.column_named(name)?,
            None => {
                let kept = |c: &usize| !options.drop.contains(&names[*c]);
                let last = (0..names.len()).rev().find(kept);
                last.ok_or_else(|| Error::data(heading.place(), "every column is dropped", "keep the target"))?
            }
        };
        let weight = options.sample_weight.as_ref().map(|name| heading.column_named(name)).transpose()?;
        for name in options.drop.iter().chain(&options.categorical) {
            if !names.contains(name) {
                heading.column_named(name)?;
            }
        }
        let taken = |c: &usize| *c == target || Some(*c) == weight;
        for column in [Some(target), weight].into_iter().flatten() {
            if options.drop.contains(&names[column]) {
                return Err(taken_twice(heading, column, "it is dropped, and the target or the sample weight"));
            }
        }
        if weight == Some(target) {
            return Err(taken_twice(heading, target, "the target cannot be the sample weight too"));
        }
        let features: Vec<usize> = match &options.features {
            Some(names) => {
                let found = names.iter().map(|name| heading.column_named(name)).collect::<Result<BTreeSet<_>>>()?;
                if let Some(&column) = found.iter().find(|c| taken(c)) {
                    return Err(taken_twice(heading, column, "it is the target or the sample weight, and no feature"));
                }
                found.into_iter().collect()
            }
            None => (0..names.len()).filter(|c| !taken(c)).collect(),
        };
        let features: Vec<usize> = features.into_iter().filter(|&c| !options.drop.contains(&names[c])).collect();
        for &column in &features {
            let name = &names[column];
            if names.iter().filter(|n| *n == name).count() > 1 {
                return Err(heading.duplicate(name));
            }
        }
        Ok(Roles { target, weight, features })
    }

    /// All columns that have a role: the features first.
    pub(crate) fn used(&self) -> Vec<usize> {
        let mut used = self.features.clone();
        used.push(self.target);
        used.extend(self.weight);
        used
    }
}

fn taken_twice(heading: &Heading, column: usize, what: &str) -> Error {
    Error::data(heading.column(column), what, "name another column")
}
