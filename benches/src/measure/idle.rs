//! What an open gate costs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;

use super::tell;
use crate::figure::{Figure, Goal, Unit};
use crate::findings::Findings;
use crate::helper::Origin;
use crate::http::Client;
use crate::lab::Lab;
use crate::plan::Plan;
use crate::stats::Series;
use crate::system::Kind;
use crate::system::System;
use crate::system::nginx::{Nginx, Setup};

const SECTION: &str = "Idle";

/// Connections of the load for throughput and latency.
const CLIENTS: u32 = 64;

pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    for workers in [1, 2] {
        let scene = if workers == 1 { "1 worker" } else { "2 workers" };
        tell(&format!("instructions, {scene}"));
        add_instructions(lab, plan, workers, scene, findings)?;
        tell(&format!("throughput and latency, {scene}"));
        add_load(lab, plan, workers, scene, findings)?;
    }
    Ok(())
}

fn add_instructions(
    lab: &Lab,
    plan: &Plan,
    workers: u32,
    scene: &str,
    findings: &mut Findings,
) -> Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        ours.push(instructions(lab, Kind::Intermission, workers)?);
        theirs.push(instructions(lab, Kind::Plain, workers)?);
    }
    let name = format!("instructions per request, {scene}");
    findings.add(
        Figure::new(SECTION, name, Unit::Instructions, Series(ours))
            .beside(Kind::Plain.name(), Series(theirs))
            .goal(Goal::RatioAtMost(1.01)),
    );
    Ok(())
}

/// Instructions that the workers execute for one proxied request on kept connections: what they take
/// for many, less what they take for few, so that starting and ending cancel out.
pub fn instructions(lab: &Lab, kind: Kind, workers: u32) -> Result<f64> {
    const FEW: u32 = 200;
    const MANY: u32 = 1_200;
    let difference = executed(lab, kind, workers, MANY)? - executed(lab, kind, workers, FEW)?;
    Ok(difference / f64::from(MANY - FEW))
}

fn executed(lab: &Lab, kind: Kind, workers: u32, requests: u32) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let origin = Origin::start(None)?;
    let mut setup = kept(kind, workers, &origin);
    // The profiler keeps some descriptors for itself.
    setup.connections = 512;
    setup.wrapper = callgrind(folder.path());
    let nginx = Nginx::start(lab, &setup)?;
    let processes = nginx.workers();
    let connect = |_| Client::connect(nginx.addresses()[0]);
    let mut clients = (0..4 * workers).map(connect).collect::<Result<Vec<_>>>()?;
    let count = clients.len();
    for id in 0..requests {
        let client = &mut clients[id as usize % count];
        ensure!(client.get(&format!("/r/{id}"))?.status == 200, "a proxied request has failed");
    }
    drop(nginx);
    processes.iter().map(|pid| total(&folder.path().join(format!("callgrind.{pid}")))).sum()
}

fn kept(kind: Kind, workers: u32, origin: &Origin) -> Setup {
    Setup { keep_upstream: true, ..Setup::new(kind, workers, origin.address) }
}

fn callgrind(folder: &Path) -> Vec<String> {
    let out = folder.join("callgrind.%p");
    let words = [
        "valgrind",
        "--tool=callgrind",
        "--trace-children=yes",
        &format!("--callgrind-out-file={}", out.display()),
    ];
    words.map(str::to_owned).to_vec()
}

fn total(file: &Path) -> Result<f64> {
    let profile = fs::read_to_string(file).context("no profile")?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals:"));
    Ok(total.context("a profile without a total")?.trim().parse()?)
}

/// Both sides stand ready all the time, and take turns.
fn add_load(
    lab: &Lab,
    plan: &Plan,
    workers: u32,
    scene: &str,
    findings: &mut Findings,
) -> Result<()> {
    let load = lab.cores.of_load(workers);
    let origin = Origin::start(load.as_deref())?;
    let side = |kind| Nginx::start(lab, &kept(kind, workers, &origin));
    let sides = [side(Kind::Intermission)?, side(Kind::Plain)?];
    let generator = Generator { cores: load, slice: plan.slice };

    let mut rates = [Series::default(), Series::default()];
    for _ in 0..plan.fine_rounds {
        for (side, rates) in sides.iter().zip(&mut rates) {
            rates.0.push(generator.throughput(side)?);
        }
    }
    // Half of what it can take, so that waiting in line is not what is measured.
    let rate = rates[1].median() / 2.0;
    let mut latencies = [Vec::new(), Vec::new()];
    for _ in 0..plan.rounds {
        for (side, latencies) in sides.iter().zip(&mut latencies) {
            latencies.push(generator.latencies(side, rate)?);
        }
    }

    let [ours, theirs] = rates;
    findings.add(
        Figure::new(SECTION, format!("throughput, {scene}"), Unit::PerSecond, ours)
            .beside(Kind::Plain.name(), theirs)
            .goal(Goal::RatioAtLeast(0.99)),
    );
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let [ours, theirs] = latencies.each_ref().map(|rounds| {
            let at = |round: &Histogram<u64>| round.value_at_quantile(quantile) as f64 / 1e3;
            rounds.iter().map(at).collect::<Series>()
        });
        let name = format!("latency {name} at half of that, {scene}");
        findings.add(
            Figure::new(SECTION, name, Unit::Milliseconds, ours).beside(Kind::Plain.name(), theirs),
        );
    }
    Ok(())
}

/// The programs that make the load.
struct Generator {
    cores: Option<String>,
    slice: Duration,
}

impl Generator {
    /// Requests per second, as many as it can take.
    fn throughput(&self, nginx: &Nginx) -> Result<f64> {
        let said = self.run("wrk", |command| {
            command
                .args(["-t1", &format!("-c{CLIENTS}")])
                .arg(format!("-d{}s", self.slice.as_secs()))
                .arg(url(nginx));
        })?;
        ensure!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "wrk: {said}");
        let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
        Ok(rate.context("wrk named no rate")?.trim().parse()?)
    }

    /// Microseconds of each request, at a constant rate.
    fn latencies(&self, nginx: &Nginx, rate: f64) -> Result<Histogram<u64>> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        self.run("h2load", |command| {
            command
                .args(["--h1", "-t1", &format!("-c{CLIENTS}")])
                .arg(format!("--rps={}", (rate / f64::from(CLIENTS)).ceil()))
                .arg(format!("--duration={}", self.slice.as_secs()))
                .arg(format!("--log-file={}", log.display()))
                .arg(url(nginx));
        })?;
        read_latencies(&fs::read_to_string(log)?)
    }

    fn run(&self, program: &str, arguments: impl FnOnce(&mut Command)) -> Result<String> {
        let mut command = match &self.cores {
            Some(cores) => {
                let mut command = Command::new("taskset");
                command.args(["-c", cores, program]);
                command
            }
            None => Command::new(program),
        };
        arguments(&mut command);
        let output = command.output().with_context(|| format!("cannot run {program}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{program}: {said}");
        Ok(said)
    }
}

fn url(nginx: &Nginx) -> String {
    format!("http://{}/r/1", nginx.addresses()[0])
}

/// Of lines with the time of the start, the status and the microseconds that it took.
fn read_latencies(log: &str) -> Result<Histogram<u64>> {
    let mut latencies = Histogram::new(3)?;
    for line in log.lines() {
        let [_, "200", micros] = line.split('\t').collect::<Vec<_>>()[..] else {
            bail!("h2load reports a failure: {line}");
        };
        latencies.record(micros.parse()?)?;
    }
    Ok(latencies)
}
