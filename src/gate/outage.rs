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
pub const RESERVED: Ticket = TICKS * WORKERS;
const WORKERS: Ticket = 1024;
const TICKS: Ticket = 1 << 22;
/// In microseconds.
pub const TICK: u64 = 16;

/// What the workers share about an app's outage.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct Outage {
    /// Tells it from all others, of any app.
    pub number: u64,
    pub tally: Tally,
    /// When it began: those who are held as they came, and those who were taken back, wait since then
    /// at the earliest.
    pub since: Moment,
    /// When the app was last open, and the first of the tickets for those who had arrived by then.
    pub closed: Moment,
    reserved: Ticket,
    interval: Duration,
    /// For how long a probe may be due before the first of those who are held goes instead.
    neglect: Duration,
    /// When the last probe began, and when the next one may.
    probed: Moment,
    next_probe: Moment,
}

/// What was done in all outages of an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    /// How many there were: the number of the last one.
    pub outages: u64,
    /// How many requests were taken back.
    pub taken_back: u64,
    /// How many were held for as long as they may wait for their backend.
    pub expired: u64,
    pub probes: u64,
}

/// What a place says about requests that could not be sent to their backend.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The longest that one may wait for its backend.
    pub longest: Duration,
    /// How often that is probed.
    pub interval: Duration,
    /// Whether there is no probe but the first of those who are held.
    pub first_probes: bool,
    /// How what is held is let go.
    pub policy: Policy,
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
    /// Whether it was on its way when the backend went: that may listen for a moment longer.
    pub broke_off: bool,
    pub terms: Terms,
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
    fn begin(&mut self, now: Moment) {
        // The time: another app that had this place had none of these numbers.
        self.number = now.as_micros().max(self.number + 1);
        self.since = now;
    }

    /// Probes begin, no sooner than an interval after the last one did.
    pub(super) fn goes_on(&mut self, now: Moment) {
        self.next_probe = now.max(self.probed.plus(self.interval));
    }

    pub(super) fn neglected_at(&self) -> Moment {
        self.next_probe.plus(self.neglect)
    }

    pub(super) fn is_neglected(&self, now: Moment) -> bool {
        self.neglected_at() <= now
    }

    /// Until when a request may be held that arrived at the moment.
    pub fn until(&self, held_since: Moment, longest: Duration) -> Moment {
        self.since.max(held_since).plus(longest)
    }

    /// The ticket of a request that had arrived before the app was closed, or a moment later.
    fn ticket(&self, arrived: Moment, slot: usize) -> Ticket {
        let age = micros(self.closed.since(arrived)) / TICK;
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
            State::Releasing => !self.canary.is_on(),
            State::Paused | State::Down => false,
        };
        let terms = &failure.terms;
        let until = self.waits_until(now, failure);
        if until <= now {
            return None;
        }
        if goes_down && !self.is_released_from_outage() {
            self.outage.begin(now);
        }
        if self.state == State::Open {
            self.policy = terms.policy;
        }
        let change = goes_down.then(|| {
            self.outage.tally.outages += 1;
            self.outage.interval = terms.interval;
            self.outage.neglect = if terms.first_probes { terms.interval } else { NEGLECT };
            if failure.broke_off {
                self.outage.probed = now;
            }
            self.outage.goes_on(now);
            self.change(State::Down, now, Cause::Refused)
        });
        let ticket = match failure.held {
            Some((_, ticket)) => ticket,
            None => self.outage.ticket(failure.arrived, failure.slot),
        };
        self.totals.held += 1;
        self.outage.tally.taken_back += 1;
        Some(TakenBack { ticket, until, change })
    }

    /// Until when a request may wait for its backend. Who was held for another reason, or in another
    /// outage, has not waited for it yet.
    fn waits_until(&self, now: Moment, failure: &Failure) -> Moment {
        match failure.held {
            Some((since, _)) if self.state == State::Down || self.is_released_from_outage() => {
                self.outage.until(since, failure.terms.longest)
            }
            _ => now.plus(failure.terms.longest),
        }
    }

    /// Whether those are let go, one or all, who were held as the backend was down.
    fn is_released_from_outage(&self) -> bool {
        self.state == State::Releasing && self.canary_of_outage
    }

    /// Keeps tickets for those who went through while the app was open, as they came before all who are
    /// held from now on.
    pub(super) fn reserve_tickets(&mut self, now: Moment) {
        self.outage.closed = now;
        self.outage.reserved = self.next_ticket;
        self.next_ticket += RESERVED;
    }

    /// Whether the app is closed by itself: that is over with the next look at the backend, so nobody else
    /// has to know of it.
    pub fn is_in_outage(&self) -> bool {
        self.state == State::Down || (self.canary_of_outage && self.canary.is_on())
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
        self.outage.tally.probes += 1;
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
    pub fn is_canary_of_outage(&self, canary: u64) -> bool {
        self.canary_of_outage && self.canary.is_on() && self.canaries == canary
    }

    /// Lets the first of those who are held go alone. If there is nobody, whoever comes next may see.
    pub(super) fn try_first(&mut self, now: Moment, survey: &Survey, cause: Cause) -> Change {
        let first = u32::from(!super::is_empty(survey));
        let change = self.release(now, first, survey, cause);
        self.canary_of_outage = first > 0;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::canary::Outcome;
    use crate::gate::lane::NO_TICKET;
    use crate::gate::{Arrival, Turn};

    const START: Moment = Moment::from_micros(1_000_000_000);

    fn after(millis: u64) -> Moment {
        START.plus(Duration::from_millis(millis))
    }

    fn failure(arrived: Moment, slot: usize) -> Failure {
        Failure {
            arrived,
            slot,
            held: None,
            broke_off: false,
            terms: Terms {
                longest: Duration::from_secs(30),
                interval: Duration::from_millis(250),
                first_probes: false,
                policy: Policy::default(),
            },
        }
    }

    fn waiting(first: Ticket) -> Survey {
        Survey { held: 1, first_anywhere: first, ..Survey::default() }
    }

    #[test]
    fn those_who_arrived_first_go_first() {
        let mut gate = Gate::default();
        let take = |gate: &mut Gate, at: u64, slot| {
            gate.take_back(after(100), &failure(after(at), slot)).unwrap().ticket
        };
        let (late, early) = (take(&mut gate, 90, 3), take(&mut gate, 20, 5));
        let same = take(&mut gate, 20, 4);
        let Arrival::Hold(new) = gate.arrive(2, 0) else { panic!("an app that is down holds") };
        assert!(early < late && late < new);
        assert_ne!(same, early, "no two workers have the same ticket");
        assert!(take(&mut gate, 100, 1) < new);
    }

    #[test]
    fn one_worker_probes_and_another_when_it_does_not_end() {
        let mut gate = Gate::default();
        gate.take_back(START, &failure(START, 0)).unwrap();
        let number = gate.begin_probe(START);
        assert_eq!(number, Some(gate.outage.number));
        assert_eq!(gate.begin_probe(after(1)), None);
        assert_eq!(gate.end_probe(after(2), gate.outage.number, false, &waiting(0)), None);
        assert_eq!(gate.begin_probe(after(249)), None);
        assert_eq!(gate.begin_probe(after(250)), number);
        assert_eq!(gate.begin_probe(after(1_749)), None);
        assert_eq!(gate.begin_probe(after(1_750)), number);
    }

    #[test]
    fn the_first_goes_alone_and_decides() {
        let mut gate = Gate::default();
        let first = gate.take_back(START, &failure(START, 0)).unwrap().ticket;
        for (outcome, to) in
            [(Outcome::Failed(502), State::Down), (Outcome::Good, State::Releasing)]
        {
            assert_eq!(gate.turn(START, first, false, &waiting(first)), Turn::Wait(Moment::NEVER));
            let change = gate.end_probe(START, gate.outage.number, true, &waiting(first)).unwrap();
            assert_eq!(change.to, State::Releasing);
            let turn = gate.turn(START, first, false, &waiting(first));
            assert_eq!(turn, Turn::Go { below: NO_TICKET, limit: 1 });
            assert!(gate.take(START, 1) && gate.is_canary_of_outage(gate.canaries));
            gate.canary_ended(gate.canaries, outcome);
            assert_eq!(gate.settle(START, &waiting(first + 1)).unwrap().to, to);
        }
    }

    #[test]
    fn a_good_probe_opens_where_nobody_is_held() {
        let mut gate = Gate::default();
        gate.take_back(START, &failure(START, 0)).unwrap();
        let change =
            gate.end_probe(after(1), gate.outage.number, true, &Survey::default()).unwrap();
        assert_eq!(change.to, State::Open);
    }

    #[test]
    fn nobody_who_knows_the_backend_is_left() {
        let mut gate = Gate::default();
        gate.take_back(START, &failure(START, 0)).unwrap();
        assert_eq!(gate.settle(after(499), &waiting(0)), None);
        assert_eq!(gate.settle(after(500), &waiting(0)).unwrap().cause, Cause::Probed);
    }

    #[test]
    fn the_first_is_the_probe_where_its_place_says_so() {
        let mut gate = Gate::default();
        let mut first = failure(START, 0);
        first.terms.first_probes = true;
        gate.take_back(START, &first).unwrap();
        assert_eq!(gate.settle(after(249), &waiting(0)), None);
        assert_eq!(gate.settle(after(250), &waiting(0)).unwrap().cause, Cause::Probed);
    }

    #[test]
    fn a_backend_that_has_just_gone_is_not_probed_at_once() {
        let mut gate = Gate::default();
        gate.take_back(START, &Failure { broke_off: true, ..failure(START, 0) }).unwrap();
        assert_eq!(gate.begin_probe(after(249)), None);
        let number = gate.outage.number;
        assert_eq!(gate.begin_probe(after(250)), Some(number));
    }

    #[test]
    fn time_runs_out_and_begins_anew_with_the_next_outage() {
        let mut gate = Gate::default();
        let until = gate.take_back(START, &failure(START, 0)).unwrap().until;
        assert_eq!(until, after(30_000));
        let held = Failure { held: Some((START, 7)), ..failure(START, 0) };
        assert!(gate.take_back(after(30_000), &held).is_none());
        gate.end_probe(after(30_001), gate.outage.number, true, &Survey::default());
        let again = gate.take_back(after(40_000), &held).unwrap();
        assert_eq!(again.until, after(70_000));
    }

    #[test]
    fn who_went_through_before_a_pause_goes_before_those_who_are_held_in_it() {
        let mut gate = Gate::default();
        gate.enable(after(100), Moment::NEVER, Policy::default());
        let Arrival::Hold(held) = gate.arrive(0, 0) else { panic!("a pause holds") };
        let take = |gate: &mut Gate, at| {
            gate.take_back(after(200), &failure(after(at), 0)).unwrap().ticket
        };
        let (late, early) = (take(&mut gate, 90), take(&mut gate, 20));
        assert!(early < late && late < held);
    }

    #[test]
    fn a_pause_is_no_time_that_the_backend_was_waited_for() {
        let held = Failure { held: Some((START, RESERVED)), ..failure(START, 0) };
        for canary in [0, 1] {
            let mut gate = Gate::default();
            gate.enable(START, Moment::NEVER, Policy::default());
            gate.disable(after(60_000), Policy::default(), canary, &waiting(RESERVED));
            let taken =
                gate.take_back(after(60_001), &held).expect("it has waited for an operator");
            assert_eq!(taken.until, after(90_001));
            assert_eq!(taken.change.is_some(), canary == 0);
        }
    }

    #[test]
    fn an_operator_goes_first() {
        let mut gate = Gate::default();
        gate.enable(START, Moment::NEVER, Policy::default());
        assert!(gate.take_back(START, &failure(START, 0)).unwrap().change.is_none());
        assert_eq!(gate.state(), State::Paused);
        gate.maintenance(START, 0);
        assert!(gate.take_back(START, &failure(START, 0)).is_none());
    }
}
