//! The gate of an app: its states, who passes and who waits, and whose turn it is to be released.
//!
//! This part decides and nothing else. It is told the time and what the workers' lanes say, it does
//! no input or output, and it knows nothing of nginx: so it can be simulated (`sim`), with many
//! workers, any interleaving and any failure.
//!
//! A [`Gate`] is what the workers share about an app. It is only touched under the zone's lock;
//! what is read without the lock stands in the [`lane`]s.

pub mod canary;
pub mod lane;
pub mod news;
pub mod outage;
pub mod pace;
pub mod policy;
mod release;
mod state;
#[cfg(test)]
mod tests;
pub mod time;
pub mod totals;

use canary::Canary;
use lane::{NO_TICKET, Survey, Ticket};
use news::News;
use outage::Outage;
use pace::Pace;
use policy::Policy;
pub use state::{Cause, Change, State};
use time::Moment;
use totals::{Totals, Waits};

/// How many requests a worker lets go at a time, besides as many as came in the meantime: its other
/// clients are served in between.
pub const BATCH: u32 = 16;

/// What a request meets that reaches the gate and is not bypassed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    Pass,
    Hold(Ticket),
    /// As many are held as may be.
    Full,
    Maintenance,
}

/// What a worker that asks may do with the requests it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Let go those with tickets smaller than `below`, in order, `limit` at most.
    Go { below: Ticket, limit: u32 },
    /// Answer all of them 503.
    Refuse,
    /// Wait until somebody says so, or the moment has come.
    Wait(Moment),
}

/// What the workers share about an app.
#[derive(Clone, Debug, Hash)]
pub struct Gate {
    state: State,
    /// When the state last changed.
    pub since: Moment,
    /// How often a call, or a canary that came back, has had a say in it, and of how much of that the state
    /// file has been told. What follows by itself, as the end of a release does, or of a pause with a
    /// deadline, is nobody's decision.
    pub decisions: u64,
    pub told: u64,
    next_ticket: Ticket,
    /// The first ticket of those who came during the release under way, and since when no others have
    /// been held, if it is one at once.
    latecomers: Ticket,
    late_since: Moment,
    /// When a pause ends by itself, be it one that the canary which is out brings back.
    pub deadline: Moment,
    /// `Retry-After` of the maintenance answers in seconds, 0 for none.
    pub retry_after: u64,
    pub policy: Policy,
    pace: Pace,
    /// When the release under way loses its limits.
    release_until: Moment,
    canary: Canary,
    /// Whether that is the first of those who were held by themselves, and not a caller's.
    canary_of_outage: bool,
    pub outage: Outage,
    news: News,
    /// The last canary, as it was when its verdict fell.
    pub last_canary: Canary,
    /// The numbers of the last pause and the last canary, each greater than all before: so one can be
    /// told from the next.
    pub pauses: u64,
    pub canaries: u64,
    /// Which canary the last verdict was about.
    pub judged: u64,
    pub totals: Totals,
    /// When the last request was abandoned, see [`Totals::abandoned`].
    pub last_abandoned: Moment,
    pub waits: Waits,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            state: State::Open,
            since: Moment::default(),
            decisions: 0,
            told: 0,
            next_ticket: 0,
            latecomers: 0,
            late_since: Moment::NEVER,
            deadline: Moment::NEVER,
            retry_after: 0,
            policy: Policy::default(),
            pace: Pace::default(),
            release_until: Moment::NEVER,
            canary: Canary::default(),
            canary_of_outage: false,
            outage: Outage::default(),
            news: News::default(),
            last_canary: Canary::default(),
            pauses: 0,
            canaries: 0,
            judged: 0,
            totals: Totals::default(),
            last_abandoned: Moment::NEVER,
            waits: Waits::default(),
        }
    }
}

impl Gate {
    pub fn state(&self) -> State {
        self.state
    }

    /// All that has a say in what it does.
    #[cfg(test)]
    pub fn without_totals(&self) -> Self {
        let mut gate = self.clone();
        gate.outage.tally = outage::Tally::default();
        (gate.totals, gate.waits) = (Totals::default(), Waits::default());
        gate
    }

    /// The canary under way, if any.
    pub fn canary(&self) -> Option<&Canary> {
        self.canary.is_on().then_some(&self.canary)
    }

    /// Pauses until somebody resumes, or until `deadline`, with `policy` for the release that
    /// the deadline brings. The queue of a release under way is kept as it stands.
    pub fn enable(&mut self, now: Moment, deadline: Moment, policy: Policy) -> Change {
        let change = self.change(State::Paused, now, Cause::Call);
        if change.from != State::Paused {
            self.pauses += 1;
        }
        self.deadline = deadline;
        self.policy = policy;
        self.canary = Canary::default();
        change
    }

