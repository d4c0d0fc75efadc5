//! `gradus gradcheck` on real data.

mod common;

use common::{Folder, data, gradus, succeed};

#[test]
fn the_gradients_of_every_loss_are_correct_on_real_data() {
    let folder = Folder::new();
    let cases: [(&str, &[&str]); 9] = [
        ("iris", &[]),
        ("iris", &["--label-smoothing", "0.1", "--class-weight", "balanced", "--weight-decay", "0.1"]),
        ("breast_cancer", &["--class-weight", "balanced"]),
        ("diabetes", &["--no-bias"]),
        ("diabetes", &["--loss", "huber", "--dtype", "f64"]),
        ("diabetes", &["--dtype", "f32", "--no-standardize"]),
        ("wine", &["--dtype", "f32", "--no-standardize", "--label-smoothing", "1"]),
        ("breast_cancer", &["--dtype", "f32", "--loss", "binary-cross-entropy", "--no-standardize"]),
        ("digits", &["--loss", "cross-entropy", "--directions", "2", "--rows", "100"]),
    ];
    for (name, options) in cases {
        let file = data(&format!("{name}.csv"));
        let arguments = [&["gradcheck", &file, "--json"], options].concat();
        let report = succeed(&folder, &arguments).json();
        for point in ["starting", "random"] {
            assert_eq!(report["points"][point]["verdict"], "correct", "{arguments:?}: {report}");
        }
    }
}

#[test]
fn the_table_names_each_parameter_and_the_verdict() {
    let folder = Folder::new();
    let run = succeed(&folder, &["gradcheck", &data("iris.csv")]);
    for says in ["at starting parameters, 32 rows", "at random parameters", "weight", "bias", "verdict: correct"] {
        assert!(run.stdout.contains(says), "{}", run.stdout);
    }
    assert_eq!(succeed(&folder, &["gradcheck", &data("iris.csv"), "--quiet"]).stdout, "");
}

#[test]
fn data_that_cannot_be_read_is_no_verdict() {
    let folder = Folder::new();
    let run = gradus(&folder, &["gradcheck", "nowhere.csv"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("nowhere.csv: cannot read"), "{}", run.stderr);
}
