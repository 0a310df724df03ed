//! A worker: its place in the zone, the requests that it holds, and when it looks at the zone.

use core::cell::{Cell, OnceCell, RefCell, UnsafeCell};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::time::Duration;

use nginx_sys::{
    NGX_LOG_NOTICE, NGX_LOG_WARN, NGX_OK, NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER, ngx_add_timer,
    ngx_cycle_t, ngx_del_timer, ngx_event_t, ngx_exiting, ngx_int_t, ngx_pid, ngx_post_event,
    ngx_posted_events, ngx_process, ngx_process_slot,
};

use super::boundary::guarded;
use super::conf::MainConf;
use super::control::Waiter;
use super::local::Local;
use super::module::module;
use super::passage::{Ending, Passage};
use super::queue::Queue;
use super::store::Store;
use super::zone::{Zone, ZoneLock, attached};
use super::{clock, connections, hold, successor, wake};
use crate::control::args::shown;
use crate::gate::lane::{Count, NO_TICKET, Survey};
use crate::gate::time::{Moment, micros};
use crate::gate::totals::Totals;
use crate::gate::trial::Outcome;
use crate::gate::{Arrival, BATCH, Cause, Change, Gate, State, Turn};
use crate::shm::{AppId, Entry, Liveness, Locked};
use ngx::http::HttpModuleConfExt;

/// How many records are looked at, for one request, to find an app that can be forgotten.
const SEARCH: usize = 64;

/// For how long a worker that shows no sign of life keeps its turn in a release.
const LEASE: Duration = Duration::from_secs(1);

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
    /// When the timer goes off.
    armed: Cell<Moment>,
    /// When an app's deadline comes, or a pace allows the next request, at the earliest.
    due: Cell<Moment>,
    seen_changes: Cell<u64>,
    leaving: Cell<bool>,
    /// When it last said that connections run out.
    warned: Cell<Moment>,
    /// Callers that wait for an answer.
    waiters: RefCell<Vec<*const Waiter>>,
    pub store: Option<Store>,
}

/// How a request comes to a gate that was not found open.
pub enum Knock<'r> {
    Look,
    Bypass,
    Stay { passage: &'r Passage, max_held: u32, interval: Duration },
}

pub enum Answer {
    /// It goes through and is counted.
    Through(Entry),
    /// It goes through, but there is no room to count it: its app cannot have been paused.
    Uncounted,
    Closed,
    Held,
    Full,
    Maintenance(Entry),
}

impl Worker {
    /// The worker that this process is.
    #[inline]
    pub fn here() -> Option<&'static Self> {
        HERE.get().get()
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

    /// A request of the app of this name comes to its gate.
    pub fn knock(&self, name: &[u8], knock: Knock<'_>) -> Answer {
        let now = clock::now();
        let short = matches!(knock, Knock::Stay { .. }) && self.is_short_of_connections(now);
        let mut locked = self.zone.lock();
        let Ok(app) = locked.find_or_create(name, SEARCH) else { return Answer::Uncounted };
        let state = self.zone.state(app);
        let Ok(entry) = locked.entry(app, self.slot) else {
            return if state == State::Open { Answer::Uncounted } else { Answer::Full };
        };
        let arrival = match knock {
            _ if state == State::Open => Arrival::Pass,
            Knock::Look => return Answer::Closed,
            Knock::Bypass => {
                locked.update(app, |gate| gate.totals.bypassed += 1);
                Arrival::Pass
            }
            Knock::Stay { max_held, .. } => {
                let max_held = if short { 1 } else { max_held };
                let held = match max_held {
                    0 => 0,
                    _ if short => u32::MAX,
                    _ => self.zone.survey(app, self.slot, &self.liveness(now)).held,
                };
                locked.update(app, |gate| gate.arrive(held, max_held)).unwrap_or(Arrival::Pass)
            }
        };
        match (arrival, knock) {
            (Arrival::Hold(ticket), Knock::Stay { passage, interval, .. }) => {
                passage.hold(entry, ticket, now);
                self.queue(entry).push(passage);
                entry.lane.add(Count::Held);
                drop(locked);
                self.began_to_hold(app, interval, now);
                Answer::Held
            }
            (Arrival::Full, _) => Answer::Full,
            (Arrival::Maintenance, _) => Answer::Maintenance(entry),
            _ => {
                entry.lane.add(Count::InFlight);
                Answer::Through(entry)
            }
        }
    }

    /// Whether one more request cannot be held; says so once in a second.
    fn is_short_of_connections(&self, now: Moment) -> bool {
        let short = connections::are_short(self.holding.get());
        if short && now.since(self.warned.get()) >= Duration::from_secs(1) {
            self.warned.set(now);
            ngx::ngx_log_error!(
                NGX_LOG_WARN,
                ngx::log::ngx_cycle_log().as_ptr(),
                "intermission: requests are rejected, as {} are held and each needs one more \
                 connection when it is released: raise worker_connections (or \
                 worker_rlimit_nofile)",
                self.holding.get()
            );
        }
        short
    }

