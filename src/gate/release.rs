//! A release: whose turn it is, how many may go, and when it is over.

use core::time::Duration;

use super::canary::Canary;
use super::lane::{NO_TICKET, Survey, Ticket};
use super::pace::Pace;
use super::time::Moment;
use super::{Cause, Change, Gate, State, Turn, is_empty};

/// For how long those who came during a release, and not those that it was for, can keep it from
/// ending; and how many of them may be left then, or be overtaken by others of them.
const SATURATED: Duration = Duration::from_secs(1);
pub(super) const WINDOW: Ticket = 256;

impl Gate {
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
    pub(super) fn is_late(&self, survey: &Survey) -> bool {
        let at_once = self.policy.rate == 0 && self.policy.concurrency == 0 && !self.canary.is_on();
        self.state == State::Releasing && at_once && survey.first_anywhere >= self.latecomers
    }

    /// Whether those who are left would not be there if there had been no pause.
    pub(super) fn is_as_good_as_over(&self, now: Moment, survey: &Survey) -> bool {
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

    /// Whether the end of a request can matter to those that are still held.
    pub fn counts_ends(&self) -> bool {
        self.state == State::Releasing && (self.policy.concurrency > 0 || self.canary.is_on())
    }

    pub(super) fn release(
        &mut self,
        now: Moment,
        canary: u32,
        survey: &Survey,
        cause: Cause,
    ) -> Change {
        self.deadline = Moment::NEVER;
        self.begin_release(now);
        self.canary = Canary::of(canary);
        self.canary_of_outage = false;
        self.canaries += u64::from(canary > 0);
        let nothing_to_do = canary == 0 && is_empty(survey);
        self.change(if nothing_to_do { State::Open } else { State::Releasing }, now, cause)
    }

    pub(super) fn begin_release(&mut self, now: Moment) {
        self.latecomers = self.next_ticket;
        self.late_since = Moment::NEVER;
        self.pace = Pace::start(now);
        self.release_until = now.plus(self.policy.timeout());
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
}
