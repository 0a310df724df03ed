//! How held requests go on: how soon, in which order, and what others notice of it.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::{queue_up, tell};
use crate::clock::{millis, now};
use crate::figure::{Figure, Goal, Unit};
use crate::findings::{Arrivals, Findings, Plot};
use crate::helper::Clients;
use crate::lab::{Lab, Site};
use crate::order::overtaken;
use crate::plan::Plan;
use crate::probe::Running;
use crate::stats::{Series, median_of};
use crate::system::{Kind, signal};

const SECTION: &str = "Release";
const LAST: &str = "last at the origin";
const AT_ONCE: &str = "all at once";

/// Of what a worker with 20,000 descriptors can take, each request needing two at its worst.
const MOST_PER_WORKER: u32 = 9_500;

/// How many are held while another client's waits are looked at.
const WITH_OTHERS: u32 = 9_500;

/// Milliseconds from the call, unless it says otherwise.
#[derive(Clone, Debug)]
pub struct Flow {
    pub first: f64,
    pub median: f64,
    pub last: f64,
    /// When the last client had its answer.
    pub answered: f64,
    /// Requests that were not answered with 200.
    pub lost: f64,
    /// How many were overtaken on the way out, and at the origin.
    pub overtaken_at_gate: f64,
    pub overtaken_at_origin: f64,
    /// What another client of the workers waited meanwhile, p99 and at most.
    pub other_p99: f64,
    pub other_max: f64,
    /// The time and the number of each request.
    pub points: Vec<(f64, u32)>,
}

pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    for &workers in &plan.workers {
        for &held in &plan.held {
            if held > MOST_PER_WORKER * workers {
                findings.note(format!(
                    "{held} held by {workers} worker: not measured, as all of them at once need \
                     more descriptors than a process has here"
                ));
                continue;
            }
            tell(&format!("releasing {held}, workers: {workers}"));
            let (ours, theirs) = rounds(lab, workers, held, plan.rounds)?;
            add(findings, workers, held, &ours, &theirs);
            if held == 5_000 && workers == 2 {
                add_points(findings, &ours, &theirs);
            }
        }
    }
    tell(&format!("another client while {WITH_OTHERS} are released"));
    let (ours, theirs) = rounds(lab, 1, WITH_OTHERS, plan.rounds)?;
    add_others(findings, &ours, &theirs);
    Ok(())
}

fn rounds(lab: &Lab, workers: u32, held: u32, count: usize) -> Result<(Vec<Flow>, Vec<Flow>)> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..count {
        ours.push(hold_and_release(lab, Kind::Intermission, workers, held)?);
        theirs.push(at_once(lab, workers, held)?);
    }
    Ok((ours, theirs))
}

/// Holds requests and lets them go.
pub fn hold_and_release(lab: &Lab, kind: Kind, workers: u32, count: u32) -> Result<Flow> {
    let mut site = lab.site(kind, workers)?;
    site.pause()?;
    let mut clients = site.clients(0, count, None)?;
    let probe = site.probe()?;
    queue_up(&mut site, &mut clients, count)?;

    let probe = probe.start();
    let call = now();
    site.resume()?;
    finish(&mut site, clients, probe, count, call)
}

/// The reference: as many requests at once, nothing in their way. They all lie in the sockets when
/// the workers, stopped until then, go on.
pub fn at_once(lab: &Lab, workers: u32, count: u32) -> Result<Flow> {
    let mut site = lab.site(Kind::Plain, workers)?;
    let mut clients = site.clients(0, count, None)?;
    let probe = site.probe()?;
    site.settle()?;
    signal(&site.system.workers(), Signal::STOP)?;
    clients.send_all()?;
    sleep(Duration::from_millis(100));

    let probe = probe.start();
    let call = now();
    signal(&site.system.workers(), Signal::CONT)?;
    finish(&mut site, clients, probe, count, call)
}

