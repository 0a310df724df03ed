//! The world of a worker that is the simulation: its events, its requests and its callers.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::calls::{Call, Caller};
use super::fiber::{REPEATS, aside};
use super::ledger::{Id, Pid};
use super::request::{Arriving, Reading, Request};
use super::world::{Lock, World};
use crate::gate::canary::Outcome;
use crate::gate::lane::{Count, Lane};
use crate::gate::time::{Moment, micros};
use crate::shared::hooks::{SEEN, SEES_ALL};
use crate::shm::{AppId, Liveness};
use crate::worker::{self, Fact, Host, LEASE, Stage, Step, Task, Told, When};

pub type Worker = worker::Worker<Sim>;
pub type Passage = worker::Passage<Sim>;

/// What comes to a worker from outside.
#[derive(Clone, Debug)]
pub enum Event {
    Arrival(Arriving),
    ClientGone(Id),
    Body(Id),
    Response(Id, Outcome),
    /// It is over, and the backend may be at work for it.
    Abandoned(Id),
    Upgrade(Id),
    /// Its backend is there, or is not.
    Connect(Id),
    /// Its backend breaks off, and has answered nothing.
    Break(Id),
    /// A good answer begins.
    Answers(Id),
    /// Its body cannot be read; the error page is in another app's place.
    BodyFails(Id, usize),
    /// It goes on to another app's gate.
    Redirect(Id, usize),
    Call(Call),
    /// A probe of an app's backend is over.
    Probed(AppId, u64),
}

/// nginx's posted events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    Task(Task),
    Body(Id),
    Caller(u64),
}

pub struct Sim {
    pub world: Rc<World>,
    pub slot: usize,
    pub pid: Pid,
    me: OnceCell<Weak<Worker>>,
    /// Told to finish by its master.
    pub exiting: Cell<bool>,
    /// The others can see it.
    pub entered: Cell<bool>,
    pub over: Cell<bool>,
    /// In the middle of an event.
    pub at_work: Cell<bool>,
    pub inbox: RefCell<VecDeque<Event>>,
    pub callers: RefCell<BTreeMap<u64, Caller>>,
    pub requests: RefCell<BTreeMap<Id, Rc<Passage>>>,
    posted: RefCell<VecDeque<Posted>>,
    posted_next: RefCell<VecDeque<Posted>>,
    timer: Cell<Moment>,
    /// When it last showed that it runs, and how long it may be to the next time.
    last_beat: Cell<Moment>,
    interval: Cell<Duration>,
    /// It has been stopped, and has not shown since that it runs again.
    was_stopped: Cell<bool>,
    /// When it was last made to go on.
    resumed: Cell<Moment>,
    /// The step at which it last began to look what the lanes say.
    pub surveyed: Cell<u64>,
    /// The step at which it began to look at a gate, or at what a caller waits for.
    pub begun: Cell<u64>,
    /// It counts a request in this lane, and takes that back if the app is not open.
    pub passing: Cell<Option<&'static Lane>>,
    /// The apps of whose backends it knows where they are, by the places of the apps in the zone,
    /// and in which outages.
    pub knows: RefCell<BTreeMap<usize, (usize, u64)>>,
}

impl Sim {
    pub fn start(world: &Rc<World>, slot: usize, pid: Pid) -> Rc<Worker> {
        let host = Self {
            world: Rc::clone(world),
            slot,
            pid,
            me: OnceCell::new(),
            exiting: Cell::new(false),
            entered: Cell::new(false),
            over: Cell::new(false),
            at_work: Cell::new(true),
            inbox: RefCell::default(),
            callers: RefCell::default(),
            requests: RefCell::default(),
            posted: RefCell::default(),
            posted_next: RefCell::default(),
            timer: Cell::new(Moment::NEVER),
            last_beat: Cell::new(world.now()),
            interval: Cell::new(Duration::ZERO),
            was_stopped: Cell::new(false),
            resumed: Cell::new(Moment::default()),
            surveyed: Cell::new(0),
            begun: Cell::new(0),
            passing: Cell::new(None),
            knows: RefCell::default(),
        };
        let worker = Worker::new(host, world.zone, slot, world.zone.cycle(), super::world::NAMES);
        let worker = Rc::new(worker);
        let _ = worker.host.me.set(Rc::downgrade(&worker));
        worker
    }

