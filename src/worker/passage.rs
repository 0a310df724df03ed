//! A request's way through the gate: what a worker remembers of it, from its arrival to its end.

use core::cell::Cell;
use core::time::Duration;

use super::host::Host;
use super::list::Link;
use crate::gate::lane::{Count, NO_TICKET, Ticket};
use crate::gate::time::Moment;
use crate::shm::Entry;

/// Where a request is. How it is counted follows from that and from nothing else, and so does whether
/// it is linked to others: it is as long as it is [`Held`](Stage::Held), [`Going`](Stage::Going) or
/// [`Leaving`](Stage::Leaving), and never else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has decided about it.
    Arriving,
    /// Its body is being read; what becomes of it is decided when that has come.
    Reading,
    /// In the queue of its app.
    Held,
    /// Let go, in a batch of its queue: its turn comes.
    Going(Flight),
    /// Refused with this status, in a batch of its queue.
    Leaving(u16),
    /// On its way to the backend, or back.
    Through(Flight),
    /// Refused with this status, also where it meets the gate again.
    Refused(u16),
}

/// How a request is counted that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flight {
    /// In flight.
    Plain,
    /// In flight, and among those that were held and released.
    Released,
    /// As those, and among the requests of the canary with this number.
    Canary(u64),
    /// Its connection has become something else (101): it is in flight no more.
    Upgraded,
    /// In flight for all apps together, as there was no room to count it for its own.
    Unattributed,
}

impl Flight {
    pub fn counts(self) -> &'static [Count] {
        match self {
            Self::Plain => &[Count::InFlight],
            Self::Released => &[Count::InFlight, Count::Released],
            Self::Canary(_) => &[Count::InFlight, Count::Released, Count::Canary],
            Self::Upgraded => &[Count::Upgraded],
            Self::Unattributed => &[],
        }
    }

    pub(super) fn is_released(self) -> bool {
        matches!(self, Self::Released | Self::Canary(_))
    }
}

/// How it came, as `$intermission_status` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    None,
    Passed,
    Bypassed,
    Released,
    TimedOut,
    Rejected,
    Maintenance,
    Aborted,
}

impl Ending {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::Passed => "PASSED",
            Self::Bypassed => "BYPASSED",
            Self::Released => "RELEASED",
            Self::TimedOut => "TIMED_OUT",
            Self::Rejected => "REJECTED",
            Self::Maintenance => "MAINTENANCE",
            Self::Aborted => "ABORTED",
        }
    }
}

/// A request. It stays where it is as long as it is linked, and gives its place up before it goes.
#[repr(C)]
pub struct Passage<H: Host> {
    /// Among others that are held, or go together. Comes first: its list knows it by that.
    pub(super) link: Link,
    pub(super) stage: Cell<Stage>,
    /// The app whose gate it met last: it is counted there, or was let go from there.
    pub(super) entry: Cell<Option<Entry>>,
    pub(super) ticket: Cell<Ticket>,
    pub(super) since: Cell<Moment>,
    pub(super) until: Cell<Moment>,
    pub(super) ending: Cell<Ending>,
    /// Whether it is a canary's, and a good answer to it has begun.
    pub(super) answers: Cell<bool>,
    /// The request itself, as the world knows it.
    pub own: H::Request,
}

impl<H: Host> Passage<H> {
    /// A request that arrives.
    #[inline(always)]
    pub fn new(own: H::Request) -> Self {
        Self {
            link: Link::default(),
            stage: Cell::new(Stage::Arriving),
            entry: Cell::new(None),
            ticket: Cell::new(NO_TICKET),
            since: Cell::new(Moment::NEVER),
            until: Cell::new(Moment::NEVER),
            ending: Cell::new(Ending::None),
            answers: Cell::new(false),
            own,
        }
    }

    /// It goes through an open gate, at the first that it comes to; it has been counted.
    #[inline(always)]
    pub fn pass(&self, entry: Entry) {
        self.entry.set(Some(entry));
        self.ending.set(Ending::Passed);
        self.stage.set(Stage::Through(Flight::Plain));
    }

    #[inline]
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    #[inline]
    pub fn is_through(&self) -> bool {
        matches!(self.stage(), Stage::Through(_))
    }

