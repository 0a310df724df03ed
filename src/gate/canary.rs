//! A canary: the first requests of a release, whose outcome decides about the rest.

use super::lane::Survey;
use super::time::Moment;
use super::{Cause, Change, Gate, State, is_empty};

/// What the requests of a canary came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Canary {
    /// How many were asked for, 0 if no canary is under way.
    pub size: u32,
    /// How many have been released.
    pub started: u32,
    /// How many of those are over, and how many of these failed.
    pub ended: u32,
    pub failed: u32,
    /// How many of those that are not over have a good answer on its way.
    pub answering: u32,
    /// How many clients left before the backend had answered.
    pub gone: u32,
    /// The status that the last failed one ended in.
    pub status: u32,
}

/// How a request of a canary ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good,
    /// A 5xx of this status, or a failed upstream connection.
    Failed(u32),
    /// The client left before the backend had answered: somebody else is tried instead, but as long
    /// as nobody comes back at all, that is no good sign.
    Gone,
    /// The request never reached the backend: it says nothing.
    Void,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pending,
    Good,
    Bad,
}

impl Canary {
    pub fn of(size: u32) -> Self {
        Self { size, ..Self::default() }
    }

    pub fn is_on(&self) -> bool {
        self.size > 0
    }

    /// How many more may be released.
    pub fn left(&self) -> u32 {
        self.size.saturating_sub(self.started)
    }

    pub fn start(&mut self, count: u32) {
        self.started = self.started.saturating_add(count);
    }

    pub fn end(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Good => self.ended += 1,
            Outcome::Failed(status) => {
                self.ended += 1;
                self.failed += 1;
                self.status = status;
            }
            Outcome::Void => self.started = self.started.saturating_sub(1),
            Outcome::Gone => {
                self.started = self.started.saturating_sub(1);
                self.gone = self.gone.saturating_add(1);
            }
        }
    }

    /// A good answer begins, or (if not `begins`) one that had begun is over.
    pub fn answer(&mut self, begins: bool) {
        let more = self.answering.saturating_add(1);
        self.answering = if begins { more } else { self.answering.saturating_sub(1) };
    }

    /// How many failed, with those that ended unseen.
    pub fn failed(&self) -> u32 {
        self.failed + self.started.saturating_sub(self.ended + self.answering)
    }

    /// Nothing failed, and something came back to show that. Where nobody came to be tried, there is
    /// nothing to hold against the backend.
    pub fn is_good(&self) -> bool {
        self.failed() == 0 && (self.ended + self.answering > 0 || self.gone == 0)
    }

    /// How many are not over, with `in_flight` of them seen in living workers, where requests of an
    /// earlier canary may still be among them.
    pub fn under_way(&self, in_flight: u32) -> u32 {
        in_flight.min(self.started.saturating_sub(self.ended))
    }

    /// The verdict, with `in_flight` requests of canaries in living workers.
    ///
    /// A request that ended unseen, because its worker was killed, counts as failed; one failure
    /// is enough, but the verdict waits until the canary's other requests are over as well.
    pub fn verdict(&self, in_flight: u32) -> Verdict {
        let released_all = self.left() == 0 || self.failed > 0;
        if !self.is_on() || self.under_way(in_flight) > 0 || !released_all {
            return Verdict::Pending;
        }
        if self.is_good() { Verdict::Good } else { Verdict::Bad }
    }
}

impl Gate {
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

    pub(super) fn settle_canary(&mut self, now: Moment, survey: &Survey) -> Option<Change> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_good_when_all_came_back() {
        let mut canary = Canary::of(2);
        canary.start(2);
        canary.end(Outcome::Good);
        assert_eq!(canary.verdict(1), Verdict::Pending);
        canary.end(Outcome::Good);
        assert_eq!(canary.verdict(0), Verdict::Good);
    }

    #[test]
    fn one_failure_is_enough_but_the_rest_is_awaited() {
        let mut canary = Canary::of(5);
        canary.start(2);
        canary.end(Outcome::Failed(502));
        assert_eq!(canary.verdict(1), Verdict::Pending);
        canary.end(Outcome::Good);
        assert_eq!(canary.verdict(0), Verdict::Bad);
        assert_eq!(canary.status, 502);
    }

    #[test]
    fn a_client_that_left_makes_room_for_the_next() {
        let mut canary = Canary::of(1);
        canary.start(1);
        canary.end(Outcome::Void);
        assert_eq!((canary.left(), canary.verdict(0)), (1, Verdict::Pending));
    }

    #[test]
    fn is_not_good_when_all_clients_gave_up() {
        let mut canary = Canary::of(1);
        canary.start(1);
        canary.end(Outcome::Gone);
        assert!(!canary.is_good());
        canary.start(1);
        canary.end(Outcome::Good);
        assert_eq!(canary.verdict(0), Verdict::Good);
    }

    #[test]
    fn is_good_when_nobody_came() {
        assert!(Canary::of(1).is_good());
    }

    #[test]
    fn an_answer_on_its_way_is_no_failure() {
        let mut canary = Canary::of(2);
        canary.start(2);
        canary.end(Outcome::Good);
        canary.answer(true);
        assert!(canary.is_good());
        canary.answer(false);
        assert!(!canary.is_good(), "it has vanished");
    }

    #[test]
    fn does_not_wait_for_an_earlier_canary_that_hangs() {
        let mut canary = Canary::of(1);
        canary.start(1);
        assert_eq!(canary.verdict(3), Verdict::Pending);
        canary.end(Outcome::Good);
        assert_eq!(canary.verdict(2), Verdict::Good);
    }

    #[test]
    fn a_request_that_died_with_its_worker_failed() {
        let mut canary = Canary::of(1);
        canary.start(1);
        assert_eq!(canary.verdict(0), Verdict::Bad);
    }
}
