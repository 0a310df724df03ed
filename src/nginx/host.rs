//! The world of a worker that is nginx: its events, its clock, its connections, its log.

use core::cell::{Cell, OnceCell, UnsafeCell};
use core::ptr;
use core::time::Duration;
use std::io;
use std::path::PathBuf;

use nginx_sys::{NGX_LOG_NOTICE, NGX_LOG_WARN, ngx_http_request_t, ngx_pool_cleanup_t};

use crate::agreement::Desk;
use crate::control::args::shown;
use crate::gate::time::Moment;
use crate::gate::{Cause, Change};
use crate::nginx::conf::coverage;
use crate::nginx::ffi::background::Work;
use crate::nginx::ffi::event::{Called, Event};
use crate::nginx::ffi::globals::is_exiting;
use crate::nginx::ffi::local::Local;
use crate::nginx::ffi::processes::{exists, started};
use crate::nginx::ffi::request::{ErrorShown, Output, Request};
use crate::nginx::ffi::{bells, clock, connections, successor};
use crate::nginx::zone::ZoneLock;
use crate::shm::{AppId, Liveness};
use crate::worker::{self, Host, LEASE, Step, Task, Told, When};

mod probe;
use probe::Probes;

pub type Worker = worker::Worker<Nginx>;
pub type Passage = worker::Passage<Nginx>;

static HERE: Local<OnceCell<Worker>> = Local::new(OnceCell::new());

/// Whether this worker has ever let a canary go or taken a request back: few have, and only then answers
/// are looked at.
static LOOKS_AT_ANSWERS: Local<Cell<bool>> = Local::new(Cell::new(false));

#[inline(always)]
pub fn looks_at_answers() -> bool {
    LOOKS_AT_ANSWERS.get().get()
}

pub fn look_at_answers() {
    LOOKS_AT_ANSWERS.get().set(true);
}

pub struct Nginx {
    pub probes: Probes,
    timer: Event<'static>,
    /// Where the state is kept.
    pub state_file: Option<PathBuf>,
    pub desk: Desk<Work<io::Result<()>>>,
    /// When it last said that connections, or the zone's room, run out.
    warned: Cell<Moment>,
}

/// What is remembered of a request for nginx's sake.
pub struct Own {
    /// In the list of the pool. Part of the passage, so that one allocation does for both.
    pub cleanup: UnsafeCell<ngx_pool_cleanup_t>,
    request: *mut ngx_http_request_t,
    /// How far the gate is with its body.
    pub body: Cell<Progress>,
    /// What its batch wants of it at the moment.
    pub step: Cell<Option<Step>>,
    /// What is remembered of it at its backend: of few, so it stands elsewhere.
    at_backend: Cell<*const AtBackend>,
    /// When it first came to a backend that may be down; before that, the beginning of all time.
    arrived: Cell<Moment>,
}

impl Own {
    /// # Safety
    ///
    /// It becomes part of what is in the request's pool, and is looked at as long as that is there only.
    #[inline(always)]
    pub unsafe fn new(request: Request<'_>, cleanup: ngx_pool_cleanup_t) -> Self {
        Self {
            cleanup: UnsafeCell::new(cleanup),
            request: request.as_ptr(),
            body: Cell::new(Progress::Unread),
            step: Cell::new(None),
            at_backend: Cell::new(ptr::null()),
            arrived: Cell::new(Moment::default()),
        }
    }

    #[inline(always)]
    pub fn request(&self) -> Request<'_> {
        // SAFETY: this is in the pool of the request.
        unsafe { Request::new(self.request) }
    }

    /// It comes to a backend that may be down.
    #[inline]
    pub fn arrive(&self) {
        if self.arrived.get() == Moment::default() {
            self.arrived.set(clock::arrival());
        }
    }

    pub fn arrived(&self) -> Moment {
        self.arrived.get()
    }

    pub fn at_backend(&self) -> Option<&AtBackend> {
        // SAFETY: it is in the pool of the request, as this is.
        unsafe { self.at_backend.get().as_ref() }
    }

    /// Remembers from now on what happens to the request at its backend. `None` if there is no memory.
    pub fn begin_at_backend(&self) -> Option<()> {
        let at = AtBackend {
            waits_for_end: Cell::new(false),
            output: Cell::new(None),
            taken: Cell::new(None),
            parked: Cell::new(None),
            replayed: Cell::new(false),
        };
        self.at_backend.set(self.request().pool().put(at)?);
        Some(())
    }
}

/// What is remembered of a request at its backend.
pub struct AtBackend {
    /// Whether a canary's verdict waits for the end of its answer.
    pub waits_for_end: Cell<bool>,
    /// What its upstream is to send with, if that shows that the backend is there.
    pub output: Cell<Option<Output>>,
    /// It is taken back: until when it is held, and what of it will be restored.
    pub taken: Cell<Option<Taken>>,
    /// It is held in the phase in which it was taken back; whether its answer has no body.
    pub parked: Cell<Option<bool>>,
    /// It broke off on its way, and was asked again: that is done once.
    pub replayed: Cell<bool>,
}

#[derive(Clone, Copy)]
pub struct Taken {
    pub until: Moment,
    pub error: ErrorShown,
}

