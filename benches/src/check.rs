//! Whether what was measured is worse than what is on record, beyond the noise of both.

use crate::figure::Figure;
use crate::stats::Series;
use crate::table::{share, spread};

/// Below this share of a change nothing is said, however steady the figures are.
const TOLERANCE: f64 = 0.02;

/// A sentence for each figure that has become worse.
pub fn regressions(recorded: &[Figure], measured: &[Figure]) -> Vec<String> {
    measured.iter().filter_map(|now| worse(recorded, now)).collect()
}

fn worse(recorded: &[Figure], now: &Figure) -> Option<String> {
    let same = |then: &&Figure| {
        (&then.section, &then.name, &then.subject) == (&now.section, &now.name, &now.subject)
    };
    let then = recorded.iter().filter(|_| now.goal.is_some()).find(same)?;
    if !beyond_noise(&then.yardstick(), &now.yardstick(), now.rising()) {
        return None;
    }
    let show = |series: &Series| spread(series, share);
    let (was, is) = (show(&then.yardstick()), show(&now.yardstick()));
    let missed = if now.reached() == Some(false) { ", and misses its goal" } else { "" };
    Some(format!("{}, {}: was {was}, is {is}{missed}", now.section, now.name))
}

/// No round of now is as good as the worst on record, and the medians are apart.
fn beyond_noise(then: &Series, now: &Series, rising: bool) -> bool {
    let apart = (now.median() - then.median()).abs() > TOLERANCE * then.median().abs();
    apart && if rising { now.highest() < then.lowest() } else { now.lowest() > then.highest() }
}

#[cfg(test)]
mod tests {
    use super::beyond_noise;
    use crate::stats::Series;

    #[test]
    fn overlapping_rounds_are_noise() {
        let then = Series(vec![1.0, 1.1, 1.2]);
        assert!(!beyond_noise(&then, &Series(vec![1.15, 1.3, 1.4]), false));
        assert!(beyond_noise(&then, &Series(vec![1.25, 1.3, 1.4]), false));
        assert!(!beyond_noise(&then, &Series(vec![0.8, 0.9]), false));
        assert!(beyond_noise(&then, &Series(vec![0.8, 0.9]), true));
    }

    #[test]
    fn a_hair_is_no_regression() {
        assert!(!beyond_noise(&Series(vec![1.0]), &Series(vec![1.001]), false));
        assert!(beyond_noise(&Series(vec![0.0]), &Series(vec![1.0]), false));
    }
}
