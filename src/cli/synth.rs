//! `gradus synth`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use gradus::data::{Synthetic, SyntheticOptions};
use gradus::files::AtomicFile;
use gradus::remarks::remark;
use gradus::{Error, Result};
use serde_json::json;

use super::options::at_least_one;
use super::output::{Done, print, print_json};

/// Write a synthetic data set as CSV.
///
/// line: y = 2.5 x + 1 + noise. plane: y = 1.5 x1 - 2 x2 + 0.8 x3 + 0.5 + noise. blobs: three round classes. moons: two
/// half circles that no line separates.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  gradus synth blobs --rows 1000 -o blobs.csv")]
pub struct Synth {
    /// line, plane, blobs or moons
    #[arg(value_name = "NAME")]
    set: Synthetic,
    /// Rows [default: 100 for the line, 200 for the plane, 300 for the others]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    rows: Option<usize>,
    /// Standard deviation of the noise [default: 0.5 for the line, 1 for blobs, 0.1 for the others]
    #[arg(long, value_name = "X")]
    noise: Option<f64>,
    /// The seed: the same gives the same data
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With -o, print what was written as one JSON object
    #[arg(long, requires = "output")]
    json: bool,
    /// Print nothing but errors and the data
    #[arg(long)]
    quiet: bool,
}

impl Synth {
    pub fn run(&self) -> Done {
        let csv = self.set.csv(SyntheticOptions { rows: self.rows, noise: self.noise, seed: self.seed })?;
        let Some(path) = &self.output else { return print(csv) };
        let write = || -> Result<()> {
            let mut file = AtomicFile::create(path)?;
            file.write_all(csv.as_bytes()).map_err(|error| Error::io(path, "write", error))?;
            file.commit()
        };
        write()?;
        let rows = csv.lines().count() - 1;
        if self.json {
            return print_json(&json!({
                "name": self.set.name(), "rows": rows, "target": self.set.target(), "seed": self.seed, "file": path,
            }));
        }
        if !self.quiet {
            remark(format!("{rows} rows of {} saved to {}", self.set.name(), path.display()));
        }
        Ok(())
    }
}
