//! Letting requests go: when it is this worker's turn, and who is told when it is another's.

use nginx_sys::{ngx_post_event, ngx_posted_events, ngx_posted_next_events};

use super::Worker;
use crate::gate::lane::{Count, NO_TICKET, Survey};
use crate::gate::time::Moment;
use crate::gate::trial::Outcome;
use crate::gate::{BATCH, Gate, State, Turn};
use crate::nginx::passage::{Ending, Passage};
use crate::nginx::queue::Queue;
use crate::nginx::zone::ZoneLock;
use crate::nginx::{clock, hold, wake};
use crate::shm::{AppId, Locked};

impl Worker {
    pub fn trial_ended(&self, app: AppId, trial: u64, outcome: Outcome) {
        self.update(app, |gate| gate.trial_ended(trial, outcome));
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
            wake::ring(waiting().map(|(slot, _)| slot).filter(|slot| *slot != self.slot));
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
        let survey = self.zone.survey(app, self.slot, &self.liveness(now));
        let change = locked.update(app, |gate| gate.settle(now, &survey)).flatten();
        if change.is_some() {
            // Under the lock: whoever takes up the state file must not undo it.
            self.zone.note_unsaved();
        }
        let name = change.map(|_| locked.name(app).to_vec()).unwrap_or_default();
        let queue = queue.filter(|queue| !queue.is_empty());
        let batch = queue.map(|queue| self.take_turn(&mut locked, queue, now, &survey));
        drop(locked);
        if let Some(change) = change {
            self.log(&name, &change, survey.held, change.cause.name());
            self.notify();
            self.save_soon(now);
        }
        if let (Some(queue), Some(batch)) = (queue, batch) {
            self.send_off(queue, &batch);
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
        let left = self.allowance.get();
        if left == BATCH && count > 0 {
            // SAFETY: the event is initialised and stays where it is.
            unsafe { ngx_post_event(self.breath.get(), &raw mut ngx_posted_next_events) };
        }
        self.allowance.set(left.saturating_sub(count));
    }

    /// Takes out of a queue what may go now.
    fn take_turn<'q>(
        &self,
        locked: &mut Locked<'_, ZoneLock>,
        queue: &'q Queue,
        now: Moment,
        survey: &Survey,
    ) -> Batch<'q> {
        let mut batch = Batch::default();
        let (own, leaving) = (queue.first_ticket(), self.leaving.get());
        let turn = locked.gate(queue.app).map(|gate| gate.turn(now, own, leaving, survey));
        let refused = turn == Some(Turn::Refuse);
        let allowance = self.allowance.get();
        match turn {
            Some(Turn::Go { below, limit }) => batch.fill(queue, below, limit.min(allowance)),
            Some(Turn::Refuse) => batch.fill(queue, NO_TICKET, allowance),
            Some(Turn::Wait(at)) => self.due.set(self.due.get().min(at)),
            None => {}
        }
        self.spend(batch.count);
        locked.update(queue.app, |gate| {
            let trial = if !refused && gate.take(now, batch.count) { gate.trials } else { 0 };
            for passage in batch.members() {
                if let Some(entry) = passage.entry() {
                    self.stopped_holding(&entry);
                }
                gate.waits.record(now.since(passage.since()));
                if refused {
                    gate.totals.rejected += 1;
                    passage.refuse(503, Ending::Maintenance, now);
                } else {
                    passage.let_go(Ending::Released, trial, now);
                }
            }
        });
        batch
    }

    /// The requests of a batch are on their way: it is the turn of whoever is first now.
    pub fn after_batch(&self, queue: &Queue) {
        if queue.is_empty() {
            self.advance(queue.app);
            return;
        }
        let survey = self.survey(queue.app);
        if survey.first_elsewhere < queue.first_ticket() {
            wake::ring(self.slots_at(queue.app, survey.first_elsewhere));
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
            wake::ring(self.slots_at(app, survey.first_elsewhere));
        }
    }

    /// Sends requests on their way, and the end of the batch behind them.
    fn send_off(&self, queue: &Queue, batch: &Batch<'_>) {
        if batch.count == 0 {
            return;
        }
        // SAFETY: the requests of a batch live until their events run.
        let detour = batch.members().any(|passage| unsafe { hold::gets_body_later(passage) });
        for passage in batch.members() {
            passage.detour.set(detour);
            // SAFETY: a held request has a connection, whose write event runs the request.
            unsafe {
                let write = (*(*passage.request()).connection).write;
                ngx_post_event(write, &raw mut ngx_posted_events);
            }
        }
        queue.post_end_of_batch(detour);
    }
}

/// Requests that go together.
struct Batch<'q> {
    members: [Option<&'q Passage>; BATCH as usize],
    count: u32,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Self { members: [None; BATCH as usize], count: 0 }
    }
}

impl<'q> Batch<'q> {
    fn fill(&mut self, queue: &'q Queue, below: u64, limit: u32) {
        for place in self.members.iter_mut().take(limit as usize) {
            let Some(first) = queue.first().filter(|first| first.ticket() < below) else { return };
            queue.remove(first);
            *place = Some(first);
            self.count += 1;
        }
    }

    fn members(&self) -> impl Iterator<Item = &'q Passage> {
        self.members.iter().map_while(|member| *member)
    }
}
