//! A worker's connections: whether it can hold one more request, and how many it can let go, as each
//! needs a second connection then.

use core::cell::Cell;

use super::cycle::Cycle;
use super::local::Local;
use rustix::process::{Resource, getrlimit};

/// File descriptors for what is no connection: logs, listening sockets, temporary files.
const OTHER_FILES: usize = 64;

/// For the control location, health checks and clients that come and go: a sixteenth, below which nginx
/// closes connections that are idle, and as much again, 16 at most.
fn reserve(connections: usize) -> usize {
    connections / 16 + (connections / 16).min(16)
}

/// Whether a worker has no connections left but for a reserve, so that one more request cannot be held.
pub fn are_short() -> bool {
    budgets().iter().any(|(total, left)| *left <= reserve(*total))
}

/// How many requests can be let go at the moment: each needs a connection to the backend. Half of what
/// the reserve has above nginx's own is for them.
pub fn free_for_release() -> usize {
    let free =
        |(total, left): (usize, usize)| left.saturating_sub((reserve(total) + total / 16) / 2);
    budgets().map(free).into_iter().min().unwrap_or(0)
}

/// How many connections and how many files for them there may be, and how many of these are left.
/// nginx takes connections from idle clients where it has no others, but not files.
fn budgets() -> [(usize, usize); 2] {
    let (total, free, reusable) =
        Cycle::in_running(|cycle| cycle.connections()).unwrap_or_default();
    let in_use = total.saturating_sub(free);
    let files = most_files().saturating_sub(OTHER_FILES);
    [(total, free.saturating_add(reusable)), (files.min(total), files.saturating_sub(in_use))]
}

/// How many files this process may have open.
fn most_files() -> usize {
    static KNOWN: Local<Cell<usize>> = Local::new(Cell::new(0));
    if KNOWN.get().get() == 0 {
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        KNOWN.get().set(usize::try_from(most).unwrap_or(usize::MAX));
    }
    KNOWN.get().get()
}
