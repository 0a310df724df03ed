//! Calls that are suspended: they are woken, or their time is up, or they end.

use core::time::Duration;

use nginx_sys::{
    ngx_add_timer, ngx_del_timer, ngx_event_t, ngx_http_event_handler_pt, ngx_http_request_t,
    ngx_http_test_reading, ngx_pool_cleanup_add,
};

use crate::nginx::ffi::identity::Cleanup;
use crate::nginx::host::Worker;

/// Has a call wait: `on_write` is called when it is woken, when its time is up, and for nothing, and
/// `end` when the request ends. Both find the `waiter` in the request's pool.
///
/// # Safety
///
/// The request lives, and nothing has been answered to it; `end` takes a `T`.
pub unsafe fn suspend<T>(
    request: *mut ngx_http_request_t,
    waiter: T,
    limit: Duration,
    on_write: ngx_http_event_handler_pt,
    end: Cleanup,
) -> Option<()> {
    let worker = Worker::here()?;
    // SAFETY: the caller's promise; the pool's memory is aligned for any type, is written before it
    // is seen, and is dropped by its cleanup.
    unsafe {
        let cleanup = ngx_pool_cleanup_add((*request).pool, size_of::<T>()).as_mut()?;
        cleanup.data.cast::<T>().write(waiter);
        cleanup.handler = Some(end);
        worker.add_caller(event(request));
        if (*request).discard_body() == 0 {
            (*request).read_event_handler = Some(ngx_http_test_reading);
        }
        (*request).write_event_handler = on_write;
        let millis = usize::try_from(limit.as_millis()).unwrap_or(usize::MAX / 4);
        ngx_add_timer(event(request), millis);
        (*(*request).main).set_count((*(*request).main).count() + 1);
    }
    Some(())
}

/// A call that waited is going to be answered, or has ended.
///
/// # Safety
///
/// The request lives.
pub unsafe fn stop(request: *mut ngx_http_request_t) {
    // SAFETY: the caller's promise.
    let write = unsafe { event(request) };
    if let Some(worker) = Worker::here() {
        worker.forget_caller(write);
    }
    // SAFETY: as above.
    unsafe {
        if (*write).timer_set() != 0 {
            ngx_del_timer(write);
        }
    }
}

/// What wakes a call: the write event of its connection, which runs the request.
///
/// # Safety
///
/// The request lives.
unsafe fn event(request: *mut ngx_http_request_t) -> *mut ngx_event_t {
    // SAFETY: the caller's promise.
    unsafe { (*(*request).connection).write }
}

/// Whether a call is run because its time is up.
///
/// # Safety
///
/// The request lives.
pub unsafe fn is_late(request: *mut ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let write = event(request);
        let late = (*write).timedout() != 0;
        (*write).set_timedout(0);
        late
    }
}