    /// Lets the held requests go, `canary` of them (if not 0) ahead as a canary.
    pub fn disable(&mut self, now: Moment, policy: Policy, canary: u32, survey: &Survey) -> Change {
        let again = self.state == State::Releasing
            && self.policy == policy
            && canary == 0
            && !self.canary.is_on();
        if self.state == State::Open || again {
            // Another nginx may have decided otherwise, and this one does not know yet.
            self.decisions += 1;
            return self.unchanged();
        }
        self.policy = policy;
        if self.state == State::Down && canary == 0 {
            return self.try_first(now, survey, Cause::Call);
        }
        self.release(now, canary, survey, Cause::Call)
    }

    /// Answers 503 to all that would be held and to all that is.
    pub fn maintenance(&mut self, now: Moment, retry_after: u64) -> Change {
        self.deadline = Moment::NEVER;
        self.canary = Canary::default();
        self.retry_after = retry_after;
        self.change(State::Maintenance, now, Cause::Call)
    }

    /// Has the next pause take a number above this one. The time as a number goes on where a gate that
    /// was forgotten, or an nginx that has ended, left off.
    pub fn number_above(&mut self, number: u64) {
        if self.state != State::Paused {
            self.pauses = self.pauses.max(number);
        }
    }

    /// Whether the pause of that number goes on.
    pub fn is_in_pause(&self, pause: u64) -> bool {
        self.state == State::Paused && self.pauses == pause
    }

    /// Whether the state was decided here and the file has not been told: it is newer than what is there. What
    /// followed by itself is not: another nginx that pauses again what was released here has the last word.
    pub fn is_newer_than_file(&self) -> bool {
        self.decisions > self.told
    }

    /// Decides about a request that reaches the gate; `held` are there already, and `max_held`
    /// (if not 0) may be.
    pub fn arrive(&mut self, held: u32, max_held: u32) -> Arrival {
        match self.state {
            State::Open => Arrival::Pass,
            State::Maintenance => {
                self.totals.rejected += 1;
                Arrival::Maintenance
            }
            State::Paused | State::Releasing | State::Down if max_held > 0 && held >= max_held => {
                self.totals.rejected += 1;
                Arrival::Full
            }
            State::Paused | State::Releasing | State::Down => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.totals.held += 1;
                Arrival::Hold(ticket)
            }
        }
    }

    /// Decides about a request that was held, was let go while its body had not come, and has it now.
    /// It keeps the place that its ticket gives it.
    pub fn come_back(&mut self, ticket: Ticket) -> Arrival {
        match self.state {
            State::Open => Arrival::Pass,
            State::Maintenance => {
                self.totals.rejected += 1;
                Arrival::Maintenance
            }
            State::Paused | State::Releasing | State::Down => Arrival::Hold(ticket),
        }
    }

    /// Requests went through that are over, though the backend's answers to them are not complete.
    pub fn abandon(&mut self, count: u32, now: Moment) {
        if count > 0 {
            self.totals.abandoned += u64::from(count);
            self.last_abandoned = now;
        }
    }

    /// Does what has fallen due: deadlines, verdicts and the end of a release.
    pub fn settle(&mut self, now: Moment, survey: &Survey) -> Option<Change> {
        if self.late_since.is_never() && self.is_late(survey) {
            self.late_since = now;
        }
        match self.state {
            State::Paused if self.deadline <= now => {
                Some(self.release(now, 0, survey, Cause::Deadline))
            }
            State::Down if self.outage.is_neglected(now) => {
                Some(self.try_first(now, survey, Cause::Probed))
            }
            State::Releasing if self.canary.is_on() => self.settle_canary(now, survey),
            State::Releasing if is_empty(survey) || self.is_as_good_as_over(now, survey) => {
                Some(self.change(State::Open, now, Cause::Released))
            }
            State::Releasing if self.release_until <= now => {
                self.policy = Policy { timeout_ms: self.policy.timeout_ms, ..Policy::at_once() };
                self.release_until = Moment::NEVER;
                Some(Change { cause: Cause::ReleaseTimeout, ..self.unchanged() })
            }
            _ => None,
        }
    }

    /// When [`Gate::settle`] has something to do at the latest, as far as time decides it.
    pub fn due(&self) -> Moment {
        match self.state {
            State::Paused => self.deadline,
            State::Releasing => self.release_until,
            State::Down => self.outage.neglected_at(),
            State::Open | State::Maintenance => Moment::NEVER,
        }
    }

    fn change(&mut self, to: State, now: Moment, cause: Cause) -> Change {
        let change = Change { from: self.state, to, cause };
        if matches!(cause, Cause::Call | Cause::CanaryPassed) {
            self.decisions += 1;
        }
        if self.state == State::Open && to != State::Open {
            self.reserve_tickets(now);
        }
        if self.state != to {
            self.state = to;
            self.since = now;
        }
        change
    }

    /// What a call did that found nothing to do.
    pub fn unchanged(&self) -> Change {
        Change { from: self.state, to: self.state, cause: Cause::Call }
    }
}

/// Whether no lane shows a held request, or one that was let go but has not run yet.
fn is_empty(survey: &Survey) -> bool {
    survey.first_anywhere == NO_TICKET
}
