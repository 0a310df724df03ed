//! nginx's own variables.

use core::cell::Cell;
use core::ffi::{CStr, c_int};

use nginx_sys::{
    NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER, NGX_USE_CLEAR_EVENT, ngx_cycle_t, ngx_http_request_t,
    ngx_int_t, ngx_msec_t, ngx_pid_t, ngx_process_t, ngx_processes, ngx_uint_t,
};

use super::living::Living;
use super::local::Local;

/// One that nobody but this thread writes.
type Variable<T> = Local<Cell<T>>;

unsafe extern "C" {
    safe static ngx_process: Variable<ngx_uint_t>;
    safe static ngx_process_slot: Variable<ngx_int_t>;
    safe static ngx_pid: Variable<ngx_pid_t>;
    safe static ngx_parent: Variable<ngx_pid_t>;
    safe static ngx_ncpu: Variable<ngx_int_t>;
    safe static ngx_pagesize: Variable<ngx_uint_t>;
    safe static ngx_last_process: Variable<ngx_int_t>;
    safe static ngx_current_msec: Variable<ngx_msec_t>;
    safe static ngx_exiting: Variable<c_int>;
    safe static ngx_event_flags: Variable<ngx_uint_t>;
    pub safe static ngx_http_top_header_filter: Variable<HeaderFilter>;
    safe static ngx_cycle: Variable<Option<Living<'static, ngx_cycle_t>>>;
}

/// What sees the header of an answer before it is sent, and passes it on to the next.
pub type HeaderFilter = Option<extern "C" fn(Living<'_, ngx_http_request_t>) -> ngx_int_t>;

/// The cycle that nginx runs with, for no longer than that.
pub(super) fn running_cycle() -> Option<Living<'static, ngx_cycle_t>> {
    ngx_cycle.get().get()
}

/// Whether this worker was told to exit.
pub fn is_exiting() -> bool {
    ngx_exiting.get().get() != 0
}

/// Whether nginx tells of what happens on a descriptor once, and not for as long as nobody has looked.
pub fn tells_once() -> bool {
    ngx_event_flags.get().get() & NGX_USE_CLEAR_EVENT as usize != 0
}

/// Whether this process serves requests.
pub fn is_worker() -> bool {
    [NGX_PROCESS_WORKER as ngx_uint_t, NGX_PROCESS_SINGLE as ngx_uint_t]
        .contains(&ngx_process.get().get())
}

/// The place of this process among those of its master.
pub fn slot() -> usize {
    usize::try_from(ngx_process_slot.get().get()).unwrap_or_default()
}

/// When the event loop began its turn, in milliseconds of the monotonic clock.
#[inline]
pub fn current_msec() -> u64 {
    ngx_current_msec.get().get() as u64
}

pub fn pid() -> u32 {
    u32::try_from(ngx_pid.get().get()).unwrap_or_default()
}

/// The process id of this worker's master.
pub fn parent() -> u32 {
    u32::try_from(ngx_parent.get().get()).unwrap_or_default()
}

/// How many cores there are.
pub fn ncpu() -> usize {
    usize::try_from(ngx_ncpu.get().get()).unwrap_or(1)
}

pub fn page_size() -> usize {
    ngx_pagesize.get().get()
}

/// The process ids of the workers that a master has.
pub fn running_workers() -> impl Iterator<Item = u32> {
    let last = usize::try_from(ngx_last_process.get().get()).unwrap_or_default();
    (0..last).filter_map(|slot| {
        // SAFETY: nginx's own table, which the master changes in this thread; the name of a process is a
        // C string.
        let (process, is_worker) = unsafe {
            let process = *(&raw const ngx_processes).cast::<ngx_process_t>().add(slot);
            let has_name = !process.name.is_null();
            (process, has_name && CStr::from_ptr(process.name) == c"worker process")
        };
        let is_there = is_worker && process.exited() == 0;
        u32::try_from(process.pid).ok().filter(|pid| is_there && *pid > 0)
    })
}
