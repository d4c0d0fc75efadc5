//! Every console block of README: its commands are run, and what they print is compared.

#![cfg(unix)] // The blocks are written for a Unix shell.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Folder, program};

/// A command and the lines printed below it.
struct Shown<'a> {
    command: &'a str,
    lines: Vec<&'a str>,
}

fn shown(readme: &str) -> Vec<Vec<Shown<'_>>> {
    let mut blocks = Vec::new();
    for block in readme.split("```console\n").skip(1) {
        let mut commands: Vec<Shown<'_>> = Vec::new();
        for line in block.split("\n```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => commands.push(Shown { command, lines: Vec::new() }),
                None => commands.last_mut().expect("a block begins with a command").lines.push(line),
            }
        }
        blocks.push(commands);
    }
    blocks
}

/// Standard error, without lines of progress, and then standard output.
fn run(folder: &Folder, command: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = match command.strip_prefix("cargo run --release --example ") {
        Some(example) => Command::new(program(example)).current_dir(root).output(),
        None => {
            let gradus = assert_cmd::cargo::cargo_bin!("gradus");
            let path = format!("{}:{}", gradus.parent().unwrap().display(), std::env::var("PATH").unwrap());
            Command::new("sh").args(["-c", command]).current_dir(folder.path()).env("PATH", path).output()
        }
    };
    let output = output.unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    err.lines().filter(|line| !line.starts_with("epoch ")).chain(out.lines()).map(|line| format!("{line}\n")).collect()
}

/// Words are equal, and numbers are within a percent of each other or are measures of time.
fn agree(expected: &str, found: &str) -> bool {
    let words =
        |line: &str| -> Vec<String> { line.split([' ', ',']).filter(|w| !w.is_empty()).map(Into::into).collect() };
    let (expected, found) = (words(expected), words(found));
    let is_time = |at: usize| expected.get(at + 1).is_some_and(|unit| ["µs", "ms", "s"].contains(&unit.as_str()));
    expected.len() == found.len()
        && expected.iter().zip(&found).enumerate().all(|(at, (e, f))| match (e.parse::<f64>(), f.parse::<f64>()) {
            (Ok(_), Ok(_)) if is_time(at) => true,
            (Ok(e), Ok(f)) => (e - f).abs() <= 0.01 * e.abs(),
            _ => e == f || (["µs", "ms", "s"].contains(&e.as_str()) && ["µs", "ms", "s"].contains(&f.as_str())),
        })
}

#[test]
fn what_readme_shows_is_what_the_commands_print() {
    let readme = include_str!("../README.md");
    let folder = Folder::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::os::unix::fs::symlink(root.join("data"), folder.path().join("data")).unwrap();
    let blocks = shown(readme);
    assert!(blocks.len() >= 4, "README shows too little");
    for Shown { command, lines } in blocks.iter().flatten() {
        let printed = run(&folder, command);
        assert_eq!(printed.lines().count(), lines.len(), "$ {command}\n{printed}");
        for (expected, found) in lines.iter().zip(printed.lines()) {
            assert!(agree(expected, found), "$ {command}\nREADME: {expected}\nnow:    {found}");
        }
    }
}

#[test]
fn the_comparison_notices_what_differs() {
    assert!(agree("in 1.5 ms, loss 0.1000", "in 99.5 µs, loss 0.1001"));
    assert!(!agree("loss 0.100", "loss 0.102"));
    assert!(!agree("loss 0.100", "loss 0.100 more"));
    assert!(!agree("saved m", "saved n"));
}