    pub fn worker(&self) -> Rc<Worker> {
        self.me.get().and_then(Weak::upgrade).expect("the worker is there")
    }

    pub fn stop(&self) {
        self.was_stopped.set(true);
    }

    pub fn resume(&self) {
        self.resumed.set(self.world.now());
    }

    /// Whether the others need not wait for it: it was stopped for so long that it seems to hang. One
    /// that runs they have to wait for, however late it is.
    pub fn is_passed_by(&self) -> bool {
        let lease = LEASE.max(4 * self.interval.get());
        self.was_stopped.get() && self.world.now().since(self.last_beat.get()) > lease
    }

    /// It shows that it runs, or did at that time, if it was stopped since.
    fn beats(&self, at: Moment, interval: Duration) {
        self.last_beat.set(at);
        self.interval.set(interval);
        if at >= self.resumed.get() {
            self.was_stopped.set(false);
        }
        self.world.ledger.borrow_mut().pass_by(self.pid, self.is_passed_by());
    }

    /// When the timer goes off.
    pub fn timer(&self) -> Moment {
        self.timer.get()
    }

    /// Whether the timer has gone off.
    pub fn take_timer(&self) -> bool {
        let is_due = self.timer() <= self.world.now();
        if is_due {
            self.timer.set(Moment::NEVER);
        }
        is_due
    }

    /// When something will be to do that time brings.
    pub fn next_timer(&self) -> Moment {
        let requests = self.requests.borrow();
        let held = requests.values().filter(|request| request.stage() == Stage::Held);
        let callers = self.callers.borrow();
        held.map(|request| request.own.until.get())
            .chain(callers.values().map(|caller| caller.until))
            .fold(self.timer(), Ord::min)
    }

    pub fn may_exit(&self) -> bool {
        let idle = self.requests.borrow().is_empty() && self.callers.borrow().is_empty();
        self.exiting.get() && idle && self.inbox.borrow().is_empty()
    }

    /// Between two events what a worker does from here on follows from what it knows by now, and not from
    /// how it has come to know that: `at`, and what is ready, say where it is.
    pub fn between_events(&self, at: u8, ready: &VecDeque<Event>) {
        if !SEES_ALL.get() && !REPEATS.get() {
            return;
        }
        self.begun.set(0);
        self.surveyed.set(0);
        if REPEATS.get() {
            return;
        }
        aside(|| {
            let mut hasher = DefaultHasher::new();
            (at, format!("{ready:?}")).hash(&mut hasher);
            self.worker().fingerprint(&mut hasher);
            self.fingerprint(&mut hasher);
            SEEN.set(hasher.finish());
        });
    }

    fn fingerprint(&self, hasher: &mut impl Hasher) {
        (self.exiting.get(), self.entered.get(), self.over.get()).hash(hasher);
        (self.timer.get(), self.last_beat.get(), self.interval.get()).hash(hasher);
        (self.was_stopped.get(), self.resumed.get(), &*self.knows.borrow()).hash(hasher);
        let posted = (self.posted.borrow(), self.posted_next.borrow(), self.inbox.borrow());
        format!("{posted:?}").hash(hasher);
        for (id, caller) in &*self.callers.borrow() {
            (id, caller.fingerprint()).hash(hasher);
        }
        for (id, request) in &*self.requests.borrow() {
            (id, request.fingerprint(), request.own.fingerprint()).hash(hasher);
        }
    }

    /// Whether there is something to do.
    pub fn is_ready(&self) -> bool {
        self.at_work.get()
            || self.may_exit()
            || !self.inbox.borrow().is_empty()
            || !self.posted.borrow().is_empty()
            || !self.posted_next.borrow().is_empty()
            || self.world.rings(self.slot)
            || self.next_timer() <= self.world.now()
    }

