//! How far an analytic slope is from the numerical one along a line, with what rounding allows it to be.
//!
//! Along the line `t -> F(p + t d)` the *defect* of a step is the central difference of F less what the analytic gradient
//! predicts for the points actually reached, so that rounding the points costs nothing. Its limit for small steps is the
//! numerical slope less the analytic one: 0 for a right gradient. Steps go up by factors of 4 from the classic
//! `cbrt(epsilon)` for as long as the function changes little; Richardson's extrapolation takes out the powers of the
//! step, and of all entries of the tableau the one with the least error estimate counts (Ridders 1982).

use crate::error::Result;

/// A point of the line: F there, and what the analytic gradient predicts of `F - F(p)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub value: f64,
    pub predicted: f64,
}

/// What is known of the function before the line is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground {
    /// F(p).
    pub value: f64,
    /// What rounding does to a value of F.
    pub noise: f64,
    /// The number type's epsilon.
    pub epsilon: f64,
}

/// What was found along a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finding {
    /// The numerical slope less the analytic one.
    pub defect: f64,
    /// How large the defect of a right gradient may be.
    pub tolerance: f64,
    /// The slope with which F changes over the largest step: what tolerance is small or large against.
    pub scale: f64,
    pub shape: Shape,
}

/// What F is like at the point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    Smooth,
    /// The defects of the one-sided slopes differ.
    Kink {
        left: f64,
        right: f64,
    },
    /// Its values are rounded by more than showed close by: it jumps about, or stands still for small steps and follows the
    /// analytic gradient for larger ones.
    Rounded,
}

/// Steps of one tableau.
const MOST_LEVELS: usize = 12;

/// Steps that a tableau needs to be trusted.
const FEWEST_LEVELS: usize = 4;

/// Larger steps are not tried for a tolerance that is this share of the slope.
const ENOUGH: f64 = 1e-8;

/// A tolerance that is this share of the slope is precise enough.
const PRECISE: f64 = 1e-3;

/// A step of this share of the unit is none, whatever the point.
const NOTHING: f64 = 1e-30;

/// What the spread of extrapolated values is multiplied by to be a tolerance.
const SAFETY: f64 = 16.0;

/// How many times the noise of a difference may be exceeded by it.
const NOISE_SAFETY: f64 = 6.0;

/// Steps grow until F has changed by this share of itself.
const LARGE_CHANGE: f64 = 0.3;

/// One step to both sides.
#[derive(Debug, Clone, Copy)]
struct Level {
    step: f64,
    /// One-sided and central defects.
    left: f64,
    right: f64,
    central: f64,
    /// How far F moved, on the further side.
    change: f64,
    /// What rounding may do to the central defect.
    noise: f64,
}

