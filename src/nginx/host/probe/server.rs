//! A server, and a connection that is made to see whether it is there.

use core::ptr;
use std::rc::Rc;

use nginx_sys::{
    NGX_AGAIN, NGX_OK, ngx_close_connection, ngx_event_connect_peer, ngx_event_get_peer, ngx_int_t,
    ngx_log_t, ngx_parse_url, ngx_peer_connection_t, ngx_url_t,
};
use rustix::net::sockopt::socket_error;

use super::Round;
use crate::gate::outage::PROBE_TIME;
use crate::nginx::ffi::blank::Blank;
use crate::nginx::ffi::client::{Broken, Connection};
use crate::nginx::ffi::cycle::Cycle;
use crate::nginx::ffi::pool::OwnPool;
use crate::nginx::ffi::watched::{Watched, happens};

/// As much of an answer as it takes to know its status: `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

/// What comes of a probe, if that is known yet: whether the server is there.
type Found = Option<bool>;

/// The address of a server.
pub struct Server {
    pub name: Vec<u8>,
    /// What it is asked; nothing, if a connection is enough.
    question: Rc<[u8]>,
    url: ngx_url_t,
    /// What the address is in.
    _pool: OwnPool,
}

/// A connection that waits for its server.
struct Probe {
    round: Rc<Round>,
    question: Rc<[u8]>,
    sent: usize,
    answer: [u8; STATUS_LINE],
    received: usize,
}

impl Server {
    /// `None` for what is no address.
    pub fn parse(name: &[u8], path: &[u8]) -> Option<Self> {
        let question = if path.is_empty() { Vec::new() } else { question(name, path) };
        let pool = OwnPool::new(1024, Cycle::in_running(|cycle| cycle.log())?)?;
        let mut url = ngx_url_t::blank();
        url.url = pool.get().copy(name)?.raw();
        url.set_no_resolve(1);
        // SAFETY: what is found is put into the pool.
        let rc = unsafe { ngx_parse_url(pool.get().as_ptr(), &mut url) };
        let found = rc == NGX_OK as ngx_int_t && url.naddrs > 0;
        found.then(|| Self { name: name.to_vec(), question: question.into(), url, _pool: pool })
    }

    /// Begins to look whether the server is there.
    pub fn probe(&self, round: &Rc<Round>) -> Found {
        // SAFETY: the addresses are what `parse` found; a connection that is made is closed here, or by
        // its handler, which its data is for.
        unsafe {
            let address = &*self.url.addrs;
            let mut name = address.name;
            let mut peer = ngx_peer_connection_t::blank();
            peer.sockaddr = address.sockaddr;
            peer.socklen = address.socklen;
            peer.name = &mut name;
            peer.get = Some(ngx_event_get_peer);
            peer.log = silent_log();
            let rc = ngx_event_connect_peer(&mut peer);
            let Some(connection) = Connection::maybe(peer.connection) else { return Some(false) };
            let mut probe = Box::new(Probe {
                round: round.clone(),
                question: self.question.clone(),
                sent: 0,
                answer: [0; STATUS_LINE],
                received: 0,
            });
            let found = match rc {
                rc if rc == NGX_AGAIN as ngx_int_t => None,
                rc if rc == NGX_OK as ngx_int_t => probe.go_on(connection),
                _ => Some(false),
            };
            if found.is_some() {
                ngx_close_connection(connection.as_ptr());
                return found;
            }
            (*connection.as_ptr()).data = Box::into_raw(probe).cast();
            connection.read().on_event(happens::<Probe>);
            connection.write().on_event(happens::<Probe>);
            connection.write().set_timer(PROBE_TIME);
            None
        }
    }
}

/// Asks for a page.
fn question(server: &[u8], path: &[u8]) -> Vec<u8> {
    let host = if server.starts_with(b"unix:") { &b"localhost"[..] } else { server };
    let rest = &b"\r\nUser-Agent: intermission\r\nConnection: close\r\n\r\n"[..];
    [&b"GET "[..], path, b" HTTP/1.1\r\nHost: ", host, rest].concat()
}

impl Probe {
    /// Does on a connection what can be done without waiting.
    fn go_on(&mut self, connection: Connection<'_>) -> Found {
        if self.question.is_empty() {
            return Some(true);
        }
        let found = self.ask(connection).or_else(|| self.hear(connection));
        let is_awaited = connection.watch_writing() && connection.watch_reading();
        if is_awaited { found } else { Some(false) }
    }

    /// Sends what has not been sent of the question. A server that does not take it is not there.
    fn ask(&mut self, connection: Connection<'_>) -> Found {
        while let Some(rest) = self.question.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match connection.send(rest)? {
                Ok(sent) => self.sent += sent,
                Err(Broken) => return Some(false),
            }
        }
        None
    }

    /// Reads as much of the answer as is needed.
    fn hear(&mut self, connection: Connection<'_>) -> Found {
        while let Some(room) = self.answer.get_mut(self.received..).filter(|room| !room.is_empty())
        {
            match connection.receive(room)? {
                Ok(received) => self.received += received,
                Err(Broken) => return Some(false),
            }
        }
        Some(is_good(&self.answer))
    }
}

/// Whether an answer begins with a status from 200 to 299.
fn is_good(answer: &[u8; STATUS_LINE]) -> bool {
    let status = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..));
    matches!(status, Some([b' ', b'2', tens, ones]) if tens.is_ascii_digit() && ones.is_ascii_digit())
}

impl Watched for Probe {
    /// Something has happened on a connection to a server, or nothing for too long.
    fn happens(connection: Connection<'_>) {
        let is_over = connection.write().take_timeout() || !is_connected(connection);
        // SAFETY: the connection is one of `Server::probe`, which has given it a probe for its data, and is
        // closed once.
        let (probe, found) = unsafe {
            let probe = (*connection.as_ptr()).data.cast::<Self>();
            let found = if is_over { Some(false) } else { (*probe).go_on(connection) };
            let Some(found) = found else { return };
            ngx_close_connection(connection.as_ptr());
            (Box::from_raw(probe), found)
        };
        probe.round.answer(found);
    }
}

fn is_connected(connection: Connection<'_>) -> bool {
    connection.socket().is_some_and(|socket| socket_error(socket) == Ok(Ok(())))
}

/// A log that nothing is written to: that a backend is down is no news while it is.
fn silent_log() -> *mut ngx_log_t {
    thread_local! {
        // Without a file and a level.
        static SILENT: *mut ngx_log_t = Box::into_raw(Box::new(ngx_log_t::blank()));
    }
    SILENT.try_with(|log| *log).unwrap_or(ptr::null_mut())
}
