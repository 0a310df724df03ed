//! `metrics`: Prometheus' text format, version 0.0.4.

use std::fmt::Write;

use super::report::Report;
use crate::gate::State;
use crate::gate::totals::{BOUNDS_MS, Waits};
use crate::shm::Memory;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An app as `metrics` shows it.
#[derive(Clone, Debug)]
pub struct Sample {
    pub report: Report,
    pub waits: Waits,
    /// Seconds since the state last changed, 0 if it never did.
    pub state_age: f64,
    /// How many requests the workers hold, by nginx's process slot.
    pub held_by_worker: Vec<(usize, u32)>,
}

impl Sample {
    /// Of an app that is open, and for which nobody ever waited.
    pub fn of(report: Report) -> Self {
        Self { report, waits: Waits::default(), state_age: 0.0, held_by_worker: Vec::new() }
    }
}

const STATES: [State; 5] =
    [State::Open, State::Paused, State::Releasing, State::Maintenance, State::Down];

/// About what an app takes.
const BYTES_PER_APP: usize = 3000;

/// The metrics of all apps.
pub fn render(samples: &[Sample], memory: Memory) -> String {
    let mut page = Page {
        text: String::with_capacity(BYTES_PER_APP * (samples.len() + 1)),
        apps: samples.iter().map(|sample| escaped(&sample.report.app)).collect(),
        samples,
    };
    page.states();
    page.gauge("held_requests", "Requests held at the gate.", |s| f64::from(s.report.held));
    page.by_worker();
    page.gauge("in_flight_requests", "Requests that went through and are not over.", |s| {
        f64::from(s.report.in_flight)
    });
    page.gauge(
        "upgraded_connections",
        "Connections upgraded (101) after they went through.",
        |s| f64::from(s.report.upgraded),
    );
    page.gauge("longest_wait_seconds", "For how long the first in the queue is held.", |s| {
        seconds(s.report.oldest_wait_ms)
    });
    page.gauge("state_age_seconds", "Time since the state last changed.", |s| s.state_age);
    page.totals();
    page.waits();
    page.abandoned();
    page.outages();
    page.memory(memory);
    page.text
}

struct Page<'s> {
    text: String,
    apps: Vec<String>,
    samples: &'s [Sample],
}

