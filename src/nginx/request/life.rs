//! What is remembered of a request: where it is kept, found again, and how it ends.

use core::ffi::c_void;

use nginx_sys::{ngx_palloc, ngx_pool_cleanup_t};

use super::outcome;
use crate::gate::canary::Outcome;
use crate::gate::lane::Count;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::request::Request;
use crate::nginx::host::{AtBackend, Own, Passage, Worker};
use crate::shm::Entry;

/// A passage lives in its request's pool, and ends with it: the pool's cleanup takes the request out
/// of the queue and the counts, however it ends.
impl Passage {
    /// Begins to remember a request that arrives.
    #[inline(always)]
    pub fn create(request: Request<'_>) -> Option<&Self> {
        // SAFETY: the pool gives memory that is aligned for any type and lives as long as the
        // request; it is written before anybody sees it. The pool's list is nginx's own.
        unsafe {
            let passage = ngx_palloc(request.pool().as_ptr(), size_of::<Self>()).cast::<Self>();
            if passage.is_null() {
                return None;
            }
            // Asked for once more, as what is kept across the call costs the open way.
            let pool = request.pool().as_ptr();
            let cleanup = ngx_pool_cleanup_t {
                handler: Some(end),
                data: passage.cast(),
                next: (*pool).cleanup,
            };
            passage.write(Self::new(Own::new(request, cleanup)));
            (*pool).cleanup = (*passage).own.cleanup.get();
            request.context().set(passage.cast());
            Some(&*passage)
        }
    }

    /// What is remembered of a request, as long as no redirect wiped it out.
    #[inline]
    pub fn known(request: Request<'_>) -> Option<&Self> {
        // SAFETY: the context is null or what `create` put there, in the request's pool.
        unsafe { request.context().get().cast::<Self>().as_ref() }
    }

    /// What is remembered of a main request. An internal redirect wipes the modules' contexts, not the
    /// pool's cleanups.
    #[inline]
    pub fn find(request: Request<'_>) -> Option<&Self> {
        if let Some(known) = Self::known(request) {
            return Some(known);
        }
        if !request.was_redirected() {
            return None;
        }
        Self::search(request)
    }

    #[cold]
    fn search(request: Request<'_>) -> Option<&Self> {
        // What has our handler is what `create` wrote.
        request.context().set(request.pool().find(end).next()?.as_ptr());
        Self::known(request)
    }

    #[inline(always)]
    pub fn request(&self) -> Request<'_> {
        self.own.request()
    }

    /// What is remembered of it at its backend, from now on.
    pub fn at_backend(&self) -> Option<&AtBackend> {
        if self.own.at_backend().is_none() {
            self.own.begin_at_backend()?;
        }
        self.own.at_backend()
    }

    /// Whether it is held in the phase in which it was taken back.
    pub fn is_parked(&self) -> bool {
        self.own.at_backend().is_some_and(|at| at.parked.get().is_some())
    }

    /// It is about to go on: if it is parked, the backend is asked anew.
    pub fn unpark(&self) {
        if let Some(header_only) = self.own.at_backend().and_then(|at| at.parked.take()) {
            self.request().set_header_only(header_only);
            self.request().forget_backend();
        }
    }

    /// A line in nginx's debug log, if it is written.
    pub fn debug(&self, what: &str) {
        let log = self.request().log();
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
        self.request().is_answered().then_some(entry)
    }
}

unsafe extern "C" fn end(passage: *mut c_void) {
    // SAFETY: nginx passes what `create` wrote, before the memory of the pool is freed.
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
        let request = passage.request();
        worker.end(passage, outcome::of(request), request.is_abandoned());
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
