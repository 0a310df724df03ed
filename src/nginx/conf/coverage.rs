//! Which places are under a gate, from one configuration to the next.
//!
//! Workers of an earlier configuration go on with the requests that they have. Where a gate is put
//! over a place, what they let through there has been counted by nobody, so no drain can know when
//! it is over. The master notes such workers.

use core::cell::RefCell;
use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

use crate::nginx::ffi::configuring::Configuring;
use crate::nginx::ffi::globals;
use crate::nginx::ffi::local::Local;
use crate::nginx::ffi::processes::{exists, started};
use crate::shm::Process;

/// The places under a gate, each as a number. Two places can have the same one, which then is there
/// twice.
pub type Coverage = Vec<u64>;

/// That of the configuration that the master has taken up last.
static RUNNING: Local<RefCell<Coverage>> = Local::new(RefCell::new(Vec::new()));

/// What tells the place at hand, under the gate of the app of this name, from others.
pub fn place(cf: &Configuring<'_>, app: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    app.hash(&mut hasher);
    if let Some(server) = cf.server_name() {
        server.hash(&mut hasher);
    }
    if let Some(location) = cf.location() {
        location.name().hash(&mut hasher);
    }
    hasher.finish()
}

/// The workers of earlier configurations that may serve requests which nobody counts. Known to the
/// master, and to those that it forks from then on.
static STRANGERS: Local<RefCell<Vec<Process>>> = Local::new(RefCell::new(Vec::new()));

/// A configuration is taken up, in the master, before its workers are forked: those that are there may
/// serve requests that nobody counts, unless all that is covered now was covered before.
pub fn take_up(mut covered: Coverage) {
    covered.sort_unstable();
    let before = RUNNING.get().replace(covered.clone());
    if !is_part_of(&covered, before) {
        let mut strangers = STRANGERS.get().borrow_mut();
        strangers.retain(lives);
        strangers.extend(running_workers());
    }
}

/// The process ends, and what it has loaded is let go before its memory is.
pub fn forget() {
    RUNNING.get().take();
    STRANGERS.get().take();
}

/// How many workers there are that may serve requests which nobody counts.
pub fn strangers() -> usize {
    let mut strangers = STRANGERS.get().borrow_mut();
    strangers.retain(lives);
    strangers.len()
}

fn lives(process: &Process) -> bool {
    exists(process.pid) && started(process.pid).is_none_or(|at| at == process.started)
}

/// Whether each number of `these`, which are sorted, is in `those` as often.
fn is_part_of(these: &[u64], those: Coverage) -> bool {
    let mut those = those.into_iter();
    these.iter().all(|this| those.any(|other| other == *this))
}

/// The workers that nginx has.
fn running_workers() -> impl Iterator<Item = Process> {
    globals::running_workers().map(|pid| Process { pid, started: started(pid).unwrap_or_default() })
}
