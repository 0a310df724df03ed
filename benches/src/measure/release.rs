//! How held requests go on: how soon, in which order, and what others notice of it.

use anyhow::{Result, ensure};

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
use crate::system::Kind;
use crate::system::nginx::Connections;

pub const SECTION: &str = "Release";
const LAST: &str = "last at the origin";
const AT_ONCE: &str = "all at once";

/// What a worker with 20,000 descriptors can take, as each request needs another one to the origin.
const MOST_PER_WORKER: u32 = 9_900;

/// As many as are released while another client is watched, if the descriptors do.
const MANY: u32 = 10_000;

/// Milliseconds from the call, unless it says otherwise.
#[derive(Clone, Debug)]
pub struct Flow {
    pub first: f64,
    pub median: f64,
    pub last: f64,
    /// When the last client had its answer.
    pub over: f64,
    pub released: f64,
    /// Requests that were not answered with 200, and those that came before the call.
    pub lost: f64,
    pub leaked: f64,
    /// How many were overtaken on the way out, and at the origin.
    pub overtaken_at_gate: f64,
    pub overtaken_at_origin: f64,
    /// What another client of the workers waited meanwhile, p99 and at most.
    pub other_p99: f64,
    pub other_max: f64,
    /// The time and the number of each request.
    pub points: Vec<(f64, u32)>,
}

/// Under which circumstances.
#[derive(Clone, Copy)]
struct Scene {
    workers: u32,
    held: u32,
    connections: Connections,
}

pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    let mut all = Vec::new();
    for &workers in &plan.workers {
        for &held in &plan.held {
            if held > MOST_PER_WORKER * workers {
                findings.note(format!(
                    "release of {held} by {}: more than a process can have descriptors for",
                    self::workers(workers)
                ));
                continue;
            }
            for connections in possible(workers, held) {
                let scene = Scene { workers, held, connections };
                tell(&format!("releasing {}", scene.name()));
                let (ours, theirs) = scene.rounds(lab, plan.rounds)?;
                scene.add(findings, &ours, &theirs);
                if held == 5_000 && workers == 2 && connections == Connections::default() {
                    add_points(findings, &ours, &theirs);
                }
                all.extend(ours);
            }
        }
    }
    for &workers in &plan.watched_workers {
        let held = MANY.min(MOST_PER_WORKER * workers);
        let scene = Scene { workers, held, connections: Connections::default() };
        tell(&format!("another client while {held} are released"));
        let (ours, theirs) = scene.rounds(lab, plan.rounds)?;
        add_others(findings, scene, &ours, &theirs);
        all.extend(ours);
    }
    add_losses(findings, &all);
    Ok(())
}

/// A worker alone has a queue of new connections to itself, and one that shares it can get all of
/// them.
fn possible(workers: u32, held: u32) -> impl Iterator<Item = Connections> {
    let shares = [false, true].into_iter();
    let shares = shares.filter(move |shared| !shared || (workers > 1 && held <= MOST_PER_WORKER));
    shares.flat_map(|shared| [false, true].map(|kept| Connections { kept, shared }))
}

impl Scene {
    fn name(self) -> String {
        let shared = if self.connections.shared { ", without reuseport" } else { "" };
        let kept = if self.connections.kept { ", kept connections" } else { "" };
        format!("{} held, {}{shared}{kept}", self.held, workers(self.workers))
    }

