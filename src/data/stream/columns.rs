//! What the columns of a cache mean.

use std::collections::HashMap;
use std::sync::Arc;

use super::cache::RowCache;
use crate::data::category::Tally;
use crate::data::csv::{Cursor, Heading, Table};
use crate::data::facts::{ColumnFacts, Columns, Counted, Wanted};
use crate::data::infer::{SchemaOptions, infer};
use crate::data::labels::LabelCheck;
use crate::data::schema::{Missing, Schema};
use crate::error::Result;
use crate::scalar::Scalar;

impl<T: Scalar> RowCache<T> {
    /// What the columns mean, with remarks on what a reader may want to know. The options are those the rows were read
    /// with, as far as they say which columns are needed.
    ///
    /// # Errors
    /// Those of [`Schema::infer`] and, for targets and sample weights, of [`Schema::encode`].
    pub fn infer(&self, options: &SchemaOptions) -> Result<(Schema, Vec<String>)> {
        let (schema, notes) = infer(self, &self.roles, options)?;
        self.check(&schema)?;
        Ok((schema, notes))
    }

    /// Refuses targets and sample weights that a schema, perhaps another file's, does not take.
    ///
    /// # Errors
    /// Those of [`Schema::encode`].
    pub fn check(&self, schema: &Schema) -> Result<()> {
        self.heading.column_named(&schema.target)?;
        let mut check = LabelCheck::new(schema);
        let mut bytes = Vec::new();
        (0..self.chunk_count()).try_for_each(|index| check.add(&self.labels(index, &mut bytes)?))?;
        check.finish(&self.heading)
    }
}

impl<T: Scalar> Columns for RowCache<T> {
    fn heading(&self) -> &Heading {
        &self.heading
    }

    fn all_rows(&self) -> usize {
        self.file_rows()
    }

    fn facts(&self, column: usize) -> ColumnFacts {
        let place = self.roles.used().iter().position(|&used| used == column);
        place.map(|place| self.facts[place].clone()).unwrap_or_default()
    }

    fn count(&self, used: &[usize], missing: Missing, wanted: &[Wanted]) -> Result<Counted> {
        debug_assert_eq!(used, self.roles.used());
        let feature_count = self.roles.features.len();
        let mut tallies: Vec<(usize, Tally<T>)> = Vec::new();
        for wanted in wanted {
            let place = used.iter().position(|&column| column == wanted.column).expect("the column has a role");
            let texts = self.features.texts.iter().chain(&self.labels.texts).nth(place).expect("texts of each column");
            tallies.push((place, Tally::new(Arc::clone(texts), wanted.most_numbers)));
        }
        let mut means = Vec::new();
        if missing == Missing::Mean {
            means.resize(self.heading.names.len(), 0.0);
        }
        let all = !means.is_empty() || tallies.iter().any(|(place, _)| *place < feature_count);
        let mut bytes = Vec::new();
        for index in 0..self.chunk_count() {
            let (features, labels) = match all {
                true => self.chunk(index, &mut bytes).map(|(features, labels)| (Some(features), labels))?,
                false => (None, self.labels(index, &mut bytes)?),
            };
            for (place, tally) in &mut tallies {
                let (table, column) = match place.checked_sub(feature_count) {
                    Some(column) => (Some(&labels), column),
                    None => (features.as_ref(), *place),
                };
                let Some(table) = table else { continue };
                let mut cursor = Cursor::default();
                (0..table.rows()).for_each(|row| tally.add(table.cell(row, column, &mut cursor)));
            }
            if let (false, Some(features)) = (means.is_empty(), &features) {
                self.add_means(features, &mut means);
            }
        }
        let values: HashMap<_, _> =
            tallies.iter().zip(wanted).map(|((_, tally), wanted)| (wanted.column, tally.counts())).collect();
        Ok(Counted { rows: self.rows(), values, means })
    }
}

impl<T: Scalar> RowCache<T> {
    /// Adds to the mean of each column of the file what these rows give to it, as [`Table::means`] does.
    fn add_means(&self, features: &Table<T>, means: &mut [f64]) {
        let columns = &self.roles.features;
        if columns.is_empty() {
            return;
        }
        for row in features.numbers_of(0..features.rows()).chunks_exact(columns.len()) {
            for ((&column, facts), value) in columns.iter().zip(&self.facts).zip(row) {
                if !value.is_nan() {
                    means[column] += value.as_f64() / facts.numbers as f64;
                }
            }
        }
    }
}
