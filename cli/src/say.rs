//! What is told: on stderr, a line each. stdout is for answers, and for the command that is run.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::status::TRY_LATER;

/// The longest that is shown of a text from outside.
const SHOWN: usize = 300;

/// Whether the line on the terminal is one that is to be replaced.
static SHOWS_PROGRESS: AtomicBool = AtomicBool::new(false);

/// A message. It may have nowhere to go, when a connection was lost: that is no reason to stop.
pub fn say(message: &str) {
    let clear = if SHOWS_PROGRESS.swap(false, Relaxed) { "\r\x1b[K" } else { "" };
    let _ = io::stderr().write_all(format!("{clear}intermission: {message}\n").as_bytes());
}

/// Replaces the line before on a terminal. Elsewhere it is a line of its own, now and then.
pub fn progress(message: &str, seconds: u64) {
    if io::stderr().is_terminal() {
        let _ = io::stderr().write_all(format!("\r\x1b[Kintermission: {message}").as_bytes());
        SHOWS_PROGRESS.store(true, Relaxed);
    } else if seconds % 5 == 1 {
        say(message);
    }
}

/// Prints a part of the result. Where nobody reads it any more, it ends like any other program.
pub fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) else {
        return;
    };
    if error.kind() == io::ErrorKind::BrokenPipe {
        let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
    }
    say(&format!("the result cannot be written: {error}"));
    process::exit(TRY_LATER);
}

/// What comes from outside, on one line of a terminal.
pub fn printable(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The same for what need not even be text.
pub fn printable_os(text: &OsStr) -> String {
    printable(&String::from_utf8_lossy(text.as_bytes()))
}

/// For a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

pub fn requests(number: u64) -> String {
    counted(number, "request")
}

pub fn nodes(number: usize) -> String {
    counted(number as u64, "node")
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_cannot_drive_a_terminal() {
        assert_eq!(printable("a\x1b[31m\nb\u{9b}c\u{7f}größe"), "a?[31m?b?c?größe");
        assert_eq!(printable(&"x".repeat(400)).len(), SHOWN);
        assert_eq!(printable_os(OsStr::from_bytes(b"a\xffb")), "a\u{fffd}b");
    }

    #[test]
    fn words_for_a_shell_are_quoted() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!(requests(1), "1 request");
        assert_eq!(requests(0), "0 requests");
        assert_eq!(nodes(1), "1 node");
        assert_eq!(nodes(2), "2 nodes");
    }
}