    /// The loop turns: what was put off is posted.
    pub fn turn(&self) {
        let next = self.posted_next.take();
        self.posted.borrow_mut().extend(next);
    }

    pub fn next_posted(&self) -> Option<Posted> {
        self.posted.borrow_mut().pop_front()
    }

    /// nginx posts an event that is posted already no second time, wherever it stands.
    pub fn post(&self, event: Posted) {
        if !self.is_posted(event) {
            self.posted.borrow_mut().push_back(event);
        }
    }

    fn is_posted(&self, event: Posted) -> bool {
        self.posted.borrow().contains(&event) || self.posted_next.borrow().contains(&event)
    }

    /// It begins to look at something.
    pub fn begins(&self) -> u64 {
        self.begun.set(self.world.ledger.borrow().step);
        self.begun.get()
    }

    pub fn request(&self, id: Id) -> Option<Rc<Passage>> {
        self.requests.borrow().get(&id).cloned()
    }
}

impl Host for Sim {
    type Request = Request;
    type Lock = Lock;
    type Event = Task;
    type Caller = u64;

    fn now(&self) -> Moment {
        self.world.now()
    }

    fn liveness(&self, now: Moment) -> Liveness {
        self.surveyed.set(self.world.ledger.borrow().step);
        Liveness { now, ..self.world.liveness() }
    }

    fn event(&self, task: Task) -> Task {
        task
    }

    fn post(&self, task: &Task, when: When) {
        let event = Posted::Task(*task);
        if when == When::Last {
            self.posted.borrow_mut().retain(|posted| *posted != event);
            self.posted_next.borrow_mut().retain(|posted| *posted != event);
        }
        if !self.is_posted(event) {
            let queue = if when == When::NextTurn { &self.posted_next } else { &self.posted };
            queue.borrow_mut().push_back(event);
        }
    }

    /// As nginx counts, in whole milliseconds from now.
    fn set_timer(&self, at: Moment, now: Moment) {
        let millis = micros(at.since(now)).div_ceil(1000);
        self.timer.set(if at.is_never() { at } else { now.plus(Duration::from_millis(millis)) });
    }

    fn due(&self) -> Moment {
        Moment::NEVER
    }

    fn ring(&self, slots: impl Iterator<Item = usize>) {
        // Whom to ring for is looked up first, and takes time.
        let slots: Vec<usize> = slots.collect();
        self.world.ring(slots.into_iter());
    }

    fn run(&self, passage: &Passage, step: Step) {
        self.take_step(passage, step);
    }

    fn is_being_read(&self, passage: &Passage) -> bool {
        passage.own.body.get() == Reading::Asked
    }

    fn wake(&self, caller: u64) {
        Self::post(self, Posted::Caller(caller));
    }

    fn is_exiting(&self) -> bool {
        self.exiting.get()
    }

    fn is_succeeded(&self) -> bool {
        false
    }

    fn uncounted_processes(&self) -> usize {
        self.world.uncounted.get()
    }

    fn is_short_of_connections(&self) -> bool {
        self.world.plan.short && self.world.rng.chance(10)
    }

    fn free_connections(&self) -> usize {
        let counts = |stage| match stage {
            Stage::Going(flight) | Stage::Through(flight) => flight.counts(),
            _ => &[],
        };
        let requests = self.requests.borrow();
        let released = requests.values().filter(|it| counts(it.stage()).contains(&Count::Released));
        self.world.plan.connections.saturating_sub(released.count())
    }

    fn can_probe(&self, app: AppId, outage: u64) -> bool {
        self.knows_backend_of(app, outage)
    }

    fn probe(&self, app: AppId, outage: u64) {
        self.begin_probe(app, outage);
    }

    fn tell(&self, told: Told<'_>) {
        if let Told::Leaves { .. } = told {
            assert!(self.world.has_ended(), "worker {} takes nginx for ended", self.pid);
        }
    }

    fn note(&self, fact: Fact<'_, Self>) {
        match fact {
            Fact::Beats { at, interval } => self.beats(at, interval),
            fact => self.world.note(self, fact),
        }
    }
}
