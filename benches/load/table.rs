//! Numbers for people.

/// Starts a table.
pub(crate) fn title(title: &str) {
    println!("\n{title}");
}

/// A line of a table.
pub(crate) fn row(what: &str, measured: &str) {
    println!("  {what:<58} {measured}");
}

/// A line with a goal that is kept by being below it.
pub(crate) fn below(what: &str, measured: f64, unit: &str, goal: f64) {
    verdict(what, measured, unit, "at most", goal, measured <= goal);
}

/// A line with a goal that is kept by being above it.
pub(crate) fn above(what: &str, measured: f64, unit: &str, goal: f64) {
    verdict(what, measured, unit, "at least", goal, measured >= goal);
}

fn verdict(what: &str, measured: f64, unit: &str, sense: &str, goal: f64, is_kept: bool) {
    let kept = if is_kept { "kept" } else { "MISSED" };
    let ratio = measured / goal;
    let measured = number(measured);
    let goal = number(goal);
    row(
        what,
        &format!("{measured} {unit}; goal {sense} {goal}, ratio {ratio:.2}, {kept}"),
    );
}

/// Three digits, or all before the point.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The value below which this share of the samples is; sorts them.
pub(crate) fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let at = (samples.len() as f64 * share) as usize;
    let last = samples.len().checked_sub(1).unwrap();
    *samples.get(at.min(last)).unwrap()
}

/// How many times as much each sample is as the one of the same turn, in the middle: what else the
/// machine does meanwhile concerns both of a turn.
pub(crate) fn ratio(samples: &[f64], others: &[f64]) -> f64 {
    let mut ratios: Vec<f64> = samples.iter().zip(others).map(|(a, b)| a / b).collect();
    median(&mut ratios)
}

/// The value in the middle.
pub(crate) fn median(samples: &mut [f64]) -> f64 {
    quantile(samples, 0.5)
}

/// The median, and from where to where the samples are.
pub(crate) fn spread(samples: &mut [f64]) -> String {
    let middle = number(median(samples));
    let least = number(quantile(samples, 0.0));
    let most = number(quantile(samples, 1.0));
    format!("{middle} ({least} to {most})")
}