    /// Takes a request out of its queue that does not want to be released any more.
    pub fn withdraw(&self, passage: &Passage, count: impl FnOnce(&mut Totals)) {
        let Some(entry) = passage.entry() else { return };
        let queue = self.queue(entry);
        let was_first = queue.first_ticket() == passage.ticket();
        queue.remove(passage);
        self.stopped_holding(&entry);
        let waited = passage.waited().unwrap_or_default();
        self.update(entry.app, |gate| {
            count(&mut gate.totals);
            gate.waits.record(waited);
        });
        if was_first && !queue.is_busy() {
            queue.publish();
            if self.zone.state(entry.app) == State::Releasing {
                self.advance(entry.app);
            }
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

    pub fn trial_ended(&self, app: AppId, outcome: Outcome) {
        self.update(app, |gate| gate.trial_ended(outcome));
    }

    /// A request that had gone through is over: others may wait for that.
    #[inline]
    pub fn request_ended(&self, app: AppId) {
        if self.zone.state(app) != State::Open {
            self.end_while_closed(app);
        }
    }

    #[cold]
    fn end_while_closed(&self, app: AppId) {
        let counts = self.zone.lock().gate(app).is_some_and(Gate::counts_ends);
        if counts {
            self.advance(app);
        }
        self.tell_waiting(app);
    }

    /// A request that found its app closed takes itself off the count: whoever let the last one end
    /// in between has seen it there, and told nobody.
    pub fn counted_in_vain(&self, app: AppId) {
        if self.zone.state(app) != State::Open {
            self.tell_waiting(app);
        }
    }

    /// Lets those who wait for a quiet backend look, if it is quiet.
    fn tell_waiting(&self, app: AppId) {
        let waiting = || self.zone.lanes(app).filter(|(_, lane)| lane.get(Count::Waiting) > 0);
        if waiting().next().is_some() && self.survey(app).in_flight == 0 {
            wake::ring(waiting().map(|(slot, _)| slot).filter(|slot| *slot != self.slot));
            self.look_soon();
        }
    }

    /// Does for an app what has fallen due, and lets go what may go.
    pub fn attend(&self, app: AppId) {
        let queue = self.queues.get(app.index()).and_then(OnceCell::get);
        if queue.is_some_and(|queue| queue.is_busy()) {
            return;
        }
        let now = clock::now();
        let mut locked = self.zone.lock();
        let survey = self.zone.survey(app, self.slot, &self.liveness(now));
        let change = locked.update(app, |gate| gate.settle(now, &survey)).flatten();
        let name = change.map(|_| locked.name(app).to_vec()).unwrap_or_default();
        let queue = queue.filter(|queue| !queue.is_empty());
        let batch = queue.map(|queue| self.take_turn(&mut locked, queue, now, &survey));
        drop(locked);
        if let Some(change) = change {
            self.log(&name, &change, survey.held, change.cause.name());
            self.notify();
            if let Some(store) = &self.store {
                store.change(self, || ());
            }
        }
        if let (Some(queue), Some(batch)) = (queue, batch) {
            self.send_off(queue, &batch);
            self.arm(now);
        }
    }

    /// Takes out of a queue what may go now.
    fn take_turn<'q>(
        &self,
        locked: &mut Locked<'_, ZoneLock>,
        queue: &'q Queue,
        now: Moment,
        survey: &Survey,
    ) -> Batch<'q> {
        let mut batch = Batch::default();
        let (own, leaving) = (queue.first_ticket(), self.leaving.get());
        let turn = locked.gate(queue.app).map(|gate| gate.turn(now, own, leaving, survey));
        let refused = turn == Some(Turn::Refuse);
        match turn {
            Some(Turn::Go { below, limit }) => batch.fill(queue, below, limit),
            Some(Turn::Refuse) => batch.fill(queue, NO_TICKET, BATCH),
            Some(Turn::Wait(at)) => self.due.set(self.due.get().min(at)),
            None => {}
        }
        locked.update(queue.app, |gate| {
            let trial = !refused && gate.take(now, batch.count);
            for passage in batch.members() {
                gate.waits.record(now.since(passage.since()));
                if refused {
                    gate.totals.rejected += 1;
                    passage.refuse(503, Ending::Maintenance, now);
                } else {
                    passage.let_go(Ending::Released, trial, now);
                }
            }
        });
        batch
    }

