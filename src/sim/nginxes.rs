//! Two nginxes and the state file between them, as during a binary upgrade: calls come to both, workers die, the
//! disk fails, an nginx ends and another one starts. Whatever happens: once all is quiet, both say what was
//! called for last, and so does the file.
//!
//! No requests come here. What becomes of those is the other simulation's.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::fiber::{Fiber, stop};
use super::ledger::Pid;
use super::rng::Rng;
use super::world::{Lock, new_zone};
use super::{Seed, number};
use crate::agreement::{self, Clock, Medium, Told, World};
use crate::gate::lane::Survey;
use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::gate::{Change, Gate, State};
use crate::shared::touch;
use crate::shm::{AppId, Zone};
use crate::state_file::Saved;

const APPS: [&[u8]; 2] = [b"one", b"two"];

/// As many as two nginxes, and as each has workers.
const SIDES: usize = 2;
const WORKERS: usize = 2;

/// How far apart deadlines are that count as one.
const SAME_TIME: Duration = Duration::from_millis(501);

/// The time at which all begins, by the clock on the wall.
const EPOCH_MS: u64 = 1_795_000_000_000;

const START: Moment = Moment::from_micros(1_000_000_000);

thread_local! {
    static NOW: Cell<Moment> = const { Cell::new(START) };
}

struct Clocks;

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

/// What a call has an app do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Effect {
    Open,
    Paused { until: Moment },
    Maintenance,
}

impl Effect {
    fn of(gate: Option<&Gate>) -> Self {
        match gate.map_or(State::Open, Gate::state) {
            State::Paused => {
                Self::Paused { until: gate.map_or(Moment::NEVER, |gate| gate.deadline) }
            }
            State::Maintenance => Self::Maintenance,
            _ => Self::Open,
        }
    }

    /// Whether that is what can be seen of it by now.
    fn shows_as(self, seen: Self) -> bool {
        match (self, seen) {
            (Self::Paused { until }, Self::Open) => until <= NOW.get().plus(SAME_TIME),
            (Self::Paused { until }, Self::Paused { until: seen }) => {
                until.since(seen).max(seen.since(until)) <= SAME_TIME
            }
            (effect, seen) => effect == seen,
        }
    }

    fn change(self, gate: &mut Gate) -> Change {
        let now = NOW.get();
        match self {
            Self::Open => gate.disable(now, Policy::default(), 0, &Survey::default()),
            Self::Paused { until } => {
                gate.number_above(Clocks::unix_ms(now));
                gate.enable(now, until, Policy::default())
            }
            Self::Maintenance => gate.maintenance(now, 0),
        }
    }
}

/// A call, and when it was made and answered.
#[derive(Clone, Copy, Debug)]
struct Call {
    app: usize,
    effect: Effect,
    begun: u64,
    answered: Option<u64>,
}

/// The file, its lock, and what is beside it.
#[derive(Default)]
struct Disk {
    says: RefCell<Option<Saved>>,
    beside: RefCell<Option<Saved>>,
    is_locked: Cell<bool>,
    fails: Cell<bool>,
}

/// The lock of the file: given back also by who dies with it.
struct Locked<'d>(&'d Disk);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.is_locked.set(false);
    }
}

impl Disk {
    fn read(&self) -> Option<Saved> {
        touch(&self.says, false);
        self.says.borrow().clone()
    }

    fn try_lock(&self) -> Option<Locked<'_>> {
        touch(&self.is_locked, true);
        (!self.is_locked.replace(true)).then(|| Locked(self))
    }
}

/// All that there is.
struct Stage {
    rng: Rng,
    disk: Disk,
    step: Cell<u64>,
    calls: RefCell<Vec<Call>>,
    zones: [Cell<Zone<Lock>>; SIDES],
    workers: RefCell<Vec<Rc<Worker>>>,
    last_pid: Cell<Pid>,
    told: bool,
}

impl Stage {
    fn may_fail(&self) -> io::Result<()> {
        let fails = self.disk.fails.get() && self.rng.chance(50);
        if fails { Err(io::Error::other("the disk fails")) } else { Ok(()) }
    }
}

