//! Control calls: `nginx/control/calls.rs` and `wait.rs` without nginx.

use std::time::Duration;

use super::task::pause;
use super::worker::Worker;
use super::world::World;
use crate::gate::lane::Count;
use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::gate::{Change, Gate, State};
use crate::shm::{AppId, Entry};

#[derive(Clone, Debug)]
pub enum Call {
    Status(usize),
    Enable {
        app: usize,
        lasts: Option<Duration>,
        drain: Option<Duration>,
        keep: bool,
        policy: Policy,
    },
    Disable {
        app: usize,
        policy: Policy,
        canary: u32,
    },
    Maintenance {
        app: usize,
    },
}

/// A caller that waits for its answer.
#[derive(Clone, Copy)]
pub struct Waiter {
    pub until: Moment,
    pub name: usize,
    pub awaited: Awaited,
    entry: Entry,
    policy: Policy,
}

#[derive(Clone, Copy, Debug)]
pub enum Awaited {
    Quiet { pause: u64, keep: bool },
    Verdict { trial: u64 },
}

impl Worker {
    pub async fn on_call(&self, call: Call) {
        match call {
            Call::Status(name) => {
                let app = self.world.zone.lock().find(World::name(name).as_bytes());
                if let Some(app) = app {
                    self.attend(app).await;
                }
            }
            Call::Enable { app, lasts, drain, keep, policy } => {
                self.enable(app, lasts, drain.map(|drain| (drain, keep)), policy).await;
            }
            Call::Disable { app, policy, canary } => self.disable(app, policy, canary).await,
            Call::Maintenance { app } => {
                let now = self.world.now();
                self.change_or_make(app, |gate| {
                    self.world.ledger.borrow_mut().maintenance(app);
                    gate.maintenance(now, 0)
                })
                .await;
            }
        }
    }

    async fn enable(
        &self,
        name: usize,
        lasts: Option<Duration>,
        drain: Option<(Duration, bool)>,
        policy: Policy,
    ) {
        let now = self.world.now();
        pause().await;
        let deadline = lasts.map_or(Moment::NEVER, |lasts| now.plus(lasts));
        let app = self.change_or_make(name, |gate| {
            self.world.ledger.borrow_mut().enable(name, deadline, policy);
            gate.enable(now, deadline, policy)
        });
        let (Some((app, pause)), Some((limit, keep))) = (app.await, drain) else { return };
        self.wait(app, name, Awaited::Quiet { pause, keep }, Some(limit), policy).await;
    }

    async fn disable(&self, name: usize, policy: Policy, canary: u32) {
        let Some(app) = self.world.zone.lock().find(World::name(name).as_bytes()) else { return };
        pause().await;
        let Some((change, trial)) = self.release_app(app, policy, canary, None).await else {
            return;
        };
        if change.from != State::Open && canary > 0 {
            self.wait(app, name, Awaited::Verdict { trial }, None, policy).await;
        }
    }

    async fn change_or_make(
        &self,
        name: usize,
        action: impl FnOnce(&mut Gate) -> Change,
    ) -> Option<(AppId, u64)> {
        let found = {
            let mut locked = self.world.zone.lock();
            let app = self.find_or_create(&mut locked, name, usize::MAX)?;
            locked.entry(app, self.slot, usize::MAX).ok()?;
            let pause = locked.update(app, |gate| {
                action(gate);
                gate.pauses
            });
            (app, pause?)
        };
        pause().await;
        self.notify();
        Some(found)
    }

    /// What came of it, and the number of the canary; `None` if the named pause is over.
    async fn release_app(
        &self,
        app: AppId,
        policy: Policy,
        canary: u32,
        only: Option<u64>,
    ) -> Option<(Change, u64)> {
        let now = self.world.now();
        pause().await;
        let done = {
            let mut locked = self.world.zone.lock();
            let survey = self.survey(app);
            let name = World::app_named(locked.name(app));
            let done = locked.update(app, |gate| {
                let goes_on = only.is_none_or(|pause| gate.is_in_pause(pause));
                goes_on.then(|| (gate.disable(now, policy, canary, &survey), gate.trials))
            });
            let (change, trial) = done.expect("the app is there")?;
            self.world.ledger.borrow_mut().disable(name, &change, now, policy, canary);
            (change, trial)
        };
        pause().await;
        self.notify();
        Some(done)
    }

    async fn wait(
        &self,
        app: AppId,
        name: usize,
        awaited: Awaited,
        limit: Option<Duration>,
        policy: Policy,
    ) {
        let Ok(entry) = self.world.zone.lock().entry(app, self.slot, usize::MAX) else { return };
        let until = limit.map_or(Moment::NEVER, |limit| self.world.now().plus(limit));
        let waiter = Waiter { until, name, awaited, entry, policy };
        entry.lane.add(Count::Waiting);
        if self.answers(&waiter).await {
            entry.lane.sub(Count::Waiting);
            return;
        }
        self.waiters.borrow_mut().insert(self.world.new_id(), waiter);
        self.arm(self.world.now());
    }

    pub async fn on_waiter(&self, id: u64) {
        let waiter = self.waiters.borrow().get(&id).copied();
        let Some(waiter) = waiter else { return };
        let late = waiter.until <= self.world.now();
        if !self.answers(&waiter).await {
            if !late {
                return;
            }
            if let Awaited::Quiet { pause, keep: false } = waiter.awaited {
                self.release_app(waiter.entry.app(), waiter.policy, 0, Some(pause)).await;
            }
        }
        self.waiters.borrow_mut().remove(&id);
        waiter.entry.lane.sub(Count::Waiting);
    }

    /// Whether what the caller waits for has come, or can come no more.
    async fn answers(&self, waiter: &Waiter) -> bool {
        let app = waiter.entry.app();
        self.attend(app).await;
        let gate = self.world.zone.lock().gate(app).cloned().expect("the app is there");
        match waiter.awaited {
            Awaited::Quiet { pause: number, .. } => {
                pause().await;
                self.is_quiet(waiter, &gate, number)
            }
            Awaited::Verdict { trial } => {
                let judged = trial > 0 && gate.judged == trial;
                if judged {
                    let good = gate.last_trial.is_good();
                    self.world.ledger.borrow().tell_verdict(waiter.name, trial, good);
                }
                judged || gate.trials != trial || gate.trial().is_none()
            }
        }
    }

    fn is_quiet(&self, waiter: &Waiter, gate: &Gate, pause: u64) -> bool {
        if !gate.is_in_pause(pause) {
            return true;
        }
        let quiet = self.survey(waiter.entry.app()).in_flight == 0;
        if quiet {
            self.world.ledger.borrow().tell_quiet(waiter.name);
        }
        quiet
    }
}
