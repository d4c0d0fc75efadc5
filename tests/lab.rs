//! The bug lab through the command: pages, trajectories, detectors.

mod common;

use common::{Folder, Run, gradus, succeed};
use gradus::lab::{Version, bugs};
use serde_json::Value;

const NAMES: [&str; 12] = [
    "missing-zero-grad",
    "zero-inside-window",
    "double-step",
    "mean-of-means",
    "dropped-tail",
    "unscaled-accumulation",
    "naive-softmax",
    "broadcast",
    "sign",
    "learning-rate",
    "unscaled-features",
    "label-shift",
];

fn lab(arguments: &[&str]) -> Run {
    // In an empty folder: nothing is read when it runs.
    succeed(&Folder::new(), &[&["lab"], arguments].concat())
}

fn losses(exhibit: &Value, run: &str) -> Vec<Option<f64>> {
    exhibit[run]["losses"].as_array().unwrap().iter().map(Value::as_f64).collect()
}

#[test]
fn the_list_names_all_twelve() {
    let text = lab(&[]).stdout;
    let listed: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed[..12], NAMES);
    let json = lab(&["--json"]).json();
    let names: Vec<&str> = json["bugs"].as_array().unwrap().iter().map(|bug| bug["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES);
}

#[test]
fn every_page_fits_80_columns_and_says_what_finds_the_bug() {
    for name in NAMES {
        let run = lab(&[name]);
        assert_eq!(run.stderr, "", "{name}");
        for line in run.stdout.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
            assert_eq!(line, line.trim_end(), "{name}: spaces at the end");
        }
        let json = lab(&[name, "--json"]).json();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        let page = words(&run.stdout);
        for part in ["story", "setting", "found_by", "mend"].map(|part| json[part].as_str().unwrap()) {
            assert!(page.contains(&words(part)), "{name} lacks {part:?}");
        }
        assert!(page.contains(&words(json["wrong"]["message"].as_str().unwrap())), "{name} lacks its message");
        for version in ["wrong", "right"] {
            for line in json[version]["lines"].as_array().unwrap() {
                assert!(run.stdout.contains(&format!("    {}\n", line.as_str().unwrap())), "{name}: {line}");
            }
        }
        for mark in ["x", "o"] {
            assert!(run.stdout.lines().any(|line| line.contains('|') && line.contains(mark)), "{name}: no {mark}");
        }
    }
}

#[test]
fn detectors_fire_in_the_wrong_run_and_are_silent_in_the_right_one() {
    // Words of the message, by which it is the right one.
    let says = [
        ("missing-zero-grad", "stale gradient: 1 backward pass(es) were added to the gradient that step 1"),
        ("zero-inside-window", "threw away 3 backward pass(es) of \"weight\""),
        ("double-step", "step 1 has already used this gradient"),
        ("mean-of-means", "verdict: WRONG"),
        ("dropped-tail", "58 backward passes in all"),
        ("unscaled-accumulation", "is 4.000000 times the right one, which is the accumulation count"),
        ("naive-softmax", "step 2 (epoch 2)"),
        ("broadcast", "the shape is [100], expected [100, 1]"),
        ("sign", "likely cause: the sign: the gradient is the negative of the right one"),
        ("learning-rate", "is not stable for these data"),
        ("unscaled-features", "condition number is at least"),
        ("label-shift", "class 3 is out of range for 3 outputs"),
    ];
    assert_eq!(says.map(|(name, _)| name), NAMES);
    for (name, words) in says {
        let json = lab(&[name, "--json"]).json();
        let message = json["wrong"]["message"].as_str().unwrap_or_else(|| panic!("{name} is not found"));
        assert!(message.contains(words), "{name}: {message}");
        assert!(
            message.contains("\nhelp: ") || message.starts_with("verdict: ") || message.contains("; call "),
            "{name}: {message}"
        );
        assert_eq!(json["right"]["message"], Value::Null, "{name}: a false alarm");
    }
}

#[test]
fn the_trajectories_are_those_of_the_library_to_the_bit() {
    for bug in bugs() {
        let json = lab(&[bug.name, "--json"]).json();
        for (run, version) in [("wrong", Version::Wrong), ("right", Version::Right)] {
            let expected: Vec<Option<f64>> = bug
                .losses(version)
                .unwrap()
                .into_iter()
                .map(|loss| Some(loss).filter(|loss| loss.is_finite()))
                .collect();
            assert_eq!(losses(&json, run), expected, "{} {run}", bug.name);
            assert!(expected.len() >= 30, "{}", bug.name);
        }
    }
}

#[test]
fn runs_are_the_same_each_time() {
    for name in NAMES {
        assert_eq!(lab(&[name]).stdout, lab(&[name]).stdout, "{name}");
    }
}

