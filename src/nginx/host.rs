//! The world of a worker that is nginx: its events, its clock, its connections, its log.

use core::cell::{Cell, OnceCell, UnsafeCell};
use core::ffi::c_void;
use core::time::Duration;
use std::path::PathBuf;

use nginx_sys::{
    NGX_LOG_NOTICE, NGX_LOG_WARN, ngx_add_timer, ngx_connection_t, ngx_cycle, ngx_del_timer,
    ngx_delete_posted_event, ngx_event_handler_pt, ngx_event_t, ngx_http_request_t,
    ngx_output_chain_filter_pt, ngx_pool_cleanup_t, ngx_post_event, ngx_posted_events,
    ngx_posted_next_events,
};

use crate::control::args::shown;
use crate::gate::time::{Moment, micros};
use crate::gate::{Cause, Change};
use crate::nginx::conf::coverage;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::local::Local;
use crate::nginx::ffi::processes::{exists, is_exiting, started};
use crate::nginx::ffi::{bells, clock, connections, successor};
use crate::nginx::zone::ZoneLock;
use crate::shm::{AppId, Liveness};
use crate::worker::{self, Host, LEASE, Step, Task, Told, When};

mod probe;
use probe::Probes;

pub type Worker = worker::Worker<Nginx>;
pub type Passage = worker::Passage<Nginx>;

/// How long what changed by itself, as at the end of a release, waits to be written with more of it.
const SAVE_AFTER: Duration = Duration::from_millis(100);

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
    timer: UnsafeCell<ngx_event_t>,
    /// Where the state is kept.
    pub state_file: Option<PathBuf>,
    /// When the state file, which could not be written yet, is tried again.
    pub retry: Cell<Moment>,
    /// When it is told of what changed by itself: each write waits for the disk, and what the file says
    /// until then means the same, or is safe.
    pub save: Cell<Moment>,
    /// When it last said that connections, or the zone's room, run out.
    warned: Cell<Moment>,
}

/// A request, as nginx knows it.
pub struct Request {
    /// In the list of the pool. Part of the passage, so that one allocation does for both.
    pub cleanup: UnsafeCell<ngx_pool_cleanup_t>,
    pub request: *mut ngx_http_request_t,
    /// How far the gate is with its body.
    pub body: Cell<Progress>,
    /// What its batch wants of it at the moment.
    pub step: Cell<Option<Step>>,
    /// What is remembered of it at its backend: of few, so it stands elsewhere.
    pub at_backend: Cell<Option<&'static AtBackend>>,
}

/// What is remembered of a request at its backend.
pub struct AtBackend {
    /// When it got there first.
    pub arrived: Moment,
    /// What its upstream is to call at its end, if a canary's verdict waits for that.
    pub answered: Cell<Option<Finalize>>,
    /// What its upstream is to call at its end, and to send with, if it may be taken back.
    pub finalize: Cell<Option<Finalize>>,
    pub output: Cell<(ngx_output_chain_filter_pt, *mut c_void)>,
    /// It is taken back: until when it is held, and what of it will be restored.
    pub taken: Cell<Option<Taken>>,
    /// It is held in the phase in which it was taken back; whether its answer has no body.
    pub parked: Cell<Option<bool>>,
    /// It broke off on its way, and was asked again: that is done once.
    pub replayed: Cell<bool>,
}

/// What nginx changes of a request that it is about to answer with an error.
#[derive(Clone, Copy)]
pub struct Taken {
    pub until: Moment,
    pub err_status: usize,
    pub error_page: u32,
}

/// What nginx calls when it is through with a backend.
pub type Finalize = unsafe extern "C" fn(*mut ngx_http_request_t, isize);

/// How far the gate is with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Unread,
    /// nginx is being asked for it.
    Asked,
    Reading,
    Come,
}

/// An event of nginx's. Stays where it is made: nginx has pointers to it.
pub struct Event(Box<Posted>);

struct Posted {
    event: UnsafeCell<ngx_event_t>,
    task: Task,
}

