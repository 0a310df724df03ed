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
#[cfg(test)]
mod tests;
pub mod time;
pub mod totals;

use core::time::Duration;

use canary::{Canary, Outcome, Verdict};
use lane::{NO_TICKET, Survey, Ticket};
use news::News;
use outage::Outage;
use pace::Pace;
use policy::Policy;
use time::Moment;
use totals::{Totals, Waits};

/// How many requests a worker lets go at a time, besides as many as came in the meantime: its other
/// clients are served in between.
pub const BATCH: u32 = 16;

/// For how long those who came during a release, and not those that it was for, can keep it from
/// ending; and how many of them may be left then, or be overtaken by others of them.
const SATURATED: Duration = Duration::from_secs(1);
const WINDOW: Ticket = 256;

/// What an app's gate does with requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// They go through.
    #[default]
    Open = 0,
    /// They are held.
    Paused = 1,
    /// The held ones are let go in order; what arrives goes to the end of the queue.
    Releasing = 2,
    /// They are answered 503.
    Maintenance = 3,
    /// They are held, as the backend was found to be down, until it is found to be back.
    Down = 4,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Releasing => "releasing",
            Self::Maintenance => "maintenance",
            Self::Down => "down",
        }
    }

    /// Whether what is held stays held until the state changes.
    pub fn rests(self) -> bool {
        matches!(self, Self::Paused | Self::Down)
    }

    pub fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Paused,
            2 => Self::Releasing,
            3 => Self::Maintenance,
            4 => Self::Down,
            _ => Self::Open,
        }
    }
}

/// Why a gate's state changed, or the manner of its release did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    Call,
    Deadline,
    /// Nobody is held any more: the release is over.
    Released,
    /// The release took too long: the rest goes at once.
    ReleaseTimeout,
    CanaryPassed,
    CanaryFailed,
    /// Another nginx wrote it into the state file.
    StateFile,
    /// A request could not be sent to the backend.
    Refused,
    /// The backend may be back: the first of those who are held is to show that.
    Probed,
    /// It has reached the backend.
    Reached,
}

