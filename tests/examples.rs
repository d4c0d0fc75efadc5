//! Runs every example. Each checks its own figures and fails if one is wrong; here it must also say what it is for.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::program;

/// Lines that each example prints.
const LINES: &[(&str, &[&str])] = &[
    (
        "01_derivatives",
        &[
            "   1  0.196611933241",
            " 1e-2         3.6e-4  +1.00          1.0e-6  +2.00",
            "Forward the error falls as h^1.00, central as h^2.00.",
        ],
    ),
    (
        "02_partial_derivatives",
        &[
            "100 points; at w = 1, b = 0 the loss is 90.878818",
            "dloss/dw  -110.103084  -110.103084",
            "dloss/db   -16.896153   -16.896153",
            "w + 0.01   89.78114   -1.09768         -1.10103",
        ],
    ),
    (
        "03_gradient_vector",
        &[
            "w1  -2.285361   -2.285361  increase w1",
            "w2   4.280463    4.280463  decrease w2",
            "|gradient| = 5.507528",
            " 100   0.01013",
        ],
    ),
    (
        "04_directional_derivatives",
        &[
            "steepest descent      (-0.6, -0.8)             -5.000000  -5.000000",
            "orthogonal            (-0.8,  0.6)              0.000000  0.000000",
            "          60      2.500000               2.500000",
            "Of 360 directions the one at 0 degrees rises fastest: 5.000000.",
        ],
    ),
    ("05_softmax_jacobian", &["class 1     2  0.628532", "   -0.145332    0.233480   -0.088148", "row 0 "]),
    (
        "06_what_grad_holds",
        &[
            "weight     [3, 4]          [3, 4]",
            "a second one: the sum     Pending { passes: 2 }          2.067094",
            "backward, no zero_grad    Stale { step: 1, passes: 1 }",
            "-0.750622  -0.937811              0.498755              0.498755  0.498755",
        ],
    ),
    (
        "07_cross_entropy",
        &[
            "    3      3  0.630796        1   -0.369204  -0.369204",
            "loss                       2.815252  90.088050   32.000000",
            "+ 1000    NaN     NaN     NaN     NaN         0.23206 0.08537 0.05178 0.63080",
        ],
    ),
    (
        "08_gradient_checking",
        &[
            "2 e x / 4, 2 e / 4",
            "    correct",
            "    the sign:",
            "    the gradient of \"b\" is missing",
            "verdict: correct",
        ],
    ),
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
