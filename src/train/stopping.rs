//! When a run has had enough: patience with the best parameters kept, tolerance, plateau, divergence.

use super::config::{Plateau, TrainConfig};
use crate::parameter::Parameter;
use crate::scalar::Scalar;

/// Decides after each epoch whether the run goes on.
pub(super) struct Stopping<T> {
    patience: Option<usize>,
    patience_from: usize,
    tolerance: f64,
    plateau: Option<Plateau>,
    /// Epochs so far.
    epochs: usize,
    /// The objective of every epoch so far, where tolerance or plateau ask for it.
    objectives: Vec<f64>,
    best: Option<Best<T>>,
}

/// The parameters of the lowest loss so far.
struct Best<T> {
    loss: f64,
    epoch: usize,
    values: Vec<Vec<T>>,
}

impl<T: Scalar> Stopping<T> {
    pub(super) fn new(config: &TrainConfig) -> Self {
        Stopping {
            patience: config.patience,
            patience_from: config.patience_from,
            tolerance: config.tolerance,
            plateau: config.plateau,
            epochs: 0,
            objectives: Vec::new(),
            best: None,
        }
    }

    /// Whether patience needs the loss after each epoch.
    pub(super) fn watches_loss(&self) -> bool {
        self.patience.is_some()
    }

    /// Whether the run may end before its last epoch.
    pub(super) fn may_stop(&self) -> bool {
        self.patience.is_some() || self.tolerance > 0.0 || self.plateau.is_some()
    }

    /// Notes an epoch, and says whether it is the last one. `watched` is the loss that patience goes by.
    pub(super) fn after_epoch(&mut self, objective: f64, watched: Option<f64>, parameters: &[Parameter<T>]) -> bool {
        self.epochs += 1;
        let epoch = self.epochs;
        let mut out_of_patience = false;
        if let (Some(patience), Some(loss)) = (self.patience, watched) {
            if self.best.as_ref().is_none_or(|best| loss < best.loss) {
                self.best = Some(Best { loss, epoch, values: snapshot(parameters) });
            }
            out_of_patience = self
                .best
                .as_ref()
                .is_some_and(|best| epoch.saturating_sub(best.epoch.max(self.patience_from)) >= patience);
        }
        if self.tolerance > 0.0 || self.plateau.is_some() {
            self.objectives.push(objective);
        }
        out_of_patience || self.within_tolerance() || self.on_plateau()
    }

    fn within_tolerance(&self) -> bool {
        let [.., before, now] = self.objectives[..] else { return false };
        self.tolerance > 0.0 && (now - before).abs() <= self.tolerance * before.abs()
    }

    fn on_plateau(&self) -> bool {
        let Some(plateau) = self.plateau else { return false };
        let Some(earlier) = self.objectives.len().checked_sub(plateau.epochs).filter(|&n| n > 0) else {
            return false;
        };
        let lowest = |objectives: &[f64]| objectives.iter().copied().fold(f64::INFINITY, f64::min);
        let (before, lately) = (lowest(&self.objectives[..earlier]), lowest(&self.objectives[earlier..]));
        before - lately <= plateau.tolerance * before.abs()
    }

    /// Puts the best parameters back, and says which epoch they are of.
    pub(super) fn restore_best(self, parameters: &mut [Parameter<T>]) -> Option<usize> {
        let best = self.best?;
        restore(parameters, &best.values);
        Some(best.epoch)
    }
}

/// The values of all parameters.
pub(super) fn snapshot<T: Scalar>(parameters: &[Parameter<T>]) -> Vec<Vec<T>> {
    parameters.iter().map(|parameter| parameter.values().to_vec()).collect()
}

/// Puts the values of a snapshot back.
pub(super) fn restore<T: Scalar>(parameters: &mut [Parameter<T>], values: &[Vec<T>]) {
    for (parameter, values) in parameters.iter_mut().zip(values) {
        parameter.values_mut().copy_from_slice(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn stops_at(config: TrainConfig, objectives: &[f64]) -> Option<usize> {
        let mut stopping = Stopping::<f64>::new(&config);
        objectives.iter().position(|&o| stopping.after_epoch(o, Some(o), &[])).map(|at| at + 1)
    }

    #[test]
    fn patience_counts_epochs_since_the_lowest_loss() {
        let config = TrainConfig { patience: Some(2), ..Default::default() };
        assert_eq!(stops_at(config.clone(), &[3.0, 2.0, 2.5, 1.0, 1.0, 1.1]), Some(6));
        assert_eq!(stops_at(config, &[3.0, 2.0, 1.0]), None);
    }

    #[test]
    fn the_best_parameters_come_back() {
        let mut parameters = [Parameter::new("w", array![0.0])];
        let mut stopping = Stopping::new(&TrainConfig { patience: Some(9), ..Default::default() });
        for (value, loss) in [(1.0, 3.0), (2.0, 1.0), (3.0, 2.0)] {
            parameters[0].values_mut()[0] = value;
            stopping.after_epoch(loss, Some(loss), &parameters);
        }
        assert_eq!(stopping.restore_best(&mut parameters), Some(2));
        assert_eq!(parameters[0].values(), [2.0]);
    }

    #[test]
    fn tolerance_is_a_relative_change_from_one_epoch_to_the_next() {
        let config = TrainConfig { tolerance: 0.01, ..Default::default() };
        assert_eq!(stops_at(config, &[100.0, 90.0, 89.5]), Some(3));
        assert_eq!(stops_at(TrainConfig::default(), &[1.0, 1.0, 1.0]), None);
    }

    #[test]
    fn a_plateau_looks_through_oscillation() {
        let plateau = Some(Plateau { epochs: 2, tolerance: 0.01 });
        let config = TrainConfig { plateau, ..Default::default() };
        assert_eq!(stops_at(config.clone(), &[10.0, 5.0, 6.0, 4.0, 6.0, 3.999]), Some(6));
        assert_eq!(stops_at(config, &[0.0, 0.0, 0.0]), Some(3));
    }
}
