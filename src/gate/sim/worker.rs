//! A worker: what `nginx/worker.rs` and the files beside it do, without nginx, in their order of
//! steps, with pauses where other processes can come in between.
//!
//! What is changed there, as to what is done in which order, has to be changed here as well.

mod admission;
mod checks;
mod queue;
mod release;
mod request;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use super::calls::{Call, Waiter};
use super::ledger::{Id, Pid};
use super::task::pause;
use super::world::World;
use crate::gate::lane::{Count, NO_TICKET, Survey, Ticket};
use crate::gate::time::Moment;
use crate::gate::trial::Outcome;
use crate::gate::{Gate, State};
use crate::shm::{AppId, Entry, Liveness, Process, WATCH_INTERVAL, Watch};
pub use admission::Arriving;
use queue::Queue;
use request::{Request, Stage};

/// What comes to a worker from outside.
#[derive(Clone, Debug)]
pub enum Event {
    Arrival(Arriving),
    ClientGone(Id),
    Body(Id),
    Response(Id, Outcome),
    Upgrade(Id),
    Call(Call),
}

/// nginx's posted events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    Look,
    Write(Id),
    /// A queue's turn, by its app's place in the zone.
    Turn(usize),
    Waiter(u64),
}

pub struct Worker {
    pub world: Rc<World>,
    pub slot: usize,
    pub pid: Pid,
    cycle: u32,
    /// Told to finish by its master.
    pub exiting: Cell<bool>,
    /// The others can see it.
    pub entered: Cell<bool>,
    pub over: Cell<bool>,
    /// In the middle of an event.
    pub at_work: Cell<bool>,
    /// Killed by its own hand, in the middle of a section.
    pub falls: Cell<bool>,
    pub inbox: RefCell<VecDeque<Event>>,
    pub waiters: RefCell<BTreeMap<u64, Waiter>>,
    pub requests: RefCell<BTreeMap<Id, Rc<Request>>>,
    entries: RefCell<BTreeMap<usize, Entry>>,
    queues: RefCell<BTreeMap<usize, Rc<Queue>>>,
    posted: RefCell<VecDeque<Posted>>,
    posted_next: RefCell<VecDeque<Posted>>,
    holding: Cell<usize>,
    pub interval: Cell<Duration>,
    pub last_beat: Cell<Moment>,
    /// It has been stopped, and has not shown since that it runs again.
    pub was_stopped: Cell<bool>,
    armed: Cell<Moment>,
    due: Cell<Moment>,
    seen_changes: Cell<u64>,
    leaving: Cell<bool>,
    watch: Watch,
}

impl Worker {
    pub fn new(world: Rc<World>, slot: usize, pid: Pid) -> Self {
        Self {
            cycle: world.zone.cycle(),
            world,
            slot,
            pid,
            exiting: Cell::new(false),
            entered: Cell::new(false),
            over: Cell::new(false),
            at_work: Cell::new(true),
            falls: Cell::new(false),
            inbox: RefCell::default(),
            waiters: RefCell::default(),
            requests: RefCell::default(),
            entries: RefCell::default(),
            queues: RefCell::default(),
            posted: RefCell::default(),
            posted_next: RefCell::default(),
            holding: Cell::new(0),
            interval: Cell::new(Duration::from_millis(250)),
            last_beat: Cell::new(Moment::default()),
            was_stopped: Cell::new(false),
            armed: Cell::new(Moment::NEVER),
            due: Cell::new(Moment::NEVER),
            seen_changes: Cell::new(u64::MAX),
            leaving: Cell::new(false),
            watch: Watch::default(),
        }
    }

