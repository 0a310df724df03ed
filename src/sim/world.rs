//! What the workers of a simulation share: the zone, the time, the bells.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};
use std::time::Duration;

use parking_lot::lock_api::{GuardNoSend, RawMutex};

use super::fiber::{aside, is_worker, stop, this_worker};
use super::host::{Passage, Sim};
use super::ledger::{Id, Ledger, Pid, Take};
use super::plan::Plan;
use super::races::{Books, note};
use super::rng::Rng;
use crate::gate::Gate;
use crate::gate::time::Moment;
use crate::shared::hooks::see;
use crate::shared::touch;
use crate::shm::{self, AppId, Liveness, SLOTS, Zone};
use crate::worker::{Ending, Fact, LEASE};

/// How many names of apps there are: those that are paused come first.
pub const NAMES: usize = 8;

/// Room for five apps or so.
const ZONE_SIZE: usize = 48 * 1024;

/// For how long nobody who stays is to be seen before a worker may take that for the end of nginx.
const ABANDONED: Duration = Duration::from_secs(5);

/// What bells are rung or heard by, to be named as places in memory.
static BELLS: [u8; SLOTS] = [0; SLOTS];

/// Where a worker is that has given the lock back.
static BEHIND_LOCK: u8 = 0;

/// The zone's lock. Who waits for it lets others run.
pub struct Lock(Cell<bool>);

// SAFETY: a simulation runs in one thread.
unsafe impl Sync for Lock {}

// SAFETY: nobody gets it before it was given back; only coroutines of one thread ask for it.
unsafe impl RawMutex for Lock {
    // Made anew for each zone.
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Self = Self(Cell::new(false));

    type GuardMarker = GuardNoSend;

    fn lock(&self) {
        touch(self, true);
        while self.0.replace(true) {
            assert!(is_worker(), "somebody has the lock");
            assert_ne!(HOLDER.get(), this_worker(), "a worker waits for the lock that it has");
            WAITS.set(true);
            stop();
            WAITS.set(false);
            note(ptr::from_ref(self) as usize, true);
        }
        LOCKED.set(true);
        HOLDER.set(this_worker());
    }

    fn try_lock(&self) -> bool {
        !self.0.replace(true)
    }

    unsafe fn unlock(&self) {
        self.0.set(false);
        LOCKED.set(false);
        note(ptr::from_ref(self) as usize, true);
        if is_worker() && !std::thread::panicking() {
            let world = HERE.with_borrow(Weak::upgrade);
            aside(|| world.iter().for_each(|world| world.is_unlocked()));
        }
        touch(&BEHIND_LOCK, false);
    }
}

pub struct World {
    pub zone: Zone<Lock>,
    pub rng: Rng,
    pub plan: Plan,
    pub ledger: Books,
    /// No fault has happened that a lost wake could be put down to.
    pub calm: Cell<bool>,
    /// Nothing more is broken.
    pub settling: Cell<bool>,
    /// nginx is told to quit.
    pub quitting: Cell<bool>,
    /// Processes that serve requests which nobody counts: another nginx, that takes over or has done so.
    pub uncounted: Cell<usize>,
    /// When the last of them went.
    pub uncounted_until: Cell<Moment>,
    /// When a worker that stays was last there.
    pub staffed: Cell<Moment>,
    last_id: Cell<u64>,
    now: Cell<Moment>,
    bells: RefCell<BTreeSet<usize>>,
    /// Which app has which place in the zone.
    places: RefCell<BTreeMap<usize, usize>>,
    /// The apps whose backends are down.
    pub down: RefCell<BTreeSet<usize>>,
}

thread_local! {
    /// Whether somebody has the lock.
    static LOCKED: Cell<bool> = const { Cell::new(false) };
    /// The worker that has it, or had it last.
    static HOLDER: Cell<Option<Pid>> = const { Cell::new(None) };
    static HERE: RefCell<Weak<World>> = const { RefCell::new(Weak::new()) };
    /// Whether the worker that ran last waits for it.
    static WAITS: Cell<bool> = const { Cell::new(false) };
    static ALIVE: RefCell<BTreeSet<Pid>> = const { RefCell::new(BTreeSet::new()) };
    /// For two zones. One simulation at a time has it, and all that run on this thread use the same.
    static MEMORY: [NonNull<[u8]>; 2] = [(); 2].map(|()| NonNull::from(shm::memory(ZONE_SIZE)));
}

