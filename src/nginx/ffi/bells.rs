//! The doorbells: how one worker tells others to look at the zone.
//!
//! They are eventfds that the master makes before its first fork, so that workers of all
//! configurations have the same ones. A worker watches one of them, edge-triggered, and never reads
//! it: each write wakes all that watch. Workers share them by slot; who is woken for nothing looks,
//! finds nothing to do and sleeps on. A doorbell carries no news, those are in the zone, so that a
//! ring that is lost costs time (`intermission_interval`) and nothing else.

use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

use nginx_sys::{
    NGX_USE_CLEAR_EVENT, ngx_connection_t, ngx_event_flags, ngx_event_handler_pt, ngx_event_t,
};

use super::watched::{CLOSED, connect, read_events};

const BELLS: usize = 32;

static DESCRIPTORS: [AtomicI32; BELLS] = [const { AtomicI32::new(CLOSED) }; BELLS];

/// Makes the doorbells, unless they are there already. Without them the interval has to do.
pub fn make() {
    for descriptor in &DESCRIPTORS {
        if descriptor.load(Relaxed) == CLOSED {
            // SAFETY: the call takes no pointers.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            descriptor.store(fd.max(CLOSED), Relaxed);
        }
    }
}

/// Rings for the workers in `slots`, each doorbell once.
pub fn ring(slots: impl Iterator<Item = usize>) {
    let mut rung = [false; BELLS];
    for slot in slots {
        let bell = slot % BELLS;
        if let Some(rung) = rung.get_mut(bell).filter(|rung| !**rung) {
            *rung = true;
            ring_bell(bell);
        }
    }
}

fn ring_bell(bell: usize) {
    let Some(descriptor) = DESCRIPTORS.get(bell).map(|fd| fd.load(Relaxed)) else { return };
    let one: u64 = 1;
    if descriptor != CLOSED {
        // SAFETY: eight bytes, as an eventfd expects; it is never full, as 2^64 writes are many.
        unsafe { libc::write(descriptor, (&raw const one).cast(), size_of::<u64>()) };
    }
}

/// Calls `handler` whenever somebody rings for `slot`, and when the worker is told to exit. `false`
/// if it cannot be told of rings.
///
/// # Safety
///
/// Called while a worker starts.
pub unsafe fn listen(slot: usize, handler: ngx_event_handler_pt) -> bool {
    let descriptor = DESCRIPTORS.get(slot % BELLS).map_or(CLOSED, |fd| fd.load(Relaxed));
    // SAFETY: the caller's promise, and nginx's own flags.
    unsafe {
        let Some(connection) = connect(descriptor, handler) else { return false };
        // nginx calls the handlers of what is idle when it is told to exit.
        (*connection).set_idle(1);
        ngx_event_flags & NGX_USE_CLEAR_EVENT as usize != 0 && read_events(connection)
    }
}

/// Whether it is nginx that calls the handler of a doorbell, as the worker is told to exit. It does so
/// outside of its event loop: nothing that is posted then is looked at until the loop turns again.
///
/// # Safety
///
/// `event` is one of a connection that [`listen`] made.
pub unsafe fn says_exit(event: *mut ngx_event_t) -> bool {
    // SAFETY: the event's data is its connection.
    unsafe {
        let connection = (*event).data.cast::<ngx_connection_t>();
        let closes = (*connection).close() != 0;
        (*connection).set_close(0);
        closes
    }
}