impl Nginx {
    pub fn new(state_file: Option<PathBuf>) -> Self {
        Self {
            // SAFETY: nginx's events may be zeroed.
            timer: UnsafeCell::new(unsafe { core::mem::zeroed() }),
            state_file,
            probes: Probes::default(),
            retry: Cell::new(Moment::NEVER),
            save: Cell::new(Moment::NEVER),
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

impl Host for Nginx {
    type Request = Request;
    type Lock = ZoneLock;
    type Event = Event;
    /// The write event of its connection.
    type Caller = *mut ngx_event_t;

    fn now(&self) -> Moment {
        clock::now()
    }

    fn liveness(&self, now: Moment) -> Liveness {
        Liveness { now, lease: LEASE, exists, started }
    }

    fn event(&self, task: Task) -> Event {
        // SAFETY: nginx's events may be zeroed.
        let event = UnsafeCell::new(unsafe { core::mem::zeroed() });
        let posted = Box::new(Posted { event, task });
        // SAFETY: the box does not move its content, and nobody else knows it yet.
        unsafe {
            let event = posted.event.get();
            (*event).handler = Some(on_event);
            (*event).data = core::ptr::from_ref(&*posted).cast_mut().cast();
            (*event).log = (*ngx_cycle).log;
        }
        Event(posted)
    }

    fn post(&self, event: &Event, when: When) {
        let event = event.0.event.get();
        // SAFETY: the event is initialised and stays where it is; the queues are nginx's own.
        unsafe {
            if when == When::Last && (*event).posted() != 0 {
                ngx_delete_posted_event(event);
            }
            match when {
                When::Soon | When::Last => ngx_post_event(event, &raw mut ngx_posted_events),
                When::NextTurn => ngx_post_event(event, &raw mut ngx_posted_next_events),
            }
        }
    }

    fn set_timer(&self, at: Moment, now: Moment) {
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

    fn due(&self) -> Moment {
        self.retry.get().min(self.save.get())
    }

    fn ring(&self, slots: impl Iterator<Item = usize>) {
        bells::ring(slots);
    }

    fn run(&self, passage: &Passage, step: Step) {
        passage.own.step.set(Some(step));
        // SAFETY: a request in a batch is alive, and its connection's write event runs it; it may be
        // no more when that returns.
        unsafe {
            let write = (*(*passage.own.request).connection).write;
            if let Some(run) = (*write).handler {
                run(write);
            }
        }
    }

    fn is_being_read(&self, passage: &Passage) -> bool {
        matches!(passage.own.body.get(), Progress::Asked | Progress::Reading)
    }

    fn wake(&self, caller: *mut ngx_event_t) {
        // SAFETY: a caller is forgotten before its connection goes.
        unsafe { ngx_post_event(caller, &raw mut ngx_posted_events) };
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

    fn can_probe(&self, app: AppId) -> bool {
        self.probes.know(app)
    }

    fn probe(&self, app: AppId, outage: u64) {
        self.probes.begin(app, outage);
    }

    fn tell(&self, told: Told<'_>) {
        match told {
            Told::Changed { name, change, held, now } => {
                log_change(name, change, held, change.cause.name());
                if self.state_file.is_some() {
                    self.save.set(self.save.get().min(now.plus(SAVE_AFTER)));
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

    /// This process becomes a worker, whose timer calls `on_timer`.
    pub fn begin(start: impl FnOnce() -> Self, on_timer: ngx_event_handler_pt) -> &'static Self {
        let worker = HERE.get().get_or_init(start);
        let timer = worker.host.timer.get();
        // SAFETY: the worker stays where it is now, and its timer has no other user yet.
        unsafe {
            (*timer).data = nobody().cast();
            (*timer).handler = on_timer;
            (*timer).log = (*ngx_cycle).log;
            (*timer).set_cancelable(1);
        }
        worker
    }

    /// When the state file, which could not be written yet, is to be tried again.
    pub fn retry_at(&self, at: Moment) {
        self.host.retry.set(at);
        self.arm(clock::now());
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

/// What a timer has that is no connection's: nginx's debug log shows the descriptor of each.
fn nobody() -> *mut ngx_connection_t {
    // SAFETY: nginx's connections may be zeroed.
    let mut connection: ngx_connection_t = unsafe { core::mem::zeroed() };
    connection.fd = -1;
    Box::into_raw(Box::new(connection))
}

unsafe extern "C" fn on_event(event: *mut ngx_event_t) {
    guarded((), || {
        // SAFETY: the event's data is what `Nginx::event` made, which lives as long as the worker.
        let task = unsafe { (*(*event).data.cast::<Posted>()).task };
        if let Some(worker) = Worker::here() {
            worker.do_task(task);
        }
    });
}
