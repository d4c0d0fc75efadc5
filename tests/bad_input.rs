//! Bad input, a row each: the exit status, the place and the remedy; nothing panics, and no existing file changes.

mod common;

use std::fs;
use std::path::Path;

use common::{Folder, gradus};

/// A table of ten good rows, to spoil.
const GOOD: &str = "x,y\n1,1.5\n2,2\n3,3.5\n4,4\n5,5.5\n6,6\n7,7.5\n8,8\n9,9.5\n10,10\n";

struct Case {
    name: &'static str,
    /// The bytes of `data.csv`; none: there is no such file.
    data: Option<Vec<u8>>,
    /// What follows `gradus train data.csv`.
    options: &'static [&'static str],
    status: i32,
    /// What standard error must say.
    says: &'static [&'static str],
}

fn case(name: &'static str, data: &str, status: i32, says: &'static [&'static str]) -> Case {
    Case { name, data: Some(data.as_bytes().to_vec()), options: &[], status, says }
}

impl Case {
    fn with(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }
}

fn option(name: &'static str, options: &'static [&'static str], says: &'static [&'static str]) -> Case {
    case(name, GOOD, 2, says).with(options)
}

fn cases() -> Vec<Case> {
    let many_names: String = (0..891).map(|i| format!("passenger {i},{i}.5\n")).collect();
    let late = |cell: &str| format!("x,y\n{}{cell},1.5\n", "1,2.5\n".repeat(5000));
    let bytes = |name, data: &[u8], says| Case { name, data: Some(data.to_vec()), options: &[], status: 1, says };
    vec![
        Case { name: "no file", data: None, options: &[], status: 1, says: &["data.csv: cannot read"] },
        case("empty file", "", 1, &["data.csv: the file is empty"]),
        case("blank file", "\n \n\n", 1, &["data.csv: the file is empty"]),
        case("header only", "x,y\n", 1, &["data.csv: a header, but no rows", "--no-header"]),
        case("short row", "x,y\n1,2\n3\n", 1, &["data.csv:3: 1 cell where line 1 has 2", "--delimiter"]),
        case("long row", "x,y\n1,2\n3,4,5\n", 1, &["data.csv:3: 3 cells where line 1 has 2"]),
        case("unterminated quote", "x,y\n1,2\n\"3,4\n5,6\n", 1, &["data.csv:3: a quote opens here"]),
        bytes("Latin-1 byte", b"x,y\n1,2\n\xe9,4\n", &["data.csv:3: byte 0xE9 is not UTF-8", "iconv"]),
        bytes("NUL", b"x,y\n1,2\n\0,4\n", &["data.csv:3: a NUL byte"]),
        case("duplicate header", "x,x,y\n1,2,3\n2,3,5\n", 1, &["data.csv: column \"x\": two columns", "--drop"]),
        case("missing target", GOOD, 1, &["data.csv: there is no column \"z\"", "the columns are x, y"])
            .with(&["--target", "z"]),
        case("one class", "x,y\n1,a\n2,a\n", 1, &["column \"y\": the target has a single class, \"a\""]),
        case("three classes, binary", "x,y\n1,a\n2,b\n3,c\n", 1, &["3 classes (a, b, c)", "--loss cross-entropy"])
            .with(&["--loss", "binary-cross-entropy"]),
        case("text late in a column", &late("oops"), 1, &["data.csv:5002: column \"x\": \"oops\" is not a number"]),
        case("inf", &late("inf"), 1, &["data.csv:5002: column \"x\": \"inf\" is not a number (an infinite value"]),
        case("1e999", &late("1e999"), 1, &["data.csv:5002: column \"x\": \"1e999\" is not a number (too large"]),
        case("decimal comma", &late("\"1,5\""), 1, &["data.csv:5002: column \"x\": \"1,5\" is not a number (numbers"]),
        case("text target, mse", "x,y\n1,a\n2,b\n", 1, &["data.csv:2: column \"y\": \"a\" is not a number"])
            .with(&["--loss", "mse"]),
        case(
            "missing cell",
            "x,y\n1,2\n,4\n",
            1,
            &["data.csv:3: column \"x\": the value is missing", "--missing drop"],
        ),
        case("missing everywhere", "x,y\nNA,2\n,4\n", 1, &["every row has a missing value", "--drop"])
            .with(&["--missing", "drop"]),
        case("missing target cell", "x,y\n1,2\n3,\n", 1, &["data.csv:3: column \"y\": the value is missing"])
            .with(&["--missing", "mean"]),
        case("names as a feature", &format!("name,y\n{many_names}"), 1, &["891 different texts", "--drop name"]),
        case("negative weight", "x,w,y\n1,-1,2\n2,1,3\n", 1, &["data.csv:2: column \"w\": the sample weight -1"])
            .with(&["--sample-weight", "w"]),
        case("too large for f32", "x,y\n1,2\n2,1e39\n", 1, &["data.csv:3: column \"y\": \"1e39\" is not a number"])
            .with(&["--dtype", "f32", "--loss", "mse"]),
        case("diverging", GOOD, 1, &["diverged", "--lr"]).with(&["--lr", "1000", "--no-standardize"]),
        option("batch size 0", &["--batch-size", "0"], &["'--batch-size", "1 or above"]),
        option("epochs 0", &["--epochs", "0"], &["'--epochs", "1 or above"]),
        option("accumulate 0", &["--accumulate", "0"], &["'--accumulate", "1 or above"]),
        option("lr 0", &["--lr", "0"], &["'--lr", "above 0"]),
        option("lr negative", &["--lr=-1"], &["'--lr", "above 0"]),
        option("lr NaN", &["--lr", "NaN"], &["'--lr", "above 0"]),
        option("lr infinite", &["--lr", "inf"], &["'--lr", "above 0"]),
        option("Nesterov alone", &["--nesterov"], &["--nesterov: it needs a momentum above 0", "--momentum 0.9"]),
        option("Nesterov and 0", &["--nesterov", "--momentum", "0"], &["--nesterov: it needs a momentum above 0"]),
        option("unknown loss", &["--loss", "hinge"], &["'hinge'", "cross-entropy"]),
        option("bad schedule", &["--schedule", "step:0:1"], &["schedule"]),
        option("validation of 1", &["--validation", "1.5"], &["'--validation", "below 1"]),
        option("model over input", &["-o", "data.csv"], &["data.csv is the input"]),
        option("log over input", &["--log", "./data.csv"], &["data.csv is the input"]),
        option("model and log in one", &["-o", "a", "--log", "a"], &["named for two outputs"]),
        option("smoothing without classes", &["--label-smoothing", "0.1"], &["--label-smoothing: mse has none"]),
        case("unwritable model", GOOD, 1, &["no/m.safetensors: cannot write"]).with(&["-o", "no/m.safetensors"]),
        case("unwritable log", GOOD, 1, &["no/run.jsonl: cannot write"]).with(&["--log", "no/run.jsonl"]),
        case("validation file not there", GOOD, 1, &["other.csv: cannot read"]).with(&["--validation", "other.csv"]),
    ]
}

#[test]
fn every_bad_input_has_its_status_its_place_and_its_remedy() {
    for case in cases() {
        let folder = Folder::new();
        if let Some(data) = &case.data {
            folder.write("data.csv", data);
        }
        folder.write("m.safetensors", "an older model");
        folder.write("run.jsonl", "an older log");
        let mut arguments = vec!["train", "data.csv"];
        arguments.extend(case.options);
        if !case.options.iter().any(|option| ["-o", "--log"].contains(option)) && case.name != "diverging" {
            arguments.extend(["-o", "m.safetensors", "--log", "run.jsonl"]);
        }
        let before = folder.contents();
        let run = gradus(&folder, &arguments);
        assert_eq!(run.status, case.status, "{}: {}", case.name, run.stderr);
        assert!(!run.stderr.contains("panicked"), "{}: {}", case.name, run.stderr);
        assert!(run.stderr.contains("error: "), "{}: {}", case.name, run.stderr);
        for says in case.says {
            assert!(run.stderr.contains(says), "{}: {:?} lacks {says:?}", case.name, run.stderr);
        }
        assert_eq!(run.stdout, "", "{}", case.name);
        assert_eq!(folder.contents(), before, "{}: a file changed", case.name);
    }
}

#[test]
fn a_folder_in_place_of_a_file_is_named() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("data.csv")).unwrap();
    let run = gradus(&folder, &["train", "data.csv"]);
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("data.csv: cannot read"), "{}", run.stderr);
}

