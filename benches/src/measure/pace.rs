//! Whether a release keeps to the pace that was asked for.

use anyhow::{Result, ensure};

use super::{queue_up, tell};
use crate::clock::{millis, now};
use crate::figure::{Figure, Goal, Unit};
use crate::findings::{Arrivals, Findings, Plot};
use crate::lab::Lab;
use crate::origin::Arrival;
use crate::plan::Plan;
use crate::stats::Series;
use crate::system::Kind;

pub const SECTION: &str = "Pace";
const WORKERS: u32 = 2;
const ASKED: &str = "asked";

const HELD: u32 = 2_000;
pub const PER_SECOND: u32 = 1_000;

const CONCURRENCY: u32 = 20;
/// How long the origin takes for an answer, so that concurrency is what limits.
const ANSWER_MILLIS: u64 = 25;

const WINDOW_MILLIS: f64 = 100.0;

pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    tell("pace");
    add_rate(lab, plan, findings)?;
    add_concurrency(lab, plan, findings)
}

fn add_rate(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    let (mut rates, mut bursts) = (Vec::new(), Vec::new());
    for round in 0..plan.long_rounds {
        let call = format!("disable?rate={PER_SECOND}r/s");
        let (start, arrivals) = release(lab, HELD, 0, &call)?;
        let times: Vec<f64> = arrivals.iter().map(|arrival| millis(arrival.at - start)).collect();
        rates.push(rate(&times));
        bursts.push(largest_burst(&times, WINDOW_MILLIS) as f64);
        if round == 0 {
            let ids = arrivals.iter().map(|arrival| arrival.id);
            let points = times.into_iter().zip(ids).collect();
            let name = Kind::Intermission.name().to_owned();
            findings.arrivals.push(Arrivals { plot: Plot::Pace, name, points });
        }
    }
    let asked = |value: f64| Series(vec![value; plan.long_rounds]);
    let per_second = f64::from(PER_SECOND);
    findings.add(
        Figure::new(SECTION, format!("rate, {HELD} held"), Unit::PerSecond, Series(rates))
            .beside(ASKED, asked(per_second))
            .goal(Goal::Within(0.02)),
    );
    findings.add(
        Figure::new(SECTION, "most in any 100 ms", Unit::Count, Series(bursts))
            .beside(ASKED, asked(per_second * WINDOW_MILLIS / 1e3)),
    );
    Ok(())
}

fn add_concurrency(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    let mut seen = Vec::new();
    for _ in 0..plan.long_rounds {
        let call = format!("disable?concurrency={CONCURRENCY}");
        let (_, arrivals) = release(lab, HELD / 2, ANSWER_MILLIS, &call)?;
        let most = arrivals.iter().map(|arrival| arrival.in_flight).max();
        seen.push(f64::from(most.unwrap_or_default()));
    }
    let asked = Series(vec![f64::from(CONCURRENCY); plan.long_rounds]);
    findings.add(
        Figure::new(SECTION, "most in flight at the origin", Unit::Count, Series(seen))
            .beside(ASKED, asked)
            .goal(Goal::RatioAtMost(1.0)),
    );
    Ok(())
}

fn release(lab: &Lab, held: u32, delay: u64, call: &str) -> Result<(u64, Vec<Arrival>)> {
    let mut site = lab.site(Kind::Intermission, WORKERS)?;
    site.origin.delay(delay)?;
    site.pause()?;
    let mut clients = site.clients(0, held, None)?;
    queue_up(&mut site, &mut clients, held)?;
    let start = now();
    site.system.call(call)?;
    let outcome = clients.outcome(60)?;
    ensure!(outcome.statuses.get(&200) == Some(&held), "not all were answered: {outcome:?}");
    Ok((start, site.origin.arrivals()?))
}

/// Per second, between the first and the last.
fn rate(times: &[f64]) -> f64 {
    match times {
        [first, .., last] => (times.len() - 1) as f64 / (last - first) * 1e3,
        _ => 0.0,
    }
}

/// How many there are at most in a window, wherever it lies.
fn largest_burst(times: &[f64], window: f64) -> usize {
    let in_window = |start: usize| times[start..].partition_point(|at| at - times[start] < window);
    (0..times.len()).map(in_window).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{largest_burst, rate};

    #[test]
    fn the_window_may_lie_anywhere() {
        assert_eq!(largest_burst(&[], 100.0), 0);
        assert_eq!(largest_burst(&[0.0, 90.0, 95.0, 150.0, 185.0, 300.0], 100.0), 4);
    }

    #[test]
    fn a_rate_is_that_of_the_steps() {
        assert_eq!(rate(&[5.0, 10.0, 15.0]), 200.0);
    }
}
