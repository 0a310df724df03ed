//! An outage: the backend is down, as requests show that could not be sent to it. They are taken back,
//! and held with those who come, until a probe finds the backend and the first of them reaches it.

use core::time::Duration;

use super::lane::{Survey, Ticket};
use super::policy::Policy;
use super::time::{Moment, micros};
use super::{Cause, Change, Gate, State};

/// The longest that a probe may take. Who began one and has not ended it by then has died or stands
/// still, and another worker may begin one.
pub const PROBE_TIME: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_millis(1500);

/// For how long a probe may be due that nobody begins. Then nobody knows where the backend is, and the
/// first of those who are held is sent there to see.
const NEGLECT: Duration = Duration::from_millis(500);

/// How many tickets are kept for those who arrived before an outage: one for each worker and each
/// [`TICK`] of a minute, so that no two workers give the same.
const RESERVED: Ticket = TICKS * WORKERS;
const WORKERS: Ticket = 1024;
const TICKS: Ticket = 1 << 22;
const TICK: u64 = 16;

/// What the workers share about an app's outage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outage {
    /// Counts them.
    pub number: u64,
    /// When it began: those who are held as they came, and those who were taken back, wait since then
    /// at the earliest.
    pub since: Moment,
    /// The first of the tickets for those who had arrived by then.
    reserved: Ticket,
    interval: Duration,
    /// When the last probe began, and when the next one may.
    probed: Moment,
    next_probe: Moment,
    /// How many requests were taken back, and how many probes there were.
    pub taken_back: u64,
    pub probes: u64,
}

/// A request that could not be sent to its backend.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// When it arrived.
    pub arrived: Moment,
    /// Its worker.
    pub slot: usize,
    /// Since when it has been held, and its ticket, if it was.
    pub held: Option<(Moment, Ticket)>,
    /// The longest that it may wait for its backend.
    pub longest: Duration,
    /// How often its place says that the backend is probed, and how what is held is let go.
    pub interval: Duration,
    pub policy: Policy,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct TakenBack {
    pub ticket: Ticket,
    /// Until when it may be held.
    pub until: Moment,
    pub change: Option<Change>,
}

impl Outage {
    fn begin(&mut self, now: Moment, reserved: Ticket) {
        self.number += 1;
        self.since = now;
        self.reserved = reserved;
    }

    /// Probes begin, no sooner than an interval after the last one did.
    pub(super) fn goes_on(&mut self, now: Moment) {
        self.next_probe = now.max(self.probed.plus(self.interval));
    }

    pub(super) fn neglected_at(&self) -> Moment {
        self.next_probe.plus(NEGLECT)
    }

    pub(super) fn is_neglected(&self, now: Moment) -> bool {
        self.neglected_at() <= now
    }

    /// Until when a request may be held that arrived at the moment.
    pub fn until(&self, held_since: Moment, longest: Duration) -> Moment {
        self.since.max(held_since).plus(longest)
    }

    /// The ticket of a request that had arrived before the outage, or a moment later.
    fn ticket(&self, arrived: Moment, slot: usize) -> Ticket {
        let age = micros(self.since.since(arrived)) / TICK;
        let tick = TICKS - 1 - age.min(TICKS - 1);
        self.reserved + tick * WORKERS + slot as Ticket % WORKERS
    }
}

impl Gate {
    /// A request could not be sent to its backend: it is held, if it has time left, and so is what comes
    /// from now on.
    pub fn take_back(&mut self, now: Moment, failure: &Failure) -> Option<TakenBack> {
        let goes_down = match self.state {
            State::Maintenance => return None,
            State::Open => true,
            // What becomes of a canary decides about that.
            State::Releasing => !self.trial.is_on(),
            State::Paused | State::Down => false,
        };
        let since = failure.held.map_or(now, |(since, _)| since);
        if self.state == State::Open {
            self.outage.begin(now, self.next_ticket);
            self.next_ticket += RESERVED;
            self.policy = failure.policy;
        }
        let until = self.outage.until(since, failure.longest);
        if until <= now {
            return None;
        }
        let ticket = match failure.held {
            Some((_, ticket)) => ticket,
            None => self.outage.ticket(failure.arrived, failure.slot),
        };
        self.totals.held += 1;
        self.outage.taken_back += 1;
        let change = goes_down.then(|| {
            self.outage.interval = failure.interval;
            self.outage.goes_on(now);
            self.change(State::Down, now, Cause::Refused)
        });
        Some(TakenBack { ticket, until, change })
    }

    /// Whether the app is closed by itself: that is over with the next look at the backend, so nobody else
    /// has to know of it.
    pub fn is_in_outage(&self) -> bool {
        self.state == State::Down || (self.trial_of_outage && self.trial.is_on())
    }

    /// When a worker that knows where the backend is may begin a probe.
    pub fn probe_due(&self) -> Moment {
        if self.state == State::Down { self.outage.next_probe } else { Moment::NEVER }
    }

    /// Whether the worker that asks is to probe the backend; the number of the outage, if so.
    pub fn begin_probe(&mut self, now: Moment) -> Option<u64> {
        if self.probe_due() > now {
            return None;
        }
        self.outage.probes += 1;
        self.outage.probed = now;
        self.outage.next_probe = now.plus(LEASE);
        Some(self.outage.number)
    }

    /// A probe of that outage is over; `found`, if the backend is there.
    pub fn end_probe(
        &mut self,
        now: Moment,
        outage: u64,
        found: bool,
        survey: &Survey,
    ) -> Option<Change> {
        if self.state != State::Down || self.outage.number != outage {
            return None;
        }
        self.outage.goes_on(now);
        found.then(|| self.try_first(now, survey, Cause::Probed))
    }

    /// Whether that canary is the first of those who were held in an outage: it has done its duty when it
    /// reaches the backend.
    pub fn is_trial_of_outage(&self, trial: u64) -> bool {
        self.trial_of_outage && self.trial.is_on() && self.trials == trial
    }

    /// Lets the first of those who are held go alone. If there is nobody, whoever comes next may see.
    pub(super) fn try_first(&mut self, now: Moment, survey: &Survey, cause: Cause) -> Change {
        let first = u32::from(!super::is_empty(survey));
        let change = self.release(now, first, survey, cause);
        self.trial_of_outage = first > 0;
        change
    }
}