/// A zone that is new, for so many workers, in the place of the one that was there before.
pub fn new_zone(place: usize, workers: usize) -> Zone<Lock> {
    // SAFETY: the memory stays, and all workers that had the zone before are gone.
    let memory = MEMORY.with(|memory| unsafe { &mut *memory[place].as_ptr() });
    Zone::create(memory, workers, Lock::INIT).expect("the zone is large enough")
}

impl World {
    pub fn new(seed: u64) -> Rc<Self> {
        let rng = Rng::new(seed);
        let plan = Plan::new(&rng, seed % 2 == 1);
        Self::with_plan(rng, plan)
    }

    pub fn with_plan(rng: Rng, plan: Plan) -> Rc<Self> {
        let zone = new_zone(0, plan.workers);
        ALIVE.with_borrow_mut(BTreeSet::clear);
        LOCKED.set(false);
        WAITS.set(false);
        let start = Moment::from_micros(1_000_000_000);
        let world = Rc::new(Self {
            zone,
            rng,
            plan,
            ledger: Books::new(Ledger::new(NAMES)),
            calm: Cell::new(true),
            settling: Cell::new(false),
            quitting: Cell::new(false),
            uncounted: Cell::new(0),
            uncounted_until: Cell::new(start),
            staffed: Cell::new(start),
            last_id: Cell::new(0),
            now: Cell::new(start),
            bells: RefCell::default(),
            places: RefCell::default(),
            down: RefCell::default(),
        });
        HERE.set(Rc::downgrade(&world));
        world
    }

    pub fn now(&self) -> Moment {
        see(self.now.get().as_micros());
        self.now.get()
    }

    /// A number for a request or a caller.
    pub fn new_id(&self) -> u64 {
        self.ledger.touch(true);
        self.last_id.set(self.last_id.get() + 1);
        self.last_id.get()
    }

    pub fn pass_time(&self, time: Duration) {
        self.now.set(self.now().plus(time));
    }

    pub fn set_uncounted(&self, count: usize) {
        self.uncounted.set(count);
        self.uncounted_until.set(self.now());
    }

    /// Whether a worker that exits has reason to take nginx for ended.
    pub fn has_ended(&self) -> bool {
        self.quitting.get() || self.now().since(self.staffed.get()) >= ABANDONED
    }

    pub fn is_locked() -> bool {
        LOCKED.get()
    }

    /// Whether the worker that ran last waits for the lock.
    pub fn waits_for_lock() -> bool {
        WAITS.replace(false)
    }

    /// Keeps account of what truly happens.
    pub fn note(&self, worker: &Sim, fact: Fact<'_, Sim>) {
        let mut ledger = self.ledger.borrow_mut();
        ledger.watch_releases(self.now());
        let id = |passage: &Passage| passage.own.arriving.id;
        let ids =
            |batch: &mut dyn Iterator<Item = &Passage>| -> Vec<Id> { batch.map(id).collect() };
        match fact {
            Fact::Through { passage, attributed } => {
                let late = passage.why_let_go() == Ending::TimedOut;
                let excused = late || passage.own.arriving.bypasses;
                ledger.enter(id(passage), attributed, excused);
            }
            Fact::Bypasses(passage) => ledger.bypass(id(passage)),
            Fact::Arrived { passage, arrival, max_held } => {
                ledger.meet(id(passage), arrival, max_held);
            }
            Fact::Disabled { app, change, now, policy, canary } => {
                ledger.disable(self.app_at(app), change, now, *policy, canary);
            }
            Fact::Settled { app, change, now } => ledger.change(self.app_at(app), change, now),
            Fact::LetGo { queue, now, canary, leaving } => {
                let ids = ids(&mut queue.batch());
                let app = self.app_at(queue.app);
                if !ids.is_empty() {
                    let (ids, surveyed) = (&ids[..], worker.surveyed.get());
                    ledger.take(&Take { app, ids, now, surveyed, canary: canary > 0, leaving });
                }
            }
            Fact::Refused(passage) => ledger.refuse(id(passage)),
            Fact::Withdraws(passage) => ledger.withdraw(id(passage)),
            Fact::Withdrawn(passage, why) => ledger.withdrawn(id(passage), why),
            Fact::HoldEnded(passage, how) => ledger.end_hold(id(passage), how),
            Fact::Left(passage) => ledger.leave(id(passage), self.now()),
            Fact::Beats { .. } => {}
            Fact::TakenBack { passage, failure, taken, now, closed } => {
                let ids = (passage.own.app.get(), id(passage));
                ledger.take_back(ids, failure, taken, (now, closed));
            }
            Fact::Probes { app, now } => {
                ledger.probe(self.app_at(app), now, self.plan.probes);
            }
            Fact::CanaryOver { passage, outcome, .. } => ledger.end_canary(id(passage), outcome),
        }
    }

