//! Letting requests go: when it is this worker's turn, and who is told when it is another's.

use super::Worker;
use super::host::{Fact, Host, Told, When};
use super::passage::{Ending, Passage};
use super::queue::Queue;
use crate::gate::lane::{Count, NO_TICKET, Survey};
use crate::gate::time::Moment;
use crate::gate::{BATCH, Gate, State, Turn};
use crate::shm::{AppId, Entry, Locked};

/// What becomes of a request that was let go, when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// It comes back to the gate when it has its body.
    Waits,
    /// Its client has left.
    Gone,
    /// It is on its way to the backend.
    On,
}

impl<H: Host> Worker<H> {
    /// Does for an app what has fallen due, and lets go what may go.
    pub fn serve(&self, app: AppId) {
        let queue = self.queue(app);
        if queue.is_some_and(|queue| queue.is_busy() || self.puts_off(queue)) {
            return;
        }
        let mut locked = self.zone.lock();
        let now = self.host.now();
        let liveness = self.host.liveness(now);
        locked.bury(app, self.slot, &liveness);
        let survey = self.zone.survey(app, self.slot, &liveness);
        let settle = |gate: &mut Gate| {
            let change = gate.settle(now, &survey);
            change.iter().for_each(|change| self.host.note(Fact::Settled { app, change, now }));
            change
        };
        let change = locked.update(app, settle).flatten();
        let news = self.news(&mut locked, app, change, survey.held, now);
        let queue = queue.filter(|queue| !queue.is_empty());
        let count = queue.map_or(0, |queue| self.take_turn(&mut locked, queue, now, &survey));
        drop(locked);
        if let Some(news) = &news {
            self.announce(news, now);
            self.arm(now);
        }
        if let Some(queue) = queue {
            if count > 0 {
                queue.post_batch(&self.host);
            }
            self.arm(now);
        }
        self.probe_if_due(app);
    }

    /// Serves an app, and tells the worker whose turn it is, if it is another's.
    pub fn serve_and_pass_on(&self, app: AppId) {
        self.serve(app);
        let queue = self.queue(app);
        let own = queue.map_or(NO_TICKET, |queue| queue.first_ticket());
        let survey = self.survey(app);
        let closed = self.zone.state(app) != State::Open;
        if closed && survey.first_elsewhere < own {
            self.host.ring(self.slots_at(app, survey.first_elsewhere));
        }
    }

    /// The requests of a batch are on their way: it is the turn of whoever is first now.
    pub(super) fn after_batch(&self, queue: &Queue<H>) {
        if queue.is_empty() {
            self.serve_and_pass_on(queue.app);
            return;
        }
        let (survey, own) = (self.survey(queue.app), queue.first_ticket());
        if survey.first_elsewhere < own {
            self.host.ring(self.slots_at(queue.app, survey.first_elsewhere));
        }
        let now = self.host.now();
        let turn = |gate: &Gate| gate.turn(now, own, self.leaving.get(), &survey);
        let turn = self.zone.lock().gate(queue.app).map(turn);
        if survey.first_elsewhere > own || matches!(turn, Some(Turn::Go { .. })) {
            queue.post_next(&self.host);
        }
    }

    /// The turn of a request has come that was let go. Whether its client has left is asked if nothing
    /// else keeps it.
    pub fn send_off(&self, passage: &Passage<H>, is_gone: impl FnOnce() -> bool) -> Going {
        if self.host.is_being_read(passage) {
            self.read_on(passage);
            return Going::Waits;
        }
        if is_gone() {
            return Going::Gone;
        }
        if let Some(entry) = passage.entry() {
            self.count_end(&entry, passage, Ending::Released);
        }
        passage.set_through();
        Going::On
    }

    /// A request that was held, and let go, has come to its end at the gate. If that is maintenance, the
    /// gate has counted it as rejected. While its body was awaited it was counted nowhere, so that its
    /// app may have been forgotten meanwhile.
    pub(super) fn count_end(&self, entry: &Entry, passage: &Passage<H>, how: Ending) {
        let waited = passage.waited(self.host.now()).unwrap_or_default();
        let mut locked = self.zone.lock();
        if !entry.is_apps() {
            return;
        }
        locked.update(entry.app(), |gate| {
            self.host.note(Fact::HoldEnded(passage, how));
            match how {
                Ending::Released => gate.totals.released += 1,
                Ending::Aborted => gate.totals.aborted += 1,
                _ => {}
            }
            gate.waits.record(waited);
        });
    }

