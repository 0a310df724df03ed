//! The workers of a simulation, and what is done to them.

use std::hash::Hash;
use std::mem;
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use super::fiber::{Fiber, REPEATS, passed};
use super::host::{Event, Sim, Worker};
use super::ledger::{Id, Pid, Place};
use super::world::World;
use crate::gate::lane::Lane;
use crate::gate::time::Moment;
use crate::shared::hooks::{SEEN, SEES_ALL};

pub struct Crew {
    world: Rc<World>,
    pub members: Vec<Member>,
    last_pid: Pid,
    /// All that workers read is kept in mind.
    pub sees_all: bool,
}

pub struct Member {
    pub worker: Rc<Worker>,
    /// `None` once it is killed, and its master has not noticed.
    life: Option<Fiber>,
    stopped: bool,
    /// It waits for the zone's lock.
    waits: bool,
    /// All that it has read.
    seen: u64,
}

/// A worker that went on: how many accesses it has gone past, and all that it had read by then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    passed: u64,
    seen: u64,
}

impl Member {
    /// Of the one that ran last.
    pub fn trace(&self) -> Trace {
        Trace { passed: passed(), seen: self.seen }
    }

    pub fn runs(&self) -> bool {
        self.life.is_some() && !self.stopped
    }

    /// The same number for one that goes on in the same way, if the world is the same.
    pub fn fingerprint(&self) -> impl Hash + use<> {
        // What comes from others is there before the worker knows of it.
        let host = &self.worker.host;
        let inbox = format!("{:?}", host.inbox.borrow());
        let news = (inbox, host.exiting.get(), self.worker.knows_all_changes());
        (self.seen, news, self.waits, self.life.is_none())
    }

    pub fn is_killed(&self) -> bool {
        self.life.is_none()
    }

    /// Whether new requests come to it.
    pub fn listens(&self) -> bool {
        !self.is_killed() && !self.worker.host.exiting.get()
    }

    pub fn listens_and_runs(&self) -> bool {
        self.listens() && self.runs()
    }
}

impl Crew {
    pub fn new(world: &Rc<World>) -> Self {
        let mut crew =
            Self { world: Rc::clone(world), members: Vec::new(), last_pid: 0, sees_all: false };
        world.zone.next_cycle();
        crew.start(world.plan.workers);
        crew
    }

    /// Starts workers in the lowest slots that are free, as nginx does.
    pub fn start(&mut self, count: usize) {
        for _ in 0..count {
            let taken = |slot: &usize| self.members.iter().any(|m| m.worker.slot == *slot);
            let first = self.world.plan.first_slot;
            let mut slots = (first..).step_by(self.world.plan.slots_apart);
            let slot = slots.find(|slot| !taken(slot)).expect("there are slots");
            self.last_pid += 1;
            let worker = Sim::start(&self.world, slot, self.last_pid);
            self.world.set_alive(self.last_pid, true);
            let alive = Rc::clone(&worker);
            let life = Some(Fiber::new(move || alive.live()));
            self.members.push(Member { worker, life, stopped: false, waits: false, seen: 0 });
        }
    }

    /// A new configuration: new workers, and the old ones finish.
    pub fn reload(&mut self) {
        self.world.zone.next_cycle();
        self.quit();
        self.start(self.world.plan.workers);
    }

    pub fn quit(&self) {
        for member in &self.members {
            member.worker.host.exiting.set(true);
            self.world.nudge(member.worker.host.slot);
        }
    }

    /// Those who were not told to go die, and are not replaced.
    pub fn lose_newest(&mut self) {
        while let Some(index) = self.indexes(Member::listens).first() {
            self.kill(*index);
            let dead = self.members.remove(*index);
            self.world.set_alive(dead.worker.host.pid, false);
        }
    }

    pub fn ready(&self) -> Vec<usize> {
        let is_ready = |member: &Member| {
            member.runs() && member.worker.host.is_ready() && !(member.waits && World::is_locked())
        };
        self.indexes(is_ready)
    }

    pub fn indexes(&self, is: impl Fn(&Member) -> bool) -> Vec<usize> {
        (0..self.members.len()).filter(|index| is(&self.members[*index])).collect()
    }

    /// Lets a worker go on, up to some access to what others see.
    pub fn run(&mut self, index: usize) {
        let grain = self.world.plan.grain;
        let accesses = if grain == 0 { u64::MAX } else { self.world.rng.below(grain) };
        SEEN.set(self.members[index].seen);
        SEES_ALL.set(self.sees_all);
        self.run_past(index, accesses);
        SEES_ALL.set(false);
    }

