//! Which files in a directory are replaced: the system's inotify.

use core::iter;
use core::mem::offset_of;
use std::path::Path;

use nginx_sys::{ngx_connection_t, ngx_event_handler_pt, ngx_event_t, ngx_free_connection};

use super::paths::c_path;
use super::watched::{CLOSED, connect, read_events};

/// Calls `handler` whenever a file in a directory was replaced. `false` if this cannot be had.
///
/// # Safety
///
/// Called while a worker starts.
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
