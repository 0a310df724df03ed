//! `enable` that waits until the app is quiet.

use std::sync::Arc;

use crate::app::App;
use crate::call::LIMIT;
use crate::options::{Enable, Form, Pace};
use crate::pass_on::{as_enabled, show};
use crate::pause::{Pause, Quiet};
use crate::say::say;
use crate::time::Time;

/// The exit status, or what keeps it from being begun.
pub fn enable(options: Enable, drain: &Time) -> Result<i32, String> {
    let quiet = Quiet { drain, settle: options.settle.as_ref() };
    let mut pause = Pause::new(App::new(options.place), options.lasts, Pace::default())?;
    if pause.take(false) && pause.wait_until_quiet(&quiet) {
        show_enabled(&pause, &options.form);
        pause.paused.clear();
    } else if options.keep {
        say("what is paused stays paused (--keep)");
        pause.paused.clear();
    }
    let complaint = pause.app.complaint.get();
    Ok(pause.leave(complaint.unwrap_or(0)))
}

/// What the call would have answered, had it been one.
fn show_enabled(pause: &Pause, form: &Form) {
    let app = &pause.app;
    for (server, answer) in app.ask(&app.servers, "status", LIMIT, &[form.argument()]) {
        if answer.is_ok() {
            let is_new = pause.paused.iter().any(|paused| Arc::ptr_eq(paused, &server));
            let message = if is_new { "Pause enabled." } else { "Pause already enabled." };
            let enabled = as_enabled(&answer, form, message, pause.waited);
            show(&server, &enabled, form, app.servers.len());
        } else {
            app.complain_of(&server, &answer);
        }
    }
}
