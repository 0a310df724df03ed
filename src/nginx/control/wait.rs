//! Calls whose answer waits: for a quiet backend, or for a canary's verdict.

use core::cell::Cell;
use core::time::Duration;

use super::answer::Answer;
use super::changes::{Calling, Reply};
use super::reports::report;
use super::suspend::{is_late, stop, suspend};
use super::written;
use crate::control::Done;
use crate::control::args::Disable;
use crate::gate::canary::Canary;
use crate::gate::time::{Moment, micros};
use crate::nginx::conf::LocConf;
use crate::nginx::ffi::clock;
use crate::nginx::ffi::request::{Request, Then, Turn};
use crate::nginx::host::Worker;
use crate::shm::{AppId, Entry};
use crate::worker::{Awaited, Found, Host};

/// Longer than any wait: a canary has its verdict when the release's timeout passes, if not before.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a drain was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// For how long it may take.
    pub limit: Duration,
    /// Whether the pause goes on if it takes longer.
    pub keep: bool,
    /// What is said when it is over.
    pub line: Done,
}

/// A caller that waits, in its request's pool.
struct Waiter<'r> {
    request: Request<'r>,
    entry: Entry,
    name: Vec<u8>,
    awaited: Awaited,
    since: Moment,
    drain: Option<Drain>,
    /// No more than one answer is given.
    waits: Cell<bool>,
}

/// Answers at once if that is possible, and else when the time has come.
pub fn begin(
    calling: &Calling<'_>,
    app: AppId,
    name: &[u8],
    awaited: Awaited,
    drain: Option<Drain>,
) -> Reply {
    let worker = calling.worker;
    let Ok(entry) = worker.begin_to_wait(app) else {
        return Reply::Now(Answer::error(507, "The zone has no room: enlarge intermission_zone."));
    };
    let waiter = Waiter {
        request: calling.request,
        entry,
        name: name.to_vec(),
        awaited,
        since: clock::now(),
        drain,
        waits: Cell::new(true),
    };
    if let Some(answer) = waiter.answer(worker) {
        return Reply::Now(answer);
    }
    // Also where there is no limit: a worker that is to exit stays for what has a timer.
    let limit = drain.map_or(LONGEST, |drain| drain.limit);
    match suspend::<_, Woken>(calling.request, waiter, limit) {
        Some(()) => Reply::Later,
        None => Reply::Now(Answer::error(500, "No memory.")),
    }
}

impl Waiter<'_> {
    /// The answer, if what the caller waits for has come, or can come no more.
    fn answer(&self, worker: &Worker) -> Option<Answer> {
        Some(match worker.find(self.entry.app(), self.awaited)? {
            Found::Quiet => self.drained(worker),
            Found::Overtaken => self.overtaken(worker),
            Found::Verdict(canary) => self.verdict(worker, &canary),
            Found::NoVerdict => {
                let line = "The canary was ended by another call, without a verdict.";
                self.conclude(worker, 409, line.to_owned())
            }
        })
    }

    fn drained(&self, worker: &Worker) -> Answer {
        let line = self.drain.map_or(Done::Enabled, |drain| drain.line);
        let drained = micros(clock::now().since(self.since)) / 1000;
        let answer = self.conclude(worker, 200, line.line().to_owned());
        Answer { facts: vec![("drained_ms", drained)], ..answer }
    }

    /// What is answered when the caller's pause was ended by another one.
    fn overtaken(&self, worker: &Worker) -> Answer {
        let in_flight = worker.survey(self.entry.app()).in_flight;
        let line = format!("The pause has ended meanwhile, with {in_flight} still in flight.");
        self.conclude(worker, 409, line)
    }

    fn verdict(&self, worker: &Worker, canary: &Canary) -> Answer {
        let (status, line) = if canary.is_good() {
            (200, Done::Disabled.line().to_owned())
        } else {
            (409, bad_canary(canary.failed(), canary.started, canary.status))
        };
        let answer = self.conclude(worker, status, line);
        let facts = vec![
            ("canary", u64::from(canary.started)),
            ("canary_failed", u64::from(canary.failed())),
        ];
        Answer { facts, ..answer }
    }

    /// What is answered when the time is up.
    fn late(&self, worker: &Worker) -> Option<Answer> {
        let Awaited::Quiet { pause, .. } = self.awaited else { return None };
        let keep = self.drain.is_some_and(|drain| drain.keep);
        let why = self.why_late(worker);
        if !keep && !self.resume(worker, pause)? {
            return Some(self.overtaken(worker));
        }
        let then = if keep { "The app stays paused" } else { "The pause is ended" };
        Some(self.conclude(worker, 504, format!("The drain took too long: {why}. {then}.")))
    }

    fn why_late(&self, worker: &Worker) -> String {
        let waited = self.drain.map_or(0.0, |drain| drain.limit.as_secs_f64());
        match (worker.survey(self.entry.app()).in_flight, worker.host.uncounted_processes()) {
            (0, 0) => format!("requests were abandoned in the last {waited}s"),
            (0, others) => format!(
                "{others} other processes of nginx may serve requests that are not counted here, for \
                 more than {waited}s, be it another nginx of a binary upgrade, or workers from before \
                 the gate was put where it is"
            ),
            (in_flight, _) => format!("{in_flight} in flight for more than {waited}s"),
        }
    }

    /// Ends the caller's pause; `false` if another call has done that meanwhile.
    fn resume(&self, worker: &Worker, pause: u64) -> Option<bool> {
        let conf = LocConf::of(self.request)?;
        let calling = Calling { request: self.request, worker, conf };
        let plain = Disable { policy: conf.policy(), canary: 0, lasts: None, pause: Some(pause) };
        Some(calling.release(&self.name, &plain).is_some())
    }

    fn conclude(&self, worker: &Worker, status: u16, line: String) -> Answer {
        let report = report(worker, &self.name);
        Answer { line: Some(line), ..Answer::of_reports(status, vec![report]) }
    }

    fn stop(&self) {
        if self.waits.replace(false) {
            if let Some(worker) = Worker::here() {
                worker.stop_waiting(&self.entry);
            }
            stop(self.request);
        }
    }
}

/// It has been answered at once, or its request ends.
impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn bad_canary(failed: u32, of: u32, status: u32) -> String {
    let ended = match status {
        0 => "without an answer".to_owned(),
        status => format!("in {status}"),
    };
    format!("The canary failed: {failed} of {of}, the last {ended}. The app is paused again.")
}

/// Told when the caller was woken, when its time is up, and for nothing.
struct Woken;

impl Turn for Woken {
    fn turn(request: Request<'_>) -> Then {
        // It is not the request's context, where passages are looked for.
        let Some(waiter) = request.pool().kept::<Waiter<'_>>() else { return Then::Wait };
        let Some(worker) = Worker::here() else { return Then::Wait };
        let late = is_late(request);
        let answer = waiter.answer(worker);
        let Some(answer) = answer.or_else(|| if late { waiter.late(worker) } else { None }) else {
            return Then::Wait;
        };
        waiter.stop();
        Then::End(written::send(request, answer))
    }
}
