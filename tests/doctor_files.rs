//! `gradus doctor` on files that nobody would wish for: each is read aloud, none is too much for it.

mod common;

use common::{Folder, gradus, succeed};
use serde_json::Value;

/// Numbers as good as random, from -1 to 1.
fn noise(row: usize, seed: usize) -> f64 {
    ((row * 7919 + seed * 104_729 + row * row * 31 + seed * row * 17) % 2003) as f64 / 1001.0 - 1.0
}

/// A table of this many rows, its header first.
fn table(header: &str, rows: usize, cells: impl Fn(usize) -> String) -> String {
    let body: String = (0..rows).map(|row| cells(row) + "\n").collect();
    format!("{header}\n{body}")
}

fn header(columns: usize) -> String {
    let names: Vec<String> = (0..columns).map(|column| format!("x{column}")).collect();
    names.join(",") + ",y"
}

fn row_of(columns: usize, row: usize) -> String {
    let cells: Vec<String> = (0..columns).map(|column| noise(row, column).to_string()).collect();
    format!("{},{}", cells.join(","), noise(row, 777))
}

/// Files with the codes of what is found in them, the worst first.
fn files() -> Vec<(&'static str, String, &'static [&'static str])> {
    let long = "a_name_that_goes_on_and_on_until_no_line_of_eighty_columns_has_the_room_to_hold_it_any_more";
    let huge = |at: usize| move |row: usize| if row == at { "1e300".to_owned() } else { noise(row, 1).to_string() };
    vec![
        ("constant columns", table("a,b,c,y", 50, |i| format!("7,{},3.5,{}", noise(i, 1), noise(i, 2))), &["constant"]),
        ("nothing but constants", table("a,b,y", 30, |_| "1,2,3".into()), &["constant_target", "constant"]),
        ("one target", table("x,y", 30, |i| format!("{},5", noise(i, 1))), &["constant_target"]),
        (
            "row numbers and names",
            table("id,user,x,y", 60, |i| format!("{},u{i},{},{}", 1000 + i, noise(i, 1), ["a", "b"][i * i % 7 % 2])),
            &["row_number", "identifier", "few_rows"],
        ),
        ("a copy", table("x,x2,y", 60, |i| format!("{0},{0},{1}", noise(i, 1), noise(i, 2))), &["duplicate"]),
        (
            "a text that gives the target away",
            table("x,status,y", 60, |i| format!("{},{},{}", noise(i, 1), ["open", "done"][i % 2], i % 2)),
            &["giveaway"],
        ),
        ("texts", table("a,b,y", 60, |i| format!("t{},Zürich {},{}", i % 5, i % 3, noise(i, 1))), &[]),
        ("two rows", "a,b,y\n1,2,3\n4,5,6\n".into(), &["few_rows"]),
        ("two rows of two classes", "a,b,y\n1,2,p\n4,5,q\n".into(), &["few_rows"]),
        ("one row", "a,b,y\n1,2,3\n".into(), &["few_rows", "constant"]),
        (
            "numbers whose squares overflow",
            table("a,b,y", 40, |i| format!("{}e300,{},{}", noise(i, 1), noise(i, 2), noise(i, 3))),
            &["overflow", "scales"],
        ),
        (
            "numbers whose squares are 0",
            table("a,b,y", 40, |i| format!("{}e-300,{},{}", noise(i, 1), noise(i, 2), noise(i, 3))),
            &["scales"],
        ),
        (
            "one huge number",
            table("a,b,y", 40, |i| format!("{},{},{}", huge(17)(i), noise(i, 2), noise(i, 3))),
            &["mistyped", "overflow", "scales"],
        ),
        (
            "one huge target",
            table("a,b,y", 40, |i| format!("{},{},{}", noise(i, 2), noise(i, 3), huge(17)(i))),
            &["training_fails", "mistyped"],
        ),
        ("more columns than rows", table(&header(50), 20, |i| row_of(50, i)), &["few_rows"]),
        ("200 columns", table(&header(200), 400, |i| row_of(200, i)), &[]),
        (
            "long names",
            table(&format!("{long},{long}2,y{long}"), 60, |i| {
                format!("{0},{0},{1}", noise(i, 1), [long, "b"][i * i % 7 % 2])
            }),
            &["duplicate"],
        ),
        (
            "names that a shell or an option would take apart",
            table("\"a b\",it's,--drop,\"c,d\",y", 40, |i| format!("{0},{0},5,{0},{1}", noise(i, 1), noise(i, 2))),
            &["duplicate", "duplicate", "constant"],
        ),
        (
            "sixty classes",
            table("x,z,y", 600, |i| format!("{},{},c{}", noise(i, 1), noise(i, 2), i * i % 601 % 60)),
            &[],
        ),
        (
            "a class of one row",
            table("x,y", 30, |i| format!("{},{}", noise(i, 1), if i == 3 { "b" } else { "a" })),
            &["imbalance"],
        ),
    ]
}

fn codes(found: &Value) -> Vec<&str> {
    found["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[test]
fn each_file_is_read_and_what_is_odd_about_it_is_named_the_worst_first() {
    let folder = Folder::new();
    for (what, text, expected) in files() {
        folder.write("d.csv", text);
        let found = succeed(&folder, &["doctor", "d.csv", "--rows", "4", "--json"]).json();
        let mut named = codes(&found);
        // Of what follows from chance in so few rows nothing is promised.
        named.retain(|code| *code != "mislabelled");
        assert_eq!(named, expected, "{what}: {}", found["findings"]);
        let severity = |finding: &Value| {
            ["problem", "warning", "note"].iter().position(|name| finding["severity"] == **name).unwrap()
        };
        let findings = found["findings"].as_array().unwrap();
        assert!(findings.is_sorted_by_key(severity), "{what}: {}", found["findings"]);
        for finding in findings {
            assert!(finding["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{what}: {finding}");
        }
        for kind in ["mislabelled", "mistyped"] {
            for row in found["suspicious_rows"][kind].as_array().unwrap() {
                assert_eq!(row["line"].as_u64(), row["row"].as_u64().map(|row| row + 2), "{what}: {row}");
            }
        }
    }
}

#[test]
fn every_page_fits_eighty_columns_and_says_no_number_that_is_none() {
    let folder = Folder::new();
    for (what, text, _) in files() {
        folder.write("d.csv", text);
        let run = succeed(&folder, &["doctor", "d.csv", "--rows", "4"]);
        assert_eq!(run.stderr, "", "{what}");
        for line in run.stdout.lines() {
            assert!(line.chars().count() <= 80 && line.trim_end() == line, "{what}: {line:?}");
        }
        let words: Vec<&str> = run.stdout.split_whitespace().collect();
        assert!(!words.iter().any(|word| ["inf", "NaN", "-inf"].contains(word)), "{what}: {}", run.stdout);
    }
}

#[test]
fn the_options_it_names_can_be_given_as_they_stand() {
    let folder = Folder::new();
    folder.write("d.csv", table("\"a b\",it's,--drop,y", 40, |i| format!("{0},{0},5,{1}", noise(i, 1), noise(i, 2))));
    let found = succeed(&folder, &["doctor", "d.csv", "--json"]).json();
    let remedies: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|finding| finding["remedy"].as_str().unwrap()).collect();
    assert_eq!(remedies, [r"--drop 'it'\''s'", "--drop=--drop"]);
    let mended = succeed(&folder, &["doctor", "d.csv", "--json", "--drop", "it's", "--drop=--drop"]).json();
    assert_eq!(codes(&mended), [""; 0]);
}

#[test]
fn what_overflows_is_a_problem_where_nothing_scales_it_down() {
    let folder = Folder::new();
    folder.write("d.csv", table("a,b,y", 40, |i| format!("{}e300,{},{}", noise(i, 1), noise(i, 2), noise(i, 3))));
    let found = succeed(&folder, &["doctor", "d.csv", "--json", "--no-standardize"]).json();
    assert_eq!(found["as_given"], Value::Null);
    assert_eq!(found["findings"][0]["severity"], "problem");
    assert!(found["findings"].to_string().contains("leave out --no-standardize"), "{}", found["findings"]);
}

#[test]
fn a_column_that_is_empty_in_every_row_is_named() {
    let folder = Folder::new();
    folder.write("d.csv", table("a,b,y", 20, |i| format!("{},,{}", noise(i, 1), noise(i, 2))));
    let run = gradus(&folder, &["doctor", "d.csv"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("every row has a missing value\nhelp: --drop b "), "{}", run.stderr);
    assert_eq!(codes(&succeed(&folder, &["doctor", "d.csv", "--drop", "b", "--json"]).json()), [""; 0]);
}
