//! What one worker shows the others about one app: a cache line of counters.

use super::time::Moment;
use crate::shared::{Shared32, Shared64};

/// A request's number at its app's gate; the order of release.
pub type Ticket = u64;

/// The head of a lane that holds nothing: behind every ticket.
pub const NO_TICKET: Ticket = Ticket::MAX;

/// A worker's part of an app, written by that worker alone and read by all of them.
///
/// Everything is sequentially consistent: a request that goes through counts itself and then looks
/// at the state, a caller that pauses sets the state and then adds up, so that one of the two sees
/// the other.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Lane {
    /// The smallest ticket held here, or a smaller one whose request has just left.
    head: Shared64,
    /// When the request at the head was held, in microseconds.
    head_since: Shared64,
    /// Requests held here.
    held: Shared32,
    /// Requests that went through here and are not over.
    in_flight: Shared32,
    /// Connections that were upgraded (101) after they went through.
    upgraded: Shared32,
    /// Those of the requests in flight that had been held and were released.
    released: Shared32,
    /// Those of the released ones that are a canary's.
    canary: Shared32,
    /// Callers of this worker that wait for the app to become quiet, or for a canary's verdict.
    waiting: Shared32,
}

/// One of a lane's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Held,
    InFlight,
    Upgraded,
    Released,
    Canary,
    Waiting,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            head: Shared64::new(NO_TICKET),
            head_since: Shared64::new(Moment::NEVER.as_micros()),
            held: Shared32::new(0),
            in_flight: Shared32::new(0),
            upgraded: Shared32::new(0),
            released: Shared32::new(0),
            canary: Shared32::new(0),
            waiting: Shared32::new(0),
        }
    }
}

impl Lane {
    pub fn head(&self) -> Ticket {
        self.head.get()
    }

    pub fn head_since(&self) -> Moment {
        Moment::from_micros(self.head_since.get())
    }

    /// Shows `ticket`, held since `since`, as the first in this lane.
    pub fn publish_head(&self, ticket: Ticket, since: Moment) {
        self.head_since.set(since.as_micros());
        self.head.set(ticket);
    }

    /// A count that is below zero, as one can be for a while after its lane has got another owner, is none.
    pub fn get(&self, count: Count) -> u32 {
        let value = self.counter(count).get();
        if i32::try_from(value).is_ok() { value } else { 0 }
    }

    pub fn add(&self, count: Count) {
        self.counter(count).add(1);
    }

    pub fn sub(&self, count: Count) {
        self.counter(count).sub(1);
    }

    /// Empties the lane, for the next worker in its place.
    pub fn clear(&self) {
        self.publish_head(NO_TICKET, Moment::NEVER);
        self.counters().iter().for_each(|counter| counter.set(0));
    }

    /// Whether nothing is in it, so that it is as a new one.
    pub fn is_quiet(&self) -> bool {
        let is_zero = |counter: &&Shared32| counter.get() == 0;
        self.head() == NO_TICKET && self.counters().iter().all(is_zero)
    }

    #[cfg(test)]
    pub fn fingerprint(&self, hasher: &mut impl std::hash::Hasher) {
        use std::hash::Hash;
        (self.head(), self.head_since()).hash(hasher);
        self.counters().map(Shared32::get).hash(hasher);
    }

    fn counters(&self) -> [&Shared32; 6] {
        [&self.held, &self.in_flight, &self.upgraded, &self.released, &self.canary, &self.waiting]
    }

    fn counter(&self, count: Count) -> &Shared32 {
        match count {
            Count::Held => &self.held,
            Count::InFlight => &self.in_flight,
            Count::Upgraded => &self.upgraded,
            Count::Released => &self.released,
            Count::Canary => &self.canary,
            Count::Waiting => &self.waiting,
        }
    }
}

/// What the lanes of an app say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    pub held: u32,
    pub in_flight: u32,
    pub upgraded: u32,
    pub released: u32,
    pub canary: u32,
    /// The smallest ticket among the lanes that keep their turn, without the asking worker's own.
    pub first_elsewhere: Ticket,
    /// The smallest ticket in any lane.
    pub first_anywhere: Ticket,
    /// When the request that waits longest was held.
    pub oldest: Moment,
}

impl Default for Survey {
    fn default() -> Self {
        Self {
            held: 0,
            in_flight: 0,
            upgraded: 0,
            released: 0,
            canary: 0,
            first_elsewhere: NO_TICKET,
            first_anywhere: NO_TICKET,
            oldest: Moment::NEVER,
        }
    }
}

impl Survey {
    /// Adds the counts of a lane whose worker lives.
    pub fn count(&mut self, lane: &Lane) {
        let held = lane.get(Count::Held);
        self.held = self.held.saturating_add(held);
        self.in_flight = self.in_flight.saturating_add(lane.get(Count::InFlight));
        self.upgraded = self.upgraded.saturating_add(lane.get(Count::Upgraded));
        self.released = self.released.saturating_add(lane.get(Count::Released));
        self.canary = self.canary.saturating_add(lane.get(Count::Canary));
        self.first_anywhere = self.first_anywhere.min(lane.head());
        // The head can be that of a batch that was let go just now.
        if held > 0 {
            self.oldest = self.oldest.min(lane.head_since());
        }
    }

    /// Lets another worker's lane keep its turn in the order of release.
    pub fn queue(&mut self, lane: &Lane) {
        self.first_elsewhere = self.first_elsewhere.min(lane.head());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_below_zero_is_none() {
        let lane = Lane::default();
        lane.in_flight.set(0_u32.wrapping_sub(1));
        let mut survey = Survey::default();
        survey.count(&lane);
        assert_eq!((lane.get(Count::InFlight), survey.in_flight), (0, 0));
        assert!(!lane.is_quiet(), "it is emptied before it is given away");
    }
}
