//! What it costs to hold requests.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::{tell, until_held};
use crate::clock::millis;
use crate::figure::{Figure, Goal, Unit};
use crate::findings::Findings;
use crate::helper::Clients;
use crate::lab::Lab;
use crate::plan::Plan;
use crate::process::{Usage, memory, usage};
use crate::stats::Series;
use crate::system::Kind;

pub const SECTION: &str = "Holding";

/// Each holds no more than half of what it has of connections, as each request needs another one.
fn workers(held: u32) -> u32 {
    held.div_ceil(9_000).max(2)
}

/// All workers together, but for the switches.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub cpu_millis_per_second: f64,
    /// Of the worker that has most.
    pub switches_per_second: f64,
    pub bytes_per_request: f64,
}

pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    for &held in plan.held.iter().chain(&plan.held_only) {
        tell(&format!("holding {held}"));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            ours.push(round(lab, Kind::Intermission, workers(held), held, plan.window)?);
            theirs.push(round(lab, Kind::LimitReq, workers(held), held, plan.window)?);
        }
        for figure in figures(held, &ours, &theirs) {
            findings.add(figure);
        }
    }
    Ok(())
}

fn figures(held: u32, ours: &[Cost], theirs: &[Cost]) -> [Figure; 3] {
    let figure = |name: &str, unit, of: fn(&Cost) -> f64| {
        let series = |costs: &[Cost]| costs.iter().map(of).collect::<Series>();
        let scene = format!("{held} held, {} workers", workers(held));
        Figure::new(SECTION, format!("{name}, {scene}"), unit, series(ours))
            .beside(Kind::LimitReq.name(), series(theirs))
    };
    [
        figure("CPU time", Unit::Cpu, |cost| cost.cpu_millis_per_second).goal(Goal::AtMost(1.0)),
        figure("context switches of a worker", Unit::PerSecond, |cost| cost.switches_per_second)
            .goal(Goal::AtMost(20.0)),
        figure("memory per request", Unit::Bytes, |cost| cost.bytes_per_request)
            .goal(Goal::RatioAtMost(1.03)),
    ]
}

pub fn round(lab: &Lab, kind: Kind, workers: u32, held: u32, window: Duration) -> Result<Cost> {
    let mut site = lab.site(kind, workers)?;
    // What it takes for the first request and for the pause is not what a held one takes.
    drop(site.probe()?);
    site.pause()?;
    site.settle()?;
    let empty = memory(&site.system.processes())?;

    if kind == Kind::LimitReq {
        // It lets the first one pass.
        let mut first = site.clients(held, 1, None)?;
        first.send_all()?;
        first.outcome(5)?;
    }
    let mut crowd = site.crowd(held)?;
    crowd.iter_mut().try_for_each(Clients::send_all)?;
    until_held(&mut site, held)?;
    site.settle()?;

    let used = used_in(window, &site.system.workers())?;
    let full = memory(&site.system.processes())?;
    let cpu_nanos: u64 = used.iter().map(|worker| worker.cpu_nanos).sum();
    let switches = used.iter().map(|worker| worker.switches).max().unwrap_or_default();
    Ok(Cost {
        cpu_millis_per_second: millis(cpu_nanos) / window.as_secs_f64(),
        switches_per_second: switches as f64 / window.as_secs_f64(),
        bytes_per_request: (full as f64 - empty as f64) / f64::from(held),
    })
}

/// What each worker uses in that time.
fn used_in(window: Duration, workers: &[u32]) -> Result<Vec<Usage>> {
    let each = || workers.iter().map(|worker| usage(&[*worker])).collect::<Result<Vec<_>>>();
    let before = each()?;
    sleep(window);
    Ok(each()?.into_iter().zip(before).map(|(after, before)| after - before).collect())
}
