//! What the columns of a file mean to a model.

use serde::{Deserialize, Serialize};

/// What is to be predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A number: one output.
    Regression,
    /// One of two classes: one output, the logit of the second.
    Binary,
    /// One of several classes: an output for each.
    Multiclass,
}

/// What to do with a missing value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Refuse it, with its place. The default.
    #[default]
    Error,
    /// Leave its row out.
    Drop,
    /// Put in the column's mean, or the most frequent value of a text column.
    Mean,
}

/// What to do with a text value that training did not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// Refuse it, with its place. The default.
    #[default]
    Error,
    /// Set all the column's one-hot features to 0.
    Zero,
}

/// A column that becomes one or more features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureColumn {
    /// The column's name in the file.
    pub name: String,
    /// How it becomes features.
    #[serde(flatten)]
    pub encoding: Encoding,
}

/// How a column becomes features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "encoding", rename_all = "kebab-case")]
pub enum Encoding {
    /// The number itself: one feature.
    Number {
        /// What a missing value becomes; `None`: it is refused.
        fill: Option<f64>,
    },
    /// One feature for each value, 1 where the cell has it and 0 elsewhere.
    OneHot {
        /// The values, in order.
        values: Vec<String>,
        /// What a missing value becomes; `None`: it is refused.
        fill: Option<String>,
    },
}

/// What the columns of a file mean to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// What is to be predicted.
    pub task: Task,
    /// The target's column.
    pub target: String,
    /// The classes, in the order of their indices; empty for regression.
    pub classes: Vec<String>,
    /// The columns that become features, in order.
    pub columns: Vec<FeatureColumn>,
    /// The column of sample weights, if there is one.
    pub sample_weight: Option<String>,
    /// What to do with missing values.
    pub missing: Missing,
    /// The cells that count as missing, besides the empty cell.
    pub missing_markers: Vec<String>,
}

impl Schema {
    /// The outputs of a model for this schema.
    pub fn outputs(&self) -> usize {
        match self.task {
            Task::Regression | Task::Binary => 1,
            Task::Multiclass => self.classes.len(),
        }
    }

    /// The names of the features: the column's, or `NAME=VALUE` for each value of a one-hot column.
    pub fn feature_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for column in &self.columns {
            match &column.encoding {
                Encoding::Number { .. } => names.push(column.name.clone()),
                Encoding::OneHot { values, .. } => {
                    names.extend(values.iter().map(|value| format!("{}={value}", column.name)));
                }
            }
        }
        names
    }
}