/// Looks along a line. `unit` is the size of the parameters there; smaller steps than `least` are lost in the rounding of
/// the point; `at(t)` gives the point reached with step t.
pub(super) fn look_along(
    ground: Ground,
    unit: f64,
    least: f64,
    mut at: impl FnMut(f64) -> Result<Point>,
) -> Result<Finding> {
    let mut level = |step: f64| -> Result<Option<Level>> {
        let (ahead, behind) = (at(step)?, at(-step)?);
        Ok(measure(ground, step, ahead, behind))
    };
    let limit = |level: &Option<Level>| match level {
        Some(level) => level.change > LARGE_CHANGE * ground.value.abs() && level.change > 1e4 * ground.noise,
        None => true,
    };
    let least = least.max(NOTHING * unit);
    let mut step = unit * ground.epsilon.cbrt();
    let mut first = level(step)?;
    for _ in 0..MOST_LEVELS {
        if !limit(&first) || step / 64.0 < least {
            break;
        }
        step /= 64.0;
        first = level(step)?;
    }
    let mut levels: Vec<Level> = first.into_iter().collect();
    while levels.len() < MOST_LEVELS && !levels.is_empty() {
        let next = level(step * 4f64.powi(levels.len() as i32))?;
        let last = limit(&next);
        levels.extend(next);
        let enough = |level: &Level| extrapolate(&levels).1 <= ENOUGH * level.change / level.step;
        if last || (levels.len() >= FEWEST_LEVELS && levels.last().is_some_and(enough)) {
            break;
        }
    }
    if levels.is_empty() {
        // Not finite however near: nothing can be said.
        return Ok(Finding { defect: f64::NAN, tolerance: f64::INFINITY, scale: 0.0, shape: Shape::Smooth });
    }
    let scale = levels.last().map_or(0.0, |level| level.change / level.step);
    let (mut defect, mut tolerance, mut from) = extrapolate(&levels);
    // Where the function is steep at once, as near a pole, finer steps are what is lacking.
    for _ in 0..MOST_LEVELS {
        if levels.len() >= FEWEST_LEVELS && tolerance <= PRECISE * scale {
            break;
        }
        step /= 4.0;
        if step < least {
            break;
        }
        let Some(finer) = level(step)? else { break };
        if NOISE_SAFETY * finer.noise > tolerance {
            break;
        }
        levels.insert(0, finer);
        (defect, tolerance, from) = extrapolate(&levels);
    }
    let finest = levels[0];
    let finding = Finding { defect, tolerance, scale, shape: Shape::Smooth };
    // Across a kink the central difference may be right by symmetry.
    let kinked = levels.get(1).is_some_and(|wider| persists(&finest, wider)) && finest.jump() > INSIGNIFICANT * scale;
    if defect.abs() <= finding.tolerance && !kinked {
        return Ok(finding);
    }
    let found = confirm(finding, finest, least, level)?;
    let follows = levels.iter().any(|level| level.central.abs() < finest.central.abs() / 4.0);
    if found.shape != Shape::Smooth {
        return Ok(found);
    }
    let doubtful = doubtful(&levels, from, found.defect, found.tolerance);
    let rough = roughness(&levels);
    for level in &mut levels {
        level.noise += rough / level.step;
    }
    let hidden = found.defect.abs() <= extrapolate(&levels).1;
    if hidden || doubtful || (finest.change == 0.0 && follows) {
        return Ok(Finding { shape: Shape::Rounded, ..found });
    }
    Ok(found)
}

/// A defect that tolerance does not explain, or a kink, is looked at with ever smaller steps: F may have structure finer
/// than the steps so far. It stands if it is there at all of them, down to where rounding hides it.
fn confirm(
    finding: Finding,
    finest: Level,
    least: f64,
    mut level: impl FnMut(f64) -> Result<Option<Level>>,
) -> Result<Finding> {
    let sought = finding.defect.abs().max(finest.jump());
    let mut coarse = finest;
    while coarse.step / 4.0 >= least {
        let Some(fine) = level(coarse.step / 4.0)? else { break };
        if NOISE_SAFETY * fine.noise > sought / 4.0 {
            break;
        }
        let tolerance = SAFETY * (fine.central - coarse.central).abs() / 3.0 + NOISE_SAFETY * fine.noise;
        if fine.central.abs() <= tolerance && tolerance <= sought / 4.0 && !persists(&fine, &coarse) {
            return Ok(Finding { defect: fine.central, tolerance, ..finding });
        }
        coarse = fine;
    }
    // A jump of the one-sided slopes that is there at the smallest step is no matter of curvature.
    let kinked = level(coarse.step * 4.0)?.is_some_and(|wider| persists(&coarse, &wider));
    if kinked && coarse.jump() > (sought / 4.0).max(INSIGNIFICANT * finding.scale) {
        return Ok(Finding { shape: Shape::Kink { left: coarse.left, right: coarse.right }, ..finding });
    }
    Ok(finding)
}

/// Whether the one-sided slopes differ at a step by more than rounding, and by as much as at a step four times as large:
/// curvature would make it four times as much.
fn persists(fine: &Level, wider: &Level) -> bool {
    fine.jump() > 16.0 * NOISE_SAFETY * fine.noise && wider.jump() < 1.5 * fine.jump()
}

