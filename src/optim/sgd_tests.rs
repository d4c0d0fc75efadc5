//! The ledger's table under each policy, and the arithmetic of a step by hand.

use std::sync::{Arc, Mutex};

use super::*;
use crate::optim::grad_norm;
use crate::parameter::Ledger;
use ndarray::array;

const POLICIES: [StaleGradient; 3] = [StaleGradient::Deny, StaleGradient::Warn, StaleGradient::Allow];

/// What a step is to do.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    /// The value goes down by this much.
    Moves(f64),
    /// The parameter is left out, and the step is in order.
    Skips,
    Missing,
    Double {
        step: u64,
    },
    Stale {
        step: u64,
        passes: u64,
    },
}
use Outcome::{Double, Missing, Moves, Skips, Stale};

/// Plain SGD with a learning rate of 1, silent.
fn sgd(policy: StaleGradient) -> Sgd<f64> {
    SgdConfig::new(1.0).stale_gradient(policy).build().unwrap().on_warning(|_| {})
}

fn named(name: &str, value: f64) -> Parameter<f64> {
    Parameter::new(name, array![value])
}

/// The outcome of a step of one parameter.
fn outcome(sgd: &mut Sgd<f64>, parameters: &mut [Parameter<f64>; 1]) -> Outcome {
    let (before, ledger) = (parameters[0].values()[0], parameters[0].ledger());
    let result = sgd.step(parameters);
    let moved = before - parameters[0].values()[0];
    let Err(error) = result else {
        return if parameters[0].ledger() == ledger && moved == 0.0 { Skips } else { Moves(moved) };
    };
    assert_eq!((moved, parameters[0].ledger()), (0.0, ledger), "a refused step left a trace: {error}");
    match error.kind() {
        ErrorKind::MissingGradient { .. } => Missing,
        ErrorKind::DoubleStep { step, .. } => Double { step: *step },
        ErrorKind::StaleGradient { step, passes, .. } => Stale { step: *step, passes: *passes },
        _ => panic!("an error of another kind: {error}"),
    }
}

#[test]
fn the_ledgers_table_row_by_row_under_each_policy() {
    // b: a backward pass that adds 1 to the gradient; s: a step; z: zero_grad. Then a step under Deny, Warn, Allow.
    let table = [
        ("", [Missing, Missing, Skips]),
        ("b", [Moves(1.0); 3]),
        ("bbb", [Moves(3.0); 3]),
        ("bz", [Missing, Missing, Skips]),
        ("bs", [Double { step: 1 }, Double { step: 1 }, Moves(1.0)]),
        ("bsb", [Stale { step: 1, passes: 1 }, Moves(2.0), Moves(2.0)]),
        ("bsbb", [Stale { step: 1, passes: 2 }, Moves(3.0), Moves(3.0)]),
        ("bsz", [Missing, Missing, Skips]),
        ("bsbz", [Missing, Missing, Skips]),
        ("bszb", [Moves(1.0); 3]),
        ("bbszbbs", [Double { step: 2 }, Double { step: 2 }, Moves(2.0)]),
        ("bszbszbsb", [Stale { step: 3, passes: 1 }, Moves(2.0), Moves(2.0)]),
    ];
    for (calls, expected) in table {
        for (policy, expected) in POLICIES.into_iter().zip(expected) {
            let (mut sgd, mut parameters) = (sgd(policy), [named("w", 10.0)]);
            for call in calls.chars() {
                match call {
                    'b' => parameters[0].accumulate(&[1.0]).unwrap(),
                    's' => assert!(sgd.step(&mut parameters).is_ok(), "{calls:?} under {policy:?}"),
                    _ => _ = parameters[0].zero_grad(),
                }
            }
            let steps = sgd.steps();
            assert_eq!(outcome(&mut sgd, &mut parameters), expected, "{calls:?} under {policy:?}");
            let refused = !matches!(expected, Moves(_) | Skips);
            assert_eq!(sgd.steps(), steps + u64::from(!refused), "steps counted, {calls:?} under {policy:?}");
            if let Moves(_) = expected {
                let spent = Ledger::Spent { step: sgd.steps() };
                assert_eq!(parameters[0].ledger(), spent, "{calls:?} under {policy:?}");
            }
        }
    }
}

