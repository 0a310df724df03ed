//! What is made of the definitions: completion for shells, and the manual page.

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};

use crate::options::definitions;
use crate::say::print;

const NAME: &str = "intermission";

pub fn completion(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definitions(), NAME, &mut script);
    print(&String::from_utf8_lossy(&script));
}

/// One page for all commands.
pub fn manual() -> String {
    let mut root = definitions();
    root.build();
    let mut page = Roff::new();
    page.control("TH", ["INTERMISSION", "1", " ", NAME, "User Commands"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{NAME} - {}", about(&root)))]);
    page.control("SH", ["SYNOPSIS"]);
    usage(&mut page, &root);
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(&mut page, &before(&root), "SH");
    page.control("SH", ["COMMANDS"]);
    let commands: Vec<_> =
        root.get_subcommands().filter(|command| command.get_name() != "help").collect();
    for command in &commands {
        item(&mut page, command.get_name(), &about(command));
    }
    for command in &commands {
        chapter(&mut page, command);
        let parts = command.get_subcommands().filter(|command| command.get_name() != "help");
        parts.for_each(|part| chapter(&mut page, part));
    }
    paragraphs(&mut page, &after(&root), "SH");
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("curl"), roman(" (1), "), bold("nginx"), roman(" (8)")]);
    page.to_roff()
}

fn chapter(page: &mut Roff, command: &Command) {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_uppercase();
    page.control("SH", [name.as_str()]);
    usage(page, command);
    paragraphs(page, &before(command), "SS");
    let is_listed = |option: &&Arg| option.get_long().is_some_and(|name| name != "help");
    let options: Vec<_> = command.get_arguments().filter(is_listed).collect();
    if !options.is_empty() {
        page.control("SS", ["OPTIONS"]);
    }
    for option in options {
        item(page, &shape(option), &help(option));
    }
    paragraphs(page, &after(command), "SS");
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn before(command: &Command) -> String {
    command.get_before_help().map(ToString::to_string).unwrap_or_default()
}

fn after(command: &Command) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default()
}

fn help(option: &Arg) -> String {
    let text = option.get_help().map(ToString::to_string).unwrap_or_default();
    let takes_value = option.get_action().takes_values();
    let is_shown = takes_value && !option.is_hide_default_value_set();
    match option.get_default_values().first().filter(|_| is_shown) {
        Some(value) => format!("{text}; {} if not given", value.to_string_lossy()),
        None => text,
    }
}

/// `--for TIME`
fn shape(option: &Arg) -> String {
    let name = option.get_long().unwrap_or_default();
    let value = option.get_value_names().filter(|_| option.get_action().takes_values());
    let value = value.and_then(<[_]>::first).map(|value| format!(" {value}"));
    format!("--{name}{}", value.unwrap_or_default())
}

fn usage(page: &mut Roff, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    page.control("nf", []);
    for line in usage.trim_start_matches("Usage: ").lines() {
        page.text([roman(line.trim())]);
    }
    page.control("fi", []);
}

fn item(page: &mut Roff, name: &str, text: &str) {
    page.control("TP", []);
    page.text([bold(name)]);
    page.text([roman(text)]);
}

/// Text as it is in the help: paragraphs; headings that end in a colon, with items of an indented line or word that are
/// explained further in; examples, which are indented and nothing else.
fn paragraphs(page: &mut Roff, text: &str, heading_level: &str) {
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let mut lines: Vec<&str> = block.trim_matches('\n').lines().collect();
        let is_heading = |line: &&str| !line.starts_with(' ') && lines.len() > 1;
        let heading =
            lines.first().copied().filter(is_heading).and_then(|line| line.strip_suffix(':'));
        match heading.filter(|heading| !heading.contains(". ")) {
            Some(heading) => {
                page.control(heading_level, [heading.to_uppercase().as_str()]);
                lines.remove(0);
            }
            None => {
                page.control("PP", []);
            }
        }
        if lines.iter().all(|line| line.starts_with("  ")) {
            items(page, &lines);
        } else {
            page.text([roman(lines.join("\n"))]);
        }
    }
}

/// What is explained, and how: behind it, or in the lines below. Where nothing is explained, it is an example.
fn items(page: &mut Roff, lines: &[&str]) {
    let is_below = |line: &str| line.starts_with("   ");
    let is_example = lines.iter().all(|line| !is_below(line) && !line.trim().contains("   "));
    if is_example {
        page.control("nf", []);
        for line in lines {
            page.text([roman(line.trim())]);
        }
        page.control("fi", []);
        return;
    }
    for line in lines {
        if is_below(line) {
            page.text([roman(line.trim())]);
        } else {
            let (name, text) = line.trim().split_once("   ").unwrap_or((line.trim(), ""));
            page.control("TP", []);
            page.text([bold(name)]);
            if !text.is_empty() {
                page.text([roman(text.trim())]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_examples_items_and_paragraphs() {
        let mut page = Roff::new();
        let text = "One\nparagraph.\n\nexample:\n  do it\n\nstatus:\n  0   good\n      indeed\n  TERM\n      it";
        paragraphs(&mut page, text, "SH");
        let expected = ".PP\nOne\nparagraph.\n.SH EXAMPLE\n.nf\ndo it\n.fi\n.SH STATUS\n\
                        .TP\n\\fB0\\fR\ngood\nindeed\n.TP\n\\fBTERM\\fR\nit\n";
        let made = page.to_roff();
        assert!(made.ends_with(expected), "{made}");
    }
}
