//! Calls that are suspended: they are woken, or their time is up, or they end.

use core::time::Duration;

use crate::nginx::ffi::event::Event;
use crate::nginx::ffi::request::{Request, Turn};
use crate::nginx::host::Worker;

/// Has a call wait to which nothing has been answered: `T` gets its turn when it is woken, when its time is
/// up, and for nothing. It finds the `waiter` in the request's pool, which drops it at its end. `None` if
/// there is no memory.
pub fn suspend<'r, W: 'r, T: Turn>(request: Request<'r>, waiter: W, limit: Duration) -> Option<()> {
    let worker = Worker::here()?;
    request.pool().keep(waiter)?;
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
