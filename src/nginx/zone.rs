//! nginx's shared memory zone, and its mutex as a lock for Rust.

use core::ptr::{self, NonNull};

use nginx_sys::{
    ngx_shm_zone_t, ngx_shmtx_lock, ngx_shmtx_trylock, ngx_shmtx_unlock, ngx_slab_pool_t,
};
use parking_lot::lock_api::{GuardNoSend, RawMutex};

use crate::shm;

pub type Zone = shm::Zone<ZoneLock>;

/// The mutex of a zone's slab pool: the one that the master opens when a worker dies with it.
#[repr(transparent)]
pub struct ZoneLock(*mut ngx_slab_pool_t);

impl ZoneLock {
    /// # Safety
    ///
    /// The pool lives as long as the lock is used.
    pub unsafe fn of(pool: *mut ngx_slab_pool_t) -> Self {
        Self(pool)
    }
}

// SAFETY: the mutex is made for many processes, and the pointer to it is the same in all of them:
// the zone is mapped before they are forked.
unsafe impl Sync for ZoneLock {}
// SAFETY: as above.
unsafe impl Send for ZoneLock {}

// SAFETY: nginx's mutex excludes; it is a spin lock in shared memory, not reentrant, and nothing
// that is done under it takes it again.
unsafe impl RawMutex for ZoneLock {
    // A lock of no zone: it is never locked, as a zone is made with `ZoneLock::of`.
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Self = Self(ptr::null_mut());

    type GuardMarker = GuardNoSend;

    fn lock(&self) {
        // SAFETY: the pool lives as long as the zone, in which this lock stands.
        unsafe { ngx_shmtx_lock(&raw mut (*self.0).mutex) }
    }

    fn try_lock(&self) -> bool {
        // SAFETY: as above.
        unsafe { ngx_shmtx_trylock(&raw mut (*self.0).mutex) != 0 }
    }

    unsafe fn unlock(&self) {
        // SAFETY: as above; the caller has the lock.
        unsafe { ngx_shmtx_unlock(&raw mut (*self.0).mutex) }
    }
}

/// The zone in nginx's shared memory, if it has been made.
///
/// # Safety
///
/// `shm_zone` is null or one of ours, of a living cycle.
pub unsafe fn attached(shm_zone: *const ngx_shm_zone_t) -> Option<Zone> {
    // SAFETY: nginx makes the pool when it maps the memory; its data is what `init` left there.
    unsafe {
        let pool = shm_zone.as_ref()?.shm.addr.cast::<ngx_slab_pool_t>();
        let memory = NonNull::new(pool.as_ref()?.data)?;
        Zone::attach(memory.cast()).ok()
    }
}
