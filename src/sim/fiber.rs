//! Workers as coroutines: each does something, stops before it touches what others see, and goes on
//! when it is its turn. Killing one is unwinding it, so that what it has locked is opened, as nginx's
//! master does it.

use std::cell::{Cell, RefCell};
use std::thread;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::ledger::Pid;
use super::races::{Races, note};
use crate::shared::hooks::{BETWEEN, SEES_ALL, see};

const STACK: usize = 256 * 1024;

thread_local! {
    /// The coroutine that runs on this thread.
    static RUNNING: Cell<*const Yielder<(), ()>> = const { Cell::new(std::ptr::null()) };
    static WORKER: Cell<Pid> = const { Cell::new(0) };
    /// How many accesses the worker goes past before it stops, and how many it has gone past.
    static LIMIT: Cell<u64> = const { Cell::new(0) };
    static PASSED: Cell<u64> = const { Cell::new(0) };
    /// Where alone a worker stops, if that is said.
    pub static RACES: RefCell<Option<Races>> = const { RefCell::new(None) };
    /// Those of workers that are no more.
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
    /// What is done was done before, in the same way.
    pub static REPEATS: Cell<bool> = const { Cell::new(false) };
}

pub struct Fiber(Coroutine<(), (), (), DefaultStack>);

impl Fiber {
    pub fn new(life: impl FnOnce() + 'static) -> Self {
        BETWEEN.set(Some(between));
        let stack = STACKS.with_borrow_mut(Vec::pop);
        let stack = stack.unwrap_or_else(|| DefaultStack::new(STACK).expect("there is memory"));
        Self(Coroutine::with_stack(stack, |yielder, ()| {
            RUNNING.set(yielder);
            life();
        }))
    }

    /// Goes on, up to the access behind so many others; says whether it is over.
    pub fn run(&mut self, worker: Pid, accesses: u64) -> bool {
        WORKER.set(worker);
        LIMIT.set(accesses);
        PASSED.set(0);
        let result = self.0.resume(());
        RUNNING.set(std::ptr::null());
        matches!(result, CoroutineResult::Return(()))
    }

    /// Dies where it stands.
    pub fn kill(mut self) {
        RUNNING.set(std::ptr::null());
        self.0.force_unwind();
        STACKS.with_borrow_mut(|stacks| stacks.push(self.0.into_stack()));
    }
}

/// How many accesses the worker that ran last has gone past.
pub fn passed() -> u64 {
    PASSED.get()
}

/// Lets others run. Nobody else comes to the next line first.
pub fn stop() {
    let running = RUNNING.get();
    if running.is_null() || thread::panicking() {
        return;
    }
    see(2);
    // SAFETY: the yielder is that of the coroutine that runs this, and lives as long as that does.
    unsafe { (*running).suspend(()) };
    RUNNING.set(running);
}

/// Does something that is no worker's doing, in the middle of what one does.
pub fn aside(action: impl FnOnce()) {
    let running = RUNNING.replace(std::ptr::null());
    let sees_all = SEES_ALL.replace(false);
    action();
    SEES_ALL.set(sees_all);
    RUNNING.set(running);
}

/// Whether a worker runs, and not the simulation itself.
pub fn is_worker() -> bool {
    !RUNNING.get().is_null()
}

/// The worker that runs; none if it is the simulation itself.
pub fn this_worker() -> Option<Pid> {
    is_worker().then(|| WORKER.get())
}

fn between(at: usize, changes: bool) {
    let Some(worker) = this_worker() else { return };
    let is_race = |races: &mut Option<Races>| Some(races.as_mut()?.is_race(worker, at, changes));
    let is_race = RACES.with_borrow_mut(is_race);
    if is_race.unwrap_or(LIMIT.get() == PASSED.get()) {
        stop();
        note(at, changes);
    } else {
        PASSED.set(PASSED.get() + 1);
    }
}
