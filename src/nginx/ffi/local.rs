//! Variables of a process: nginx calls its modules in one thread.

/// A value that this process alone uses, from nginx's event loop.
#[repr(transparent)]
pub struct Local<T>(T);

// SAFETY: nginx's processes run their modules' callbacks in a single thread. Its thread pool, if
// there is one, runs none of ours, and what `background` starts uses no such value.
unsafe impl<T> Sync for Local<T> {}

impl<T> Local<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    #[inline]
    pub fn get(&self) -> &T {
        &self.0
    }
}