/// A jump of the one-sided slopes below this share of the slope is left to curvature.
const INSIGNIFICANT: f64 = 1e-2;

impl Level {
    /// How far the one-sided slopes are apart.
    fn jump(&self) -> f64 {
        (self.right - self.left).abs()
    }
}

fn measure(ground: Ground, step: f64, ahead: Point, behind: Point) -> Option<Level> {
    if !(ahead.value.is_finite() && behind.value.is_finite()) {
        return None;
    }
    let right = (ahead.value - ground.value - ahead.predicted) / step;
    let left = (behind.value - ground.value - behind.predicted) / -step;
    let change = (ahead.value - ground.value).abs().max((behind.value - ground.value).abs());
    let central = (ahead.value - behind.value - (ahead.predicted - behind.predicted)) / (2.0 * step);
    // Larger values of F round more.
    let growth = 1.0 + change / ground.value.abs().max(f64::MIN_POSITIVE).max(change / 4.0);
    let rounding = ground.epsilon * (ahead.predicted.abs() + behind.predicted.abs());
    Some(Level { step, left, right, central, change, noise: (ground.noise * growth + rounding) / step })
}

/// Whether finer levels than the defect was found `from` do not bear it out: one sees what it should be and what it is not,
/// so that the levels further out agreed by chance; or all that are fine enough are hidden by rounding, and the first that is
/// not sees a kink with the analytic slope between its sides, as where two logits are equal but for rounding.
fn doubtful(levels: &[Level], from: usize, defect: f64, tolerance: f64) -> bool {
    let against = |level: &Level| {
        let apart = (level.central - defect).abs();
        level.central.abs() < defect.abs() / 2.0 && apart > NOISE_SAFETY * level.noise + tolerance
    };
    let hidden = levels.iter().take_while(|level| NOISE_SAFETY * level.noise > defect.abs()).count();
    let kinked = match levels.get(hidden..hidden + 2) {
        Some([fine, wide]) if hidden > 0 => {
            let seen = fine.jump() > (NOISE_SAFETY * fine.noise).max(defect.abs()) && wide.jump() < 1.5 * fine.jump();
            seen && fine.left.min(fine.right) <= tolerance && fine.left.max(fine.right) >= -tolerance
        }
        _ => false,
    };
    kinked || levels.iter().take(from).any(against)
}

/// Rounding that shows along this line: a second difference that is more than the next larger step's explains. Curvature
/// makes it 16 times smaller at a quarter of the step, a kink 4 times.
fn roughness(levels: &[Level]) -> f64 {
    let second = |level: &Level| (level.right - level.left) * level.step;
    let at_kink = |fine: f64, wide: f64| (3.2..4.8).contains(&(wide / fine));
    let excess = |three: &[Level]| {
        let (fine, wide, wider) = (second(&three[0]), second(&three[1]), second(&three[2]));
        if at_kink(fine, wide) && at_kink(wide, wider) { 0.0 } else { (fine.abs() - wide.abs() / 8.0).max(0.0) / 2.0 }
    };
    levels.windows(3).take(3).map(excess).fold(0.0, f64::max)
}

/// The entry of the tableau with the least tolerance, that, and the finest level it comes from. Levels
/// go from fine to coarse.
fn extrapolate(levels: &[Level]) -> (f64, f64, usize) {
    let mut best = (levels[0].central, f64::INFINITY, 0);
    if let [only] = levels {
        return (only.central, SAFETY * only.central.abs().max(only.noise), 0);
    }
    let mut previous: Vec<f64> = Vec::new();
    for (finest, level) in levels.iter().enumerate().rev() {
        let mut row = vec![level.central];
        for (j, before) in previous.iter().enumerate() {
            let power = 16f64.powi(j as i32 + 1);
            let entry = (power * row[j] - before) / (power - 1.0);
            let spread = (entry - row[j]).abs().max((entry - before).abs());
            let tolerance = SAFETY * spread + NOISE_SAFETY * level.noise;
            if tolerance < best.1 {
                best = (entry, tolerance, finest);
            }
            row.push(entry);
        }
        previous = row;
    }
    best
}