    /// A worker's life.
    pub async fn live(self: Rc<Self>) {
        self.enter().await;
        while !self.may_exit() {
            self.rest().await;
            self.turn_of_the_loop().await;
        }
        self.notice_exit();
        pause().await;
        self.world.zone.leave(self.slot);
        self.over.set(true);
        pause().await;
        self.world.ring(self.world.zone.slots());
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

    /// When something will be to do that time brings.
    pub fn next_timer(&self) -> Moment {
        let requests = self.requests.borrow();
        let held = requests.values().filter(|request| request.stage.get() == Stage::Held);
        let waiters = self.waiters.borrow();
        held.map(|request| request.until)
            .chain(waiters.values().map(|waiter| waiter.until))
            .fold(self.timer(), Ord::min)
    }

    fn may_exit(&self) -> bool {
        let idle = self.requests.borrow().is_empty() && self.waiters.borrow().is_empty();
        self.exiting.get() && idle && self.inbox.borrow().is_empty()
    }

    /// Between two events.
    async fn rest(&self) {
        self.at_work.set(false);
        pause().await;
        self.at_work.set(true);
    }

    /// Events in nginx's order: what is ready, then timers, then what is posted.
    async fn turn_of_the_loop(&self) {
        let next = self.posted_next.take();
        self.posted.borrow_mut().extend(next);
        let ready = self.inbox.take();
        for event in ready {
            self.handle(event).await;
            pause().await;
        }
        if self.world.hear(self.slot) {
            self.look().await;
        }
        self.expire_timers().await;
        while let Some(event) = self.next_posted() {
            self.handle_posted(event).await;
            pause().await;
        }
    }

    fn next_posted(&self) -> Option<Posted> {
        self.posted.borrow_mut().pop_front()
    }

    async fn expire_timers(&self) {
        let now = self.world.now();
        if self.timer() <= now {
            self.armed.set(Moment::NEVER);
            self.look().await;
        }
        let requests: Vec<_> = self.requests.borrow().values().cloned().collect();
        for request in requests.iter().filter(|request| request.until <= now) {
            if request.stage.get() == Stage::Held {
                self.time_out(request).await;
                self.on_write(request).await;
            }
        }
        let late = self.late_waiters(now);
        for waiter in late {
            self.on_waiter(waiter).await;
        }
    }

    fn late_waiters(&self, now: Moment) -> Vec<u64> {
        let waiters = self.waiters.borrow();
        waiters.iter().filter(|(_, waiter)| waiter.until <= now).map(|(id, _)| *id).collect()
    }

    async fn handle(&self, event: Event) {
        match event {
            Event::Arrival(arriving) => self.on_arrival(arriving).await,
            Event::Call(call) => self.on_call(call).await,
            Event::ClientGone(id) => self.end(id, Outcome::Void).await,
            Event::Response(id, outcome) => self.end(id, outcome).await,
            Event::Body(id) => self.on_body(id).await,
            Event::Upgrade(id) => self.upgrade(id).await,
        }
    }

    async fn handle_posted(&self, event: Posted) {
        match event {
            Posted::Look => self.look().await,
            Posted::Turn(place) => self.on_turn(place).await,
            Posted::Waiter(waiter) => self.on_waiter(waiter).await,
            Posted::Write(id) => {
                let request = self.request(id);
                if let Some(request) = request {
                    self.on_write(&request).await;
                }
            }
        }
    }

    async fn enter(&self) {
        self.bury_predecessor();
        let process = Process { pid: self.pid, started: 0 };
        self.world.zone.enter(self.slot, process, self.world.now());
        self.entered.set(true);
        pause().await;
        self.world.zone.note_change();
        pause().await;
        self.ring_others();
        self.look().await;
    }

    /// What a worker in this slot held when it was killed is accounted for.
    fn bury_predecessor(&self) {
        let locked = self.world.zone.lock();
        for app in locked.apps() {
            let lane = self.world.zone.lanes(app).find(|(slot, _)| *slot == self.slot);
            let lost = lane.map_or(0, |(_, lane)| lane.get(Count::Held));
            let name = World::app_named(locked.name(app));
            self.world.ledger.borrow_mut().bury(name, u64::from(lost));
        }
    }

    async fn look(&self) {
        let now = self.world.now();
        self.notice_exit();
        if self.holding.get() > 0 {
            self.beat(now, self.interval.get());
        }
        pause().await;
        let changes = self.world.zone.changes();
        if self.seen_changes.replace(changes) != changes || self.due.get() <= now {
            self.look_at_all(now).await;
        }
        let queues: Vec<_> = self.queues.borrow().values().cloned().collect();
        for queue in queues.iter().filter(|queue| queue.first_ticket() != NO_TICKET) {
            if !self.rests(queue.app, now) {
                self.attend(queue.app).await;
            }
        }
        for waiter in self.waiters.borrow().keys() {
            self.post(Posted::Waiter(*waiter));
        }
        self.arm(now);
    }

    fn rests(&self, app: AppId, now: Moment) -> bool {
        let paused = self.world.zone.state(app) == State::Paused && !self.leaving.get();
        paused && self.due_of(app) > now
    }

    fn notice_exit(&self) {
        if !self.exiting.get() {
            return;
        }
        if self.world.zone.exits(self.slot, self.cycle) {
            self.ring_others();
        }
        let ended = self.world.zone.has_ended(&self.liveness(), &self.watch);
        assert!(!ended || self.world.has_ended(), "worker {} takes nginx for ended", self.pid);
        self.leaving.set(ended);
    }

    async fn look_at_all(&self, now: Moment) {
        self.due.set(Moment::NEVER);
        let apps = self.world.zone.lock().apps();
        for app in apps.filter(|app| self.world.zone.state(*app) != State::Open) {
            let mut due = self.due_of(app);
            if due <= now {
                self.attend(app).await;
                due = self.due_of(app);
            }
            self.due.set(self.due.get().min(due));
            pause().await;
        }
    }

    fn due_of(&self, app: AppId) -> Moment {
        self.world.zone.lock().gate(app).map_or(Moment::NEVER, Gate::due)
    }

    pub fn survey(&self, app: AppId) -> Survey {
        self.world.zone.survey(app, self.slot, &self.liveness())
    }

    /// Lets every worker look at the zone, this one as well.
    pub fn notify(&self) {
        self.world.zone.note_change();
        self.ring_others();
        self.post(Posted::Look);
    }

    pub(super) fn ring_others(&self) {
        self.world.ring(self.world.zone.slots().filter(|slot| *slot != self.slot));
    }

    pub fn liveness(&self) -> Liveness {
        self.world.liveness()
    }

    pub fn update(&self, app: AppId, action: impl FnOnce(&mut Gate)) {
        self.world.zone.lock().update(app, action);
    }

    pub(super) fn slots_at(&self, app: AppId, ticket: Ticket) -> impl Iterator<Item = usize> {
        self.world.zone.lanes(app).filter(move |(_, lane)| lane.head() == ticket).map(|(at, _)| at)
    }

    pub(super) fn beat(&self, now: Moment, interval: Duration) {
        self.world.zone.beat(self.slot, now, interval);
        self.last_beat.set(now);
        // Who was stopped after it had looked at the clock shows itself too late.
        if self.world.now().since(now) < Duration::from_millis(50) {
            self.was_stopped.set(false);
            self.world.ledger.borrow_mut().pass_by(self.pid, false);
        }
    }

    pub(super) fn stopped_holding(&self, entry: &Entry) {
        entry.lane.sub(Count::Held);
        self.holding.set(self.holding.get().saturating_sub(1));
    }

    /// Sets the timer: for the interval while requests are held, for what falls due in any case.
    pub fn arm(&self, now: Moment) {
        let idle = self.holding.get() == 0 && self.waiters.borrow().is_empty();
        let look = if idle { Moment::NEVER } else { now.plus(self.rhythm()) };
        let at = look.min(self.due.get());
        let armed = self.armed.get();
        if armed > at {
            self.armed.set(at);
        }
    }

    fn rhythm(&self) -> Duration {
        let interval = self.interval.get();
        if self.exiting.get() { interval.min(WATCH_INTERVAL) } else { interval }
    }

    /// When the timer goes off: nginx counts in milliseconds.
    pub(super) fn timer(&self) -> Moment {
        let armed = self.armed.get();
        if armed.is_never() { armed } else { armed.plus(Duration::from_micros(999)) }
    }

    pub(super) fn request(&self, id: Id) -> Option<Rc<Request>> {
        self.requests.borrow().get(&id).cloned()
    }

    pub(super) fn queue(&self, entry: Entry) -> Rc<Queue> {
        let mut queues = self.queues.borrow_mut();
        let queue = queues.entry(entry.app().index()).or_insert_with(|| Rc::new(Queue::new(entry)));
        Rc::clone(queue)
    }

    /// nginx posts an event that is posted already no second time, wherever it stands.
    pub fn post(&self, event: Posted) {
        if !self.is_posted(event) {
            self.posted.borrow_mut().push_back(event);
        }
    }

    pub(super) fn post_next(&self, event: Posted) {
        if !self.is_posted(event) {
            self.posted_next.borrow_mut().push_back(event);
        }
    }

    pub(super) fn unpost(&self, event: Posted) {
        self.posted.borrow_mut().retain(|posted| *posted != event);
        self.posted_next.borrow_mut().retain(|posted| *posted != event);
    }

    fn is_posted(&self, event: Posted) -> bool {
        self.posted.borrow().contains(&event) || self.posted_next.borrow().contains(&event)
    }

    /// Whether the worker is killed at this very point.
    pub(super) fn stumbles(&self) -> bool {
        let world = &self.world;
        let falls = world.plan.crashes && !world.settling.get() && world.rng.below(150) == 0;
        self.falls.set(self.falls.get() || falls);
        falls
    }

    pub(super) async fn fall(&self) {
        pending::<()>().await;
    }
}
