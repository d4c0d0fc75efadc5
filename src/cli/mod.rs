//! The commands, on the public API alone.

mod balance;
mod diff;
mod doctor;
mod doctor_page;
mod evaluate;
mod findings;
mod gradcheck;
mod inspect;
mod interrupt;
mod lab;
mod least_squares;
mod losses;
mod options;
mod output;
mod plot;
mod predict;
mod prepare;
mod report;
mod rows;
mod stream;
mod synth;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gradus::ErrorKind;
use gradus::remarks::remark;

use output::Failure;

/// The fastest way from a CSV to a linear model whose every gradient you can trust.
///
/// Start with `gradus train DATA.csv --target COLUMN`: nothing else has to be chosen.
#[derive(Parser)]
#[command(version, about, max_term_width = 100, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status: 0 done; 1 the data or the run is at fault; 2 the command line is; 130 or 143 interrupted.";

#[derive(Subcommand)]
enum Command {
    /// Fit a linear model to a CSV file, standard input (-) or synthetic data
    Train(Box<train::Train>),
    /// Before training: types, scales, conditioning, largest stable learning rate, suspicious rows
    Doctor(Box<doctor::Doctor>),
    /// Measure a saved model on a labelled file
    Evaluate(evaluate::Evaluate),
    /// Predict a CSV file with a saved model: one row out for each row in
    Predict(predict::Predict),
    /// Show a saved model: coefficients in the data's own units, classes, schema
    Inspect(inspect::Inspect),
    /// Check the analytic gradient against a numerical one on your data, your loss
    Gradcheck(Box<gradcheck::Gradcheck>),
    /// Write a synthetic data set as CSV
    Synth(synth::Synth),
    /// The bug lab: famous gradient bugs, reproduced, detected, mended
    Lab(lab::Lab),
    /// Compare two logs: the first step where they part, and which settings differ
    Diff(diff::Diff),
}

/// Runs the command line and returns the exit status.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Train(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Predict(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Gradcheck(command) => command.run(),
        Command::Synth(command) => command.run(),
        Command::Lab(command) => command.run(),
        Command::Diff(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Interrupted(status)) => ExitCode::from(status),
        Err(Failure::Refused) => ExitCode::from(1),
        // Whoever read the output has had enough of it, as `head` does.
        Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Error(error)) => {
            remark(format!("error: {error}"));
            match error.kind() {
                ErrorKind::Setting { .. } => ExitCode::from(2),
                _ => ExitCode::from(1),
            }
        }
    }
}
