//! Looking whether a backend is back: a connection that is made and closed, with no request in it.

use core::cell::{Cell, RefCell};
use core::ptr;
use std::rc::Rc;

use nginx_sys::{
    NGX_AGAIN, NGX_OK, ngx_add_timer, ngx_close_connection, ngx_connection_t, ngx_create_pool,
    ngx_cycle, ngx_destroy_pool, ngx_event_connect_peer, ngx_event_get_peer, ngx_event_t,
    ngx_int_t, ngx_log_t, ngx_parse_url, ngx_peer_connection_t, ngx_pnalloc, ngx_pool_t, ngx_str_t,
    ngx_url_t,
};

use super::Worker;
use crate::gate::outage::PROBE_TIME;
use crate::nginx::ffi::boundary::guarded;
use crate::shm::AppId;

/// So many servers are asked for an app, the first that requests could not be sent to.
const MOST: usize = 8;

/// Where the backends are of those apps that are down, as far as this worker has seen.
#[derive(Default)]
pub struct Probes(RefCell<Vec<Backend>>);

struct Backend {
    app: AppId,
    outage: u64,
    servers: Vec<Server>,
}

/// The address of a server.
struct Server {
    name: Vec<u8>,
    url: ngx_url_t,
    pool: *mut ngx_pool_t,
}

/// Several servers that are asked at the same time: the first that is there is enough.
struct Round {
    app: AppId,
    outage: u64,
    left: Cell<usize>,
}

impl Probes {
    /// Requests of an app could not be sent to these servers.
    pub fn learn<'n>(&self, app: AppId, outage: u64, names: impl Iterator<Item = &'n [u8]>) {
        let mut backends = self.0.borrow_mut();
        let at = backends.iter().position(|backend| backend.app == app).unwrap_or_else(|| {
            backends.push(Backend { app, outage, servers: Vec::new() });
            backends.len() - 1
        });
        let Some(backend) = backends.get_mut(at) else { return };
        if backend.outage != outage {
            backend.outage = outage;
            backend.servers.clear();
        }
        for name in names {
            let known = backend.servers.iter().any(|server| server.name == name);
            if !known && backend.servers.len() < MOST {
                backend.servers.extend(Server::parse(name));
            }
        }
    }

    pub fn know(&self, app: AppId) -> bool {
        let backends = self.0.borrow();
        backends.iter().any(|backend| backend.app == app && !backend.servers.is_empty())
    }

    pub fn begin(&self, app: AppId, outage: u64) {
        let backends = self.0.borrow();
        let Some(backend) = backends.iter().find(|backend| backend.app == app) else { return };
        let round = Rc::new(Round { app, outage, left: Cell::new(backend.servers.len()) });
        let found = backend.servers.iter().map(|server| server.connect(&round)).collect::<Vec<_>>();
        drop(backends);
        found.into_iter().flatten().for_each(|found| round.answer(found));
    }
}

impl Round {
    /// A server is there, or is not.
    fn answer(&self, found: bool) {
        let left = self.left.get().saturating_sub(1);
        let over = self.left.get() == 0;
        self.left.set(if found { 0 } else { left });
        if let Some(worker) = Worker::here().filter(|_| !over && (found || left == 0)) {
            worker.probe_ended(self.app, self.outage, found);
        }
    }
}

impl Server {
    /// `None` for what is no address.
    fn parse(name: &[u8]) -> Option<Self> {
        // SAFETY: all of it is in a pool of its own, which ends with the server; zeroes are right for
        // what is not set.
        unsafe {
            let pool = ngx_create_pool(1024, (*ngx_cycle).log);
            if pool.is_null() {
                return None;
            }
            let mut server = Self { name: name.to_vec(), url: core::mem::zeroed(), pool };
            let data = ngx_pnalloc(pool, name.len().max(1)).cast::<u8>();
            if data.is_null() {
                return None;
            }
            data.copy_from_nonoverlapping(name.as_ptr(), name.len());
            server.url.url = ngx_str_t { len: name.len(), data };
            server.url.set_no_resolve(1);
            let parsed = ngx_parse_url(pool, &mut server.url) == NGX_OK as ngx_int_t;
            (parsed && server.url.naddrs > 0).then_some(server)
        }
    }

    /// Begins to connect; whether the server is there, if that is known at once.
    fn connect(&self, round: &Rc<Round>) -> Option<bool> {
        // SAFETY: the addresses are what `parse` found; a connection that is made is closed here, or by
        // its handler, which its data is for.
        unsafe {
            let address = &*self.url.addrs;
            let mut name = address.name;
            let mut peer: ngx_peer_connection_t = core::mem::zeroed();
            peer.sockaddr = address.sockaddr;
            peer.socklen = address.socklen;
            peer.name = &mut name;
            peer.get = Some(ngx_event_get_peer);
            peer.log = silent_log();
            let rc = ngx_event_connect_peer(&mut peer);
            let connection = peer.connection;
            if connection.is_null() {
                return Some(false);
            }
            if rc != NGX_AGAIN as ngx_int_t {
                ngx_close_connection(connection);
                return Some(rc == NGX_OK as ngx_int_t);
            }
            (*connection).data = Rc::into_raw(round.clone()).cast_mut().cast();
            (*(*connection).read).handler = Some(on_event);
            (*(*connection).write).handler = Some(on_event);
            ngx_add_timer((*connection).write, PROBE_TIME.as_millis() as usize);
            None
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: the pool is the server's own.
        unsafe { ngx_destroy_pool(self.pool) };
    }
}

/// A server has answered to the wish for a connection, or has not for too long.
unsafe extern "C" fn on_event(event: *mut ngx_event_t) {
    guarded((), || {
        // SAFETY: nginx passes an event of a connection of `connect`, which is closed once.
        let (round, found) = unsafe {
            let connection = (*event).data.cast::<ngx_connection_t>();
            let round = Rc::from_raw((*connection).data.cast::<Round>());
            let found = (*event).timedout() == 0 && is_connected((*connection).fd);
            ngx_close_connection(connection);
            (round, found)
        };
        round.answer(found);
    });
}

fn is_connected(fd: i32) -> bool {
    let mut error: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: room for a number, and its size.
    let rc = unsafe {
        let error = (&raw mut error).cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, error, &mut length)
    };
    rc == 0 && error == 0
}

/// A log that nothing is written to: that a backend is down is no news while it is.
fn silent_log() -> *mut ngx_log_t {
    thread_local! {
        // SAFETY: an empty log has no file and no level.
        static SILENT: *mut ngx_log_t = Box::into_raw(Box::new(unsafe { core::mem::zeroed() }));
    }
    SILENT.try_with(|log| *log).unwrap_or(ptr::null_mut())
}
