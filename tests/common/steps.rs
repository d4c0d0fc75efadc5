//! An observer that keeps what it is told.

use gradus::Result;
use gradus::train::{EpochEvent, Observer, StepEvent};

/// Every step and the loss of every epoch, in their order.
#[derive(Debug, Default)]
pub struct Steps {
    pub steps: Vec<StepEvent>,
    pub epoch_losses: Vec<f64>,
}

impl Observer for Steps {
    fn step(&mut self, event: &StepEvent) -> Result<()> {
        self.steps.push(*event);
        Ok(())
    }

    fn epoch(&mut self, event: &EpochEvent) -> Result<()> {
        self.epoch_losses.push(event.loss);
        Ok(())
    }
}
