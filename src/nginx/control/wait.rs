//! Calls whose answer waits: for a quiet backend, or for a canary's verdict.
//!
//! A caller that waits costs nothing. Whoever lets the last request end looks whether somebody
//! waits for it, and rings; so does whoever changes an app's state.

use core::cell::Cell;
use core::ffi::c_void;
use core::time::Duration;

use nginx_sys::{
    NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_add_timer, ngx_del_timer, ngx_http_finalize_request,
    ngx_http_request_t, ngx_http_test_reading, ngx_int_t, ngx_pool_cleanup_add, ngx_post_event,
    ngx_posted_events,
};

use super::answer::{Answer, send};
use super::calls::{Calling, Reply, SEARCH, last_abandoned, report};
use crate::control::Done;
use crate::control::args::Disable;
use crate::gate::Gate;
use crate::gate::lane::Count;
use crate::gate::time::{Moment, micros};
use crate::nginx::conf::LocConf;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::clock;
use crate::nginx::ffi::identity::remembered;
use crate::nginx::worker::Worker;
use crate::shm::{AppId, Entry};

/// Longer than any wait: a canary has its verdict when the release's timeout passes, if not before.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often a drain looks whether processes are gone whose requests nobody counts.
const UNCOUNTED_INTERVAL: Duration = Duration::from_millis(250);

/// What a caller waits for.
#[derive(Clone, Copy, Debug)]
pub enum Awaited {
    /// That nothing is in flight any more, and that nothing was abandoned for as long as it takes to
    /// `settle`, while this pause lasts.
    Quiet { pause: u64, keep: bool, settle: Option<Duration>, line: Done },
    /// What becomes of this canary.
    Verdict { trial: u64 },
}

/// A caller that waits, in its request's pool.
pub struct Waiter {
    request: *mut ngx_http_request_t,
    entry: Entry,
    name: Vec<u8>,
    awaited: Awaited,
    since: Moment,
    limit: Option<Duration>,
    /// No more than one answer is given.
    waits: Cell<bool>,
}

/// Answers at once if that is possible, and else when the time has come.
pub fn begin(
    calling: &Calling<'_>,
    app: AppId,
    name: &[u8],
    awaited: Awaited,
    limit: Option<Duration>,
) -> Reply {
    let worker = calling.worker;
    let Ok(entry) = worker.zone.lock().entry(app, worker.slot, SEARCH) else {
        return Reply::Now(Answer::error(507, "The zone has no room: enlarge intermission_zone."));
    };
    let waiter = Waiter {
        request: calling.request,
        entry,
        name: name.to_vec(),
        awaited,
        since: clock::now(),
        limit,
        waits: Cell::new(true),
    };
    // Whoever ends the last request counts it off and then looks for callers; a caller makes
    // itself known and then looks at the count.
    entry.lane.add(Count::Waiting);
    if let Some(answer) = waiter.answer(worker) {
        entry.lane.sub(Count::Waiting);
        return Reply::Now(answer);
    }
    // SAFETY: the request lives, and nothing has been answered to it.
    match unsafe { suspend(waiter) } {
        Some(()) => Reply::Later,
        None => {
            entry.lane.sub(Count::Waiting);
            Reply::Now(Answer::error(500, "No memory."))
        }
    }
}

impl Waiter {
    /// The answer, if what the caller waits for has come, or can come no more.
    fn answer(&self, worker: &Worker) -> Option<Answer> {
        worker.attend(self.entry.app());
        let gate = worker.zone.lock().gate(self.entry.app()).cloned()?;
        match self.awaited {
            Awaited::Quiet { pause, settle, line, .. } => {
                if !gate.is_in_pause(pause) {
                    return Some(self.overtaken(worker));
                }
                self.is_quiet(worker, &gate, settle).then(|| self.drained(worker, line))
            }
            Awaited::Verdict { trial } => self.verdict(worker, &gate, trial),
        }
    }

    /// Whether nothing is known to be at work, and nobody is there of whom that is not known.
    fn is_quiet(&self, worker: &Worker, gate: &Gate, settle: Option<Duration>) -> bool {
        let (last, now) = (last_abandoned(worker, gate), clock::now());
        let settled = if last.is_never() { now } else { last.plus(settle.unwrap_or_default()) };
        let is_quiet = worker.survey(self.entry.app()).in_flight == 0;
        if is_quiet && worker.uncounted_processes() > 0 {
            // Nobody tells when those are gone.
            worker.look_at(now.plus(UNCOUNTED_INTERVAL));
            return false;
        }
        if settled > now {
            worker.look_at(settled);
        }
        is_quiet && settled <= now
    }

