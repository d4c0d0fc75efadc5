//! No tuning: with nothing but the weight decay, the objective ends near its least value.

mod common;

use common::{Folder, data, reference, succeed};
use serde_json::Value;

/// Data, weight decay, the largest relative distance from the optimum, and what the target's values cannot tell.
const CASES: [(&str, &str, f64, &[&str]); 8] = [
    ("iris", "0.01", 1e-3, &[]),
    ("wine", "0.01", 1e-3, &[]),
    ("breast_cancer", "0.01", 1e-3, &[]),
    ("digits", "0.01", 1e-3, &["--loss", "cross-entropy"]),
    ("iris", "0.001", 1e-2, &[]),
    ("wine", "0.001", 1e-2, &[]),
    ("breast_cancer", "0.001", 1e-2, &[]),
    ("digits", "0.001", 1e-2, &["--loss", "cross-entropy"]),
];

fn optimum() -> Value {
    let text = std::fs::read_to_string(reference("optimum.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_objective_ends_near_its_optimum_without_a_learning_rate() {
    let (folder, optimum) = (Folder::new(), optimum());
    for (name, decay, distance, options) in CASES {
        let file = data(&format!("{name}.csv"));
        let mut arguments = vec!["train", &file, "--weight-decay", decay, "--json", "--quiet"];
        arguments.extend(options);
        let objective = succeed(&folder, &arguments).json()["objective"].as_f64().unwrap();
        let best = optimum[format!("{name} lambda={decay}")]["objective"].as_f64().unwrap();
        let excess = objective / best - 1.0;
        assert!((-1e-9..distance).contains(&excess), "{name} at {decay}: {excess:e}");
    }
}

#[test]
fn a_regression_ends_at_least_squares() {
    let (folder, optimum) = (Folder::new(), optimum());
    let expected = &optimum["diabetes"];
    let run = succeed(&folder, &["train", &data("diabetes.csv"), "--json", "--quiet", "-o", "m"]).json();
    let excess = run["metrics"]["mse"].as_f64().unwrap() / expected["objective"].as_f64().unwrap() - 1.0;
    assert!((-1e-9..1e-3).contains(&excess), "{excess:e}");
    assert!((run["metrics"]["r2"].as_f64().unwrap() - expected["r2"].as_f64().unwrap()).abs() < 1e-4);
    let model = succeed(&folder, &["inspect", "m", "--json"]).json();
    for (name, weight) in model["features"].as_array().unwrap().iter().zip(model["weight"][0].as_array().unwrap()) {
        let best = expected["weight"][name.as_str().unwrap()].as_f64().unwrap();
        assert!((weight.as_f64().unwrap() - best).abs() < 0.05 * best.abs().max(1.0), "{name}: {weight} {best}");
    }
}

#[test]
fn what_is_given_is_kept_and_the_rest_is_chosen_to_match() {
    let folder = Folder::new();
    let iris = data("iris.csv");
    let config = |options: &[&str]| {
        let mut arguments = vec!["train", &iris, "--json", "--quiet"];
        arguments.extend(options);
        succeed(&folder, &arguments).json()["config"].clone()
    };
    let given = config(&["--batch-size", "30", "--epochs", "7", "--momentum", "0.5", "--schedule", "exponential:0.99"]);
    assert_eq!(given["batch_size"], 30);
    assert_eq!(given["epochs"], 7);
    assert_eq!((&given["momentum"], &given["nesterov"]), (&0.5.into(), &false.into()));
    assert_eq!(given["schedule"], "exponential:0.99");
    assert_eq!(given["lr_auto"], true);
    let noisy = config(&["--batch-size", "30"]);
    assert!(noisy["lr"].as_f64() < config(&[])["lr"].as_f64(), "a small batch takes smaller steps");
    assert!(noisy["schedule"].as_str().unwrap().starts_with("cosine:"), "{noisy}");

    let fixed = config(&["--lr", "0.1"]);
    let expected = serde_json::json!(["constant", 32, 100, 0.0, false]);
    let found = ["schedule", "batch_size", "epochs", "momentum", "lr_auto"].map(|name| fixed[name].clone());
    assert_eq!(serde_json::json!(found), expected);
}

#[test]
fn small_batches_end_near_the_optimum_too() {
    let (folder, optimum) = (Folder::new(), optimum());
    for name in ["iris", "breast_cancer"] {
        let file = data(&format!("{name}.csv"));
        let arguments = ["train", &file, "--weight-decay", "0.01", "--batch-size", "16", "--json", "--quiet"];
        let objective = succeed(&folder, &arguments).json()["objective"].as_f64().unwrap();
        let best = optimum[format!("{name} lambda=0.01")]["objective"].as_f64().unwrap();
        assert!(objective / best - 1.0 < 1e-3, "{name}: {objective} {best}");
    }
}
