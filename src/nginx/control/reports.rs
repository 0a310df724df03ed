//! What there is to report of apps.

use crate::control::metrics::Sample;
use crate::control::report::Report;
use crate::gate::State;
use crate::gate::lane::Count;
use crate::gate::outage::Tally;
use crate::gate::time::{Moment, micros};
use crate::gate::totals::Totals;
use crate::nginx::ffi::clock;
use crate::nginx::host::Worker;
use crate::shm::AppId;
use crate::worker::Host;

pub fn report(worker: &Worker, name: &[u8]) -> Report {
    sample(worker, name).report
}

pub fn sample(worker: &Worker, name: &[u8]) -> Sample {
    let uncounted_processes = worker.host.uncounted_processes();
    let known = worker.zone.lock().find(name);
    match known {
        Some(app) => sample_of(worker, name, app, uncounted_processes),
        None => {
            let in_flight = worker.unattributed();
            let (abandoned, last) = worker.zone.abandoned_unattributed();
            Sample::of(Report {
                in_flight,
                uncounted_processes,
                last_abandoned_ms: ago(last, clock::now()),
                totals: Totals { abandoned, ..Totals::default() },
                ..unknown(name)
            })
        }
    }
}

/// An app that was never paused, and for which nothing was counted, is open.
fn unknown(name: &[u8]) -> Report {
    Report {
        app: name.to_vec(),
        state: State::Open,
        pause: None,
        held: 0,
        in_flight: 0,
        upgraded: 0,
        oldest_wait_ms: 0,
        since: None,
        resumes_at: None,
        last_abandoned_ms: None,
        uncounted_processes: 0,
        totals: Totals::default(),
        outages: Tally::default(),
    }
}

pub fn sample_of(worker: &Worker, name: &[u8], app: AppId, uncounted_processes: usize) -> Sample {
    worker.serve(app);
    // All of one moment: nobody is held or let go meanwhile.
    let locked = worker.zone.lock();
    let gate = locked.gate(app).cloned().unwrap_or_default();
    let (survey, held_by_worker) = (worker.survey(app), held_by_worker(worker, app));
    drop(locked);
    let now = clock::now();
    let oldest = if survey.oldest.is_never() { now } else { survey.oldest };
    let time = |at: Moment| (!at.is_never()).then(|| clock::timestamp(at));
    let changed = gate.since != Moment::default();
    let report = Report {
        state: gate.state(),
        pause: Some(gate.pauses).filter(|pause| gate.is_in_pause(*pause)),
        held: survey.held,
        in_flight: survey.in_flight,
        upgraded: survey.upgraded,
        oldest_wait_ms: micros(now.since(oldest)) / 1000,
        since: changed.then(|| clock::timestamp(gate.since)),
        resumes_at: time(gate.deadline).filter(|_| gate.state() == State::Paused),
        last_abandoned_ms: ago(worker.last_abandoned(&gate), now),
        uncounted_processes,
        totals: Totals {
            abandoned: gate.totals.abandoned + worker.zone.abandoned_unattributed().0,
            ..gate.totals
        },
        outages: gate.outage.tally,
        ..unknown(name)
    };
    Sample {
        report,
        waits: gate.waits,
        state_age: if changed { now.since(gate.since).as_secs_f64() } else { 0.0 },
        held_by_worker,
    }
}

fn ago(moment: Moment, now: Moment) -> Option<u64> {
    (!moment.is_never()).then(|| micros(now.since(moment)) / 1000)
}

fn held_by_worker(worker: &Worker, app: AppId) -> Vec<(usize, u32)> {
    let lanes = worker.zone.lanes(app);
    let held = lanes.map(|(slot, lane)| (slot, lane.get(Count::Held)));
    held.filter(|(_, held)| *held > 0).collect()
}
