//! nginx's events: of connections, and of this module's own.

use core::ptr;
use core::time::Duration;

use nginx_sys::{
    ngx_add_timer, ngx_connection_t, ngx_del_timer, ngx_delete_posted_event, ngx_event_t,
    ngx_post_event, ngx_posted_events, ngx_posted_next_events, ngx_queue_t,
};

use super::blank::Blank;
use super::boundary::guarded;
use super::cycle::Cycle;
use super::living::Living;
use crate::gate::time::micros;

pub type Event<'e> = Living<'e, ngx_event_t>;

/// What an event of this module's own does.
pub trait Called: 'static {
    fn call(&self);
}

/// An event, what it does, and what nginx's debug log takes for the connection of a timer.
#[repr(C)]
struct Own<C> {
    nobody: ngx_connection_t,
    event: ngx_event_t,
    called: C,
}

impl Event<'static> {
    /// An event that stays for as long as the process does.
    pub fn own<C: Called>(called: C) -> Self {
        let mut event = ngx_event_t::blank();
        event.handler = Some(call::<C>);
        let nobody = ngx_connection_t { fd: -1, ..ngx_connection_t::blank() };
        let own = Box::leak(Box::new(Own { nobody, event, called }));
        own.event.data = ptr::from_mut(own).cast();
        own.event.log = Cycle::in_running(|cycle| cycle.log()).unwrap_or(ptr::null_mut());
        Self::of(&mut own.event)
    }
}

unsafe extern "C" fn call<C: Called>(event: *mut ngx_event_t) {
    // SAFETY: nginx passes an event that `own` has made with this handler, and which stays.
    let called = unsafe { &(*(*event).data.cast::<Own<C>>()).called };
    guarded((), || called.call());
}

impl Event<'_> {
    /// What is called when it happens.
    pub fn on_event(self, handler: unsafe extern "C" fn(*mut ngx_event_t)) {
        self.change(|it| it.handler = Some(handler));
    }

    /// Its time is up after that, at the latest a millisecond later.
    pub fn set_timer(self, time: Duration) {
        let millis = usize::try_from(micros(time).div_ceil(1000)).unwrap_or(usize::MAX / 4);
        // SAFETY: nginx forgets the timer of an event before that goes.
        unsafe { ngx_add_timer(self.as_ptr(), millis) };
    }

    /// It has no timer any more.
    pub fn stop_timer(self) {
        if self.see(|it| it.timer_set() != 0) {
            self.pass_to(ngx_del_timer);
        }
    }

    /// To a function of nginx's that takes it out of something that it is in.
    fn pass_to(self, function: unsafe fn(*mut ngx_event_t)) {
        // SAFETY: it is in there.
        unsafe { function(self.as_ptr()) };
    }

    /// Whether its time was up; that is forgotten then.
    pub fn take_timeout(self) -> bool {
        self.change(|it| {
            let late = it.timedout() != 0;
            it.set_timedout(0);
            late
        })
    }

    /// Runs it in this turn of the loop.
    pub fn post(self) {
        self.post_to(&raw mut ngx_posted_events);
    }

    /// Runs it in the next turn of the loop.
    pub fn post_next(self) {
        self.post_to(&raw mut ngx_posted_next_events);
    }

    fn post_to(self, queue: *mut ngx_queue_t) {
        // SAFETY: the queue is one of nginx's, which takes what is posted out before that goes.
        unsafe { ngx_post_event(self.as_ptr(), queue) };
    }

    /// Takes it out of the queue that it is posted in.
    pub fn unpost(self) {
        if self.see(|it| it.posted() != 0) {
            self.pass_to(ngx_delete_posted_event);
        }
    }

    pub fn is_ready(self) -> bool {
        self.see(|it| it.ready() != 0)
    }

    /// A worker that is to exit does not wait for it.
    pub fn set_cancelable(self) {
        self.change(|it| it.set_cancelable(1));
    }
}
