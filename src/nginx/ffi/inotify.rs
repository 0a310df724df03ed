//! Which files in a directory are replaced: the system's inotify.

use core::mem::MaybeUninit;
use std::io;
use std::os::fd::IntoRawFd;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

use super::client::Connection;
use super::watched::{self, Watched};

/// Tells `W` whenever a file in a directory was replaced, from when a worker starts.
pub fn watch<W: Watched>(directory: &Path) -> io::Result<()> {
    let descriptor = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    add_watch(&descriptor, directory, WatchFlags::MOVED_TO)?;
    if !watched::watch::<W>(&descriptor, |_| ()) {
        return Err(io::Error::other("nginx has no connection for it"));
    }
    let _nginx_has_it = descriptor.into_raw_fd();
    Ok(())
}

/// Reads what happened in a directory: whether the file of this name was replaced, or may have been.
pub fn was_replaced(connection: Connection<'_>, name: &[u8]) -> bool {
    let Some(descriptor) = connection.socket() else { return false };
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(descriptor, &mut buffer);
    let mut replaced = false;
    while let Ok(event) = events.next() {
        // What has no name is about the directory, or says that there was more than could be told.
        replaced |= event.file_name().is_none_or(|it| it.is_empty() || it.to_bytes() == name);
    }
    replaced
}
