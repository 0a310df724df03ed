//! Whether what was measured is worse than what is on record, beyond the noise of both, and whether
//! all of it was measured.

use std::fmt;

use crate::figure::{Better, Figure, OURS};
use crate::stats::Series;
use crate::table::{share, spread};

/// Below this share of a change nothing is said, however steady the figures are.
const TOLERANCE: f64 = 0.02;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub compared: usize,
    /// Found on both sides, but they depend on the machine, or are other tools'.
    pub not_comparable: usize,
    /// A sentence for each figure that has become worse.
    pub worse: Vec<String>,
    /// On record, and not measured although it should have been.
    pub missing: Vec<String>,
    /// On record, and left out on purpose.
    pub left_out: usize,
    /// Measured, and not on record.
    pub new: Vec<String>,
}

/// `expected` says whether this run should have measured what is on record.
pub fn compare(
    recorded: &[Figure],
    measured: &[Figure],
    expected: impl Fn(&Figure) -> bool,
) -> Comparison {
    let mut comparison = Comparison::default();
    for then in recorded {
        match measured.iter().find(|now| same(then, now)) {
            Some(now) if is_comparable(now) => {
                comparison.compared += 1;
                comparison.worse.extend(worse(then, now));
            }
            Some(_) => comparison.not_comparable += 1,
            None if expected(then) => comparison.missing.push(title(then)),
            None => comparison.left_out += 1,
        }
    }
    let is_new = |now: &&Figure| !recorded.iter().any(|then| same(then, now));
    comparison.new = measured.iter().filter(is_new).map(title).collect();
    comparison
}

impl Comparison {
    /// One in which nothing was compared says nothing.
    pub fn is_good(&self) -> bool {
        self.compared > 0 && self.worse.is_empty() && self.missing.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compared, not_comparable, left_out, .. } = self;
        writeln!(
            out,
            "Compared with the record: {compared} figures, {} of them worse.",
            self.worse.len()
        )?;
        self.worse.iter().try_for_each(|figure| writeln!(out, "  worse: {figure}"))?;
        self.missing
            .iter()
            .try_for_each(|figure| writeln!(out, "  on record, and not measured: {figure}"))?;
        self.new.iter().try_for_each(|figure| writeln!(out, "  not on record: {figure}"))?;
        if *not_comparable > 0 {
            writeln!(
                out,
                "{not_comparable} more have no goal and no reference, or are other tools': not compared."
            )?;
        }
        if *left_out > 0 {
            writeln!(out, "{left_out} on record were left out, as --quick or --only asked for.")?;
        }
        Ok(())
    }
}

fn same(then: &Figure, now: &Figure) -> bool {
    (&then.section, &then.name, &then.subject) == (&now.section, &now.name, &now.subject)
}

fn title(figure: &Figure) -> String {
    let whose = if figure.subject == OURS { "" } else { &format!("{}, ", figure.subject) };
    format!("{}, {whose}{}", figure.section, figure.name)
}

/// What has neither a goal nor a reference says as much of the machine as of intermission.
fn is_comparable(figure: &Figure) -> bool {
    figure.subject == OURS && (figure.goal.is_some() || figure.reference.is_some())
}

fn worse(then: &Figure, now: &Figure) -> Option<String> {
    let (was, is) = yardsticks(then, now);
    if !beyond_noise(&was, &is, now.better()) {
        return None;
    }
    let show = |series: &Series| spread(series, share);
    let missed = if now.reached() == Some(false) { ", and misses its goal" } else { "" };
    Some(format!("{}: was {}, is {}{missed}", title(now), show(&was), show(&is)))
}

/// What comparing goes by: ratios where both have one, as they depend least on the machine.
fn yardsticks(then: &Figure, now: &Figure) -> (Series, Series) {
    let ratios = then.ratio().zip(now.ratio());
    ratios.unwrap_or_else(|| (then.measured.clone(), now.measured.clone()))
}

/// No round of now is as good as the worst on record, and the medians are apart. A record without
/// noise is compared with the median.
fn beyond_noise(then: &Series, now: &Series, better: Better) -> bool {
    if better == Better::NearReference {
        let distance = |series: &Series| -> Series {
            series.0.iter().map(|ratio| 1.0 + (ratio - 1.0).abs()).collect()
        };
        return beyond_noise(&distance(then), &distance(now), Better::Less);
    }
    let apart = (now.median() - then.median()).abs() > TOLERANCE * then.median().abs();
    let steady = then.lowest() == then.highest();
    let best = |best_of_all: f64| if steady { now.median() } else { best_of_all };
    apart
        && match better {
            Better::More => best(now.highest()) < then.lowest(),
            _ => best(now.lowest()) > then.highest(),
        }
}

