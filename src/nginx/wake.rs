//! The doorbells: how one worker tells others to look at the zone.
//!
//! They are eventfds that the master makes before its first fork, so that workers of all
//! configurations have the same ones. A worker watches one of them, edge-triggered, and never reads
//! it: each write wakes all that watch. Workers share them by slot; who is woken for nothing looks,
//! finds nothing to do and sleeps on. A doorbell carries no news, those are in the zone, so that a
//! ring that is lost costs time (`intermission_interval`) and nothing else.

use core::iter;
use core::mem::offset_of;
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::path::Path;

use nginx_sys::{
    NGX_OK, NGX_USE_CLEAR_EVENT, ngx_connection_t, ngx_cycle, ngx_event_actions, ngx_event_flags,
    ngx_event_handler_pt, ngx_event_t, ngx_free_connection, ngx_get_connection,
};

use super::constants::{CLEAR_EVENT, READ_EVENT};
use super::store::c_path;

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

/// Calls `handler` whenever a file in a directory was replaced. `false` if this cannot be had.
///
/// # Safety
///
/// As [`listen`].
pub unsafe fn watch(directory: &Path, handler: ngx_event_handler_pt) -> bool {
    let Some(path) = c_path(directory) else { return false };
    // SAFETY: the path ends with a zero; the descriptor is closed again if it cannot be used.
    unsafe {
        let descriptor = libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK);
        if descriptor == CLOSED {
            return false;
        }
        let watched = libc::inotify_add_watch(descriptor, path.as_ptr(), libc::IN_MOVED_TO);
        let connection = connect(descriptor, handler).filter(|_| watched != CLOSED);
        if connection.is_some_and(|connection| read_events(connection)) {
            return true;
        }
        if let Some(connection) = connection {
            ngx_free_connection(connection);
        }
        libc::close(descriptor);
    }
    false
}

/// Reads what happened in a directory: whether the file of this name was replaced, or may have been.
///
/// # Safety
///
/// `event` is one of a connection that [`watch`] made.
pub unsafe fn was_replaced(event: *mut ngx_event_t, name: &[u8]) -> bool {
    // SAFETY: the event's data is its connection.
    let descriptor = unsafe { (*(*event).data.cast::<ngx_connection_t>()).fd };
    let mut buffer = [0u8; 4096];
    let mut replaced = false;
    loop {
        // SAFETY: the buffer is as long as it is said to be.
        let count = unsafe { libc::read(descriptor, buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(count).ok().and_then(|count| buffer.get(..count)) {
            None | Some([]) => return replaced,
            // What has no name is about the directory, or says that there was more than could be told.
            Some(events) => replaced |= names(events).any(|it| it.is_empty() || it == name),
        }
    }
}

/// The names in inotify's events. They are taken as bytes, wherever those stand.
fn names(mut events: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let (head, rest) = events.split_at_checked(size_of::<libc::inotify_event>())?;
        let (_, length) = head.split_at_checked(offset_of!(libc::inotify_event, len))?;
        let length = u32::from_ne_bytes(*length.first_chunk()?);
        let (name, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        events = rest;
        // The system fills it up with zeros.
        name.split(|byte| *byte == 0).next()
    })
}

/// Makes a connection of a descriptor that is no client's, as nginx itself does for its channels.
///
/// # Safety
///
/// As [`listen`].
unsafe fn connect(descriptor: i32, handler: ngx_event_handler_pt) -> Option<*mut ngx_connection_t> {
    if descriptor == CLOSED {
        return None;
    }
    // SAFETY: nginx's event module is up when the modules' `init_process` run in a worker.
    unsafe {
        let cycle = ngx_cycle;
        let connection = ngx_get_connection(descriptor, (*cycle).log);
        if connection.is_null() {
            return None;
        }
        let (read, write) = ((*connection).read, (*connection).write);
        (*connection).pool = (*cycle).pool;
        for event in [read, write] {
            (*event).log = (*cycle).log;
            // So that a worker which exits in good order does not take it for a client's.
            (*event).set_channel(1);
        }
        (*read).handler = handler;
        Some(connection)
    }
}

/// Watches what [`connect`] made.
///
/// # Safety
///
/// As [`listen`].
unsafe fn read_events(connection: *mut ngx_connection_t) -> bool {
    // SAFETY: as in `connect`.
    unsafe {
        let add = ngx_event_actions.add;
        add.is_some_and(|add| add((*connection).read, READ_EVENT, CLEAR_EVENT) == NGX_OK as isize)
    }
}
