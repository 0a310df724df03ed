//! A request, as the ledger knows it.

use super::Pid;
use crate::gate::lane::{NO_TICKET, Ticket};
use crate::gate::time::Moment;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody has decided about it, or its body is awaited.
    Arriving,
    Held,
    /// Out of the queue, as its client has gone or its time is up.
    Withdrawn,
    /// Let go in its turn, but not on its way yet.
    LetGo,
    Through,
}

#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub app: usize,
    pub worker: Pid,
    pub place: Place,
    pub(super) ticket: Ticket,
    /// The totals know how its hold came to an end, if it was held.
    pub(super) counted: bool,
    /// Since which step it is in flight, for all to see.
    pub(super) in_flight: Option<u64>,
    /// Its app had no room to count it.
    pub(super) unattributed: bool,
    pub released: bool,
    /// The number of the canary that it belongs to, 0 for none.
    pub(super) canary: u64,
    /// A good answer to it, as a canary's, has begun.
    pub(super) answers: bool,
    /// The step at which it came to be held, or came back.
    pub(super) came_at: u64,
    /// The step at which its worker looked who is first, to let it go.
    pub(super) let_go_at: u64,
    /// From which ticket on it could overtake others then.
    pub(super) mingling: Option<Ticket>,
    /// A byte of it was sent to a backend.
    pub(super) sent: bool,
    pub(super) replayed: bool,
    /// How often its app had been closed when it took its ticket, and when it had arrived, if it did
    /// before that.
    pub(super) closing: u64,
    pub(super) before: Option<Moment>,
}

/// How many requests of an app are where, in one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub held: u32,
    pub in_flight: u32,
    pub upgraded: u32,
    pub released: u32,
    pub canary: u32,
    pub unattributed: u32,
}

impl Record {
    /// One that arrives.
    pub(super) fn new(app: usize, worker: Pid) -> Self {
        Self {
            app,
            worker,
            place: Place::Arriving,
            ticket: NO_TICKET,
            counted: true,
            in_flight: None,
            unattributed: false,
            released: false,
            canary: 0,
            answers: false,
            came_at: 0,
            let_go_at: 0,
            mingling: None,
            sent: false,
            replayed: false,
            closing: 0,
            before: None,
        }
    }
}

impl Counts {
    pub(super) fn add(&mut self, record: &Record) {
        self.held += u32::from(record.place == Place::Held);
        self.in_flight += u32::from(record.in_flight.is_some());
        self.released += u32::from(record.released);
        self.canary += u32::from(record.canary != 0);
        self.unattributed += u32::from(record.unattributed);
    }
}
