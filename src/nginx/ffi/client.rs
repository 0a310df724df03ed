//! The connection of a request's client, or what stands for it in HTTP/2 and 3.

use core::slice;
use std::os::fd::BorrowedFd;

use nginx_sys::{NGX_AGAIN, NGX_OK, ngx_connection_t, ngx_int_t, ngx_log_t, ngx_recv_pt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::event::Event;
use super::functions::{ngx_handle_read_event, ngx_handle_write_event};
use super::living::{Living, reaches};

/// Not a file descriptor.
const CLOSED: i32 = -1;

pub type Connection<'c> = Living<'c, ngx_connection_t>;

reaches!(Connection<'c> {
    /// A connection has its two events for as long as it is there.
    pub fn read() -> Event<'c> = read;

    /// As the one for reading.
    pub fn write() -> Event<'c> = write;

    /// The client's address, as text in the pool of the connection.
    pub fn address() -> &'c [u8] = addr_text;
});

impl<'c> Connection<'c> {
    pub fn log(self) -> *mut ngx_log_t {
        self.see(|it| it.log)
    }

    /// `None` if it has none.
    pub fn socket(self) -> Option<BorrowedFd<'c>> {
        let descriptor = self.see(|it| it.fd);
        // SAFETY: nginx closes the socket of a connection when that is over.
        (descriptor != CLOSED).then(|| unsafe { BorrowedFd::borrow_raw(descriptor) })
    }

    /// Whether nothing more can be read from it, or written to it.
    pub fn is_broken(self) -> bool {
        self.see(|it| it.error() != 0)
    }

    /// Whether its client has broken it off, or was too slow: one look at both bits.
    #[inline(always)]
    pub fn was_left(self) -> bool {
        self.see(|it| (it.error() | it.timedout()) != 0)
    }

    /// Waits for its client to write, or to leave. `false` if that cannot be had.
    pub fn watch_reading(self) -> bool {
        ngx_handle_read_event(self.read(), 0) == NGX_OK as ngx_int_t
    }

    /// Waits for its client to read. `false` if that cannot be had.
    pub fn watch_writing(self) -> bool {
        ngx_handle_write_event(self.write(), 0) == NGX_OK as ngx_int_t
    }

    /// Sends what can be sent without waiting. `None` if that is nothing yet; an error if it cannot be.
    pub fn send(self, bytes: &[u8]) -> Option<Result<usize, Broken>> {
        // nginx does not write to what it sends.
        self.pass(self.see(|it| it.send), bytes.as_ptr().cast_mut(), bytes.len())
    }

    /// Reads what is there. As [`Self::send`]; an end is an error.
    pub fn receive(self, room: &mut [u8]) -> Option<Result<usize, Broken>> {
        self.pass(self.see(|it| it.recv), room.as_mut_ptr(), room.len())
    }

    fn pass(self, by: ngx_recv_pt, start: *mut u8, len: usize) -> Option<Result<usize, Broken>> {
        // SAFETY: there are as many bytes.
        match by.map(|by| unsafe { by(self.as_ptr(), start, len) }) {
            Some(passed) if passed > 0 => Some(Ok(passed.unsigned_abs())),
            Some(again) if again == NGX_AGAIN as isize => None,
            _ => Some(Err(Broken)),
        }
    }

    #[inline(always)]
    pub fn is_quic(self) -> bool {
        #[cfg(ngx_feature = "http_v3")]
        return self.see(|it| !it.quic.is_null());
        #[cfg(not(ngx_feature = "http_v3"))]
        false
    }

    /// Whether the client is seen to have left. nginx's own flags say what the last look at the
    /// sockets brought; the socket itself says what came since.
    pub fn is_gone(self) -> bool {
        if self.is_broken() || self.has_stopped_listening() {
            return true;
        }
        if self.is_quic() {
            return self.read().see(|it| it.error() != 0);
        }
        self.read().see(|it| it.eof() != 0 || it.pending_eof() != 0)
            || self.socket().is_some_and(has_hung_up)
    }

    /// In HTTP/3 a client that gives a request up says so by refusing the response.
    pub fn has_stopped_listening(self) -> bool {
        self.is_quic() && self.write().see(|it| it.error() != 0)
    }
}

/// A connection that no more comes of.
pub struct Broken;

/// Whether the other side of a socket has closed it, even behind data that nobody has read.
fn has_hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut look = PollFd::from_borrowed_fd(socket, PollFlags::RDHUP);
    let found = poll(slice::from_mut(&mut look), Some(&Timespec::default()));
    let hung_up = PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP;
    found == Ok(1) && look.revents().intersects(hung_up)
}