#[cfg(test)]
mod tests {
    use super::{Comparison, beyond_noise, compare};
    use crate::figure::{Better, Figure, Goal, OURS, Unit};
    use crate::stats::Series;

    fn series<const N: usize>(values: [f64; N]) -> Series {
        Series(values.to_vec())
    }

    fn figure(name: &str, measured: f64) -> Figure {
        Figure::new("Idle", name, Unit::Milliseconds, series([measured]))
            .beside("plain", series([100.0]))
            .goal(Goal::RatioAtMost(1.0))
    }

    fn whole(recorded: &[Figure], measured: &[Figure]) -> Comparison {
        compare(recorded, measured, |_| true)
    }

    #[test]
    fn overlapping_rounds_are_noise() {
        let then = series([1.0, 1.1, 1.2]);
        assert!(!beyond_noise(&then, &series([1.15, 1.3, 1.4]), Better::Less));
        assert!(beyond_noise(&then, &series([1.25, 1.3, 1.4]), Better::Less));
        assert!(!beyond_noise(&then, &series([0.8, 0.9]), Better::Less));
        assert!(beyond_noise(&then, &series([0.8, 0.9]), Better::More));
    }

    #[test]
    fn a_hair_is_no_regression() {
        assert!(!beyond_noise(&series([1.0]), &series([1.001]), Better::Less));
        assert!(beyond_noise(&series([0.0]), &series([1.0]), Better::Less));
    }

    #[test]
    fn a_rate_may_be_too_high_and_too_low() {
        let then = series([0.999, 1.0, 1.001]);
        assert!(beyond_noise(&then, &series([0.96, 0.95, 0.97]), Better::NearReference));
        assert!(beyond_noise(&then, &series([1.04, 1.05, 1.03]), Better::NearReference));
        assert!(!beyond_noise(&series([1.05, 1.06]), &series([1.0, 0.99]), Better::NearReference));
    }

    #[test]
    fn where_there_never_was_one_most_rounds_with_one_are_worse() {
        let never = series([0.0, 0.0, 0.0]);
        assert!(beyond_noise(&never, &series([0.0, 2.0, 3.0]), Better::Less));
        assert!(!beyond_noise(&never, &series([0.0, 0.0, 3.0]), Better::Less));
    }

    #[test]
    fn ratios_are_not_compared_with_what_is_none() {
        let then = Figure::new("Holding", "CPU", Unit::Cpu, series([0.2]));
        let (before, now) = (
            then.clone().beside("limit_req", series([0.1])),
            then.beside("limit_req", series([0.0])),
        );
        let comparison = whole(&[before], &[now]);
        assert_eq!((comparison.compared, comparison.worse.len()), (1, 0));
    }

    #[test]
    fn what_is_worse_is_named() {
        let comparison = whole(&[figure("p50", 90.0)], &[figure("p50", 120.0)]);
        assert_eq!(comparison.worse, ["Idle, p50: was 0.900, is 1.200, and misses its goal"]);
        assert!(!comparison.is_good());
    }

    #[test]
    fn what_is_not_measured_any_more_is_missed() {
        let recorded = [figure("p50", 90.0), figure("p99", 90.0)];
        let comparison = whole(&recorded, &recorded[..1]);
        assert_eq!((comparison.compared, comparison.left_out), (1, 0));
        assert_eq!(comparison.missing, ["Idle, p99"]);
        assert!(!comparison.is_good());
    }

    #[test]
    fn what_is_left_out_on_purpose_is_counted() {
        let recorded = [figure("p50", 90.0), figure("p99", 90.0)];
        let comparison = compare(&recorded, &recorded[..1], |_| false);
        assert_eq!((comparison.compared, comparison.left_out), (1, 1));
        assert!(comparison.is_good());
        assert!(comparison.to_string().contains("1 on record were left out"));
    }

    #[test]
    fn another_name_is_another_figure() {
        let comparison = whole(&[figure("p50", 90.0)], &[figure("median", 90.0)]);
        assert_eq!(comparison.missing, ["Idle, p50"]);
        assert_eq!(comparison.new, ["Idle, median"]);
        assert!(!comparison.is_good());
    }

    #[test]
    fn nothing_compared_is_nothing_shown() {
        assert!(!compare(&[], &[figure("p50", 90.0)], |_| false).is_good());
    }

    #[test]
    fn other_tools_are_missed_but_not_judged() {
        let caddy = |value| figure("memory", value).of("Caddy");
        let comparison =
            whole(&[caddy(90.0), figure("p50", 90.0)], &[caddy(900.0), figure("p50", 90.0)]);
        assert_eq!((comparison.compared, comparison.not_comparable), (1, 1));
        assert!(comparison.is_good());
        assert_eq!(whole(&[caddy(90.0)], &[]).missing, ["Idle, Caddy, memory"]);
        assert_ne!(caddy(90.0).subject, OURS);
    }
}
