//! What the workers of a simulation share: the zone, the time, the bells.

use std::alloc::{Layout, alloc_zeroed};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ptr::NonNull;
use std::time::Duration;

use parking_lot::RawMutex;
use parking_lot::lock_api::RawMutex as _;

use super::ledger::{Ledger, Pid};
use super::plan::Plan;
use super::rng::Rng;
use crate::gate::time::Moment;
use crate::shm::{Liveness, Zone};

/// How many names of apps there are: those that are paused come first.
pub const NAMES: usize = 8;

/// Room for five apps or so.
const ZONE_SIZE: usize = 48 * 1024;

const PAGE: usize = 4096;

/// As `nginx/worker.rs` has it.
pub const LEASE: Duration = Duration::from_secs(1);

/// For how long nobody who stays is to be seen before a worker may take that for the end of nginx.
const ABANDONED: Duration = Duration::from_secs(5);

pub struct World {
    pub zone: Zone<RawMutex>,
    pub rng: Rng,
    pub plan: Plan,
    pub ledger: RefCell<Ledger>,
    /// No fault has happened that a lost wake could be put down to.
    pub calm: Cell<bool>,
    /// Nothing more is broken.
    pub settling: Cell<bool>,
    /// nginx is told to quit.
    pub quitting: Cell<bool>,
    /// When a worker that stays was last there.
    pub staffed: Cell<Moment>,
    last_id: Cell<u64>,
    now: Cell<Moment>,
    bells: RefCell<BTreeSet<usize>>,
}

thread_local! {
    static ALIVE: RefCell<BTreeSet<Pid>> = const { RefCell::new(BTreeSet::new()) };
    /// One simulation at a time has it, and all that run on this thread use the same.
    static MEMORY: NonNull<u8> = allocate();
}

fn allocate() -> NonNull<u8> {
    let layout = Layout::from_size_align(ZONE_SIZE, PAGE).expect("a page is a power of two");
    // SAFETY: the size is not zero. The memory is never given back.
    NonNull::new(unsafe { alloc_zeroed(layout) }).expect("there is memory")
}

impl World {
    pub fn new(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let plan = Plan::new(&rng, seed % 2 == 1);
        let memory = MEMORY.with(|memory| *memory);
        // SAFETY: the memory stays, and the simulation that had it before is over.
        let zone = unsafe { Zone::create(memory, ZONE_SIZE, plan.workers, RawMutex::INIT) };
        ALIVE.with_borrow_mut(BTreeSet::clear);
        let start = Moment::from_micros(1_000_000_000);
        Self {
            zone: zone.expect("the zone is large enough"),
            rng,
            plan,
            ledger: RefCell::new(Ledger::new(NAMES)),
            calm: Cell::new(true),
            settling: Cell::new(false),
            quitting: Cell::new(false),
            staffed: Cell::new(start),
            last_id: Cell::new(0),
            now: Cell::new(start),
            bells: RefCell::default(),
        }
    }

    pub fn now(&self) -> Moment {
        self.now.get()
    }

    /// A number for a request or a caller.
    pub fn new_id(&self) -> u64 {
        self.last_id.set(self.last_id.get() + 1);
        self.last_id.get()
    }

    pub fn pass_time(&self, time: Duration) {
        self.now.set(self.now().plus(time));
    }

    /// Whether a worker that exits has reason to take nginx for ended.
    pub fn has_ended(&self) -> bool {
        self.quitting.get() || self.now().since(self.staffed.get()) >= ABANDONED
    }

    pub fn name(app: usize) -> String {
        format!("app-{app}")
    }

    pub fn app_named(name: &[u8]) -> usize {
        (0..NAMES).find(|app| Self::name(*app).as_bytes() == name).expect("a name of ours")
    }

    pub fn ring(&self, slots: impl Iterator<Item = usize>) {
        for slot in slots {
            if self.plan.lost_rings && !self.settling.get() && self.rng.chance(30) {
                self.calm.set(false);
            } else {
                self.bells.borrow_mut().insert(slot);
            }
        }
    }

    /// nginx calls the handler of a bell when it tells its worker to exit.
    pub fn nudge(&self, slot: usize) {
        self.bells.borrow_mut().insert(slot);
    }

    pub fn rings(&self, slot: usize) -> bool {
        self.bells.borrow().contains(&slot)
    }

    /// Whether somebody has rung for a slot since the last time that this was asked.
    pub fn hear(&self, slot: usize) -> bool {
        self.bells.borrow_mut().remove(&slot)
    }

    pub fn liveness(&self) -> Liveness {
        Liveness { now: self.now(), lease: LEASE, exists, started: |_| None }
    }

    pub fn set_alive(&self, pid: Pid, alive: bool) {
        ALIVE.with_borrow_mut(|all| if alive { all.insert(pid) } else { all.remove(&pid) });
    }
}

pub fn exists(pid: Pid) -> bool {
    ALIVE.with_borrow(|all| all.contains(&pid))
}