#[test]
fn the_messages_name_the_parameter_the_step_and_what_to_write() {
    let cases: [(&str, &[&str]); 3] = [
        ("", &["\"slope\"", "no gradient", "help: run a backward pass before `step`"]),
        ("bs", &["\"slope\"", "step 2 has already used", "help: call `zero_grad` and run a backward pass"]),
        ("bsb", &["\"slope\"", "1 backward pass", "step 2 had already used", "help: call `zero_grad`", "Allow"]),
    ];
    for (calls, parts) in cases {
        let (mut sgd, mut parameters) = (sgd(StaleGradient::Deny), [named("slope", 0.0)]);
        parameters[0].accumulate(&[1.0]).unwrap();
        sgd.step(&mut parameters).unwrap();
        parameters[0].zero_grad();
        for call in calls.chars() {
            match call {
                'b' => parameters[0].accumulate(&[1.0]).unwrap(),
                _ => _ = sgd.step(&mut parameters).unwrap(),
            }
        }
        let message = sgd.step(&mut parameters).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{calls:?}: {message:?} lacks {part:?}");
        }
    }
}

/// Three parameters through four steps without `zero_grad`, the last of them frozen: the warnings, and the counts.
fn four_steps_without_zero_grad(policy: StaleGradient) -> (Vec<GradientWarning>, Vec<u64>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let mut sgd = sgd(policy).on_warning(move |warning| sink.lock().unwrap().push(warning.clone()));
    let mut parameters = [named("w", 0.0), named("b", 0.0), named("fixed", 7.0)];
    parameters[2].set_frozen(true);
    for _ in 0..4 {
        parameters.iter_mut().for_each(|p| p.accumulate(&[1.0]).unwrap());
        sgd.step(&mut parameters).unwrap();
    }
    // 1 + 2 + 3 + 4: each step used the sum of all passes so far.
    assert_eq!(parameters.each_ref().map(|p| p.values()[0]), [-10.0, -10.0, 7.0], "{policy:?}");
    let warnings = heard.lock().unwrap().clone();
    (warnings, sgd.stale_steps().to_vec())
}