    /// The name of an app by its place in the zone.
    pub fn app_at(&self, app: AppId) -> usize {
        // One that was made in this very section is not among the places yet.
        let known = self.places.borrow().get(&app.index()).copied();
        known.expect("the app is known")
    }

    /// A worker has given the lock back: what it has done is there for all to see.
    fn is_unlocked(&self) {
        self.look_at_names();
        self.ledger.borrow_mut().show_states();
    }

    /// A worker was killed, perhaps with the lock, and before it had shown a state to those who look
    /// without. Nobody was told of the change; whoever has to do with the app next shows it.
    pub fn note_torn(&self) {
        let locked = self.zone.lock();
        for app in locked.apps() {
            let Some(name) = Self::app_named(locked.name(app)) else { continue };
            let account = &mut self.ledger.borrow_mut().accounts[name];
            account.torn |= self.zone.state(app) != account.state;
        }
    }

    /// Looks which apps the zone knows, when nobody has the lock: one that it has forgotten begins anew.
    pub fn look_at_names(&self) {
        let locked = self.zone.lock();
        let named = |app: AppId| Some((app.index(), Self::app_named(locked.name(app))?));
        let places: BTreeMap<usize, usize> = locked.apps().filter_map(named).collect();
        drop(locked);
        for (place, app) in self.places.borrow().iter() {
            if places.get(place) != Some(app) {
                self.ledger.borrow_mut().forget_app(*app);
            }
        }
        *self.places.borrow_mut() = places;
    }

    /// The same number for a world that goes on in the same way. Whoever has the lock has seen what there was
    /// under it, and does all the rest.
    pub fn fingerprint(&self, hasher: &mut impl Hasher) {
        let content = (!Self::is_locked()).then(|| self.zone.lock().fingerprint());
        (content, &*self.bells.borrow(), self.now(), &*self.down.borrow()).hash(hasher);
        self.zone.fingerprint(hasher);
    }

    pub fn gate(&self, app: AppId) -> Gate {
        self.zone.lock().gate(app).expect("the app is there").clone()
    }

    pub fn name(app: usize) -> String {
        format!("app-{app}")
    }

    /// `None` for a record whose worker was killed before it had written the name.
    pub fn app_named(name: &[u8]) -> Option<usize> {
        (0..NAMES).find(|app| Self::name(*app).as_bytes() == name)
    }

    pub fn ring(&self, slots: impl Iterator<Item = usize>) {
        for slot in slots {
            touch(&BELLS[slot], true);
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
        touch(&BELLS[slot], true);
        let rings = self.bells.borrow_mut().remove(&slot);
        see(u64::from(rings));
        rings
    }

    pub fn liveness(&self) -> Liveness {
        Liveness { now: self.now(), lease: LEASE, exists, started: |_| None }
    }

    pub fn set_alive(&self, pid: Pid, alive: bool) {
        ALIVE.with_borrow_mut(|all| if alive { all.insert(pid) } else { all.remove(&pid) });
    }
}

pub fn exists(pid: Pid) -> bool {
    let exists = ALIVE.with_borrow(|all| all.contains(&pid));
    see(u64::from(exists));
    exists
}
