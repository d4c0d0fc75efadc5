//! Precision and recall of the ledger: 10,000 random programs that are right, and 10,000 with one planted fault.
//!
//! A program is a list of calls, as a training loop makes them, of one or two models that each have an optimizer. It
//! is written without asking the library; what the library says of it is then compared with what was planted.

use std::sync::{Arc, Mutex};

use gradus::optim::GradientWarning;
use gradus::{
    ErrorKind, Init, Ledger, Linear, Model, Momentum, Optimizer, Parameter, Result, Sgd, SgdConfig, StaleGradient,
};
use ndarray::{Array2, array};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const PROGRAMS: u64 = 10_000;

/// A call of a training loop.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Backward,
    Step,
    /// `zero_grad` where a window begins: nothing should be pending.
    ZeroGrad,
    /// A window of this many passes, left out on purpose.
    Discard {
        passes: u64,
    },
    /// Freezes a parameter, or lets it train again, between two windows.
    Freeze {
        parameter: usize,
        frozen: bool,
    },
}

/// What is wrong with a program.
#[derive(Debug, Clone, PartialEq)]
enum Fault {
    /// The step was refused: step `used_by` had used the gradient, and `passes` were added.
    Stale { parameter: String, used_by: u64, passes: u64 },
    /// The step was refused: step `used_by` had used the gradient.
    Double { parameter: String, used_by: u64 },
    /// The step was refused: there is no gradient.
    Missing { parameter: String },
    /// The step after a `zero_grad` warned of passes that nobody meant to throw away.
    ThrownAway { passes: u64 },
}

/// One window of a loop.
#[derive(Debug, Clone)]
struct Window {
    /// Backward passes: micro-batches less the skipped ones.
    passes: u64,
    /// Whether a step ends it; if not, its passes are thrown away on purpose.
    stepped: bool,
    /// Frozen and thawed before it.
    freezes: Vec<(usize, bool)>,
    /// Whether a second `zero_grad` follows the first, which harms nothing.
    zeroed_twice: bool,
}

/// A right training loop of one model.
fn windows(rng: &mut ChaCha8Rng) -> Vec<Window> {
    let accumulate = rng.random_range(1..=5);
    let skip = if rng.random_bool(0.3) { 0.4 } else { 0.0 };
    let discard = if rng.random_bool(0.3) { 0.2 } else { 0.0 };
    let count = rng.random_range(2..=12);
    let mut frozen = [false; 2];
    (0..count)
        .map(|at| {
            // The last window of an epoch may be short.
            let micro_batches = if at % 4 == 3 { rng.random_range(1..=accumulate) } else { accumulate };
            let passes = (0..micro_batches).filter(|_| !rng.random_bool(skip)).count() as u64;
            let mut freezes = Vec::new();
            if rng.random_bool(0.15) {
                let parameter = rng.random_range(0..2);
                frozen[parameter] = !frozen[parameter];
                freezes.push((parameter, frozen[parameter]));
            }
            // A window whose micro-batches were all skipped has nothing to step with.
            let stepped = passes > 0 && !rng.random_bool(discard);
            Window { passes, stepped, freezes, zeroed_twice: rng.random_bool(0.1) }
        })
        .collect()
}

/// Which parameters train in each window.
fn trained(windows: &[Window]) -> Vec<[bool; 2]> {
    let mut frozen = [false; 2];
    windows
        .iter()
        .map(|window| {
            for (parameter, now) in &window.freezes {
                frozen[*parameter] = *now;
            }
            frozen.map(|frozen| !frozen)
        })
        .collect()
}

/// Where a loop calls `zero_grad`: both places are right.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Style {
    BeforeWindow,
    AfterStep,
}

/// The calls of each window.
fn calls(windows: &[Window], style: Style) -> Vec<Vec<Call>> {
    windows
        .iter()
        .zip(trained(windows))
        .map(|(window, trained)| {
            let freezes = window.freezes.iter().map(|&(parameter, frozen)| Call::Freeze { parameter, frozen });
            let mut calls: Vec<Call> = freezes.collect();
            if style == Style::BeforeWindow {
                calls.push(Call::ZeroGrad);
            }
            if window.zeroed_twice {
                calls.push(Call::ZeroGrad);
            }
            calls.extend((0..window.passes).map(|_| Call::Backward));
            if window.stepped {
                calls.push(Call::Step);
                if style == Style::AfterStep {
                    calls.push(Call::ZeroGrad);
                }
            } else if window.passes > 0 {
                // Nothing of a model that is frozen as a whole is thrown away.
                let passes = if trained.contains(&true) { window.passes } else { 0 };
                calls.push(Call::Discard { passes });
            }
            calls
        })
        .collect()
}

