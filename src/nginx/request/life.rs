//! A request's way through the gate: what the module remembers of it, from its arrival to its end.

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::ptr::NonNull;
use core::time::Duration;

use nginx_sys::{ngx_http_request_t, ngx_palloc, ngx_pool_cleanup_t, ngx_queue_t};

use super::{body, outcome};
use crate::gate::lane::{Count, Ticket};
use crate::gate::time::Moment;
use crate::gate::totals::Totals;
use crate::gate::trial::Outcome;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::clock::now;
use crate::nginx::ffi::identity::{context, remembered};
use crate::nginx::queue::{Link, Step};
use crate::nginx::worker::Worker;
use crate::shm::Entry;

/// Where a request is. How it is counted follows from that and from nothing else, and so does whether
/// it is linked to others: it is as long as it is [`Held`](Stage::Held), [`Going`](Stage::Going) or
/// [`Leaving`](Stage::Leaving), and never else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has decided about it.
    Arriving,
    /// Its body is being read; what becomes of it is decided when that has come.
    Reading,
    /// In the queue of its app.
    Held,
    /// Let go, in a batch of its queue: its turn comes.
    Going(Flight),
    /// Refused with this status, in a batch of its queue.
    Leaving(u16),
    /// On its way to the backend, or back.
    Through(Flight),
    /// Refused with this status, also where it meets the gate again.
    Refused(u16),
}

/// How a request is counted that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flight {
    /// In flight.
    Plain,
    /// In flight, and among those that were held and released.
    Released,
    /// As those, and among the requests of the canary with this number.
    Canary(u64),
    /// Its connection has become something else (101): it is in flight no more.
    Upgraded,
    /// In flight for all apps together, as there was no room to count it for its own.
    Unattributed,
}

impl Flight {
    fn counts(self) -> &'static [Count] {
        match self {
            Self::Plain => &[Count::InFlight],
            Self::Released => &[Count::InFlight, Count::Released],
            Self::Canary(_) => &[Count::InFlight, Count::Released, Count::Trial],
            Self::Upgraded => &[Count::Upgraded],
            Self::Unattributed => &[],
        }
    }

    fn is_released(self) -> bool {
        matches!(self, Self::Released | Self::Canary(_))
    }
}

/// How it came, as `$intermission_status` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    None,
    Passed,
    Bypassed,
    Released,
    TimedOut,
    Rejected,
    Maintenance,
    Aborted,
}

impl Ending {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::Passed => "PASSED",
            Self::Bypassed => "BYPASSED",
            Self::Released => "RELEASED",
            Self::TimedOut => "TIMED_OUT",
            Self::Rejected => "REJECTED",
            Self::Maintenance => "MAINTENANCE",
            Self::Aborted => "ABORTED",
        }
    }
}

/// Lives in the request's pool, and ends with it: the pool's cleanup takes the request out of the
/// queue and the counts, however it ends.
#[repr(C)]
pub struct Passage {
    /// Among others that are held, or go together. Comes first: its list knows it by that.
    pub link: Link,
    /// In the list of the pool. Part of the passage, so that one allocation does for both.
    cleanup: UnsafeCell<ngx_pool_cleanup_t>,
    request: *mut ngx_http_request_t,
    stage: Cell<Stage>,
    /// The app whose gate it met last: it is counted there, or was let go from there.
    entry: Cell<Option<Entry>>,
    ticket: Cell<Ticket>,
    since: Cell<Moment>,
    until: Cell<Moment>,
    ending: Cell<Ending>,
    /// How far the gate is with its body.
    pub body: Cell<body::Progress>,
    /// What its batch wants of it at the moment.
    pub step: Cell<Option<Step>>,
    /// What its upstream is to call at its end, if a canary's verdict waits for that.
    pub answered: Cell<Option<outcome::Finalize>>,
}

impl Passage {
    /// Begins to remember a request that arrives.
    ///
    /// # Safety
    ///
    /// `request` is a living main request.
    #[inline(always)]
    pub unsafe fn create<'r>(request: *mut ngx_http_request_t) -> Option<&'r Self> {
        // SAFETY: the pool gives memory that is aligned for any type and lives as long as the
        // request; it is written before anybody sees it. The pool's list is nginx's own.
        unsafe {
            let pool = (*request).pool;
            let passage = ngx_palloc(pool, size_of::<Self>()).cast::<Self>();
            if passage.is_null() {
                return None;
            }
            passage.write(Self {
                link: Link::default(),
                cleanup: UnsafeCell::new(ngx_pool_cleanup_t {
                    handler: Some(end),
                    data: passage.cast(),
                    next: (*pool).cleanup,
                }),
                request,
                stage: Cell::new(Stage::Arriving),
                entry: Cell::new(None),
                ending: Cell::new(Ending::None),
                ticket: Cell::new(0),
                since: Cell::new(Moment::NEVER),
                until: Cell::new(Moment::NEVER),
                body: Cell::new(body::Progress::Unread),
                step: Cell::new(None),
                answered: Cell::new(None),
            });
            (*pool).cleanup = (*passage).cleanup.get();
            context(request).write(passage.cast());
            Some(&*passage)
        }
    }