#[test]
fn without_zero_grad_the_run_swings_with_the_period_of_theory() {
    let json = lab(&["missing-zero-grad", "--json"]).json();
    let (measured, theory) = (&json["facts"]["period_measured"], &json["facts"]["period_theory"]);
    let (measured, theory) = (measured.as_f64().unwrap(), theory.as_f64().unwrap());
    // NumPy's larger eigenvalue of the Hessian, 68.50696883269647: 10.5785 steps at a learning rate of 0.005.
    let expected = std::f64::consts::TAU / (1.0 - 0.005 * 68.50696883269647 / 2.0_f64).acos();
    assert!((theory - expected).abs() < 1e-2, "{theory} {expected}");
    assert!((measured - theory).abs() < 0.1, "{measured} {theory}");
    // Again from the trajectory, without the lab: the loss comes back twice in a period.
    let losses: Vec<f64> = losses(&json, "wrong").into_iter().flatten().collect();
    let peaks: Vec<usize> = (1..59).filter(|&i| losses[i - 1] < losses[i] && losses[i] >= losses[i + 1]).collect();
    let counted = 2.0 * (peaks[peaks.len() - 1] - peaks[0]) as f64 / (peaks.len() - 1) as f64;
    assert!((counted - theory).abs() < 1.0 && peaks.len() > 8, "{counted} {peaks:?}");
}

#[test]
fn the_wrong_and_the_right_run_are_what_the_story_says() {
    let both = |name: &str| {
        let json = lab(&[name, "--json"]).json();
        let all = |run| losses(&json, run).into_iter().map(|loss| loss.unwrap_or(f64::NAN)).collect::<Vec<f64>>();
        (all("wrong"), all("right"), json)
    };
    let rises = |losses: &[f64]| losses.windows(2).all(|pair| pair[1] > pair[0]);
    let last = |losses: &[f64]| losses[losses.len() - 1];

    for name in ["double-step", "unscaled-accumulation", "sign", "learning-rate"] {
        let (wrong, right, _) = both(name);
        assert!(rises(&wrong) && last(&right) < 0.02 * right[0], "{name}");
    }
    // 1 - lr k is -1.02 and -0.98: the loss changes by their squares.
    let (wrong, right, _) = both("learning-rate");
    assert!((wrong[2] / wrong[1] - 1.02 * 1.02).abs() < 1e-3 && (right[2] / right[1] - 0.98 * 0.98).abs() < 1e-3);
    // Both step sizes are four times too large, or twice with a step of 0.02: the same parameters.
    let (four_times, _, _) = both("unscaled-accumulation");
    let (twice, _, _) = both("double-step");
    assert!(four_times.iter().zip(&twice).all(|(a, b)| (a / b - 1.0).abs() < 1e-9));

    let (wrong, right, _) = both("naive-softmax");
    assert!(wrong[0].is_finite() && wrong[1..].iter().all(|loss| loss.is_nan()) && last(&right) < 0.01);
    // The mean of all targets for every row: their variance, 53.63 by NumPy.
    let (wrong, _, _) = both("broadcast");
    assert!(last(&wrong) > 45.0 && last(&wrong) < 53.7, "{}", last(&wrong));
    // The least squares line through (1 + x)^2 leaves the variance of x^2 but for the unequal ends: 0.0925.
    for (name, least, most) in
        [("zero-inside-window", 4.0, 6.0), ("mean-of-means", 1.2, 2.0), ("dropped-tail", 1.2, 2.0)]
    {
        let (wrong, right, _) = both(name);
        let ratio = last(&wrong) / last(&right);
        assert!(least < ratio && ratio < most, "{name}: {ratio}");
    }
    let (wrong, right, _) = both("unscaled-features");
    assert!(wrong[1] / last(&wrong) < 1.001 && right[1] / last(&right) > 100.0, "the wrong run stands still");
    let (_, _, json) = both("label-shift");
    assert_eq!(json["facts"]["wrong_accuracy"], 0.0);
    assert!(json["facts"]["right_accuracy"].as_f64().unwrap() > 0.8);
    assert!(json["facts"]["wrong_own_loss"].as_f64().unwrap() < 0.6, "training looks perfect");
}

#[test]
fn quiet_prints_nothing_and_an_unknown_bug_is_a_mistake_of_the_command_line() {
    assert_eq!(lab(&["sign", "--quiet"]).stdout, "");
    assert_eq!(lab(&["--quiet"]).stdout, "");
    assert_eq!(lab(&["sign", "--quiet", "--json"]).json()["name"], "sign");
    let run = gradus(&Folder::new(), &["lab", "signs"]);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("missing-zero-grad") && run.stderr.contains("'sign'"), "{}", run.stderr);
}
