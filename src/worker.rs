//! A worker: its place in the zone, the requests that it holds, and when it looks at the zone.
//!
//! It knows neither nginx nor the simulation. Both are a [`Host`] to it, and run this very code.

mod admission;
mod calls;
mod ending;
#[cfg(test)]
mod fingerprint;
mod host;
mod list;
mod news;
mod outage;
mod passage;
mod queue;
mod release;
mod waiting;

use core::cell::{Cell, OnceCell, RefCell};
use core::time::Duration;

use crate::gate::lane::{Survey, Ticket};
use crate::gate::time::Moment;
use crate::gate::{BATCH, Gate, State};
use crate::shm::{AppId, Entry, WATCH_INTERVAL, Watch, Zone};
pub use admission::{Decision, Place};
pub use calls::{Changed, If};
pub use host::{Fact, Host, Step, Task, Told, When};
pub use outage::Patience;
pub use passage::{Ending, Passage, Stage};
use queue::Queue;
pub use release::Going;
pub use waiting::{Awaited, Found};

/// For how long a worker that shows no sign of life keeps its turn in a release.
pub const LEASE: Duration = Duration::from_secs(1);

/// The least time to the timer. A host may run timers until none is due, and all else after them: one that
/// is set for now, as what has fallen due waits for the loop to turn, would keep it from turning.
const TICK: Duration = Duration::from_millis(1);

pub struct Worker<H: Host> {
    pub host: H,
    pub zone: Zone<H::Lock>,
    pub slot: usize,
    /// The number of the configuration that it belongs to.
    cycle: u32,
    /// Where the apps are whose names stand in the configuration, once they are known.
    entries: Vec<Cell<Option<Entry>>>,
    /// By the app's place in the zone.
    queues: Vec<OnceCell<Box<Queue<H>>>>,
    /// Requests held here, in all apps.
    holding: Cell<usize>,
    interval: Cell<Duration>,
    look: H::Event,
    /// How many requests may still be let go before other clients are served, of all apps together.
    allowance: Cell<u32>,
    /// Comes when they have been.
    refill: H::Event,
    /// Whether it is posted.
    refills: Cell<bool>,
    /// How many came to be held since then.
    arrived: Cell<u32>,
    /// Requests in flight here that were held and released.
    released: Cell<u32>,
    /// Whether some were not let go, as there were no connections for them.
    waits_for_connections: Cell<bool>,
    /// When the timer goes off.
    armed: Cell<Moment>,
    /// When an app's deadline comes, or a pace allows the next request, at the earliest.
    due: Cell<Moment>,
    seen_changes: Cell<u64>,
    leaving: Cell<bool>,
    watch: Watch,
    /// Apps of which not all was said that happened.
    unsaid: RefCell<Vec<AppId>>,
    /// Those who wait for an answer.
    callers: RefCell<Vec<H::Caller>>,
}

impl<H: Host> Worker<H> {
    /// The worker in this slot, of the configuration with the number `cycle`, in which so many `names`
    /// of apps stand.
    pub fn new(host: H, zone: Zone<H::Lock>, slot: usize, cycle: u32, names: usize) -> Self {
        Self {
            look: host.event(Task::Look),
            refill: host.event(Task::Refill),
            host,
            zone,
            slot,
            cycle,
            entries: (0..names).map(|_| Cell::new(None)).collect(),
            queues: (0..zone.capacity()).map(|_| OnceCell::new()).collect(),
            holding: Cell::new(0),
            interval: Cell::new(Duration::from_millis(250)),
            allowance: Cell::new(BATCH),
            refills: Cell::new(false),
            arrived: Cell::new(0),
            released: Cell::new(0),
            waits_for_connections: Cell::new(false),
            armed: Cell::new(Moment::NEVER),
            due: Cell::new(Moment::NEVER),
            seen_changes: Cell::new(u64::MAX),
            leaving: Cell::new(false),
            watch: Watch::default(),
            unsaid: RefCell::default(),
            callers: RefCell::default(),
        }
    }

    /// Where an app with a fixed name is, if that is known.
    #[inline]
    pub fn known(&self, number: usize) -> Option<Entry> {
        self.entries.get(number)?.get()
    }

    fn remember(&self, number: usize, entry: Entry) {
        if let Some(place) = self.entries.get(number) {
            place.set(Some(entry));
        }
    }

    /// An event runs that it posted.
    pub fn do_task(&self, task: Task) {
        match task {
            Task::Look => self.look(),
            Task::Refill => self.refill(),
            Task::Turn(app) => self.turn(app),
        }
    }

    /// Its timer has gone off: it looks then.
    pub fn timer_went_off(&self) {
        self.armed.set(Moment::NEVER);
    }

    /// Looks at the zone: at the queues here, and, if something changed or fell due, at all apps.
    pub fn look(&self) {
        let now = self.host.now();
        self.notice_exit();
        if self.holding.get() > 0 {
            self.beat(now, self.interval.get());
        }
        let changes = self.zone.changes();
        if self.seen_changes.replace(changes) != changes || self.due.get() <= now {
            self.look_at_all(now);
        }
        self.say_rest(now);
        let queues = self.queues.iter().filter_map(OnceCell::get);
        for queue in queues.filter(|queue| !queue.is_empty() && !self.rests(queue.app, now)) {
            self.serve(queue.app);
        }
        for caller in self.callers.borrow().iter() {
            self.host.wake(*caller);
        }
        self.arm(now);
    }