#[test]
fn a_stale_gradient_is_reported_once_for_each_parameter_and_then_counted() {
    let (warnings, counted) = four_steps_without_zero_grad(StaleGradient::Warn);
    let expected = |name: &str| GradientWarning::Stale { parameter: name.into(), step: 2, used_by: 1, passes: 1 };
    assert_eq!(warnings, [expected("w"), expected("b")]);
    assert_eq!(counted, [3, 3, 0]);
    let message = warnings[0].to_string();
    for part in ["step 2", "\"w\"", "step 1 had already used", "1 backward pass", "`zero_grad`"] {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

/// Two parameters through three windows of three passes: the warnings, and the passes counted.
fn three_windows(policy: StaleGradient, between_passes: fn(&mut Parameter<f64>) -> u64) -> (Vec<GradientWarning>, u64) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let mut sgd = sgd(policy).on_warning(move |warning| sink.lock().unwrap().push(warning.clone()));
    let mut parameters = [named("w", 0.0), named("b", 0.0)];
    for _ in 0..3 {
        parameters.iter_mut().for_each(|p| assert_eq!(p.zero_grad(), 0));
        for _ in 0..3 {
            parameters.iter_mut().for_each(|p| _ = between_passes(p));
            parameters.iter_mut().for_each(|p| p.accumulate(&[1.0]).unwrap());
        }
        sgd.step(&mut parameters).unwrap();
    }
    let warnings = heard.lock().unwrap().clone();
    (warnings, sgd.unstepped_passes())
}

#[test]
fn passes_thrown_away_unstepped_are_told_once_and_then_counted() {
    let expected = GradientWarning::Unstepped { parameter: "w".into(), step: 1, passes: 2 };
    for policy in [StaleGradient::Deny, StaleGradient::Warn] {
        assert_eq!(three_windows(policy, Parameter::zero_grad), (vec![expected.clone()], 6), "{policy:?}");
    }
    assert_eq!(three_windows(StaleGradient::Allow, Parameter::zero_grad), (vec![], 0));
    assert_eq!(three_windows(StaleGradient::Deny, |_| 0), (vec![], 0));
    assert_eq!(expected.code(), "unstepped_gradient");
    let message = expected.to_string();
    for part in ["before step 1", "2 backward pass", "\"w\"", "where a window begins", "`discard_grad`"] {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn what_is_discarded_on_purpose_is_not_warned_of() {
    assert_eq!(three_windows(StaleGradient::Deny, Parameter::discard_grad), (vec![], 0));
    // Nor what freezing empties.
    let mut parameters = [named("w", 0.0)];
    parameters[0].accumulate(&[1.0]).unwrap();
    parameters[0].set_frozen(true);
    assert_eq!(parameters[0].thrown_away(), 0);
}

#[test]
fn what_is_allowed_is_neither_reported_nor_counted() {
    assert_eq!(four_steps_without_zero_grad(StaleGradient::Allow), (vec![], vec![0, 0, 0]));
}

#[test]
fn under_allow_a_parameter_without_gradient_keeps_its_momentum_until_it_has_one() {
    let config = SgdConfig::new(1.0).momentum(Momentum::Classic { momentum: 0.5, dampening: 0.0 });
    let mut sgd = config.stale_gradient(StaleGradient::Allow).build::<f64>().unwrap();
    let mut parameters = [named("w", 0.0), named("b", 0.0)];
    // The gradients of b over the steps; none in the second. Its buffers by hand: 4, untouched, 4/2 + 1.
    for (gradient, expected) in [(Some(4.0), -4.0), (None, -4.0), (Some(1.0), -7.0)] {
        crate::model::zero_grad(&mut parameters);
        parameters[0].accumulate(&[1.0]).unwrap();
        if let Some(gradient) = gradient {
            parameters[1].accumulate(&[gradient]).unwrap();
        }
        sgd.step(&mut parameters).unwrap();
        assert_eq!(parameters[1].values(), [expected], "b with gradient {gradient:?}");
    }
    // w had a gradient of 1 each time: buffers 1, 1.5, 1.75.
    assert_eq!(parameters[0].values(), [-4.25]);
}

#[test]
fn a_refused_step_changes_no_parameter_and_no_momentum() {
    // What is wrong with the last parameter when the second step is tried, as calls since the first.
    for (fault, kind) in [("z", "no gradient"), ("", "already used"), ("b", "stale gradient"), ("zb", "shape")] {
        let momentum = Momentum::Nesterov { momentum: 0.9 };
        let config = SgdConfig::new(0.1).momentum(momentum).weight_decay(0.01);
        let (mut tried, mut spared) = (config.build::<f64>().unwrap(), config.build::<f64>().unwrap());
        let mut parameters = vec![named("a", 1.0), named("b", 2.0), named("c", 3.0)];
        let mut twins = parameters.clone();
        for (sgd, parameters) in [(&mut tried, &mut parameters), (&mut spared, &mut twins)] {
            parameters.iter_mut().for_each(|p| p.accumulate(&[0.5]).unwrap());
            sgd.step(parameters).unwrap();
            crate::model::zero_grad(&mut parameters[..2]);
            parameters[..2].iter_mut().for_each(|p| p.accumulate(&[0.7]).unwrap());
        }
        let mut broken = parameters.clone();
        if kind == "shape" {
            broken[2] = Parameter::new("c", array![3.0, 3.0]);
        }
        for call in fault.chars() {
            let gradient = vec![0.7; broken[2].len()];
            match call {
                'b' => broken[2].accumulate(&gradient).unwrap(),
                _ => _ = broken[2].zero_grad(),
            }
        }
        let before: Vec<_> = broken.iter().map(|p| (p.values().to_vec(), p.gradients().to_vec(), p.ledger())).collect();
        let message = tried.step(&mut broken).unwrap_err().to_string();
        assert!(message.contains(kind) && message.contains("\"c\""), "{kind}: {message}");
        let after: Vec<_> = broken.iter().map(|p| (p.values().to_vec(), p.gradients().to_vec(), p.ledger())).collect();
        assert_eq!(after, before, "{kind}");
        assert_eq!(tried.steps(), 1, "{kind}");

        // Once mended, the run goes on as if the step had never been tried.
        for (sgd, parameters) in [(&mut tried, &mut parameters), (&mut spared, &mut twins)] {
            parameters[2].zero_grad();
            parameters[2].accumulate(&[0.7]).unwrap();
            assert_eq!(sgd.step(parameters).unwrap(), 2, "{kind}");
        }
        let values = |parameters: &[Parameter<f64>]| parameters.iter().map(|p| p.values()[0]).collect::<Vec<_>>();
        assert_eq!(values(&parameters), values(&twins), "{kind}");
    }
}

#[test]
fn parameters_of_another_shape_or_number_than_in_the_first_step_are_refused() {
    let matrix = |rows, columns| Parameter::new("m", ndarray::Array2::<f64>::zeros((rows, columns)));
    for momentum in [Momentum::None, Momentum::Classic { momentum: 0.9, dampening: 0.0 }] {
        let cases = [
            ("fewer elements", vec![matrix(2, 2)], "expected [2, 3]"),
            ("as many elements in another shape", vec![matrix(3, 2)], "expected [2, 3]"),
            ("one parameter more", vec![matrix(2, 3), matrix(2, 3)], "parameters: the shape is [2]"),
            ("no parameters", vec![], "parameters: the shape is [0]"),
        ];
        for (case, mut others, expected) in cases {
            let mut sgd = SgdConfig::new(0.1).momentum(momentum).build().unwrap();
            let mut first = [matrix(2, 3)];
            first[0].accumulate(&[1.0; 6]).unwrap();
            sgd.step(&mut first).unwrap();
            for p in &mut others {
                p.accumulate(&vec![1.0; p.len()]).unwrap();
            }
            let message = sgd.step(&mut others).unwrap_err().to_string();
            assert!(message.contains(expected), "{case}, {momentum:?}: {message}");
            assert!(others.iter().all(|p| p.values().iter().all(|v| *v == 0.0)), "{case}, {momentum:?}");
        }
    }
}

#[test]
fn frozen_parameters_are_skipped_under_every_policy() {
    for stale in POLICIES {
        let config = SgdConfig { weight_decay: 0.5, stale, ..SgdConfig::new(0.1) };
        let mut sgd = config.build::<f64>().unwrap();
        let mut parameters = [named("w", 1.0), named("fixed", 3.0)];
        parameters[1].set_frozen(true);
        parameters[0].accumulate(&[1.0]).unwrap();
        parameters[1].accumulate(&[1.0]).unwrap();
        sgd.step(&mut parameters).unwrap();
        assert!(parameters[0].values()[0] < 1.0, "{stale:?}");
        assert_eq!((parameters[1].values()[0], parameters[1].ledger()), (3.0, Ledger::Empty), "{stale:?}");
        assert_eq!(sgd.penalty(&parameters), 0.25 * parameters[0].values()[0].powi(2), "{stale:?}");

        // Set free, it is a parameter without a gradient like any other.
        parameters[1].set_frozen(false);
        parameters[0].zero_grad();
        parameters[0].accumulate(&[1.0]).unwrap();
        assert_eq!(sgd.step(&mut parameters).is_err(), stale != StaleGradient::Allow, "{stale:?}");
    }
}

#[test]
fn three_steps_by_hand_under_each_setting() {
    let plain = SgdConfig::new(0.5);
    let (classic, nesterov) =
        (Momentum::Classic { momentum: 0.5, dampening: 0.25 }, Momentum::Nesterov { momentum: 0.5 });
    // Gradients 1, 2, 4 from a value of 8; the numbers are sums of powers of two, and exact.
    let table = [
        ("plain", plain, [7.5, 6.5, 4.5]),
        ("maximize", plain.maximize(), [8.5, 9.5, 11.5]),
        // Buffers 1, 0.5 + 0.75 * 2, 1 + 0.75 * 4: the first is the gradient itself, whatever the dampening.
        ("classic, dampened", plain.momentum(classic), [7.5, 6.5, 4.5]),
        (
            "classic, undampened",
            plain.momentum(Momentum::Classic { momentum: 0.5, dampening: 0.0 }),
            [7.5, 6.25, 3.625],
        ),
        // Buffers 1, 2.5, 5.25; updates 1.5, 3.25, 6.625.
        ("nesterov", plain.momentum(nesterov), [7.25, 5.625, 2.3125]),
        // g = 1 + 2, 2 + 6.5/4, 4 + ...
        ("weight decay", plain.weight_decay(0.25), [6.5, 4.6875, 2.1015625]),
        // The gradient is negated, the decay is not: g = -1 + 2, -2 + 7.5/4, ...
        ("maximize with weight decay", plain.maximize().weight_decay(0.25), [7.5, 7.5625, 8.6171875]),
        ("momentum 0 is none", plain.momentum(Momentum::Classic { momentum: 0.0, dampening: 0.5 }), [7.5, 6.5, 4.5]),
    ];
    for (name, config, expected) in table {
        let (mut sgd, mut parameters) = (config.build().unwrap(), [named("w", 8.0)]);
        for (gradient, expected) in [1.0, 2.0, 4.0].into_iter().zip(expected) {
            parameters[0].zero_grad();
            parameters[0].accumulate(&[gradient]).unwrap();
            sgd.step(&mut parameters).unwrap();
            assert_eq!(parameters[0].values(), [expected], "{name}, gradient {gradient}");
        }
    }
}

#[test]
fn weight_decay_reaches_only_the_parameters_that_decay() {
    let mut sgd = SgdConfig::new(0.5).weight_decay(0.5).build::<f64>().unwrap();
    let mut parameters = [named("w", 4.0), named("b", 4.0).without_decay()];
    parameters.iter_mut().for_each(|p| p.accumulate(&[1.0]).unwrap());
    assert_eq!(sgd.penalty(&parameters), 0.25 * 16.0);
    assert_eq!(grad_norm(&parameters), 2f64.sqrt());
    assert_eq!(sgd.objective_grad_norm(&parameters), 10f64.sqrt(), "(1 + 0.5 * 4, 1)");
    sgd.step(&mut parameters).unwrap();
    assert_eq!(parameters.each_ref().map(|p| p.values()[0]), [2.5, 3.5]);
}

#[test]
fn the_learning_rate_set_last_is_that_of_the_next_step() {
    let (mut sgd, mut parameters) = (sgd(StaleGradient::Deny), [named("w", 0.0)]);
    for (lr, expected) in [(1.0, -1.0), (0.25, -1.25), (0.0, -1.25)] {
        sgd.set_lr(lr);
        parameters[0].zero_grad();
        parameters[0].accumulate(&[1.0]).unwrap();
        sgd.step(&mut parameters).unwrap();
        assert_eq!((sgd.lr(), sgd.config().lr, parameters[0].values()[0]), (lr, lr, expected));
    }
}

#[test]
fn negative_and_non_finite_settings_are_refused_by_name_with_their_value() {
    let plain = SgdConfig::new(0.1);
    for (value, printed) in [(-0.5, "-0.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        let cases = [
            ("learning rate", SgdConfig::new(value)),
            ("weight decay", plain.weight_decay(value)),
            ("momentum", plain.momentum(Momentum::Classic { momentum: value, dampening: 0.0 })),
            ("dampening", plain.momentum(Momentum::Classic { momentum: 0.9, dampening: value })),
            ("momentum", plain.momentum(Momentum::Nesterov { momentum: value })),
        ];
        for (name, config) in cases {
            let error = config.build::<f64>().err().unwrap_or_else(|| panic!("{name} {value} was taken"));
            assert!(matches!(error.kind(), ErrorKind::Setting { .. }), "{name} {value}: {error}");
            let expected = format!("{name}: {printed} must be finite and not negative");
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[test]
fn nesterov_without_momentum_is_refused_and_zeros_elsewhere_are_not() {
    let plain = SgdConfig::new(0.1);
    for momentum in [0.0, -0.0] {
        let error = plain.momentum(Momentum::Nesterov { momentum }).build::<f64>().err().expect("refused");
        assert!(error.to_string().contains("nesterov: it needs a momentum above 0"), "{error}");
    }
    let zeros = SgdConfig::new(0.0).momentum(Momentum::Classic { momentum: 0.0, dampening: 0.0 }).weight_decay(0.0);
    assert!(zeros.build::<f64>().is_ok());
}
