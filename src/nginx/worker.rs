//! A worker: its place in the zone, the requests that it holds, and when it looks at the zone.

mod admission;
mod release;

use core::cell::{Cell, OnceCell, RefCell, UnsafeCell};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::time::Duration;

use nginx_sys::{
    NGX_LOG_NOTICE, ngx_add_timer, ngx_connection_t, ngx_cycle_t, ngx_del_timer, ngx_event_t,
    ngx_post_event, ngx_posted_events, ngx_posted_next_events, ngx_process_slot,
};

use crate::control::args::shown;
use crate::gate::lane::Survey;
use crate::gate::time::{Moment, micros};
use crate::gate::totals::Totals;
use crate::gate::{BATCH, Cause, Change, Gate, State};
use crate::nginx::conf::{MainConf, coverage};
use crate::nginx::control::Waiter;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::local::Local;
use crate::nginx::ffi::processes::{exists, is_exiting, started};
use crate::nginx::ffi::{bells, clock, successor};
use crate::nginx::queue::Queue;
use crate::nginx::request::life::Passage;
use crate::nginx::store::Store;
use crate::nginx::zone::Zone;
use crate::shm::{AppId, Entry, Liveness, WATCH_INTERVAL, Watch};

pub use admission::{Answer, Knock};

/// For how long a worker that shows no sign of life keeps its turn in a release.
const LEASE: Duration = Duration::from_secs(1);

/// How long what changed by itself, as at the end of a release, waits to be written with more of it.
const SAVE_AFTER: Duration = Duration::from_millis(100);

/// The configuration that this process, and those forked from it, belong to.
static CYCLE: AtomicU32 = AtomicU32::new(0);

static HERE: Local<OnceCell<Worker>> = Local::new(OnceCell::new());

pub struct Worker {
    pub zone: Zone,
    pub slot: usize,
    cycle: u32,
    /// Where the apps of [`MainConf::names`] are, once they are known.
    entries: Vec<Cell<Option<Entry>>>,
    /// By the app's place in the zone.
    queues: Vec<OnceCell<Box<Queue>>>,
    /// Requests held here, in all apps.
    holding: Cell<usize>,
    interval: Cell<Duration>,
    timer: UnsafeCell<ngx_event_t>,
    look: UnsafeCell<ngx_event_t>,
    /// How many requests may still be let go before other clients are served, of all apps together.
    allowance: Cell<u32>,
    /// Comes when they have been.
    refill: UnsafeCell<ngx_event_t>,
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
    /// When the state file is tried again.
    retry: Cell<Moment>,
    /// When it is told of what changed by itself.
    save: Cell<Moment>,
    seen_changes: Cell<u64>,
    leaving: Cell<bool>,
    watch: Watch,
    /// When it last said that connections, or the zone's room, run out.
    warned: Cell<Moment>,
    /// Callers that wait for an answer.
    waiters: RefCell<Vec<*const Waiter>>,
    pub store: Option<Store>,
}

