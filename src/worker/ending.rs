//! How requests end, or go elsewhere: every way takes them off the counts and out of the queue.

use super::Worker;
use super::host::{Fact, Host};
use super::passage::{Ending, Flight, Passage, Stage};
use crate::gate::canary::Outcome;
use crate::gate::lane::{Count, NO_TICKET};
use crate::gate::{Gate, State};
use crate::shm::{AppId, Entry};

impl<H: Host> Passage<H> {
    /// It is on its way to the backend.
    pub(super) fn set_through(&self) {
        if let Stage::Going(flight) = self.stage() {
            self.stage.set(Stage::Through(flight));
        }
    }

    /// It is not the app's any more, and comes to another gate, if any.
    fn leave_gate(&self) {
        self.link.remove();
        self.entry.set(None);
        self.ticket.set(NO_TICKET);
        self.stage.set(Stage::Arriving);
    }

    /// Whether nothing happened to it but that it went through an open gate.
    #[inline]
    pub fn just_passed(&self) -> Option<Entry> {
        let plain = self.stage() == Stage::Through(Flight::Plain);
        self.entry.get().filter(|_| plain)
    }
}

impl<H: Host> Worker<H> {
    /// A request is not the app's any more whose gate it went through, or was let go from: it comes to
    /// another one's, or has yet to be read. How it came is told as long as it is not held again.
    /// `so_far` is what came of it there.
    pub fn turn_back(&self, passage: &Passage<H>, so_far: Outcome) {
        if let Stage::Through(flight) | Stage::Going(flight) = passage.stage() {
            self.stop_counting(passage, flight, so_far);
        }
        passage.leave_gate();
    }

    /// A request was let go, but its body has not come: it keeps nobody waiting, takes no place, and
    /// comes back to the gate when it is whole.
    pub(super) fn read_on(&self, passage: &Passage<H>) {
        if let Stage::Going(flight) = passage.stage.replace(Stage::Reading) {
            self.stop_counting(passage, flight, Outcome::Void);
        }
    }

    /// A request was held for as long as it may be.
    pub fn time_out(&self, passage: &Passage<H>) {
        self.withdraw(passage, Ending::TimedOut, |gate| {
            gate.totals.timed_out += 1;
            gate.outage.tally.expired += u64::from(gate.is_in_outage());
        });
    }

    /// A request's connection is used for something else from now on (101).
    pub fn upgrade(&self, passage: &Passage<H>) {
        let Stage::Through(flight) = passage.stage() else { return };
        if flight != Flight::Upgraded {
            passage.entry.get().iter().for_each(|entry| entry.lane.add(Count::Upgraded));
            passage.stage.set(Stage::Through(Flight::Upgraded));
            self.stop_counting(passage, flight, Outcome::Good);
        }
    }

    /// A good answer begins to a request of a canary.
    pub fn canary_answers(&self, passage: &Passage<H>) {
        let (Some(canary), Some(entry)) = (passage.canary(), passage.entry.get()) else { return };
        if !passage.answers.replace(true) {
            self.update(entry.app(), |gate| gate.canary_answers(canary, true));
        }
    }

    /// The backend has answered a request of a canary, which has no more say in that.
    pub fn judge(&self, passage: &Passage<H>, outcome: Outcome) {
        let (Some(canary), Some(entry)) = (passage.canary(), passage.entry.get()) else { return };
        passage.stage.set(Stage::Through(Flight::Released));
        self.canary_ended(passage, canary, entry, outcome);
        self.request_ended(entry.app());
    }

    /// A request is over, whatever the reason. `abandoned`, if the backend may be at work for it still.
    pub fn end(&self, passage: &Passage<H>, outcome: Outcome, abandoned: bool) {
        match passage.stage() {
            Stage::Through(flight) => {
                if abandoned {
                    self.abandon(passage, flight);
                }
                self.stop_counting(passage, flight, outcome);
            }
            Stage::Leaving(_) => passage.link.remove(),
            Stage::Held | Stage::Going(_) | Stage::Arriving | Stage::Reading => {
                self.give_up(passage);
            }
            Stage::Refused(_) => {}
        }
    }

