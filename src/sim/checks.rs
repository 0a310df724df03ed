//! What a worker shows must be what is true.

use std::time::Duration;

use super::crew::Crew;
use super::host::Worker;
use super::ledger::Counts;
use super::world::World;
use crate::gate::lane::{Count, NO_TICKET};
use crate::gate::{Gate, Turn};
use crate::shm::AppId;
use crate::worker::{Host, Stage};

impl Worker {
    /// Between two events, what the lanes say is what is true. Only who looks whether an app is open
    /// may have counted a request in a lane that was his before it was given to another app
    /// (`Entry::pass`), to take that back at once: a drain that sees it waits in vain for a moment, and
    /// is told.
    pub fn check_lanes(&self, crew: &Crew) {
        if self.host.at_work.get() || self.host.over.get() || World::is_locked() {
            return;
        }
        let locked = self.zone.lock();
        for app in locked.apps() {
            let Some(name) = World::app_named(locked.name(app)) else { continue };
            let mut truth = self.counts(app);
            let mut lanes = self.zone.lanes(app);
            let Some((_, lane)) = lanes.find(|(slot, _)| *slot == self.slot) else { continue };
            let told = Counts {
                held: lane.get(Count::Held),
                in_flight: lane.get(Count::InFlight),
                upgraded: lane.get(Count::Upgraded),
                released: lane.get(Count::Released),
                canary: lane.get(Count::Canary),
                unattributed: 0,
            };
            let in_vain = told.in_flight.saturating_sub(truth.in_flight);
            truth.in_flight += in_vain.min(crew.passing(lane));
            assert_eq!(told, truth, "what the lane of app {name} in slot {} says", self.slot);
            let head = self.first_ticket(app);
            assert!(head.is_none_or(|head| head == lane.head()), "the head of app {name}");
        }
    }

    /// How many requests of an app are where, by what each of them is.
    fn counts(&self, app: AppId) -> Counts {
        let mut counts = Counts::default();
        for request in self.host.requests.borrow().values() {
            if request.entry().is_none_or(|entry| entry.app() != app) {
                continue;
            }
            match request.stage() {
                Stage::Held => counts.held += 1,
                Stage::Going(flight) | Stage::Through(flight) => {
                    for count in flight.counts() {
                        match count {
                            Count::InFlight => counts.in_flight += 1,
                            Count::Upgraded => counts.upgraded += 1,
                            Count::Released => counts.released += 1,
                            Count::Canary => counts.canary += 1,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        counts
    }

    /// Why the requests of an app that are held here go on waiting, though nothing is to do.
    pub fn check_patience(&self, app: AppId, gate: &Gate) {
        let own = self.first_ticket(app).filter(|own| *own != NO_TICKET && !self.is_leaving());
        let Some(own) = own else { return };
        let survey = self.survey(app);
        if own > survey.first_elsewhere {
            return;
        }
        let soon = self.host.world.now().plus(Duration::from_millis(1));
        match gate.turn(self.host.world.now(), own, self.is_leaving(), &survey) {
            Turn::Go { .. } => {
                let room = self.host.free_connections() > 0;
                let soon = self.host.timer() <= soon;
                assert!(soon || !room, "nobody takes the turn of ticket {own}");
            }
            Turn::Refuse => panic!("ticket {own} is not refused"),
            Turn::Wait(at) if at.is_never() => {
                let busy = survey.released > 0 || survey.canary > 0 || gate.state().rests();
                let canary = gate.canary().is_some_and(|canary| canary.left() == 0);
                assert!(busy || canary, "ticket {own} waits for nothing");
            }
            Turn::Wait(at) => {
                let at = at.max(self.host.world.now()).plus(Duration::from_millis(1));
                assert!(self.host.timer() <= at, "nobody will take the turn of ticket {own}");
            }
        }
    }
}