    /// The requests of a batch are on their way: it is the turn of whoever is first now.
    pub fn after_batch(&self, queue: &Queue) {
        if queue.is_empty() {
            self.advance(queue.app);
            return;
        }
        let survey = self.survey(queue.app);
        if survey.first_elsewhere < queue.first_ticket() {
            wake::ring(self.slots_at(queue.app, survey.first_elsewhere));
        } else {
            queue.post_next();
        }
    }

    /// Attends to an app, and tells the worker whose turn it is, if it is another's.
    fn advance(&self, app: AppId) {
        self.attend(app);
        let queue = self.queues.get(app.index()).and_then(OnceCell::get);
        let own = queue.map_or(NO_TICKET, |queue| queue.first_ticket());
        let survey = self.survey(app);
        let closed = self.zone.state(app) != State::Open;
        if closed && survey.first_elsewhere < own {
            wake::ring(self.slots_at(app, survey.first_elsewhere));
        }
    }

    /// Looks at the zone: at the queues here, and, if something changed or fell due, at all apps.
    pub fn look(&self) {
        let now = clock::now();
        self.notice_exit();
        if self.holding.get() > 0 {
            self.zone.beat(self.slot, now);
        }
        let changes = self.zone.changes();
        if self.seen_changes.replace(changes) != changes || self.due.get() <= now {
            self.look_at_all(now);
        }
        for queue in self.queues.iter().filter_map(OnceCell::get).filter(|queue| !queue.is_empty())
        {
            self.attend(queue.app);
        }
        self.wake_waiters();
        self.arm(now);
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
        wake::ring(self.zone.slots().filter(|slot| *slot != self.slot));
        self.look_soon();
    }

    fn look_soon(&self) {
        // SAFETY: the event is initialised and stays where it is.
        unsafe { ngx_post_event(self.look.get(), &raw mut ngx_posted_events) };
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
        Liveness { now, lease: LEASE.max(4 * self.interval.get()), exists }
    }

    fn update(&self, app: AppId, action: impl FnOnce(&mut Gate)) {
        self.zone.lock().update(app, action);
    }

    fn queue(&self, entry: Entry) -> &Queue {
        static NOWHERE: &str = "an app's place is in the zone";
        let place = self.queues.get(entry.app.index());
        place
            .unwrap_or_else(|| panic!("{NOWHERE}"))
            .get_or_init(|| Queue::new(entry.app, entry.lane))
    }

    fn slots_at(&self, app: AppId, ticket: u64) -> impl Iterator<Item = usize> {
        self.zone.lanes(app).filter(move |(_, lane)| lane.head() == ticket).map(|(slot, _)| slot)
    }

    /// Sends requests on their way, and the end of the batch behind them.
    fn send_off(&self, queue: &Queue, batch: &Batch<'_>) {
        if batch.count == 0 {
            return;
        }
        // SAFETY: the requests of a batch live until their events run.
        let detour = batch.members().any(|passage| unsafe { hold::gets_body_later(passage) });
        for passage in batch.members() {
            if let Some(entry) = passage.entry() {
                self.stopped_holding(&entry);
            }
            passage.detour.set(detour);
            // SAFETY: a held request has a connection, whose write event runs the request.
            unsafe {
                let write = (*(*passage.request()).connection).write;
                ngx_post_event(write, &raw mut ngx_posted_events);
            }
        }
        queue.post_end_of_batch(detour);
    }

    fn began_to_hold(&self, app: AppId, interval: Duration, now: Moment) {
        let before = self.holding.replace(self.holding.get() + 1);
        if before == 0 {
            self.interval.set(interval);
            self.zone.beat(self.slot, now);
        } else {
            self.interval.set(self.interval.get().min(interval));
        }
        self.arm(now);
        if self.zone.state(app) != State::Paused || self.leaving.get() {
            self.look_soon();
        }
    }

    fn stopped_holding(&self, entry: &Entry) {
        entry.lane.sub(Count::Held);
        self.holding.set(self.holding.get().saturating_sub(1));
    }

