//! A request's way: `passage.rs` and `hold.rs`.

use std::cell::Cell;
use std::rc::Rc;

use super::admission::Withdrawal;
use super::{Posted, Worker};
use crate::gate::lane::{Count, NO_TICKET, Ticket};
use crate::gate::sim::ledger::Id;
use crate::gate::sim::task::pause;
use crate::gate::time::Moment;
use crate::gate::trial::Outcome;
use crate::shm::Entry;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Held,
    LetGo,
    Through,
    Refused,
}

pub struct Request {
    pub id: Id,
    pub entry: Entry,
    pub ticket: Ticket,
    pub since: Moment,
    /// When its time is up.
    pub until: Moment,
    /// What happens then.
    pub passes: bool,
    pub uploads: bool,
    pub stage: Cell<Stage>,
    pub reading: Cell<bool>,
    pub released: Cell<bool>,
    pub trial: Cell<u64>,
    pub upgraded: Cell<bool>,
    pub detour: Cell<bool>,
}

impl Request {
    /// One that goes through without having been held.
    pub fn through(id: Id, entry: Entry) -> Self {
        Self {
            id,
            entry,
            ticket: NO_TICKET,
            since: Moment::NEVER,
            until: Moment::NEVER,
            passes: true,
            uploads: false,
            stage: Cell::new(Stage::Through),
            reading: Cell::new(false),
            released: Cell::new(false),
            trial: Cell::new(0),
            upgraded: Cell::new(false),
            detour: Cell::new(false),
        }
    }
}

impl Worker {
    pub(super) fn let_go(&self, request: &Request, released: bool, trial: u64) {
        request.stage.set(Stage::LetGo);
        request.entry.lane.add(Count::InFlight);
        if released {
            request.released.set(true);
            request.entry.lane.add(Count::Released);
        }
        if trial > 0 {
            request.trial.set(trial);
            request.entry.lane.add(Count::Trial);
        }
    }

    /// The request is over: its client has gone, or it has been answered.
    pub(super) async fn end(&self, id: Id, outcome: Outcome) {
        let Some(request) = self.request(id) else { return };
        match request.stage.get() {
            Stage::Held => {
                self.withdraw(&request, Withdrawal::Abort).await;
            }
            Stage::LetGo => {
                if request.released.get() {
                    self.update(request.entry.app(), |gate| {
                        self.world.ledger.borrow_mut().abort_let_go(id);
                        gate.totals.aborted += 1;
                    });
                    pause().await;
                }
                self.leave(&request, Outcome::Void).await;
            }
            Stage::Through => self.leave(&request, outcome).await,
            Stage::Refused => {}
        }
        self.requests.borrow_mut().remove(&id);
    }

    async fn leave(&self, request: &Request, outcome: Outcome) {
        let lane = request.entry.lane;
        self.world.ledger.borrow_mut().end(request.id);
        if request.upgraded.get() {
            lane.sub(Count::Upgraded);
            self.world.ledger.borrow_mut().forget(request.id);
            return;
        }
        lane.sub(Count::InFlight);
        self.stop_counting_release(request, outcome).await;
        self.world.ledger.borrow_mut().forget(request.id);
        self.request_ended(request.entry.app()).await;
    }

    async fn stop_counting_release(&self, request: &Request, outcome: Outcome) {
        pause().await;
        if request.released.replace(false) {
            request.entry.lane.sub(Count::Released);
        }
        let trial = request.trial.replace(0);
        if trial > 0 {
            self.update(request.entry.app(), |gate| {
                self.world.ledger.borrow_mut().end_trial(request.id, outcome);
                gate.trial_ended(trial, outcome);
            });
            pause().await;
            request.entry.lane.sub(Count::Trial);
        }
    }

    pub(super) async fn upgrade(&self, id: Id) {
        let Some(request) = self.request(id) else { return };
        if request.stage.get() != Stage::Through || request.upgraded.replace(true) {
            return;
        }
        self.world.ledger.borrow_mut().upgrade(id);
        request.entry.lane.add(Count::Upgraded);
        request.entry.lane.sub(Count::InFlight);
        self.stop_counting_release(&request, Outcome::Good).await;
        self.request_ended(request.entry.app()).await;
    }

    pub(super) async fn on_write(&self, request: &Rc<Request>) {
        match request.stage.get() {
            Stage::LetGo if !request.reading.get() => self.go_on(request).await,
            Stage::Refused => {
                self.requests.borrow_mut().remove(&request.id);
            }
            _ => {}
        }
    }

    pub(super) async fn time_out(&self, request: &Rc<Request>) {
        let id = request.id;
        self.withdraw(request, Withdrawal::TimeOut).await;
        let mut ledger = self.world.ledger.borrow_mut();
        if request.passes {
            ledger.go_late(id);
            self.let_go(request, false, 0);
        } else {
            ledger.end(id);
            ledger.forget(id);
            request.stage.set(Stage::Refused);
        }
    }

    async fn go_on(&self, request: &Rc<Request>) {
        if request.detour.replace(false) {
            self.post(Posted::Write(request.id));
            return;
        }
        self.world.ledger.borrow_mut().run(request.id);
        if request.uploads {
            request.reading.set(true);
            return;
        }
        self.run_phases(request).await;
    }

    pub(super) async fn on_body(&self, id: Id) {
        let Some(request) = self.request(id) else { return };
        if request.reading.replace(false) && request.stage.get() == Stage::LetGo {
            self.run_phases(&request).await;
        }
    }

    async fn run_phases(&self, request: &Request) {
        pause().await;
        if request.released.get() {
            self.update(request.entry.app(), |gate| {
                self.world.ledger.borrow_mut().reach_backend(request.id);
                gate.totals.released += 1;
            });
        } else {
            self.world.ledger.borrow_mut().reach_backend(request.id);
        }
        request.stage.set(Stage::Through);
    }
}
