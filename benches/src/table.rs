//! The figures as rows of text.

use crate::figure::{Figure, Goal, OURS, Unit};
use crate::stats::Series;

const HEAD: [&str; 6] = ["figure", "intermission", "reference", "ratio", "to reach", ""];
const MISSED: &str = "MISSED";

/// One table for reading in a terminal.
pub fn plain(figures: &[&Figure]) -> String {
    let mut lines = vec![Some(HEAD.map(str::to_owned).to_vec())];
    let mut sections = vec![""];
    for row in rows(figures) {
        if sections.last() != Some(&row.section) {
            lines.push(None);
            sections.push(row.section);
        }
        lines.push(Some(row.cells.to_vec()));
    }
    aligned(&lines, &sections[1..])
}

/// One row for each figure, one column for each subject.
pub fn by_subject(figures: &[&Figure]) -> String {
    aligned(&matrix(figures).into_iter().map(Some).collect::<Vec<_>>(), &[])
}

/// Lines of cells, and where there are none, the next of the headings.
fn aligned(lines: &[Option<Vec<String>>], headings: &[&str]) -> String {
    let mut widths = Vec::new();
    for line in lines.iter().flatten() {
        widths.resize(line.len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut headings = headings.iter();
    let mut text = String::new();
    for line in lines {
        match line {
            Some(cells) => {
                let pad = |(cell, width): (&String, &usize)| format!("{cell:<width$}");
                let padded: Vec<_> = cells.iter().zip(&widths).map(pad).collect();
                text.push_str(&format!("  {}\n", padded.join("  ").trim_end()));
            }
            None => text.extend(headings.next().map(|heading| format!("\n{heading}\n"))),
        }
    }
    text
}

/// The same for a page: a table for each section.
pub fn markdown(figures: &[&Figure]) -> String {
    let mut text = String::new();
    let mut section = "";
    for row in rows(figures) {
        if row.section != section {
            section = row.section;
            text.push_str(&format!("\n### {section}\n\n"));
            text.push_str(&markdown_head(&HEAD.map(str::to_owned)));
        }
        text.push_str(&markdown_line(&stressed(row.cells)));
    }
    text
}

/// Questions, and the figures that answer them.
pub fn markdown_answers(answers: &[(&str, &Figure)]) -> String {
    let mut head = vec!["asked".to_owned()];
    head.extend(HEAD.map(str::to_owned));
    let mut text = markdown_head(&head);
    for (question, figure) in answers {
        let mut line = vec![(*question).to_owned()];
        line.extend(stressed(cells(figure)));
        text.push_str(&markdown_line(&line));
    }
    text
}

/// What was missed is to be seen.
fn stressed(cells: [String; 6]) -> [String; 6] {
    cells.map(|cell| if cell == MISSED { format!("**{cell}**") } else { cell })
}

pub fn markdown_by_subject(figures: &[&Figure]) -> String {
    let mut lines = matrix(figures).into_iter();
    let mut text = lines.next().map(|head| markdown_head(&head)).unwrap_or_default();
    text.extend(lines.map(|line| markdown_line(&line)));
    text
}

fn markdown_head(cells: &[String]) -> String {
    format!("{}|{}\n", markdown_line(cells), " --- |".repeat(cells.len()))
}

fn markdown_line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The subjects as the head, then the figures.
fn matrix(figures: &[&Figure]) -> Vec<Vec<String>> {
    let subjects = distinct(figures.iter().map(|figure| figure.subject.as_str()));
    let mut lines = vec![vec![String::new()]];
    lines[0].extend(subjects.iter().map(|subject| (*subject).to_owned()));
    for name in distinct(figures.iter().map(|figure| figure.name.as_str())) {
        let cell = |subject: &&str| {
            let found = figures.iter().find(|f| f.name == name && f.subject == *subject);
            found.map_or("–".to_owned(), |figure| beside_ours(figure))
        };
        let mut line = vec![name.to_owned()];
        line.extend(subjects.iter().map(cell));
        lines.push(line);
    }
    lines
}

/// Where it was measured beside intermission's, the median of the ratios as well.
fn beside_ours(figure: &Figure) -> String {
    let measured = spread(&figure.measured, |value| amount(value, figure.unit));
    let reference = figure.reference.as_ref().filter(|reference| reference.name == OURS);
    match reference.and_then(|_| figure.ratio()) {
        Some(ratio) => format!("{measured}, {} ×", number(ratio.median())),
        None => measured,
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

struct Row<'a> {
    section: &'a str,
    cells: [String; 6],
}

fn rows<'a>(figures: &[&'a Figure]) -> Vec<Row<'a>> {
    figures.iter().map(|figure| Row { section: &figure.section, cells: cells(figure) }).collect()
}

