//! Whole commands on ordinary and on odd files.

mod common;

use common::{Folder, Run, data, gradus, gradus_with_input, succeed};
use safetensors::SafeTensors;
use serde_json::Value;

/// A tensor's numbers.
fn tensor(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let bytes = file.tensor(name).unwrap();
    bytes.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The records below the header of CSV text.
fn records(csv: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn a_saved_model_multiplied_out_by_hand_gives_the_predictions() {
    let folder = Folder::new();
    let penguins = data("penguins.csv");
    succeed(&folder, &["train", &penguins, "--target", "body_mass_g", "--missing", "drop", "-o", "m"]);
    // The rows without missing cells, in another order of columns, with one that the model does not know.
    let complete: Vec<Vec<String>> = records(&std::fs::read_to_string(penguins).unwrap())
        .into_iter()
        .filter(|row| row.iter().all(|cell| !cell.is_empty() && cell != "NA"))
        .collect();
    let mut new = String::from("extra,sex,flipper_length_mm,bill_depth_mm,bill_length_mm,island,species\n");
    for row in &complete {
        new.push_str(&format!("?,{},{},{},{},{},{}\n", row[6], row[4], row[3], row[2], row[1], row[0]));
    }
    folder.write("new.csv", new);
    succeed(&folder, &["predict", "m", "new.csv", "-o", "out.csv"]);

    let bytes = folder.read("m");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (weight, bias) = (tensor(&file, "weight"), tensor(&file, "bias"));
    let features = succeed(&folder, &["inspect", "m", "--json"]).json()["features"].clone();
    let names: Vec<&str> = features.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let columns = ["species", "island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex"];
    let predicted = records(&folder.text("out.csv"));
    assert_eq!((predicted.len(), complete.len()), (333, 333));
    for (row, predicted) in complete.iter().zip(predicted) {
        let mut expected = bias[0];
        for (name, w) in names.iter().zip(&weight) {
            let (column, value) = name.split_once('=').map_or((*name, None), |(column, value)| (column, Some(value)));
            let cell = &row[columns.iter().position(|c| *c == column).unwrap()];
            expected += match value {
                Some(value) => w * f64::from(u8::from(cell == value)),
                None => w * cell.parse::<f64>().unwrap(),
            };
        }
        let found: f64 = predicted[0].parse().unwrap();
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found} {expected}");
    }
}

#[test]
fn class_probabilities_are_those_of_the_weights() {
    let folder = Folder::new();
    let iris = data("iris.csv");
    succeed(&folder, &["train", &iris, "--weight-decay", "0.01", "-o", "m"]);
    let out = succeed(&folder, &["predict", "m", &iris]).stdout;
    assert!(out.starts_with("prediction,p(setosa),p(versicolor),p(virginica)\n"), "{out}");
    let bytes = folder.read("m");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (weight, bias) = (tensor(&file, "weight"), tensor(&file, "bias"));
    for (row, predicted) in records(&std::fs::read_to_string(iris).unwrap()).iter().zip(records(&out)) {
        let exp: Vec<f64> = (0..3)
            .map(|k| (0..4).fold(bias[k], |z, c| z + weight[4 * k + c] * row[c].parse::<f64>().unwrap()).exp())
            .collect();
        for (k, e) in exp.iter().enumerate() {
            let (found, expected) = (predicted[k + 1].parse::<f64>().unwrap(), e / exp.iter().sum::<f64>());
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }
}

#[test]
fn how_a_file_is_written_changes_no_bit_of_the_model() {
    let folder = Folder::new();
    let plain = "x,colour,y\n1,red,1.5\n2,blue,2.5\n3,red,3\n4,green,4.5\n";
    let forms: [(&str, String); 11] = [
        ("CRLF", plain.replace('\n', "\r\n")),
        ("CR", plain.replace('\n', "\r")),
        ("byte-order mark", format!("\u{feff}{plain}")),
        ("no final newline", plain.trim_end().to_owned()),
        ("blank lines", plain.replace('\n', "\n\n  \n")),
        ("semicolons", plain.replace(',', ";")),
        ("tabs", plain.replace(',', "\t")),
        ("bars", plain.replace(',', "|")),
        ("spaces", plain.replace(',', " , ")),
        ("quotes", plain.replace("red", "\"red\"").replace("1.5", "\"1.5\"")),
        ("other numerals", plain.replace("1.5", "+15e-1").replace("4.5", "4.50")),
    ];
    folder.write("plain.csv", plain);
    succeed(&folder, &["train", "plain.csv", "-o", "plain"]);
    for (name, text) in forms {
        folder.write("other.csv", text);
        succeed(&folder, &["train", "other.csv", "-o", "other"]);
        assert_eq!(folder.read("other"), folder.read("plain"), "{name}");
    }
    let run = gradus_with_input(&folder, &["train", "-", "-o", "other"], plain);
    assert_eq!((run.status, folder.read("other")), (0, folder.read("plain")), "{}", run.stderr);
}

#[test]
fn data_of_one_row_or_one_column_are_data() {
    let folder = Folder::new();
    let train = |text: &str, options: &[&str]| -> Run {
        folder.write("data.csv", text);
        let mut arguments = vec!["train", "data.csv", "--json", "--quiet", "-o", "m"];
        arguments.extend(options);
        succeed(&folder, &arguments)
    };
    let inspect = || succeed(&folder, &["inspect", "m", "--json"]).json();

    train("x,y\n3,5\n", &[]);
    assert_eq!(inspect()["weight"], serde_json::json!([[0.0]]), "a feature of one value has no slope");
    assert!((inspect()["bias"][0].as_f64().unwrap() - 5.0).abs() < 1e-4);

    let mean = train("y\n1\n2\n6\n", &[]).json();
    assert_eq!(mean["features"], serde_json::json!([]));
    assert!((inspect()["bias"][0].as_f64().unwrap() - 3.0).abs() < 1e-4);
    assert_eq!(succeed(&folder, &["predict", "m", "data.csv"]).stdout.lines().count(), 4);

    let constant = train("x,y\n1,7\n2,7\n3,7\n", &[]).json();
    assert!(constant["metrics"]["mse"].as_f64().unwrap() < 1e-6, "{constant}");
    assert!([0.0, 1.0].contains(&constant["metrics"]["r2"].as_f64().unwrap()), "{constant}");

    let large = train("x,y\n1,1\n2,2\n3,3.5\n", &["--batch-size", "1000", "--lr", "0.1"]);
    let full = train("x,y\n1,1\n2,2\n3,3.5\n", &["--batch-size", "full", "--lr", "0.1"]);
    assert_eq!(large.json()["train_loss"], full.json()["train_loss"]);
}

#[test]
fn constant_features_get_coefficient_0() {
    let folder = Folder::new();
    succeed(&folder, &["train", &data("digits.csv"), "--loss", "cross-entropy", "--epochs", "3", "-o", "m"]);
    let model = succeed(&folder, &["inspect", "m", "--json"]).json();
    let at = model["features"].as_array().unwrap().iter().position(|name| name == "pixel_0_0").unwrap();
    for class in model["weight"].as_array().unwrap() {
        assert_eq!(class[at], 0.0);
    }
    let folder = Folder::new();
    folder.write("data.csv", "one,x,y\n0.1,1,2\n0.1,2,3\n0.1,3,5\n");
    succeed(&folder, &["train", "data.csv", "--init", "uniform", "-o", "m"]);
    assert_eq!(succeed(&folder, &["inspect", "m", "--json"]).json()["weight"][0][0], 0.0);
}

#[test]
fn accumulation_changes_no_bit_of_the_model() {
    let folder = Folder::new();
    let wine = data("wine.csv");
    let model = |options: &[&str]| {
        let mut arguments = vec!["train", &wine, "--epochs", "3", "--lr", "0.05", "--momentum", "0.9", "-o", "m"];
        arguments.extend(options);
        succeed(&folder, &arguments);
        folder.read("m")
    };
    // 178 rows: the last window of 48 has 34 rows, two micro-batches and a part of one.
    let whole = model(&["--batch-size", "48"]);
    for (batch, accumulate) in [("16", "3"), ("12", "4"), ("1", "48"), ("24", "2")] {
        assert_eq!(model(&["--batch-size", batch, "--accumulate", accumulate]), whole, "{batch} x {accumulate}");
    }
    assert_ne!(model(&["--batch-size", "16"]), whole);
    assert_ne!(model(&["--batch-size", "48", "--seed", "1"]), whole);
}

#[test]
fn threads_change_no_bit_of_the_model() {
    let folder = Folder::new();
    let digits = data("digits.csv");
    // Long enough that two are started.
    let model = |threads: &str| {
        let arguments = ["train", &digits, "--epochs", "20", "--batch-size", "256", "--lr", "0.05", "-o", "m"];
        succeed(&folder, &[&arguments[..], &["--threads", threads]].concat());
        folder.read("m")
    };
    let one = model("1");
    assert!(["2", "3"].into_iter().all(|threads| model(threads) == one));
}

#[test]
fn evaluate_agrees_with_the_end_of_training() {
    let folder = Folder::new();
    for (name, options) in [
        ("iris", &[][..]),
        ("diabetes", &[]),
        ("breast_cancer", &[]),
        ("penguins", &["--target", "species", "--missing", "mean"]),
    ] {
        let file = data(&format!("{name}.csv"));
        let mut arguments = vec!["train", &file, "--weight-decay", "0.01", "-o", "m", "--json", "--quiet"];
        arguments.extend(options);
        let trained = succeed(&folder, &arguments).json();
        let evaluated = succeed(&folder, &["evaluate", "m", &file, "--json"]).json();
        for (metric, value) in trained["metrics"].as_object().unwrap() {
            let (Some(a), Some(b)) = (value.as_f64(), evaluated["metrics"][metric].as_f64()) else { continue };
            assert!((a - b).abs() < 1e-9 * a.abs().max(1e-3), "{name} {metric}: {a} {b}");
        }
    }
}

#[test]
fn early_stopping_keeps_the_parameters_of_the_best_epoch() {
    let folder = Folder::new();
    let wine = data("wine.csv");
    let options = ["--lr", "0.5", "--epochs", "200", "--validation", "0.3", "--patience", "5", "--seed", "3"];
    let mut arguments = vec!["train", &wine, "--json", "--quiet", "--log", "l.jsonl", "-o", "m"];
    arguments.extend(options);
    let run = succeed(&folder, &arguments).json();
    assert_eq!(run["reason"], "early_stop");
    let log = folder.text("l.jsonl");
    let losses: Vec<f64> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["kind"] == "epoch")
        .map(|line| line["valid_loss"].as_f64().unwrap())
        .collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let best_epoch = losses.iter().position(|loss| *loss == best).unwrap() + 1;
    assert_eq!(run["best_epoch"], best_epoch);
    assert_eq!(losses.len(), best_epoch + 5);
    let measured = run["valid_metrics"]["log_loss"].as_f64().unwrap();
    assert!((measured - best).abs() < 1e-12, "{measured} {best}");
}

#[test]
fn a_validation_file_is_measured_by_the_training_files_schema() {
    let folder = Folder::new();
    folder.write("train.csv", "x,c,y\n0,a,0\n1,b,3\n2,a,4\n3,b,7\n");
    folder.write("valid.csv", "y,c,x\n2,a,1\n5,b,2\n");
    let arguments = ["train", "train.csv", "--target", "y", "--validation", "valid.csv", "--json", "--quiet"];
    let run = succeed(&folder, &arguments).json();
    assert!(run["valid_metrics"]["mse"].as_f64().unwrap() < 1e-3, "{run}");
}

#[test]
fn unseen_values_have_no_effect_on_request() {
    let folder = Folder::new();
    folder.write("data.csv", "x,c,y\n0,a,0\n1,b,3\n2,a,4\n3,b,7\n");
    succeed(&folder, &["train", "data.csv", "-o", "m"]);
    folder.write("new.csv", "c,x\nnew,1\n");
    let out = succeed(&folder, &["predict", "m", "new.csv", "--unknown", "zero"]).stdout;
    let model = succeed(&folder, &["inspect", "m", "--json"]).json();
    let expected = model["bias"][0].as_f64().unwrap() + model["weight"][0][0].as_f64().unwrap();
    assert_eq!(model["features"], serde_json::json!(["x", "c=a", "c=b"]));
    assert!((out.lines().nth(1).unwrap().parse::<f64>().unwrap() - expected).abs() < 1e-12, "{out}");
}

#[test]
fn balanced_classes_count_alike_in_both_losses_of_two_classes() {
    let folder = Folder::new();
    folder.write("data.csv", "x,y\n0,a\n1,a\n2,b\n3,a\n1.5,a\n4,a\n");
    let objective = |loss: &str| {
        let arguments =
            ["train", "data.csv", "--loss", loss, "--class-weight", "balanced", "--epochs", "1", "--lr", "0.1"];
        let run = succeed(&folder, &[&arguments[..], &["--batch-size", "full", "--json", "--quiet"]].concat());
        run.json()["train_loss"].as_f64().unwrap()
    };
    let counts = |class: &str| {
        let mut text = String::from("x,w,y\n");
        for (x, y) in [("0", "a"), ("1", "a"), ("2", "b"), ("3", "a"), ("1.5", "a"), ("4", "a")] {
            text.push_str(&format!("{x},{},{y}\n", if y == class { 5 } else { 1 }));
        }
        text
    };
    folder.write("weighted.csv", counts("b"));
    let weighted = succeed(
        &folder,
        &[
            "train",
            "weighted.csv",
            "--sample-weight",
            "w",
            "--epochs",
            "1",
            "--lr",
            "0.1",
            "--batch-size",
            "full",
            "--json",
            "--quiet",
        ],
    );
    let weighted = weighted.json()["train_loss"].as_f64().unwrap();
    assert!((objective("binary-cross-entropy") - weighted).abs() < 1e-12);
    // Two logits move twice as far apart as one; what is the same is that the classes start even.
    assert!(objective("cross-entropy") < 2f64.ln());
}

#[test]
fn output_goes_where_it_is_asked_for() {
    let folder = Folder::new();
    let iris = data("iris.csv");
    let run = succeed(&folder, &["train", &iris, "--quiet"]);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let run = succeed(&folder, &["train", &iris, "--quiet", "--json"]);
    assert_eq!(run.stderr, "");
    assert_eq!(run.json()["metrics"]["accuracy"].as_f64().map(|a| a > 0.97), Some(true));
    let run = succeed(&folder, &["train", &iris]);
    assert!(run.stdout.contains("saved       nowhere") && run.stderr.contains("epoch 1/"), "{}", run.stderr);
    assert!(!succeed(&folder, &["train", &iris, "--progress", "never"]).stderr.contains("epoch 1/"));
    assert!(succeed(&folder, &["train", &iris, "--quiet", "--progress", "always"]).stderr.contains("epoch 1/"));
    let csv = succeed(&folder, &["synth", "blobs", "--rows", "30"]).stdout;
    assert_eq!(csv.lines().count(), 31);
    let run = gradus_with_input(&folder, &["train", "-", "--json", "--quiet"], &csv);
    assert_eq!(run.json()["classes"], serde_json::json!(["a", "b", "c"]));
    succeed(&folder, &["train", &iris, "--log", "l.csv", "--epochs", "2"]);
    assert!(folder.text("l.csv").starts_with("step,epoch,loss,grad_norm,lr,samples\n1,1,1.098612288668"));
}

#[test]
fn f32_models_are_saved_and_read_as_f32() {
    let folder = Folder::new();
    let diabetes = data("diabetes.csv");
    succeed(&folder, &["train", &diabetes, "--dtype", "f32", "-o", "m"]);
    assert_eq!(succeed(&folder, &["inspect", "m", "--json"]).json()["dtype"], "f32");
    let r2 = succeed(&folder, &["evaluate", "m", &diabetes, "--json"]).json()["metrics"]["r2"].as_f64().unwrap();
    assert!((r2 - 0.51774).abs() < 1e-3, "{r2}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_the_model_as_it_stands() {
    use std::process::{Command, Stdio};
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let folder = Folder::new();
        folder.write("data.csv", "x,y\n1,1\n2,2\n3,3.5\n");
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("gradus"))
            .current_dir(folder.path())
            .args(["train", "data.csv", "--lr", "0.01", "--epochs", "1000000000", "-o", "m", "--log", "l.csv"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // The first line of progress comes when training, and the catching of signals, has begun.
        use std::io::{BufRead, BufReader};
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("epoch 1/")), "training never began");
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(status), "{signal}");
        assert_eq!(gradus(&folder, &["inspect", "m", "--json"]).json()["loss"], "mse");
        assert!(folder.text("l.csv").lines().count() > 1);
    }
}
