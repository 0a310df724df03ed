//! Memory that several processes see: numbers that are read and changed as a whole.
//!
//! All of it is sequentially consistent. In the simulation another worker may run before each access,
//! and this one may die there: so that every interleaving which memory allows is within reach.

use core::sync::atomic::{self, Ordering::SeqCst};

#[cfg(test)]
pub mod hooks {
    //! What the simulation sees of all that.

    use core::cell::Cell;

    /// Told where an access is about to be, and whether something is changed there.
    pub type Between = fn(at: usize, changes: bool);

    std::thread_local! {
        /// What stands in front of each access to shared memory, on this thread.
        pub static BETWEEN: Cell<Option<Between>> = const { Cell::new(None) };
        /// Whether all that is read is kept in mind, also what stands under a lock.
        pub static SEES_ALL: Cell<bool> = const { Cell::new(false) };
        /// All that was read on this thread, as a number.
        pub static SEEN: Cell<u64> = const { Cell::new(0) };
    }

    /// Something was read that others change.
    pub fn see(number: u64) {
        SEEN.set((SEEN.get().rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95));
    }

    /// What stands under a lock is about to be read.
    pub fn see_all(number: impl FnOnce() -> u64) {
        if SEES_ALL.get() {
            see(number());
        }
    }
}

/// Something that others see is about to be looked at, or changed.
#[inline(always)]
#[cfg_attr(not(test), allow(unused_variables))]
pub fn touch<T>(it: &T, changes: bool) {
    #[cfg(test)]
    {
        hooks::see(1);
        if let Some(between) = hooks::BETWEEN.get() {
            between(core::ptr::from_ref(it) as usize, changes);
        }
    }
}

macro_rules! shared {
    ($name:ident, $atomic:ident, $number:ident) => {
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(atomic::$atomic);

        #[allow(dead_code)]
        impl $name {
            pub const fn new(value: $number) -> Self {
                Self(atomic::$atomic::new(value))
            }

            #[inline(always)]
            pub fn get(&self) -> $number {
                touch(self, false);
                let value = self.0.load(SeqCst);
                #[cfg(test)]
                hooks::see(u64::from(value));
                value
            }

            #[inline(always)]
            pub fn set(&self, value: $number) {
                touch(self, true);
                self.0.store(value, SeqCst);
            }

            #[inline(always)]
            pub fn swap(&self, value: $number) -> $number {
                touch(self, true);
                let before = self.0.swap(value, SeqCst);
                #[cfg(test)]
                hooks::see(u64::from(before));
                before
            }

            #[inline(always)]
            pub fn add(&self, value: $number) -> $number {
                touch(self, true);
                self.0.fetch_add(value, SeqCst)
            }

            #[inline(always)]
            pub fn sub(&self, value: $number) -> $number {
                touch(self, true);
                let before = self.0.fetch_sub(value, SeqCst);
                #[cfg(test)]
                assert!(before >= value, "a count falls below zero");
                before
            }

            #[inline(always)]
            pub fn raise(&self, value: $number) {
                touch(self, true);
                self.0.fetch_max(value, SeqCst);
            }

            /// Sets it if it is still `from`.
            #[inline(always)]
            pub fn change(&self, from: $number, to: $number) {
                touch(self, true);
                let _ = self.0.compare_exchange(from, to, SeqCst, SeqCst);
            }
        }
    };
}

shared!(Shared32, AtomicU32, u32);
shared!(Shared64, AtomicU64, u64);
