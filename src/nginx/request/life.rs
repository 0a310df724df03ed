//! What is remembered of a request: where it is kept, found again, and how it ends.

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::ptr;

use nginx_sys::{ngx_http_request_t, ngx_palloc, ngx_pool_cleanup_t};

use super::outcome;
use crate::gate::lane::Count;
use crate::gate::trial::Outcome;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::clock;
use crate::nginx::ffi::identity::{context, remembered};
use crate::nginx::host::{AtBackend, Passage, Progress, Request, Worker};
use crate::shm::Entry;

/// A passage lives in its request's pool, and ends with it: the pool's cleanup takes the request out
/// of the queue and the counts, however it ends.
impl Passage {
    /// Begins to remember a request that arrives.
    ///
    /// # Safety
    ///
    /// `request` is a living main request.
    #[inline(always)]
    pub unsafe fn create<'r>(request: *mut ngx_http_request_t) -> Option<&'r Self> {
        // SAFETY: the pool gives memory that is aligned for any type and lives as long as the
        // request; it is written before anybody sees it. The pool's list is nginx's own.
        unsafe {
            let passage = ngx_palloc((*request).pool, size_of::<Self>()).cast::<Self>();
            if passage.is_null() {
                return None;
            }
            let pool = (*request).pool;
            passage.write(Self::new(Request {
                cleanup: UnsafeCell::new(ngx_pool_cleanup_t {
                    handler: Some(end),
                    data: passage.cast(),
                    next: (*pool).cleanup,
                }),
                request,
                body: Cell::new(Progress::Unread),
                step: Cell::new(None),
                at_backend: Cell::new(None),
            }));
            (*pool).cleanup = (*passage).own.cleanup.get();
            context(request).write(passage.cast());
            Some(&*passage)
        }
    }

    /// What is remembered of a request, as long as no redirect wiped it out.
    ///
    /// # Safety
    ///
    /// `request` is a living request.
    #[inline]
    pub unsafe fn known<'r>(request: *mut ngx_http_request_t) -> Option<&'r Self> {
        // SAFETY: the context is null or what `create` put there.
        unsafe { (*context(request)).cast::<Self>().as_ref() }
    }

    /// What is remembered of a request. An internal redirect wipes the modules' contexts, not the
    /// pool's cleanups.
    ///
    /// # Safety
    ///
    /// `request` is a living main request.
    #[inline]
    pub unsafe fn find<'r>(request: *mut ngx_http_request_t) -> Option<&'r Self> {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(known) = Self::known(request) {
                return Some(known);
            }
            if (*request).internal() == 0 && (*request).filter_finalize() == 0 {
                return None;
            }
            Self::search(request)
        }
    }

    /// # Safety
    ///
    /// As [`Passage::find`].
    #[cold]
    unsafe fn search<'r>(request: *mut ngx_http_request_t) -> Option<&'r Self> {
        // SAFETY: the caller's promise; what has our handler is what `create` wrote.
        unsafe {
            let found = remembered(request, end)?;
            context(request).write(found.as_ptr());
            Some(found.cast().as_ref())
        }
    }

    #[inline]
    pub fn request(&self) -> *mut ngx_http_request_t {
        self.own.request
    }

    /// What is remembered of it at its backend, from now on.
    pub fn at_backend(&self) -> Option<&'static AtBackend> {
        if self.own.at_backend.get().is_none() {
            // SAFETY: as for the passage itself, which lives as long; a passage is a living request's.
            unsafe {
                let memory = ngx_palloc((*self.request()).pool, size_of::<AtBackend>());
                let memory = memory.cast::<AtBackend>();
                if memory.is_null() {
                    return None;
                }
                memory.write(AtBackend {
                    arrived: clock::now(),
                    answered: Cell::new(None),
                    finalize: Cell::new(None),
                    output: Cell::new((None, ptr::null_mut())),
                    taken: Cell::new(None),
                    parked: Cell::new(None),
                    replayed: Cell::new(false),
                });
                self.own.at_backend.set(Some(&*memory));
            }
        }
        self.own.at_backend.get()
    }

    /// Whether it is held in the phase in which it was taken back.
    pub fn is_parked(&self) -> bool {
        self.own.at_backend.get().is_some_and(|at| at.parked.get().is_some())
    }

    /// It is about to go on: if it is parked, the backend is asked anew.
    ///
    /// # Safety
    ///
    /// The passage is that of a living request.
    pub unsafe fn unpark(&self) {
        let parked = self.own.at_backend.get().and_then(|at| at.parked.take());
        let Some(header_only) = parked else { return };
        // SAFETY: the caller's promise.
        unsafe {
            let request = &mut *self.request();
            request.set_header_only(u32::from(header_only));
            request.upstream_states = ptr::null_mut();
            #[cfg(ngx_feature = "http_cache")]
            {
                request.cache = ptr::null_mut();
            }
        }
    }

    /// A line in nginx's debug log, if it is written.
    pub fn debug(&self, what: &str) {
        // SAFETY: a living request has a connection with a log.
        let log = unsafe { (*(*self.request()).connection).log };
        let (stage, ticket) = (self.stage(), self.ticket());
        ngx::ngx_log_debug!(
            mask: ngx::log::DebugMask::Http,
            log,
            "http intermission {what}, ticket {ticket}, {stage:?}"
        );
    }

    /// Whether nothing happened to it but that it went through an open gate and was answered.
    #[inline]
    fn was_just_answered(&self) -> Option<Entry> {
        let entry = self.just_passed()?;
        // SAFETY: the pool's cleanups run before its memory is freed.
        unsafe { outcome::is_answered(self.request()) }.then_some(entry)
    }
}

unsafe extern "C" fn end(passage: *mut c_void) {
    // SAFETY: nginx passes what `create` wrote.
    let passage = unsafe { &*passage.cast::<Passage>() };
    match passage.was_just_answered() {
        // The short way, as through the gate.
        Some(entry) => {
            entry.lane.sub(Count::InFlight);
            if !entry.is_open() {
                tell_of_end(passage);
            }
        }
        None => end_slowly(passage),
    }
}

// Both are C's, so that the compiler knows that they do not unwind, and need not be ready for that.

#[cold]
#[inline(never)]
extern "C" fn end_slowly(passage: &Passage) {
    guarded((), || {
        let Some(worker) = Worker::here() else { return };
        if !passage.is_through() {
            return worker.end(passage, Outcome::Void, false);
        }
        // SAFETY: the pool's cleanups run before its memory is freed.
        let (outcome, abandoned) =
            unsafe { (outcome::of(passage.request()), outcome::is_abandoned(passage.request())) };
        worker.end(passage, outcome, abandoned);
    });
}

#[cold]
#[inline(never)]
extern "C" fn tell_of_end(passage: &Passage) {
    guarded((), || {
        if let (Some(worker), Some(entry)) = (Worker::here(), passage.entry()) {
            worker.request_ended(entry.app());
        }
    });
}
