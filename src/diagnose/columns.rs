//! Columns that carry nothing, that others make up, or that say too much.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

use ndarray::{Array2, Axis};

use super::krylov::{Krylov, Matrix};
use super::spectrum::WORK;
use crate::data::{Dataset, Standardizer};
use crate::loss::{Target, Targets};
use crate::scalar::Scalar;

/// A column of a file, and the features it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name.
    pub name: String,
    /// Its features: one of a number, one for each value of a text.
    pub features: Range<usize>,
    /// Whether it is a text, with a feature for each value.
    pub one_hot: bool,
}

/// A column that others make up.
#[derive(Debug, Clone, PartialEq)]
pub struct Collinear {
    /// The column.
    pub column: usize,
    /// The columns that make it up, the heaviest first.
    pub with: Vec<usize>,
    /// How many times the variance of its coefficient is what it would be without them (the variance inflation factor);
    /// infinite if they make it up exactly.
    pub inflation: f64,
}

/// What is odd about the columns. Each is named by its index among the [`SourceColumn`]s.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnFacts {
    /// Those with one value in all rows.
    pub constant: Vec<usize>,
    /// Those that repeat an earlier one, with that one.
    pub duplicates: Vec<(usize, usize)>,
    /// Those whose variance inflation is above 100, the worst first; of columns that make each other up, one.
    pub collinear: Vec<Collinear>,
    /// Those that count the rows: a different whole number in each, without large gaps.
    pub row_numbers: Vec<usize>,
    /// Texts that name the rows: nearly every row has a value of its own.
    pub identifiers: Vec<usize>,
    /// Those that alone tell the target: a number that follows it, or parts its classes, without an exception.
    pub giveaways: Vec<usize>,
    /// The numbers of the largest and the smallest standard deviation that is not 0, and their quotient.
    pub scales: Option<(usize, usize, f64)>,
}

/// A variance inflation above this is worth a word.
const INFLATION: f64 = 100.0;

/// A variance inflation beyond what rounding leaves of an exact sum.
const EXACT: f64 = 1e12;

/// A correlation with the target above this gives it away.
const TELLS: f64 = 0.9999;

/// The most features that are compared with all others together.
const MOST_FEATURES: usize = 300;

/// Looks at the columns of a data set as given, not standardised.
///
/// # Panics
/// If `columns` name features that the data do not have.
pub fn column_facts<T: Scalar>(data: &Dataset<T>, columns: &[SourceColumn]) -> ColumnFacts {
    let mut facts = ColumnFacts::default();
    let numbers = || columns.iter().enumerate().filter(|(_, column)| !column.one_hot);
    for (index, column) in columns.iter().enumerate() {
        if column.features.clone().all(|feature| is_constant(data, feature)) {
            facts.constant.push(index);
        }
    }
    facts.duplicates = duplicates(data, columns, &facts.constant);
    let plain = |index: &usize| {
        !facts.constant.contains(index) && !facts.duplicates.iter().any(|(repeated, _)| repeated == index)
    };
    facts.row_numbers =
        numbers().filter(|(_, column)| counts_rows(data, column.features.start)).map(|(index, _)| index).collect();
    let names_rows = |(_, column): &(usize, &SourceColumn)| column.one_hot && names_rows(data.rows(), column);
    facts.identifiers = columns.iter().enumerate().filter(names_rows).map(|(index, _)| index).collect();
    if columns.len() > 1 {
        let telling = (0..columns.len()).filter(plain).filter(|&index| tells_target(data, &columns[index]));
        facts.giveaways = telling.collect();
    }
    let deviations: Vec<(usize, f64)> = numbers()
        .filter(|(index, _)| plain(index))
        .map(|(index, column)| (index, deviation(data, column.features.start)))
        .filter(|(_, deviation)| *deviation > 0.0 && deviation.is_finite())
        .collect();
    let by_size = |a: &&(usize, f64), b: &&(usize, f64)| a.1.total_cmp(&b.1);
    if let (Some(widest), Some(narrowest)) = (deviations.iter().max_by(by_size), deviations.iter().min_by(by_size)) {
        facts.scales = Some((widest.0, narrowest.0, widest.1 / narrowest.1));
    }
    facts.collinear = collinear(data, columns, &(0..columns.len()).filter(plain).collect::<Vec<_>>());
    facts
}

