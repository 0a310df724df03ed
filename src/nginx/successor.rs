//! Whether another nginx runs beside this one, as during a binary upgrade.

use std::fs;

use nginx_sys::{ngx_core_conf_t, ngx_core_module, ngx_cycle, ngx_parent, ngx_str_t};

use super::headers;
use super::store::path_of;
use super::worker::exists as is_running;

/// Whether one of the files in which nginx notes its master's process id names a living process
/// that is not this worker's master: the new binary's while the old one ends, the old one's when it
/// is taken back.
pub fn exists() -> bool {
    // SAFETY: a worker has a cycle, and its core module a configuration.
    unsafe {
        let conf = (*(*ngx_cycle).conf_ctx.add(ngx_core_module.index)).cast::<ngx_core_conf_t>();
        let Some(conf) = conf.as_ref() else { return false };
        [&conf.pid, &conf.oldpid].into_iter().any(|file| names_another(file))
    }
}

/// # Safety
///
/// The string is one of nginx's configuration.
unsafe fn names_another(file: &ngx_str_t) -> bool {
    // SAFETY: the caller's promise.
    let bytes = unsafe { headers::bytes(file) };
    // nginx counts the zero at the end of one of the two names, and not of the other.
    let path = path_of(bytes.split(|byte| *byte == 0).next().unwrap_or_default());
    let pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    // SAFETY: nginx's own variable.
    let parent = u32::try_from(unsafe { ngx_parent }).unwrap_or_default();
    pid.is_some_and(|pid| pid != parent && is_running(pid))
}