    /// What is remembered of a request, as long as no redirect wiped it out.
    ///
    /// # Safety
    ///
    /// `request` is a living request.
    #[inline]
    pub unsafe fn known<'r>(request: *mut ngx_http_request_t) -> Option<&'r Self> {
        // SAFETY: the context is null or what `create` put there.
        unsafe { (*context(request)).cast::<Self>().as_ref() }
    }

    /// What is remembered of a request. An internal redirect wipes the modules' contexts, not the
    /// pool's cleanups.
    ///
    /// # Safety
    ///
    /// `request` is a living main request.
    #[inline]
    pub unsafe fn find<'r>(request: *mut ngx_http_request_t) -> Option<&'r Self> {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(known) = Self::known(request) {
                return Some(known);
            }
            if (*request).internal() == 0 && (*request).filter_finalize() == 0 {
                return None;
            }
            Self::search(request)
        }
    }

    /// # Safety
    ///
    /// As [`Passage::find`].
    #[cold]
    unsafe fn search<'r>(request: *mut ngx_http_request_t) -> Option<&'r Self> {
        // SAFETY: the caller's promise; what has our handler is what `create` wrote.
        unsafe {
            let found = remembered(request, end)?;
            context(request).write(found.as_ptr());
            Some(found.cast().as_ref())
        }
    }

    pub fn request(&self) -> *mut ngx_http_request_t {
        self.request
    }

    #[inline]
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    #[inline]
    pub fn is_through(&self) -> bool {
        matches!(self.stage(), Stage::Through(_))
    }

    /// Whether it went through the gate of this app.
    #[inline]
    pub fn is_through_at(&self, app: Option<Entry>) -> bool {
        let same = |(mine, app): (Entry, Entry)| mine.is_of_same_app(&app);
        self.is_through() && self.entry.get().zip(app).is_some_and(same)
    }

    /// Whether it was let go from the queue of this app while its body had not come: then its ticket is
    /// good there.
    pub fn comes_back_to(&self, app: &Entry) -> bool {
        self.comes_back() && self.entry.get().is_some_and(|entry| entry.is_of_same_app(app))
    }

    pub fn comes_back(&self) -> bool {
        matches!(self.stage(), Stage::Arriving | Stage::Reading) && self.entry.get().is_some()
    }

    /// How it came. The log is written before the request's end takes it out of the queue: whoever
    /// is logged as held has been given up.
    pub fn ending(&self) -> Ending {
        match self.stage() {
            Stage::Held | Stage::Going(_) => Ending::Aborted,
            Stage::Arriving | Stage::Reading if self.comes_back() => Ending::Aborted,
            _ => self.ending.get(),
        }
    }

    /// Why it was let go.
    pub fn let_go_as(&self) -> Ending {
        self.ending.get()
    }

    pub fn ticket(&self) -> Ticket {
        self.ticket.get()
    }

    pub fn since(&self) -> Moment {
        self.since.get()
    }

    pub fn entry(&self) -> Option<Entry> {
        self.entry.get()
    }

    pub fn was_held(&self) -> bool {
        !self.since.get().is_never()
    }

    /// For how long it was held, if it was.
    pub fn waited(&self) -> Option<Duration> {
        let until = self.until.get();
        let until = if until.is_never() { now() } else { until };
        self.was_held().then(|| until.since(self.since.get()))
    }

    /// A line in nginx's debug log, if it is written.
    pub fn debug(&self, what: &str) {
        // SAFETY: a living request has a connection with a log.
        let log = unsafe { (*(*self.request).connection).log };
        let (stage, ticket) = (self.stage(), self.ticket.get());
        ngx::ngx_log_debug!(
            mask: ngx::log::DebugMask::Http,
            log,
            "http intermission {what}, ticket {ticket}, {stage:?}"
        );
    }

    /// It goes through an open gate, at the first that it comes to; it has been counted.
    #[inline(always)]
    pub fn pass(&self, entry: Entry) {
        self.entry.set(Some(entry));
        self.ending.set(Ending::Passed);
        self.stage.set(Stage::Through(Flight::Plain));
    }

    /// It goes through; its worker has counted it, for its app, or else for all of them. How it came is
    /// told by the first gate that held it.
    pub fn go_through(&self, entry: Option<Entry>, flight: Flight, ending: Ending) {
        self.entry.set(entry);
        if !self.was_held() {
            self.ending.set(ending);
        }
        self.stage.set(Stage::Through(flight));
    }

    /// It goes through uncounted: no app has such a name.
    pub fn go_uncounted(&self) {
        self.go_through(None, Flight::Plain, Ending::Passed);
    }

    /// It is not the app's any more whose gate it went through, or was let go from: it comes to another
    /// one's, or has yet to be read. How it came is told as long as it is not held again.
    pub fn turn_back(&self) {
        if let Stage::Through(flight) | Stage::Going(flight) = self.stage() {
            // SAFETY: a request that goes on is alive.
            self.stop_counting(flight, unsafe { outcome::so_far(self.request) });
        }
        self.link.remove();
        self.entry.set(None);
        self.stage.set(Stage::Arriving);
    }

    /// Its body has to be read before anything else is decided.
    pub fn read_first(&self) {
        self.stage.set(Stage::Reading);
    }

    /// It was let go, but its body has not come: it keeps nobody waiting, takes no place, and comes
    /// back to the gate when it is whole.
    pub fn read_on(&self) {
        if let Stage::Going(flight) = self.stage.replace(Stage::Reading) {
            self.stop_counting(flight, Outcome::Void);
        }
    }

    /// Its body has come.
    pub fn has_come(&self) {
        self.stage.set(Stage::Arriving);
    }

    /// It has met the gate of this app.
    pub fn meet(&self, entry: Entry) {
        self.entry.set(Some(entry));
    }

    pub fn hold(&self, entry: Entry, ticket: Ticket, now: Moment) {
        if !self.comes_back_to(&entry) {
            self.ticket.set(ticket);
            self.since.set(now);
        }
        self.entry.set(Some(entry));
        self.until.set(Moment::NEVER);
        self.stage.set(Stage::Held);
        entry.lane.add(Count::Held);
    }

    /// It is let go, in flight from now on; `trial` is the canary that it belongs to, 0 for none.
    pub fn let_go(&self, trial: u64, now: Moment) {
        let flight = if trial > 0 { Flight::Canary(trial) } else { Flight::Released };
        if trial > 0 {
            outcome::expect_canary();
        }
        self.stop_holding(now);
        self.ending.set(Ending::Released);
        self.stage.set(Stage::Going(flight));
        if let Some(entry) = self.entry.get() {
            flight.counts().iter().for_each(|count| entry.lane.add(*count));
        }
    }

    /// It does not want to be released any more, and leaves its queue.
    pub fn withdraw(&self, worker: &Worker, ending: Ending, count: impl FnOnce(&mut Totals)) {
        self.stop_holding(now());
        self.ending.set(ending);
        self.stage.set(Stage::Arriving);
        worker.withdraw(self, count);
    }

    /// It is on its way to the backend.
    pub fn set_through(&self) {
        if let Stage::Going(flight) = self.stage() {
            self.stage.set(Stage::Through(flight));
        }
    }

    pub fn refuse(&self, status: u16, ending: Ending, now: Moment) {
        self.stop_holding(now);
        self.ending.set(ending);
        self.stage.set(Stage::Refused(status));
    }

    /// As [`Self::refuse`], when its turn comes.
    pub fn refuse_in_turn(&self, status: u16, ending: Ending, now: Moment) {
        self.refuse(status, ending, now);
        self.stage.set(Stage::Leaving(status));
    }

    fn stop_holding(&self, now: Moment) {
        self.until.set(now);
        if let (Stage::Held, Some(entry)) = (self.stage(), self.entry.get()) {
            entry.lane.sub(Count::Held);
        }
    }

    /// Its connection is used for something else from now on (101).
    pub fn upgrade(&self) {
        let Stage::Through(flight) = self.stage() else { return };
        if flight != Flight::Upgraded {
            self.entry.get().iter().for_each(|entry| entry.lane.add(Count::Upgraded));
            self.stage.set(Stage::Through(Flight::Upgraded));
            self.stop_counting(flight, Outcome::Good);
        }
    }

    /// The canary that it belongs to.
    #[inline]
    pub fn trial(&self) -> Option<u64> {
        match self.stage() {
            Stage::Through(Flight::Canary(trial)) => Some(trial),
            _ => None,
        }
    }

    /// The backend has answered, so it has no more say in the canary.
    pub fn judge(&self, outcome: Outcome) {
        let (Some(trial), Some(entry)) = (self.trial(), self.entry.get()) else { return };
        self.stage.set(Stage::Through(Flight::Released));
        self.stop_trying(trial, entry, outcome);
        if let Some(worker) = Worker::here() {
            worker.request_ended(entry.app());
        }
    }

    fn stop_trying(&self, trial: u64, entry: Entry, outcome: Outcome) {
        // In this order: one that is neither in flight nor over has died with its worker.
        if let Some(worker) = Worker::here() {
            let answers = self.answered.get().is_some();
            worker.trial_ended(entry.app(), trial, outcome, answers);
        }
        entry.lane.sub(Count::Trial);
    }

    /// The request is over, whatever the reason.
    fn end(&self) {
        let Some(worker) = Worker::here() else { return };
        match self.stage() {
            Stage::Through(flight) => {
                // SAFETY: the pool's cleanups run before its memory is freed.
                let (outcome, abandoned) =
                    unsafe { (outcome::of(self.request), outcome::is_abandoned(self.request)) };
                match (flight, self.entry.get()) {
                    (Flight::Upgraded, _) => {}
                    (Flight::Unattributed, _) if abandoned => {
                        worker.zone.abandon_unattributed(1, now())
                    }
                    (_, Some(entry)) if abandoned => worker.abandon(entry.app()),
                    _ => {}
                }
                self.stop_counting(flight, outcome);
            }
            Stage::Leaving(_) => self.link.remove(),
            Stage::Held | Stage::Going(_) | Stage::Arriving | Stage::Reading => {
                self.give_up(worker)
            }
            Stage::Refused(_) => {}
        }
    }

    /// It does not get to the backend: it ends, or its body cannot be read. One that was let go as its
    /// time was up has been counted as that.
    pub fn give_up(&self, worker: &Worker) {
        let stage = self.stage();
        if stage == Stage::Held {
            self.withdraw(worker, Ending::Aborted, |totals| totals.aborted += 1);
        } else if let Some(entry) = self.entry.get() {
            if self.ending.replace(Ending::Aborted) == Ending::Released {
                worker.count(entry.app(), |totals| totals.aborted += 1);
            }
        }
        self.link.remove();
        if let Stage::Going(flight) = stage {
            self.stop_counting(flight, Outcome::Void);
        }
        self.entry.set(None);
        self.stage.set(Stage::Arriving);
    }

    fn stop_counting(&self, flight: Flight, outcome: Outcome) {
        let Some(worker) = Worker::here() else { return };
        let Some(entry) = self.entry.get() else {
            // Callers who wait for it look again within their worker's interval: no need to tell them.
            if flight == Flight::Unattributed {
                worker.zone.leave_unattributed(worker.slot);
            }
            return;
        };
        for count in flight.counts().iter().filter(|count| **count != Count::Trial) {
            entry.lane.sub(*count);
        }
        if let Flight::Canary(trial) = flight {
            self.stop_trying(trial, entry, outcome);
        }
        if flight.is_released() {
            worker.released_ended();
        }
        if flight != Flight::Upgraded {
            worker.request_ended(entry.app());
        }
    }

    /// Whether nothing happened to it but that it went through an open gate and was answered.
    #[inline]
    fn just_passed(&self) -> Option<Entry> {
        // SAFETY: the pool's cleanups run before its memory is freed.
        if self.stage() != Stage::Through(Flight::Plain)
            || unsafe { !outcome::is_answered(self.request) }
        {
            return None;
        }
        self.entry.get()
    }

    /// The passage whose link this is.
    ///
    /// # Safety
    ///
    /// The link is that of a living passage.
    pub unsafe fn of_link<'r>(link: NonNull<ngx_queue_t>) -> &'r Self {
        // SAFETY: the link is the first field of a passage.
        unsafe { link.cast::<Self>().as_ref() }
    }
}

unsafe extern "C" fn end(passage: *mut c_void) {
    // SAFETY: nginx passes what `create` wrote.
    let passage = unsafe { &*passage.cast::<Passage>() };
    match passage.just_passed() {
        // The short way, as through the gate.
        Some(entry) => {
            entry.lane.sub(Count::InFlight);
            if !entry.is_open() {
                tell_of_end(entry);
            }
        }
        None => end_slowly(passage),
    }
}

#[cold]
#[inline(never)]
fn end_slowly(passage: &Passage) {
    guarded((), || passage.end());
}

#[cold]
#[inline(never)]
fn tell_of_end(entry: Entry) {
    guarded((), || {
        if let Some(worker) = Worker::here() {
            worker.request_ended(entry.app());
        }
    });
}