fn values<T: Scalar>(data: &Dataset<T>, feature: usize) -> impl Iterator<Item = T> {
    (0..data.rows()).map(move |row| data.row(row)[feature])
}

fn is_constant<T: Scalar>(data: &Dataset<T>, feature: usize) -> bool {
    let first = data.row(0)[feature];
    values(data, feature).all(|value| value == first)
}

fn duplicates<T: Scalar>(data: &Dataset<T>, columns: &[SourceColumn], but: &[usize]) -> Vec<(usize, usize)> {
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut found = Vec::new();
    for (index, column) in columns.iter().enumerate().filter(|(index, _)| !but.contains(index)) {
        let mut hasher = DefaultHasher::new();
        for feature in column.features.clone() {
            // Adding 0 turns -0 into 0, which it equals.
            values(data, feature).for_each(|value| hasher.write_u64((value.as_f64() + 0.0).to_bits()));
        }
        let alike = seen.entry(hasher.finish()).or_default();
        let same = |other: &&usize| {
            let pairs = columns[**other].features.clone().zip(column.features.clone());
            columns[**other].features.len() == column.features.len()
                && pairs.into_iter().all(|(a, b)| (0..data.rows()).all(|row| data.row(row)[a] == data.row(row)[b]))
        };
        match alike.iter().find(same) {
            Some(&first) => found.push((index, first)),
            None => alike.push(index),
        }
    }
    found
}

/// Whether a text has nearly as many values as there are rows.
fn names_rows(rows: usize, column: &SourceColumn) -> bool {
    const FEWEST: usize = 10;
    rows >= FEWEST && column.features.len() * 10 >= rows * 9
}

/// Whether a column has a different whole number in each row, with at most one in ten left out.
fn counts_rows<T: Scalar>(data: &Dataset<T>, feature: usize) -> bool {
    const FEWEST: usize = 10;
    let mut all: Vec<f64> = Vec::with_capacity(data.rows());
    for value in values(data, feature) {
        let value = value.as_f64();
        if value.fract() != 0.0 {
            return false;
        }
        all.push(value);
    }
    all.sort_by(f64::total_cmp);
    let range = all[all.len() - 1] - all[0];
    all.len() >= FEWEST && range <= 1.1 * all.len() as f64 && all.windows(2).all(|pair| pair[0] < pair[1])
}

fn deviation<T: Scalar>(data: &Dataset<T>, feature: usize) -> f64 {
    let n = data.rows() as f64;
    // In units of the largest: the squares of what is very large or small have no number.
    let unit = largest(values(data, feature).map(|v| v.as_f64()));
    let mean = values(data, feature).map(|v| v.as_f64() / unit / n).sum::<f64>();
    unit * values(data, feature).map(|v| (v.as_f64() / unit - mean).powi(2) / n).sum::<f64>().sqrt()
}

/// The largest magnitude; 1 where all are 0.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    let largest = values.fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if largest > 0.0 { largest } else { 1.0 }
}

/// The class of a row, of any kind of class target; `None` for numbers.
pub(super) fn class_of<T: Scalar>(targets: &Targets<'_, T>, row: usize) -> Option<usize> {
    match targets.row(row) {
        Target::Class(class) => Some(class),
        Target::Values([value]) if value.is_zero() || *value == T::one() => Some(usize::from(*value == T::one())),
        Target::Values(_) => None,
    }
}

