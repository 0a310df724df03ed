//! A worker's connections: whether it can hold one more request, and how many it can let go, as each
//! needs a second connection then.

use core::cell::Cell;

use crate::nginx::ffi::local::Local;
use nginx_sys::ngx_cycle;

/// File descriptors for what is no connection: logs, listening sockets, temporary files.
const OTHER_FILES: usize = 64;

/// For the control location, health checks and clients that come and go: an eighth, 32 at most.
fn reserve(connections: usize) -> usize {
    (connections / 8).min(32)
}

/// Whether a worker has no connections left but for a reserve, so that one more request cannot be held.
pub fn are_short() -> bool {
    let (total, left) = connections();
    left <= reserve(total)
}

/// How many requests can be let go at the moment: each needs a connection to the backend. Half of the
/// reserve is left to others.
pub fn free_for_release() -> usize {
    let (total, left) = connections();
    left.saturating_sub(reserve(total) / 2)
}

/// How many connections there may be, and how many are left.
fn connections() -> (usize, usize) {
    // SAFETY: nginx's own cycle.
    let (total, free, reusable) = unsafe {
        let cycle = &*ngx_cycle;
        (cycle.connection_n, cycle.free_connection_n, cycle.reusable_connections_n)
    };
    let in_use = total.saturating_sub(free);
    let files_left = most_files().saturating_sub(OTHER_FILES.saturating_add(in_use));
    (total, free.min(files_left).saturating_add(reusable))
}

/// How many files this process may have open.
fn most_files() -> usize {
    static KNOWN: Local<Cell<usize>> = Local::new(Cell::new(0));
    if KNOWN.get().get() == 0 {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer leads to an rlimit.
        let failed = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0;
        let most = if failed { u64::MAX } else { limit.rlim_cur };
        KNOWN.get().set(usize::try_from(most).unwrap_or(usize::MAX));
    }
    KNOWN.get().get()
}
