//! How tables are read as training data.

use super::*;
use crate::data::{CsvOptions, Dataset};

fn table(text: &str) -> Table<f64> {
    Table::parse("a.csv", text, &CsvOptions::default()).unwrap()
}

fn infer(text: &str, options: &SchemaOptions) -> Result<(Schema, Vec<String>)> {
    Schema::infer(&table(text), options)
}

fn encode(text: &str, options: &SchemaOptions) -> Dataset<f64> {
    let table = table(text);
    Schema::infer(&table, options).unwrap().0.encode(&table).unwrap().data
}

#[test]
fn the_task_follows_from_the_target() {
    let cases = [
        ("x,y\n1,0\n2,1\n", Task::Binary, vec!["0", "1"]),
        ("x,y\n1,0\n2,0\n", Task::Regression, vec![]),
        ("x,y\n1,0\n2,2\n", Task::Regression, vec![]),
        ("x,y\n1,b\n2,a\n", Task::Binary, vec!["a", "b"]),
        ("x,y\n1,b\n2,a\n3,c\n", Task::Multiclass, vec!["a", "b", "c"]),
    ];
    for (text, task, classes) in cases {
        let (schema, _) = infer(text, &SchemaOptions::default()).unwrap();
        assert_eq!((schema.task, schema.classes), (task, classes.into_iter().map(String::from).collect()), "{text:?}");
    }
}

#[test]
fn classes_that_are_numbers_are_ordered_as_numbers() {
    let options = SchemaOptions { target_role: TargetRole::Classes, ..Default::default() };
    assert_eq!(infer("x,y\n1,10\n2,9\n3,9.0\n", &options).unwrap().0.classes, ["9", "10"]);
}

#[test]
fn text_features_become_one_column_for_each_value() {
    let data = encode("colour,x,y\nred,1,1.5\nblue,2,2.5\n", &SchemaOptions::default());
    assert_eq!(data.feature_names(), ["colour=blue", "colour=red", "x"]);
    assert_eq!(data.row(0), [0.0, 1.0, 1.0]);
    let codes = SchemaOptions { categorical: vec!["x".into()], ..Default::default() };
    let data = encode("x,y\n10,1.5\n9,2.5\n10.0,2\n", &codes);
    assert_eq!(data.feature_names(), ["x=9", "x=10"]);
    assert_eq!(data.row(2), [0.0, 1.0]);
}

#[test]
fn missing_values_are_refused_dropped_or_filled_by_policy() {
    let text = "x,c,y\n1,a,1.5\n,a,2.5\n3,?,3.5\n5,b,4.5\n";
    let message = infer(text, &SchemaOptions::default()).unwrap_err().to_string();
    assert!(message.starts_with("a.csv:3: column \"x\": the value is missing"), "{message}");
    let with = |missing| SchemaOptions { missing, ..Default::default() };
    let dropped = encode(text, &with(Missing::Drop));
    assert_eq!((dropped.rows(), dropped.place(1).unwrap().line), (2, Some(5)));
    let filled = encode(text, &with(Missing::Mean));
    assert_eq!(filled.row(1), [3.0, 1.0, 0.0]);
    assert_eq!(filled.row(2), [3.0, 1.0, 0.0]);
}

#[test]
fn a_text_among_numbers_is_a_mistake_unless_the_column_is_categorical() {
    let text = format!("x,y\n{}oops,1.5\n", "1,2.5\n".repeat(9));
    let message = infer(&text, &SchemaOptions::default()).unwrap_err().to_string();
    assert!(message.starts_with("a.csv:11: column \"x\": \"oops\" is not a number"), "{message}");
    let options = SchemaOptions { categorical: vec!["x".into()], ..Default::default() };
    assert_eq!(infer(&text, &options).unwrap().0.feature_names(), ["x=1", "x=oops"]);
    let mixed = infer("x,y\n1,2\noops,1.5\n", &SchemaOptions::default()).unwrap().0;
    assert_eq!(mixed.feature_names(), ["x=1", "x=oops"]);
}

#[test]
fn columns_are_chosen_by_name() {
    let options = SchemaOptions {
        target: Some("a".into()),
        drop: vec!["b".into()],
        sample_weight: Some("w".into()),
        ..Default::default()
    };
    let data = encode("a,b,w,x\n1.5,2,3,4\n2,2,1,5\n", &options);
    assert_eq!((data.feature_names(), data.weight(0)), (&["x".to_owned()][..], 3.0));
    for (option, message) in [
        (SchemaOptions { features: Some(vec!["x".into()]), ..Default::default() }, "no feature"),
        (SchemaOptions { target: Some("z".into()), ..Default::default() }, "there is no column \"z\""),
        (SchemaOptions { drop: vec!["z".into()], ..Default::default() }, "there is no column \"z\""),
    ] {
        let error = infer("a,b,w,x\n1.5,2,3,4\n2,2,1,5\n", &option).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn targets_that_do_not_suit_the_loss_are_refused() {
    let two = SchemaOptions { target_role: TargetRole::TwoClasses, ..Default::default() };
    let message = infer("x,y\n1,a\n2,b\n3,c\n", &two).unwrap_err().to_string();
    assert!(message.contains("3 classes (a, b, c)") && message.contains("--loss cross-entropy"), "{message}");
    let message = infer("x,y\n1,a\n2,a\n", &SchemaOptions::default()).unwrap_err().to_string();
    assert!(message.contains("single class, \"a\""), "{message}");
    let few = SchemaOptions { max_categories: 2, ..Default::default() };
    let message = infer("n,y\na,1.5\nb,2\nc,3\n", &few).unwrap_err().to_string();
    assert!(message.contains("3 different texts, more than 2") && message.contains("--drop n"), "{message}");
}

#[test]
fn a_numeric_target_that_looks_like_class_codes_is_remarked_on() {
    let text = format!("x,y\n{}", "1,0\n2,1\n3,2\n".repeat(4));
    let (_, notes) = infer(&text, &SchemaOptions::default()).unwrap();
    assert!(notes[0].contains("--loss cross-entropy"), "{notes:?}");
}