/// Roundings that any value of a loss has been through.
const ROUNDINGS: f64 = 16.0;

/// How much rounding changes a function's values: the standard deviation of what is left of 7 values at tiny, even
/// distances once their smooth part is differenced away (More and Wild 2011, "Estimating computational noise").
pub(super) fn noise_of(values: &[f64; 7], epsilon: f64) -> f64 {
    let mut differences = values.to_vec();
    let mut estimates = Vec::new();
    let mut gamma = 1.0;
    for order in 1..values.len() {
        differences = differences.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let k = order as f64;
        gamma *= k / (2.0 * (2.0 * k - 1.0));
        let mean_square = differences.iter().map(|d| d * d).sum::<f64>() / differences.len() as f64;
        if order >= 3 {
            estimates.push((gamma * mean_square).sqrt());
        }
    }
    let largest = estimates.into_iter().fold(0.0, f64::max);
    (2.0 * largest).max(ROUNDINGS * epsilon * values[0].abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(f: impl Fn(f64) -> f64, x: f64, analytic: f64) -> Finding {
        let values = std::array::from_fn(|k| f(x + k as f64 * 100.0 * f64::EPSILON));
        let ground = Ground { value: f(x), noise: noise_of(&values, f64::EPSILON), epsilon: f64::EPSILON };
        look_along(ground, x.abs().max(1.0), 64.0 * f64::EPSILON * x.abs(), |t| {
            let reached = x + t;
            Ok(Point { value: f(reached), predicted: analytic * (reached - x) })
        })
        .unwrap()
    }

    #[test]
    fn a_right_slope_has_no_defect_and_a_wrong_one_its_own() {
        for (f, df, x) in [
            (f64::sin as fn(f64) -> f64, f64::cos as fn(f64) -> f64, 0.7),
            (f64::exp, f64::exp, 30.0),
            (f64::ln, |x| 1.0 / x, 1e-6),
            (|x| 1e12 + x * x, |x| 2.0 * x, 3.0),
            (|x| (1e-6 * x).powi(2), |x| 2e-12 * x, 0.5),
        ] {
            let right = finding(f, x, df(x));
            assert!(right.defect.abs() <= right.tolerance, "{x}: {right:?}");
            assert!(right.tolerance < 1e-2 * right.scale.max(df(x).abs()), "{x}: {right:?}");
            let wrong = finding(f, x, 2.0 * df(x));
            assert!(wrong.defect.abs() > wrong.tolerance, "{x}: {wrong:?}");
            assert!((wrong.defect + df(x)).abs() < 1e-2 * df(x).abs(), "{x}: {wrong:?}");
        }
    }

    #[test]
    fn a_kink_is_told_from_fine_structure() {
        assert!(
            matches!(finding(f64::abs, 0.0, 1.0).shape, Shape::Kink { left, right } if left == -2.0 && right == 0.0)
        );
        // Smooth, but only below a step of 1e-4: the derivative exists.
        let smooth = |x: f64| 1e-4 * (x / 1e-4).cosh().ln() + 100.0;
        let near = |x: f64| if x.abs() < 0.05 { smooth(x) } else { x.abs() - 1e-4 * 2f64.ln() + 100.0 };
        let x = 0.3e-4;
        let found = finding(near, x, (x / 1e-4).tanh());
        assert!(found.defect.abs() <= found.tolerance && !matches!(found.shape, Shape::Kink { .. }), "{found:?}");
    }

    #[test]
    fn noise_is_measured_not_guessed() {
        let rough = [1.0, 1.0 + 1e-9, 1.0 - 1e-9, 1.0 + 1e-9, 1.0, 1.0 - 1e-9, 1.0];
        assert!((1e-10..1e-8).contains(&noise_of(&rough, f64::EPSILON)));
        let line: [f64; 7] = std::array::from_fn(|k| 1.0 + k as f64);
        assert!(noise_of(&line, f64::EPSILON) < 1e-14);
    }
}
