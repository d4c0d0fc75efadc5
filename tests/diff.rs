//! Two logs compared through the command.

mod common;

use common::{Folder, Run, data, gradus, succeed};
use serde_json::Value;

fn train(folder: &Folder, log: &str, options: &[&str]) {
    let iris = data("iris.csv");
    let fixed = ["train", &iris, "--lr", "0.05", "--epochs", "4", "--quiet", "--log", log];
    succeed(folder, &[&fixed, options].concat());
}

fn diff(folder: &Folder, options: &[&str]) -> Run {
    succeed(folder, &[&["diff", "a.jsonl", "b.jsonl"], options].concat())
}

/// What `a.jsonl` and `b.jsonl` say of a step, from the files themselves.
fn step(folder: &Folder, file: &str, at: usize) -> Value {
    let text = folder.text(file);
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["kind"] == "step").nth(at).unwrap()
}

#[test]
fn equal_runs_are_said_to_be_equal() {
    let folder = Folder::new();
    train(&folder, "a.jsonl", &[]);
    train(&folder, "b.jsonl", &["--threads", "1"]);
    assert_eq!(diff(&folder, &[]).stdout, "20 steps, the same to the last bit\nthe settings are the same\n");
    let json = diff(&folder, &["--json"]).json();
    assert_eq!((&json["equal"], &json["first"], &json["same_steps"]), (&true.into(), &Value::Null, &20.into()));
    assert_eq!(json["settings"], serde_json::json!([]));
    assert_eq!(diff(&folder, &["--quiet"]).stdout, "");
}

#[test]
fn accumulation_parts_nowhere_and_is_named_as_a_setting() {
    let folder = Folder::new();
    train(&folder, "a.jsonl", &["--batch-size", "32"]);
    train(&folder, "b.jsonl", &["--batch-size", "8", "--accumulate", "4"]);
    let text = diff(&folder, &[]).stdout;
    assert!(text.starts_with("20 steps, the same to the last bit\n\n2 settings of different values\n"), "{text}");
    let json = diff(&folder, &["--json"]).json();
    assert_eq!((&json["same_trajectory"], &json["equal"]), (&true.into(), &false.into()));
    let names: Vec<&Value> = json["settings"].as_array().unwrap().iter().map(|setting| &setting["name"]).collect();
    assert_eq!(names, ["accumulate", "batch_size"]);
}

