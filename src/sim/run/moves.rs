//! What happens by chance: requests come and go, operators call, time passes, things break.

use std::time::Duration;

use super::super::calls::{Call, Drain};
use super::super::crew::{Crew, Member};
use super::super::host::{Event, Worker};
use super::super::ledger::Place;
use super::super::request::{Arriving, Body};
use super::super::world::NAMES;
use super::{LONG, Run};
use crate::gate::canary::Outcome;

impl Run {
    pub(super) fn arrive(&mut self) {
        let rng = &self.world.rng;
        let crowd = if rng.chance(5) { self.world.plan.crowd } else { 2 };
        let crowd = 1 + rng.below(crowd);
        for _ in 0..crowd {
            let Some(member) = self.somebody(Member::listens) else { return };
            let arriving = self.arriving();
            self.bring(&member.worker, Event::Arrival(arriving));
        }
    }

    fn arriving(&self) -> Arriving {
        let (rng, plan) = (&self.world.rng, &self.world.plan);
        let app = if plan.made_up_names && rng.chance(40) { NAMES } else { plan.apps };
        let hurries = plan.timeouts && rng.chance(40);
        Arriving {
            id: self.world.new_id(),
            app: rng.index(app),
            bypasses: plan.bypasses && rng.chance(20),
            max_held: plan.max_held,
            max_time: if hurries { Duration::from_millis(1 + rng.below(300)) } else { LONG },
            passes: rng.chance(50),
            body: if plan.uploads && rng.chance(30) {
                rng.one_of(&[Body::Soon, Body::Late])
            } else {
                Body::None
            },
            interval: Duration::from_millis(rng.one_of(&plan.intervals)),
        }
    }

    /// What is in flight comes to its end, or goes a step further.
    pub(super) fn let_end(&mut self) {
        let rng = &self.world.rng;
        let Some((worker, id)) = self.crew.request_at(&[Place::Through, Place::Arriving]) else {
            return;
        };
        let place = self.world.ledger.borrow().records[&id].place;
        let plan = &self.world.plan;
        let sets_out = worker.host.sets_out(id);
        let event = match (place, rng.below(20)) {
            (Place::Through, 5..) if sets_out => Event::Connect(id),
            (Place::Arriving, 0) => Event::BodyFails(id, rng.index(plan.apps)),
            (Place::Arriving, _) => Event::Body(id),
            (_, 6..=8) if plan.canaries => Event::Answers(id),
            (_, 3..=4) if plan.redirects => Event::Redirect(id, rng.index(plan.apps)),
            (_, 5) => Event::Abandoned(id),
            (_, 1) if plan.outages => Event::Break(id),
            (_, 0..=1) => Event::Response(id, Outcome::Failed(502)),
            (_, 2) => Event::Upgrade(id),
            _ => Event::Response(id, Outcome::Good),
        };
        self.bring(&worker, event);
    }

    fn bring(&self, worker: &Worker, event: Event) {
        self.tell(|| format!("to worker {}: {event:?}", worker.host.pid));
        Crew::send(worker, event);
    }

    pub(super) fn leave(&mut self) {
        let places = [Place::Held, Place::Held, Place::LetGo, Place::Arriving, Place::Through];
        let one = [self.world.rng.one_of(&places)];
        let Some((worker, id)) = self.crew.request_at(&one) else { return };
        self.bring(&worker, Event::ClientGone(id));
    }

    pub(super) fn call(&mut self) {
        let Some(member) = self.somebody(Member::listens) else { return };
        self.bring(&member.worker, Event::Call(self.some_call()));
    }

    fn some_call(&self) -> Call {
        let (rng, plan) = (&self.world.rng, &self.world.plan);
        let app = rng.index(plan.apps);
        let some_time =
            |percent| rng.chance(percent).then(|| Duration::from_millis(rng.below(500)));
        let policy = plan.policy(rng);
        match rng.below(10) {
            0..=4 => {
                let lasts = some_time(if plan.deadlines { 40 } else { 0 });
                let drain = some_time(if plan.drains { 40 } else { 0 }).map(|limit| Drain {
                    limit,
                    keep: rng.chance(50),
                    settle: some_time(20),
                });
                Call::Enable { app, lasts, drain, policy }
            }
            5 if plan.maintenance => Call::Maintenance { app },
            6 => Call::Status(app),
            _ => {
                let canary = if plan.canaries { rng.one_of(&[0, 1, 2, 5, 70]) } else { 0 };
                Call::Disable { app, policy, canary }
            }
        }
    }

    /// Time passes, but not so fast that a worker which runs would be late.
    pub(super) fn pass_time(&mut self) {
        let rng = &self.world.rng;
        let time = if self.crew.ready().is_empty() {
            let until_timer = self.crew.next_timer().since(self.world.now());
            let late = until_timer.saturating_add(Duration::from_micros(rng.below(20_000)));
            Duration::from_micros(rng.one_of(&[1, 300, 5000, 300_000, 3_000_000])).min(late)
        } else {
            Duration::from_micros(rng.one_of(&[1, 30, 300]))
        };
        self.crew.pass_time(time);
    }

    pub(super) fn break_something(&mut self) {
        let plan = &self.world.plan;
        match self.world.rng.below(12) {
            _ if plan.outages && self.world.rng.chance(50) => self.turn_backend(),
            _ if plan.upgrades && self.world.rng.chance(20) => {
                let count = self.world.rng.index(3);
                self.tell(|| format!("{count} processes that nobody counts"));
                self.world.set_uncounted(count);
            }
            0 if plan.reloads && self.crew.members.len() < 12 => {
                self.tell(|| "reload".to_owned());
                self.crew.reload();
            }
            1..=2 if plan.crashes => {
                let alive = self.crew.indexes(|member| !member.is_killed());
                self.with_one_of(&alive, "is killed", Crew::kill);
            }
            3..=5 if plan.crashes => {
                let killed = self.crew.indexes(Member::is_killed);
                self.with_one_of(&killed, "is reaped", Crew::reap);
            }
            6..=8 if plan.stops => {
                let running = self.crew.indexes(Member::runs);
                self.with_one_of(&running, "stops", Crew::stop);
            }
            9..=11 if plan.stops => {
                let stopped = self.crew.indexes(|member| !member.runs() && !member.is_killed());
                self.with_one_of(&stopped, "goes on again", Crew::resume);
            }
            _ => {}
        }
    }

    /// A backend goes down, or comes back.
    fn turn_backend(&self) {
        let app = self.world.rng.index(if self.world.plan.made_up_names { NAMES } else { 2 });
        let down = !self.world.is_down(app);
        self.tell(|| format!("the backend of app {app} is {}", if down { "down" } else { "back" }));
        self.world.set_down(app, down);
    }

    fn with_one_of(&mut self, indexes: &[usize], what: &str, action: fn(&mut Crew, usize)) {
        if !indexes.is_empty() {
            let index = indexes[self.world.rng.index(indexes.len())];
            self.tell(|| format!("worker {} {what}", self.crew.members[index].worker.host.pid));
            action(&mut self.crew, index);
        }
    }
}
