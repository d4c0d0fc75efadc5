//! The losses the command line knows. A new loss takes one entry here.

use clap::builder::PossibleValuesParser;
use gradus::data::TargetRole;
use gradus::{BinaryCrossEntropy, CrossEntropy, Error, Huber, Loss, Mse, Result, Scalar};

/// What the command line settles of a loss.
#[derive(Debug, Clone, Default)]
pub struct LossSettings {
    pub class_weights: Option<Vec<f64>>,
    pub label_smoothing: Option<f64>,
}

/// A loss by name.
pub struct Entry<T: Scalar> {
    pub name: &'static str,
    /// The target it takes.
    pub target: TargetRole,
    build: fn(LossSettings) -> Result<Box<dyn Loss<T>>>,
}

/// All of them. The first that takes a target is chosen for it by `--loss auto`.
fn table<T: Scalar>() -> [Entry<T>; 4] {
    [
        Entry { name: "mse", target: TargetRole::Number, build: |_| Ok(Box::new(Mse)) },
        Entry { name: "huber", target: TargetRole::Number, build: |_| Ok(Box::new(Huber::new())) },
        Entry { name: "cross-entropy", target: TargetRole::Classes, build: cross_entropy },
        Entry {
            name: "binary-cross-entropy",
            target: TargetRole::TwoClasses,
            build: |_| Ok(Box::new(BinaryCrossEntropy::new())),
        },
    ]
}

fn cross_entropy<T: Scalar>(settings: LossSettings) -> Result<Box<dyn Loss<T>>> {
    let mut loss = CrossEntropy::new();
    if let Some(weights) = settings.class_weights {
        loss = loss.with_class_weights(weights)?;
    }
    if let Some(smoothing) = settings.label_smoothing {
        loss = loss.with_label_smoothing(smoothing)?;
    }
    Ok(Box::new(loss))
}

impl<T: Scalar> Entry<T> {
    /// The loss of this name, or the first that takes the target.
    pub fn find(name: &str, target: TargetRole) -> Option<Self> {
        let mut table = table().into_iter();
        if name == AUTO { table.find(|entry| entry.target == target) } else { table.find(|entry| entry.name == name) }
    }

    /// Makes the loss.
    ///
    /// # Errors
    /// If a setting does not go with it.
    pub fn build(&self, settings: LossSettings) -> Result<Box<dyn Loss<T>>> {
        if settings.label_smoothing.is_some() && self.target != TargetRole::Classes {
            let why = format!("{} has none; use --loss cross-entropy", self.name);
            return Err(Error::setting("--label-smoothing", why));
        }
        (self.build)(settings)
    }
}

/// The name that leaves the choice to the target.
pub const AUTO: &str = "auto";

/// The names for `--loss`.
pub fn names() -> PossibleValuesParser {
    PossibleValuesParser::new([AUTO].into_iter().chain(table::<f64>().map(|entry| entry.name)))
}