fn finish(
    site: &mut Site,
    mut clients: Clients,
    probe: Running,
    count: u32,
    call: u64,
) -> Result<Flow> {
    let outcome = clients.outcome(90)?;
    let latencies = probe.stop()?;
    let answered = outcome.statuses.get(&200).copied().unwrap_or_default();
    let mut arrivals = site.origin.arrivals()?;
    ensure!(!arrivals.is_empty(), "none of {count} requests came to the origin: {outcome:?}");

    let since = |at: u64| millis(at.saturating_sub(call));
    let points: Vec<_> = arrivals.iter().map(|arrival| (since(arrival.at), arrival.id)).collect();
    arrivals.sort_by_key(|arrival| arrival.connection);
    Ok(Flow {
        first: points[0].0,
        median: median_of(points.iter().map(|(at, _)| *at)),
        last: points[points.len() - 1].0,
        answered: since(outcome.last),
        lost: f64::from(count - answered),
        overtaken_at_gate: overtaken(arrivals.iter().map(|arrival| arrival.id)) as f64,
        overtaken_at_origin: overtaken(points.iter().map(|(_, id)| *id)) as f64,
        other_p99: millis(latencies.value_at_quantile(0.99)),
        other_max: millis(latencies.max()),
        points,
    })
}

pub fn series(flows: &[Flow], of: impl Fn(&Flow) -> f64) -> Series {
    flows.iter().map(of).collect()
}

fn add(findings: &mut Findings, workers: u32, held: u32, ours: &[Flow], theirs: &[Flow]) {
    let scene = scene(held, workers);
    let timed = |name: &str, of: fn(&Flow) -> f64| {
        Figure::new(SECTION, format!("{name}, {scene}"), Unit::Milliseconds, series(ours, of))
            .beside(AT_ONCE, series(theirs, of))
    };
    let counted = |name: &str, of: fn(&Flow) -> f64| {
        Figure::new(SECTION, format!("{name}, {scene}"), Unit::Count, series(ours, of))
    };
    findings.add(timed("first at the origin", |flow| flow.first));
    findings.add(timed("median at the origin", |flow| flow.median));
    findings.add(timed(LAST, |flow| flow.last).goal(Goal::RatioAtMost(1.0)));
    findings.add(timed("last answer", |flow| flow.answered));
    let at_gate = counted("overtaken on the way out", |flow| flow.overtaken_at_gate);
    findings.add(at_gate.goal(Goal::AtMost(0.0)));
    let at_origin = counted("overtaken at the origin", |flow| flow.overtaken_at_origin);
    // Between two workers, the last bit of the way to the origin is the scheduler's.
    findings.add(if workers == 1 { at_origin.goal(Goal::AtMost(0.0)) } else { at_origin });
    findings.add(counted("lost", |flow| flow.lost).goal(Goal::AtMost(0.0)));
}

fn scene(held: u32, workers: u32) -> String {
    format!("{held} held, {}", self::workers(workers))
}

pub fn workers(count: u32) -> String {
    format!("{count} {}", if count == 1 { "worker" } else { "workers" })
}

/// How many were held, if the figure is about the last of them with so many workers.
pub fn last_of(figure: &Figure, workers: u32) -> Option<u32> {
    let scene = figure.name.strip_prefix(LAST).filter(|_| figure.section == SECTION)?;
    let held = scene.strip_prefix(", ")?.split(' ').next()?.parse().ok()?;
    scene.ends_with(&self::scene(held, workers)).then_some(held)
}

fn add_others(findings: &mut Findings, ours: &[Flow], theirs: &[Flow]) {
    let figure = |name: &str, of: fn(&Flow) -> f64| {
        let name = format!("another client's {name}, {WITH_OTHERS} held, 1 worker");
        Figure::new(SECTION, name, Unit::Milliseconds, series(ours, of))
            .beside(AT_ONCE, series(theirs, of))
            .goal(Goal::AtMost(10.0))
    };
    findings.add(figure("wait, p99", |flow| flow.other_p99));
    findings.add(figure("longest wait", |flow| flow.other_max));
}

fn add_points(findings: &mut Findings, ours: &[Flow], theirs: &[Flow]) {
    for (name, flows) in [(Kind::Intermission.name(), ours), (AT_ONCE, theirs)] {
        let points = flows[0].points.clone();
        findings.arrivals.push(Arrivals { plot: Plot::Release, name: name.to_owned(), points });
    }
}
