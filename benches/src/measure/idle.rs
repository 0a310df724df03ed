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
use crate::process::usage;
use crate::stats::Series;
use crate::system::Kind;
use crate::system::System;
use crate::system::nginx::{Connections, Nginx, Setup};

pub const SECTION: &str = "Idle";

/// Connections of the load for throughput and latency.
const CLIENTS: u32 = 64;

/// What a request carries.
#[derive(Clone, Copy)]
struct Carried {
    name: &'static str,
    headers: &'static str,
}

const BARE: Carried = Carried { name: "bare request", headers: "" };

/// As a browser sends it, cookies and all.
const FULL: Carried = Carried {
    name: "browser's request",
    headers: "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
        Accept-Language: en-US,en;q=0.5\r\n\
        Accept-Encoding: gzip, deflate, br\r\n\
        Referer: http://app.test/lists/17\r\n\
        Cookie: session=2f7b0c0d9a4e4c1d8f6b5a3e2d1c0b9a; theme=dark\r\n\
        Upgrade-Insecure-Requests: 1\r\n\
        Sec-Fetch-Dest: document\r\n\
        Sec-Fetch-Mode: navigate\r\n\
        Sec-Fetch-Site: same-origin\r\n\
        Sec-Fetch-User: ?1\r\n",
};

pub fn measure(lab: &Lab, plan: &Plan, findings: &mut Findings) -> Result<()> {
    for workers in [1, 2] {
        let scene = if workers == 1 { "1 worker" } else { "2 workers" };
        for carried in [BARE, FULL].into_iter().filter(|_| workers <= plan.profiled_workers) {
            tell(&format!("instructions, {}, {scene}", carried.name));
            findings.add(instructions(lab, plan, workers, scene, carried)?);
        }
        tell(&format!("throughput and latency, {scene}"));
        add_load(lab, plan, workers, scene, findings)?;
    }
    Ok(())
}

fn instructions(
    lab: &Lab,
    plan: &Plan,
    workers: u32,
    scene: &str,
    carried: Carried,
) -> Result<Figure> {
    let rounds = compare(lab, plan, Kind::Intermission, workers, carried)?;
    let name = format!("instructions, {}, {scene}", carried.name);
    Ok(figure(SECTION, name, rounds).goal(Goal::RatioAtMost(1.01)))
}

/// What it costs where requests that find no origin would be held.
pub fn instructions_by_itself(lab: &Lab, plan: &Plan, section: &str) -> Result<Figure> {
    let rounds = compare(lab, plan, Kind::HeldByItself, 1, BARE)?;
    let name = format!("instructions, {}, 1 worker, while all is well", BARE.name);
    Ok(figure(section, name, rounds).goal(Goal::RatioAtMost(1.015)))
}

fn figure(section: &str, name: String, [ours, theirs]: [Series; 2]) -> Figure {
    Figure::new(section, name, Unit::Instructions, ours).beside(Kind::Plain.name(), theirs)
}

/// Instructions of a request through this kind of gate, and through none.
fn compare(
    lab: &Lab,
    plan: &Plan,
    kind: Kind,
    workers: u32,
    carried: Carried,
) -> Result<[Series; 2]> {
    let mut sides = [Series::default(), Series::default()];
    for _ in 0..plan.steady_rounds {
        for (kind, side) in [kind, Kind::Plain].into_iter().zip(&mut sides) {
            side.0.push(instructions_per_request(lab, kind, workers, carried)?);
        }
    }
    Ok(sides)
}

/// Instructions that the workers execute for one proxied request on kept connections: what they take
/// for many, less what they take for few, so that starting and ending cancel out.
fn instructions_per_request(lab: &Lab, kind: Kind, workers: u32, carried: Carried) -> Result<f64> {
    const FEW: u32 = 200;
    const MANY: u32 = 1_200;
    let executed = |requests| executed(lab, kind, workers, carried, requests);
    Ok((executed(MANY)? - executed(FEW)?) / f64::from(MANY - FEW))
}

fn executed(lab: &Lab, kind: Kind, workers: u32, carried: Carried, requests: u32) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let origin = Origin::start(None)?;
    let mut setup = kept(kind, workers, &origin);
    // The profiler keeps some descriptors for itself.
    setup.most = 512;
    setup.wrapper = callgrind(folder.path());
    let nginx = Nginx::start(lab, &setup)?;
    let processes = nginx.workers();
    let connect = |_| Client::connect(nginx.addresses()[0]);
    let mut clients = (0..4 * workers).map(connect).collect::<Result<Vec<_>>>()?;
    let count = clients.len();
    for id in 0..requests {
        let client = &mut clients[id as usize % count];
        let answer = client.get_with(&format!("/r/{id}"), carried.headers)?;
        ensure!(answer.status == 200, "a proxied request has failed");
    }
    drop(nginx);
    processes.iter().map(|pid| total(&folder.path().join(format!("callgrind.{pid}")))).sum()
}

fn kept(kind: Kind, workers: u32, origin: &Origin) -> Setup {
    let connections = Connections { kept: true, ..Connections::default() };
    Setup { connections, ..Setup::new(kind, workers, origin.address) }
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
    let mut costs = rates.clone();
    for _ in 0..plan.fine_rounds {
        for ((side, rates), costs) in sides.iter().zip(&mut rates).zip(&mut costs) {
            let (rate, cost) = generator.throughput(side)?;
            rates.0.push(rate);
            costs.0.push(cost);
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
    let [ours, theirs] = costs;
    findings.add(
        Figure::new(SECTION, format!("CPU time per request, {scene}"), Unit::Microseconds, ours)
            .beside(Kind::Plain.name(), theirs),
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
    /// Requests per second, as many as it can take, and the workers' microseconds for each.
    fn throughput(&self, nginx: &Nginx) -> Result<(f64, f64)> {
        let before = usage(&nginx.workers())?;
        let said = self.run("wrk", |command| {
            command
                .args(["-t1", &format!("-c{CLIENTS}")])
                .arg(format!("-d{}s", self.slice.as_secs()))
                .arg(url(nginx));
        })?;
        let used = usage(&nginx.workers())? - before;
        ensure!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "wrk: {said}");
        let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
        let total = said.lines().find_map(|line| line.split_once(" requests in "));
        let total: f64 = total.context("wrk named no total")?.0.trim().parse()?;
        let rate = rate.context("wrk named no rate")?.trim().parse()?;
        Ok((rate, used.cpu_nanos as f64 / 1e3 / total))
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