    /// Whether it went through the gate of this app.
    #[inline]
    pub fn is_through_at(&self, app: Option<Entry>) -> bool {
        let same = |(mine, app): (Entry, Entry)| mine.is_of_same_app(&app);
        self.is_through() && self.entry.get().zip(app).is_some_and(same)
    }

    /// Whether it was let go from the queue of this app while its body had not come: then its ticket is
    /// good there.
    pub fn comes_back_to(&self, app: &Entry) -> bool {
        self.comes_back() && self.entry.get().is_some_and(|entry| entry.is_of_same_app(app))
    }

    pub fn comes_back(&self) -> bool {
        matches!(self.stage(), Stage::Arriving | Stage::Reading) && self.entry.get().is_some()
    }

    /// How it came. The log is written before the request's end takes it out of the queue: whoever
    /// is logged as held has been given up.
    pub fn logged_status(&self) -> Ending {
        match self.stage() {
            Stage::Held | Stage::Going(_) => Ending::Aborted,
            Stage::Arriving | Stage::Reading if self.comes_back() => Ending::Aborted,
            _ => self.ending.get(),
        }
    }

    pub fn why_let_go(&self) -> Ending {
        self.ending.get()
    }

    pub fn ticket(&self) -> Ticket {
        self.ticket.get()
    }

    /// Since when it has been held, and its ticket, if it was at the gate that it met last.
    pub fn held_here(&self) -> Option<(Moment, Ticket)> {
        (self.ticket() != NO_TICKET).then(|| (self.since(), self.ticket()))
    }

    pub fn since(&self) -> Moment {
        self.since.get()
    }

    #[inline]
    pub fn entry(&self) -> Option<Entry> {
        self.entry.get()
    }

    pub fn was_held(&self) -> bool {
        !self.since.get().is_never()
    }

    /// For how long it was held, if it was, and up to now if it is.
    pub fn waited(&self, now: Moment) -> Option<Duration> {
        let until = self.until.get();
        let until = if until.is_never() { now } else { until };
        self.was_held().then(|| until.since(self.since.get()))
    }

    /// The canary that it belongs to.
    #[inline]
    pub fn canary(&self) -> Option<u64> {
        match self.stage() {
            Stage::Through(Flight::Canary(canary)) => Some(canary),
            _ => None,
        }
    }

    /// It goes through; its worker has counted it, for its app, or else for all of them. How it came is
    /// told by the first gate that held it.
    pub(super) fn go_through(&self, entry: Option<Entry>, flight: Flight, ending: Ending) {
        self.entry.set(entry);
        if !self.was_held() {
            self.ending.set(ending);
        }
        self.stage.set(Stage::Through(flight));
    }

    /// Its body has to be read before anything else is decided.
    pub fn read_first(&self) {
        self.stage.set(Stage::Reading);
    }

    /// Its body has come.
    pub fn has_come(&self) {
        self.stage.set(Stage::Arriving);
    }

    pub(super) fn hold(&self, entry: Entry, (since, ticket): (Moment, Ticket)) {
        self.ticket.set(ticket);
        self.since.set(since);
        self.entry.set(Some(entry));
        self.until.set(Moment::NEVER);
        self.stage.set(Stage::Held);
        entry.lane.add(Count::Held);
    }

    /// It is let go, in flight from now on; `canary` is the one that it belongs to, 0 for none.
    pub(super) fn let_go(&self, canary: u64, now: Moment) {
        let flight = if canary > 0 { Flight::Canary(canary) } else { Flight::Released };
        self.stop_holding(now);
        self.ending.set(Ending::Released);
        self.stage.set(Stage::Going(flight));
        if let Some(entry) = self.entry.get() {
            flight.counts().iter().for_each(|count| entry.lane.add(*count));
        }
    }

    pub fn refuse(&self, status: u16, ending: Ending, now: Moment) {
        self.stop_holding(now);
        self.ending.set(ending);
        self.stage.set(Stage::Refused(status));
    }

    /// As [`Self::refuse`], when its turn comes.
    pub(super) fn refuse_in_turn(&self, status: u16, ending: Ending, now: Moment) {
        self.refuse(status, ending, now);
        self.stage.set(Stage::Leaving(status));
    }

    pub(super) fn stop_holding(&self, now: Moment) {
        self.until.set(now);
        if let (Stage::Held, Some(entry)) = (self.stage(), self.entry.get()) {
            entry.lane.sub(Count::Held);
        }
    }
}
