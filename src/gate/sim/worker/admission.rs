//! Coming to a gate, and giving a hold up: `entrance.rs` and `worker/admission.rs`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use parking_lot::RawMutex;

use super::request::{Request, Stage};
use super::{Posted, Worker};
use crate::gate::lane::{Count, Ticket};
use crate::gate::sim::ledger::Id;
use crate::gate::sim::task::pause;
use crate::gate::sim::world::World;
use crate::gate::time::Moment;
use crate::gate::{Arrival, State};
use crate::shm::{AppId, Entry, Locked};

/// How many records are looked at, for one request, to find an app that can be forgotten.
const SEARCH: usize = 64;

/// A request that arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arriving {
    pub id: Id,
    pub app: usize,
    pub bypasses: bool,
    pub max_held: u32,
    pub max_time: Duration,
    /// What happens when its time is up.
    pub passes: bool,
    /// Its body comes only when it is asked for.
    pub uploads: bool,
    pub interval: Duration,
}

/// Why a held request does not wait for its turn.
#[derive(Clone, Copy)]
pub enum Withdrawal {
    Abort,
    TimeOut,
}

impl Worker {
    pub(super) async fn on_arrival(&self, arriving: Arriving) {
        let known = self.entries.borrow().get(&arriving.app).copied();
        if let Some(entry) = known.filter(|entry| entry.pass()) {
            self.world.ledger.borrow_mut().pass(arriving.id, arriving.app, self.pid);
            self.go_through(arriving.id, entry);
            return;
        }
        if let Some(entry) = known {
            pause().await;
            self.counted_in_vain(entry.app()).await;
        }
        self.knock(arriving).await;
    }

    fn go_through(&self, id: Id, entry: Entry) {
        let request = Rc::new(Request::through(id, entry));
        self.requests.borrow_mut().insert(id, request);
    }

    async fn knock(&self, arriving: Arriving) {
        let now = self.world.now();
        pause().await;
        let held = self.meet_gate(&arriving, now);
        if self.falls.get() {
            return self.fall().await;
        }
        if let Some(app) = held {
            pause().await;
            self.began_to_hold(app, arriving.interval, now);
        }
    }

    /// Returns the app if the request is held.
    fn meet_gate(&self, arriving: &Arriving, now: Moment) -> Option<AppId> {
        let name = arriving.app;
        let mut locked = self.world.zone.lock();
        let Some(app) = self.find_or_create(&mut locked, name, SEARCH) else {
            self.world.ledger.borrow().pass_uncounted(name);
            return None;
        };
        let state = self.world.zone.state(app);
        let Ok(entry) = locked.entry(app, self.slot, SEARCH) else {
            if state == State::Open {
                self.world.ledger.borrow().pass_uncounted(name);
            }
            return None;
        };
        let mut ledger = self.world.ledger.borrow_mut();
        if state == State::Open {
            ledger.pass(arriving.id, name, self.pid);
            self.entries.borrow_mut().insert(name, entry);
        } else if arriving.bypasses {
            ledger.bypass(arriving.id, name, self.pid);
            locked.update(app, |gate| gate.totals.bypassed += 1);
        } else {
            drop(ledger);
            return self.stay(&mut locked, arriving, entry, now).then_some(app);
        }
        entry.lane.add(Count::InFlight);
        self.go_through(arriving.id, entry);
        None
    }

    /// Whether the request is held.
    fn stay(
        &self,
        locked: &mut Locked<'_, RawMutex>,
        arriving: &Arriving,
        entry: Entry,
        now: Moment,
    ) -> bool {
        let held = match arriving.max_held {
            0 => 0,
            _ => self.world.zone.survey(entry.app(), self.slot, &self.liveness()).held,
        };
        let arrival = locked.update(entry.app(), |gate| gate.arrive(held, arriving.max_held));
        let mut ledger = self.world.ledger.borrow_mut();
        let Some(Arrival::Hold(ticket)) = arrival else {
            assert_ne!(arrival, Some(Arrival::Pass), "a closed gate lets a request pass");
            ledger.reject(arriving.app);
            return false;
        };
        ledger.hold(arriving.id, arriving.app, self.pid, ticket, arriving.max_held);
        drop(ledger);
        if self.stumbles() {
            return false;
        }
        self.hold(arriving, entry, ticket, now);
        true
    }

    fn hold(&self, arriving: &Arriving, entry: Entry, ticket: Ticket, now: Moment) {
        let request = Rc::new(Request {
            ticket,
            since: now,
            until: now.plus(arriving.max_time),
            passes: arriving.passes,
            uploads: arriving.uploads,
            stage: Cell::new(Stage::Held),
            ..Request::through(arriving.id, entry)
        });
        if self.holding.get() == 0 {
            self.beat(now, arriving.interval);
        }
        self.queue(entry).push(&request, entry.lane);
        entry.lane.add(Count::Held);
        self.requests.borrow_mut().insert(arriving.id, request);
    }

    /// The app of a name in the zone, made if it is new.
    pub fn find_or_create(
        &self,
        locked: &mut Locked<'_, RawMutex>,
        name: usize,
        search: usize,
    ) -> Option<AppId> {
        let text = World::name(name);
        let known = locked.find(text.as_bytes());
        let app = locked.find_or_create(text.as_bytes(), search).ok()?;
        if known.is_none() {
            self.world.ledger.borrow_mut().create(name);
        }
        Some(app)
    }

    /// Takes a request out of its queue that does not want to be released any more.
    pub(super) async fn withdraw(&self, request: &Request, why: Withdrawal) {
        let queue = self.queue(request.entry);
        let was_first = queue.first_ticket() == request.ticket;
        queue.remove(request);
        self.world.ledger.borrow_mut().withdraw(request.id);
        self.stopped_holding(&request.entry);
        let waited = self.world.now().since(request.since);
        pause().await;
        self.update(request.entry.app(), |gate| {
            let mut ledger = self.world.ledger.borrow_mut();
            match why {
                Withdrawal::Abort => {
                    ledger.abort(request.id);
                    gate.totals.aborted += 1;
                }
                Withdrawal::TimeOut => {
                    ledger.time_out(request.id);
                    gate.totals.timed_out += 1;
                }
            }
            gate.waits.record(waited);
        });
        pause().await;
        if was_first && !queue.busy.get() {
            queue.publish();
            if self.world.zone.state(request.entry.app()) == State::Releasing || self.leaving.get()
            {
                self.advance(request.entry.app()).await;
            }
        }
    }

    fn began_to_hold(&self, app: AppId, interval: Duration, now: Moment) {
        let before = self.holding.replace(self.holding.get() + 1);
        let shortest = if before == 0 { interval } else { interval.min(self.interval.get()) };
        self.interval.set(shortest);
        self.arm(now);
        if self.world.zone.state(app) != State::Paused || self.leaving.get() {
            self.post(Posted::Look);
        }
    }
}