fn cells(figure: &Figure) -> [String; 6] {
    let reference = figure.reference.as_ref().map(|reference| {
        format!("{}: {}", reference.name, spread(&reference.measured, |v| amount(v, figure.unit)))
    });
    let ratio = figure.ratio().map(|ratio| spread(&ratio, share));
    [
        figure.name.clone(),
        spread(&figure.measured, |value| amount(value, figure.unit)),
        reference.unwrap_or_default(),
        ratio.unwrap_or_default(),
        figure.goal.map(|goal| target(goal, figure.unit)).unwrap_or_default(),
        verdict(figure).to_owned(),
    ]
}

/// What became of its goal, if it has one.
fn verdict(figure: &Figure) -> &'static str {
    match (figure.goal, figure.reached()) {
        (None, _) => "",
        (_, Some(true)) => "reached",
        (_, Some(false)) => MISSED,
        (_, None) => "cannot be said: the reference is 0",
    }
}

/// The median, and in brackets the range of all rounds.
pub fn spread(series: &Series, show: impl Fn(f64) -> String) -> String {
    let median = show(series.median());
    let (lowest, highest) = (show(series.lowest()), show(series.highest()));
    if lowest == highest { median } else { format!("{median} ({lowest} – {highest})") }
}

fn target(goal: Goal, unit: Unit) -> String {
    match goal {
        Goal::RatioAtMost(most) => format!("≤ {most:.2}"),
        Goal::RatioAtLeast(least) => format!("≥ {least:.2}"),
        Goal::AtMost(most) => format!("≤ {}", amount(most, unit)),
        Goal::Within(share) => format!("± {}", amount(share * 100.0, Unit::Share)),
    }
}

/// A ratio, to more places where it is near to 1.
pub fn share(ratio: f64) -> String {
    if (ratio - 1.0).abs() < 0.02 { format!("{ratio:.4}") } else { format!("{ratio:.3}") }
}

pub fn amount(value: f64, unit: Unit) -> String {
    let number = number(value);
    match unit {
        Unit::Count | Unit::Instructions => number,
        Unit::PerSecond => format!("{number}/s"),
        Unit::Milliseconds => format!("{number} ms"),
        Unit::Microseconds => format!("{number} µs"),
        Unit::Bytes => format!("{number} B"),
        Unit::Cpu => format!("{number} ms/s"),
        Unit::Share => format!("{number} %"),
    }
}

/// Three digits that count, or all before the point.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size < 0.995 => 3,
        size if size < 9.95 => 2,
        size if size < 99.5 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    if digits > 0 { text } else { grouped(&text) }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().rev().enumerate() {
        if place > 0 && place % 3 == 0 && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text.chars().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::{amount, markdown, markdown_by_subject, number, spread};
    use crate::figure::{Figure, Goal, Unit};
    use crate::stats::Series;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.1234, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0].map(number);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "123", "1,234", "1,234,567"]);
        assert_eq!(amount(9788.2, Unit::Bytes), "9,788 B");
    }

    #[test]
    fn what_became_of_a_goal_is_shown() {
        let figure = |reference| {
            Figure::new("s", "n", Unit::Count, Series(vec![2.0]))
                .beside("plain", Series(vec![reference]))
                .goal(Goal::RatioAtMost(1.0))
        };
        assert!(markdown(&[&figure(1.0)]).contains("**MISSED**"));
        assert!(markdown(&[&figure(2.0)]).contains("reached"));
        assert!(markdown(&[&figure(0.0)]).contains("cannot be said"));
    }

    #[test]
    fn other_tools_stand_beside_intermission() {
        let figure = |subject, value| {
            Figure::new("s", "n", Unit::Milliseconds, Series(vec![value])).of(subject)
        };
        let ours = figure("intermission", 2.0);
        let theirs = figure("Caddy", 6.0).beside("intermission", ours.measured.clone());
        let table = markdown_by_subject(&[&ours, &theirs]);
        assert!(table.ends_with("| n | 2.00 ms | 6.00 ms, 3.00 × |\n"), "{table}");
    }

    #[test]
    fn a_range_is_shown_where_there_is_one() {
        let show = |value: f64| number(value);
        assert_eq!(spread(&Series(vec![2.0, 2.0]), show), "2.00");
        assert_eq!(spread(&Series(vec![3.0, 1.0, 2.0]), show), "2.00 (1.00 – 3.00)");
    }
}
