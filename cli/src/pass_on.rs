//! Calls that are passed on as they are: status, enable, disable, maintenance.

use std::ffi::OsString;

use crate::app::App;
use crate::call::{Answer, Argument, CANARY_LIMIT, LIMIT, Server, Verdict};
use crate::options::{Disable, Form, Maintenance, Pace, Place, Show};
use crate::say::print;
use crate::time::Time;

pub fn status(options: Show) -> i32 {
    pass_on("status", options.place, &options.form, vec![])
}

pub fn enable(place: Place, form: &Form, lasts: Option<&Time>) -> i32 {
    pass_on("enable", place, form, vec![("for", time(lasts))])
}

pub fn disable(options: Disable) -> i32 {
    let pace = arguments(&options.pace, options.pace.canary);
    pass_on("disable", options.place, &options.form, pace)
}

pub fn maintenance(options: Maintenance) -> i32 {
    let retry_after = time(options.retry_after.as_ref());
    pass_on("maintenance", options.place, &options.form, vec![("retry_after", retry_after)])
}

/// An option as an argument, which is left out if it is empty.
pub fn time(option: Option<&Time>) -> OsString {
    option.map(Time::to_string).unwrap_or_default().into()
}

/// How held requests are let go.
pub fn arguments(pace: &Pace, canary: Option<u32>) -> Vec<Argument> {
    let number = |option: Option<u32>| option.map(|n| n.to_string()).unwrap_or_default().into();
    vec![
        ("rate", pace.rate.clone().unwrap_or_default().into()),
        ("burst", number(pace.burst)),
        ("concurrency", number(pace.concurrency)),
        ("canary", number(canary)),
    ]
}

/// The same call at each of the addresses, and the answers as they are.
fn pass_on(call: &str, place: Place, form: &Form, others: Vec<Argument>) -> i32 {
    let app = App::new(place);
    let is_canary = others.iter().any(|(name, value)| *name == "canary" && !value.is_empty());
    let limit = if is_canary { CANARY_LIMIT } else { LIMIT };
    let mut arguments = app.arguments(&others);
    arguments.push(form.argument());
    for server in &app.servers {
        let answer = server.call(call, limit, &arguments);
        if answer.is_ok() {
            show(server, &answer.body, form, app.servers.len());
            continue;
        }
        // An error in JSON is an answer, too.
        if form.json && matches!(answer.verdict, Verdict::Refused(_)) {
            print(&format!("{}\n", answer.body));
        }
        app.complain_of(server, &answer);
    }
    app.complaint.get().unwrap_or(0)
}

impl Form {
    pub fn argument(&self) -> Argument {
        ("format", if self.json { "json".into() } else { OsString::new() })
    }
}

/// One of so many answers.
pub fn show(server: &Server, body: &str, form: &Form, count: usize) {
    if form.json || count == 1 {
        print(&format!("{body}\n"));
    } else {
        print(&format!("url: {}\n{body}\n", server.address));
    }
}

/// A status, as if it were the answer of a call that has waited until it was quiet.
pub fn as_enabled(answer: &Answer, form: &Form, message: &str, drained_ms: u64) -> String {
    if form.json {
        let rest = answer.body.strip_prefix('{').unwrap_or(&answer.body);
        format!("{{\"message\":\"{message}\",\"drained_ms\":{drained_ms},{rest}")
    } else {
        // In place of the status's own first line, which that of an older module does not have.
        let body = match answer.body.split_once('\n') {
            Some((first, rest)) if !first.starts_with("app: ") => rest,
            _ => &answer.body,
        };
        format!("{message}\ndrained_ms: {drained_ms}\n{body}")
    }
}
