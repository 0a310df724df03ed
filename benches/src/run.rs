//! One run of the benchmark.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::check::compare;
use crate::cores::Cores;
use crate::figure::{Figure, OURS};
use crate::findings::Findings;
use crate::lab::Lab;
use crate::measure::{abort, fleet, hold, idle, others, outage, pace, release};
use crate::plan::Plan;
use crate::{page, plot, table};

#[derive(Default)]
pub struct Options {
    pub nginx: PathBuf,
    pub module: Option<PathBuf>,
    /// The operator's command, `intermission`.
    pub command: Option<PathBuf>,
    pub tools: Option<PathBuf>,
    /// Where `bench.md` and the folder `bench` beside it go.
    pub out: PathBuf,
    /// The figures of an earlier run, to compare with.
    pub recorded: Option<PathBuf>,
    /// The measurements to make; all if none is named.
    pub only: Vec<String>,
    pub quick: bool,
}

struct Measurement {
    name: &'static str,
    /// The section that its figures are in.
    section: &'static str,
    make: fn(&Lab, &Plan, &mut Findings) -> Result<()>,
}

const MEASUREMENTS: [Measurement; 8] = [
    Measurement { name: "idle", section: idle::SECTION, make: idle::measure },
    Measurement { name: "hold", section: hold::SECTION, make: hold::measure },
    Measurement { name: "release", section: release::SECTION, make: release::measure },
    Measurement { name: "pace", section: pace::SECTION, make: pace::measure },
    Measurement { name: "abort", section: abort::SECTION, make: abort::measure },
    Measurement { name: "outage", section: outage::SECTION, make: outage::measure },
    Measurement { name: "fleet", section: fleet::SECTION, make: fleet::measure },
    Measurement { name: "others", section: others::SECTION, make: others::measure },
];

impl Measurement {
    /// Whether the figure comes from it. Those of other tools all come from one.
    fn has_made(&self, figure: &Figure) -> bool {
        let section = if figure.subject == OURS { &figure.section } else { others::SECTION };
        self.section == section
    }
}

impl Options {
    fn wants(&self, measurement: &Measurement) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == measurement.name)
    }

    /// Whether a run with these options is to measure what an earlier one has measured.
    fn expects(&self, figure: &Figure) -> bool {
        let wanted = MEASUREMENTS.iter().any(|made| made.has_made(figure) && self.wants(made));
        !self.quick && (self.only.is_empty() || wanted)
    }
}

pub fn run(options: &Options) -> Result<ExitCode> {
    // One of its own, as nginx must not lose it when it is built anew.
    let folder = tempfile::tempdir()?;
    let module = options.module.as_deref().map(|module| copy(module, folder.path())).transpose()?;
    let lab = Lab {
        nginx: options.nginx.clone(),
        module,
        command: options.command.clone(),
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

    let findings = measure(&lab, &plan, options)?;
    println!("{}", table::plain(&page::own(&findings)));
    println!("{}", table::by_subject(&page::compared(&findings)));
    tell_outcome(&findings);
    write(&lab, load, &findings, &options.out)?;
    let good = recorded.is_none_or(|recorded| is_as_good(options, &recorded, &findings));
    Ok(if good && findings.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell_outcome(findings: &Findings) {
    let (goals, missed) = findings.goals();
    println!("{} of {goals} goals are reached.", goals - missed.len());
    for figure in missed {
        println!("  missed: {}, {}", figure.section, figure.name);
    }
    for note in &findings.notes {
        println!("  not measured: {note}");
    }
    for failure in &findings.failures {
        println!("  FAILED: {failure}");
    }
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

fn measure(lab: &Lab, plan: &Plan, options: &Options) -> Result<Findings> {
    let known = |name: &String| MEASUREMENTS.iter().any(|known| known.name == name);
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        bail!("there is no measurement {unknown}");
    }
    let mut findings = Findings::default();
    for measurement in MEASUREMENTS.iter().filter(|measurement| options.wants(measurement)) {
        eprintln!("==> {}", measurement.name);
        if let Err(error) = (measurement.make)(lab, plan, &mut findings) {
            findings.fail(format!("{}: {error:#}", measurement.name));
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
    let text = fs::read_to_string(file).with_context(|| {
        format!("there are no figures to compare with: {} cannot be read", file.display())
    })?;
    serde_json::from_str(&text).with_context(|| format!("{} holds no figures", file.display()))
}

fn is_as_good(options: &Options, recorded: &Findings, findings: &Findings) -> bool {
    let comparison =
        compare(&recorded.figures, &findings.figures, |figure| options.expects(figure));
    print!("{comparison}");
    comparison.is_good()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Options, read};
    use crate::figure::{Figure, Unit};
    use crate::measure::{abort, idle};
    use crate::stats::Series;

    fn figure(section: &str) -> Figure {
        Figure::new(section, "n", Unit::Count, Series(vec![1.0]))
    }

    fn options(only: &[&str], quick: bool) -> Options {
        let only = only.iter().map(|name| (*name).to_owned()).collect();
        Options { only, quick, ..Options::default() }
    }

    #[test]
    fn a_full_run_is_to_have_all() {
        assert!(options(&[], false).expects(&figure(idle::SECTION)));
        assert!(options(&[], false).expects(&figure("a section that is no more")));
    }

    #[test]
    fn a_part_is_to_have_its_own() {
        let only = options(&["abort"], false);
        assert!(only.expects(&figure(abort::SECTION)));
        assert!(!only.expects(&figure(idle::SECTION)));
        assert!(!only.expects(&figure(abort::SECTION).of("Caddy")));
        assert!(options(&["others"], false).expects(&figure(abort::SECTION).of("Caddy")));
    }

    #[test]
    fn a_quick_run_is_to_have_nothing_in_particular() {
        assert!(!options(&[], true).expects(&figure(idle::SECTION)));
    }

    #[test]
    fn without_a_record_there_is_nothing_to_compare_with() {
        let error = read(Path::new("/nowhere/figures.json")).unwrap_err();
        assert!(error.to_string().starts_with("there are no figures to compare with"));
    }
}
