//! What the calls do.

use super::answer::Answer;
use super::wait::Drain;
use super::{caller, wait};
use crate::control::Done;
use crate::control::args::{Disable, Enable};
use crate::control::metrics::{self, Sample};
use crate::control::report::Report;
use crate::gate::lane::Count;
use crate::gate::outage::Tally;
use crate::gate::time::{Moment, micros};
use crate::gate::totals::Totals;
use crate::gate::{Change, Gate, State};
use crate::nginx::conf::LocConf;
use crate::nginx::ffi::clock;
use crate::nginx::ffi::request::Request;
use crate::nginx::host::{Worker, log_change};
use crate::nginx::store::Store;
use crate::shm::AppId;
use crate::worker::{Awaited, Changed, Host};

/// A call that is being answered.
pub struct Calling<'r> {
    pub request: Request<'r>,
    pub worker: &'r Worker,
    pub conf: &'r LocConf,
}

/// What becomes of a call.
pub enum Reply {
    Now(Answer),
    /// The answer comes later, see [`wait`].
    Later,
}

impl Calling<'_> {
    pub fn status(&self, name: &[u8]) -> Answer {
        Answer::of_reports(200, vec![report(self.worker, name)])
    }

    pub fn status_of_all(&self) -> Answer {
        let reports = self.sample_all().into_iter().map(|sample| sample.report).collect();
        Answer { is_list: true, ..Answer::of_reports(200, reports) }
    }

    pub fn metrics(&self, name: &[u8]) -> Answer {
        self.metrics_of(&[sample(self.worker, name)])
    }

    pub fn metrics_of_all(&self) -> Answer {
        self.metrics_of(&self.sample_all())
    }

    fn sample_all(&self) -> Vec<Sample> {
        let uncounted = self.worker.host.uncounted_processes();
        let known = self.known();
        known.iter().map(|(name, app)| sample_of(self.worker, name, *app, uncounted)).collect()
    }

    fn metrics_of(&self, samples: &[Sample]) -> Answer {
        let memory = self.worker.zone.memory();
        Answer::of_document(metrics::CONTENT_TYPE, metrics::render(samples, memory))
    }

    pub fn enable(&self, name: &[u8], asked: &Enable) -> Result<Reply, Answer> {
        let policy = self.conf.policy();
        // By the clock of the moment in which it is done: the state file may have been read before.
        let pause = |gate: &mut Gate| {
            let now = clock::now();
            let deadline = asked.lasts.map_or(Moment::NEVER, |lasts| now.plus(lasts));
            gate.number_above(clock::unix_ms(now));
            gate.enable(now, deadline, policy)
        };
        let changed = match asked.pause {
            Some(number) => self.change_in_pause(name, number, pause)?,
            None => self.change_or_make(name, pause)?,
        };
        let again = changed.change.from == State::Paused;
        let line = if again { Done::AlreadyEnabled } else { Done::Enabled };
        let Some(limit) = asked.drain else { return Ok(Reply::Now(self.done(name, line))) };
        let (pause, keep, settle) = (changed.pause, asked.keep, asked.settle);
        let drain = Drain { limit, keep, line };
        Ok(wait::begin(self, changed.app, name, Awaited::Quiet { pause, settle }, Some(drain)))
    }

    pub fn disable(&self, name: &[u8], asked: &Disable) -> Reply {
        let changed = self.release(name, asked);
        if changed.is_none() && asked.pause.is_some() {
            return Reply::Now(self.is_over(name));
        }
        let Some(changed) = changed.filter(|changed| changed.change.from != State::Open) else {
            return Reply::Now(self.done(name, Done::AlreadyDisabled));
        };
        if asked.canary > 0 {
            let verdict = Awaited::Verdict { canary: changed.canary };
            return wait::begin(self, changed.app, name, verdict, None);
        }
        let again = changed.change.from == State::Releasing;
        Reply::Now(self.done(name, if again { Done::AlreadyDisabled } else { Done::Disabled }))
    }

    pub fn disable_all(&self, asked: &Disable) -> Answer {
        let release_all = || {
            let known = self.known();
            let released = known.iter().filter(|(name, _)| {
                let changed = self.release_in_zone(name, asked);
                changed.is_some_and(|changed| {
                    !matches!(changed.change.from, State::Open | State::Releasing)
                })
            });
            released.count()
        };
        // The state file is written once, not for each app.
        let released = self.and_save(release_all);
        let line = if released > 0 { Done::Disabled } else { Done::AlreadyDisabled };
        Answer { line: Some(line.line().to_owned()), ..self.status_of_all() }
    }

    pub fn maintenance(&self, name: &[u8], retry_after: u64) -> Result<Answer, Answer> {
        self.change_or_make(name, |gate| gate.maintenance(clock::now(), retry_after))?;
        Ok(self.done(name, Done::Maintenance))
    }

    /// Resumes an app as `asked`. `None` if the pause that is named there is over, or no such app is
    /// known.
    pub fn release(&self, name: &[u8], asked: &Disable) -> Option<Changed> {
        self.and_save(|| self.release_in_zone(name, asked))
    }

    fn release_in_zone(&self, name: &[u8], asked: &Disable) -> Option<Changed> {
        let changed = self.worker.release(name, asked.policy, asked.canary, asked.pause)?;
        self.tell(name, &changed);
        Some(changed)
    }

    pub fn done(&self, name: &[u8], done: Done) -> Answer {
        Answer { line: Some(done.line().to_owned()), ..self.status(name) }
    }

    /// Makes a change that the state file has to know of, if there is one.
    fn and_save<T>(&self, change: impl FnOnce() -> T) -> T {
        match Store::of(self.worker) {
            Some(store) => store.change(self.worker, change),
            None => change(),
        }
    }

    /// Changes the gate of an app that need not be known yet.
    fn change_or_make(
        &self,
        name: &[u8],
        action: impl FnOnce(&mut Gate) -> Change,
    ) -> Result<Changed, Answer> {
        self.and_save(|| self.change_in_zone(name, action))
    }

    fn change_in_pause(
        &self,
        name: &[u8],
        pause: u64,
        action: impl FnOnce(&mut Gate) -> Change,
    ) -> Result<Changed, Answer> {
        let changed = self.and_save(|| {
            let changed = self.worker.change_in_pause(name, pause, action)?;
            self.tell(name, &changed);
            Some(changed)
        });
        changed.ok_or_else(|| self.is_over(name))
    }

    /// What is answered when the pause that a call is for has ended.
    fn is_over(&self, name: &[u8]) -> Answer {
        let line = "That pause is over, so nothing was done.";
        Answer { status: 409, line: Some(line.to_owned()), ..self.status(name) }
    }

    fn change_in_zone(
        &self,
        name: &[u8],
        action: impl FnOnce(&mut Gate) -> Change,
    ) -> Result<Changed, Answer> {
        let full = || {
            Answer::error(507, "The zone has no room for another app: enlarge intermission_zone.")
        };
        let changed = self.worker.change(name, action).map_err(|_| full())?;
        self.tell(name, &changed);
        Ok(changed)
    }

    fn tell(&self, name: &[u8], changed: &Changed) {
        let held = self.worker.survey(changed.app).held;
        log_change(name, &changed.change, held, &caller::name(self.request));
        self.worker.notify();
    }

    fn known(&self) -> Vec<(Vec<u8>, AppId)> {
        let locked = self.worker.zone.lock();
        locked.apps().map(|app| (locked.name(app).to_vec(), app)).collect()
    }
}

pub fn report(worker: &Worker, name: &[u8]) -> Report {
    sample(worker, name).report
}

fn sample(worker: &Worker, name: &[u8]) -> Sample {
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

fn sample_of(worker: &Worker, name: &[u8], app: AppId, uncounted_processes: usize) -> Sample {
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
        resumes_at: time(gate.deadline),
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
