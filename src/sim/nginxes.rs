//! Two nginxes and the state file between them, as during a binary upgrade: calls come to both, workers die or end,
//! the disk fails, an nginx ends and another one starts. Whatever happens: once all is quiet, both say what was
//! called for last, and so does the file.
//!
//! No requests come here. What becomes of those is the other simulation's.

mod calls;
mod disk;
mod worker;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::fiber::Fiber;
use super::ledger::Pid;
use super::rng::Rng;
use super::world::{Lock, new_zone};
use super::{Seed, number};
use crate::agreement::{self, Clock};
use crate::gate::State;
use crate::gate::time::Moment;
use crate::shm::Zone;
use calls::{Call, Effect};
use disk::Disk;
use worker::Worker;

const APPS: [&[u8]; 2] = [b"one", b"two"];

/// As many as two nginxes, and as each has workers.
const SIDES: usize = 2;
const WORKERS: usize = 2;

/// The number of the thread of a worker, beside that of the worker itself.
const THREAD: Pid = 1 << 20;

/// The time at which all begins, by the clock on the wall.
const EPOCH_MS: u64 = 1_795_000_000_000;

const START: Moment = Moment::from_micros(1_000_000_000);

thread_local! {
    static NOW: Cell<Moment> = const { Cell::new(START) };
}

pub struct Clocks;

impl Clock for Clocks {
    fn now() -> Moment {
        NOW.get()
    }

    fn unix_ms(moment: Moment) -> u64 {
        EPOCH_MS + moment.as_micros() / 1000
    }

    fn moment_of_unix_ms(unix_ms: u64) -> Moment {
        Moment::from_micros(unix_ms.saturating_sub(EPOCH_MS) * 1000)
    }
}

fn pass(time: Duration) {
    NOW.set(NOW.get().plus(time));
}

/// All that there is.
pub struct Stage {
    rng: Rng,
    disk: Rc<Disk>,
    step: Cell<u64>,
    calls: RefCell<Vec<Call>>,
    zones: [Cell<Zone<Lock>>; SIDES],
    workers: RefCell<Vec<Rc<Worker>>>,
    last_pid: Cell<Pid>,
    told: bool,
}

