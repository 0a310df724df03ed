//! An orderly end: faults stop, and everything has to come to rest.

use std::time::Duration;

use super::super::calls::Call;
use super::super::crew::{Crew, Member};
use super::super::host::Event;
use super::super::ledger::Place;
use super::super::world::{NAMES, World};
use super::Run;
use crate::gate::State;
use crate::gate::canary::Outcome;
use crate::gate::policy::Policy;

impl Run {
    /// Faults stop, nobody comes any more, and everything has to come to an end.
    pub fn settle(&mut self) {
        self.tell(|| "settle".to_owned());
        self.world.settling.set(true);
        self.world.set_uncounted(0);
        self.crew.reap_all();
        self.outlast_patience();
        self.world.repair_all();
        self.pass_stopped();
        self.crew.resume_all();
        if self.world.plan.quits {
            self.quit();
            self.wait_until("a worker does not quit", |run| {
                if run.crew.ready().is_empty() {
                    run.let_all_end();
                }
                run.crew.members.is_empty()
            });
            assert!(self.world.ledger.borrow().records.is_empty());
            return;
        }
        if !self.crew.members.iter().any(Member::listens) {
            self.crew.start(1);
        }
        self.lull();
    }

    /// nginx is told to quit. Its master replaces nobody who dies in that moment.
    fn quit(&mut self) {
        if self.world.plan.crashes && self.world.rng.chance(50) {
            self.crew.reload();
            self.wait_until("a worker is never done", |run| run.crew.ready().is_empty());
            self.tell(|| "the newest workers die".to_owned());
            self.crew.lose_newest();
        }
        self.world.quitting.set(true);
        self.crew.quit();
    }

    /// All apps are resumed, and everything comes to an end.
    pub(super) fn lull(&mut self) {
        self.tell(|| "a lull".to_owned());
        self.world.repair_all();
        for _ in 0..3 {
            self.resume_all();
        }
        self.world.ledger.borrow_mut().step += 1;
        self.finish();
    }

    /// Workers that stand still do not keep the others from releasing what they hold.
    fn pass_stopped(&mut self) {
        let running = self.crew.pids(Member::runs);
        if self.world.plan.quits || !self.crew.members.iter().any(Member::listens_and_runs) {
            return;
        }
        self.resume_apps();
        self.wait_until("nobody passes a worker that is stopped", |run| {
            run.let_end_unless_hanging();
            let ledger = run.world.ledger.borrow();
            let kept_up = |app| ledger.is_kept_up(app, &running);
            run.crew.ready().is_empty() && !(0..NAMES).any(kept_up)
        });
    }

    fn let_end_unless_hanging(&mut self) {
        if !self.world.plan.hangs && self.crew.ready().is_empty() {
            self.let_end();
        }
    }

    /// Backends that stay down are not waited for longer than it was said.
    fn outlast_patience(&mut self) {
        let outlasts = self.world.plan.outages && self.world.rng.chance(50);
        if !outlasts || !self.crew.members.iter().all(Member::runs) {
            return;
        }
        (0..NAMES).for_each(|app| self.world.set_down(app, true));
        self.wait_until("a backend that stays down is waited for, and not given up", |run| {
            let mut workers = run.crew.members.iter().map(|member| &member.worker);
            run.crew.ready().is_empty() && !workers.any(|worker| worker.waits_for_backend())
        });
    }

    /// Every app is resumed, and opens in time.
    fn resume_all(&mut self) {
        self.resume_apps();
        self.wait_until("a release does not end", |run| {
            run.let_end_unless_hanging();
            run.is_released() && run.crew.ready().is_empty()
        });
        (0..self.world.plan.apps).for_each(|app| self.call_somebody(Call::Status(app)));
        self.wait_until("a worker is never done", |run| run.crew.ready().is_empty());
    }

    fn resume_apps(&mut self) {
        self.wait_until("a worker is never done", |run| run.crew.ready().is_empty());
        for app in 0..self.world.plan.apps {
            let state = self.world.ledger.borrow().accounts[app].state;
            if matches!(state, State::Paused | State::Maintenance) {
                let policy = self.world.plan.policy(&self.world.rng);
                self.call_somebody(Call::Disable { app, policy, canary: 0 });
            }
        }
    }

