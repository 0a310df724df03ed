//! One run of the benchmark.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::check::regressions;
use crate::cores::Cores;
use crate::findings::Findings;
use crate::lab::Lab;
use crate::measure::{abort, hold, idle, others, pace, release};
use crate::plan::Plan;
use crate::{page, plot, table};

#[derive(Default)]
pub struct Options {
    pub nginx: PathBuf,
    pub module: Option<PathBuf>,
    pub tools: Option<PathBuf>,
    /// Where `bench.md` and the folder `bench` beside it go.
    pub out: PathBuf,
    /// The figures of an earlier run, to compare with.
    pub recorded: Option<PathBuf>,
    /// The measurements to make; all if none is named.
    pub only: Vec<String>,
    pub quick: bool,
}

type Measurement = fn(&Lab, &Plan, &mut Findings) -> Result<()>;

const MEASUREMENTS: [(&str, Measurement); 6] = [
    ("idle", idle::measure),
    ("hold", hold::measure),
    ("release", release::measure),
    ("pace", pace::measure),
    ("abort", abort::measure),
    ("others", others::measure),
];

pub fn run(options: &Options) -> Result<ExitCode> {
    // One of its own, as nginx must not lose it when it is built anew.
    let folder = tempfile::tempdir()?;
    let module = options.module.as_deref().map(|module| copy(module, folder.path())).transpose()?;
    let lab = Lab {
        nginx: options.nginx.clone(),
        module,
        tools: options.tools.clone(),
        cores: Cores::of_this_machine()?,
    };
    let load = load()?;
    if load > 0.3 * f64::from(lab.cores.count) {
        eprintln!("    this machine is busy (load {load:.1}): the figures will be rough");
    }
    let plan = if options.quick { Plan::quick() } else { Plan::full() };
    // Before anything is written over it.
    let recorded = options.recorded.as_deref().map(read).transpose()?;

    let findings = measure(&lab, &plan, &options.only)?;
    println!("{}", table::plain(&page::own(&findings)));
    println!("{}", table::by_subject(&page::compared(&findings)));
    for note in &findings.notes {
        println!("  not measured: {note}");
    }
    write(&lab, load, &findings, &options.out)?;
    Ok(recorded.map_or(ExitCode::SUCCESS, |recorded| judge(&recorded, &findings)))
}

/// How many processes ran on average in the last minute.
fn load() -> Result<f64> {
    let loads = fs::read_to_string("/proc/loadavg")?;
    Ok(loads.split(' ').next().unwrap_or_default().parse()?)
}

fn copy(module: &Path, folder: &Path) -> Result<PathBuf> {
    let own = folder.join("module.so");
    fs::copy(module, &own).with_context(|| format!("there is no {}", module.display()))?;
    Ok(own)
}

fn measure(lab: &Lab, plan: &Plan, only: &[String]) -> Result<Findings> {
    let known = |name: &String| MEASUREMENTS.iter().any(|(known, _)| known == name);
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        bail!("there is no measurement {unknown}");
    }
    let mut findings = Findings::default();
    for (name, measurement) in MEASUREMENTS {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            eprintln!("==> {name}");
            if let Err(error) = measurement(lab, plan, &mut findings) {
                findings.note(format!("{name}: {error:#}"));
            }
        }
    }
    Ok(findings)
}

fn write(lab: &Lab, load: f64, findings: &Findings, out: &Path) -> Result<()> {
    let folder = out.join("bench");
    fs::create_dir_all(&folder)?;
    let mut text = serde_json::to_string_pretty(findings)?;
    text.push('\n');
    fs::write(folder.join("figures.json"), text)?;
    let plots = plot::write(findings, &folder)?;
    let file = out.join("bench.md");
    page::write(&page::machine(lab, load)?, findings, &plots, &file)?;
    eprintln!("==> Written: {}", file.display());
    Ok(())
}

fn read(file: &Path) -> Result<Findings> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("there are no figures to compare with in {}", file.display()))?;
    Ok(serde_json::from_str(&text)?)
}

fn judge(recorded: &Findings, findings: &Findings) -> ExitCode {
    let regressions = regressions(&recorded.figures, &findings.figures);
    if regressions.is_empty() {
        println!("No figure is worse than the one on record beyond its noise.");
        return ExitCode::SUCCESS;
    }
    for regression in regressions {
        println!("worse: {regression}");
    }
    ExitCode::FAILURE
}
