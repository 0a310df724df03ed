//! Answers that wait until what their call changed is in the state file.

use core::cell::Cell;
use core::ffi::c_void;
use core::time::Duration;

use nginx_sys::{
    NGX_DONE, NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_http_finalize_request, ngx_http_request_t,
    ngx_int_t,
};

use super::answer::{self, Answer};
use super::suspend::{is_late, stop, suspend};
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::identity::remembered;
use crate::nginx::store::Store;

/// Longer than anything waits for the state file: it says itself when that takes too long.
const LONGEST: Duration = Duration::from_secs(60);

/// An answer that is ready, in its request's pool.
struct Kept {
    request: *mut ngx_http_request_t,
    answer: Answer,
    /// What the state file has to be told of first.
    changes: u64,
    waits: Cell<bool>,
}

/// Sends an answer once the state file has been told of all that was changed up to now. A subrequest
/// cannot wait, and nobody does for its answer.
///
/// # Safety
///
/// `request` is a living request to a control location, to which nothing has been answered.
pub unsafe fn send(request: *mut ngx_http_request_t, answer: Answer) -> ngx_int_t {
    let changes = Store::changes();
    // SAFETY: the caller's promise; `end` is for what is kept.
    unsafe {
        if Store::is_settled(changes) || request != (*request).main {
            return send_now(request, &answer);
        }
        let kept = Kept { request, answer, changes, waits: Cell::new(true) };
        match suspend(request, kept, LONGEST, Some(on_write), end) {
            Some(()) => NGX_DONE as ngx_int_t,
            None => NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t,
        }
    }
}

/// # Safety
///
/// As [`send`].
unsafe fn send_now(request: *mut ngx_http_request_t, answer: &Answer) -> ngx_int_t {
    // SAFETY: the caller's promise.
    let sent = unsafe { answer::send(request, answer) };
    sent.unwrap_or(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t)
}

impl Kept {
    fn stop(&self) {
        if self.waits.replace(false) {
            // SAFETY: a request that waits lives.
            unsafe { stop(self.request) };
        }
    }
}

/// Called by nginx when the caller was woken, when its time is up, and for nothing.
unsafe extern "C" fn on_write(request: *mut ngx_http_request_t) {
    // SAFETY: nginx passes a living request, whose handler this is: its pool has what is kept.
    guarded((), || unsafe {
        let Some(kept) = remembered(request, end) else { return };
        let kept = kept.cast::<Kept>().as_ref();
        if is_late(request) || Store::is_settled(kept.changes) {
            kept.stop();
            ngx_http_finalize_request(request, send_now(request, &kept.answer));
        }
    });
}

unsafe extern "C" fn end(kept: *mut c_void) {
    // SAFETY: nginx passes what `suspend` wrote, once, when the request ends.
    guarded((), || unsafe {
        let kept = kept.cast::<Kept>();
        (*kept).stop();
        kept.drop_in_place();
    });
}
