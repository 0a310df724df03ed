//! What happens when the origin goes away and nobody has said so: it is restarted under load.

use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::{hold, idle, tell};
use crate::clients::Outcome;
use crate::clock::{millis, now};
use crate::figure::{Figure, Goal, Unit};
use crate::findings::Findings;
use crate::helper::{Clients, Origin};
use crate::lab::{Lab, Site};
use crate::origin::Arrival;
use crate::plan::Plan;
use crate::stats::Series;
use crate::system::Kind;

pub const SECTION: &str = "Held by itself";
const WORKERS: u32 = 2;

const RESTARTS: u32 = 5;
/// For how long it is there, and for how long it is not.
const THERE: Duration = Duration::from_secs(2);
const AWAY: Duration = Duration::from_secs(2);

/// Half of them GET, half of them POST with a body.
const PER_SECOND: u32 = 1_000;
const BODY: usize = 1_000;

const HELD: u32 = 5_000;
const FEW: u32 = 10;

/// How the origin ends.
#[derive(Clone, Copy)]
enum End {
    /// It answers whoever has connected.
    Graceful,
    Killed,
}

/// What came of one round of restarts.
struct Restarts {
    sent: u32,
    failed: u32,
    /// How many came to the origin more than once, as far as it could tell.
    twice: u32,
    /// From the start of the origin to the first request there, the longest of all.
    first_millis: f64,
}

pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    tell("instructions while all is well");
    findings.add(idle::instructions_by_itself(lab, plan, SECTION)?);
    tell("restarts, graceful");
    add_restarts(lab, plan, End::Graceful, findings)?;
    tell("restarts, killed");
    add_restarts(lab, plan, End::Killed, findings)?;
    tell("holding while it is down");
    add_holding(lab, plan, findings)
}

fn add_restarts(lab: &Lab, plan: &Plan, end: End, findings: &mut Findings) -> Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.long_rounds {
        ours.push(restarts(lab, Kind::HeldByItself, end)?);
        theirs.push(restarts(lab, Kind::Plain, end)?);
    }
    let how = match end {
        End::Graceful => "restarts",
        End::Killed => "restarts by SIGKILL",
    };
    let sent = ours.first().map_or(0, |round| round.sent);
    let series =
        |rounds: &[Restarts], of: fn(&Restarts) -> f64| rounds.iter().map(of).collect::<Series>();
    let figure = |name: &str, of| {
        let name = format!("{name} of {sent}, {RESTARTS} {how}");
        Figure::new(SECTION, name, Unit::Count, series(&ours, of))
            .beside(Kind::Plain.name(), series(&theirs, of))
    };
    let failed = figure("failed", |round| round.failed.into());
    match end {
        End::Graceful => {
            findings.add(failed.goal(Goal::AtMost(0.0)));
            findings.add(figure("sent twice", |round| round.twice.into()).goal(Goal::AtMost(0.0)));
            let first = series(&ours, |round| round.first_millis);
            let name = "first request at the origin after its start, probed every 50 ms";
            let figure = Figure::new(SECTION, name, Unit::Milliseconds, first);
            findings.add(figure.goal(Goal::AtMost(60.0)));
        }
        // Those that were on their way.
        End::Killed => findings.add(failed),
    }
    Ok(())
}

fn restarts(lab: &Lab, kind: Kind, end: End) -> Result<Restarts> {
    let mut site = lab.site(kind, WORKERS)?;
    let seconds = (THERE + AWAY).as_secs() as u32 * RESTARTS;
    let half = seconds * PER_SECOND / 2;
    let load = [(0, None), (half, Some(BODY))].map(|(first, body)| {
        let mut clients = site.clients(first, half, body)?;
        Ok(thread::spawn(move || -> Result<Clients> {
            clients.send_spaced(2_000_000 / u64::from(PER_SECOND))?;
            Ok(clients)
        }))
    });
    let (mut arrivals, mut first_millis) = (Vec::new(), 0_f64);
    for _ in 0..RESTARTS {
        sleep(THERE);
        arrivals.extend(end_origin(&mut site, end)?);
        sleep(AWAY);
        let began = now();
        site.origin = Origin::start_at(None, site.origin.address)?;
        first_millis = first_millis.max(until_first(&mut site, began, &mut arrivals)?);
    }
    let mut failed = 0;
    for clients in load {
        let clients: Result<_> = clients;
        let mut clients = clients?.join().map_err(|_| anyhow!("a load has failed"))??;
        failed += lost(&clients.outcome(60)?);
    }
    arrivals.extend(site.origin.arrivals()?);
    let twice = arrivals.len() - distinct(&arrivals);
    Ok(Restarts { sent: 2 * half, failed, twice: u32::try_from(twice)?, first_millis })
}

fn end_origin(site: &mut Site, end: End) -> Result<Vec<Arrival>> {
    match end {
        End::Graceful => site.origin.close(),
        End::Killed => {
            let seen = site.origin.arrivals()?;
            site.origin.kill()?;
            Ok(seen)
        }
    }
}

/// How long it takes until the first request is there.
fn until_first(site: &mut Site, began: u64, arrivals: &mut Vec<Arrival>) -> Result<f64> {
    const STEP: Duration = Duration::from_millis(10);
    for _ in 0..500 {
        let seen = site.origin.arrivals()?;
        let first = seen.iter().map(|arrival| arrival.at).min();
        arrivals.extend(seen);
        if let Some(first) = first {
            return Ok(millis(first - began));
        }
        sleep(STEP);
    }
    Err(anyhow!("no request came to an origin that was started again"))
}

fn lost(outcome: &Outcome) -> u32 {
    let errors = outcome.statuses.iter().filter(|(status, _)| **status != 200);
    outcome.failed + outcome.waiting + errors.map(|(_, count)| count).sum::<u32>()
}

fn distinct(arrivals: &[Arrival]) -> usize {
    arrivals.iter().map(|arrival| arrival.id).collect::<std::collections::HashSet<_>>().len()
}

/// What it costs to hold requests and to look for the origin: what a pause and the probes cost, however many are
/// held.
fn add_holding(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    let (mut many, mut few, mut paused) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        many.push(hold::round(lab, Kind::HeldByItself, WORKERS, HELD, plan.window)?);
        few.push(hold::round(lab, Kind::HeldByItself, WORKERS, FEW, plan.window)?);
        paused.push(hold::round(lab, Kind::Intermission, WORKERS, HELD, plan.window)?);
    }
    let cpu = |costs: &[hold::Cost]| costs.iter().map(|cost| cost.cpu_millis_per_second).collect();
    let name = format!("CPU time, {HELD} held, {WORKERS} workers, probed every 50 ms");
    let figure = |name: &str| Figure::new(SECTION, name, Unit::Cpu, cpu(&many));
    let beside_few = figure(&name).beside(&format!("{FEW} held"), cpu(&few));
    findings.add(beside_few.goal(Goal::RatioAtMost(1.25)));
    findings.add(figure(&format!("{name}, beside a pause")).beside("paused", cpu(&paused)));
    Ok(())
}
