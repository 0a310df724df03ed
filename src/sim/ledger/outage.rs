//! Backends that are down: what is taken back, in which order, and who looks for the backend.

use std::time::Duration;

use super::{Id, Ledger, Place, Record};
use crate::gate::State;
use crate::gate::lane::NO_TICKET;
use crate::gate::outage::{Failure, RESERVED, TakenBack};
use crate::gate::time::Moment;

/// How far apart two arrivals are that are told apart.
const TICK: Duration = Duration::from_micros(16);

/// For how long whoever probes keeps others from it.
const LEASE: Duration = Duration::from_millis(1500);

impl Ledger {
    /// A byte of a request goes to the backend.
    pub fn send(&mut self, id: Id) {
        let record = self.record(id);
        assert_eq!(record.place, Place::Through, "request {id} is sent");
        record.sent = true;
    }

    /// A request broke off on its way, and may be asked again.
    pub fn replay(&mut self, id: Id) {
        let record = self.record(id);
        assert!(record.sent && !record.replayed, "request {id} is asked once more");
        (record.sent, record.replayed) = (false, true);
    }

    /// A request that could not be sent takes its place among those who are held.
    pub fn take_back(
        &mut self,
        (app, id): (usize, Id),
        failure: &Failure,
        taken: &TakenBack,
        (now, closed): (Moment, Moment),
    ) {
        let (step, record) = (self.step, self.records[&id]);
        assert_eq!((record.app, record.place), (app, Place::Through), "request {id} is taken back");
        assert!(!record.sent, "request {id} would be sent twice");
        assert!(record.counted, "request {id} is held twice");
        assert!(now < taken.until && taken.until <= now.plus(failure.terms.longest), "{taken:?}");
        self.go_down(app, failure, taken);
        let account = &mut self.accounts[app];
        account.totals.held += 1;
        let (closing, reserved) = (account.closings, account.first_ticket - RESERVED);
        let record = self.record(id);
        if record.ticket == NO_TICKET {
            let is_reserved = (reserved..reserved + RESERVED).contains(&taken.ticket);
            assert!(is_reserved, "request {id} comes behind those who came after it");
            (record.closing, record.before) = (closing, Some(failure.arrived.min(closed)));
        } else {
            assert_eq!(record.ticket, taken.ticket, "request {id} has lost its place");
        }
        (record.ticket, record.place, record.counted) = (taken.ticket, Place::Held, false);
        record.came_at = step;
        self.check_places(id);
    }

    fn go_down(&mut self, app: usize, failure: &Failure, taken: &TakenBack) {
        let account = &self.accounts[app];
        let state = account.state;
        assert_ne!(state, State::Maintenance, "a request is taken back under maintenance");
        let goes_down =
            state == State::Open || state == State::Releasing && account.canary.is_none();
        assert_eq!(taken.change.is_some(), goes_down, "taken back while it is {state:?}");
        if let Some(change) = taken.change {
            assert_eq!((change.from, change.to), (state, State::Down));
            if state == State::Open {
                self.accounts[app].policy = failure.terms.policy;
            }
            self.set_state(app, State::Down);
        }
    }

    /// Those who are held have their tickets in the order in which they arrived.
    fn check_places(&self, id: Id) {
        let one = &self.records[&id];
        let held = |record: &&Record| record.place == Place::Held;
        for other in self.of(one.app).filter(held) {
            let in_order = match one.arrived_before(other) {
                Some(true) => one.ticket < other.ticket,
                Some(false) => one.ticket > other.ticket,
                None => true,
            };
            assert!(in_order, "{one:?} and {other:?} are not held as they arrived");
        }
    }

    /// A probe of the backend of an app begins. It is the only one, unless whoever began another one has
    /// died, or stands still.
    pub fn probe(&mut self, app: usize, now: Moment, interval: Duration) {
        let account = &mut self.accounts[app];
        assert_eq!(account.state, State::Down, "a probe of a backend that is not down");
        let pause = if account.probes { LEASE } else { interval };
        if let Some(last) = account.probed.replace(now) {
            assert!(last.plus(pause) <= now, "a probe begins {:?} after another", now.since(last));
        }
        account.probes = true;
    }

    /// A probe is over.
    pub fn probed(&mut self, app: usize) {
        self.accounts[app].probes = false;
    }
}

impl Record {
    /// Whether it arrived before another one, if that can be told.
    fn arrived_before(&self, other: &Self) -> Option<bool> {
        if self.closing != other.closing {
            return Some(self.closing < other.closing);
        }
        match (self.before, other.before) {
            (Some(mine), Some(others)) if mine.plus(TICK) <= others => Some(true),
            (Some(mine), Some(others)) if others.plus(TICK) <= mine => Some(false),
            (Some(_), None) => Some(true),
            (None, Some(_)) => Some(false),
            _ => None,
        }
    }
}