/// An optimizer of somebody else's, on the ledger alone: it moves by the gradient's sign.
struct SignDescent {
    steps: u64,
    warnings: Warnings,
}

/// Every warning of the optimizers of a program.
type Warnings = Arc<Mutex<Vec<GradientWarning>>>;

impl Optimizer<f64> for SignDescent {
    fn step(&mut self, parameters: &mut [Parameter<f64>]) -> Result<u64> {
        use gradus::LedgerFault::{Double, Missing, Stale};
        for parameter in parameters.iter().filter(|parameter| !parameter.is_frozen()) {
            let name = parameter.name().to_owned();
            match parameter.ledger().fault() {
                None => {}
                Some(Missing) => return Err(ErrorKind::MissingGradient { parameter: name }.into()),
                Some(Double { step }) => return Err(ErrorKind::DoubleStep { parameter: name, step }.into()),
                Some(Stale { step, passes }) => {
                    return Err(ErrorKind::StaleGradient { parameter: name, step, passes }.into());
                }
            }
        }
        self.steps += 1;
        self.warnings.lock().unwrap().extend(GradientWarning::unstepped(parameters, self.steps));
        for parameter in parameters.iter_mut().filter(|parameter| !parameter.is_frozen()) {
            let (values, gradients) = parameter.values_and_gradients_mut();
            values.iter_mut().zip(gradients).for_each(|(value, gradient)| *value -= 1e-3 * gradient.signum());
            parameter.mark_spent(self.steps);
        }
        Ok(self.steps)
    }

    fn lr(&self) -> f64 {
        1e-3
    }

    fn set_lr(&mut self, _lr: f64) {}

    fn steps(&self) -> u64 {
        self.steps
    }
}

/// A random optimizer. `Warn` is not refused by, and must not warn in, a right program.
fn optimizer(rng: &mut ChaCha8Rng, may_warn: bool, warnings: &Warnings) -> Box<dyn Optimizer<f64>> {
    let momentum = match rng.random_range(0..5) {
        0 => return Box::new(SignDescent { steps: 0, warnings: Arc::clone(warnings) }),
        1 => Momentum::None,
        2 => Momentum::Classic { momentum: 0.9, dampening: 0.0 },
        3 => Momentum::Classic { momentum: 0.5, dampening: 0.3 },
        _ => Momentum::Nesterov { momentum: 0.9 },
    };
    let decay = *[0.0, 0.01].choose(rng).unwrap();
    let policy = if may_warn && rng.random_bool(0.5) { StaleGradient::Warn } else { StaleGradient::Deny };
    let mut config = SgdConfig::new(1e-3).momentum(momentum).weight_decay(decay).stale_gradient(policy);
    if rng.random_bool(0.2) {
        config = config.maximize();
    }
    let warnings = Arc::clone(warnings);
    let sgd: Sgd<f64> = config.build().unwrap();
    Box::new(sgd.on_warning(move |warning| warnings.lock().unwrap().push(warning.clone())))
}

