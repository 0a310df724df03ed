//! nginx's own variables.

use core::ffi::CStr;

use nginx_sys::{
    NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER, ngx_current_msec, ngx_int_t, ngx_last_process,
    ngx_msec_t, ngx_ncpu, ngx_pagesize, ngx_pid, ngx_pid_t, ngx_process, ngx_process_slot,
    ngx_process_t, ngx_processes, ngx_uint_t,
};

macro_rules! variables {
    ($($name:ident: $kind:ty = $variable:ident;)*) => {
        $(
            #[inline]
            fn $name() -> $kind {
                // SAFETY: a number, which nobody but this thread writes.
                unsafe { $variable }
            }
        )*
    };
}

variables! {
    process: ngx_uint_t = ngx_process;
    process_slot: ngx_int_t = ngx_process_slot;
    process_id: ngx_pid_t = ngx_pid;
    cores: ngx_int_t = ngx_ncpu;
    page: ngx_uint_t = ngx_pagesize;
    last_process: ngx_int_t = ngx_last_process;
    turn: ngx_msec_t = ngx_current_msec;
}

/// Whether this process serves requests.
pub fn is_worker() -> bool {
    [NGX_PROCESS_WORKER as ngx_uint_t, NGX_PROCESS_SINGLE as ngx_uint_t].contains(&process())
}

/// The place of this process among those of its master.
pub fn slot() -> usize {
    usize::try_from(process_slot()).unwrap_or_default()
}

/// When the event loop began its turn, in milliseconds of the monotonic clock.
#[inline]
pub fn current_msec() -> u64 {
    turn() as u64
}

pub fn pid() -> u32 {
    u32::try_from(process_id()).unwrap_or_default()
}

/// How many cores there are.
pub fn ncpu() -> usize {
    usize::try_from(cores()).unwrap_or(1)
}

pub fn page_size() -> usize {
    page()
}

/// The process ids of the workers that a master has.
pub fn running_workers() -> impl Iterator<Item = u32> {
    let last = usize::try_from(last_process()).unwrap_or_default();
    (0..last).filter_map(|slot| {
        // SAFETY: nginx's own table, which the master changes in this thread.
        let process = unsafe { *(&raw const ngx_processes).cast::<ngx_process_t>().add(slot) };
        if process.name.is_null() || process.exited() != 0 {
            return None;
        }
        // SAFETY: the name of a process is a C string.
        let is_worker = unsafe { CStr::from_ptr(process.name) } == c"worker process";
        u32::try_from(process.pid).ok().filter(|pid| is_worker && *pid > 0)
    })
}
