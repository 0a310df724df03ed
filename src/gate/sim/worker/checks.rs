//! What a worker shows must be what is true.

use std::time::Duration;

use super::Worker;
use crate::gate::lane::{Count, NO_TICKET};
use crate::gate::sim::ledger::Counts;
use crate::gate::sim::world::World;
use crate::gate::{Gate, State, Turn};
use crate::shm::AppId;

impl Worker {
    /// Between two events, what the lanes say is what is true.
    pub fn check_lanes(&self) {
        if self.at_work.get() || self.over.get() {
            return;
        }
        let locked = self.world.zone.lock();
        let truths = self.world.ledger.borrow().counts_of(self.pid);
        for app in locked.apps() {
            let name = World::app_named(locked.name(app));
            let truth = truths[name];
            let mut lanes = self.world.zone.lanes(app);
            let Some((_, lane)) = lanes.find(|(slot, _)| *slot == self.slot) else { continue };
            let told = Counts {
                held: lane.get(Count::Held),
                in_flight: lane.get(Count::InFlight),
                upgraded: lane.get(Count::Upgraded),
                released: lane.get(Count::Released),
                trial: lane.get(Count::Trial),
            };
            assert_eq!(told, truth, "what the lane of app {name} in slot {} says", self.slot);
            let queue = self.queues.borrow().get(&app.index()).cloned();
            if let Some(queue) = queue.filter(|queue| !queue.busy.get()) {
                assert_eq!(lane.head(), queue.first_ticket(), "the head of app {name}");
            }
        }
    }

    /// Why the requests of an app that are held here go on waiting, though nothing is to do.
    pub fn check_patience(&self, app: AppId, gate: &Gate) {
        let queue = self.queues.borrow().get(&app.index()).cloned();
        let queue = queue.filter(|queue| queue.first_ticket() != NO_TICKET && !self.leaving.get());
        let Some(queue) = queue else { return };
        let survey = self.survey(app);
        let own = queue.first_ticket();
        if own > survey.first_elsewhere {
            return;
        }
        let soon = self.world.now().plus(Duration::from_millis(1));
        match gate.turn(self.world.now(), own, self.leaving.get(), &survey) {
            Turn::Go { .. } => {
                assert!(self.timer() <= soon, "nobody takes the turn of ticket {own}");
            }
            Turn::Refuse => panic!("ticket {own} is not refused"),
            Turn::Wait(at) if at.is_never() => {
                let busy = survey.released > 0 || survey.trial > 0 || gate.state() == State::Paused;
                let trial = gate.trial().is_some_and(|trial| trial.left() == 0);
                assert!(busy || trial, "ticket {own} waits for nothing");
            }
            Turn::Wait(at) => {
                let at = at.max(self.world.now()).plus(Duration::from_millis(1));
                assert!(self.timer() <= at, "nobody will take the turn of ticket {own}");
            }
        }
    }
}