fn tells_target<T: Scalar>(data: &Dataset<T>, column: &SourceColumn) -> bool {
    let targets = data.targets();
    let classes: Option<Vec<usize>> = (0..data.rows()).map(|row| class_of(&targets, row)).collect();
    let feature = column.features.start;
    let Some(classes) = classes else { return !column.one_hot && follows_target(data, feature) };
    let mut sizes = vec![0; classes.iter().max().map_or(0, |class| class + 1)];
    classes.iter().for_each(|&class| sizes[class] += 1);
    // Few rows are parted by chance.
    const FEWEST: usize = 5;
    if sizes.iter().any(|size| *size < FEWEST) {
        return false;
    }
    if column.one_hot {
        // Each value comes with one class alone, and is no row's own.
        let mut class_of_value = vec![None; column.features.len()];
        let all_agree = (0..data.rows()).all(|row| {
            let here = &data.row(row)[column.features.clone()];
            let Some(value) = here.iter().position(|v| !v.is_zero()) else { return false };
            *class_of_value[value].get_or_insert(classes[row]) == classes[row]
        });
        return all_agree && column.features.len() * FEWEST <= data.rows();
    }
    let mut sorted: Vec<(f64, usize)> =
        values(data, feature).zip(&classes).map(|(value, class)| (value.as_f64(), *class)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let changes = sorted.windows(2).filter(|pair| pair[0].1 != pair[1].1);
    let mut count = 0;
    changes.into_iter().all(|pair| {
        count += 1;
        pair[0].0 < pair[1].0
    }) && count + 1 == sizes.len()
}

/// Whether a number is the target but for a factor and a constant, to four digits.
fn follows_target<T: Scalar>(data: &Dataset<T>, feature: usize) -> bool {
    let targets = data.targets();
    let pair = |row: usize| match targets.row(row) {
        Target::Values([y]) => Some((data.row(row)[feature].as_f64(), y.as_f64())),
        _ => None,
    };
    let Some(pairs) = (0..data.rows()).map(pair).collect::<Option<Vec<_>>>() else { return false };
    const FEWEST: usize = 10;
    let n = pairs.len() as f64;
    let (largest_x, largest_y) = (largest(pairs.iter().map(|p| p.0)), largest(pairs.iter().map(|p| p.1)));
    let pairs: Vec<(f64, f64)> = pairs.iter().map(|(x, y)| (x / largest_x, y / largest_y)).collect();
    let (mx, my) = pairs.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in &pairs {
        xx += (x - mx) * (x - mx);
        xy += (x - mx) * (y - my);
        yy += (y - my) * (y - my);
    }
    pairs.len() >= FEWEST && xy.abs() > TELLS * (xx * yy).sqrt()
}

/// Columns of which the others, together, leave next to nothing.
fn collinear<T: Scalar>(data: &Dataset<T>, columns: &[SourceColumn], plain: &[usize]) -> Vec<Collinear> {
    // The values of a text add up to 1, which the bias has: the last says nothing new.
    let feature_columns: Vec<(usize, usize)> = plain
        .iter()
        .flat_map(|&index| {
            let column = &columns[index];
            let end = if column.one_hot { column.features.end - 1 } else { column.features.end };
            (column.features.start..end).filter(|&f| !is_constant(data, f)).map(move |feature| (index, feature))
        })
        .collect();
    let width = feature_columns.len();
    if !(2..=MOST_FEATURES).contains(&width) || data.rows() <= width {
        return Vec::new();
    }
    let features: Vec<usize> = feature_columns.iter().map(|(_, feature)| *feature).collect();
    let picked = data.features().select(Axis(1), &features).mapv(|v| v.as_f64());
    let Ok(mut picked) = Dataset::with_values(picked, Array2::zeros((data.rows(), 1))) else { return Vec::new() };
    if Standardizer::fit(&picked).apply(&mut picked).is_err() {
        return Vec::new();
    }
    let matrix = Matrix::new(&picked, &vec![1.0; picked.rows()], false, WORK);
    let krylov = Krylov::of(&matrix, vec![0.0; matrix.rows()], width);
    // The diagonal of the inverse of the correlation matrix.
    let unit = |at: usize| (0..width).map(|i| if i == at { 1.0 } else { 0.0 }).collect::<Vec<f64>>();
    let square = |z: Vec<f64>| z.iter().map(|z| z * z).sum::<f64>();
    let mut worst: Vec<(usize, f64)> = (0..width).map(|at| (at, square(krylov.whiten(&unit(at))))).collect();
    worst.retain(|(_, inflation)| *inflation > INFLATION);
    worst.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut covered = vec![false; columns.len()];
    let mut found = Vec::new();
    for (at, inflation) in worst {
        let index = feature_columns[at].0;
        if covered[index] {
            continue;
        }
        // Its regression on the others: a row of the inverse, divided by the diagonal.
        let row = krylov.unwhiten(&krylov.whiten(&unit(at)));
        let mut with: Vec<(usize, f64)> =
            (0..width).filter(|&i| feature_columns[i].0 != index).map(|i| (i, (row[i] / row[at]).abs())).collect();
        with.sort_by(|a, b| b.1.total_cmp(&a.1));
        let heaviest = with.first().map_or(0.0, |first| first.1);
        let mut names: Vec<usize> = Vec::new();
        // What takes part exactly takes part however small its scale.
        let exact = inflation > EXACT;
        let least = if exact { 1e-6 } else { 0.1 };
        for (i, _) in with.iter().take_while(|(_, share)| *share > least * heaviest) {
            let other = feature_columns[*i].0;
            if !names.contains(&other) {
                names.push(other);
            }
        }
        covered[index] = true;
        names.iter().for_each(|&other| covered[other] = true);
        let inflation = if exact { f64::INFINITY } else { inflation };
        found.push(Collinear { column: index, with: names, inflation });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise of 60 rows, as good as random.
    fn noise(row: usize, seed: usize) -> f64 {
        ((row * 7919 + seed * 104729 + row * row * 31) % 1009) as f64 / 1009.0
    }

    fn facts(features: Vec<Vec<f64>>, one_hot: &[Range<usize>], target: impl Fn(usize) -> f64) -> ColumnFacts {
        let rows = features[0].len();
        let x = Array2::from_shape_fn((rows, features.len()), |(r, c)| features[c][r]);
        let data = Dataset::with_values(x, Array2::from_shape_fn((rows, 1), |(r, _)| target(r))).unwrap();
        let mut columns: Vec<SourceColumn> = (0..features.len())
            .filter(|c| !one_hot.iter().any(|range| range.contains(c)))
            .map(|c| SourceColumn { name: format!("c{c}"), features: c..c + 1, one_hot: false })
            .collect();
        columns.extend(one_hot.iter().map(|r| SourceColumn {
            name: "text".into(),
            features: r.clone(),
            one_hot: true,
        }));
        column_facts(&data, &columns)
    }

    fn column(value: impl Fn(usize) -> f64) -> Vec<f64> {
        (0..60).map(value).collect()
    }

    #[test]
    fn each_oddity_is_found_in_its_column_alone() {
        let features = vec![
            column(|r| noise(r, 1)),
            column(|_| 7.0),
            column(|r| noise(r, 1)),
            column(|r| ((r * 7) % 60) as f64 + 1.0),
            column(|r| 1000.0 * noise(r, 2)),
            column(|r| noise(r, 1) + noise(r, 2) + 1.0),
            column(|r| 3.0 * (noise(r, 5) + noise(r, 1)) + 2.0),
        ];
        let facts = facts(features, &[], |r| noise(r, 5) + noise(r, 1));
        assert_eq!((facts.constant, facts.duplicates), (vec![1], vec![(2, 0)]));
        assert_eq!((facts.row_numbers, facts.giveaways), (vec![3], vec![6]));
        assert_eq!(facts.scales.map(|(widest, _, _)| widest), Some(4));
        assert_eq!(facts.collinear.len(), 1, "{:?}", facts.collinear);
        let Collinear { column, with, inflation } = &facts.collinear[0];
        let mut all = [&[*column][..], with].concat();
        all.sort_unstable();
        assert_eq!((all, *inflation), (vec![0, 4, 5], f64::INFINITY));
    }

    #[test]
    fn texts_that_tell_the_class_are_found_and_their_values_are_not_collinear() {
        let letter = |value: usize| column(move |r| f64::from(u8::from(r % 3 == value)));
        let mut features: Vec<Vec<f64>> = (0..3).map(letter).collect();
        features.push(column(|r| noise(r, 1)));
        let told = facts(features.clone(), &[Range { start: 0, end: 3 }], |r| f64::from(u8::from(r % 3 == 1)));
        assert_eq!((told.giveaways, told.collinear), (vec![1], vec![]));
        let untold = facts(features, &[Range { start: 0, end: 3 }], |r| f64::from(u8::from(r % 2 == 1)));
        assert_eq!(untold.giveaways, [0; 0]);
    }

    #[test]
    fn a_number_gives_classes_away_if_it_parts_them() {
        let parted = |overlap: usize| {
            let features = vec![
                column(move |r| if r % 2 == 0 || r == overlap { 1.0 } else { 2.0 + r as f64 }),
                column(|r| noise(r, 1)),
            ];
            facts(features, &[], |r| (r % 2) as f64).giveaways
        };
        assert_eq!((parted(100), parted(31)), (vec![0], vec![]));
    }
}
