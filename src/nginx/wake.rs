//! The doorbells: how one worker tells others to look at the zone.
//!
//! They are eventfds that the master makes before its first fork, so that workers of all
//! configurations have the same ones. A worker watches one of them, edge-triggered, and never reads
//! it: each write wakes all that watch. Workers share them by slot; who is woken for nothing looks,
//! finds nothing to do and sleeps on. A doorbell carries no news, those are in the zone, so that a
//! ring that is lost costs time (`intermission_interval`) and nothing else.

use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

use nginx_sys::{
    NGX_OK, NGX_USE_CLEAR_EVENT, ngx_cycle_t, ngx_event_actions, ngx_event_flags,
    ngx_event_handler_pt, ngx_free_connection, ngx_get_connection,
};

use super::constants::{CLEAR_EVENT, READ_EVENT};

const BELLS: usize = 32;

/// Not a file descriptor.
const CLOSED: i32 = -1;

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

/// Calls `handler` whenever somebody rings for `slot`. `false` if this cannot be had.
///
/// # Safety
///
/// Called while a worker starts, with its cycle.
pub unsafe fn listen(cycle: *mut ngx_cycle_t, slot: usize, handler: ngx_event_handler_pt) -> bool {
    let descriptor = DESCRIPTORS.get(slot % BELLS).map_or(CLOSED, |fd| fd.load(Relaxed));
    // SAFETY: nginx's event module is up when the modules' `init_process` run in a worker; the
    // connection is used as nginx itself uses one for a channel.
    unsafe {
        let Some(add) = ngx_event_actions.add else { return false };
        let edge_triggered = ngx_event_flags & NGX_USE_CLEAR_EVENT as usize != 0;
        if descriptor == CLOSED || !edge_triggered {
            return false;
        }
        let connection = ngx_get_connection(descriptor, (*cycle).log);
        if connection.is_null() {
            return false;
        }
        let read = (*connection).read;
        (*connection).pool = (*cycle).pool;
        (*read).log = (*cycle).log;
        (*(*connection).write).log = (*cycle).log;
        // So that a worker which exits in good order does not take it for a client's.
        (*read).set_channel(1);
        (*(*connection).write).set_channel(1);
        (*read).handler = handler;
        if add(read, READ_EVENT, CLEAR_EVENT) != NGX_OK as isize {
            ngx_free_connection(connection);
            return false;
        }
    }
    true
}
