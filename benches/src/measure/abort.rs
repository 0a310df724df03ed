//! Whether requests whose clients have gone still reach the origin.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::tell;
use crate::figure::{Figure, Goal, Unit};
use crate::findings::Findings;
use crate::lab::Lab;
use crate::plan::Plan;
use crate::stats::Series;
use crate::system::Kind;

pub const SECTION: &str = "Abort";
const WORKERS: u32 = 2;

/// How long a system may take for what it does about clients that leave, and then for what is left.
const PAUSE: Duration = Duration::from_millis(700);

pub struct Case {
    pub name: &'static str,
    pub body: Option<usize>,
    pub clients: u32,
}

pub const CASES: [Case; 3] = [
    Case { name: "without a body", body: None, clients: 1_000 },
    Case { name: "with a body of 400 KB", body: Some(400_000), clients: 200 },
    Case { name: "with a body of 1 KB", body: Some(1_000), clients: 1_000 },
];

pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    for case in &CASES {
        tell(&format!("clients that leave, {}", case.name));
        let replayed = (0..plan.long_rounds)
            .map(|_| round(lab, Kind::Intermission, case))
            .collect::<Result<Series>>()?;
        findings.add(figure(Kind::Intermission, case, replayed).goal(Goal::AtMost(0.0)));
    }
    Ok(())
}

pub fn figure(kind: Kind, case: &Case, replayed: Series) -> Figure {
    let name = format!("of {} that left, {}, at the origin", case.clients, case.name);
    Figure::new(SECTION, name, Unit::Count, replayed).of(kind.name())
}

/// How many requests of clients that left while they were held come to the origin. Behind them a
/// client that stays, whose request must come.
pub fn round(lab: &Lab, kind: Kind, case: &Case) -> Result<f64> {
    let mut site = lab.site(kind, WORKERS)?;
    site.pause()?;
    let mut leaving = site.clients(0, case.clients, case.body)?;
    let mut staying = site.clients(case.clients, 1, None)?;
    leaving.send_spaced(100)?;
    staying.send_all()?;
    site.settle()?;
    leaving.leave(1)?;
    sleep(PAUSE);
    site.resume()?;
    let outcome = staying.outcome(60)?;
    sleep(PAUSE);
    let arrivals = site.origin.arrivals()?;
    let came = |id: u32| arrivals.iter().any(|arrival| arrival.id == id);
    ensure!(came(case.clients), "the client that stayed was not served: {outcome:?}");
    Ok((arrivals.len() - 1) as f64)
}
