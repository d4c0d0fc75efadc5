//! The works of `benches/peers` that start in memory, through the public API: one work a call, one line of JSON.
//!
//! - `WORK DATA THREADS`, for `mse`, `softmax` and `full`: training; DATA is the folder that data.py filled.
//! - `read WORK DATA THREADS`: the features of a work, read once per epoch and added up.
//! - `growth ROWS FEATURES EPOCHS`: MSE in batches of 256 on made-up data, as a matrix of any size.
//! - `log ROWS FEATURES EPOCHS FILE`: the same with every step written to a JSON lines log and without one, several times
//!   by turns.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use gradus::data::zero_matrix;
use gradus::train::{
    BatchSize, EpochEvent, LogFormat, LogHeader, Observer, Report, RunEnd, RunLog, RunStart, StepEvent, TrainConfig,
    Trainer,
};
use gradus::{CrossEntropy, Dataset, Linear, Loss, Model, Mse, Scalar, SgdConfig};
use ndarray::Array2;
use serde_json::{Value, json};

#[path = "../limit/mod.rs"]
mod limit;

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer = match arguments[..] {
        ["mse", folder, threads] => train_mse(&Folder::open(folder, "mse")?, threads.parse()?)?,
        ["softmax", folder, threads] => train_softmax(&Folder::open(folder, "softmax")?, threads.parse()?)?,
        ["full", folder, threads] => train_full(&Folder::open(folder, "full")?, threads.parse()?)?,
        ["read", work, folder, threads] => read(&Folder::open(folder, work)?, threads.parse()?)?,
        ["growth", rows, features, epochs] => growth(rows.parse()?, features.parse()?, epochs.parse()?)?,
        ["log", rows, features, epochs, file] => log(rows.parse()?, features.parse()?, epochs.parse()?, file.as_ref())?,
        _ => return Err("the works and their arguments stand at the top of benches/peers/works.rs".into()),
    };
    println!("{answer}");
    Ok(())
}

/// A work's data and settings.
struct Folder<'a> {
    path: &'a Path,
    work: &'a str,
    settings: Value,
}

impl<'a> Folder<'a> {
    fn open(path: &'a str, work: &'a str) -> Result<Self, AnyError> {
        let path = Path::new(path);
        let mut works: Value = serde_json::from_slice(&fs::read(path.join("works.json"))?)?;
        Ok(Folder { path, work, settings: works[work].take() })
    }

    fn count(&self, name: &str) -> usize {
        self.settings[name].as_u64().unwrap_or_else(|| panic!("works.json: {}: {name}", self.work)) as usize
    }

    fn bytes(&self, suffix: &str) -> Result<Vec<u8>, AnyError> {
        Ok(fs::read(self.path.join(format!("{}_{suffix}", self.work)))?)
    }

    fn f32s(&self, suffix: &str) -> Result<Vec<f32>, AnyError> {
        let bytes = self.bytes(suffix)?;
        Ok(bytes.chunks_exact(4).map(f32::from_little_endian).collect())
    }

    fn f64s(&self, suffix: &str) -> Result<Vec<f64>, AnyError> {
        let bytes = self.bytes(suffix)?;
        Ok(bytes.chunks_exact(8).map(f64::from_little_endian).collect())
    }

    /// In large pages, as NumPy's arrays are.
    fn matrix<T: Scalar>(&self, values: Vec<T>) -> Result<Array2<T>, AnyError> {
        let mut matrix = zero_matrix(self.count("rows"), self.count("features"));
        let values = Array2::from_shape_vec(matrix.dim(), values)?;
        matrix.assign(&values);
        Ok(matrix)
    }
}

fn train_mse(folder: &Folder, threads: usize) -> Result<Value, AnyError> {
    let y = Array2::from_shape_vec((folder.count("rows"), 1), folder.f32s("y.f32")?)?;
    let data = Dataset::with_values(folder.matrix(folder.f32s("x.f32")?)?, y)?;
    train(folder, &data, &Mse, 1, threads)
}

