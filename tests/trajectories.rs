//! PyTorch's trajectories through the command and its log.

mod common;

use common::{Folder, gradus_at_level, reference, succeed};
use gradus::kernels::Level;
use serde_json::Value;

/// Equal to 1e-12, relative to the larger of the value and the series' scale.
fn assert_close(name: &str, step: usize, found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1e-3), "{name}, step {step}: {found} {expected}");
}

/// `step_size=4,gamma=0.5` and its kin as `--schedule` takes them.
fn schedule(text: &str) -> String {
    let numbers: Vec<&str> = text.split([',', ' ']).filter_map(|part| part.split_once('=')).map(|(_, n)| n).collect();
    let name = match text {
        t if t.starts_with("step_size") => "step",
        t if t.starts_with("exponential") => "exponential",
        t if t.starts_with("cosine") => "cosine",
        t if t.starts_with("linear") => "linear",
        _ => panic!("{text}"),
    };
    format!("{name}:{}", numbers.join(":"))
}

#[test]
fn the_log_of_a_run_follows_pytorch() {
    let torch: Value = serde_json::from_str(&std::fs::read_to_string(reference("torch.json")).unwrap()).unwrap();
    let folder = Folder::new();
    let runs = torch["trajectories"].as_array().unwrap();
    let levels = Level::available();
    let mut checked = 0;
    for (run, level) in runs.iter().flat_map(|run| levels.iter().map(move |level| (run, level))) {
        let task = run["task"].as_str().unwrap();
        let file = reference(&format!("torch_{task}.csv"));
        let loss = match task {
            "regression" => "mse",
            "softmax" => "cross-entropy",
            _ => "binary-cross-entropy",
        };
        let steps = run["steps"].as_u64().unwrap() as usize;
        let batch = run["batch"].as_u64().unwrap() as usize;
        let epochs = steps.div_ceil(23_usize.div_ceil(batch)).to_string();
        let mut arguments: Vec<String> = ["train", &file, "--loss", loss, "--epochs", &epochs].map(String::from).into();
        for fixed in
            ["--init", "zeros", "--no-shuffle", "--no-standardize", "--decay-bias", "--log", "l.jsonl", "-o", "m"]
        {
            arguments.push(fixed.into());
        }
        for (name, option) in [
            ("batch", "--batch-size"),
            ("lr", "--lr"),
            ("momentum", "--momentum"),
            ("dampening", "--dampening"),
            ("weight_decay", "--weight-decay"),
            ("clip_norm", "--clip-norm"),
        ] {
            if let Some(value) = run.get(name) {
                arguments.extend([option.to_owned(), value.to_string()]);
            }
        }
        if run.get("nesterov").is_some_and(|nesterov| nesterov == true) {
            arguments.push("--nesterov".into());
        }
        if let Some(text) = run.get("schedule").and_then(Value::as_str) {
            arguments.extend(["--schedule".to_owned(), schedule(text)]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        gradus_at_level(&folder, &arguments, level.name());

        let log = folder.text("l.jsonl");
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let logged: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "step").collect();
        assert_eq!(logged.len(), steps, "{arguments:?}");
        for (step, line) in logged.iter().enumerate() {
            for name in ["loss", "grad_norm"] {
                let expected = run[name][step].as_f64().unwrap();
                assert_close(&format!("{arguments:?} {name}"), step + 1, line[name].as_f64().unwrap(), expected);
            }
            if let Some(lr) = run["lr_at_step"].get(step) {
                assert_close("lr", step + 1, line["lr"].as_f64().unwrap(), lr.as_f64().unwrap());
            }
        }
        let model = succeed(&folder, &["inspect", "m", "--json"]).json();
        for (found, expected) in model["weight"].as_array().unwrap().iter().zip(run["weight"].as_array().unwrap()) {
            for (found, expected) in found.as_array().unwrap().iter().zip(expected.as_array().unwrap()) {
                assert_close("weight", steps, found.as_f64().unwrap(), expected.as_f64().unwrap());
            }
        }
        for (found, expected) in model["bias"].as_array().unwrap().iter().zip(run["bias"].as_array().unwrap()) {
            assert_close("bias", steps, found.as_f64().unwrap(), expected.as_f64().unwrap());
        }
        checked += 1;
    }
    assert_eq!(checked, 31 * levels.len());
}
