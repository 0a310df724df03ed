//! The client of a held request: whether it is still there.

use core::slice;

use nginx_sys::ngx_connection_t;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::watched::borrowed;

/// Whether the client is seen to have left. nginx's own flags say what the last look at the
/// sockets brought; the socket itself says what came since.
///
/// # Safety
///
/// `connection` is that of a living request.
pub unsafe fn is_gone(connection: *mut ngx_connection_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let read = &*(*connection).read;
        if (*connection).error() != 0 || has_stopped_listening(connection) {
            return true;
        }
        #[cfg(ngx_feature = "http_v3")]
        if !(*connection).quic.is_null() {
            return read.error() != 0;
        }
        read.eof() != 0 || read.pending_eof() != 0 || has_hung_up((*connection).fd)
    }
}

/// In HTTP/3 a client that gives a request up says so by refusing the response.
///
/// # Safety
///
/// `connection` is that of a living request.
pub unsafe fn has_stopped_listening(connection: *mut ngx_connection_t) -> bool {
    #[cfg(ngx_feature = "http_v3")]
    // SAFETY: the caller's promise.
    unsafe {
        !(*connection).quic.is_null() && (*(*connection).write).error() != 0
    }
    #[cfg(not(ngx_feature = "http_v3"))]
    {
        let _ = connection;
        false
    }
}

/// Whether the other side of a socket has closed it, even behind data that nobody has read.
///
/// # Safety
///
/// The socket is open.
unsafe fn has_hung_up(fd: i32) -> bool {
    // SAFETY: the caller's promise.
    let Some(socket) = (unsafe { borrowed(fd) }) else { return false };
    let mut look = PollFd::from_borrowed_fd(socket, PollFlags::RDHUP);
    let found = poll(slice::from_mut(&mut look), Some(&Timespec::default()));
    let hung_up = PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP;
    found == Ok(1) && look.revents().intersects(hung_up)
}
