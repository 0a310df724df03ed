//! Which processes there are, and whether this one is to end.

use std::fs;

use nginx_sys::ngx_exiting;

use crate::shm::start_of;

/// Whether this worker was told to exit.
pub fn is_exiting() -> bool {
    // SAFETY: nginx's own flag.
    unsafe { ngx_exiting != 0 }
}

/// Whether there is a process with this id.
pub fn exists(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is not sent; the call only says whether it could be.
    let found = unsafe { libc::kill(pid, 0) } == 0;
    found || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// When the process with this id started, if the system tells.
pub fn started(pid: u32) -> Option<u32> {
    start_of(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}