impl Page<'_> {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(
            self.text,
            "# HELP intermission_{name} {help}\n# TYPE intermission_{name} {kind}\n"
        );
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Fn(&Sample) -> f64) {
        self.begin(name, "gauge", help);
        for (sample, app) in self.samples.iter().zip(&self.apps) {
            let _ = writeln!(self.text, "intermission_{name}{{app=\"{app}\"}} {}", value(sample));
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Fn(&Sample) -> u64) {
        self.begin(name, "counter", help);
        for (sample, app) in self.samples.iter().zip(&self.apps) {
            let _ = writeln!(self.text, "intermission_{name}{{app=\"{app}\"}} {}", value(sample));
        }
    }

    fn states(&mut self) {
        self.begin("state", "gauge", "1 for the state that the app is in.");
        for (sample, app) in self.samples.iter().zip(&self.apps) {
            for state in STATES {
                let is = u8::from(sample.report.state == state);
                let name = state.name();
                let _ = writeln!(
                    self.text,
                    "intermission_state{{app=\"{app}\",state=\"{name}\"}} {is}"
                );
            }
        }
    }

    fn by_worker(&mut self) {
        self.begin("worker_held_requests", "gauge", "Requests held, by the worker's process slot.");
        for (sample, app) in self.samples.iter().zip(&self.apps) {
            for (slot, held) in &sample.held_by_worker {
                let _ = writeln!(
                    self.text,
                    "intermission_worker_held_requests{{app=\"{app}\",worker=\"{slot}\"}} {held}"
                );
            }
        }
    }

    fn totals(&mut self) {
        self.counter("holds_total", "Requests that were ever held.", |s| s.report.totals.held);
        self.begin("requests_total", "counter", "Requests that met a closed gate, by what came.");
        for (sample, app) in self.samples.iter().zip(&self.apps) {
            let totals = super::report::totals(&sample.report.totals);
            let at_a_gate = |(name, _): &&(&str, u64)| !["held", "abandoned"].contains(name);
            for (outcome, total) in totals.iter().filter(at_a_gate) {
                let _ = writeln!(
                    self.text,
                    "intermission_requests_total{{app=\"{app}\",outcome=\"{outcome}\"}} {total}"
                );
            }
        }
    }

    fn waits(&mut self) {
        self.begin("wait_seconds", "histogram", "How long requests were held.");
        for (sample, app) in self.samples.iter().zip(&self.apps) {
            let mut below = 0;
            for (count, bound) in sample.waits.buckets.iter().zip(BOUNDS_MS) {
                below += count;
                let _ = writeln!(
                    self.text,
                    "intermission_wait_seconds_bucket{{app=\"{app}\",le=\"{}\"}} {below}",
                    seconds(bound)
                );
            }
            let count = sample.waits.count();
            let _ = write!(
                self.text,
                "intermission_wait_seconds_bucket{{app=\"{app}\",le=\"+Inf\"}} {count}\n\
                 intermission_wait_seconds_sum{{app=\"{app}\"}} {}\n\
                 intermission_wait_seconds_count{{app=\"{app}\"}} {count}\n",
                sample.waits.sum_micros as f64 / 1e6
            );
        }
    }

    fn abandoned(&mut self) {
        let help = "Requests that went through and ended before the backend's answer was complete.";
        self.counter("abandoned_requests_total", help, |s| s.report.totals.abandoned);
        let help = "Time since the last request was abandoned, where one was.";
        self.begin("last_abandoned_seconds", "gauge", help);
        for (sample, app) in self.samples.iter().zip(&self.apps) {
            if let Some(millis) = sample.report.last_abandoned_ms {
                let _ = writeln!(
                    self.text,
                    "intermission_last_abandoned_seconds{{app=\"{app}\"}} {}",
                    seconds(millis)
                );
            }
        }
        self.begin("uncounted_processes", "gauge", "Processes whose requests nobody counts.");
        let processes = self.samples.iter().map(|sample| sample.report.uncounted_processes).max();
        let _ = writeln!(self.text, "intermission_uncounted_processes {}", processes.unwrap_or(0));
    }

    fn outages(&mut self) {
        self.counter("outages_total", "How often the backend was found to be down.", |s| {
            s.report.outages.outages
        });
        self.counter("taken_back_requests_total", "Requests held as they found no backend.", |s| {
            s.report.outages.taken_back
        });
        let help = "Requests held for as long as they may wait for their backend.";
        self.counter("expired_requests_total", help, |s| s.report.outages.expired);
        self.counter("probes_total", "How often was looked whether the backend is back.", |s| {
            s.report.outages.probes
        });
    }

    fn memory(&mut self, memory: Memory) {
        self.begin("zone_size_bytes", "gauge", "Size of the shared memory for apps.");
        let _ = writeln!(self.text, "intermission_zone_size_bytes {}", memory.size);
        self.begin("zone_used_bytes", "gauge", "Shared memory that apps use.");
        let _ = writeln!(self.text, "intermission_zone_used_bytes {}", memory.used);
        self.begin("zone_free_bytes", "gauge", "Shared memory that is left for more apps.");
        let free = memory.size.saturating_sub(memory.used);
        let _ = writeln!(self.text, "intermission_zone_free_bytes {free}");
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

/// A label's value. Bytes that are no UTF-8 are written out, so that different names stay different.
fn escaped(name: &[u8]) -> String {
    let mut label = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '"' => label.extend(['\\', c]),
                '\n' => label.push_str("\\n"),
                c => label.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(label, "\\\\x{byte:02x}");
        }
    }
    label
}
