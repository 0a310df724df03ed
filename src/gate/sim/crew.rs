//! The workers of a simulation, and what is done to them.

use std::mem;
use std::rc::Rc;
use std::time::Duration;

use super::ledger::{Id, Pid, Place};
use super::task::{Task, step};
use super::worker::{Event, Worker};
use super::world::{LEASE, World};
use crate::gate::time::Moment;

pub struct Crew {
    world: Rc<World>,
    pub members: Vec<Member>,
    last_pid: Pid,
}

pub struct Member {
    pub worker: Rc<Worker>,
    /// `None` once it is killed, and its master has not noticed.
    task: Option<Task>,
    stopped: bool,
}

impl Member {
    pub fn runs(&self) -> bool {
        self.task.is_some() && !self.stopped
    }

    pub fn is_killed(&self) -> bool {
        self.task.is_none()
    }

    /// Whether new requests come to it.
    pub fn listens(&self) -> bool {
        !self.is_killed() && !self.worker.exiting.get()
    }

    pub fn listens_and_runs(&self) -> bool {
        self.listens() && self.runs()
    }
}

impl Crew {
    pub fn new(world: &Rc<World>) -> Self {
        let mut crew = Self { world: Rc::clone(world), members: Vec::new(), last_pid: 0 };
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
            let worker = Rc::new(Worker::new(Rc::clone(&self.world), slot, self.last_pid));
            self.world.set_alive(worker.pid, true);
            let task: Task = Box::pin(Rc::clone(&worker).live());
            self.members.push(Member { worker, task: Some(task), stopped: false });
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
            member.worker.exiting.set(true);
            self.world.nudge(member.worker.slot);
        }
    }

    /// Those who were not told to go die, and are not replaced.
    pub fn lose_newest(&mut self) {
        while let Some(index) = self.indexes(Member::listens).first() {
            self.kill(*index);
            let dead = self.members.remove(*index);
            self.world.set_alive(dead.worker.pid, false);
        }
    }

    pub fn ready(&self) -> Vec<usize> {
        let is_ready = |member: &Member| member.runs() && member.worker.is_ready();
        self.indexes(is_ready)
    }

    pub fn indexes(&self, is: impl Fn(&Member) -> bool) -> Vec<usize> {
        (0..self.members.len()).filter(|index| is(&self.members[*index])).collect()
    }

    /// Lets a worker go on up to its next pause.
    pub fn run(&mut self, index: usize) {
        let member = &mut self.members[index];
        let Some(task) = &mut member.task else { return };
        let ended = step(task);
        if member.worker.falls.get() {
            self.kill(index);
        } else if ended {
            let pid = member.worker.pid;
            self.members.remove(index);
            self.world.set_alive(pid, false);
        }
    }

    pub fn kill(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.task = None;
        self.world.calm.set(false);
        self.world.ledger.borrow_mut().die(member.worker.pid);
    }

    /// The master notices that a worker was killed; mostly it replaces it.
    pub fn reap(&mut self, index: usize) {
        let member = self.members.remove(index);
        self.world.set_alive(member.worker.pid, false);
        if !member.worker.exiting.get() && self.world.rng.chance(80) {
            self.start(1);
        }
    }

    pub fn stop(&mut self, index: usize) {
        self.members[index].stopped = true;
        self.members[index].worker.was_stopped.set(true);
        self.world.calm.set(false);
    }

    pub fn resume(&mut self, index: usize) {
        self.members[index].stopped = false;
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
        self.members.iter().filter(|member| is(member)).map(|member| member.worker.pid).collect()
    }

    pub fn pass_time(&self, time: Duration) {
        self.world.pass_time(time);
        if self.members.iter().any(|member| member.listens() && member.worker.entered.get()) {
            self.world.staffed.set(self.world.now());
        }
        for member in self.members.iter().filter(|member| !member.is_killed()) {
            let worker = &member.worker;
            let lease = LEASE.max(4 * worker.interval.get());
            if worker.was_stopped.get() && self.world.now().since(worker.last_beat.get()) > lease {
                self.world.ledger.borrow_mut().pass_by(worker.pid, true);
            }
        }
    }

    /// When the first timer of a worker that runs goes off.
    pub fn next_timer(&self) -> Moment {
        let running = self.members.iter().filter(|member| member.runs());
        running.map(|member| member.worker.next_timer()).fold(Moment::NEVER, Ord::min)
    }

    /// Somebody's request that is in one of these places: often the first or the last one.
    pub fn request_at(&self, places: &[Place]) -> Option<(Rc<Worker>, Id)> {
        let rng = &self.world.rng;
        let alive = self.indexes(|member| !member.is_killed());
        let worker = &self.members[*alive.get(rng.index(alive.len()))?].worker;
        let ledger = self.world.ledger.borrow();
        let there = worker.requests.borrow();
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
        worker.inbox.borrow_mut().push_back(event);
    }

    /// All tasks end, and let the world go.
    pub fn disband(&mut self) {
        mem::take(&mut self.members);
    }
}
