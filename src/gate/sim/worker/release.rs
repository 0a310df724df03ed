//! Letting requests go: `worker/release.rs`.

use std::rc::Rc;

use parking_lot::RawMutex;

use super::queue::Queue;
use super::request::{Request, Stage};
use super::{Posted, Worker};
use crate::gate::lane::{Count, NO_TICKET, Survey};
use crate::gate::sim::ledger::{Id, Take};
use crate::gate::sim::task::pause;
use crate::gate::sim::world::World;
use crate::gate::time::Moment;
use crate::gate::{BATCH, Gate, State, Turn};
use crate::shm::{AppId, Liveness, Locked};

impl Worker {
    pub(super) async fn request_ended(&self, app: AppId) {
        pause().await;
        if self.world.zone.state(app) == State::Open {
            return;
        }
        let counts = self.world.zone.lock().gate(app).is_some_and(Gate::counts_ends);
        if counts {
            self.advance(app).await;
        }
        self.tell_waiting(app).await;
    }

    pub(super) async fn counted_in_vain(&self, app: AppId) {
        if self.world.zone.state(app) != State::Open {
            self.tell_waiting(app).await;
        }
    }

    async fn tell_waiting(&self, app: AppId) {
        pause().await;
        let lanes = self.world.zone.lanes(app);
        let waiting: Vec<usize> =
            lanes.filter(|(_, lane)| lane.get(Count::Waiting) > 0).map(|(slot, _)| slot).collect();
        if !waiting.is_empty() && self.survey(app).in_flight == 0 {
            self.world.ring(waiting.into_iter().filter(|slot| *slot != self.slot));
            self.post(Posted::Look);
        }
    }

    /// Does for an app what has fallen due, and lets go what may go.
    pub async fn attend(&self, app: AppId) {
        let queue = self.queues.borrow().get(&app.index()).cloned();
        if queue.as_ref().is_some_and(|queue| queue.busy.get()) {
            return;
        }
        let now = self.world.now();
        pause().await;
        let (changed, batch) = self.settle_and_take(app, queue.as_deref(), now);
        if self.falls.get() {
            return self.fall().await;
        }
        pause().await;
        if changed {
            self.notify();
        }
        if let (Some(queue), Some(batch)) = (queue, batch) {
            self.send_off(&queue, &batch).await;
            self.arm(now);
        }
    }

    fn settle_and_take(
        &self,
        app: AppId,
        queue: Option<&Queue>,
        now: Moment,
    ) -> (bool, Option<Vec<Rc<Request>>>) {
        let mut locked = self.world.zone.lock();
        let liveness = Liveness { now, ..self.liveness() };
        let survey = self.world.zone.survey(app, self.slot, &liveness);
        let change = locked.update(app, |gate| gate.settle(now, &survey)).flatten();
        let name = World::app_named(locked.name(app));
        if let Some(change) = &change {
            self.world.ledger.borrow_mut().change(name, change, now);
            if self.stumbles() {
                return (true, None);
            }
        }
        let queue = queue.filter(|queue| queue.first_ticket() != NO_TICKET);
        let batch = queue.map(|queue| self.take_turn(&mut locked, name, queue, now, &survey));
        (change.is_some(), batch)
    }

    fn take_turn(
        &self,
        locked: &mut Locked<'_, RawMutex>,
        name: usize,
        queue: &Queue,
        now: Moment,
        survey: &Survey,
    ) -> Vec<Rc<Request>> {
        let own = queue.first_ticket();
        let gate = locked.gate(queue.app).expect("the app is there");
        let turn = gate.turn(now, own, self.leaving.get(), survey);
        let batch = match turn {
            Turn::Go { below, limit } => queue.take(below, limit.min(BATCH)),
            Turn::Refuse => queue.take(NO_TICKET, BATCH),
            Turn::Wait(at) => {
                self.due.set(self.due.get().min(at));
                Vec::new()
            }
        };
        locked.update(queue.app, |gate| {
            if turn == Turn::Refuse {
                self.refuse(gate, name, &batch, now);
            } else {
                self.release(gate, name, &batch, now);
            }
        });
        batch
    }

    fn refuse(&self, gate: &mut Gate, name: usize, batch: &[Rc<Request>], now: Moment) {
        let ids: Vec<Id> = batch.iter().map(|request| request.id).collect();
        self.world.ledger.borrow_mut().refuse(name, &ids);
        for request in batch {
            self.stopped_holding(&request.entry);
            gate.waits.record(now.since(request.since));
            gate.totals.rejected += 1;
            request.stage.set(Stage::Refused);
        }
    }

    fn release(&self, gate: &mut Gate, name: usize, batch: &[Rc<Request>], now: Moment) {
        let trial = if gate.take(now, batch.len() as u32) { gate.trials } else { 0 };
        let ids: Vec<Id> = batch.iter().map(|request| request.id).collect();
        let leaving = self.leaving.get();
        let take = Take { app: name, worker: self.pid, ids: &ids, now, trial: trial > 0, leaving };
        if !ids.is_empty() {
            self.world.ledger.borrow_mut().take(&take);
        }
        for request in batch {
            self.stopped_holding(&request.entry);
            gate.waits.record(now.since(request.since));
        }
        for request in batch {
            if self.stumbles() {
                return;
            }
            self.let_go(request, true, trial);
        }
    }

    pub(super) async fn on_turn(&self, place: usize) {
        let queue = self.queues.borrow()[&place].clone();
        if queue.detour.replace(false) {
            self.post(Posted::Turn(place));
        } else if queue.busy.replace(false) {
            queue.publish();
            pause().await;
            self.after_batch(&queue).await;
        } else {
            self.attend(queue.app).await;
        }
    }

    async fn after_batch(&self, queue: &Queue) {
        let own = queue.first_ticket();
        if own == NO_TICKET {
            return self.advance(queue.app).await;
        }
        let survey = self.survey(queue.app);
        pause().await;
        if survey.first_elsewhere < own {
            self.world.ring(self.slots_at(queue.app, survey.first_elsewhere));
        } else {
            self.post_next(Posted::Turn(queue.app.index()));
        }
    }

    pub(super) async fn advance(&self, app: AppId) {
        self.attend(app).await;
        let queue = self.queues.borrow().get(&app.index()).cloned();
        let own = queue.map_or(NO_TICKET, |queue| queue.first_ticket());
        let survey = self.survey(app);
        pause().await;
        let closed = self.world.zone.state(app) != State::Open;
        if closed && survey.first_elsewhere < own {
            self.world.ring(self.slots_at(app, survey.first_elsewhere));
        }
    }

    async fn send_off(&self, queue: &Queue, batch: &[Rc<Request>]) {
        if batch.is_empty() {
            return;
        }
        let detour = self.world.plan.uploads && self.world.rng.chance(20);
        for request in batch {
            request.detour.set(detour);
            self.post(Posted::Write(request.id));
        }
        queue.busy.set(true);
        queue.detour.set(detour);
        self.unpost(Posted::Turn(queue.app.index()));
        self.post(Posted::Turn(queue.app.index()));
        pause().await;
    }
}