fn train_softmax(folder: &Folder, threads: usize) -> Result<Value, AnyError> {
    let y = folder.bytes("y.u8")?.into_iter().map(usize::from).collect();
    let data = Dataset::with_classes(folder.matrix(folder.f32s("x.f32")?)?, y)?;
    train(folder, &data, &CrossEntropy::new(), folder.count("classes"), threads)
}

fn train_full(folder: &Folder, threads: usize) -> Result<Value, AnyError> {
    let y = Array2::from_shape_vec((folder.count("rows"), 1), folder.f64s("y.f64")?)?;
    let data = Dataset::with_values(folder.matrix(folder.f64s("x.f64")?)?, y)?;
    train(folder, &data, &Mse, 1, threads)
}

/// Trains, after a few steps that warm the caches up and are not counted.
fn train<T: Scalar>(
    folder: &Folder,
    data: &Dataset<T>,
    loss: &impl Loss<T>,
    outputs: usize,
    threads: usize,
) -> Result<Value, AnyError> {
    let batch = folder.count("batch");
    let config = TrainConfig {
        epochs: folder.count("epochs"),
        batch_size: BatchSize::Rows(batch),
        threads,
        ..TrainConfig::default()
    };
    let lr = folder.settings["lr"].as_f64().ok_or("works.json: lr")?;
    let short = data.select(&(0..data.rows().min(8 * batch)).collect::<Vec<usize>>());
    let warm_up = TrainConfig { epochs: config.epochs.min(10), ..config.clone() };
    fit(&short, loss, outputs, lr, warm_up, &mut Recorder::default())?;

    let mut recorder = Recorder::with_capacity(config.epochs * data.rows().div_ceil(batch));
    let (model, report) = fit(data, loss, outputs, lr, config, &mut recorder)?;
    Ok(json!({
        "seconds": recorder.seconds,
        "loss": report.loss,
        "last_norm": recorder.norms.last(),
        "hash": hash(&model),
    }))
}

fn fit<T: Scalar>(
    data: &Dataset<T>,
    loss: &impl Loss<T>,
    outputs: usize,
    lr: f64,
    config: TrainConfig,
    observer: &mut dyn Observer,
) -> Result<(Linear<T>, Report), AnyError> {
    let mut model = Linear::new(data.features().ncols(), outputs);
    let mut sgd = SgdConfig::new(lr).build()?;
    let report = Trainer::new(config)?.observer(observer).fit(&mut model, loss, &mut sgd, data)?;
    Ok((model, report))
}

/// Keeps the loss and the gradient norm of each step, and the time from the start of the run to its last step: what comes
/// after, the loss over all rows, is not the others' work.
#[derive(Default)]
struct Recorder {
    losses: Vec<f64>,
    norms: Vec<f64>,
    seconds: f64,
    log: Option<RunLog>,
}

impl Recorder {
    /// With room for so many steps, which has been written in before: its pages are not first asked for during the run.
    fn with_capacity(steps: usize) -> Self {
        let room = || {
            let mut room = vec![f64::NAN; steps];
            room.clear();
            room
        };
        Recorder { losses: room(), norms: room(), ..Recorder::default() }
    }
}

impl Observer for Recorder {
    fn start(&mut self, start: &RunStart) -> gradus::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.start(start))
    }

    fn step(&mut self, event: &StepEvent) -> gradus::Result<()> {
        self.losses.push(event.loss);
        self.norms.push(event.grad_norm);
        self.log.as_mut().map_or(Ok(()), |log| log.step(event))
    }

    fn epoch(&mut self, event: &EpochEvent) -> gradus::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.epoch(event))
    }

    fn end(&mut self, end: &RunEnd) -> gradus::Result<()> {
        self.seconds = end.seconds;
        self.log.as_mut().map_or(Ok(()), |log| log.end(end))
    }
}