    /// A request that had gone through is over: others may wait for that.
    #[inline]
    pub fn request_ended(&self, app: AppId) {
        if self.zone.state(app) != State::Open {
            self.end_while_closed(app);
        }
    }

    #[cold]
    fn end_while_closed(&self, app: AppId) {
        let counts = self.zone.lock().gate(app).is_some_and(Gate::counts_ends);
        if counts {
            self.serve_and_pass_on(app);
        }
        self.tell_waiting(app);
    }

    /// A request that found its app closed takes itself off the count: whoever let the last one end
    /// in between has seen it there, and told nobody.
    pub fn counted_in_vain(&self, app: AppId) {
        if self.zone.state(app) != State::Open {
            self.tell_waiting(app);
        }
    }

    /// Lets those who wait for a quiet backend look, if it is quiet.
    fn tell_waiting(&self, app: AppId) {
        let waiting = || self.zone.lanes(app).filter(|(_, lane)| lane.get(Count::Waiting) > 0);
        if waiting().next().is_some() && self.survey(app).in_flight == 0 {
            self.host.ring(waiting().map(|(slot, _)| slot).filter(|slot| *slot != self.slot));
            self.look_soon();
        }
    }

    /// Whether what may go in this turn of the event loop has gone, of other apps perhaps. The queue
    /// is looked at again in the next one.
    fn puts_off(&self, queue: &Queue<H>) -> bool {
        let waits = self.allowance.get() == 0 && !queue.is_empty();
        if waits {
            queue.post_next(&self.host);
        }
        waits
    }

    /// Takes some of what may be let go in this turn of the event loop.
    fn spend(&self, count: u32) {
        self.allowance.set(self.allowance.get().saturating_sub(count));
        if count > 0 && !self.refills.replace(true) {
            self.arrived.set(0);
            self.host.post(&self.refill, When::NextTurn);
        }
    }

    /// The event loop turns. As many may go as came meanwhile, and some more: so a queue gets shorter,
    /// however many come, and others wait for it no longer than they would if all of these had found
    /// an open gate.
    pub(super) fn refill(&self) {
        self.refills.set(false);
        self.allowance.set(BATCH.saturating_add(self.arrived.take()));
    }

    /// How many may go for which there are connections. If none of those is on its way whose end would
    /// make room, one goes at the expense of the reserve.
    fn room(&self) -> u32 {
        let free = self.host.free_connections();
        let least = u32::from(self.released.get() == 0);
        u32::try_from(free).unwrap_or(u32::MAX).max(least)
    }

    /// One that was released is over. Connections may be free for the next: those that it used are,
    /// when the events that are posted have run.
    pub(super) fn released_ended(&self) {
        self.released.set(self.released.get().saturating_sub(1));
        if self.waits_for_connections.replace(false) {
            self.look_soon();
        }
    }

    /// Takes out of a queue what may go now; how many that are.
    fn take_turn(
        &self,
        locked: &mut Locked<'_, H::Lock>,
        queue: &Queue<H>,
        now: Moment,
        survey: &Survey,
    ) -> u32 {
        let (own, leaving) = (queue.first_ticket(), self.leaving.get());
        let turn = locked.gate(queue.app).map(|gate| gate.turn(now, own, leaving, survey));
        let allowance = self.allowance.get();
        let (below, wanted, refused) = match turn {
            Some(Turn::Go { below, limit }) => (below, limit.min(allowance), false),
            Some(Turn::Refuse) => (NO_TICKET, allowance, true),
            Some(Turn::Wait(at)) => {
                self.due.set(self.due.get().min(at));
                return 0;
            }
            None => return 0,
        };
        let limit = if refused { wanted } else { wanted.min(self.room()) };
        let mut count = 0;
        while count < limit && queue.first_ticket() < below {
            queue.let_first_go();
            count += 1;
        }
        if count == limit && limit < wanted {
            self.waits_for_connections.set(true);
        }
        self.spend(count);
        locked.update(queue.app, |gate| {
            let canary = if !refused && gate.take(now, count) { gate.canaries } else { 0 };
            if canary > 0 {
                self.host.tell(Told::CanaryGoes);
            }
            if !refused {
                self.host.note(Fact::LetGo { queue, now, canary, leaving });
            }
            for passage in queue.batch() {
                self.stopped_holding();
                if refused {
                    passage.refuse_in_turn(503, Ending::Maintenance, now);
                    gate.waits.record(now.since(passage.since()));
                    gate.totals.rejected += 1;
                    self.host.note(Fact::Refused(passage));
                } else {
                    self.released.set(self.released.get() + 1);
                    passage.let_go(canary, now);
                }
            }
        });
        count
    }
}