impl Cause {
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Deadline => "deadline",
            Self::Released => "the last release",
            Self::ReleaseTimeout => "release timeout",
            Self::CanaryPassed => "a canary that came back",
            Self::CanaryFailed => "a canary that failed",
            Self::StateFile => "the state file",
            Self::Refused => "a backend that is down",
            Self::Probed => "a backend that may be back",
            Self::Reached => "a backend that is back",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub from: State,
    pub to: State,
    pub cause: Cause,
}

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
    /// When a call, or a canary that came back, last had a say in it. What follows by itself, as the
    /// end of a release does, or of a pause with a deadline, is nobody's decision.
    pub decided: Moment,
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
            decided: Moment::default(),
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

    /// Whose turn it is, asked by a worker whose first ticket is `own`. A worker that is `leaving`
    /// for good, with nobody behind it to resume, lets go what it holds.
    pub fn turn(&self, now: Moment, own: Ticket, leaving: bool, survey: &Survey) -> Turn {
        let below = survey.first_elsewhere.saturating_add(self.window(now, survey));
        let go = |limit: u32| Turn::Go { below, limit };
        let mine = own < below;
        match self.state {
            _ if own == NO_TICKET => Turn::Wait(Moment::NEVER),
            State::Maintenance => Turn::Refuse,
            State::Open => Turn::Go { below: NO_TICKET, limit: u32::MAX },
            _ if leaving && mine => go(u32::MAX),
            State::Releasing if mine => match self.allowance(now, survey) {
                0 => Turn::Wait(self.next_allowance(now, survey)),
                limit => go(limit),
            },
            State::Paused | State::Releasing | State::Down => Turn::Wait(Moment::NEVER),
        }
    }

    /// By how many places requests may overtake others in other workers: none, but at the end of a
    /// release at once that would not come to it. Clients who ask again as soon as they are answered
    /// keep it up, as one turn after the other is slower than all workers at the same time. So those
    /// who came during the release, and only them, go by worker.
    fn window(&self, now: Moment, survey: &Survey) -> Ticket {
        let late = !self.late_since.is_never() && now.since(self.late_since) >= SATURATED;
        if late && self.is_late(survey) { WINDOW } else { 0 }
    }

    /// Whether a release at once has come to those who came during it.
    fn is_late(&self, survey: &Survey) -> bool {
        let at_once = self.policy.rate == 0 && self.policy.concurrency == 0 && !self.canary.is_on();
        self.state == State::Releasing && at_once && survey.first_anywhere >= self.latecomers
    }

    /// Whether those who are left would not be there if there had been no pause.
    fn is_as_good_as_over(&self, now: Moment, survey: &Survey) -> bool {
        self.window(now, survey) > 0 && Ticket::from(survey.held) <= WINDOW
    }

    /// Accounts for `count` requests that go in a turn, and says whether they are a canary's.
    pub fn take(&mut self, now: Moment, count: u32) -> bool {
        if self.state != State::Releasing {
            return false;
        }
        self.pace.take(&self.policy, now, count);
        self.canary.start(if self.canary.is_on() { count } else { 0 });
        self.canary.is_on()
    }

    /// Accounts for a request of the canary with that number that is over. An earlier canary's has
    /// no say in the one that is under way.
    pub fn canary_ended(&mut self, canary: u64, outcome: Outcome) {
        if self.canary.is_on() && canary == self.canaries {
            self.canary.end(outcome);
        }
    }

    /// A good answer to a request of that canary begins, or is over; see [`Canary::answer`].
    pub fn canary_answers(&mut self, canary: u64, begins: bool) {
        if self.canary.is_on() && canary == self.canaries {
            self.canary.answer(begins);
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

    /// Whether the end of a request can matter to those that are still held.
    pub fn counts_ends(&self) -> bool {
        self.state == State::Releasing && (self.policy.concurrency > 0 || self.canary.is_on())
    }

    fn release(&mut self, now: Moment, canary: u32, survey: &Survey, cause: Cause) -> Change {
        self.deadline = Moment::NEVER;
        self.begin_release(now);
        self.canary = Canary::of(canary);
        self.canary_of_outage = false;
        self.canaries += u64::from(canary > 0);
        let nothing_to_do = canary == 0 && is_empty(survey);
        self.change(if nothing_to_do { State::Open } else { State::Releasing }, now, cause)
    }

    fn begin_release(&mut self, now: Moment) {
        self.latecomers = self.next_ticket;
        self.late_since = Moment::NEVER;
        self.pace = Pace::start(now);
        self.release_until = now.plus(self.policy.timeout());
    }

    fn settle_canary(&mut self, now: Moment, survey: &Survey) -> Option<Change> {
        // Whose worker was killed answers no more.
        self.canary.answering = self.canary.answering.min(survey.canary);
        let mut verdict = self.canary.verdict(survey.canary);
        if verdict == Verdict::Pending && self.release_until <= now {
            verdict = if self.canary.is_good() { Verdict::Good } else { Verdict::Bad };
        }
        if verdict == Verdict::Pending {
            return None;
        }
        self.last_canary = self.canary;
        self.judged = self.canaries;
        self.canary = Canary::default();
        if self.canary_of_outage && verdict == Verdict::Bad {
            self.outage.goes_on(now);
            return Some(self.change(State::Down, now, Cause::Refused));
        }
        if verdict == Verdict::Bad {
            self.pauses += 1;
            return Some(self.change(State::Paused, now, Cause::CanaryFailed));
        }
        self.deadline = Moment::NEVER;
        self.begin_release(now);
        let to = if is_empty(survey) { State::Open } else { State::Releasing };
        let cause = if self.canary_of_outage { Cause::Reached } else { Cause::CanaryPassed };
        Some(self.change(to, now, cause))
    }

    fn allowance(&self, now: Moment, survey: &Survey) -> u32 {
        if self.canary.is_on() {
            return if self.canary.failed > 0 { 0 } else { self.canary.left() };
        }
        let places = match self.policy.concurrency {
            0 => u32::MAX,
            limit => limit.saturating_sub(survey.released),
        };
        places.min(self.pace.allowance(&self.policy, now))
    }

    fn next_allowance(&self, now: Moment, survey: &Survey) -> Moment {
        let full = self.policy.concurrency > 0 && survey.released >= self.policy.concurrency;
        if full || self.canary.is_on() { Moment::NEVER } else { self.pace.next(&self.policy, now) }
    }

    fn change(&mut self, to: State, now: Moment, cause: Cause) -> Change {
        let change = Change { from: self.state, to, cause };
        if matches!(cause, Cause::Call | Cause::CanaryPassed) {
            self.decided = now;
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