/// FNV-1a over the bits of the parameters.
fn hash<T: Scalar>(model: &Linear<T>) -> String {
    let parameters = model.parameters().iter();
    let values = parameters.flat_map(|parameter| parameter.values().iter().map(|value| value.as_f64().to_bits()));
    let bytes = values.flat_map(u64::to_le_bytes);
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

/// The least of three times to read the features once per epoch.
fn read(folder: &Folder, threads: usize) -> Result<Value, AnyError> {
    let features = folder.matrix(folder.f32s("x.f32")?)?;
    let values = features.as_slice().ok_or("a matrix in standard layout")?;
    let epochs = folder.count("epochs");
    let seconds = (0..3).map(|_| {
        let started = Instant::now();
        for _ in 0..epochs {
            std::thread::scope(|scope| {
                for part in values.chunks(values.len().div_ceil(threads)) {
                    scope.spawn(|| black_box(limit::read(black_box(part))));
                }
            });
        }
        started.elapsed().as_secs_f64()
    });
    let seconds = seconds.fold(f64::INFINITY, f64::min);
    let bytes = (epochs * size_of_val(values)) as f64;
    Ok(json!({ "seconds": seconds, "loss": null, "gigabytes_per_second": bytes / seconds / 1e9 }))
}

/// Made-up rows with a linear target, for MSE in batches of 256.
struct MadeUp {
    data: Dataset<f32>,
    epochs: usize,
}

impl MadeUp {
    fn new(rows: usize, features: usize, epochs: usize) -> Result<Self, AnyError> {
        let mut noise = limit::Noise(1);
        let mut x = zero_matrix(rows, features);
        x.iter_mut().for_each(|x| *x = noise.number());
        let weight: Vec<f32> = (0..features).map(|_| noise.number()).collect();
        let y: Vec<f32> = x.outer_iter().map(|row| row.iter().zip(&weight).map(|(x, w)| x * w).sum()).collect();
        Ok(MadeUp { data: Dataset::with_values(x, Array2::from_shape_vec((rows, 1), y)?)?, epochs })
    }

    /// The seconds of a whole run, with what was recorded of it.
    fn timed_fit(&self, log: Option<RunLog>) -> Result<(f64, Recorder, Report), AnyError> {
        let (rows, features) = self.data.features().dim();
        let config = TrainConfig { epochs: self.epochs, batch_size: BatchSize::Rows(256), ..TrainConfig::default() };
        let mut recorder = Recorder { log, ..Recorder::with_capacity(self.epochs * rows.div_ceil(256)) };
        let started = Instant::now();
        let (_, report) = fit(&self.data, &Mse, 1, 0.1 / features as f64, config, &mut recorder)?;
        Ok((started.elapsed().as_secs_f64(), recorder, report))
    }
}

/// Nanoseconds per row and feature.
fn growth(rows: usize, features: usize, epochs: usize) -> Result<Value, AnyError> {
    let (_, recorder, report) = MadeUp::new(rows, features, epochs)?.timed_fit(None)?;
    Ok(json!({
        "seconds": recorder.seconds,
        "loss": report.loss,
        "nanoseconds_per_value": recorder.seconds * 1e9 / (rows * features * epochs) as f64,
    }))
}

/// The median seconds of runs with a new log and of runs without, by turns on the same memory: where it lies changes a run by
/// more than a log does. To put a log in an older one's place takes some file systems as long as to write it.
fn log(rows: usize, features: usize, epochs: usize, path: &Path) -> Result<Value, AnyError> {
    const TURNS: usize = 15;
    let made_up = MadeUp::new(rows, features, epochs)?;
    made_up.timed_fit(None)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for turn in 0..2 * TURNS {
        // Neither always comes after the other.
        if turn % 4 == 0 || turn % 4 == 3 {
            without.push(made_up.timed_fit(None)?.0);
        } else {
            let header = LogHeader { classes: Vec::new(), config: json!({}), load_seconds: 0.0 };
            with.push(made_up.timed_fit(Some(RunLog::create(path, LogFormat::of(path), header)?))?.0);
            fs::remove_file(path)?;
        }
    }
    Ok(json!({ "seconds": median(with), "seconds_without": median(without), "loss": null }))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