    /// The same once more, as is known from the time before.
    pub fn repeat(&mut self, index: usize, trace: &Trace) {
        REPEATS.set(true);
        self.run_past(index, trace.passed);
        REPEATS.set(false);
        self.members[index].seen = trace.seen;
    }

    fn run_past(&mut self, index: usize, accesses: u64) {
        let member = &mut self.members[index];
        let Some(life) = &mut member.life else { return };
        let ended = life.run(member.worker.host.pid, accesses);
        member.seen = SEEN.get();
        member.waits = World::waits_for_lock();
        if ended {
            let pid = member.worker.host.pid;
            self.members.remove(index);
            self.world.set_alive(pid, false);
        }
    }

    pub fn kill(&mut self, index: usize) {
        let member = &mut self.members[index];
        let Some(life) = member.life.take() else { return };
        life.kill();
        self.world.calm.set(false);
        self.world.ledger.borrow_mut().die(member.worker.host.pid);
        if !World::is_locked() {
            self.world.look_at_names();
            self.world.note_torn();
        }
    }

    /// The master notices that a worker was killed; mostly it replaces it.
    pub fn reap(&mut self, index: usize) {
        let member = self.members.remove(index);
        self.world.set_alive(member.worker.host.pid, false);
        if !member.worker.host.exiting.get() && self.world.rng.chance(80) {
            self.start(1);
        }
    }

    /// Not one that has the lock: all would wait for it.
    pub fn stop(&mut self, index: usize) {
        if World::is_locked() {
            return;
        }
        self.members[index].stopped = true;
        self.members[index].worker.host.stop();
        self.world.calm.set(false);
    }

    pub fn resume(&mut self, index: usize) {
        if mem::take(&mut self.members[index].stopped) {
            self.members[index].worker.host.resume();
        }
    }

    pub fn resume_all(&mut self) {
        for index in 0..self.members.len() {
            self.resume(index);
        }
    }

    /// Nobody is dead without that it is known.
    pub fn reap_all(&mut self) {
        while let Some(index) = self.indexes(Member::is_killed).first() {
            self.reap(*index);
        }
    }

    pub fn pids(&self, is: impl Fn(&Member) -> bool) -> Vec<Pid> {
        self.members
            .iter()
            .filter(|member| is(member))
            .map(|member| member.worker.host.pid)
            .collect()
    }

    pub fn pass_time(&self, time: Duration) {
        self.world.pass_time(time);
        if self.members.iter().any(|member| member.listens() && member.worker.host.entered.get()) {
            self.world.staffed.set(self.world.now());
        }
        for member in self.members.iter().filter(|member| !member.is_killed()) {
            let worker = &member.worker.host;
            self.world.ledger.borrow_mut().pass_by(worker.pid, worker.is_passed_by());
        }
    }

    /// When the first timer of a worker that runs goes off.
    pub fn next_timer(&self) -> Moment {
        let running = self.members.iter().filter(|member| member.runs());
        running.map(|member| member.worker.host.next_timer()).fold(Moment::NEVER, Ord::min)
    }

    /// How many workers are about to count a request in this lane, or to take that back.
    pub fn passing(&self, lane: &Lane) -> u32 {
        let passes = |member: &&Member| {
            member.worker.host.passing.get().is_some_and(|passing| ptr::eq(passing, lane))
        };
        self.members.iter().filter(passes).count() as u32
    }

    /// Somebody's request that is in one of these places: often the first or the last one.
    pub fn request_at(&self, places: &[Place]) -> Option<(Rc<Worker>, Id)> {
        let rng = &self.world.rng;
        let alive = self.indexes(|member| !member.is_killed());
        let worker = &self.members[*alive.get(rng.index(alive.len()))?].worker;
        let ledger = self.world.ledger.borrow();
        let there = worker.host.requests.borrow();
        let there: Vec<Id> = there
            .keys()
            .filter(|id| ledger.records.get(id).is_some_and(|r| places.contains(&r.place)))
            .copied()
            .collect();
        let last = there.len().checked_sub(1)?;
        let chosen = rng.one_of(&[0, last / 2, last, rng.index(there.len())]);
        Some((Rc::clone(worker), there[chosen]))
    }

    pub fn send(worker: &Worker, event: Event) {
        worker.host.inbox.borrow_mut().push_back(event);
    }

    /// All tasks end, and let the world go.
    pub fn disband(&mut self) {
        for member in mem::take(&mut self.members) {
            member.life.into_iter().for_each(Fiber::kill);
        }
    }
}