    /// Sets the timer: for the interval while requests are held, for what falls due in any case.
    fn arm(&self, now: Moment) {
        let idle = self.holding.get() == 0 && self.waiters.borrow().is_empty();
        let look = if idle { Moment::NEVER } else { now.plus(self.interval.get()) };
        let at = look.min(self.due.get());
        let armed = self.armed.get();
        if armed > now && armed <= at {
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

    /// Finds out whether nginx ends for good. After a reload there are workers of a newer
    /// configuration, and the old ones go on holding; without, nobody would be left to resume,
    /// unless another nginx took over and says through the state file what to do.
    fn notice_exit(&self) {
        // SAFETY: nginx's own flag.
        let exiting = unsafe { ngx_exiting } != 0;
        let last = exiting && self.zone.cycle() == self.cycle;
        self.leaving.set(last && (self.store.is_none() || !successor::exists()));
    }

    fn start(cycle: &ngx_cycle_t, main: &MainConf, zone: Zone) -> Self {
        // SAFETY: nginx's own variable, and its events may be zeroed.
        let (slot, timer, look) =
            unsafe { (ngx_process_slot, core::mem::zeroed(), core::mem::zeroed()) };
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
            armed: Cell::new(Moment::NEVER),
            due: Cell::new(Moment::NEVER),
            seen_changes: Cell::new(u64::MAX),
            leaving: Cell::new(false),
            warned: Cell::new(Moment::default()),
            waiters: RefCell::default(),
            store: main.store.clone(),
        };
        for event in [worker.timer.get(), worker.look.get()] {
            // SAFETY: the event has no other user yet.
            unsafe {
                (*event).handler = Some(on_look);
                (*event).log = cycle.log;
                (*event).set_cancelable(1);
            }
        }
        worker
    }
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

/// Requests that go together.
struct Batch<'q> {
    members: [Option<&'q Passage>; BATCH as usize],
    count: u32,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Self { members: [None; BATCH as usize], count: 0 }
    }
}

impl<'q> Batch<'q> {
    fn fill(&mut self, queue: &'q Queue, below: u64, limit: u32) {
        for place in self.members.iter_mut().take(limit as usize) {
            let Some(first) = queue.first().filter(|first| first.ticket() < below) else { return };
            queue.remove(first);
            *place = Some(first);
            self.count += 1;
        }
    }

    fn members(&self) -> impl Iterator<Item = &'q Passage> {
        self.members.iter().map_while(|member| *member)
    }
}

/// Whether there is a process with this id.
pub fn exists(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is not sent; the call only says whether it could be.
    let found = unsafe { libc::kill(pid, 0) } == 0;
    found || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

unsafe extern "C" fn on_look(_: *mut ngx_event_t) {
    guarded((), || {
        if let Some(worker) = Worker::here() {
            worker.armed.set(Moment::NEVER);
            worker.look();
        }
    });
}

unsafe extern "C" fn on_ring(_: *mut ngx_event_t) {
    guarded((), || {
        if let Some(worker) = Worker::here() {
            worker.look();
        }
    });
}

/// The zone that a cycle's configuration asks for.
///
/// # Safety
///
/// The cycle is one whose configuration was taken up.
pub unsafe fn zone_of(cycle: &ngx_cycle_t) -> Option<Zone> {
    // SAFETY: the caller's promise.
    unsafe {
        let main = cycle.http_main_conf_unchecked::<MainConf>(module())?;
        attached(main.as_ref().zone)
    }
}

/// A new configuration begins, in the master.
pub fn begin_cycle(zone: &Zone) {
    CYCLE.store(zone.next_cycle(), Relaxed);
}

pub unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guarded((), || {
        // SAFETY: nginx's own variable, and the cycle that the process starts with.
        unsafe {
            if [NGX_PROCESS_WORKER, NGX_PROCESS_SINGLE].contains(&(ngx_process as u32)) {
                enter(&*cycle);
            }
        }
    });
    NGX_OK as ngx_int_t
}

/// # Safety
///
/// As [`zone_of`], in a worker that starts.
unsafe fn enter(cycle: &ngx_cycle_t) {
    // SAFETY: the caller's promise.
    let (Some(zone), Some(main)) =
        (unsafe { (zone_of(cycle), cycle.http_main_conf_unchecked::<MainConf>(module())) })
    else {
        return;
    };
    // SAFETY: as above.
    let worker = HERE.get().get_or_init(|| Worker::start(cycle, unsafe { main.as_ref() }, zone));
    // SAFETY: nginx's own variable.
    let pid = u32::try_from(unsafe { ngx_pid }).unwrap_or_default();
    zone.enter(worker.slot, pid, clock::now());
    // SAFETY: the caller's promise.
    let listens = unsafe { wake::listen(worker.slot, Some(on_ring)) };
    if !listens {
        ngx::ngx_log_error!(
            NGX_LOG_WARN,
            cycle.log,
            "intermission: no doorbell (eventfd) can be had, so releases wait for \
             intermission_interval"
        );
    }
    // A predecessor may have died with requests that others wait for.
    zone.note_change();
    wake::ring(zone.slots().filter(|slot| *slot != worker.slot));
    if let Some(store) = &worker.store {
        store.begin(worker);
    }
    worker.look();
}

pub unsafe extern "C" fn exit_process(_: *mut ngx_cycle_t) {
    guarded((), || {
        let Some(worker) = Worker::here() else { return };
        worker.zone.leave(worker.slot);
        wake::ring(worker.zone.slots());
    });
}
