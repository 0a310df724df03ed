//! A header filter: sees the answer to a request begin, and a connection become something else.

use core::cell::Cell;

use super::{outcome, take_back};
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::local::Local;
use crate::nginx::host::{Passage, Worker, looks_at_answers};
use nginx_sys::{
    NGX_DONE, NGX_HTTP_SWITCHING_PROTOCOLS, NGX_OK, ngx_conf_t, ngx_http_output_header_filter_pt,
    ngx_http_request_t, ngx_http_top_header_filter, ngx_int_t,
};

/// The filter behind this one.
static NEXT: Local<Cell<ngx_http_output_header_filter_pt>> = Local::new(Cell::new(None));

pub unsafe extern "C" fn install(_: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx sets the chain of filters up while it reads its configuration, in one thread.
    unsafe {
        NEXT.get().set(ngx_http_top_header_filter);
        ngx_http_top_header_filter = Some(filter);
    }
    NGX_OK as ngx_int_t
}

unsafe extern "C" fn filter(request: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a living request, and the next filter expects what this one was given.
    unsafe {
        if is_upgrade(request) || looks_at_answers() {
            return filter_slowly(request);
        }
        pass_on(request)
    }
}

#[cold]
#[inline(never)]
unsafe extern "C" fn filter_slowly(request: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: as above.
    unsafe {
        if take_back::park(request) {
            return NGX_DONE as ngx_int_t;
        }
        if is_upgrade(request) {
            upgrade(request);
        } else {
            answer(request);
        }
        pass_on(request)
    }
}

/// # Safety
///
/// `request` is a living request.
#[inline(always)]
unsafe fn is_upgrade(request: *mut ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*request).headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS as usize }
}

/// # Safety
///
/// As [`filter`].
#[inline(always)]
unsafe fn pass_on(request: *mut ngx_http_request_t) -> ngx_int_t {
    match NEXT.get().get() {
        // SAFETY: the caller's promise.
        Some(next) => unsafe { next(request) },
        None => NGX_OK as ngx_int_t,
    }
}

/// # Safety
///
/// `request` is a living request.
#[cold]
#[inline(never)]
unsafe fn upgrade(request: *mut ngx_http_request_t) {
    guarded((), || {
        // SAFETY: the caller's promise.
        if let Some(passage) = unsafe { Passage::find((*request).main) } {
            if let Some(worker) = Worker::here() {
                worker.upgrade(passage);
            }
        }
    });
}

/// The answer to a request of a canary begins, or to another one's meanwhile.
///
/// # Safety
///
/// As [`upgrade`].
#[cold]
#[inline(never)]
unsafe fn answer(request: *mut ngx_http_request_t) {
    guarded((), || {
        // SAFETY: the caller's promise; only a main request has a passage.
        let passage = unsafe { Passage::known(request) };
        if let Some(passage) = passage.filter(|passage| passage.canary().is_some()) {
            // SAFETY: as above.
            unsafe { outcome::judge_by_answer(passage) };
        }
    });
}