    fn is_released(&self) -> bool {
        let ledger = self.world.ledger.borrow();
        (0..NAMES).all(|app| match ledger.accounts[app].state {
            State::Releasing => {
                !ledger.somebody_waits(app) && ledger.accounts[app].canary.is_none()
            }
            State::Open | State::Maintenance => !ledger.somebody_waits(app),
            State::Paused => true,
            State::Down => false,
        })
    }

    /// What is in flight ends, and then nothing is left.
    fn finish(&mut self) {
        self.wait_until("a request does not end", |run| {
            if run.crew.ready().is_empty() {
                run.let_all_end();
            }
            run.world.ledger.borrow().records.is_empty()
        });
        self.wait_until("a worker is never done", |run| run.crew.ready().is_empty());
        for name in 0..self.world.plan.apps {
            assert_eq!(self.world.ledger.borrow().accounts[name].state, State::Open);
            let app = self.world.zone.lock().find(World::name(name).as_bytes());
            let Some((app, member)) = app.zip(self.crew.members.first()) else { continue };
            let survey = member.worker.survey(app);
            let left = [survey.held, survey.in_flight, survey.upgraded, survey.released];
            assert_eq!((left, survey.canary), ([0; 4], 0), "app {name}");
        }
        let callers = self.crew.members.iter().map(|m| m.worker.host.callers.borrow().len());
        assert_eq!(callers.sum::<usize>(), 0, "callers are left without an answer");
    }

    fn let_all_end(&mut self) {
        for member in &self.crew.members {
            for id in member.worker.host.requests.borrow().keys() {
                let record = self.world.ledger.borrow().records.get(id).copied();
                match record.map(|record| record.place) {
                    Some(Place::Through) if member.worker.host.sets_out(*id) => {
                        Crew::send(&member.worker, Event::Connect(*id));
                    }
                    Some(Place::Through) => {
                        Crew::send(&member.worker, Event::Response(*id, Outcome::Good));
                    }
                    Some(Place::Arriving) => Crew::send(&member.worker, Event::Body(*id)),
                    _ => {}
                }
            }
        }
    }

    fn call_somebody(&mut self, call: Call) {
        let member = self.somebody(Member::listens_and_runs).expect("somebody is there");
        Crew::send(&member.worker, Event::Call(call));
    }

    /// Runs whoever has something to do, in any order, until that is true.
    fn wait_until(&mut self, what: &str, is: impl Fn(&mut Self) -> bool) {
        let limit = self.world.now().plus(self.longest());
        let mut steps = 0;
        while !is(self) {
            self.world.ledger.borrow_mut().step += 1;
            if self.crew.ready().is_empty() {
                self.skip_to_timer();
            } else {
                self.run_somebody();
                self.check();
                if self.world.rng.below(self.world.plan.pace()) == 0 {
                    self.crew.pass_time(Duration::from_micros(self.world.rng.below(20)));
                }
            }
            steps += 1;
            let in_time = self.world.now() <= limit && steps < 2_000_000;
            assert!(in_time, "{what} in time: {}", self.describe());
        }
    }

    fn describe(&self) -> String {
        let ledger = self.world.ledger.borrow();
        let mut told = String::new();
        for (app, account) in ledger.accounts.iter().take(self.world.plan.apps).enumerate() {
            let counts = ledger.counts(app);
            told.push_str(&format!("app {app}: {account:?}, {counts:?}\n"));
        }
        for member in &self.crew.members {
            let waiters = member.worker.host.callers.borrow();
            let awaited: Vec<_> = waiters.values().map(|waiter| waiter.awaited).collect();
            told.push_str(&format!("worker {}: {awaited:?}\n", member.worker.host.pid));
        }
        told
    }

    fn skip_to_timer(&mut self) {
        let now = self.world.now();
        let next = self.crew.next_timer().since(now).min(Duration::from_millis(10));
        self.crew.pass_time(next + Duration::from_micros(self.world.rng.below(100)));
    }

    /// How long a release may take: a canary and the rest, each up to its limit.
    fn longest(&self) -> Duration {
        let ledger = self.world.ledger.borrow();
        let timeouts = ledger.accounts.iter().map(|account| account.policy.timeout());
        let timeout = timeouts.max().unwrap_or_default().max(Policy::default().timeout() / 12);
        let patience =
            if self.world.plan.outages { self.world.plan.patience } else { Duration::ZERO };
        2 * timeout + patience + 4 * self.world.plan.longest_interval() + Duration::from_secs(2)
    }
}