impl Medium for Stage {
    fn prepare(&self, saved: &Saved) -> io::Result<()> {
        touch(&self.disk.beside, true);
        self.may_fail()?;
        // As it can be read again.
        let text = saved.format();
        *self.disk.beside.borrow_mut() = Saved::parse(text.as_bytes()).ok();
        Ok(())
    }

    fn replace(&self) -> io::Result<()> {
        touch(&self.disk.says, true);
        self.may_fail()?;
        let new = self.disk.beside.take().expect("something was prepared");
        let old = self.disk.says.replace(Some(new.clone()));
        let before = old.map_or(0, |old| old.serial);
        assert!(before < new.serial, "the file goes back from {before} to {}", new.serial);
        self.tell(|| format!("the file says {new:?}"));
        self.workers.borrow().iter().for_each(|worker| worker.news.set(true));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        touch(&self.disk.says, false);
        self.may_fail()
    }
}

/// A worker, as far as it has to do with calls and the file.
struct Worker {
    side: usize,
    zone: Zone<Lock>,
    /// Calls that have come, and those that were made and are not answered.
    inbox: RefCell<VecDeque<usize>>,
    made: RefCell<Vec<usize>>,
    /// The file was replaced.
    news: Cell<bool>,
    wanted: Cell<Option<Told>>,
    /// The file could not be written: it is tried again.
    again: Cell<bool>,
    at_work: Cell<bool>,
    life: RefCell<Option<Fiber>>,
    pid: Pid,
}

impl World for Worker {
    type Lock = Lock;
    type Clock = Clocks;

    fn zone(&self) -> Zone<Lock> {
        self.zone
    }

    fn survey(&self, _: AppId) -> Survey {
        Survey::default()
    }

    fn notify(&self) {
        self.zone.note_change();
    }

    fn followed(&self, _: &[u8], _: &Change, _: u32) {}
}

impl Worker {
    fn live(&self, stage: &Stage) {
        self.want(Told::Enough);
        self.go_on(stage);
        loop {
            self.at_work.set(false);
            stop();
            self.at_work.set(true);
            self.turn(stage);
        }
    }

    fn turn(&self, stage: &Stage) {
        let call = self.inbox.borrow_mut().pop_front();
        if let Some(call) = call {
            return self.change(stage, call);
        }
        if self.news.take() {
            let newer = stage.disk.read().is_some_and(|saved| saved.serial > self.zone.serial());
            if newer {
                self.want(Told::Enough);
            }
        }
        if self.again.take() {
            self.want(Told::Enough);
        }
        if self.settle() {
            self.want(Told::Exactly);
        }
        if self.wanted.get().is_some() {
            self.go_on(stage);
        }
    }

    /// What falls due by itself: whether there was anything.
    fn settle(&self) -> bool {
        let (mut locked, now) = (self.zone.lock(), NOW.get());
        let apps: Vec<AppId> = locked.apps().collect();
        let mut changed = false;
        for app in apps {
            let settle = |gate: &mut Gate| gate.settle(now, &Survey::default());
            changed |= locked.update(app, settle).flatten().is_some();
        }
        changed
    }

    fn is_due(&self) -> bool {
        let locked = self.zone.lock();
        let gates = locked.apps().filter_map(|app| locked.gate(app));
        gates.map(Gate::due).any(|due| due <= NOW.get())
    }

    fn want(&self, told: Told) {
        if told == Told::Exactly || self.wanted.get().is_none() {
            self.wanted.set(Some(told));
        }
    }

    /// As `Store::change`.
    fn change(&self, stage: &Stage, call: usize) {
        self.want(Told::Exactly);
        let lock = stage.disk.try_lock();
        self.with(stage, lock, || {
            let Call { app, effect, .. } = stage.calls.borrow()[call];
            let mut locked = self.zone.lock();
            let app = locked.find_or_create(APPS[app], usize::MAX).expect("there is room");
            locked.update(app, |gate| effect.change(gate));
            self.made.borrow_mut().push(call);
            stage.tell(|| format!("{} makes call {call}", self.pid));
        });
    }

