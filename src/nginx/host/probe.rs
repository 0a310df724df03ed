//! Looking whether a backend is back: by connections to its servers, which may ask for a page.

mod server;

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Worker;
use crate::shm::AppId;
use server::Server;

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

/// Several servers that are asked at the same time: the first that is there is enough.
struct Round {
    app: AppId,
    outage: u64,
    left: Cell<usize>,
}

impl Probes {
    /// Requests of an app could not be sent to these servers. They are there when they can be connected
    /// to, or have a good answer for `path`, if there is one.
    pub fn learn<'n>(
        &self,
        app: AppId,
        outage: u64,
        names: impl Iterator<Item = &'n [u8]>,
        path: &[u8],
    ) {
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
                backend.servers.extend(Server::parse(name, path));
            }
        }
    }

    pub fn know(&self, app: AppId, outage: u64) -> bool {
        let is_known = |backend: &Backend| {
            backend.app == app && backend.outage == outage && !backend.servers.is_empty()
        };
        self.0.borrow().iter().any(is_known)
    }

    pub fn begin(&self, app: AppId, outage: u64) {
        let backends = self.0.borrow();
        let Some(backend) = backends.iter().find(|backend| backend.app == app) else { return };
        let round = Rc::new(Round { app, outage, left: Cell::new(backend.servers.len()) });
        let found = backend.servers.iter().map(|server| server.probe(&round)).collect::<Vec<_>>();
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
