//! The doorbells: how one worker tells others to look at the zone.
//!
//! They are eventfds that the master makes before its first fork, so that workers of all
//! configurations have the same ones. A worker watches one of them, edge-triggered, and never reads
//! it: each write wakes all that watch. Workers share them by slot; who is woken for nothing looks,
//! finds nothing to do and sleeps on. A doorbell carries no news, those are in the zone, so that a
//! ring that is lost costs time (`intermission_interval`) and nothing else.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use nginx_sys::ngx_connection_t;
use rustix::event::{EventfdFlags, eventfd};

use super::client::Connection;
use super::globals::tells_once;
use super::watched::{Watched, watch};

static BELLS: [OnceLock<OwnedFd>; 32] = [const { OnceLock::new() }; 32];

/// Makes the doorbells, unless they are there already. Without them the interval has to do.
pub fn make() {
    for bell in BELLS.iter().filter(|bell| bell.get().is_none()) {
        if let Ok(descriptor) = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
            let _ = bell.set(descriptor);
        }
    }
}

/// Rings for the workers in `slots`, each doorbell once.
pub fn ring(slots: impl Iterator<Item = usize>) {
    let mut rung = [false; BELLS.len()];
    for slot in slots {
        let rung = rung.get_mut(slot % BELLS.len());
        if let (Some(rung @ false), Some(descriptor)) = (rung, of(slot)) {
            *rung = true;
            // It is never full, as 2^64 writes are many.
            let _ = rustix::io::write(descriptor, &1_u64.to_ne_bytes());
        }
    }
}

fn of(slot: usize) -> Option<&'static OwnedFd> {
    BELLS.get(slot % BELLS.len())?.get()
}

/// Tells `W` whenever somebody rings for `slot`, and when the worker is told to exit, from when it starts.
/// `false` if it cannot be told of rings.
pub fn listen<W: Watched>(slot: usize) -> bool {
    // nginx calls the handlers of what is idle when it is told to exit.
    let prepare = |it: &mut _| ngx_connection_t::set_idle(it, 1);
    of(slot).is_some_and(|bell| tells_once() && watch::<W>(bell, prepare))
}

/// Whether it is nginx that calls the handler of a doorbell, as the worker is told to exit. It does so
/// outside of its event loop: nothing that is posted then is looked at until the loop turns again.
pub fn says_exit(bell: Connection<'_>) -> bool {
    bell.change(|it| {
        let closes = it.close() != 0;
        it.set_close(0);
        closes
    })
}
