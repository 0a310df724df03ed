//! Other tools, held to the same: the same clients, origin and figures.

use anyhow::Result;

use super::{abort, hold, release, tell};
use crate::figure::{Figure, OURS, Unit};
use crate::findings::{Arrivals, Findings, Plot};
use crate::lab::Lab;
use crate::plan::Plan;
use crate::stats::Series;
use crate::system::Kind;

pub const SECTION: &str = "Others";
const WORKERS: u32 = 2;

const KINDS: [Kind; 5] =
    [Kind::Intermission, Kind::LuaInOrder, Kind::Lua, Kind::Caddy, Kind::HaProxy];

type OfFlow = fn(&release::Flow) -> f64;

/// What the rounds of one of them brought.
struct Rounds {
    kind: Kind,
    costs: Vec<hold::Cost>,
    flows: Vec<release::Flow>,
    /// For each case, how many requests of clients that left came to the origin.
    replayed: Vec<Series>,
}

/// In turns, so that all of them meet the same machine.
pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    let mut all = present(lab, findings).map(|kind| Rounds::none(kind, plan)).collect::<Vec<_>>();
    for round in 1..=plan.long_rounds {
        all.retain_mut(|rounds| {
            tell(&format!("{}, round {round}", rounds.kind.name()));
            let outcome = rounds.one_more(lab, plan);
            if let Err(error) = &outcome {
                findings.fail(format!("{}, round {round}: {error:#}", rounds.kind.name()));
            }
            outcome.is_ok()
        });
    }
    let ours = all.iter().position(|rounds| rounds.kind == Kind::Intermission);
    for rounds in &all {
        rounds.report(ours.map(|ours| &all[ours]), plan, findings);
    }
    Ok(())
}

fn present(lab: &Lab, findings: &mut Findings) -> impl Iterator<Item = Kind> {
    let at_hand = lab.tools.is_some();
    if !at_hand {
        let names =
            KINDS.iter().filter(|kind| **kind != Kind::Intermission).map(|kind| kind.name());
        findings.note(format!(
            "{}: their packages are not at hand",
            names.collect::<Vec<_>>().join("; ")
        ));
    }
    KINDS.into_iter().filter(move |kind| at_hand || *kind == Kind::Intermission)
}

/// Intermission's own are in their section.
fn cases(kind: Kind, plan: &Plan) -> &'static [abort::Case] {
    let count = if kind == Kind::Intermission { 0 } else { plan.cases_of_others };
    &abort::CASES[..count]
}

impl Rounds {
    fn none(kind: Kind, plan: &Plan) -> Self {
        let replayed = vec![Series::default(); cases(kind, plan).len()];
        Self { kind, costs: Vec::new(), flows: Vec::new(), replayed }
    }

    fn one_more(&mut self, lab: &Lab, plan: &Plan) -> Result<()> {
        let held = plan.held_by_others;
        self.costs.push(hold::round(lab, self.kind, WORKERS, held, plan.window)?);
        self.flows.push(release::release(lab.site(self.kind, WORKERS)?, held)?);
        for (case, replayed) in cases(self.kind, plan).iter().zip(&mut self.replayed) {
            replayed.0.push(abort::round(lab, self.kind, case)?);
        }
        Ok(())
    }

    fn report(&self, ours: Option<&Self>, plan: &Plan, findings: &mut Findings) {
        self.add(findings, ours, plan, "CPU time while holding", Unit::Cpu, |all| {
            all.costs(|cost| cost.cpu_millis_per_second)
        });
        self.add(findings, ours, plan, "memory per request", Unit::Bytes, |all| {
            all.costs(|cost| cost.bytes_per_request)
        });
        let flows: [(&str, Unit, OfFlow); 5] = [
            ("last at the origin", Unit::Milliseconds, |flow| flow.last),
            ("overtaken at the origin", Unit::Count, |flow| flow.overtaken_at_origin),
            ("lost", Unit::Count, |flow| flow.lost),
            ("at the origin before the call", Unit::Count, |flow| flow.leaked),
            ("another client's longest wait", Unit::Milliseconds, |flow| flow.other_max),
        ];
        for (name, unit, of) in flows {
            self.add(findings, ours, plan, name, unit, |all| release::series(&all.flows, of));
        }
        for (case, replayed) in cases(self.kind, plan).iter().zip(&self.replayed) {
            findings.add(abort::figure(self.kind, case, replayed.clone()));
        }
        let (points, name) = (self.flows[0].points.clone(), self.kind.name().to_owned());
        findings.arrivals.push(Arrivals { plot: Plot::Others, name, points });
    }

    /// Beside intermission's, round by round.
    fn add(
        &self,
        findings: &mut Findings,
        ours: Option<&Self>,
        plan: &Plan,
        name: &str,
        unit: Unit,
        of: impl Fn(&Self) -> Series,
    ) {
        let name = format!("{name}, {} held", plan.held_by_others);
        let figure = Figure::new(SECTION, name, unit, of(self)).of(self.kind.name());
        findings.add(match ours {
            Some(ours) if self.kind != Kind::Intermission => figure.beside(OURS, of(ours)),
            _ => figure,
        });
    }

    fn costs(&self, of: fn(&hold::Cost) -> f64) -> Series {
        self.costs.iter().map(of).collect()
    }
}