    /// Shows the others that it runs: they wait for whoever does.
    fn beat(&self, at: Moment, interval: Duration) {
        self.zone.beat(self.slot, at, interval);
        self.host.note(Fact::Beats { at, interval });
    }

    /// Finds out whether nginx ends for good. After a reload there are workers of a newer
    /// configuration, and the old ones go on holding; without, nobody would be left to resume,
    /// unless another nginx took over and says through the state file what to do.
    pub fn notice_exit(&self) {
        if !self.host.is_exiting() {
            return;
        }
        if self.zone.exits(self.slot, self.cycle) {
            self.ring_others();
        }
        let liveness = self.host.liveness(self.host.now());
        let leaving = self.zone.has_ended(&liveness, &self.watch) && !self.host.is_succeeded();
        if leaving && !self.leaving.get() && self.holding.get() > 0 {
            self.host.tell(Told::Leaves { holding: self.holding.get() });
        }
        self.leaving.set(leaving);
    }

    /// Whether an app is paused or down, and stays so: what is held is held, whatever the other workers do.
    fn rests(&self, app: AppId, now: Moment) -> bool {
        self.zone.state(app).rests() && !self.leaving.get() && self.due_of(app) > now
    }

    fn look_at_all(&self, now: Moment) {
        self.due.set(Moment::NEVER);
        let apps = self.zone.lock().apps();
        for app in apps.filter(|app| self.zone.state(*app) != State::Open) {
            let mut due = self.due_of(app);
            if due <= now {
                self.serve(app);
                due = self.due_of(app);
            }
            self.due.set(self.due.get().min(due));
        }
    }

    fn due_of(&self, app: AppId) -> Moment {
        self.zone.lock().gate(app).map_or(Moment::NEVER, |gate| {
            match self.host.can_probe(app, gate.outage.number) {
                true => gate.due().min(gate.probe_due()),
                false => gate.due(),
            }
        })
    }

    pub fn survey(&self, app: AppId) -> Survey {
        self.zone.survey(app, self.slot, &self.host.liveness(self.host.now()))
    }

    /// How many requests are in flight that could not be counted for their app.
    pub fn unattributed(&self) -> u32 {
        self.zone.unattributed(self.slot, &self.host.liveness(self.host.now()))
    }

    /// Lets every worker look at the zone, this one as well.
    pub fn notify(&self) {
        self.zone.note_change();
        self.ring_others();
        self.look_soon();
    }

    pub fn ring_others(&self) {
        self.host.ring(self.zone.slots().filter(|slot| *slot != self.slot));
    }

    fn look_soon(&self) {
        self.host.post(&self.look, When::Soon);
    }

    /// As [`Self::look_soon`], from outside of the event loop: before it waits again.
    pub fn look_next(&self) {
        self.host.post(&self.look, When::NextTurn);
    }

    /// Looks again at that moment, if not before.
    pub fn look_at(&self, at: Moment) {
        self.due.set(self.due.get().min(at));
        self.arm(self.host.now());
    }

    pub fn add_caller(&self, caller: H::Caller) {
        self.callers.borrow_mut().push(caller);
        self.arm(self.host.now());
    }

    pub fn forget_caller(&self, caller: H::Caller) {
        self.callers.borrow_mut().retain(|known| *known != caller);
    }

    fn update(&self, app: AppId, action: impl FnOnce(&mut Gate)) {
        self.zone.lock().update(app, action);
    }

    /// The queue of an app, if this worker has ever held a request of it.
    fn queue(&self, app: AppId) -> Option<&Queue<H>> {
        self.queues.get(app.index()).and_then(OnceCell::get).map(|queue| &**queue)
    }

    fn slots_at(&self, app: AppId, ticket: Ticket) -> impl Iterator<Item = usize> {
        self.zone.lanes(app).filter(move |(_, lane)| lane.head() == ticket).map(|(slot, _)| slot)
    }

    fn stopped_holding(&self) {
        self.holding.set(self.holding.get().saturating_sub(1));
    }

    /// Sets the timer: for the interval while requests are held, for what falls due in any case.
    pub fn arm(&self, now: Moment) {
        let idle = self.holding.get() == 0 && self.callers.borrow().is_empty();
        let look = if idle { Moment::NEVER } else { now.plus(self.rhythm()) };
        let at = look.min(self.due.get()).min(self.host.due());
        if self.armed.get() > at {
            self.armed.set(at);
            self.host.set_timer(at.max(now.plus(TICK)), now);
        }
    }

    /// How long it may be to the next look, while requests are held.
    fn rhythm(&self) -> Duration {
        let interval = self.interval.get();
        if self.host.is_exiting() { interval.min(WATCH_INTERVAL) } else { interval }
    }
}

#[cfg(test)]
impl<H: Host> Worker<H> {
    /// The first ticket of an app that is held here, unless a batch of it is on its way.
    pub fn first_ticket(&self, app: AppId) -> Option<Ticket> {
        self.queue(app).filter(|queue| !queue.is_busy()).map(Queue::first_ticket)
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.get()
    }
}