    fn drained(&self, worker: &Worker, line: Done) -> Answer {
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

    fn verdict(&self, worker: &Worker, gate: &Gate, trial: u64) -> Option<Answer> {
        let result = &gate.last_trial;
        if gate.judged == trial {
            let (status, line) = if result.is_good() {
                (200, Done::Disabled.line().to_owned())
            } else {
                (409, bad_canary(result.failed(), result.started, result.status))
            };
            let answer = self.conclude(worker, status, line);
            let facts = vec![
                ("canary", u64::from(result.started)),
                ("canary_failed", u64::from(result.failed())),
            ];
            return Some(Answer { facts, ..answer });
        }
        let under_way = gate.trials == trial && gate.trial().is_some();
        let line = "The canary was ended by another call, without a verdict.";
        (!under_way).then(|| self.conclude(worker, 409, line.to_owned()))
    }

    /// What is answered when the time is up.
    fn late(&self, worker: &Worker) -> Option<Answer> {
        let Awaited::Quiet { pause, keep, .. } = self.awaited else { return None };
        let why = self.why_late(worker);
        if !keep && !self.resume(worker, pause)? {
            return Some(self.overtaken(worker));
        }
        let then = if keep { "The app stays paused" } else { "The pause is ended" };
        Some(self.conclude(worker, 504, format!("The drain took too long: {why}. {then}.")))
    }

    fn why_late(&self, worker: &Worker) -> String {
        let waited = self.limit.unwrap_or_default().as_secs_f64();
        match (worker.survey(self.entry.app()).in_flight, worker.uncounted_processes()) {
            (0, 0) => format!("requests were abandoned in the last {waited}s"),
            (0, others) => format!(
                "{others} other processes of nginx may serve requests that are not counted here, for \
                 more than {waited}s, be it another nginx of a binary upgrade, or workers from before \
                 the gate was put where it is"
            ),
            (in_flight, _) => format!("{in_flight} in flight for more than {waited}s"),
        }
    }

    /// Ends the caller's pause; `false` if another call has done that, which it could while this one
    /// waited for the state file.
    fn resume(&self, worker: &Worker, pause: u64) -> Option<bool> {
        // SAFETY: the request lives while it waits.
        let conf = unsafe { LocConf::of(self.request)? };
        let calling = Calling { request: self.request, worker, conf };
        let plain = Disable { policy: conf.policy(), canary: 0 };
        Some(calling.release(&self.name, &plain, Some(pause)).is_some())
    }

    fn conclude(&self, worker: &Worker, status: u16, line: String) -> Answer {
        let report = report(worker, &self.name);
        Answer { line: Some(line), ..Answer::of_reports(status, vec![report]) }
    }

    /// Lets the caller's request look whether there is an answer.
    pub fn wake(&self) {
        // SAFETY: a caller that waits has a connection, whose write event runs the request.
        unsafe {
            let write = (*(*self.request).connection).write;
            ngx_post_event(write, &raw mut ngx_posted_events);
        }
    }

    fn stop(&self) {
        if self.waits.replace(false) {
            self.entry.lane.sub(Count::Waiting);
            if let Some(worker) = Worker::here() {
                worker.forget_waiter(self);
            }
        }
    }
}

fn bad_canary(failed: u32, of: u32, status: u32) -> String {
    let ended = match status {
        0 => "without an answer".to_owned(),
        status => format!("in {status}"),
    };
    format!("The canary failed: {failed} of {of}, the last {ended}. The app is paused again.")
}

/// # Safety
///
/// The waiter's request lives, and nothing has been answered to it.
unsafe fn suspend(waiter: Waiter) -> Option<()> {
    let worker = Worker::here()?;
    let request = waiter.request;
    // SAFETY: the caller's promise; the pool's memory is aligned for any type, is written before it
    // is seen, and is dropped by its cleanup.
    unsafe {
        let cleanup = ngx_pool_cleanup_add((*request).pool, size_of::<Waiter>()).as_mut()?;
        let place = cleanup.data.cast::<Waiter>();
        place.write(waiter);
        cleanup.handler = Some(end);
        worker.add_waiter(&*place);
        if (*request).discard_body() == 0 {
            (*request).read_event_handler = Some(ngx_http_test_reading);
        }
        (*request).write_event_handler = Some(on_write);
        // Also where there is no limit: a worker that is to exit stays for what has a timer.
        let limit = (*place).limit.unwrap_or(LONGEST);
        let millis = usize::try_from(limit.as_millis()).unwrap_or(usize::MAX / 4);
        ngx_add_timer((*(*request).connection).write, millis);
        (*(*request).main).set_count((*(*request).main).count() + 1);
    }
    Some(())
}

/// Called by nginx when the caller was woken, when its time is up, and for nothing.
unsafe extern "C" fn on_write(request: *mut ngx_http_request_t) {
    // SAFETY: nginx passes a living request, whose handler this is: its pool has a waiter. It is not
    // the request's context, where passages are looked for.
    guarded((), || unsafe {
        let Some(waiter) = remembered(request, end) else { return };
        let waiter = waiter.cast::<Waiter>().as_ref();
        let Some(worker) = Worker::here() else { return };
        let write = (*(*request).connection).write;
        let late = (*write).timedout() != 0;
        (*write).set_timedout(0);
        let answer = waiter.answer(worker);
        let Some(answer) = answer.or_else(|| if late { waiter.late(worker) } else { None }) else {
            return;
        };
        waiter.stop();
        if (*write).timer_set() != 0 {
            ngx_del_timer(write);
        }
        let failed = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
        ngx_http_finalize_request(request, send(request, &answer).unwrap_or(failed));
    });
}

unsafe extern "C" fn end(waiter: *mut c_void) {
    // SAFETY: nginx passes what `suspend` wrote, once, when the request ends.
    guarded((), || unsafe {
        let waiter = waiter.cast::<Waiter>();
        (*waiter).stop();
        waiter.drop_in_place();
    });
}
