//! `docs/bench.md`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::answers;
use crate::figure::{Figure, OURS};
use crate::findings::Findings;
use crate::lab::Lab;
use crate::measure::{abort, others};
use crate::table;

const TEMPLATE: &str = include_str!("../page.md");

pub fn write(
    machine: &str,
    findings: &Findings,
    plots: &[(String, String)],
    file: &Path,
) -> Result<()> {
    let own: Vec<_> = own(findings);
    let page = TEMPLATE
        .replace("{{version}}", version())
        .replace("{{machine}}", machine)
        .replace("{{answers}}", table::markdown_answers(&answers::of(&own)).trim())
        .replace("{{table}}", table::markdown(&own).trim())
        .replace("{{others}}", &table::markdown_by_subject(&compared(findings)))
        .replace("{{better}}", &better(findings))
        .replace("{{notes}}", &notes(findings))
        .replace("{{goals}}", &goals(findings))
        .replace("{{plots}}", &pictures(plots));
    fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))
}

/// The figures of intermission that stand for themselves.
pub fn own(findings: &Findings) -> Vec<&Figure> {
    let own = |figure: &&Figure| figure.subject == OURS && figure.section != others::SECTION;
    findings.figures.iter().filter(own).collect()
}

/// That of the module, which stands first in its manifest.
fn version() -> &'static str {
    include_str!("../../Cargo.toml")
        .split('"')
        .skip_while(|part| !part.ends_with("\nversion = "))
        .nth(1)
        .unwrap_or("unknown")
}

/// What was measured on, and how busy it was with other things.
pub fn machine(lab: &Lab, load: f64) -> Result<String> {
    let about = fs::read_to_string("/proc/cpuinfo")?;
    let model = about.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.split(['-', '+']).next().unwrap_or_default().trim();
    let (cores, nginx) = (lab.cores.count, lab.nginx_version()?);
    Ok(format!("{cores} cores of {model}, Linux {kernel}, {nginx}; load before the run: {load:.1}"))
}

/// The figures in which all tools are compared.
pub fn compared(findings: &Findings) -> Vec<&Figure> {
    let sections = [others::SECTION, abort::SECTION];
    findings.figures.iter().filter(|figure| sections.contains(&figure.section.as_str())).collect()
}

/// What others do better, if no round of theirs is as bad as the best of intermission's.
fn better(findings: &Findings) -> String {
    let figures = compared(findings);
    let (ours, theirs): (Vec<&Figure>, Vec<&Figure>) =
        figures.into_iter().partition(|figure| figure.subject == OURS);
    let mut found = Vec::new();
    for their in theirs {
        let our = ours.iter().find(|our| our.name == their.name);
        if our.is_some_and(|our| their.measured.highest() < our.measured.lowest()) {
            found.push(format!("- {}: {}\n", their.subject, their.name));
        }
    }
    if found.is_empty() {
        return "In none of these is another tool better than intermission.".to_owned();
    }
    format!("Better than intermission:\n\n{}", found.concat())
}

fn goals(findings: &Findings) -> String {
    let (goals, missed) = findings.goals();
    format!("{} of {goals} goals are reached.", goals - missed.len())
}

fn notes(findings: &Findings) -> String {
    let notes = findings.notes.iter().map(|note| format!("- {note}\n"));
    let failures = findings.failures.iter().map(|failure| format!("- failed: {failure}\n"));
    let all: String = notes.chain(failures).collect();
    if all.is_empty() { all } else { format!("Not measured:\n\n{all}") }
}

fn pictures(plots: &[(String, String)]) -> String {
    plots.iter().map(|(name, what)| format!("{what}:\n\n![{what}](bench/{name})\n\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::{Findings, version, write};
    use crate::figure::{Figure, Unit};
    use crate::stats::Series;

    #[test]
    fn every_place_of_the_template_is_filled() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bench.md");
        let mut findings = Findings::default();
        findings.note("a part: for want of a part");
        findings.fail("another part: it broke");
        write("a machine", &findings, &[], &file).unwrap();
        let page = std::fs::read_to_string(&file).unwrap();
        assert!(!page.contains("{{"), "{page}");
        assert!(page.contains(&format!("version {}", version())) && version().starts_with("0."));
        assert!(page.contains("- a part: for want") && page.contains("- failed: another part"));
    }

    #[test]
    fn what_a_user_asks_for_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bench.md");
        let mut findings = Findings::default();
        let figure = |name| Figure::new("Release", name, Unit::Count, Series(vec![0.0]));
        findings.add(figure("something else"));
        findings.add(figure("requests lost"));
        write("a machine", &findings, &[], &file).unwrap();
        let page = std::fs::read_to_string(&file).unwrap();
        let place = |text: &str| page.find(text).unwrap();
        assert!(
            place("| Are requests lost? | requests lost | 0 |") < place("| something else | 0 |")
        );
        assert_eq!(page.matches("something else").count(), 1);
    }
}
