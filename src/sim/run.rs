//! One run: moves by chance, then an orderly end.

use std::rc::Rc;
use std::time::Duration;

use super::calls::{Call, Drain};
use super::crew::{Crew, Member};
use super::host::{Arriving, Body, Event};
use super::ledger::Place;
use super::plan::Plan;
use super::rng::Rng;
use super::world::{NAMES, World};
use crate::gate::State;
use crate::gate::canary::Outcome;
use crate::gate::policy::Policy;
use crate::gate::totals::Totals;
use crate::worker::Awaited;

/// A time that no request waits for.
pub const LONG: Duration = Duration::from_secs(100_000);

pub struct Run {
    pub world: Rc<World>,
    pub crew: Crew,
    told: bool,
}

impl Run {
    /// `told` runs say what happens.
    pub fn new(seed: u64, told: bool) -> Self {
        Self::in_world(World::new(seed), told)
    }

    /// A run after this plan.
    pub fn of(plan: Plan) -> Self {
        Self::in_world(World::with_plan(Rng::new(0), plan), false)
    }

    fn in_world(world: Rc<World>, told: bool) -> Self {
        let crew = Crew::new(&world);
        let run = Self { world, crew, told };
        run.tell(|| format!("{:?}", run.world.plan));
        run
    }

    /// Ends with a number that is another if anything went another way.
    pub fn play(mut self) -> u64 {
        for _ in 0..self.world.plan.moves * self.world.plan.pace() {
            self.make_move();
            self.check();
        }
        self.settle();
        self.crew.disband();
        self.world.rng.next()
    }

    fn make_move(&mut self) {
        self.world.ledger.borrow_mut().step += 1;
        if self.world.plan.lulls && self.world.rng.below(50 * self.world.plan.pace()) == 0 {
            return self.lull();
        }
        if self.world.rng.below(self.world.plan.pace()) > 0 {
            return self.run_somebody();
        }
        match self.world.rng.below(100) {
            0..=59 => self.run_somebody(),
            60..=67 => self.arrive(),
            68..=75 => self.let_end(),
            76..=78 => self.leave(),
            79..=82 => self.call(),
            83..=96 => self.pass_time(),
            _ => self.break_something(),
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            let step = self.world.ledger.borrow().step;
            println!("{step:6} {:>12} {}", self.world.now().as_micros(), what());
        }
    }

    fn run_somebody(&mut self) {
        let ready = self.crew.ready();
        if !ready.is_empty() {
            let index = ready[self.world.rng.index(ready.len())];
            self.tell(|| format!("worker {} goes on", self.crew.members[index].worker.host.pid));
            self.crew.run(index);
        }
    }

    fn arrive(&mut self) {
        let rng = &self.world.rng;
        let crowd = if rng.chance(5) { self.world.plan.crowd } else { 2 };
        let crowd = 1 + rng.below(crowd);
        for _ in 0..crowd {
            let Some(member) = self.somebody(Member::listens) else { return };
            let arriving = self.arriving();
            self.tell(|| format!("to worker {}: {arriving:?}", member.worker.host.pid));
            Crew::send(&member.worker, Event::Arrival(arriving));
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
    fn let_end(&mut self) {
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
        self.tell(|| format!("to worker {}: {event:?}", worker.host.pid));
        Crew::send(&worker, event);
    }

    fn leave(&mut self) {
        let places = [Place::Held, Place::Held, Place::LetGo, Place::Arriving, Place::Through];
        let one = [self.world.rng.one_of(&places)];
        let Some((worker, id)) = self.crew.request_at(&one) else { return };
        self.tell(|| format!("request {id} is given up"));
        Crew::send(&worker, Event::ClientGone(id));
    }

    fn call(&mut self) {
        let Some(member) = self.somebody(Member::listens) else { return };
        let call = self.some_call();
        self.tell(|| format!("to worker {}: {call:?}", member.worker.host.pid));
        Crew::send(&member.worker, Event::Call(call));
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
    fn pass_time(&mut self) {
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

    fn break_something(&mut self) {
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

    fn somebody(&self, is: impl Fn(&Member) -> bool) -> Option<&Member> {
        let some = self.crew.indexes(is);
        some.get(self.world.rng.index(some.len())).map(|index| &self.crew.members[*index])
    }

    pub fn check(&self) {
        self.world.ledger.borrow().check_books();
        if !World::is_locked() {
            self.check_apps();
        }
        for member in self.crew.members.iter().filter(|member| !member.is_killed()) {
            member.worker.check_lanes(&self.crew);
        }
        if self.world.calm.get() && self.crew.ready().is_empty() {
            (0..NAMES).for_each(|app| self.check_quiet(app));
        }
    }

    fn check_apps(&self) {
        let locked = self.world.zone.lock();
        for app in locked.apps() {
            let Some(name) = World::app_named(locked.name(app)) else { continue };
            let gate = locked.gate(app).expect("the app is there");
            let mut ledger = self.world.ledger.borrow_mut();
            ledger.bury(name, gate.totals.aborted);
            let account = &mut ledger.accounts[name];
            account.torn &= self.world.zone.state(app) != account.state;
            assert_eq!(gate.state(), account.state, "app {name}");
            let shown = self.world.zone.state(app);
            assert!(shown == account.state || account.torn, "app {name} is shown as {shown:?}");
            let totals = Totals { abandoned: 0, ..gate.totals };
            assert_eq!(totals, account.totals, "app {name}");
            assert_eq!(gate.waits.count(), account.ended, "app {name}");
        }
    }

    /// Nothing is to do: whoever waits has a reason to.
    fn check_quiet(&self, name: usize) {
        let locked = self.world.zone.lock();
        let Some(app) = locked.find(World::name(name).as_bytes()) else { return };
        let gate = locked.gate(app).expect("the app is there").clone();
        drop(locked);
        let ledger = self.world.ledger.borrow();
        let waits = ledger.somebody_waits(name);
        let in_flight = ledger.counts(name).in_flight;
        // What was counted for all apps ends without that anybody is told: who waits looks again.
        let ago = self.world.now().since(ledger.unattributed_until);
        // So are processes whose requests nobody counts.
        let ago = ago.min(self.world.now().since(self.world.uncounted_until.get()));
        let soon = ago <= self.world.plan.longest_interval();
        let unattributed = (0..NAMES).map(|app| ledger.counts(app).unattributed).sum::<u32>();
        drop(ledger);
        match gate.state() {
            State::Open => {}
            State::Paused | State::Down if self.world.plan.quits => {}
            State::Releasing => assert!(waits || gate.canary().is_some(), "a release has no end"),
            State::Maintenance => assert!(!waits, "requests are held under maintenance"),
            State::Down => {
                let due = gate.due().max(self.world.now()).plus(Duration::from_millis(1));
                let next = self.crew.next_timer();
                assert!(
                    next <= due,
                    "nobody looks for the backend of app {name}: {next:?}, {due:?}"
                );
            }
            State::Paused => {
                let due = gate.deadline.max(self.world.now()).plus(Duration::from_millis(1));
                assert!(self.crew.next_timer() <= due, "nobody minds a deadline");
            }
        }
        for member in &self.crew.members {
            member.worker.check_patience(app, &gate);
            for waiter in member.worker.host.callers.borrow().values().filter(|w| w.name == name) {
                if let Awaited::Quiet { settle: None, .. } = waiter.awaited {
                    let busy = in_flight + unattributed > 0 || self.world.uncounted.get() > 0;
                    assert!(busy || soon, "a drain is over and nobody says so");
                }
            }
        }
    }

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
    fn lull(&mut self) {
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
