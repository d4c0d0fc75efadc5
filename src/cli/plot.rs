//! Curves drawn in characters.

use super::output::figure;

/// A series and the character it is drawn with.
pub struct Curve<'a> {
    pub mark: char,
    pub values: &'a [f64],
}

/// Where two curves meet.
pub const BOTH: char = '*';

const ROWS: usize = 12;
const LABEL: usize = 11;

/// The axis: linear, or of powers of ten where the values span more than these.
const LOG_FROM: f64 = 20.0;

/// Lines of at most `width` characters, and whether the axis is one of logarithms. Values that are not finite are left
/// out.
pub fn plot(curves: &[Curve<'_>], width: usize) -> (Vec<String>, bool) {
    let finite = || curves.iter().flat_map(|curve| curve.values).copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return (Vec::new(), false);
    }
    // A loss of 0 has no logarithm: it stands at the bottom, with the least that has one.
    let least = finite().filter(|value| *value > 0.0).fold(high, f64::min);
    let log = low >= 0.0 && high > LOG_FROM * least;
    let scale = |value: f64| if log { value.max(least).log10() } else { value };
    let (bottom, top) = (scale(low), scale(high));
    let span = if top > bottom { top - bottom } else { 1.0 };

    let columns = width - LABEL - 2;
    let longest = curves.iter().map(|curve| curve.values.len()).max().unwrap_or(0);
    let column =
        |at: usize| if longest > columns { at * (columns - 1) / (longest - 1) } else { at * columns / longest };
    let mut cells = vec![vec![' '; columns]; ROWS];
    for curve in curves {
        for (at, value) in curve.values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let row = ((top - scale(*value)) / span * (ROWS - 1) as f64).round() as usize;
            let cell = &mut cells[row.min(ROWS - 1)][column(at)];
            *cell = if *cell == ' ' || *cell == curve.mark { curve.mark } else { BOTH };
        }
    }
    let height = |row: usize| {
        let at = top - span * row as f64 / (ROWS - 1) as f64;
        figure(if log { 10_f64.powf(at) } else { at })
    };
    let line = |(row, cells): (usize, Vec<char>)| {
        let label = if [0, ROWS / 2, ROWS - 1].contains(&row) { height(row) } else { String::new() };
        let drawn: String = cells.into_iter().collect();
        format!("{label:>LABEL$} |{}", drawn.trim_end())
    };
    let mut lines: Vec<String> = cells.into_iter().enumerate().map(line).collect();
    lines.push(format!("{:LABEL$} +{}", "", "-".repeat(columns)));
    (lines, log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_and_a_rising_line_cross_in_the_middle() {
        let (falling, rising) = ([4.0, 3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0, 4.0]);
        let curves = [Curve { mark: 'x', values: &falling }, Curve { mark: 'o', values: &rising }];
        let (lines, log) = plot(&curves, LABEL + 2 + 5);
        assert!(!log, "0 to 4 is a linear axis when the least above 0 is 1");
        assert_eq!(lines[0], "    4.00000 |x   o");
        assert_eq!(lines[6], "    1.81818 |  *");
        assert_eq!(lines[11], "          0 |o   x");
        assert_eq!(lines[12], "            +-----");
    }

    #[test]
    fn powers_of_ten_are_evenly_spaced_and_what_is_not_finite_is_left_out() {
        let values = [1e11, 1e6, f64::NAN, f64::INFINITY, 1.0];
        let (lines, log) = plot(&[Curve { mark: 'x', values: &values }], 60);
        assert!(log);
        let rows: Vec<usize> = (0..ROWS).filter(|&row| lines[row].contains('x')).collect();
        assert_eq!(rows, [0, 5, 11]);
    }

    #[test]
    fn no_line_is_wider_than_asked_for() {
        for points in [1, 2, 30, 65, 66, 67, 68, 500] {
            let values: Vec<f64> = (0..points).map(|i| 1.0 + i as f64).collect();
            let (lines, _) = plot(&[Curve { mark: 'x', values: &values }], 80);
            assert!(lines.iter().all(|line| line.chars().count() <= 80), "{points}");
            assert!(lines[0].contains('x'), "{points}: the highest value is there");
        }
        assert!(plot(&[Curve { mark: 'x', values: &[f64::NAN] }], 80).0.is_empty());
    }
}