    fn rounds(self, lab: &Lab, count: usize) -> Result<(Vec<Flow>, Vec<Flow>)> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..count {
            ours.push(release(self.site(lab, Kind::Intermission)?, self.held)?);
            theirs.push(at_once(self.site(lab, Kind::Plain)?, self.held)?);
        }
        Ok((ours, theirs))
    }

    fn site(self, lab: &Lab, kind: Kind) -> Result<Site> {
        lab.site_with(kind, self.workers, self.connections)
    }

    fn add(self, findings: &mut Findings, ours: &[Flow], theirs: &[Flow]) {
        let timed = |name: &str, of: fn(&Flow) -> f64| {
            let name = format!("{name}, {}", self.name());
            Figure::new(SECTION, name, Unit::Milliseconds, series(ours, of))
                .beside(AT_ONCE, series(theirs, of))
        };
        let counted = |name: &str, of: fn(&Flow) -> f64| {
            let name = format!("{name}, {}", self.name());
            Figure::new(SECTION, name, Unit::Count, series(ours, of))
        };
        if self.held == 5_000 && !self.connections.kept {
            findings.add(timed("first at the origin", |flow| flow.first));
            findings.add(timed("median at the origin", |flow| flow.median));
        }
        findings.add(timed(LAST, |flow| flow.last).goal(Goal::RatioAtMost(1.0)));
        findings.add(timed("last answer", |flow| flow.over).goal(Goal::RatioAtMost(1.0)));
        if !self.connections.kept {
            findings.add(timed("another client's wait, p99", |flow| flow.other_p99));
            let at_gate = counted("overtaken on the way out", |flow| flow.overtaken_at_gate);
            findings.add(at_gate.goal(Goal::AtMost(0.0)));
        }
        let at_origin = counted("overtaken at the origin", |flow| flow.overtaken_at_origin);
        // Between two workers, the last bit of the way to the origin is the scheduler's; and a new
        // connection waits until the origin accepts it, which a kept one does not.
        let judged = self.workers == 1 && !self.connections.kept;
        findings.add(if judged { at_origin.goal(Goal::AtMost(0.0)) } else { at_origin });
    }
}

/// Holds requests and lets them go.
pub fn release(mut site: Site, count: u32) -> Result<Flow> {
    site.pause()?;
    let mut clients = site.clients(0, count, None)?;
    let probe = site.probe()?;
    queue_up(&mut site, &mut clients, count)?;

    let probe = probe.start();
    let call = now();
    site.resume()?;
    finish(&mut site, clients, probe, count, call)
}

/// The reference: as many requests at once, nothing in their way. Their time begins with the sending.
fn at_once(mut site: Site, count: u32) -> Result<Flow> {
    let mut clients = site.clients(0, count, None)?;
    let probe = site.probe()?;
    site.settle()?;

    let probe = probe.start();
    let call = now();
    clients.send_all()?;
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
    let over = now();
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
        over: since(over),
        released: f64::from(count),
        lost: f64::from(count - answered),
        leaked: arrivals.iter().filter(|arrival| arrival.at < call).count() as f64,
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

pub fn workers(count: u32) -> String {
    format!("{count} {}", if count == 1 { "worker" } else { "workers" })
}

/// How many were held, if the figure is about the last of them with so many workers.
pub fn last_of(figure: &Figure, workers: u32) -> Option<u32> {
    let scene = figure.name.strip_prefix(LAST).filter(|_| figure.section == SECTION)?;
    let held = scene.strip_prefix(", ")?.split(' ').next()?.parse().ok()?;
    let usual = Scene { workers, held, connections: Connections::default() };
    scene.ends_with(&usual.name()).then_some(held)
}

fn add_others(findings: &mut Findings, scene: Scene, ours: &[Flow], theirs: &[Flow]) {
    let figure = |name: &str, of: fn(&Flow) -> f64| {
        let name = format!("another client's {name}, {}", scene.name());
        Figure::new(SECTION, name, Unit::Milliseconds, series(ours, of))
            .beside(AT_ONCE, series(theirs, of))
            .goal(Goal::AtMost(10.0))
    };
    findings.add(figure("wait, p99", |flow| flow.other_p99));
    findings.add(figure("longest wait", |flow| flow.other_max));
}

/// Of all rounds together.
fn add_losses(findings: &mut Findings, all: &[Flow]) {
    let figure = |name: &str, of: fn(&Flow) -> f64| {
        let sum = |of: fn(&Flow) -> f64| Series(vec![all.iter().map(of).sum()]);
        Figure::new(SECTION, name, Unit::Count, sum(of))
            .beside("released", sum(|flow| flow.released))
            .goal(Goal::AtMost(0.0))
    };
    findings.add(figure("requests lost", |flow| flow.lost));
    findings.add(figure("at the origin before the call", |flow| flow.leaked));
}

fn add_points(findings: &mut Findings, ours: &[Flow], theirs: &[Flow]) {
    for (name, flows) in [(Kind::Intermission.name(), ours), (AT_ONCE, theirs)] {
        let points = flows[0].points.clone();
        findings.arrivals.push(Arrivals { plot: Plot::Release, name: name.to_owned(), points });
    }
}
