//! Which processes there are.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::shm::start_of;

/// Whether there is a process with this id.
pub fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
}

/// When the process with this id started, if the system tells.
pub fn started(pid: u32) -> Option<u32> {
    start_of(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}