#[test]
fn the_first_step_that_differs_is_named_with_what_and_by_how_much() {
    let folder = Folder::new();
    train(&folder, "a.jsonl", &[]);
    // Momentum has no effect on the first update: the second loss is the same, and the third is not.
    train(&folder, "b.jsonl", &["--momentum", "0.9"]);
    let json = diff(&folder, &["--json"]).json();
    assert_eq!((&json["first"]["step"], &json["same_steps"]), (&3.into(), &2.into()));
    let quantities = json["first"]["quantities"].as_array().unwrap();
    let names: Vec<&Value> = quantities.iter().map(|quantity| &quantity["name"]).collect();
    assert_eq!(names, ["loss", "grad_norm"]);
    for quantity in quantities {
        let name = quantity["name"].as_str().unwrap();
        let [a, b] = ["a.jsonl", "b.jsonl"].map(|file| step(&folder, file, 2)[name].as_f64().unwrap());
        assert_eq!((quantity["a"].as_f64(), quantity["b"].as_f64()), (Some(a), Some(b)), "{name}");
        assert_eq!(quantity["absolute"].as_f64(), Some((a - b).abs()), "{name}");
        assert_eq!(quantity["relative"].as_f64(), Some((a - b).abs() / a.max(b)), "{name}");
    }
    assert_eq!(json["settings"], serde_json::json!([{"name": "momentum", "a": 0.0, "b": 0.9}]));
    let text = diff(&folder, &[]).stdout;
    assert!(text.starts_with("the logs part at step 3, in loss, grad_norm\n"), "{text}");
    assert!(text.contains("\n1 setting of different values\n") && text.contains("\nmomentum"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn the_cause_comes_before_what_follows_from_it() {
    let folder = Folder::new();
    train(&folder, "a.jsonl", &["--batch-size", "50"]);
    train(&folder, "b.jsonl", &["--batch-size", "49"]);
    let json = diff(&folder, &["--json"]).json();
    assert_eq!(json["first"]["step"], 1);
    assert_eq!(json["first"]["quantities"][0]["name"], "samples");
    // A schedule of its own: the losses of a step agree as long as the learning rates before it do.
    train(&folder, "a.jsonl", &[]);
    train(&folder, "b.jsonl", &["--schedule", "step:3:0.5"]);
    let json = diff(&folder, &["--json"]).json();
    assert_eq!(json["first"]["step"], 4);
    assert_eq!(json["first"]["quantities"].as_array().unwrap().len(), 1);
    assert_eq!(json["first"]["quantities"][0]["name"], "lr");
}

#[test]
fn logs_of_different_lengths_and_other_data_are_told_apart() {
    let folder = Folder::new();
    train(&folder, "a.jsonl", &[]);
    train(&folder, "b.jsonl", &[]);
    let shorter: Vec<String> = folder.text("b.jsonl").lines().take(4).map(str::to_owned).collect();
    folder.write("b.jsonl", shorter.join("\n"));
    let text = diff(&folder, &[]).stdout;
    let expected = "a.jsonl has 20 steps, b.jsonl has 3 steps\nthe first 3 steps are the same to the last bit\n";
    assert!(text.starts_with(expected), "{text}");

    succeed(&folder, &["train", &data("wine.csv"), "--lr", "0.05", "--quiet", "--log", "b.jsonl"]);
    let json = diff(&folder, &["--json"]).json();
    let names: Vec<&str> =
        json["settings"].as_array().unwrap().iter().map(|setting| setting["name"].as_str().unwrap()).collect();
    for name in ["rows", "features", "classes", "parameters", "data", "target"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let text = diff(&folder, &[]).stdout;
    assert!(text.contains("only here: sepal_length"), "{text}");
}

#[test]
fn a_log_without_steps_or_start_says_so() {
    let folder = Folder::new();
    train(&folder, "a.jsonl", &[]);
    let start = folder.text("a.jsonl").lines().next().unwrap().to_owned();
    folder.write("b.jsonl", &start);
    let text = diff(&folder, &[]).stdout;
    assert!(text.starts_with("b.jsonl has no steps\na.jsonl has 20 steps, b.jsonl has 0 steps\n"), "{text}");
    folder.write("a.jsonl", &start);
    assert_eq!(diff(&folder, &[]).stdout, "neither log has a step\nthe settings are the same\n");

    train(&folder, "a.jsonl", &[]);
    let (_, steps) = folder.text("a.jsonl").split_once('\n').map(|(s, rest)| (s.to_owned(), rest.to_owned())).unwrap();
    folder.write("b.jsonl", steps);
    let text = diff(&folder, &[]).stdout;
    assert!(text.ends_with("b.jsonl has no start line: settings cannot be compared\n"), "{text}");
    assert_eq!(diff(&folder, &["--json"]).json()["settings"], Value::Null);
}

#[test]
fn tables_of_steps_are_compared_with_each_other_and_with_json() {
    let folder = Folder::new();
    train(&folder, "a.csv", &[]);
    train(&folder, "a.jsonl", &[]);
    train(&folder, "b.csv", &["--momentum", "0.9"]);
    train(&folder, "b.jsonl", &["--momentum", "0.9"]);
    let same = succeed(&folder, &["diff", "a.jsonl", "a.csv"]).stdout;
    assert_eq!(same, "20 steps, the same to the last bit\na.csv has no start line: settings cannot be compared\n");
    let steps = |files: [&str; 2]| succeed(&folder, &["diff", files[0], files[1], "--json"]).json()["first"].clone();
    assert_eq!(steps(["a.csv", "b.csv"]), steps(["a.jsonl", "b.jsonl"]));
    assert_eq!(steps(["a.csv", "b.csv"])["step"], 3);
}

#[test]
fn validation_losses_that_part_are_named_by_their_epoch() {
    let folder = Folder::new();
    train(&folder, "a.jsonl", &["--validation", "0.2"]);
    train(&folder, "b.jsonl", &["--validation", "0.2"]);
    assert_eq!(diff(&folder, &["--json"]).json()["equal"], true);
    // The same rows trained on, and others to measure on.
    let text = folder.text("b.jsonl").replace("\"valid_loss\":0.", "\"valid_loss\":1.");
    folder.write("b.jsonl", &text);
    let found = diff(&folder, &["--json"]).json();
    assert_eq!((&found["same_trajectory"], &found["equal"]), (&true.into(), &false.into()));
    assert_eq!(found["validation"]["first"]["epoch"], 1);
    let page = diff(&folder, &[]).stdout;
    assert!(page.starts_with("16 steps, the same to the last bit\nthe validation losses part at epoch 1: "), "{page}");
    train(&folder, "b.jsonl", &["--validation", "0.2", "--momentum", "0.9"]);
    let page = diff(&folder, &[]).stdout;
    assert!(page.contains("\nthe validation losses part at epoch 1: "), "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
}

#[test]
fn a_run_that_diverged_has_a_log_to_compare() {
    let folder = Folder::new();
    train(&folder, "a.jsonl", &[]);
    let iris = data("iris.csv");
    let options = ["--target", "petal_width", "--loss", "mse", "--drop", "species", "--lr", "9", "--log", "b.jsonl"];
    let run = gradus(&folder, &[&["train", &iris, "--quiet"], &options[..]].concat());
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(diff(&folder, &["--json"]).json()["first"]["step"], 1);
}

#[test]
fn what_is_no_log_is_a_fault_with_its_line() {
    let folder = Folder::new();
    train(&folder, "a.jsonl", &[]);
    let log = folder.text("a.jsonl");
    folder.write("table.csv", "x,y\n1,2\n");
    folder.write("cut.csv", "step,epoch,loss,grad_norm,lr,samples\n1,1,0.5,1.0,0.1,32\n2,1,0.5");
    folder.write("cut.jsonl", &log[..log.len() / 2]);
    folder.write("empty.jsonl", "");
    folder.write("step.jsonl", log.replacen("\"lr\":", "\"rate\":", 2));
    let line_of = |at: usize| 1 + log[..at].matches('\n').count();
    let cases = [
        ("absent.jsonl", "absent.jsonl: cannot read".to_owned()),
        ("table.csv", "table.csv:1: not a line of a log".to_owned()),
        ("cut.csv", "cut.csv:3: not a line of a log: 3 cells, and 6 in the header".to_owned()),
        ("empty.jsonl", "empty.jsonl: no line that begins a run and no step".to_owned()),
        ("cut.jsonl", format!("cut.jsonl:{}: not a line of a log: EOF", line_of(log.len() / 2))),
        ("step.jsonl", "step.jsonl:2: not a line of a log: missing field `lr`".to_owned()),
        (".", ".: cannot read".to_owned()),
    ];
    for (file, says) in cases {
        for arguments in [["diff", "a.jsonl", file], ["diff", file, "a.jsonl"]] {
            let run = gradus(&folder, &arguments);
            assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{arguments:?}");
            assert!(run.stderr.starts_with(&format!("error: {says}")), "{arguments:?}: {}", run.stderr);
            assert!(says.contains("cannot read") || run.stderr.contains("\nhelp: "), "{}", run.stderr);
        }
    }
    assert_eq!(gradus(&folder, &["diff", "a.jsonl"]).status, 2);
}
