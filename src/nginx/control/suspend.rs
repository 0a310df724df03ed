//! Calls that are suspended: they are woken, or their time is up, or they end.

use core::time::Duration;

use nginx_sys::ngx_pool_cleanup_add;

use crate::nginx::ffi::event::Event;
use crate::nginx::ffi::pool::Cleanup;
use crate::nginx::ffi::request::{Request, Turn};
use crate::nginx::host::Worker;

/// Has a call wait to which nothing has been answered: `T` gets its turn when it is woken, when its time is
/// up, and for nothing, and `end` is called when the request ends. Both find the `waiter` in the request's
/// pool. `None` if there is no memory.
///
/// # Safety
///
/// `end` takes a `W`.
pub unsafe fn suspend<W, T: Turn>(
    request: Request<'_>,
    waiter: W,
    limit: Duration,
    end: Cleanup,
) -> Option<()> {
    let worker = Worker::here()?;
    // SAFETY: the pool's memory is aligned for any type, is written before it is seen, and is dropped
    // by its cleanup.
    unsafe {
        let cleanup = ngx_pool_cleanup_add(request.pool().as_ptr(), size_of::<W>()).as_mut()?;
        cleanup.data.cast::<W>().write(waiter);
        cleanup.handler = Some(end);
    }
    worker.add_caller(event(request));
    if !request.discards_body() {
        request.watch_client();
    }
    request.on_write::<T>();
    event(request).set_timer(limit);
    request.count_once_more();
    Some(())
}

/// A call that waited is going to be answered, or has ended.
pub fn stop(request: Request<'_>) {
    if let Some(worker) = Worker::here() {
        worker.forget_caller(event(request));
    }
    event(request).stop_timer();
}

/// Whether a call has its turn because its time is up.
pub fn is_late(request: Request<'_>) -> bool {
    request.connection().write().take_timeout()
}

/// What wakes a call: the write event of its connection, which runs the request.
fn event(request: Request<'_>) -> Event<'static> {
    let event = request.connection().write();
    // SAFETY: the worker forgets a caller before its request is over, and its connection goes.
    unsafe { Event::new(event.as_ptr()) }
}
