//! A worker, as far as it has to do with calls and the file, and the thread that writes for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::super::fiber::{Fiber, stop};
use super::super::ledger::Pid;
use super::super::world::Lock;
use super::calls::{Call, Effect};
use super::disk::Locked;
use super::{APPS, Clocks, Stage};
use crate::agreement::{self, Clock, Desk, Draft, Office, Report, World, Writing};
use crate::gate::lane::Survey;
use crate::gate::time::Moment;
use crate::gate::{Change, Gate};
use crate::shared::touch;
use crate::shm::{AppId, Zone};
use crate::state_file::Saved;

/// How often a worker that ends looks whether it can have the lock.
const LAST_TRIES: usize = 100;

pub struct Worker {
    pub side: usize,
    pub pid: Pid,
    pub zone: Zone<Lock>,
    stage: Rc<Stage>,
    desk: Desk<Thread>,
    /// Calls that have come.
    pub inbox: RefCell<VecDeque<usize>>,
    /// Those that were made and are not answered, and which changes they are.
    made: RefCell<Vec<(usize, u64)>>,
    /// It has heard that the file was replaced.
    news: Cell<bool>,
    /// The file has been written.
    rung: Cell<bool>,
    exits: Cell<bool>,
    at_work: Cell<bool>,
    pub life: RefCell<Option<Fiber>>,
    /// What writes for it, and dies with it.
    pub thread: RefCell<Option<Fiber>>,
}

/// A write, in a thread.
#[derive(Clone, Default)]
pub struct Thread(Rc<RefCell<Option<io::Result<()>>>>);

impl Writing for Thread {
    fn is_over(&self) -> bool {
        touch(&*self.0, false);
        self.0.borrow().is_some()
    }

    fn result(self) -> io::Result<()> {
        while !self.is_over() {
            stop();
        }
        self.0.take().expect("it is over")
    }
}

impl Worker {
    pub fn start(stage: &Rc<Stage>, side: usize, pid: Pid) -> Rc<Self> {
        let worker = Rc::new(Self {
            side,
            pid,
            zone: stage.zones[side].get(),
            stage: Rc::clone(stage),
            desk: Desk::new(),
            inbox: RefCell::default(),
            made: RefCell::default(),
            news: Cell::new(false),
            rung: Cell::new(false),
            exits: Cell::new(false),
            at_work: Cell::new(true),
            life: RefCell::default(),
            thread: RefCell::default(),
        });
        let alive = Rc::clone(&worker);
        *worker.life.borrow_mut() = Some(Fiber::new(move || alive.live()));
        worker
    }

    fn live(&self) {
        agreement::catch_up(self);
        while !self.exits.get() {
            self.at_work.set(false);
            stop();
            self.at_work.set(true);
            self.turn();
            self.answer();
        }
        agreement::end(self);
        self.answer();
        self.stage.ring(|other| other.side == self.side);
    }

    fn turn(&self) {
        let call = self.inbox.borrow_mut().pop_front();
        if let Some(call) = call {
            return self.make(call);
        }
        if self.news.take() {
            agreement::follow(self);
        }
        if self.stage.rng.chance(5) {
            self.meet_stranger();
        }
        self.rung.set(false);
        if self.desk.has_work(&self.zone, Clocks::now()) {
            agreement::keep_up(self);
        }
        self.settle();
    }

    /// A request for an app that nobody has called for comes. There may be no room for it unless another one is
    /// forgotten.
    fn meet_stranger(&self) {
        let name = format!("stranger-{}", self.stage.rng.below(100));
        let _ = self.zone.lock().find_or_create(name.as_bytes(), usize::MAX);
    }

    /// What falls due by itself.
    fn settle(&self) {
        let (mut locked, now) = (self.zone.lock(), Clocks::now());
        let apps: Vec<AppId> = locked.apps().collect();
        for app in apps {
            let settle = |gate: &mut Gate| gate.settle(now, &Survey::default());
            if locked.update(app, settle).flatten().is_some() {
                self.desk.note_change(now);
            }
        }
    }

    /// Whether there is anything of that. Nobody has the zone's lock.
    fn is_due(&self) -> bool {
        let locked = self.zone.lock();
        let gates = locked.apps().filter_map(|app| locked.gate(app));
        gates.map(Gate::due).any(|due| due <= Clocks::now())
    }

    fn make(&self, call: usize) {
        agreement::change(self, |knows_all| {
            let Call { app, effect, .. } = self.stage.calls.borrow()[call];
            let mut locked = self.zone.lock();
            let app = match effect {
                Effect::Open if knows_all => locked.find(APPS[app]),
                _ => Some(locked.find_or_create(APPS[app], usize::MAX).expect("there is room")),
            };
            app.map(|app| locked.update(app, |gate| effect.change(gate)));
            self.made.borrow_mut().push((call, self.desk.changes()));
            self.stage.tell(|| format!("{} makes call {call}", self.pid));
        });
    }

    fn answer(&self) {
        let answered = Some(self.stage.step.get());
        self.made.borrow_mut().retain(|(call, changes)| {
            let settled = self.desk.is_settled(*changes);
            if settled {
                self.stage.calls.borrow_mut()[*call].answered = answered;
            }
            !settled
        });
    }

    /// The file was replaced.
    pub fn hear(&self) {
        self.news.set(true);
    }

    pub fn ring(&self) {
        self.rung.set(true);
    }

    pub fn exit(&self) {
        self.exits.set(true);
    }

    pub fn due(&self) -> Moment {
        self.desk.due()
    }

    /// Whether there is something to do. What falls due by itself is seen while all in this nginx rest.
    pub fn is_ready(&self, all_rest: impl FnOnce() -> bool) -> bool {
        let signals = self.news.get() || self.rung.get() || self.exits.get();
        let comes = !self.inbox.borrow().is_empty() || self.desk.due() <= Clocks::now();
        self.at_work.get() || signals || comes || (all_rest() && self.is_due())
    }

    pub fn is_at_work(&self) -> bool {
        self.at_work.get() || self.thread.borrow().is_some()
    }
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

impl Office for Worker {
    type FileLock = Locked;
    type Writing = Thread;

    fn desk(&self) -> &Desk<Thread> {
        &self.desk
    }

    fn try_lock(&self) -> io::Result<Option<Locked>> {
        Ok(self.stage.disk.try_lock())
    }

    fn lock(&self) -> io::Result<Locked> {
        for _ in 0..LAST_TRIES {
            if let Some(lock) = self.stage.disk.try_lock() {
                return Ok(lock);
            }
            stop();
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn read(&self) -> Result<Option<Saved>, String> {
        Ok(self.stage.disk.read())
    }

    fn put_aside(&self, problem: String) {
        panic!("{problem}");
    }

    fn write(&self, draft: Draft<Lock>, lock: Locked) -> io::Result<Thread> {
        let (thread, stage) = (Thread::default(), Rc::clone(&self.stage));
        let (pid, result) = (self.pid, thread.clone());
        let write = move || {
            let written = draft.write(&*stage);
            drop(lock);
            *result.0.borrow_mut() = Some(written);
            stage.ring(|worker| worker.pid == pid);
        };
        *self.thread.borrow_mut() = Some(Fiber::new(write));
        Ok(thread)
    }

    fn arm(&self) {}

    /// What could not be written is answered as well, but it may be lost.
    fn report(&self, report: Report<'_>) {
        if let Report::NotWritten(_) = report {
            self.made.borrow_mut().clear();
        }
    }
}
