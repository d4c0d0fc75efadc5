//! `train --stream`: data that need not fit in memory.

mod common;

use common::{Folder, Run, data, gradus, succeed};

fn fail(folder: &Folder, arguments: &[&str], status: i32) -> Run {
    let run = gradus(folder, arguments);
    assert_eq!(run.status, status, "{arguments:?}: {}", run.stderr);
    run
}

/// A file of 3000 rows and 300 columns of small numbers with a text column: 16 MB of memory hold a part of it.
fn wide(folder: &Folder) {
    let mut csv = String::new();
    for column in 0..300 {
        csv.push_str(&format!("x{column},"));
    }
    csv.push_str("kind,y\n");
    for row in 0..3000_u32 {
        for column in 0..300_u32 {
            csv.push_str(&format!("{},", (row * 31 + column * column * 7) % 101));
        }
        csv.push_str(&format!("{},{}\n", ["a", "b", "c"][row as usize % 3], (row * 31) % 101 + row % 3));
    }
    folder.write("wide.csv", &csv);
}

#[test]
fn a_streamed_run_ends_where_one_in_memory_ends() {
    let folder = Folder::new();
    wide(&folder);
    let train = |more: &[&str]| {
        let mut arguments = vec!["train", "wide.csv", "--epochs", "3", "--lr", "0.0005", "--json", "--quiet"];
        arguments.extend(more);
        succeed(&folder, &arguments).json()["metrics"]["mse"].as_f64().unwrap()
    };
    // Each epoch one step with all rows, added up block after block.
    let memory = train(&["--batch-size", "full"]);
    let streamed = train(&["--batch-size", "full", "--stream", "--memory", "16MB"]);
    assert!((memory - streamed).abs() < 1e-9 * memory, "{memory} {streamed}");
    // Batches in the file's order are the same batches.
    let memory = train(&["--no-shuffle"]);
    let streamed = train(&["--no-shuffle", "--stream", "--memory", "16MB"]);
    assert!((memory - streamed).abs() < 1e-9 * memory, "{memory} {streamed}");
}

#[test]
fn neither_threads_nor_accumulation_change_a_bit_of_a_streamed_run() {
    let folder = Folder::new();
    wide(&folder);
    let model = |name: &str, more: &[&str]| {
        let mut arguments = vec!["train", "wide.csv", "--epochs", "6", "--lr", "0.0005", "--quiet", "-o", name];
        arguments.extend(["--stream", "--memory", "16MB"]);
        arguments.extend(more);
        succeed(&folder, &arguments);
        folder.read(name)
    };
    let one = model("one", &["--batch-size", "128", "--threads", "1"]);
    // One of the threads fills buffers: two train, and six epochs are long enough for them.
    assert_eq!(model("two", &["--batch-size", "128", "--threads", "3"]), one);
    assert_eq!(model("split", &["--batch-size", "32", "--accumulate", "4"]), one);
    assert_ne!(model("seed", &["--batch-size", "128", "--seed", "1"]), one);
}

#[test]
fn everything_is_chosen_and_measured_on_streamed_rows_too() {
    let folder = Folder::new();
    let iris = data("iris.csv");
    let arguments = ["train", &iris, "--stream", "--weight-decay", "0.01", "--validation", "0.2", "--json", "--quiet"];
    let run = succeed(&folder, &arguments).json();
    assert!(run["metrics"]["accuracy"].as_f64().unwrap() > 0.9, "{run}");
    assert!(run["valid_metrics"]["accuracy"].as_f64().unwrap() > 0.8, "{run}");
    assert_eq!(run["config"]["lr_auto"], true);

    let rows = std::fs::read_to_string(&iris).unwrap();
    let other: Vec<&str> = rows.lines().take(1).chain(rows.lines().skip(1).step_by(3)).collect();
    folder.write("other.csv", other.join("\n"));
    let train = |more: &[&str]| {
        let arguments = ["train", &iris, "--validation", "other.csv", "--lr", "0.1", "--batch-size", "full", "--json"];
        succeed(&folder, &[&arguments[..], more].concat()).json()["valid_metrics"].clone()
    };
    let (memory, streamed) = (train(&["--quiet"]), train(&["--quiet", "--stream"]));
    assert_eq!(memory["confusion"], streamed["confusion"]);
    assert_eq!(streamed["confusion"].as_array().unwrap()[0].as_array().unwrap()[0], 17);

    folder.write("other.csv", format!("{}\n1,1,1,1,lily\n", other.join("\n")));
    let unknown = fail(&folder, &["train", &iris, "--stream", "--validation", "other.csv", "--lr", "0.1"], 1);
    assert!(unknown.stderr.contains("other.csv:52") && unknown.stderr.contains("lily"), "{}", unknown.stderr);
}

#[test]
fn a_cache_is_used_again_until_the_file_changes_and_refused_when_damaged() {
    let folder = Folder::new();
    folder.write("a.csv", "x,y\n1,2\n2,4\n3,6.5\n4,8\n");
    let arguments = ["train", "a.csv", "--stream", "--cache", "a.cache", "--lr", "0.1", "-o", "m"];
    succeed(&folder, &arguments);
    let (cache, model) = (folder.read("a.cache"), folder.read("m"));
    let written = || std::fs::metadata(folder.path().join("a.cache")).unwrap().modified().unwrap();
    let first = written();
    succeed(&folder, &arguments);
    assert_eq!(written(), first);
    assert_eq!((folder.read("a.cache"), folder.read("m")), (cache.clone(), model));

    let mut damaged = cache.clone();
    let last = damaged.len() - 9;
    damaged[last] ^= 1;
    std::fs::write(folder.path().join("a.cache"), &damaged).unwrap();
    let refused = fail(&folder, &arguments, 1);
    assert!(refused.stderr.contains("a.cache") && refused.stderr.contains("help:"), "{}", refused.stderr);

    std::fs::write(folder.path().join("a.cache"), &cache).unwrap();
    folder.write("a.csv", "x,y\n1,2\n2,4\n3,6.5\n4,8\n5,10\n");
    let rebuilt = succeed(&folder, &arguments);
    assert!(rebuilt.stderr.contains("5 rows"), "{}", rebuilt.stderr);
    assert_ne!(folder.read("a.cache"), cache);
}

#[test]
fn what_cannot_be_streamed_is_said() {
    let folder = Folder::new();
    let iris = data("iris.csv");
    for (arguments, status, expected) in [
        (vec!["train", "synthetic:line", "--stream"], 2, "leave it out"),
        (vec!["train", &iris, "--stream", "--class-weight", "balanced"], 2, "--sample-weight"),
        (vec!["train", &iris, "--stream", "--memory", "1KB"], 2, "at least 16MB"),
        (vec!["train", &iris, "--memory", "64MB"], 2, "--stream"),
        (vec!["train", &iris, "--cache", "c"], 2, "--stream"),
        (vec!["train", "-", "--stream", "--cache", "c"], 2, "standard input"),
        (vec!["train", &iris, "--stream", "--cache", "c", "-o", "c"], 2, "c"),
    ] {
        let refused = fail(&folder, &arguments, status);
        assert!(refused.stderr.contains(expected), "{arguments:?}: {}", refused.stderr);
    }
}