#[test]
fn a_run_that_diverges_saves_no_model_and_logs_why_it_ended() {
    let folder = Folder::new();
    folder.write("data.csv", GOOD);
    let long =
        ["train", "data.csv", "--no-standardize", "--lr", "0.1", "--epochs", "3000", "-o", "m", "--log", "l.jsonl"];
    let run = gradus(&folder, &long);
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert!(run.stderr.contains("diverged") && run.stderr.contains("help: for this data --lr"), "{}", run.stderr);
    assert!(!folder.path().join("m").exists());
    let log = fs::read_to_string(folder.path().join("l.jsonl")).unwrap();
    let end: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&end["kind"], &end["reason"]), (&"end".into(), &"diverged".into()));
}

#[test]
fn files_that_are_no_models_are_refused_by_every_command_that_reads_one() {
    let folder = Folder::new();
    folder.write("data.csv", GOOD);
    assert_eq!(gradus(&folder, &["train", "data.csv", "-o", "good"]).status, 0);
    let good = fs::read(folder.path().join("good")).unwrap();
    let at = good.windows(16).position(|w| w == br#"format_version\""#).unwrap();
    let mut newer = good.clone();
    newer[at + 17] = b'9';
    let files: [(&str, &[u8], &str); 5] = [
        ("empty", b"", "the file is empty"),
        ("truncated", &good[..good.len() - 3], "not a whole safetensors file"),
        ("headless", &good[..6], "not a whole safetensors file"),
        ("text", GOOD.as_bytes(), "not a whole safetensors file"),
        ("newer", &newer, "format version 9, newer than 1"),
    ];
    for (name, bytes, says) in files {
        folder.write(name, bytes);
        for command in [vec!["inspect", name], vec!["evaluate", name, "data.csv"], vec!["predict", name, "data.csv"]] {
            let run = gradus(&folder, &command);
            assert_eq!(run.status, 1, "{command:?}: {}", run.stderr);
            assert!(run.stderr.starts_with(&format!("error: {name}: {says}")), "{command:?}: {}", run.stderr);
            assert!(run.stderr.contains("help: "), "{command:?}: {}", run.stderr);
        }
    }
    assert!(gradus(&folder, &["inspect", "nowhere"]).stderr.contains("nowhere: cannot read"));
}

#[test]
fn files_that_do_not_suit_a_model_are_refused_with_the_place() {
    let folder = Folder::new();
    folder.write("data.csv", "x,colour,y\n1,red,a\n2,blue,b\n3,red,a\n4,blue,b\n");
    assert_eq!(gradus(&folder, &["train", "data.csv", "-o", "m"]).status, 0);
    let cases: [(&str, &str, &[&str]); 7] = [
        ("evaluate", "x,colour,y\n1,red,a\n2,red,z\n", &["in.csv:3: column \"y\": the class \"z\" was not seen"]),
        ("evaluate", "x,colour\n1,red\n2,red\n", &["in.csv: there is no column \"y\""]),
        ("evaluate", "x,colour,y\n1,red,\n2,red,a\n", &["in.csv:2: column \"y\": the value is missing"]),
        ("predict", "colour\nred\n", &["in.csv: there is no column \"x\"", "the columns are colour"]),
        (
            "predict",
            "x,colour\n1,red\n2,green\n",
            &["in.csv:3: column \"colour\": the value \"green\"", "--unknown zero"],
        ),
        ("predict", "x,colour\n1,red\nmany,red\n", &["in.csv:3: column \"x\": \"many\" is not a number"]),
        ("predict", "x,colour\n1,red\n,red\n", &["in.csv:3: column \"x\": the value is missing"]),
    ];
    for (command, data, says) in cases {
        folder.write("in.csv", data);
        let run = gradus(&folder, &[command, "m", "in.csv"]);
        assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{command} {data:?}: {}", run.stderr);
        for says in says {
            assert!(run.stderr.contains(says), "{command} {data:?}: {:?} lacks {says:?}", run.stderr);
        }
    }
    for output in ["in.csv", "m"] {
        let run = gradus(&folder, &["predict", "m", "in.csv", "-o", output]);
        assert_eq!(run.status, 2, "{}", run.stderr);
        assert!(run.stderr.contains("is the input"), "{}", run.stderr);
    }
    assert!(Path::new(folder.path()).join("m").exists());
}