/// How far the gate is with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Unread,
    /// nginx is being asked for it.
    Asked,
    Reading,
    Come,
}

impl Nginx {
    /// `timer` is called when something is due.
    pub fn new(state_file: Option<PathBuf>, timer: impl Called) -> Self {
        let timer = Event::own(timer);
        timer.set_cancelable();
        Self {
            timer,
            state_file,
            probes: Probes::default(),
            desk: Desk::new(),
            warned: Cell::new(Moment::default()),
        }
    }

    /// A line in the error log about what runs out, at most once a second.
    fn warn(&self, now: Moment, line: impl FnOnce() -> String) {
        if now.since(self.warned.get()) >= Duration::from_secs(1) {
            self.warned.set(now);
            let log = ngx::log::ngx_cycle_log().as_ptr();
            ngx::ngx_log_error!(NGX_LOG_WARN, log, "intermission: {}", line());
        }
    }
}

impl Called for Task {
    fn call(&self) {
        if let Some(worker) = Worker::here() {
            worker.do_task(*self);
        }
    }
}

impl Host for Nginx {
    type Request = Own;
    type Lock = ZoneLock;
    type Event = Event<'static>;
    /// The write event of its connection.
    type Caller = Event<'static>;

    fn now(&self) -> Moment {
        clock::now()
    }

    fn liveness(&self, now: Moment) -> Liveness {
        Liveness { now, lease: LEASE, exists, started }
    }

    fn event(&self, task: Task) -> Event<'static> {
        Event::own(task)
    }

    fn post(&self, event: &Event<'static>, when: When) {
        match when {
            When::Soon => event.post(),
            When::Last => {
                event.unpost();
                event.post();
            }
            When::NextTurn => event.post_next(),
        }
    }

    fn set_timer(&self, at: Moment, now: Moment) {
        // It is taken out first, as nginx would else leave it where it is for a difference of less than
        // 300 ms.
        self.timer.stop_timer();
        if !at.is_never() {
            self.timer.set_timer(at.since(now));
        }
    }

    fn due(&self) -> Moment {
        self.desk.due()
    }

    fn ring(&self, slots: impl Iterator<Item = usize>) {
        bells::ring(slots);
    }

    fn run(&self, passage: &Passage, step: Step) {
        passage.own.step.set(Some(step));
        // SAFETY: a request in a batch is alive, and its connection's write event runs it; it may be
        // no more when that returns.
        unsafe {
            let write = passage.request().connection().write().as_ptr();
            if let Some(run) = (*write).handler {
                run(write);
            }
        }
    }

    fn is_being_read(&self, passage: &Passage) -> bool {
        matches!(passage.own.body.get(), Progress::Asked | Progress::Reading)
    }

    fn wake(&self, caller: Event<'static>) {
        caller.post();
    }

    fn is_exiting(&self) -> bool {
        is_exiting()
    }

    fn is_succeeded(&self) -> bool {
        self.state_file.is_some() && successor::exists()
    }

    fn uncounted_processes(&self) -> usize {
        coverage::strangers() + usize::from(successor::serves())
    }

    fn is_short_of_connections(&self) -> bool {
        connections::are_short()
    }

    fn free_connections(&self) -> usize {
        connections::free_for_release()
    }

    fn can_probe(&self, app: AppId, outage: u64) -> bool {
        self.probes.know(app, outage)
    }

    fn probe(&self, app: AppId, outage: u64) {
        self.probes.begin(app, outage);
    }

    fn tell(&self, told: Told<'_>) {
        match told {
            Told::Changed { name, change, held, left_out, now } => {
                if let Some(left_out) = left_out {
                    log_change_by_itself(name, change, held, left_out);
                }
                if self.state_file.is_some() {
                    self.desk.note_change(now);
                }
            }
            Told::Leaves { holding } => {
                ngx::ngx_log_error!(
                    NGX_LOG_NOTICE,
                    ngx::log::ngx_cycle_log().as_ptr(),
                    "intermission: nginx ends, and nobody is left to resume: {holding} held requests \
                     of this worker are let go"
                );
            }
            Told::NoRoom { name, now } => self.warn(now, || {
                format!(
                    "there is no room to count requests of app \"{}\", so every drain waits for \
                     them: enlarge intermission_zone",
                    shown(name)
                )
            }),
            Told::NoConnections { holding, now } => self.warn(now, || {
                format!(
                    "requests are rejected, as {holding} are held and what is left of the \
                     connections is kept for their release: raise worker_connections (or \
                     worker_rlimit_nofile)"
                )
            }),
            Told::CanaryGoes => look_at_answers(),
        }
    }
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
}

/// One line in the error log for each change of state.
pub fn log_change(name: &[u8], change: &Change, held: u32, by: &str) {
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

/// The same for a change that nobody called for, with how many before it have no line.
fn log_change_by_itself(name: &[u8], change: &Change, held: u32, left_out: u32) {
    let by = change.cause.name();
    match left_out {
        0 => log_change(name, change, held, by),
        more => log_change(name, change, held, &format!("{by} (left out before: {more})")),
    }
}
