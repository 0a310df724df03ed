//! Descriptors that are no client's, in nginx's event loop.

use std::os::fd::BorrowedFd;

use nginx_sys::{
    NGX_OK, ngx_connection_t, ngx_cycle, ngx_event_actions, ngx_event_handler_pt,
    ngx_get_connection,
};

use super::constants::{CLEAR_EVENT, READ_EVENT};

/// Not a file descriptor.
const CLOSED: i32 = -1;

/// A descriptor that is nginx's, for the system's calls.
///
/// # Safety
///
/// It is not closed while this is used.
pub unsafe fn borrowed<'a>(descriptor: i32) -> Option<BorrowedFd<'a>> {
    // SAFETY: the caller's promise.
    (descriptor != CLOSED).then(|| unsafe { BorrowedFd::borrow_raw(descriptor) })
}

/// Makes a connection of a descriptor that is no client's, as nginx itself does for its channels.
///
/// # Safety
///
/// Called while a worker starts.
pub unsafe fn connect(
    descriptor: i32,
    handler: ngx_event_handler_pt,
) -> Option<*mut ngx_connection_t> {
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
/// Called while a worker starts.
pub unsafe fn read_events(connection: *mut ngx_connection_t) -> bool {
    // SAFETY: as in `connect`.
    unsafe {
        let add = ngx_event_actions.add;
        add.is_some_and(|add| add((*connection).read, READ_EVENT, CLEAR_EVENT) == NGX_OK as isize)
    }
}
