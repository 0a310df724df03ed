//! nginx's shared memory zone, and its mutex as a lock for Rust.

use core::ptr;

use nginx_sys::{
    ngx_shmtx_lock, ngx_shmtx_t, ngx_shmtx_trylock, ngx_shmtx_unlock, ngx_slab_pool_t,
};
use parking_lot::lock_api::{GuardNoSend, RawMutex};

use crate::nginx::ffi::memory::{Memory, Slab};
use crate::shm;

pub type Zone = shm::Zone<ZoneLock>;

/// The mutex of a zone's slab pool: the one that the master opens when a worker dies with it.
#[repr(transparent)]
pub struct ZoneLock(*mut ngx_slab_pool_t);

impl ZoneLock {
    /// # Safety
    ///
    /// The pool lives as long as the lock is used.
    pub unsafe fn of(pool: Slab<'_>) -> Self {
        Self(pool.as_ptr())
    }

    fn mutex(&self) -> *mut ngx_shmtx_t {
        // SAFETY: the pool lives as long as the zone, in which this lock stands.
        unsafe { &raw mut (*self.0).mutex }
    }
}

// SAFETY: the mutex is made for many processes, and the pointer to it is the same in all of them:
// the zone is mapped before they are forked.
unsafe impl Sync for ZoneLock {}
// SAFETY: any thread of those processes may open it.
unsafe impl Send for ZoneLock {}

// SAFETY: nginx's mutex excludes; it is a spin lock in shared memory, not reentrant, and nothing
// that is done under it takes it again.
unsafe impl RawMutex for ZoneLock {
    // A lock of no zone: it is never locked, as a zone is made with `ZoneLock::of`.
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Self = Self(ptr::null_mut());

    type GuardMarker = GuardNoSend;

    fn lock(&self) {
        // SAFETY: nginx has made the mutex.
        unsafe { ngx_shmtx_lock(self.mutex()) }
    }

    fn try_lock(&self) -> bool {
        // SAFETY: nginx has made the mutex.
        unsafe { ngx_shmtx_trylock(self.mutex()) != 0 }
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller has the lock.
        unsafe { ngx_shmtx_unlock(self.mutex()) }
    }
}

/// The zone in nginx's shared memory, if it has been made.
///
/// # Safety
///
/// The memory is this module's, and nobody uses the zone when it is gone.
pub unsafe fn attached(memory: Memory<'_>) -> Option<Zone> {
    let zone = memory.slab()?.data()?;
    // SAFETY: the caller's promise; data is there when a zone has been made.
    unsafe { Zone::attach(zone.cast()).ok() }
}
