//! What a call answers: the state of apps, as text and as JSON.

use std::fmt::Write;

use super::Done;
use crate::gate::State;
use crate::gate::outage::Tally;
use crate::gate::totals::Totals;

/// An app as `status` shows it.
#[derive(Clone, Debug)]
pub struct Report {
    pub app: Vec<u8>,
    pub state: State,
    /// The number of the pause that goes on.
    pub pause: Option<u64>,
    pub held: u32,
    pub in_flight: u32,
    pub upgraded: u32,
    pub oldest_wait_ms: u64,
    /// When the state last changed, as RFC 3339 writes it; `None` if it never did.
    pub since: Option<String>,
    /// When the pause ends by itself.
    pub resumes_at: Option<String>,
    /// How long ago the last request was abandoned; `None` if none was.
    pub last_abandoned_ms: Option<u64>,
    /// Processes that serve requests, or may, which nobody counts.
    pub uncounted_processes: usize,
    pub totals: Totals,
    pub outages: Tally,
}

impl Report {
    /// The first line of `status`, for scripts to match: what the call that led to this state answered.
    pub fn line(&self) -> &'static str {
        match self.state {
            State::Open => Done::Disabled.line(),
            State::Paused => Done::Enabled.line(),
            State::Down => "Backend down.",
            State::Releasing => "Pause disabled, releasing.",
            State::Maintenance => Done::Maintenance.line(),
        }
    }

    pub fn text(&self) -> String {
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
        let mut lines = format!(
            "app: {}\nstate: {}\nheld: {}\nin_flight: {}\nupgraded: {}\noldest_wait_ms: {}\n\
             since: {}\nresumes_at: {}\npause: {}\nlast_abandoned_ms: {}\nuncounted_processes: {}\n",
            one_line(&self.app),
            self.state.name(),
            self.held,
            self.in_flight,
            self.upgraded,
            self.oldest_wait_ms,
            self.since.as_deref().unwrap_or("-"),
            self.resumes_at.as_deref().unwrap_or("-"),
            number(self.pause),
            number(self.last_abandoned_ms),
            self.uncounted_processes,
        );
        for (name, total) in self.totals() {
            let _ = writeln!(lines, "total_{name}: {total}");
        }
        lines
    }

    pub fn json(&self) -> String {
        let time = |at: &Option<String>| at.as_deref().map_or_else(|| "null".to_owned(), quoted);
        let number = |number: Option<u64>| number.map_or("null".to_owned(), |n| n.to_string());
        let totals: Vec<_> =
            self.totals().map(|(name, total)| format!("\"{name}\":{total}")).collect();
        format!(
            "{{\"app\":{},\"state\":\"{}\",\"held\":{},\"in_flight\":{},\"upgraded\":{},\
             \"oldest_wait_ms\":{},\"since\":{},\"resumes_at\":{},\"pause\":{},\"last_abandoned_ms\":{},\
             \"uncounted_processes\":{},\"totals\":{{{}}}}}",
            quoted(&String::from_utf8_lossy(&self.app)),
            self.state.name(),
            self.held,
            self.in_flight,
            self.upgraded,
            self.oldest_wait_ms,
            time(&self.since),
            time(&self.resumes_at),
            number(self.pause),
            number(self.last_abandoned_ms),
            self.uncounted_processes,
            totals.join(","),
        )
    }

    fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        totals(&self.totals).into_iter().chain(of_outages(&self.outages))
    }
}

/// The totals by name; those that ever were held come first.
pub fn totals(totals: &Totals) -> [(&'static str, u64); 7] {
    [
        ("held", totals.held),
        ("released", totals.released),
        ("timed_out", totals.timed_out),
        ("aborted", totals.aborted),
        ("rejected", totals.rejected),
        ("bypassed", totals.bypassed),
        ("abandoned", totals.abandoned),
    ]
}

/// What the outages of an app came to, by name.
fn of_outages(tally: &Tally) -> [(&'static str, u64); 4] {
    [
        ("outages", tally.outages),
        ("taken_back", tally.taken_back),
        ("expired", tally.expired),
        ("probes", tally.probes),
    ]
}

/// A JSON string (RFC 8259), also safe inside an HTML page.
pub fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\n' => json.push_str("\\n"),
            c if c.is_control() || matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// A name from outside in a line of text: control characters cannot begin another line.
fn one_line(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
