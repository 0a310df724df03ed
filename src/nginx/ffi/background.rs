//! What would keep nginx's event loop waiting is done beside it, in a thread of its own.
//!
//! nginx's thread pools would do as well, where nginx has them and its configuration does not change
//! them. A thread is all that is needed here, and each system has those.

use core::mem::zeroed;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Work that goes on.
pub struct Work<T> {
    thread: JoinHandle<T>,
    over: Arc<AtomicBool>,
}

/// Says that the work is over, also where it ends in a panic.
struct Over<F: Fn()> {
    over: Arc<AtomicBool>,
    tell: F,
}

/// Begins to `work`, and calls `tell` when that is over: both in another thread, where nothing of nginx's
/// may be used.
pub fn start<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    tell: impl Fn() + Send + 'static,
) -> io::Result<Work<T>> {
    let over = Arc::new(AtomicBool::new(false));
    let end = Over { over: over.clone(), tell };
    let run = move || {
        let _end = end;
        work()
    };
    let thread = without_signals(|| thread::Builder::new().spawn(run))?;
    Ok(Work { thread, over })
}

impl<T> Work<T> {
    pub fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// What came of it. Waits for the end.
    pub fn result(self) -> thread::Result<T> {
        self.thread.join()
    }
}

impl<F: Fn()> Drop for Over<F> {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        (self.tell)();
    }
}

/// A thread that is started in here gets no signals: those are for nginx's own, which they wake.
fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    // SAFETY: a set of signals may be zeroed, and the calls write to nothing else.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (zeroed(), zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let started = start();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        started
    }
}
