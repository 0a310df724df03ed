//! Workers as tasks: each does something, stops at a point where others may come in between, and
//! goes on when it is its turn. Killing one is dropping its task.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

pub type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Goes on with a task up to its next pause; says whether it is over.
pub fn step(task: &mut Task) -> bool {
    task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// A point between two instructions of a worker where anything may happen elsewhere.
pub fn pause() -> impl Future<Output = ()> {
    Pause(false)
}

struct Pause(bool);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}
