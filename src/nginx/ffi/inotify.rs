//! Which files in a directory are replaced: the system's inotify.

use core::mem::MaybeUninit;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::Path;

use nginx_sys::{ngx_connection_t, ngx_event_handler_pt, ngx_event_t, ngx_free_connection};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

use super::watched::{borrowed, connect, read_events};

/// Calls `handler` whenever a file in a directory was replaced.
///
/// # Safety
///
/// Called while a worker starts.
pub unsafe fn watch(directory: &Path, handler: ngx_event_handler_pt) -> io::Result<()> {
    let descriptor = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    add_watch(&descriptor, directory, WatchFlags::MOVED_TO)?;
    let full = || io::Error::other("nginx has no connection for it");
    // SAFETY: the caller's promise; the connection has the descriptor, or is given back.
    unsafe {
        let connection = connect(descriptor.as_raw_fd(), handler).ok_or_else(full)?;
        if !read_events(connection) {
            ngx_free_connection(connection);
            return Err(full());
        }
    }
    let _nginx_has_it = descriptor.into_raw_fd();
    Ok(())
}

/// Reads what happened in a directory: whether the file of this name was replaced, or may have been.
///
/// # Safety
///
/// `event` is one of a connection that [`watch`] made.
pub unsafe fn was_replaced(event: *mut ngx_event_t, name: &[u8]) -> bool {
    // SAFETY: the event's data is its connection, whose descriptor is never closed.
    let descriptor = unsafe { borrowed((*(*event).data.cast::<ngx_connection_t>()).fd) };
    let Some(descriptor) = descriptor else { return false };
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(descriptor, &mut buffer);
    let mut replaced = false;
    while let Ok(event) = events.next() {
        // What has no name is about the directory, or says that there was more than could be told.
        replaced |= event.file_name().is_none_or(|it| it.is_empty() || it.to_bytes() == name);
    }
    replaced
}
