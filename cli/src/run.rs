//! Runs a command while the app is paused, and resumes it in every case.
//!
//! Calls that change the app's state are made one after the other, and each that was made is waited for, whatever signal
//! comes meanwhile: so it is known what it did, and no renewal is under way when the app is resumed.

pub mod command;

use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use self::command::Command;
use crate::app::App;
use crate::options::Run;
use crate::pause::{Pause, Quiet, Renewals, Rhythm};
use crate::say::{printable_os, say};
use crate::signals::{Event, keep_away};
use crate::status::TRY_LATER;
use crate::time::seconds;

const LONG: Duration = Duration::from_secs(3600);

/// The exit status, or what keeps it from being begun.
pub fn run(options: Run) -> Result<i32, String> {
    let mut words = options.command.into_iter();
    let name = words.next().unwrap_or_default();
    if let Err((status, problem)) = command::check(&name) {
        say(&format!("{problem}. Nothing was paused."));
        return Ok(status);
    }
    let rhythm = Rhythm::of(&options.lasts);
    let quiet = Quiet { drain: &options.drain, settle: options.settle.as_ref() };
    let mut pause = Pause::new(App::new(options.place), Some(options.lasts), options.pace)?;
    if !pause.take(true) || !pause.wait_until_quiet(&quiet) {
        let status = pause.app.complaint.get().unwrap_or(0);
        return Ok(pause.leave(status));
    }
    let (waited, shown) = (seconds(pause.waited), printable_os(&name));
    say(&format!("paused, and quiet after {waited}: running {shown}"));
    let status = match Command::start(&name, words) {
        Ok(mut command) => {
            pause.has_run = true;
            wait_for(&mut command, &mut pause, rhythm)
        }
        Err((status, problem)) => {
            say(&problem);
            status
        }
    };
    Ok(pause.leave(status))
}

/// Waits for the end of the command: its exit status. Meanwhile the deadline is moved on, and signals are passed on.
fn wait_for(command: &mut Command, pause: &mut Pause, rhythm: Rhythm) -> i32 {
    let mut due = Some(Instant::now() + rhythm.every);
    let status = loop {
        match command.status() {
            Ok(None) => {}
            Ok(Some(status)) => break as_number(status),
            Err(error) => {
                say(&format!("the command cannot be waited for: {error}"));
                break TRY_LATER;
            }
        }
        let left = due.map_or(LONG, |due| due.saturating_duration_since(Instant::now()));
        match pause.signals.next(left) {
            Some(Event::Signal(caught)) => command.pass_on(caught),
            Some(Event::Done(renewals)) => {
                due = Some(Instant::now() + pause.see_renewals(renewals, rhythm));
            }
            Some(Event::Child) => {}
            None if due.is_some() => due = begin_renewal(pause, rhythm),
            None => {}
        }
    };
    // What was sent has an effect, be it late.
    while due.is_none() {
        if let Some(Event::Done(renewals)) = pause.signals.next(LONG) {
            due = Some(Instant::now() + pause.see_renewals(renewals, rhythm));
        }
    }
    status
}

/// Renews the pause beside, so that signals are passed on meanwhile. It is an event when that is done; if it cannot be
/// done beside, this is when the next one is due.
fn begin_renewal(pause: &mut Pause, rhythm: Rhythm) -> Option<Instant> {
    let (renewing, sender) = (pause.renewing(rhythm), pause.signals.sender());
    let begun = thread::Builder::new().spawn(move || {
        keep_away();
        let renewals: Renewals = renewing.run();
        // Nobody waits for it when this process is about to end.
        let _ = sender.send(Event::Done(renewals));
    });
    if begun.is_ok() {
        return None;
    }
    let renewals = pause.renewing(rhythm).run();
    Some(Instant::now() + pause.see_renewals(renewals, rhythm))
}

/// As a shell has it.
pub fn as_number(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(TRY_LATER)
}
