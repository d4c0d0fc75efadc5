//! What a shell does to a command, and runs at the edge.

mod common;

use common::{Folder, data, gradus, succeed};

#[cfg(unix)]
#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    use std::process::{Command, Stdio};
    let folder = Folder::new();
    succeed(&folder, &["train", &data("iris.csv"), "--quiet", "-o", "m"]);
    let mut many = String::from("sepal_length,sepal_width,petal_length,petal_width\n");
    many.push_str(&"5.1,3.5,1.4,0.2\n".repeat(20_000));
    folder.write("many.csv", many);
    let gradus = assert_cmd::cargo::cargo_bin!("gradus");
    for (closes_error, arguments) in
        [(false, vec!["predict", "m", "many.csv"]), (true, vec!["train", "many.csv", "--epochs", "3", "-o", "n"])]
    {
        let mut child = Command::new(gradus)
            .current_dir(folder.path())
            .args(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if closes_error {
            drop(child.stderr.take());
        } else {
            drop(child.stdout.take());
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(0), ""), "{arguments:?}");
    }
    assert!(folder.path().join("n").exists(), "the model is saved all the same");
}

#[test]
fn balancing_classes_leaves_the_measures_alone() {
    let folder = Folder::new();
    let rows: String =
        (0..120).map(|i| format!("{},{}\n", (i * 37 % 101) as f64 / 10.0, u8::from(i % 10 == 0))).collect();
    folder.write("data.csv", format!("x,y\n{rows}"));
    let run = succeed(&folder, &["train", "data.csv", "--class-weight", "balanced", "-o", "m", "--json", "--quiet"]);
    let measured = succeed(&folder, &["evaluate", "m", "data.csv", "--json"]).json();
    assert_eq!(run.json()["metrics"]["accuracy"], measured["metrics"]["accuracy"]);
}

#[test]
fn outputs_under_two_names_of_one_path_and_a_dropped_target_are_refused() {
    let folder = Folder::new();
    folder.write("data.csv", "x,y,z\n1,2,3\n2,3,5\n3,4,8\n");
    let run = gradus(&folder, &["train", "data.csv", "-o", "m", "--log", "./m"]);
    assert_eq!(run.status, 2, "{}", run.stderr);
    let run = gradus(&folder, &["train", "data.csv", "--target", "z", "--drop", "z"]);
    assert!(run.status == 1 && run.stderr.contains("it is dropped"), "{}", run.stderr);
    let run = succeed(&folder, &["train", "data.csv", "--drop", "z", "--json", "--quiet"]);
    assert_eq!(run.json()["config"]["target"], "y");
}

#[test]
fn weights_that_are_all_zero_are_the_datas_fault() {
    let folder = Folder::new();
    folder.write("data.csv", "x,w,y\n1,0,3\n2,0,5\n3,0,8\n");
    let run = gradus(&folder, &["train", "data.csv", "--sample-weight", "w"]);
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("data.csv: column \"w\": every sample weight is 0"), "{}", run.stderr);
}

#[test]
fn more_threads_than_there_is_work_for_are_not_started() {
    let folder = Folder::new();
    let digits = data("digits.csv");
    succeed(
        &folder,
        &["train", &digits, "--threads", "1000000", "--epochs", "200", "--batch-size", "full", "--lr", "0.01"],
    );
}

#[test]
fn a_rate_said_to_be_stable_is() {
    let folder = Folder::new();
    let diabetes = data("diabetes.csv");
    for options in [
        &["--nesterov", "--momentum", "0.9", "--batch-size", "full"][..],
        &["--momentum", "0.9", "--batch-size", "8"],
        &["--batch-size", "1"],
        &["--weight-decay", "1000"],
    ] {
        let run = |lr: &str| gradus(&folder, &[&["train", &diabetes, "--lr", lr], options].concat());
        let diverged = run("100");
        assert_eq!(diverged.status, 1, "{options:?}");
        let (_, advice) = diverged.stderr.split_once("--lr ").expect("a rate is named");
        let advised = run(advice.split(' ').next().unwrap());
        assert_eq!(advised.status, 0, "{options:?}: {}", advised.stderr);
    }
}
