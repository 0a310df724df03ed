//! Control calls: what `nginx/control` does around the worker's.

use std::hash::Hash;
use std::time::Duration;

use super::host::Worker;
use super::world::World;
use crate::gate::State;
use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::shm::{AppId, Entry};
use crate::worker::{Awaited, Found, If};

#[derive(Clone, Debug)]
pub enum Call {
    Status(usize),
    Enable { app: usize, lasts: Option<Duration>, drain: Option<Drain>, policy: Policy },
    Disable { app: usize, policy: Policy, canary: u32 },
    Maintenance { app: usize },
}

/// How a drain is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    pub limit: Duration,
    pub keep: bool,
    pub settle: Option<Duration>,
}

/// A caller that waits for its answer.
#[derive(Clone, Copy)]
pub struct Caller {
    pub until: Moment,
    pub name: usize,
    pub awaited: Awaited,
    keep: bool,
    policy: Policy,
    entry: Entry,
}

impl Caller {
    pub fn fingerprint(&self) -> impl Hash + use<> {
        let Self { until, name, awaited, keep, policy, entry } = self;
        (*until, *name, format!("{awaited:?}"), *keep, *policy, entry.fingerprint())
    }
}

impl Worker {
    pub fn on_call(&self, call: Call) {
        match call {
            Call::Status(name) => {
                let app = self.zone.lock().find(World::name(name).as_bytes());
                if let Some(app) = app {
                    self.serve(app);
                }
            }
            Call::Enable { app, lasts, drain, policy } => self.enable(app, lasts, drain, policy),
            Call::Disable { app, policy, canary } => self.disable(app, policy, canary),
            Call::Maintenance { app } => {
                let world = &self.host.world;
                let changed = self.change(World::name(app).as_bytes(), |gate| {
                    world.ledger.borrow_mut().maintenance(app);
                    gate.maintenance(world.now(), 0)
                });
                if changed.is_ok() {
                    self.notify();
                }
            }
        }
    }

    fn enable(&self, name: usize, lasts: Option<Duration>, drain: Option<Drain>, policy: Policy) {
        let world = &self.host.world;
        let changed = self.change(World::name(name).as_bytes(), |gate| {
            let now = world.now();
            let deadline = lasts.map_or(Moment::NEVER, |lasts| now.plus(lasts));
            let change = gate.enable(now, deadline, policy);
            world.ledger.borrow_mut().enable(name, deadline, policy, gate.pauses);
            change
        });
        let Ok(changed) = changed else { return };
        self.notify();
        let Some(drain) = drain else { return };
        let awaited = Awaited::Quiet { pause: changed.pause, settle: drain.settle };
        self.wait(changed.app, name, awaited, Some(drain.limit), drain.keep, policy);
    }

    fn disable(&self, name: usize, policy: Policy, canary: u32) {
        let Some((app, number)) = self.release_app(name, policy, canary, If::Known) else { return };
        if canary > 0 {
            self.wait(app, name, Awaited::Verdict { canary: number }, None, false, policy);
        }
    }

    /// The app, and the number of the canary, unless the app is open or the named pause over.
    fn release_app(
        &self,
        name: usize,
        policy: Policy,
        canary: u32,
        only: If,
    ) -> Option<(AppId, u64)> {
        let changed = self.release(World::name(name).as_bytes(), policy, (canary, None), only)?;
        self.notify();
        (changed.change.from != State::Open).then_some((changed.app, changed.canary))
    }

    fn wait(
        &self,
        app: AppId,
        name: usize,
        awaited: Awaited,
        limit: Option<Duration>,
        keep: bool,
        policy: Policy,
    ) {
        let Ok(entry) = self.begin_to_wait(app) else { return };
        let now = self.host.world.now();
        let until = limit.map_or(Moment::NEVER, |limit| now.plus(limit));
        let caller = Caller { until, name, awaited, keep, policy, entry };
        if self.is_answered(&caller) {
            return self.stop_waiting(&entry);
        }
        let id = self.host.world.new_id();
        self.host.callers.borrow_mut().insert(id, caller);
        self.add_caller(id);
    }

    pub fn on_caller(&self, id: u64) {
        let caller = self.host.callers.borrow().get(&id).copied();
        let Some(caller) = caller else { return };
        let late = caller.until <= self.host.world.now();
        if !self.is_answered(&caller) {
            if !late {
                return;
            }
            if let (Awaited::Quiet { pause, .. }, false) = (caller.awaited, caller.keep) {
                self.release_app(caller.name, caller.policy, 0, If::InPause(pause));
            }
        }
        self.stop_waiting(&caller.entry);
        self.host.callers.borrow_mut().remove(&id);
        self.forget_caller(id);
    }

    /// Whether what the caller waits for has come, or can come no more.
    fn is_answered(&self, caller: &Caller) -> bool {
        let begun = self.host.begins();
        let found = self.find(caller.entry.app(), caller.awaited);
        let ledger = self.host.world.ledger.borrow();
        match (found, caller.awaited) {
            (Some(Found::Quiet), _) => {
                let uncounted = self.host.world.uncounted.get();
                assert_eq!(uncounted, 0, "a drain ends though nobody knows what is in flight");
                ledger.tell_quiet(caller.name, begun);
            }
            (Some(Found::Verdict(canary)), Awaited::Verdict { canary: number }) => {
                ledger.tell_verdict(caller.name, number, canary.is_good());
            }
            _ => {}
        }
        found.is_some()
    }
}
