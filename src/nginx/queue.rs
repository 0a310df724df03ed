//! The requests of one app that this worker holds, in the order of their tickets.
//!
//! What is let go together leaves as a batch: one event runs all of it, in order. Nothing else makes
//! a request of a batch go on, whatever happens on its connection meanwhile.

use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;

use nginx_sys::{
    ngx_cycle, ngx_delete_posted_event, ngx_event_t, ngx_post_event, ngx_posted_events,
    ngx_posted_next_events, ngx_queue_empty, ngx_queue_init, ngx_queue_insert_before,
    ngx_queue_remove, ngx_queue_t,
};

use crate::gate::lane::{Lane, NO_TICKET, Ticket};
use crate::gate::time::Moment;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::request::life::Passage;
use crate::nginx::worker::Worker;
use crate::shm::AppId;

/// What is asked of a request in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To ask for its body, if that has to be there.
    Prepare,
    /// To go on.
    Go,
}

/// Stays where it is made: nginx has pointers into it.
pub struct Queue {
    pub app: AppId,
    /// Its worker's, which can be another each time that the first request is held.
    pub lane: Cell<&'static Lane>,
    members: List,
    /// The batch that was let go and has not run: the head that the others see is still that of it.
    going: List,
    /// Those of it that have been asked for their bodies.
    prepared: List,
    /// Whether there is a batch.
    busy: Cell<bool>,
    /// Whether bodies that nginx has, but gives later, have been waited for.
    waited: Cell<bool>,
    /// Runs the batch, or looks whether there may be another.
    turn: UnsafeCell<ngx_event_t>,
}

impl Queue {
    pub fn new(app: AppId, lane: &'static Lane) -> Box<Self> {
        let queue = Box::new(Self {
            app,
            lane: Cell::new(lane),
            members: List::default(),
            going: List::default(),
            prepared: List::default(),
            busy: Cell::new(false),
            waited: Cell::new(false),
            // SAFETY: nginx's events may be zeroed.
            turn: UnsafeCell::new(unsafe { core::mem::zeroed() }),
        });
        for list in [&queue.members, &queue.going, &queue.prepared] {
            list.init();
        }
        // SAFETY: the box does not move its content, so the event may be pointed to.
        unsafe {
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
        self.members.is_empty()
    }

    pub fn first(&self) -> Option<&Passage> {
        self.members.first()
    }

    pub fn first_ticket(&self) -> Ticket {
        self.first().map_or(NO_TICKET, Passage::ticket)
    }

    /// Puts a request where its ticket belongs: at the end, unless it comes back. Under the zone's
    /// lock, so that nobody opens the app in between.
    pub fn push(&self, passage: &Passage, lane: &'static Lane) {
        self.lane.set(lane);
        self.members.insert(passage);
        let is_first = self.first_ticket() == passage.ticket();
        if is_first && !self.busy.get() {
            lane.publish_head(passage.ticket(), passage.since());
        }
    }

    /// Makes the first of the queue the last of the batch.
    pub fn let_first_go(&self) {
        if let Some(first) = self.members.pop() {
            self.going.push(first);
        }
    }

    /// The batch, as long as nobody has run.
    pub fn batch(&self) -> impl Iterator<Item = &Passage> {
        self.going.iter()
    }

    /// Shows the others who is first here now.
    pub fn publish(&self) {
        match self.first() {
            Some(first) => self.lane.get().publish_head(first.ticket(), first.since()),
            None => self.lane.get().publish_head(NO_TICKET, Moment::NEVER),
        }
    }

    /// The batch goes behind all that is posted; [`Worker::after_batch`] is called when it has.
    pub fn post_batch(&self) {
        self.busy.set(true);
        self.waited.set(false);
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

    /// Runs the batch. Bodies are asked for first: nginx gives some that it has (those of HTTP/2)
    /// only after what is posted already, and nobody of the batch goes on before that.
    fn run(&self, worker: &Worker) {
        while let Some(passage) = self.going.pop() {
            self.prepared.push(passage);
            passage.take_step(Step::Prepare);
        }
        if !self.waited.replace(true) && self.prepared.iter().any(Passage::is_being_read) {
            self.post();
            return;
        }
        while let Some(passage) = self.prepared.pop() {
            passage.take_step(Step::Go);
        }
        self.busy.set(false);
        self.publish();
        worker.after_batch(self);
    }
}

unsafe extern "C" fn on_turn(event: *mut ngx_event_t) {
    guarded((), || {
        // SAFETY: the event's data is the queue, which lives as long as the worker.
        let queue = unsafe { &*(*event).data.cast::<Queue>() };
        let Some(worker) = Worker::here() else { return };
        if queue.is_busy() {
            queue.run(worker);
        } else {
            worker.attend(queue.app);
        }
    });
}

/// Passages in a row. Who is in it takes itself out before it goes.
#[derive(Default)]
struct List(UnsafeCell<ngx_queue_t>);

impl List {
    /// Once, where it is going to stay.
    fn init(&self) {
        // SAFETY: nothing is in it yet.
        unsafe { ngx_queue_init(self.0.get()) };
    }

    fn is_empty(&self) -> bool {
        // SAFETY: initialised by `init`.
        unsafe { ngx_queue_empty(self.0.get()) }
    }

    fn first(&self) -> Option<&Passage> {
        self.iter().next()
    }

    fn pop(&self) -> Option<&Passage> {
        self.first().inspect(|first| first.link.remove())
    }

    fn push(&self, passage: &Passage) {
        passage.link.put_before(self.0.get());
    }

    fn last(&self) -> Option<&Passage> {
        // SAFETY: the links of the list are those of living passages, and the list's own.
        unsafe {
            let link = NonNull::new((*self.0.get()).prev)?;
            (!self.is_empty()).then(|| Passage::of_link(link))
        }
    }

    /// Puts a passage behind those with smaller tickets. That is the end, but for those who come back:
    /// they belong to the first.
    fn insert(&self, passage: &Passage) {
        let comes_later = |other: &&Passage| other.ticket() > passage.ticket();
        let place = match self.last().filter(comes_later) {
            Some(_) => self.iter().find(comes_later).map(|other| other.link.0.get()),
            None => None,
        };
        passage.link.put_before(place.unwrap_or(self.0.get()));
    }

    /// Nobody may be put in or taken out meanwhile.
    fn iter(&self) -> impl Iterator<Item = &Passage> {
        let mut at = self.0.get();
        core::iter::from_fn(move || {
            // SAFETY: the links of the list are those of living passages, and the list's own.
            unsafe {
                at = (*at).next;
                let link = NonNull::new(at).filter(|link| link.as_ptr() != self.0.get())?;
                Some(Passage::of_link(link))
            }
        })
    }
}

/// A passage's place in a list, if it is in one.
#[derive(Default)]
#[repr(transparent)]
pub struct Link(UnsafeCell<ngx_queue_t>);

impl Link {
    /// Takes the passage out of the list that it is in, if any; nginx leaves nulls in a link then.
    pub fn remove(&self) {
        let link = self.0.get();
        // SAFETY: a link that is not null is that of a member of a list.
        unsafe {
            if !(*link).next.is_null() {
                ngx_queue_remove(link);
            }
        }
    }

    fn put_before(&self, place: *mut ngx_queue_t) {
        self.remove();
        // SAFETY: the place is in a list, and the link in none.
        unsafe { ngx_queue_insert_before(place, self.0.get()) };
    }
}
