//! The plots, as SVG that is readable in light and dark.

mod svg;

use std::path::Path;

use anyhow::Result;

use crate::figure::{Figure, OURS};
use crate::findings::{Arrivals, Findings, Plot};
use crate::measure::others;
use svg::{Axes, Line, chart, line_color};

/// Writes what there is something to plot for, and says what it wrote and of what it tells.
pub fn write(findings: &Findings, folder: &Path) -> Result<Vec<(String, String)>> {
    let mut written = Vec::new();
    let mut keep = |name: &str, what: &str, done: bool| {
        if done {
            written.push((name.to_owned(), what.to_owned()));
        }
    };
    let file = |name: &str| folder.join(name);
    keep(
        "release.svg",
        "Requests at the origin after the call, beside as many that come all at once",
        release(&file("release.svg"), findings)?,
    );
    keep(
        "growth.svg",
        "When the last one is at the origin, by how many there are",
        growth(&file("growth.svg"), findings)?,
    );
    keep(
        "pace.svg",
        "A release at the pace that was asked for",
        pace(&file("pace.svg"), findings)?,
    );
    keep(
        "order.svg",
        "Each request of a release: its place in the queue, and when it came to the origin",
        order(&file("order.svg"), findings)?,
    );
    keep("others.svg", "The tools side by side", bars(&file("others.svg"), findings)?);
    Ok(written)
}

fn of(findings: &Findings, plot: Plot) -> Vec<&Arrivals> {
    findings.arrivals.iter().filter(|arrivals| arrivals.plot == plot).collect()
}

/// How many had come by when.
fn counted(arrivals: &Arrivals) -> Vec<(f64, f64)> {
    arrivals.points.iter().zip(1_u32..).map(|((at, _), count)| (*at, f64::from(count))).collect()
}

fn release(file: &Path, findings: &Findings) -> Result<bool> {
    let arrivals = of(findings, Plot::Release);
    let line = |arrivals: &&Arrivals| Line::solid(&arrivals.name, counted(arrivals));
    let axes =
        Axes { x: "time since the call (milliseconds)", y: "requests at the origin (number)" };
    chart(file, &axes, &arrivals.iter().map(line).collect::<Vec<_>>())
}

fn pace(file: &Path, findings: &Findings) -> Result<bool> {
    let arrivals = of(findings, Plot::Pace);
    let mut lines: Vec<_> =
        arrivals.iter().map(|arrivals| Line::solid(&arrivals.name, counted(arrivals))).collect();
    if let Some(last) = lines.first().and_then(|line| line.points.last()).copied() {
        let per_milli = f64::from(crate::measure::pace::PER_SECOND) / 1e3;
        lines.push(Line::dashed("asked", vec![(0.0, 0.0), (last.0, last.0 * per_milli)], 1));
    }
    let axes =
        Axes { x: "time since the call (milliseconds)", y: "requests at the origin (number)" };
    chart(file, &axes, &lines)
}

fn growth(file: &Path, findings: &Findings) -> Result<bool> {
    let mut lines = Vec::new();
    for (color, workers) in [1, 2, 4].into_iter().enumerate() {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for figure in &findings.figures {
            let Some(held) = crate::measure::release::last_of(figure, workers) else { continue };
            ours.push((f64::from(held), figure.measured.median()));
            let reference = figure.reference.iter();
            theirs.extend(reference.map(|side| (f64::from(held), side.measured.median())));
        }
        if ours.len() > 1 {
            let name = crate::measure::release::workers(workers);
            lines.push(Line::solid(&format!("{OURS}, {name}"), ours).colored(color));
            lines.push(Line::dashed(&format!("all at once, {name}"), theirs, color));
        }
    }
    let axes = Axes { x: "requests (number)", y: "last at the origin (milliseconds)" };
    chart(file, &axes, &lines)
}

fn order(file: &Path, findings: &Findings) -> Result<bool> {
    const DOTS: usize = 400;
    let arrivals = of(findings, Plot::Others);
    let dots = |arrivals: &&Arrivals| {
        let step = (arrivals.points.len() / DOTS).max(1);
        let sample = arrivals.points.iter().step_by(step);
        Line::dots(&arrivals.name, sample.map(|(at, id)| (at.max(1.0), f64::from(*id))).collect())
    };
    let axes = Axes {
        x: "time since the call (milliseconds, logarithmic)",
        y: "place in the queue (number)",
    };
    svg::scatter(file, &axes, &arrivals.iter().map(dots).collect::<Vec<_>>())
}

fn bars(file: &Path, findings: &Findings) -> Result<bool> {
    let figures: Vec<&Figure> =
        findings.figures.iter().filter(|figure| figure.section == others::SECTION).collect();
    let mut names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let panels: Vec<_> = names
        .into_iter()
        .map(|name| {
            let bar = |figure: &&&Figure| figure.name == name;
            let shown = |figure: &&Figure| svg::Bar {
                name: figure.subject.clone(),
                value: figure.measured.median(),
                label: crate::table::amount(figure.measured.median(), figure.unit),
                color: if figure.subject == OURS { line_color(0) } else { svg::QUIET },
            };
            (name.to_owned(), figures.iter().filter(bar).map(shown).collect())
        })
        .collect();
    svg::bars(file, &panels)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::write;
    use crate::figure::{Figure, Unit};
    use crate::findings::{Arrivals, Findings, Plot};
    use crate::measure::{others, release};
    use crate::stats::Series;

    fn findings() -> Findings {
        let mut findings = Findings::default();
        let series = |value| Series(vec![value]);
        for (count, workers) in [(1_u32, "1 worker"), (2, "2 workers"), (4, "4 workers")] {
            for held in [1_000_u32, 5_000, 15_000] {
                let name = format!("last at the origin, {held} held, {workers}");
                let millis = f64::from(held * (count + 2)) / 60.0;
                let figure =
                    Figure::new(release::SECTION, name, Unit::Milliseconds, series(millis));
                findings.add(figure.beside("all at once", series(millis * 1.1)));
            }
        }
        for (subject, value) in [("intermission", 20.0), ("Lua, in order", 900.0)] {
            for name in ["last at the origin", "memory per request"] {
                let figure = Figure::new(others::SECTION, name, Unit::Bytes, series(value));
                findings.add(figure.of(subject));
            }
        }
        let points = |step: f64| (0..2_000).map(|id| (f64::from(id) * step, id)).collect();
        for (plot, name, step) in [
            (Plot::Release, "intermission", 0.05),
            (Plot::Release, "all at once", 0.06),
            (Plot::Pace, "intermission", 1.0),
            (Plot::Others, "intermission", 0.1),
            (Plot::Others, "Lua, in order", 3.0),
        ] {
            let arrivals = Arrivals { plot, name: name.to_owned(), points: points(step) };
            findings.arrivals.push(arrivals);
        }
        findings
    }

    #[test]
    fn axes_have_names_and_units_and_colours_follow_the_viewer() {
        let folder = tempfile::tempdir().unwrap();
        let written = write(&findings(), folder.path()).unwrap();
        assert_eq!(written.len(), 5);
        for (name, _) in written {
            let svg = fs::read_to_string(folder.path().join(&name)).unwrap();
            assert!(svg.contains("prefers-color-scheme: dark"), "{name}");
            // What the style replaces is written as it is there.
            assert!(svg.contains("fill=\"#FFFFFF\"") && svg.contains("fill=\"#000000\""), "{name}");
            assert!(name == "others.svg" || svg.contains("milliseconds"), "{name}");
        }
    }
}
