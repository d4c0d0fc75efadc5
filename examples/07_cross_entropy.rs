//! Lesson 7: cross-entropy, whose gradient is softmax minus one-hot, and how not to overflow.
//!
//! Run it with `cargo run --example 07_cross_entropy`.

use gradus::calculus::softmax;
use gradus::data::{CsvOptions, Schema, SchemaOptions, Table, TargetRole};
use gradus::{CrossEntropy, Loss, Reduction, Targets};
use ndarray::array;

/// Softmax as the formula is written.
fn naive_softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|z| z.exp()).sum();
    logits.iter().map(|z| z.exp() / sum).collect()
}

fn main() -> gradus::Result<()> {
    // One row: the loss is -ln(probability of the label).
    let logits: [f64; 4] = [2.0, 1.0, 0.5, 3.0];
    let label = 3;
    let row = array![logits];
    let value = CrossEntropy::new().evaluate(row.view(), &Targets::classes(&[label]), Reduction::Mean)?;
    let s = softmax(&logits)?;
    println!("class  logit   softmax  one-hot  difference   gradient");
    for k in 0..4 {
        let one_hot = if k == label { 1.0 } else { 0.0 };
        let (difference, gradient) = (s[k] - one_hot, value.gradient[[0, k]]);
        println!("{k:>5}  {:>5}  {:>8.6}  {one_hot:>7}  {difference:>10.6}  {gradient:>9.6}", logits[k], s[k]);
        assert!((gradient - difference).abs() < 1e-15);
    }
    println!("loss {:.6} = -ln({:.6})", value.loss, s[label]);
    println!("Only the label's entry is negative: its logit is to rise, all others to fall.");

    // A batch: 32 rows of 10 logits. The loss is the mean over the rows, so each row's gradient is divided by 32.
    let table = Table::<f64>::read("data/lesson/logits.csv", &CsvOptions::default())?;
    let options = SchemaOptions { target_role: TargetRole::Classes, ..Default::default() };
    let (schema, _notes) = Schema::infer(&table, &options)?;
    let data = schema.encode(&table)?.data;
    let (rows, classes) = data.features().dim();
    let batch = CrossEntropy::new().evaluate(data.features(), &data.targets(), Reduction::Mean)?;
    let sum = CrossEntropy::new().evaluate(data.features(), &data.targets(), Reduction::Sum)?;
    let (mut largest_error, mut largest_sum) = (0.0_f64, 0.0_f64);
    for i in 0..rows {
        let label = data.targets().row(i).class();
        for (k, s) in softmax(data.row(i))?.into_iter().enumerate() {
            let by_hand = (s - if k == label { 1.0 } else { 0.0 }) / rows as f64;
            largest_error = largest_error.max((batch.gradient[[i, k]] - by_hand).abs());
        }
        largest_sum = largest_sum.max(batch.gradient.row(i).sum().abs());
    }
    let norm = |gradient: &ndarray::Array2<f64>| gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    println!("\nbatch of {rows} rows, {classes} classes      mean        sum  sum / mean");
    println!("loss                      {:>9.6}  {:>9.6}  {:>10.6}", batch.loss, sum.loss, sum.loss / batch.loss);
    let (of_mean, of_sum) = (norm(&batch.gradient), norm(&sum.gradient));
    println!("|gradient|                {of_mean:>9.6}  {of_sum:>9.6}  {:>10.6}", of_sum / of_mean);
    println!("largest |gradient - (softmax - one-hot) / {rows}|  {largest_error:.1e}");
    println!("largest |sum of a row of the gradient|          {largest_sum:.1e}");

    // e^1000 is too large for a number, e^-1000 too small. But adding one number to every logit changes nothing:
    // so the largest is subtracted first, from each row its own, and e^0 = 1 is the largest that has to be computed.
    println!("\ne^1000 = {}, e^-1000 = {}", 1000f64.exp(), (-1000f64).exp());
    println!("\nlogits    naive softmax                       stable softmax");
    for (name, shift) in [("as above", 0.0), ("+ 1000", 1000.0), ("- 1000", -1000.0)] {
        let shifted = logits.map(|z| z + shift);
        let (naive, stable) = (naive_softmax(&shifted), softmax(&shifted)?);
        let text = |s: &[f64]| s.iter().map(|s| format!("{s:<8.5}")).collect::<String>();
        println!("{name:<8}  {}    {}", text(&naive), text(&stable).trim_end());
        assert!(naive.iter().all(|p| p.is_nan() == (shift != 0.0)));
        assert!(stable.iter().zip(&s).all(|(stable, s)| (stable - s).abs() < 1e-14));
    }
    // The loss takes logits, never probabilities: -ln of a probability that came out as 0 would be infinite.
    let far = CrossEntropy::new().evaluate(array![[0.0, 1000.0]].view(), &Targets::classes(&[0]), Reduction::Mean)?;
    println!("\nlogits (0, 1000), label 0: softmax {:?}, but the loss is {}", softmax(&[0.0, 1000.0])?, far.loss);

    // tests/data/reference/lesson.json, cross_entropy and cross_entropy_batch (PyTorch 2.15).
    let gradient = [0.23205671194331448, 0.08536889350978889, 0.05177885129942981, -0.3692044567525332];
    assert!((value.loss - 0.46077348915685123).abs() < 1e-15);
    assert!(value.gradient.iter().zip(gradient).all(|(g, expected)| (g - expected).abs() < 1e-15));
    assert_eq!(batch.gradient.dim(), (32, 10));
    assert!((batch.loss - 2.8152515647534115).abs() < 1e-12 && (of_mean - 0.1811610629064042).abs() < 1e-12);
    let first_row = [
        [0.0025747569994551, 0.0013644845064229, 0.0029943570845678, -0.0240644586302009, 0.0012397225849642],
        [0.0012397429386167, 0.0076008024178509, 0.0033752714025465, 0.0009797739683830, 0.0026955467273938],
    ]
    .concat();
    assert!(batch.gradient.row(0).iter().zip(first_row).all(|(g, expected)| (g - expected).abs() < 1e-15));
    assert!(largest_error < 1e-16 && largest_sum < 1e-16);
    assert!((sum.loss / batch.loss - 32.0).abs() < 1e-12 && (of_sum / of_mean - 32.0).abs() < 1e-12);
    assert!(far.loss == 1000.0);
    Ok(())
}