/// Makes the calls until the library finds something: at which call, and what.
fn run(
    program: &[(usize, Call)],
    optimizers: &mut [Box<dyn Optimizer<f64>>],
    warnings: &Warnings,
) -> Option<(usize, Fault)> {
    let x = array![[1.0, -2.0]];
    let output_gradient: Array2<f64> = array![[0.5, 1.0, -1.0]];
    let mut models: Vec<Linear<f64>> =
        optimizers.iter().map(|_| Linear::new(2, 3).initialized(Init::Uniform { seed: 0 })).collect();
    // The last `zero_grad` of each model that threw passes away.
    let mut thrown_away = [None; 2];
    for (at, (who, call)) in program.iter().enumerate() {
        let model = &mut models[*who];
        match call {
            Call::Backward => model.backward(x.view(), output_gradient.view()).unwrap(),
            Call::Freeze { parameter, frozen } => model.parameters_mut()[*parameter].set_frozen(*frozen),
            Call::ZeroGrad => match model.zero_grad() {
                0 => {}
                passes => thrown_away[*who] = Some((at, passes)),
            },
            Call::Discard { passes } => assert_eq!(model.discard_grad(), *passes, "{program:?}"),
            Call::Step => {
                let stepped = optimizers[*who].step(model.parameters_mut());
                if let Some((at, passes)) = thrown_away[*who] {
                    // With all passes thrown away there is nothing to step with, nor a step to warn.
                    let told = warnings.lock().unwrap().pop().map(|warning| match warning {
                        GradientWarning::Unstepped { step, passes, .. } => (step, passes),
                        other => panic!("{other}"),
                    });
                    assert_eq!(told, stepped.ok().map(|step| (step, passes)), "{program:?}");
                    return Some((at, Fault::ThrownAway { passes }));
                }
                let Err(error) = stepped else { continue };
                let fault = match error.kind() {
                    ErrorKind::StaleGradient { parameter, step, passes } => {
                        Fault::Stale { parameter: parameter.clone(), used_by: *step, passes: *passes }
                    }
                    ErrorKind::DoubleStep { parameter, step } => {
                        Fault::Double { parameter: parameter.clone(), used_by: *step }
                    }
                    ErrorKind::MissingGradient { parameter } => Fault::Missing { parameter: parameter.clone() },
                    other => panic!("{other}"),
                };
                return Some((at, fault));
            }
        }
    }
    None
}

/// Two loops into one program, each in its own order. Also: where the calls of the first have come to lie.
fn interleave(rng: &mut ChaCha8Rng, first: Vec<Call>, second: Vec<Call>) -> (Vec<(usize, Call)>, Vec<usize>) {
    let (mut program, mut places) = (Vec::new(), Vec::new());
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    while first.peek().is_some() || second.peek().is_some() {
        let take_first = second.peek().is_none() || (first.peek().is_some() && rng.random_bool(0.5));
        if take_first {
            places.push(program.len());
        }
        let (who, call) = if take_first { (0, first.next()) } else { (1, second.next()) };
        program.extend(call.map(|call| (who, call)));
    }
    (program, places)
}

fn style(rng: &mut ChaCha8Rng) -> Style {
    *[Style::BeforeWindow, Style::AfterStep].choose(rng).unwrap()
}

/// The calls of another model's right loop, or none.
fn other_loop(rng: &mut ChaCha8Rng) -> Vec<Call> {
    if rng.random_bool(0.3) { calls(&windows(rng), style(rng)).concat() } else { Vec::new() }
}

#[test]
fn no_right_program_raises_an_alarm() {
    let warnings = Warnings::default();
    let mut counts = [0_usize; 5];
    for seed in 0..PROGRAMS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let own = calls(&windows(&mut rng), style(&mut rng)).concat();
        let other = other_loop(&mut rng);
        let (program, _) = interleave(&mut rng, own, other);
        let mut optimizers = [optimizer(&mut rng, true, &warnings), optimizer(&mut rng, true, &warnings)];
        assert_eq!(run(&program, &mut optimizers, &warnings), None, "seed {seed}: {program:?}");
        for (_, call) in &program {
            counts[match call {
                Call::Backward => 0,
                Call::Step => 1,
                Call::ZeroGrad => 2,
                Call::Discard { .. } => 3,
                Call::Freeze { .. } => 4,
            }] += 1;
        }
    }
    assert_eq!(*warnings.lock().unwrap(), []);
    assert!(counts[1] > 50_000 && counts.iter().all(|count| *count > 5_000), "too few of some calls: {counts:?}");
}

/// The faults that are planted.
const PLANTED: [&str; 4] = ["missing zero_grad", "double step", "zero inside the window", "step without backward"];