    pub(super) fn abandon(&self, passage: &Passage<H>, flight: Flight) {
        match (flight, passage.entry.get()) {
            (Flight::Upgraded, _) => {}
            (Flight::Unattributed, _) => self.zone.abandon_unattributed(1, self.host.now()),
            (_, Some(entry)) => {
                self.update(entry.app(), |gate| gate.abandon(1, self.host.now()));
            }
            _ => {}
        }
    }

    /// A request does not get to the backend: it ends, or its body cannot be read. One that was let go
    /// as its time was up has been counted as that.
    pub fn give_up(&self, passage: &Passage<H>) {
        let stage = passage.stage();
        if stage == Stage::Held {
            self.withdraw(passage, Ending::Aborted, |gate| gate.totals.aborted += 1);
        } else if let Some(entry) = passage.entry.get() {
            if passage.ending.replace(Ending::Aborted) == Ending::Released {
                self.count_end(&entry, passage, Ending::Aborted);
            }
        }
        passage.link.remove();
        if let Stage::Going(flight) = stage {
            self.stop_counting(passage, flight, Outcome::Void);
        }
        passage.leave_gate();
    }

    /// A request does not want to be released any more, and leaves its queue.
    fn withdraw(&self, passage: &Passage<H>, why: Ending, count: impl FnOnce(&mut Gate)) {
        let now = self.host.now();
        self.host.note(Fact::Withdraws(passage));
        passage.stop_holding(now);
        passage.ending.set(why);
        passage.stage.set(Stage::Arriving);
        let Some(entry) = passage.entry.get() else { return };
        let Some(queue) = self.queue(entry.app()) else { return };
        let was_first = queue.first_ticket() == passage.ticket();
        passage.link.remove();
        self.stopped_holding();
        let waited = passage.waited(now).unwrap_or_default();
        self.update(entry.app(), |gate| {
            self.host.note(Fact::Withdrawn(passage, why));
            count(gate);
            gate.waits.record(waited);
        });
        if was_first && !queue.is_busy() {
            queue.publish();
            if self.zone.state(entry.app()) == State::Releasing || self.leaving.get() {
                self.serve_and_pass_on(entry.app());
            }
        }
    }

    pub(super) fn stop_counting(&self, passage: &Passage<H>, flight: Flight, outcome: Outcome) {
        self.host.note(Fact::Left(passage));
        let Some(entry) = passage.entry.get() else {
            // Callers who wait for it look again within their worker's interval: no need to tell them.
            if flight == Flight::Unattributed {
                self.zone.leave_unattributed(self.slot);
            }
            return;
        };
        for count in flight.counts().iter().filter(|count| **count != Count::Canary) {
            entry.lane.sub(*count);
        }
        if let Flight::Canary(canary) = flight {
            self.canary_ended(passage, canary, entry, outcome);
        }
        if flight != Flight::Upgraded {
            self.request_ended(entry.app());
        }
        // Behind that, where the next one may have found that this one's connections are still in use.
        if flight.is_released() {
            self.released_ended();
        }
    }

    fn canary_ended(&self, passage: &Passage<H>, canary: u64, entry: Entry, outcome: Outcome) {
        // In this order: one that is neither in flight nor over has died with its worker.
        let answers = passage.answers.take();
        self.update(entry.app(), |gate| {
            if answers {
                gate.canary_answers(canary, false);
            }
            gate.canary_ended(canary, outcome);
            self.host.note(Fact::CanaryOver { passage, canary, outcome });
        });
        entry.lane.sub(Count::Canary);
    }

    /// `Retry-After` of an app's maintenance, in seconds.
    pub fn retry_after(&self, app: AppId) -> Option<u64> {
        let seconds = self.zone.lock().gate(app).map_or(0, |gate| gate.retry_after);
        (seconds > 0).then_some(seconds)
    }
}
