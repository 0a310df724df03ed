//! Many nginxes paused as one, through etcd: how long that takes, and what it asks of etcd.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::tell;
use crate::clock::{millis, now};
use crate::figure::{Figure, Goal, Unit};
use crate::findings::Findings;
use crate::fleet::Fleet;
use crate::lab::Lab;
use crate::plan::Plan;
use crate::stats::Series;

pub const SECTION: &str = "Fleet";

/// All may take so long to be paused, or to be resumed.
const GOAL_MILLIS: f64 = 1_000.0;

/// Round by round.
#[derive(Default)]
struct Rounds {
    nodes: usize,
    pause_millis: Vec<f64>,
    resume_millis: Vec<f64>,
    asked_per_second: Vec<f64>,
}

pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    let [few, many] = plan.nodes;
    if !Fleet::is_possible(lab) {
        findings.note("fleet: there is no etcd here, or no command");
        return Ok(());
    }
    let (few, many) = (rounds(lab, plan, few)?, rounds(lab, plan, many)?);
    let growth = many.nodes as f64 / few.nodes as f64;
    let figure = |name: String, unit, rounds: &[f64]| {
        Figure::new(SECTION, name, unit, Series(rounds.to_vec()))
    };
    let mut add = |what: &str, unit, of: fn(&Rounds) -> &Vec<f64>| {
        let name = |rounds: &Rounds| format!("{what}, {} nodes", rounds.nodes);
        findings.add(figure(name(&few), unit, of(&few)));
        let reference = format!("{} nodes", few.nodes);
        let grown =
            figure(name(&many), unit, of(&many)).beside(&reference, Series(of(&few).clone()));
        findings.add(grown.goal(Goal::RatioAtMost(growth)));
        if unit == Unit::Milliseconds {
            let slowest = Series(of(&many).clone()).percentile(99);
            let name = format!("{}, 99th percentile", name(&many));
            findings.add(figure(name, unit, &[slowest]).goal(Goal::AtMost(GOAL_MILLIS)));
        }
    };
    add("from the call until all are paused", Unit::Milliseconds, |rounds| &rounds.pause_millis);
    add("until all are resumed", Unit::Milliseconds, |rounds| &rounds.resume_millis);
    add("asked of etcd while it holds", Unit::PerSecond, |rounds| &rounds.asked_per_second);
    Ok(())
}

fn rounds(lab: &Lab, plan: &Plan, nodes: usize) -> Result<Rounds> {
    tell(&format!("{nodes} nodes"));
    let fleet = Fleet::start(lab, nodes)?;
    let mut rounds = Rounds { nodes, ..Rounds::default() };
    for round in 0..plan.fine_rounds {
        let called = now();
        let pause = fleet.pause()?;
        rounds.pause_millis.push(millis(now() - called));
        // What it asks for does not differ from round to round.
        if round < plan.long_rounds {
            sleep(Duration::from_secs(1));
            let (before, from) = (fleet.asked_of_etcd()?, now());
            sleep(plan.window);
            let asked = fleet.asked_of_etcd()? - before;
            rounds.asked_per_second.push(asked * 1_000.0 / millis(now() - from));
        }
        let ended = now();
        pause.end()?;
        rounds.resume_millis.push(millis(now() - ended));
    }
    Ok(rounds)
}
