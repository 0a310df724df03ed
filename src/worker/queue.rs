//! The requests of one app that this worker holds, in the order of their tickets.
//!
//! What is let go together leaves as a batch: one event runs all of it, in order. Nothing else makes
//! a request of a batch go on, whatever happens on its connection meanwhile.

use core::cell::Cell;

use super::Worker;
use super::host::{Host, Step, Task, When};
use super::list::List;
use super::passage::Passage;
use crate::gate::lane::{Lane, NO_TICKET, Ticket};
use crate::gate::time::Moment;
use crate::shm::AppId;

/// Stays where it is made: its lists have pointers into it.
pub struct Queue<H: Host> {
    pub app: AppId,
    /// Its worker's, which can be another each time that the first request is held.
    lane: Cell<&'static Lane>,
    members: List<H>,
    /// The batch that was let go and has not run: the head that the others see is still that of it.
    going: List<H>,
    /// Those of it that have been asked for their bodies.
    prepared: List<H>,
    /// Whether there is a batch.
    busy: Cell<bool>,
    /// Whether bodies that are there, but are given later, have been waited for.
    waited: Cell<bool>,
    /// Runs the batch, or looks whether there may be another.
    turn: H::Event,
}

impl<H: Host> Queue<H> {
    pub fn new(app: AppId, lane: &'static Lane, host: &H) -> Box<Self> {
        let queue = Box::new(Self {
            app,
            lane: Cell::new(lane),
            members: List::default(),
            going: List::default(),
            prepared: List::default(),
            busy: Cell::new(false),
            waited: Cell::new(false),
            turn: host.event(Task::Turn(app)),
        });
        for list in [&queue.members, &queue.going, &queue.prepared] {
            list.init();
        }
        queue
    }

    pub fn is_busy(&self) -> bool {
        self.busy.get()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn first_ticket(&self) -> Ticket {
        self.members.first().map_or(NO_TICKET, Passage::ticket)
    }

    /// Puts a request where its ticket belongs: at the end, unless it comes back. Under the zone's
    /// lock, so that nobody opens the app in between.
    pub fn push(&self, passage: &Passage<H>, lane: &'static Lane) {
        self.lane.set(lane);
        self.members.insert(passage);
        let is_first = self.first_ticket() == passage.ticket();
        // The head is that of the batch which is on its way, unless somebody comes back who was before it.
        if is_first && (!self.busy.get() || passage.ticket() < lane.head()) {
            lane.publish_head(passage.ticket(), passage.since());
        }
    }

    /// Makes the first of the queue the last of the batch.
    pub fn let_first_go(&self) {
        if let Some(first) = self.members.pop() {
            self.going.push(first);
        }
    }

    /// The batch, as long as nobody has run.
    pub fn batch(&self) -> impl Iterator<Item = &Passage<H>> {
        self.going.iter()
    }

    /// Shows the others who is first here now.
    pub fn publish(&self) {
        match self.members.first() {
            Some(first) => self.lane.get().publish_head(first.ticket(), first.since()),
            None => self.lane.get().publish_head(NO_TICKET, Moment::NEVER),
        }
    }

    /// The batch goes behind all that is posted.
    pub fn post_batch(&self, host: &H) {
        self.busy.set(true);
        self.waited.set(false);
        host.post(&self.turn, When::Last);
    }

    /// Comes back when the event loop has turned once, so that other clients are served.
    pub fn post_next(&self, host: &H) {
        host.post(&self.turn, When::NextTurn);
    }

    #[cfg(test)]
    pub fn fingerprint(&self, hasher: &mut impl std::hash::Hasher) {
        use std::hash::Hash;
        let Self { app, lane, members, going, prepared, busy, waited, turn: _ } = self;
        (app.index(), std::ptr::from_ref(lane.get()) as usize).hash(hasher);
        for list in [members, going, prepared] {
            list.iter().map(Passage::ticket).collect::<Vec<_>>().hash(hasher);
        }
        (busy.get(), waited.get()).hash(hasher);
    }

    /// Runs the batch; whether it has. Bodies are asked for first: some that are there (those of HTTP/2)
    /// are given only after what is posted already, and nobody of the batch goes on before that.
    fn run(&self, host: &H) -> bool {
        while let Some(passage) = self.going.pop() {
            self.prepared.push(passage);
            host.run(passage, Step::Prepare);
        }
        let waits = || self.prepared.iter().any(|passage| host.is_being_read(passage));
        if !self.waited.replace(true) && waits() {
            host.post(&self.turn, When::Last);
            return false;
        }
        while let Some(passage) = self.prepared.pop() {
            host.run(passage, Step::Go);
        }
        self.busy.set(false);
        self.publish();
        true
    }
}

impl<H: Host> Worker<H> {
    /// It is the turn of a queue that was posted.
    pub(super) fn turn(&self, app: AppId) {
        match self.queue(app) {
            Some(queue) if queue.is_busy() => {
                if queue.run(&self.host) {
                    self.after_batch(queue);
                }
            }
            _ => self.serve(app),
        }
    }
}