/// Plants one fault in a right loop: the calls, the place of the call that shows it, and what it is. `None` if the
/// loop has no place for it.
fn plant(rng: &mut ChaCha8Rng, fault: &str, windows: &[Window], style: Style) -> Option<(Vec<Call>, usize, Fault)> {
    let trained = trained(windows);
    let stepped_before = |at: usize| windows[..at].iter().filter(|window| window.stepped).count() as u64;
    // Where the fault goes: a stepped window in which something trains.
    let places: Vec<usize> = (0..windows.len())
        .filter(|&at| windows[at].stepped && trained[at].contains(&true))
        .filter(|&at| match fault {
            // What is not zeroed is what the window before has stepped with; freezing would empty it.
            "missing zero_grad" => {
                at > 0 && windows[at - 1].stepped && windows[at].freezes.is_empty() && trained[at - 1] == trained[at]
            }
            _ => true,
        })
        .collect();
    let at = *places.choose(rng)?;
    let parameter = if trained[at][0] { "weight" } else { "bias" }.to_owned();
    let passes = windows[at].passes;
    let mut calls = calls(windows, style);
    let first_backward = |window: &[Call]| window.iter().position(|call| *call == Call::Backward).unwrap();
    // The place within the window, and the fault.
    let (shown, fault) = match fault {
        "missing zero_grad" => {
            calls[at - 1].retain(|call| *call != Call::ZeroGrad || style == Style::BeforeWindow);
            let start = first_backward(&calls[at]);
            calls[at].drain(..start);
            (passes as usize, Fault::Stale { parameter, used_by: stepped_before(at), passes })
        }
        "double step" => {
            let step = calls[at].iter().position(|call| *call == Call::Step).unwrap();
            calls[at].insert(step + 1, Call::Step);
            (step + 1, Fault::Double { parameter, used_by: stepped_before(at) + 1 })
        }
        "zero inside the window" => {
            let before = rng.random_range(1..=passes);
            let shown = first_backward(&calls[at]) + before as usize;
            calls[at].insert(shown, Call::ZeroGrad);
            (shown, Fault::ThrownAway { passes: before })
        }
        _ => {
            calls[at].retain(|call| *call != Call::Backward);
            let step = calls[at].iter().position(|call| *call == Call::Step).unwrap();
            (step, Fault::Missing { parameter })
        }
    };
    let place = calls[..at].iter().map(Vec::len).sum::<usize>() + shown;
    Some((calls.concat(), place, fault))
}

#[test]
fn every_planted_fault_is_named_at_its_step() {
    let warnings = Warnings::default();
    let mut planted = [0; 4];
    let mut seed = PROGRAMS;
    while planted.iter().sum::<u64>() < PROGRAMS {
        seed += 1;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let kind = (seed % 4) as usize;
        let (windows, style) = (windows(&mut rng), style(&mut rng));
        let Some((own, place, fault)) = plant(&mut rng, PLANTED[kind], &windows, style) else { continue };
        let other = other_loop(&mut rng);
        let (program, places) = interleave(&mut rng, own, other);
        let mut optimizers = [optimizer(&mut rng, false, &warnings), optimizer(&mut rng, false, &warnings)];
        let found = run(&program, &mut optimizers, &warnings);
        assert_eq!(found, Some((places[place], fault)), "seed {seed}, {}: {program:?}", PLANTED[kind]);
        planted[kind] += 1;
    }
    assert_eq!(*warnings.lock().unwrap(), [], "warnings of faults that were not planted");
    assert!(planted.iter().all(|count| *count > 1_500), "too few of some faults: {planted:?}");
}

#[test]
fn a_step_that_is_refused_changes_neither_value_nor_ledger() {
    let mut model = Linear::new(2, 3).initialized(Init::Uniform { seed: 0 });
    let mut sgd: Sgd<f64> = SgdConfig::new(0.1).momentum(Momentum::Nesterov { momentum: 0.9 }).build().unwrap();
    let backward = |model: &mut Linear<f64>| {
        model.backward(array![[1.0, 2.0]].view(), array![[1.0, 2.0, 3.0]].view()).unwrap();
    };
    backward(&mut model);
    sgd.step(model.parameters_mut()).unwrap();
    backward(&mut model);
    let before = model.clone();
    sgd.step(model.parameters_mut()).unwrap_err();
    for (now, before) in model.parameters().iter().zip(before.parameters()) {
        assert_eq!((now.value(), now.ledger()), (before.value(), before.ledger()));
        assert_eq!(now.ledger(), Ledger::Stale { step: 1, passes: 1 });
    }
    assert_eq!(sgd.steps(), 1);
}
