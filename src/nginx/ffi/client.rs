//! The client of a held request: whether it is still there.

use nginx_sys::ngx_connection_t;

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
fn has_hung_up(fd: i32) -> bool {
    let hung_up = libc::POLLHUP | libc::POLLERR | libc::POLLRDHUP;
    let mut poll = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one pollfd, and no waiting.
    unsafe { libc::poll(&mut poll, 1, 0) == 1 && poll.revents & hung_up != 0 }
}
