//! A request's way through the gate: what the module remembers of it, from its arrival to its end.

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::ptr::NonNull;
use core::time::Duration;

use nginx_sys::{
    NGX_DECLINED, NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_http_request_t, ngx_int_t, ngx_palloc,
    ngx_pool_cleanup_t, ngx_queue_t,
};

use super::boundary::guarded;
use super::module::{self, context};
use super::worker::Worker;
use super::{hold, outcome};
use crate::gate::lane::{Count, Ticket};
use crate::gate::time::Moment;
use crate::gate::trial::Outcome;
use crate::shm::Entry;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Arriving,
    Held,
    /// Let go, but not on its way yet: its body may have to be read before.
    LetGo,
    Through,
    /// Refused with this status, also where it meets the gate again.
    Refused(u16),
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
    /// In the queue of its worker while it is held. Comes first: the queue knows its members by it.
    pub(super) link: UnsafeCell<ngx_queue_t>,
    /// In the list of the pool. Part of the passage, so that one allocation does for both.
    cleanup: UnsafeCell<ngx_pool_cleanup_t>,
    request: *mut ngx_http_request_t,
    entry: Cell<Option<Entry>>,
    ticket: Cell<Ticket>,
    since: Cell<Moment>,
    until: Cell<Moment>,
    stage: Cell<Stage>,
    ending: Cell<Ending>,
    /// Counted among the released, and among the canary's, while it is in flight.
    released: Cell<bool>,
    /// Which canary's, 0 for none.
    trial: Cell<u64>,
    upgraded: Cell<bool>,
    /// Counted for all apps together while it is in flight, see [`super::worker::Answer::Apart`].
    apart: Cell<bool>,
    /// Whether its body is being read by the gate.
    pub(super) reading: Cell<bool>,
    /// Whether it goes to the end of the posted events once, see [`super::hold::gets_body_later`].
    pub(super) detour: Cell<bool>,
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
                link: UnsafeCell::default(),
                cleanup: UnsafeCell::new(ngx_pool_cleanup_t {
                    handler: Some(end),
                    data: passage.cast(),
                    next: (*pool).cleanup,
                }),
                request,
                entry: Cell::new(None),
                stage: Cell::new(Stage::Arriving),
                ending: Cell::new(Ending::None),
                ticket: Cell::new(0),
                since: Cell::new(Moment::NEVER),
                until: Cell::new(Moment::NEVER),
                released: Cell::new(false),
                trial: Cell::new(0),
                upgraded: Cell::new(false),
                apart: Cell::new(false),
                reading: Cell::new(false),
                detour: Cell::new(false),
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

    #[inline]
    pub fn is_through(&self) -> bool {
        self.stage.get() == Stage::Through
    }

    /// Whether it went through the gate of this app.
    #[inline]
    pub fn is_through_at(&self, app: Option<Entry>) -> bool {
        let same = |(mine, app): (Entry, Entry)| mine.is_of_same_app(&app);
        self.is_through() && self.entry.get().zip(app).is_some_and(same)
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
            let found = module::remembered(request, end)?;
            context(request).write(found.as_ptr());
            Some(found.cast().as_ref())
        }
    }

    pub fn request(&self) -> *mut ngx_http_request_t {
        self.request
    }

    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// How it came. The log is written before the request's end takes it out of the queue: whoever
    /// is logged as held has been given up.
    pub fn ending(&self) -> Ending {
        match self.stage.get() {
            Stage::Held | Stage::LetGo => Ending::Aborted,
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

    /// For how long it was held, if it was.
    pub fn waited(&self) -> Option<Duration> {
        if self.since.get().is_never() {
            return None;
        }
        let until = self.until.get();
        let until = if until.is_never() { super::clock::now() } else { until };
        Some(until.since(self.since.get()))
    }

    /// A line in nginx's debug log, if it is written.
    pub fn debug(&self, what: &str) {
        // SAFETY: a living request has a connection with a log.
        let log = unsafe { (*(*self.request).connection).log };
        let (stage, ticket) = (self.stage.get(), self.ticket.get());
        ngx::ngx_log_debug!(
            mask: ngx::log::DebugMask::Http,
            log,
            "http intermission {what}, ticket {ticket}, {stage:?}"
        );
    }

    /// What a request does that meets the gate once more.
    ///
    /// # Safety
    ///
    /// The passage is that of a living request, in a phase.
    pub unsafe fn meet_again(&self) -> ngx_int_t {
        match self.stage.get() {
            Stage::Through => NGX_DECLINED as ngx_int_t,
            // Its arrival failed, so nobody has decided about it.
            Stage::Arriving => NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t,
            // SAFETY: the caller's promise.
            Stage::Held | Stage::LetGo => unsafe { hold::fail(self) },
            Stage::Refused(status) => status as ngx_int_t,
        }
    }

    /// It goes through an open gate, at the first that it comes to; it has been counted.
    #[inline(always)]
    pub fn pass(&self, entry: Entry) {
        self.entry.set(Some(entry));
        self.ending.set(Ending::Passed);
        self.stage.set(Stage::Through);
    }

    /// It goes through without having been held; its worker has counted it.
    #[inline]
    pub fn go_through(&self, entry: Option<Entry>, ending: Ending) {
        self.entry.set(entry);
        if self.since.get().is_never() {
            self.ending.set(ending);
        }
        self.stage.set(Stage::Through);
    }

    /// It comes to the gate of another app than the one that it went through, so it is that one's no
    /// more. How it came there is told as long as it is not held again.
    pub fn turn_back(&self) {
        if let Some(entry) = self.entry.take() {
            // SAFETY: a request that goes on is alive.
            self.leave(entry, unsafe { outcome::so_far(self.request) });
        }
        self.stop_counting_apart();
        self.stage.set(Stage::Arriving);
    }

    /// As [`Self::go_through`], where its worker could not count it for its app.
    pub fn go_apart(&self, ending: Ending) {
        self.apart.set(true);
        self.go_through(None, ending);
    }

    /// It has met the gate of this app.
    pub fn meet(&self, entry: Entry) {
        self.entry.set(Some(entry));
    }

    pub fn hold(&self, entry: Entry, ticket: Ticket, now: Moment) {
        self.entry.set(Some(entry));
        self.ticket.set(ticket);
        self.since.set(now);
        self.until.set(Moment::NEVER);
        self.stage.set(Stage::Held);
    }

    /// It is let go, in flight from now on.
    pub fn let_go(&self, ending: Ending, trial: u64, now: Moment) {
        let Some(entry) = self.entry.get() else { return };
        self.stage.set(Stage::LetGo);
        self.ending.set(ending);
        self.until.set(now);
        entry.lane.add(Count::InFlight);
        if ending == Ending::Released {
            self.released.set(true);
            entry.lane.add(Count::Released);
        }
        if trial > 0 {
            self.trial.set(trial);
            entry.lane.add(Count::Trial);
        }
    }

    /// It is on its way to the backend.
    pub fn set_through(&self) {
        self.stage.set(Stage::Through);
    }

    pub fn refuse(&self, status: u16, ending: Ending, now: Moment) {
        self.until.set(now);
        self.ending.set(ending);
        self.stage.set(Stage::Refused(status));
    }

    /// Its connection is used for something else from now on (101).
    pub fn upgrade(&self) {
        self.stop_counting_apart();
        let (Stage::Through, Some(entry), false) =
            (self.stage.get(), self.entry.get(), self.upgraded.get())
        else {
            return;
        };
        self.upgraded.set(true);
        entry.lane.add(Count::Upgraded);
        entry.lane.sub(Count::InFlight);
        self.stop_counting_release(entry, Outcome::Good);
        if let Some(worker) = Worker::here() {
            worker.request_ended(entry.app());
        }
    }

    /// The request is over, whatever the reason.
    fn end(&self) {
        let Some(worker) = Worker::here() else { return };
        match (self.stage.get(), self.entry.get()) {
            (Stage::Held, Some(_)) => {
                self.until.set(super::clock::now());
                self.ending.set(Ending::Aborted);
                worker.withdraw(self, |totals| totals.aborted += 1);
            }
            (Stage::LetGo, Some(entry)) => {
                // One whose time was up has been counted as that.
                if self.ending.replace(Ending::Aborted) == Ending::Released {
                    worker.count(entry.app(), |totals| totals.aborted += 1);
                }
                self.leave(entry, Outcome::Void);
            }
            (Stage::Through, Some(entry)) if self.upgraded.get() => {
                entry.lane.sub(Count::Upgraded);
            }
            (Stage::Through, Some(entry)) => self.leave(entry, self.outcome()),
            _ => self.stop_counting_apart(),
        }
    }

    /// Callers who wait for it look again within their worker's interval: no need to tell them.
    fn stop_counting_apart(&self) {
        if let (true, Some(worker)) = (self.apart.replace(false), Worker::here()) {
            worker.zone.leave_apart(worker.slot);
        }
    }

    fn leave(&self, entry: Entry, outcome: Outcome) {
        entry.lane.sub(Count::InFlight);
        self.stop_counting_release(entry, outcome);
        if let Some(worker) = Worker::here() {
            worker.request_ended(entry.app());
        }
    }

    /// Whether nothing happened to it but that it went through an open gate.
    #[inline]
    fn just_passed(&self) -> Option<Entry> {
        let plain = self.ending.get() == Ending::Passed && !self.upgraded.get();
        self.entry.get().filter(|_| plain)
    }

    fn stop_counting_release(&self, entry: Entry, outcome: Outcome) {
        if self.released.replace(false) {
            entry.lane.sub(Count::Released);
        }
        let trial = self.trial.replace(0);
        if trial > 0 {
            // In this order: one that is neither in flight nor over has died with its worker.
            if let Some(worker) = Worker::here() {
                worker.trial_ended(entry.app(), trial, outcome);
            }
            entry.lane.sub(Count::Trial);
        }
    }

    /// What a canary is judged by.
    fn outcome(&self) -> Outcome {
        // SAFETY: the pool's cleanups run before its memory is freed.
        unsafe { outcome::of(self.request) }
    }

    /// The passage whose link this is.
    ///
    /// # Safety
    ///
    /// The link is that of a living passage.
    pub(super) unsafe fn of_link<'r>(link: NonNull<ngx_queue_t>) -> &'r Self {
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
