//! Letting requests go: when it is this worker's turn, and who is told when it is another's.

use nginx_sys::{ngx_post_event, ngx_posted_next_events};

use super::Worker;
use crate::gate::lane::{Count, NO_TICKET, Survey};
use crate::gate::time::Moment;
use crate::gate::trial::Outcome;
use crate::gate::{BATCH, Gate, State, Turn};
use crate::nginx::ffi::{bells, clock, connections};
use crate::nginx::queue::Queue;
use crate::nginx::request::life::Ending;
use crate::nginx::zone::ZoneLock;
use crate::shm::{AppId, Locked};

impl Worker {
    /// A request of a canary is over; whether its answer had begun, and was good.
    pub fn trial_ended(&self, app: AppId, trial: u64, outcome: Outcome, answers: bool) {
        self.update(app, |gate| {
            if answers {
                gate.trial_answers(trial, false);
            }
            gate.trial_ended(trial, outcome);
        });
    }

    pub fn trial_answers(&self, app: AppId, trial: u64) {
        self.update(app, |gate| gate.trial_answers(trial, true));
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
            self.advance(app);
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
            bells::ring(waiting().map(|(slot, _)| slot).filter(|slot| *slot != self.slot));
            self.look_soon();
        }
    }

    /// Does for an app what has fallen due, and lets go what may go.
    pub fn attend(&self, app: AppId) {
        let queue = self.queue(app);
        if queue.is_some_and(|queue| queue.is_busy() || self.puts_off(queue)) {
            return;
        }
        let mut locked = self.zone.lock();
        let now = clock::now();
        let liveness = self.liveness(now);
        locked.bury(app, self.slot, &liveness);
        let survey = self.zone.survey(app, self.slot, &liveness);
        let change = locked.update(app, |gate| gate.settle(now, &survey)).flatten();
        if change.is_some() {
            // Under the lock: whoever takes up the state file must not undo it.
            self.zone.note_unsaved();
        }
        let name = change.map(|_| locked.name(app).to_vec()).unwrap_or_default();
        let queue = queue.filter(|queue| !queue.is_empty());
        let count = queue.map_or(0, |queue| self.take_turn(&mut locked, queue, now, &survey));
        drop(locked);
        if let Some(change) = change {
            self.log(&name, &change, survey.held, change.cause.name());
            self.notify();
            self.save_soon(now);
        }
        if let Some(queue) = queue {
            if count > 0 {
                queue.post_batch();
            }
            self.arm(now);
        }
    }

    /// Whether what may go in this turn of the event loop has gone, of other apps perhaps. The queue
    /// is looked at again in the next one.
    fn puts_off(&self, queue: &Queue) -> bool {
        let waits = self.allowance.get() == 0 && !queue.is_empty();
        if waits {
            queue.post_next();
        }
        waits
    }

    /// Takes some of what may be let go in this turn of the event loop.
    fn spend(&self, count: u32) {
        self.allowance.set(self.allowance.get().saturating_sub(count));
        // SAFETY: the event is initialised and stays where it is.
        unsafe {
            if count > 0 && (*self.refill.get()).posted() == 0 {
                self.arrived.set(0);
                ngx_post_event(self.refill.get(), &raw mut ngx_posted_next_events);
            }
        }
    }

    /// The event loop turns. As many may go as came meanwhile, and some more: so a queue gets shorter,
    /// however many come, and others wait for it no longer than they would if all of these had found
    /// an open gate.
    pub(super) fn refill(&self) {
        self.allowance.set(BATCH.saturating_add(self.arrived.take()));
    }

    /// How many may go for which there are connections. If none of those is on its way whose end would
    /// make room, one goes at the expense of the reserve.
    fn room(&self) -> u32 {
        let free = connections::free_for_release();
        let least = u32::from(self.released.get() == 0);
        u32::try_from(free).unwrap_or(u32::MAX).max(least)
    }

    /// One that was released is over. Connections may be free for the next: those that it used are,
    /// when the events that are posted have run.
    pub fn released_ended(&self) {
        self.released.set(self.released.get().saturating_sub(1));
        if self.waits_for_connections.replace(false) {
            self.look_soon();
        }
    }

    /// Takes out of a queue what may go now; how many that are.
    fn take_turn(
        &self,
        locked: &mut Locked<'_, ZoneLock>,
        queue: &Queue,
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
        self.waits_for_connections.set(count == limit && limit < wanted);
        self.spend(count);
        locked.update(queue.app, |gate| {
            let trial = if !refused && gate.take(now, count) { gate.trials } else { 0 };
            for passage in queue.batch() {
                self.stopped_holding();
                if refused {
                    gate.waits.record(now.since(passage.since()));
                    gate.totals.rejected += 1;
                    passage.refuse_in_turn(503, Ending::Maintenance, now);
                } else {
                    self.released.set(self.released.get() + 1);
                    passage.let_go(trial, now);
                }
            }
        });
        count
    }

    /// The requests of a batch are on their way: it is the turn of whoever is first now.
    pub fn after_batch(&self, queue: &Queue) {
        if queue.is_empty() {
            self.advance(queue.app);
            return;
        }
        let survey = self.survey(queue.app);
        if survey.first_elsewhere < queue.first_ticket() {
            bells::ring(self.slots_at(queue.app, survey.first_elsewhere));
        } else {
            queue.post_next();
        }
    }

    /// Attends to an app, and tells the worker whose turn it is, if it is another's.
    pub(super) fn advance(&self, app: AppId) {
        self.attend(app);
        let queue = self.queue(app);
        let own = queue.map_or(NO_TICKET, |queue| queue.first_ticket());
        let survey = self.survey(app);
        let closed = self.zone.state(app) != State::Open;
        if closed && survey.first_elsewhere < own {
            bells::ring(self.slots_at(app, survey.first_elsewhere));
        }
    }
}