impl Stage {
    fn new(seed: u64, told: bool) -> Rc<Self> {
        NOW.set(START);
        let stage = Rc::new(Self {
            rng: Rng::new(seed),
            disk: Rc::default(),
            step: Cell::new(1),
            calls: RefCell::default(),
            zones: [0, 1].map(|side| Cell::new(new_zone(side, WORKERS))),
            workers: RefCell::default(),
            last_pid: Cell::new(0),
            told,
        });
        (0..SIDES).for_each(|side| stage.start_all(side));
        stage.begin();
        stage
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:6} {:12} {}", self.step.get(), NOW.get().as_micros(), what());
        }
    }

    fn start(self: &Rc<Self>, side: usize) {
        self.last_pid.set(self.last_pid.get() + 1);
        let worker = Worker::start(self, side, self.last_pid.get());
        self.workers.borrow_mut().push(worker);
    }

    fn kill(&self, index: usize) {
        let worker = self.workers.borrow_mut().remove(index);
        self.tell(|| format!("{} dies", worker.pid));
        let (life, thread) = (worker.life.take(), worker.thread.take());
        life.into_iter().chain(thread).for_each(Fiber::kill);
    }

    fn start_all(self: &Rc<Self>, side: usize) {
        if let Some(saved) = self.disk.read() {
            let zone = self.zones[side].get();
            for app in &saved.apps {
                agreement::restore::<Clocks, _>(&zone, app).expect("there is room");
            }
            zone.set_serial(saved.serial);
        }
        (0..WORKERS).for_each(|_| self.start(side));
    }

    /// An nginx dies whole, and starts anew.
    fn restart(self: &Rc<Self>, side: usize) {
        self.tell(|| format!("nginx {side} dies"));
        while let Some(index) = self.of(side).first() {
            self.kill(*index);
        }
        self.replace(side);
    }

    /// An nginx ends in good order, and starts anew.
    fn quit(self: &Rc<Self>, side: usize) {
        self.tell(|| format!("nginx {side} quits"));
        self.of(side).iter().for_each(|index| self.workers.borrow()[*index].exit());
        let mut steps = 0;
        while !self.of(side).is_empty() {
            self.run_somebody();
            steps += 1;
            assert!(steps < 100_000, "an nginx does not end");
        }
        self.replace(side);
    }

    fn replace(self: &Rc<Self>, side: usize) {
        self.zones[side].set(new_zone(side, WORKERS));
        self.start_all(side);
    }

    /// The workers of an nginx.
    fn of(&self, side: usize) -> Vec<usize> {
        let workers = self.workers.borrow();
        (0..workers.len()).filter(|index| workers[*index].side == side).collect()
    }

    /// Has these workers look.
    fn ring(&self, are: impl Fn(&Worker) -> bool) {
        let workers = self.workers.borrow();
        workers.iter().filter(|worker| are(worker)).for_each(|worker| worker.ring());
    }

    fn somebody(&self) -> Rc<Worker> {
        let workers = self.workers.borrow();
        Rc::clone(&workers[self.rng.index(workers.len())])
    }

    fn is_ready(&self, worker: &Worker) -> bool {
        let rests = |index: &usize| !self.workers.borrow()[*index].is_at_work();
        worker.is_ready(|| self.of(worker.side).iter().all(rests))
    }

    fn run_somebody(&self) -> bool {
        self.step.set(self.step.get() + 1);
        let workers = self.workers.borrow().clone();
        let ready = workers.iter().filter(|worker| self.is_ready(worker)).map(|it| (it, false));
        let writing = workers.iter().filter(|it| it.thread.borrow().is_some());
        let all: Vec<_> = ready.chain(writing.map(|it| (it, true))).collect();
        if all.is_empty() {
            return false;
        }
        let (worker, is_thread) = all[self.rng.index(all.len())];
        let accesses = self.rng.below(self.rng.one_of(&[2, 10, 60]));
        let (life, pid) = match is_thread {
            true => (&worker.thread, worker.pid + THREAD),
            false => (&worker.life, worker.pid),
        };
        let ended = life.borrow_mut().as_mut().is_some_and(|life| life.run(pid, accesses));
        if ended {
            life.take();
        }
        if ended && !is_thread {
            self.tell(|| format!("{pid} ends"));
            self.workers.borrow_mut().retain(|other| other.pid != pid);
        }
        pass(Duration::from_micros(1 + self.rng.below(50)));
        true
    }

    fn call(&self) {
        let worker = self.somebody();
        let length = Duration::from_secs(self.rng.one_of(&[1, 3, 3600]));
        let until = self.rng.one_of(&[Moment::NEVER, NOW.get().plus(length)]);
        let effect =
            self.rng.one_of(&[Effect::Open, Effect::Paused { until }, Effect::Maintenance]);
        let app = self.rng.index(APPS.len());
        let call = Call { app, effect, begun: self.step.get(), answered: None };
        self.tell(|| format!("to {}, call {}: {call:?}", worker.pid, self.calls.borrow().len()));
        worker.inbox.borrow_mut().push_back(self.calls.borrow().len());
        self.calls.borrow_mut().push(call);
    }

    fn do_something(self: &Rc<Self>) {
        match self.rng.below(100) {
            0..8 => self.call(),
            8 => {
                let index = self.rng.index(self.workers.borrow().len());
                let side = self.workers.borrow()[index].side;
                self.kill(index);
                self.start(side);
            }
            9 if self.rng.chance(10) => self.restart(self.rng.index(SIDES)),
            9 if self.rng.chance(10) => self.quit(self.rng.index(SIDES)),
            9 => {
                let worker = self.somebody();
                self.start(worker.side);
                worker.exit();
            }
            10 => self.disk.fails.set(self.rng.chance(30)),
            11 => pass(Duration::from_millis(self.rng.below(1500))),
            _ => drop(self.run_somebody()),
        }
    }

    /// All apps are as they were called to be.
    fn begin(&self) {
        let as_it_is = |app| Call {
            app,
            effect: self.seen(0, app).0,
            begun: 0,
            answered: Some(self.step.get()),
        };
        *self.calls.borrow_mut() = (0..APPS.len()).map(as_it_is).collect();
        self.step.set(self.step.get() + 1);
    }

    /// Nothing fails any more, and all is told.
    fn settle(&self) {
        self.disk.fails.set(false);
        let mut steps = 0;
        while self.run_somebody() || self.wait() {
            steps += 1;
            assert!(steps < 100_000, "the nginxes do not come to rest");
        }
        self.tell(|| "all is quiet".to_owned());
        (0..APPS.len()).for_each(|app| self.check(app));
        self.begin();
    }

    /// Until the next time at which a worker wants to do something: whether there is one.
    fn wait(&self) -> bool {
        let due = self.workers.borrow().iter().map(|worker| worker.due()).min();
        let due = due.filter(|due| !due.is_never());
        due.iter().for_each(|due| pass(due.since(NOW.get())));
        due.is_some()
    }

    fn seen(&self, side: usize, app: usize) -> (Effect, u64) {
        let zone = self.zones[side].get();
        let locked = zone.lock();
        let gate = locked.find(APPS[app]).and_then(|app| locked.gate(app));
        let pause = gate.filter(|gate| gate.state() == State::Paused).map_or(0, |gate| gate.pauses);
        (Effect::of(gate), pause)
    }

    fn read_effect(&self, app: usize) -> Effect {
        let says = self.disk.says.borrow();
        let apps = says.iter().flat_map(|saved| &saved.apps);
        apps.into_iter().find(|saved| saved.name == APPS[app]).map_or(Effect::Open, |saved| {
            let until = saved.until_unix_ms.map_or(Moment::NEVER, Clocks::moment_of_unix_ms);
            match saved.state {
                State::Maintenance => Effect::Maintenance,
                _ => Effect::Paused { until },
            }
        })
    }

    /// Both nginxes say the same of an app, and that is what one of the calls wanted that no other one came
    /// behind.
    fn check(&self, app: usize) {
        let (one, two) = (self.seen(0, app), self.seen(1, app));
        assert!(one.0.shows_as(two.0) && one.1 == two.1, "they disagree: {one:?}, {two:?}");
        let file = self.read_effect(app);
        assert!(file.shows_as(one.0), "app {app} is {one:?}, and the file says {file:?}");
        let calls = self.calls.borrow();
        let calls = calls.iter().filter(|call| call.app == app);
        let comes_behind =
            |other: &Call, call: &Call| call.answered.is_some_and(|at| at < other.begun);
        let is_overtaken = |call: &Call| {
            calls.clone().any(|other| other.answered.is_some() && comes_behind(other, call))
        };
        let last: Vec<&Call> = calls.clone().filter(|call| !is_overtaken(call)).collect();
        let wanted = last.iter().any(|call| call.effect.shows_as(one.0));
        assert!(wanted, "app {app} is {one:?}, and these were called for: {last:?}");
    }
}

fn play(seed: u64, told: bool) {
    let _seed = Seed(seed);
    let stage = Stage::new(seed, told);
    for _ in 0..4 {
        (0..150).for_each(|_| stage.do_something());
        stage.settle();
    }
    while !stage.workers.borrow().is_empty() {
        stage.kill(0);
    }
}

#[test]
fn two_nginxes_agree_about_what_was_called_for_last() {
    if let Some(seed) = number(super::SEED) {
        return play(seed, true);
    }
    // They are short.
    let runs = 10 * number(super::RUNS).unwrap_or(super::DEFAULT_RUNS);
    (0..runs).for_each(|seed| play(seed, false));
}
