//! The requests of one app that this worker holds, in the order of their tickets.

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::ptr::NonNull;

use nginx_sys::{
    ngx_cycle, ngx_delete_posted_event, ngx_event_t, ngx_post_event, ngx_posted_events,
    ngx_posted_next_events, ngx_queue_empty, ngx_queue_init, ngx_queue_insert_before,
    ngx_queue_remove, ngx_queue_t,
};

use super::boundary::guarded;
use super::passage::Passage;
use super::worker::Worker;
use crate::gate::lane::{Lane, NO_TICKET, Ticket};
use crate::gate::time::Moment;
use crate::shm::AppId;

/// Stays where it is made: nginx has pointers into it.
pub struct Queue {
    pub app: AppId,
    /// Its worker's, which can be another each time that the first request is held.
    pub lane: Cell<&'static Lane>,
    members: UnsafeCell<ngx_queue_t>,
    /// Whether a batch was let go whose events have not all run: the head that the others see is
    /// still that of the batch.
    busy: Cell<bool>,
    /// Whether the batch takes a detour, and its end as well.
    detour: Cell<bool>,
    /// The event that comes behind a batch.
    turn: UnsafeCell<ngx_event_t>,
}

impl Queue {
    pub fn new(app: AppId, lane: &'static Lane) -> Box<Self> {
        let queue = Box::new(Self {
            app,
            lane: Cell::new(lane),
            members: UnsafeCell::default(),
            busy: Cell::new(false),
            detour: Cell::new(false),
            // SAFETY: nginx's events may be zeroed.
            turn: UnsafeCell::new(unsafe { core::mem::zeroed() }),
        });
        // SAFETY: the box does not move its content, so the queue and the event may be pointed to.
        unsafe {
            ngx_queue_init(queue.members.get());
            let turn = queue.turn.get();
            (*turn).handler = Some(on_turn);
            (*turn).data = core::ptr::from_ref(&*queue).cast_mut().cast();
            (*turn).log = (*ngx_cycle).log;
        }
        queue
    }

    pub fn is_busy(&self) -> bool {
        self.busy.get()
    }

    pub fn is_empty(&self) -> bool {
        // SAFETY: initialised in `new`.
        unsafe { ngx_queue_empty(self.members.get()) }
    }

    pub fn first(&self) -> Option<&Passage> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: a member's link; members take themselves out before they go.
        unsafe { Some(Passage::of_link(NonNull::new((*self.members.get()).next)?)) }
    }

    pub fn first_ticket(&self) -> Ticket {
        self.first().map_or(NO_TICKET, Passage::ticket)
    }

    /// Puts a request at the end. Under the zone's lock, so that nobody opens the app in between.
    pub fn push(&self, passage: &Passage, lane: &'static Lane) {
        let was_empty = self.is_empty();
        self.lane.set(lane);
        // SAFETY: the link is in no queue yet.
        unsafe { ngx_queue_insert_before(self.members.get(), passage.link.get()) };
        if was_empty && !self.busy.get() {
            lane.publish_head(passage.ticket(), passage.since());
        }
    }

    pub fn remove(&self, passage: &Passage) {
        // SAFETY: a held request is a member.
        unsafe { ngx_queue_remove(passage.link.get()) };
    }

    /// Shows the others who is first here now.
    pub fn publish(&self) {
        match self.first() {
            Some(first) => self.lane.get().publish_head(first.ticket(), first.since()),
            None => self.lane.get().publish_head(NO_TICKET, Moment::NEVER),
        }
    }

    /// A batch goes: [`Worker::after_batch`] is called when all events posted so far have run.
    pub fn post_end_of_batch(&self, detour: bool) {
        self.busy.set(true);
        self.detour.set(detour);
        self.post();
    }

    /// Puts the event behind all that are posted, also if it is among them already.
    fn post(&self) {
        let turn = self.turn.get();
        // SAFETY: the event is initialised and stays where it is.
        unsafe {
            if (*turn).posted() != 0 {
                ngx_delete_posted_event(turn);
            }
            ngx_post_event(turn, &raw mut ngx_posted_events);
        }
    }

    /// Comes back when the event loop has turned once, so that other clients are served.
    pub fn post_next(&self) {
        // SAFETY: as above.
        unsafe { ngx_post_event(self.turn.get(), &raw mut ngx_posted_next_events) };
    }
}

unsafe extern "C" fn on_turn(event: *mut ngx_event_t) {
    guarded((), || {
        // SAFETY: the event's data is the queue, which lives as long as the worker.
        let queue = unsafe { &*(*event).data.cast::<c_void>().cast::<Queue>() };
        let Some(worker) = Worker::here() else { return };
        if queue.detour.replace(false) {
            queue.post();
        } else if queue.busy.replace(false) {
            queue.publish();
            worker.after_batch(queue);
        } else {
            worker.attend(queue.app);
        }
    });
}
