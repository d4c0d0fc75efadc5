//! Runs every example. Each checks its own figures and fails if one is wrong; here it must also say what it is for.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::program;

/// Lines that each example prints.
const LINES: &[(&str, &[&str])] = &[
    (
        "custom_loss",
        &["    1.0   0.761594   0.761594", "mse       clean       2.5069    0.9136", "outlier: row 100 of 100"],
    ),
    (
        "linear_regression",
        &[
            "   0   90.8788      1.11e2    -1.10e2    -1.69e1   1.00000   0.00000",
            "w   2.50000           2.50690        2.50690         0.01564    +0.44 std.err.",
            "b   1.00000           0.91359        0.91359         0.09051    -0.95 std.err.",
        ],
    ),
    (
        "softmax_classifier",
        &["classes   3 of \"species\": setosa, versicolor, virginica", "    0         1.0986", "held out     30"],
    ),
    (
        "zero_grad_bug",
        &[
            "   2         44.0349             2.1581                      2.1581",
            "  59          0.2559           128.9758                    128.9758",
            "parameter \"weight\": stale gradient: 1 backward pass(es) were added to the gradient that step 1 had",
            "help: call `zero_grad`",
        ],
    ),
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The names of the files in `examples/`.
fn names() -> BTreeSet<String> {
    let files = sources().read_dir().expect("the directory of examples").map(|entry| entry.unwrap().path());
    let sources = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    sources.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn run(name: &str, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(program(name));
    let output = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_example_has_lines_to_look_for() {
    let listed: BTreeSet<String> = LINES.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names(), listed);
}

#[test]
fn every_example_runs_and_prints_its_lines() {
    for (name, lines) in LINES {
        let (success, stdout, stderr) = run(name, &[]);
        assert!(success, "{name} failed: {stderr}");
        assert_eq!(stderr, "", "{name}");
        for line in *lines {
            assert!(stdout.lines().any(|printed| printed.starts_with(line)), "{name} lacks {line:?} in\n{stdout}");
        }
    }
}

#[test]
fn the_classifier_reads_other_files_and_refuses_what_it_cannot_use() {
    let (success, stdout, stderr) = run("softmax_classifier", &["data/penguins.csv", "species"]);
    assert!(success, "{stderr}");
    assert!(stdout.contains("3 of \"species\": Adelie, Chinstrap, Gentoo"), "{stdout}");
    assert!(stdout.contains("11 left out for a missing value"), "{stdout}");

    let (success, _, stderr) = run("softmax_classifier", &["data/penguins.csv", "kind"]);
    assert!(!success);
    assert!(stderr.contains("there is no column \"kind\"") && !stderr.contains("panicked"), "{stderr}");
}
