//! Whether a worker can hold one more request: each needs a second connection when it is released.

use core::cell::Cell;

use nginx_sys::ngx_cycle;

use super::local::Local;

/// File descriptors for what is no connection: logs, listening sockets, temporary files.
const OTHER_FILES: usize = 64;

/// For the control location, health checks and clients that come and go: an eighth, 32 at most.
fn reserve(connections: usize) -> usize {
    (connections / 8).min(32)
}

/// Whether the connections that a worker has left would not do for those that it holds, one more,
/// and a reserve.
pub fn are_short(holding: usize) -> bool {
    // SAFETY: nginx's own cycle.
    let (total, free, reusable) = unsafe {
        let cycle = &*ngx_cycle;
        (cycle.connection_n, cycle.free_connection_n, cycle.reusable_connections_n)
    };
    let in_use = total.saturating_sub(free);
    let files_left = most_files().saturating_sub(OTHER_FILES.saturating_add(in_use));
    let left = free.saturating_add(reusable).min(files_left.saturating_add(reusable));
    left < holding.saturating_add(1).saturating_add(reserve(total))
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
