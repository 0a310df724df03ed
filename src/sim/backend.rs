//! The apps' backends, which are up or down: what `nginx/request` does at one, and `nginx/host/probe`.

use std::time::Duration;

use super::host::{Event, Passage, Sim, Worker};
use super::ledger::Id;
use super::world::World;
use crate::gate::State;
use crate::gate::canary::Outcome;
use crate::gate::outage::Terms;
use crate::gate::time::Moment;
use crate::shm::AppId;
use crate::worker::{Ending, Patience, Place};

impl Worker {
    /// A request that went through is on its way to its backend. Whether that is there shows at once, or
    /// later.
    pub fn set_out(&self, request: &Passage) {
        let world = &self.host.world;
        if !world.plan.outages || !request.is_through() {
            return;
        }
        let arrived = &request.own.arrived;
        arrived.set(arrived.get().min(world.now()));
        if world.rng.chance(30) {
            self.connect(request);
        }
    }

    pub fn on_connect(&self, id: Id) {
        if let Some(request) = self.host.request(id).filter(|request| request.is_through()) {
            self.connect(&request);
        }
    }

    /// A request is sent to its backend, or is taken back as that is down. Nothing is taken back of which a
    /// byte went to any backend.
    fn connect(&self, request: &Passage) {
        let (own, world) = (&request.own, &self.host.world);
        if own.sent.get() {
            return;
        }
        if world.is_down(own.app.get()) {
            return self.fail(request, !own.broke.get(), false);
        }
        own.sent.set(true);
        world.ledger.borrow_mut().send(own.arriving.id);
        self.reaches_backend(request);
    }

    /// A backend breaks off a request.
    pub fn on_break(&self, id: Id) {
        let Some(request) = self.host.request(id).filter(|request| request.is_through()) else {
            return;
        };
        let (own, world) = (&request.own, &self.host.world);
        if !own.sent.get() {
            return;
        }
        let repeats = world.plan.replays && !own.broke.get() && !own.replayed.replace(true);
        if repeats {
            own.sent.set(false);
            world.ledger.borrow_mut().replay(id);
        }
        self.fail(&request, repeats, true);
    }

    /// A request is taken back, if it may be, or ends in an error.
    fn fail(&self, request: &Passage, may_wait: bool, abandoned: bool) {
        let (own, world) = (&request.own, &self.host.world);
        let patience = world.patience(own.arriving.max_held, own.arriving.interval);
        let take_back = || self.take_back(request, own.arrived.get(), &patience, 502, abandoned);
        let Some(until) = may_wait.then(take_back).flatten() else {
            return self.on_end(own.arriving.id, Outcome::Failed(502), abandoned);
        };
        own.until.set(until);
        own.parked.set(true);
        own.paused.set(false);
        if let Some(entry) = request.entry() {
            if !world.plan.first_probes {
                let known = (own.app.get(), self.outage(entry.app()));
                self.host.knows.borrow_mut().insert(entry.app().index(), known);
            }
            self.knows_backend(entry.app());
        }
    }

    /// A request that was taken back has been held for as long as it may be: it goes on whatever comes of
    /// it.
    pub fn go_on(&self, request: &Passage) {
        let own = &request.own;
        own.parked.set(false);
        let name = World::name(own.app.get());
        let place = Place {
            name: name.as_bytes(),
            number: Some(own.app.get()),
            max_held: own.arriving.max_held,
            interval: own.arriving.interval,
        };
        self.let_through(request, &place, Ending::TimedOut);
        self.set_out(request);
    }

    /// Until when a request is held that has just come to be.
    pub fn hold_until(&self, request: &Passage) -> Moment {
        let world = &self.host.world;
        let in_outage = || self.held_until(request, world.plan.patience);
        let until = world.plan.outages.then(in_outage).flatten();
        let left = || world.now().plus(self.time_left(request));
        let until = until.unwrap_or_else(left);
        assert!(until <= world.now().plus(world.plan.patience.max(request.own.arriving.max_time)));
        until
    }

    /// What is left of the time of a request, if it waits for an operator.
    pub fn time_left(&self, request: &Passage) -> Duration {
        let waited = request.waited(self.host.world.now()).unwrap_or_default();
        request.own.arriving.max_time.saturating_sub(waited)
    }

    /// Whether a request whose time is up has waited for its backend, and has time left now that an operator
    /// has paused its app.
    pub fn waits_on(&self, request: &Passage) -> bool {
        self.host.world.plan.outages
            && self.state_for(request) == Some(State::Paused)
            && !self.time_left(request).is_zero()
    }

    /// Whether somebody is held here that was taken back, and whose backend is down. Who has the time of a
    /// pause keeps it when the release meets an outage.
    pub fn waits_for_backend(&self) -> bool {
        let waits = |request: &Passage| {
            let own = &request.own;
            let was_taken_back = own.parked.get() && !own.paused.get();
            was_taken_back && self.state_for(request) == Some(State::Down)
        };
        self.host.requests.borrow().values().any(|request| waits(request))
    }

    pub fn on_probed(&self, app: AppId, outage: u64) {
        let backend = self.host.knows.borrow().get(&app.index()).map(|known| known.0);
        let found = backend.is_some_and(|backend| !self.host.world.is_down(backend));
        backend.iter().for_each(|app| self.host.world.ledger.borrow_mut().probed(*app));
        self.probe_ended(app, outage, found);
    }
}

impl Sim {
    /// Whether a request is on its way to a backend, and nothing of it was sent.
    pub fn sets_out(&self, id: Id) -> bool {
        let request = self.request(id);
        self.world.plan.outages && request.is_some_and(|request| !request.own.sent.get())
    }

    pub fn knows_backend_of(&self, app: AppId, outage: u64) -> bool {
        self.knows.borrow().get(&app.index()).is_some_and(|known| known.1 == outage)
    }

    /// A probe begins, and ends at once or later.
    pub fn begin_probe(&self, app: AppId, outage: u64) {
        let probe = Event::Probed(app, outage);
        let backend = self.knows.borrow().get(&app.index()).map(|known| known.0);
        assert_eq!(backend, Some(self.world.app_at(app)), "another app's backend is probed");
        if self.world.rng.chance(30) {
            self.worker().on_probed(app, outage);
        } else {
            self.inbox.borrow_mut().push_back(probe);
        }
    }
}

impl World {
    pub fn is_down(&self, app: usize) -> bool {
        self.down.borrow().contains(&app)
    }

    /// A backend goes down, or comes back.
    pub fn set_down(&self, app: usize, down: bool) {
        let mut all = self.down.borrow_mut();
        if down {
            all.insert(app)
        } else {
            all.remove(&app)
        };
    }

    pub fn repair_all(&self) {
        self.down.borrow_mut().clear();
    }

    fn patience(&self, max_held: u32, looks: Duration) -> Patience {
        Patience {
            terms: Terms {
                longest: self.plan.patience,
                interval: self.plan.probes,
                first_probes: self.plan.first_probes,
                policy: self.plan.policy(&self.rng),
            },
            looks,
            max_held,
        }
    }
}
