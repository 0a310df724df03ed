//! Other tools, held to the same: the same clients, origin and figures.

use anyhow::Result;

use super::{abort, hold, release, tell};
use crate::figure::{Figure, Unit};
use crate::findings::{Arrivals, Findings, Plot};
use crate::lab::Lab;
use crate::plan::Plan;
use crate::stats::Series;
use crate::system::Kind;

pub const SECTION: &str = "Others";
const WORKERS: u32 = 2;

const KINDS: [Kind; 5] =
    [Kind::Intermission, Kind::LuaInOrder, Kind::Lua, Kind::Caddy, Kind::HaProxy];

pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    for kind in KINDS {
        if lab.tools.is_none() && kind != Kind::Intermission {
            findings.note(format!("{}: not measured, its package is not at hand", kind.name()));
            continue;
        }
        tell(kind.name());
        if let Err(error) = measure_one(lab, plan, kind, findings) {
            findings.note(format!("{}: {error:#}", kind.name()));
        }
    }
    Ok(())
}

fn measure_one(lab: &Lab, plan: &Plan, kind: Kind, findings: &mut Findings) -> Result<()> {
    let held = plan.held_by_others;
    let rounds = plan.long_rounds;
    tell(&format!("    holding {held}"));
    let costs = (0..rounds)
        .map(|_| hold::round(lab, kind, WORKERS, held, plan.window))
        .collect::<Result<Vec<_>>>()?;
    tell(&format!("    releasing {held}"));
    let flows = (0..rounds)
        .map(|_| release::release(lab.site(kind, WORKERS)?, held))
        .collect::<Result<Vec<_>>>()?;
    let mut add = |name: &str, unit, series: Series| {
        let name = format!("{name}, {held} held");
        findings.add(Figure::new(SECTION, name, unit, series).of(kind.name()));
    };
    let cost = |of: fn(&hold::Cost) -> f64| costs.iter().map(of).collect::<Series>();
    add("CPU time while holding", Unit::Cpu, cost(|cost| cost.cpu_millis_per_second));
    add("memory per request", Unit::Bytes, cost(|cost| cost.bytes_per_request));
    let flow = |of: fn(&release::Flow) -> f64| release::series(&flows, of);
    add("last at the origin", Unit::Milliseconds, flow(|flow| flow.last));
    add("overtaken at the origin", Unit::Count, flow(|flow| flow.overtaken_at_origin));
    add("lost", Unit::Count, flow(|flow| flow.lost));
    add("at the origin before the call", Unit::Count, flow(|flow| flow.leaked));
    add("another client's longest wait", Unit::Milliseconds, flow(|flow| flow.other_max));
    let points = flows[0].points.clone();
    findings.arrivals.push(Arrivals { plot: Plot::Others, name: kind.name().to_owned(), points });

    // Intermission's own are in their section.
    for case in
        abort::CASES.iter().take(plan.cases_of_others).filter(|_| kind != Kind::Intermission)
    {
        tell(&format!("    clients that leave, {}", case.name));
        let replayed =
            (0..rounds).map(|_| abort::round(lab, kind, case)).collect::<Result<Series>>()?;
        findings.add(abort::figure(kind, case, replayed));
    }
    Ok(())
}