    fn go_on(&self, stage: &Stage) {
        self.with(stage, stage.disk.try_lock(), || ());
    }

    fn with(&self, stage: &Stage, lock: Option<Locked<'_>>, change: impl FnOnce()) {
        let known = lock.as_ref().and_then(|_| stage.disk.read());
        if let Some(saved) = &known {
            agreement::take_up(self, saved).expect("there is room");
        }
        change();
        let Some(_lock) = lock else { return };
        let told = self.wanted.take().unwrap_or(Told::Enough);
        let written = match agreement::draft(self, known.as_ref(), told) {
            Some(draft) => draft.write(stage),
            None => Ok(()),
        };
        self.again.set(written.is_err());
        // What could not be written is answered as well, but it may be lost.
        let answered = written.is_ok().then(|| stage.step.get());
        for call in self.made.take() {
            stage.calls.borrow_mut()[call].answered = answered;
        }
    }

    fn is_ready(&self) -> bool {
        let wants = self.wanted.get().is_some() || self.again.get() || self.news.get();
        self.at_work.get() || wants || !self.inbox.borrow().is_empty()
    }
}

impl Stage {
    fn new(seed: u64, told: bool) -> Rc<Self> {
        NOW.set(START);
        let stage = Rc::new(Self {
            rng: Rng::new(seed),
            disk: Disk::default(),
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
        let worker = Rc::new(Worker {
            side,
            zone: self.zones[side].get(),
            inbox: RefCell::default(),
            made: RefCell::default(),
            news: Cell::new(false),
            wanted: Cell::new(None),
            again: Cell::new(false),
            at_work: Cell::new(true),
            life: RefCell::default(),
            pid: self.last_pid.get(),
        });
        let (alive, stage) = (Rc::clone(&worker), Rc::clone(self));
        *worker.life.borrow_mut() = Some(Fiber::new(move || alive.live(&stage)));
        self.workers.borrow_mut().push(worker);
    }

    fn kill(&self, index: usize) {
        let worker = self.workers.borrow_mut().remove(index);
        self.tell(|| format!("{} dies", worker.pid));
        let life = worker.life.take();
        life.into_iter().for_each(Fiber::kill);
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
        loop {
            let index = self.workers.borrow().iter().position(|worker| worker.side == side);
            let Some(index) = index else { break };
            self.kill(index);
        }
        self.zones[side].set(new_zone(side, WORKERS));
        self.start_all(side);
    }

    /// Nobody has the lock of an nginx that looks whether something is due.
    fn is_ready(&self, worker: &Worker) -> bool {
        let rests = |other: &Rc<Worker>| other.side != worker.side || !other.at_work.get();
        worker.is_ready() || (self.workers.borrow().iter().all(rests) && worker.is_due())
    }

    fn run_somebody(&self) -> bool {
        self.step.set(self.step.get() + 1);
        let ready: Vec<Rc<Worker>> =
            self.workers.borrow().iter().filter(|worker| self.is_ready(worker)).cloned().collect();
        if ready.is_empty() {
            return false;
        }
        let worker = &ready[self.rng.index(ready.len())];
        let accesses = self.rng.below(self.rng.one_of(&[2, 10, 60]));
        if let Some(life) = &mut *worker.life.borrow_mut() {
            life.run(worker.pid, accesses);
        }
        pass(Duration::from_micros(1 + self.rng.below(50)));
        true
    }

    fn call(&self) {
        let workers = self.workers.borrow();
        let worker = &workers[self.rng.index(workers.len())];
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
            9 if self.rng.chance(20) => self.restart(self.rng.index(SIDES)),
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
        while self.run_somebody() {
            steps += 1;
            assert!(steps < 100_000, "the nginxes do not come to rest");
        }
        self.tell(|| "all is quiet".to_owned());
        (0..APPS.len()).for_each(|app| self.check(app));
        self.begin();
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