impl Worker {
    /// The worker that this process is.
    #[inline]
    pub fn here() -> Option<&'static Self> {
        HERE.get().get()
    }

    /// This process becomes a worker.
    pub fn begin(start: impl FnOnce() -> Self) -> &'static Self {
        HERE.get().get_or_init(start)
    }

    /// Where an app with a fixed name is, if that is known.
    #[inline]
    pub fn known(&self, name: usize) -> Option<Entry> {
        self.entries.get(name)?.get()
    }

    pub fn remember(&self, name: usize, entry: Entry) {
        if let Some(place) = self.entries.get(name) {
            place.set(Some(entry));
        }
    }

    /// `Retry-After` of an app's maintenance, in seconds.
    pub fn retry_after(&self, app: AppId) -> Option<u64> {
        let seconds = self.zone.lock().gate(app).map_or(0, |gate| gate.retry_after);
        (seconds > 0).then_some(seconds)
    }

    pub fn count(&self, app: AppId, count: impl FnOnce(&mut Totals)) {
        self.update(app, |gate| count(&mut gate.totals));
    }

    /// A request that was held goes on to the backend.
    pub fn count_released(&self, app: AppId, passage: &Passage) {
        let waited = passage.waited().unwrap_or_default();
        self.update(app, |gate| {
            gate.totals.released += 1;
            gate.waits.record(waited);
        });
    }

    /// A request went through and is over, though the backend's answer is not complete.
    pub fn abandon(&self, app: AppId) {
        self.update(app, |gate| gate.abandon(1, clock::now()));
    }

    /// Looks at the zone: at the queues here, and, if something changed or fell due, at all apps.
    pub fn look(&self) {
        let now = clock::now();
        self.notice_exit();
        if self.holding.get() > 0 {
            self.zone.beat(self.slot, now, self.interval.get());
        }
        let changes = self.zone.changes();
        if self.seen_changes.replace(changes) != changes || self.due.get() <= now {
            self.look_at_all(now);
        }
        let queues = self.queues.iter().filter_map(OnceCell::get);
        for queue in queues.filter(|queue| !queue.is_empty() && !self.rests(queue.app, now)) {
            self.attend(queue.app);
        }
        self.wake_waiters();
        self.save(now);
        if let Some(store) = self.store.as_ref().filter(|_| self.retry.get() <= now) {
            store.retry(self);
        }
        self.arm(now);
    }

    /// Finds out whether nginx ends for good. After a reload there are workers of a newer
    /// configuration, and the old ones go on holding; without, nobody would be left to resume,
    /// unless another nginx took over and says through the state file what to do.
    pub fn notice_exit(&self) {
        if !is_exiting() {
            return;
        }
        if self.zone.exits(self.slot, self.cycle) {
            bells::ring(self.zone.slots().filter(|slot| *slot != self.slot));
        }
        let alone = || self.store.is_none() || !successor::exists();
        let leaving = self.zone.has_ended(&self.liveness(clock::now()), &self.watch) && alone();
        if leaving && !self.leaving.replace(leaving) && self.holding.get() > 0 {
            ngx::ngx_log_error!(
                NGX_LOG_NOTICE,
                ngx::log::ngx_cycle_log().as_ptr(),
                "intermission: nginx ends, and nobody is left to resume: {} held requests of this \
                 worker are let go",
                self.holding.get()
            );
        }
        self.leaving.set(leaving);
    }

    /// Whether an app is paused and stays so: what is held is held, whatever the other workers do.
    fn rests(&self, app: AppId, now: Moment) -> bool {
        let paused = self.zone.state(app) == State::Paused && !self.leaving.get();
        paused && self.due_of(app) > now
    }

    /// Something changed by itself: that waits for more of it, as each write of the state file waits
    /// for the disk, and what the file says until then means the same, or is safe.
    fn save_soon(&self, now: Moment) {
        if self.store.is_some() {
            self.save.set(self.save.get().min(now.plus(SAVE_AFTER)));
            self.arm(now);
        }
    }

    /// Tells the state file what it was to be told by now.
    fn save(&self, now: Moment) {
        if let Some(store) = self.store.as_ref().filter(|_| self.save.get() <= now) {
            let saved = store.save(self);
            self.save.set(if saved { Moment::NEVER } else { now.plus(SAVE_AFTER) });
        }
    }

    /// The worker ends: nothing is put off any more.
    pub fn save_last(&self) {
        if let Some(store) = self.store.as_ref().filter(|_| !self.save.get().is_never()) {
            store.save_last(self);
        }
    }

    /// When the state file, which could not be written, is to be tried again.
    pub fn retry_at(&self, at: Moment) {
        self.retry.set(at);
        self.arm(clock::now());
    }

    fn look_at_all(&self, now: Moment) {
        self.due.set(Moment::NEVER);
        let apps = self.zone.lock().apps();
        for app in apps.filter(|app| self.zone.state(*app) != State::Open) {
            let mut due = self.due_of(app);
            if due <= now {
                self.attend(app);
                due = self.due_of(app);
            }
            self.due.set(self.due.get().min(due));
        }
    }

    fn due_of(&self, app: AppId) -> Moment {
        self.zone.lock().gate(app).map_or(Moment::NEVER, Gate::due)
    }

    /// How many requests are in flight that could not be counted for their app.
    pub fn unattributed(&self) -> u32 {
        self.zone.unattributed(self.slot, &self.liveness(clock::now()))
    }

    /// How many processes serve requests, or may, that nobody counts: workers of a configuration that
    /// had no gate where there is one now, and another nginx, as during a binary upgrade.
    pub fn uncounted_processes(&self) -> usize {
        coverage::strangers() + usize::from(successor::serves())
    }

    pub fn survey(&self, app: AppId) -> Survey {
        self.zone.survey(app, self.slot, &self.liveness(clock::now()))
    }

    /// One line in the error log for each change of state.
    pub fn log(&self, name: &[u8], change: &Change, held: u32, by: &str) {
        if change.from == change.to && change.cause == Cause::Call {
            return;
        }
        ngx::ngx_log_error!(
            NGX_LOG_NOTICE,
            ngx::log::ngx_cycle_log().as_ptr(),
            "intermission: app \"{}\" from {} to {} by {by}, {held} held",
            shown(name),
            change.from.name(),
            change.to.name(),
        );
    }

    /// Lets every worker look at the zone, this one as well.
    pub fn notify(&self) {
        self.zone.note_change();
        bells::ring(self.zone.slots().filter(|slot| *slot != self.slot));
        self.look_soon();
    }

    fn look_soon(&self) {
        // SAFETY: the event is initialised and stays where it is.
        unsafe { ngx_post_event(self.look.get(), &raw mut ngx_posted_events) };
    }

    /// As [`Self::look_soon`], from outside of the event loop: before it waits again.
    pub fn look_next(&self) {
        // SAFETY: as above.
        unsafe { ngx_post_event(self.look.get(), &raw mut ngx_posted_next_events) };
    }

    /// Looks again at that moment, if not before.
    pub fn look_at(&self, at: Moment) {
        self.due.set(self.due.get().min(at));
        self.arm(clock::now());
    }

    pub fn add_waiter(&self, waiter: &Waiter) {
        self.waiters.borrow_mut().push(ptr::from_ref(waiter));
        self.arm(clock::now());
    }

    pub fn forget_waiter(&self, waiter: &Waiter) {
        self.waiters.borrow_mut().retain(|known| !ptr::eq(*known, waiter));
    }

    fn wake_waiters(&self) {
        for waiter in self.waiters.borrow().iter() {
            // SAFETY: a waiter takes itself out of the list before it goes.
            unsafe { (**waiter).wake() };
        }
    }

    pub fn liveness(&self, now: Moment) -> Liveness {
        Liveness { now, lease: LEASE, exists, started }
    }

    fn update(&self, app: AppId, action: impl FnOnce(&mut Gate)) {
        self.zone.lock().update(app, action);
    }

    /// The queue of an app, if this worker has ever held a request of it.
    fn queue(&self, app: AppId) -> Option<&Queue> {
        self.queues.get(app.index()).and_then(OnceCell::get).map(|queue| &**queue)
    }

    fn slots_at(&self, app: AppId, ticket: u64) -> impl Iterator<Item = usize> {
        self.zone.lanes(app).filter(move |(_, lane)| lane.head() == ticket).map(|(slot, _)| slot)
    }

    fn stopped_holding(&self) {
        self.holding.set(self.holding.get().saturating_sub(1));
    }

    /// Sets the timer: for the interval while requests are held, for what falls due in any case.
    fn arm(&self, now: Moment) {
        let idle = self.holding.get() == 0 && self.waiters.borrow().is_empty();
        let look = if idle { Moment::NEVER } else { now.plus(self.rhythm()) };
        let at = look.min(self.due.get()).min(self.retry.get()).min(self.save.get());
        let armed = self.armed.get();
        if armed <= at {
            return;
        }
        self.armed.set(at);
        let timer = self.timer.get();
        // SAFETY: the event is initialised and stays where it is. It is taken out first, as nginx
        // would else leave it where it is for a difference of less than 300 ms.
        unsafe {
            if (*timer).timer_set() != 0 {
                ngx_del_timer(timer);
            }
            if !at.is_never() {
                let millis = micros(at.since(now)).div_ceil(1000);
                ngx_add_timer(timer, usize::try_from(millis).unwrap_or(usize::MAX / 4));
            }
        }
    }

    /// How long it may be to the next look, while requests are held.
    fn rhythm(&self) -> Duration {
        let interval = self.interval.get();
        if is_exiting() { interval.min(WATCH_INTERVAL) } else { interval }
    }

    pub fn start(cycle: &ngx_cycle_t, main: &MainConf, zone: Zone) -> Self {
        // SAFETY: nginx's own variable, and its events may be zeroed.
        let (slot, [timer, look, refill]) = unsafe { (ngx_process_slot, core::mem::zeroed()) };
        let worker = Self {
            zone,
            slot: usize::try_from(slot).unwrap_or_default(),
            cycle: CYCLE.load(Relaxed),
            entries: main.names.iter().map(|_| Cell::new(None)).collect(),
            queues: (0..zone.capacity()).map(|_| OnceCell::new()).collect(),
            holding: Cell::new(0),
            interval: Cell::new(Duration::from_millis(250)),
            timer: UnsafeCell::new(timer),
            look: UnsafeCell::new(look),
            allowance: Cell::new(BATCH),
            refill: UnsafeCell::new(refill),
            arrived: Cell::new(0),
            released: Cell::new(0),
            waits_for_connections: Cell::new(false),
            armed: Cell::new(Moment::NEVER),
            due: Cell::new(Moment::NEVER),
            retry: Cell::new(Moment::NEVER),
            save: Cell::new(Moment::NEVER),
            seen_changes: Cell::new(u64::MAX),
            leaving: Cell::new(false),
            watch: Watch::default(),
            warned: Cell::new(Moment::default()),
            waiters: RefCell::default(),
            store: main.store.clone(),
        };
        let nobody = nobody();
        let handlers: [(_, unsafe extern "C" fn(*mut ngx_event_t)); 3] =
            [(&worker.timer, on_look), (&worker.look, on_look), (&worker.refill, on_refill)];
        for (event, handler) in handlers {
            let event = event.get();
            // SAFETY: the event has no other user yet.
            unsafe {
                (*event).data = nobody.cast();
                (*event).handler = Some(handler);
                (*event).log = cycle.log;
                (*event).set_cancelable(1);
            }
        }
        worker
    }
}

/// A new configuration begins, in the master.
pub fn begin_cycle(zone: &Zone) {
    CYCLE.store(zone.next_cycle(), Relaxed);
}

impl Cause {
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Deadline => "deadline",
            Self::Released => "the last release",
            Self::ReleaseTimeout => "release timeout",
            Self::CanaryPassed => "a canary that came back",
            Self::CanaryFailed => "a canary that failed",
            Self::StateFile => "the state file",
        }
    }
}

/// What events have that are no connection's: nginx's debug log shows the descriptor of each.
fn nobody() -> *mut ngx_connection_t {
    // SAFETY: nginx's connections may be zeroed.
    let mut connection: ngx_connection_t = unsafe { core::mem::zeroed() };
    connection.fd = -1;
    Box::into_raw(Box::new(connection))
}

unsafe extern "C" fn on_look(_: *mut ngx_event_t) {
    guarded((), || {
        if let Some(worker) = Worker::here() {
            worker.armed.set(Moment::NEVER);
            worker.look();
        }
    });
}

unsafe extern "C" fn on_refill(_: *mut ngx_event_t) {
    if let Some(worker) = Worker::here() {
        worker.refill();
    }
}
