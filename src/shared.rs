//! Memory that several processes see: numbers that are read and changed as a whole.
//!
//! All of it is sequentially consistent. In the simulation another worker may run before each access,
//! and this one may die there: so that every interleaving which memory allows is within reach.

use core::sync::atomic::{self, Ordering::SeqCst};

#[cfg(test)]
std::thread_local! {
    /// What stands between two accesses to shared memory, on this thread.
    pub static BETWEEN: core::cell::Cell<Option<fn()>> = const { core::cell::Cell::new(None) };
}

/// Something that others see is about to be looked at or changed.
#[inline(always)]
pub fn touch() {
    #[cfg(test)]
    if let Some(between) = BETWEEN.get() {
        between();
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
                touch();
                self.0.load(SeqCst)
            }

            #[inline(always)]
            pub fn set(&self, value: $number) {
                touch();
                self.0.store(value, SeqCst);
            }

            #[inline(always)]
            pub fn swap(&self, value: $number) -> $number {
                touch();
                self.0.swap(value, SeqCst)
            }

            #[inline(always)]
            pub fn add(&self, value: $number) -> $number {
                touch();
                self.0.fetch_add(value, SeqCst)
            }

            #[inline(always)]
            pub fn sub(&self, value: $number) -> $number {
                touch();
                let before = self.0.fetch_sub(value, SeqCst);
                #[cfg(test)]
                assert!(before >= value, "a count falls below zero");
                before
            }

            #[inline(always)]
            pub fn raise(&self, value: $number) {
                touch();
                self.0.fetch_max(value, SeqCst);
            }

            /// Sets it if it is still `from`.
            #[inline(always)]
            pub fn change(&self, from: $number, to: $number) {
                touch();
                let _ = self.0.compare_exchange(from, to, SeqCst, SeqCst);
            }
        }
    };
}

shared!(Shared32, AtomicU32, u32);
shared!(Shared64, AtomicU64, u64);
