//! nginx's shared memory zone, and its mutex as a lock for Rust.

use nginx_sys::ngx_shmtx_t;
use parking_lot::lock_api::{GuardNoSend, RawMutex};

use crate::nginx::ffi::functions::{ngx_shmtx_lock, ngx_shmtx_trylock, ngx_shmtx_unlock};
use crate::nginx::ffi::living::Living;
use crate::nginx::ffi::memory::{Memory, Slab};
use crate::shm::{self, Unfit};

pub type Zone = shm::Zone<ZoneLock>;

/// The mutex of a zone's slab pool: the one that the master opens when a worker dies with it.
#[repr(transparent)]
pub struct ZoneLock(Option<Living<'static, ngx_shmtx_t>>);

impl ZoneLock {
    pub fn of(slab: Slab<'static>) -> Self {
        Self(Some(slab.mutex()))
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
    const INIT: Self = Self(None);

    type GuardMarker = GuardNoSend;

    fn lock(&self) {
        if let Some(mutex) = self.0 {
            ngx_shmtx_lock(mutex);
        }
    }

    fn try_lock(&self) -> bool {
        self.0.is_some_and(|mutex| ngx_shmtx_trylock(mutex) != 0)
    }

    unsafe fn unlock(&self) {
        if let Some(mutex) = self.0 {
            ngx_shmtx_unlock(mutex);
        }
    }
}

/// The zone in nginx's shared memory, if it has been made.
pub fn attached(memory: Memory<'_>) -> Option<Result<Zone, Unfit>> {
    let zone = memory.slab()?.data()?;
    // SAFETY: what is kept in this module's memory is a zone, and whoever uses that ends before it.
    Some(unsafe { Zone::attach(zone.cast()) })
}
