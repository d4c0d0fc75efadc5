//! What a run tells and leaves, by an optimizer that says its steps are plain and by one that does not.

#![allow(dead_code)] // Each test file uses its part of it.

use std::sync::atomic::{AtomicBool, Ordering};

use gradus::train::{BatchSize, EpochEvent, Observer, Report, RunEnd, RunWarning, StepEvent, TrainConfig, Trainer};
use gradus::{Dataset, Error, Loss, Model, Momentum, Optimizer, Parameter, Result, Scalar, Sgd, SgdConfig};

/// SGD that says its steps are plain, or keeps it to itself, and counts those it was asked for as such.
pub struct Teller<T> {
    pub sgd: Sgd<T>,
    pub tells: bool,
    pub plain_steps: u64,
}

impl<T: Scalar> Teller<T> {
    pub fn new(sgd: SgdConfig, tells: bool) -> Self {
        Teller { sgd: sgd.build().unwrap(), tells, plain_steps: 0 }
    }
}

impl<T: Scalar> Optimizer<T> for Teller<T> {
    fn step(&mut self, parameters: &mut [Parameter<T>]) -> Result<u64> {
        self.sgd.step(parameters)
    }

    fn is_plain(&self, parameters: &[Parameter<T>]) -> bool {
        self.tells && self.sgd.is_plain(parameters)
    }

    fn count_plain_step(&mut self) -> Option<u64> {
        self.plain_steps += 1;
        self.sgd.count_plain_step()
    }

    fn lr(&self) -> f64 {
        self.sgd.lr()
    }

    fn set_lr(&mut self, lr: f64) {
        self.sgd.set_lr(lr);
    }

    fn penalty(&self, parameters: &[Parameter<T>]) -> f64 {
        self.sgd.penalty(parameters)
    }

    fn objective_grad_norm(&self, parameters: &[Parameter<T>]) -> f64 {
        self.sgd.objective_grad_norm(parameters)
    }

    fn maximizes(&self) -> bool {
        self.sgd.maximizes()
    }

    fn momentum(&self) -> Momentum {
        self.sgd.momentum()
    }

    fn steps(&self) -> u64 {
        self.sgd.steps()
    }
}

/// What an observer is told, word by word, and when it has had enough.
pub struct Told<'a> {
    pub words: Vec<String>,
    /// Refuses to hear of this step.
    pub refused: u64,
    /// Sets the flag in this step.
    pub interrupted: u64,
    pub flag: &'a AtomicBool,
}

impl<'a> Told<'a> {
    /// Hears of every step.
    pub fn new(flag: &'a AtomicBool) -> Self {
        Told { words: Vec::new(), refused: 0, interrupted: 0, flag }
    }

    /// All that a run has told and leaves.
    pub fn outcome<T: Scalar>(
        self,
        report: Result<Report>,
        parameters: &[Parameter<T>],
        teller: &Teller<T>,
    ) -> Vec<String> {
        let mut words = self.words;
        words.push(match report {
            Ok(report) => format!("{:?}", Report { seconds: 0.0, ..report }),
            Err(error) => error.to_string(),
        });
        words.extend(parameters.iter().map(|parameter| format!("{parameter:?}")));
        words.push(format!("{} steps", teller.steps()));
        words.push(format!("learning rate {}", teller.lr()));
        words.push(format!("{} passes thrown away", teller.sgd.unstepped_passes()));
        words
    }
}

impl Observer for Told<'_> {
    fn step(&mut self, event: &StepEvent) -> Result<()> {
        self.words.push(format!("{event:?}"));
        self.flag.fetch_or(event.step == self.interrupted, Ordering::Relaxed);
        if event.step == self.refused { Err(Error::setting("observer", "it is full")) } else { Ok(()) }
    }

    fn epoch(&mut self, event: &EpochEvent) -> Result<()> {
        self.words.push(format!("{event:?}"));
        Ok(())
    }

    fn warning(&mut self, warning: &RunWarning) -> Result<()> {
        self.words.push(format!("{warning:?}"));
        Ok(())
    }

    fn end(&mut self, end: &RunEnd) -> Result<()> {
        self.words.push(format!("{:?}", RunEnd { seconds: 0.0, ..*end }));
        Ok(())
    }
}

/// A run of three epochs.
pub struct Case<'a, T, M> {
    pub data: &'a Dataset<T>,
    pub loss: Box<dyn Loss<T>>,
    pub model: M,
    pub sgd: SgdConfig,
    pub config: TrainConfig,
    /// The step that the observer refuses to hear of, and that in which it interrupts the run; 0: none.
    pub refused: u64,
    pub interrupted: u64,
}

impl<'a, T: Scalar, M: Model<T> + Clone> Case<'a, T, M> {
    pub fn new(data: &'a Dataset<T>, loss: impl Loss<T> + 'static, model: M, batch: usize) -> Self {
        let config = TrainConfig { epochs: 3, batch_size: BatchSize::Rows(batch), ..Default::default() };
        let (loss, sgd) = (Box::new(loss), SgdConfig::new(1e-3));
        Case { data, loss, model, sgd, config, refused: 0, interrupted: 0 }
    }

    /// All that the run tells and leaves, and how many of its steps others took.
    pub fn run(&self, threads: usize, tells: bool) -> (Vec<String>, u64) {
        let flag = AtomicBool::new(false);
        let mut told = Told { refused: self.refused, interrupted: self.interrupted, ..Told::new(&flag) };
        let (mut model, mut teller) = (self.model.clone(), Teller::new(self.sgd, tells));
        let config = TrainConfig { threads, ..self.config.clone() };
        let trainer = Trainer::new(config).unwrap().observer(&mut told).interrupt(&flag);
        let report = trainer.fit(&mut model, &*self.loss, &mut teller, self.data);
        (told.outcome(report, model.parameters(), &teller), teller.plain_steps)
    }
}

/// SGD that is plain by its own account, whatever the parameters are, and refuses to step once it has spent its budget.
pub struct Account<T> {
    pub sgd: Sgd<T>,
    /// The last plain step that it counts for others to take, once it has met the parameters; 0: none.
    pub counts_up_to: u64,
    pub budget: u64,
}

impl<T: Scalar> Optimizer<T> for Account<T> {
    fn step(&mut self, parameters: &mut [Parameter<T>]) -> Result<u64> {
        if self.sgd.steps() == self.budget {
            Err(Error::setting("budget", "it is spent"))
        } else {
            self.sgd.step(parameters)
        }
    }

    fn is_plain(&self, _parameters: &[Parameter<T>]) -> bool {
        self.counts_up_to == 0 || self.sgd.steps() > 0
    }

    fn count_plain_step(&mut self) -> Option<u64> {
        if self.sgd.steps() < self.counts_up_to { self.sgd.count_plain_step() } else { None }
    }

    fn lr(&self) -> f64 {
        self.sgd.lr()
    }

    fn set_lr(&mut self, lr: f64) {
        self.sgd.set_lr(lr);
    }

    fn steps(&self) -> u64 {
        self.sgd.steps()
    }
}
