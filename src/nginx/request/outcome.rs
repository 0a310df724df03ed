//! How a request ended: what the backend did, whatever was made of that.

use nginx_sys::{
    ngx_http_request_t, ngx_http_upstream_state_t, ngx_http_upstream_t, ngx_int_t, ngx_msec_t,
};

use crate::gate::trial::Outcome;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::host::{Passage, Worker};

const BAD_GATEWAY: u32 = 502;

/// nginx's sign for a time that has not come.
const NEVER: ngx_msec_t = ngx_msec_t::MAX;

/// What a canary is judged by if its end is the first that is seen of it.
///
/// # Safety
///
/// `request` is a request that is over but whose pool is still there.
pub unsafe fn of(request: *const ngx_http_request_t) -> Outcome {
    // SAFETY: the caller's promise.
    let request = unsafe { &*request };
    let status = match request.err_status {
        0 => request.headers_out.status,
        status => status,
    };
    match u32::try_from(status).unwrap_or_default() {
        0 | 499 if request.upstream_states.is_null() => Outcome::Void,
        0 | 499 => Outcome::Gone,
        status if status >= 500 => Outcome::Failed(status),
        // SAFETY: the caller's promise.
        _ => unsafe { failure_behind(request) }.map_or(Outcome::Good, Outcome::Failed),
    }
}

/// How a request came so far that goes on elsewhere before it was answered.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn so_far(request: *const ngx_http_request_t) -> Outcome {
    // SAFETY: the caller's promise.
    unsafe { failure_of_backend(&*request) }.map_or(Outcome::Void, Outcome::Failed)
}

/// Judges a canary's request by its answer, which begins: at once where there is no backend that has
/// more to say, and else when that is through, however slow the client is to read.
///
/// # Safety
///
/// The passage is that of a living request of a canary.
pub unsafe fn judge_by_answer(passage: &Passage) {
    let request = passage.request();
    let Some(worker) = Worker::here() else { return };
    // SAFETY: the caller's promise; an upstream with a cleanup is not through yet.
    unsafe {
        let is_good = (*request).headers_out.status < 500;
        let upstream = (*request).upstream.as_mut().filter(|upstream| !upstream.cleanup.is_null());
        let Some(upstream) = upstream.filter(|_| is_good) else {
            return worker.judge(passage, of(request));
        };
        let Some(at) = passage.at_backend() else { return };
        if at.answered.get().is_none() && passage.canary().is_some() {
            at.answered.set(upstream.finalize_request);
            upstream.finalize_request = Some(finalize);
            worker.canary_answers(passage);
        }
    }
}

/// nginx is through with the backend of a canary's request, whose answer was good when it began.
unsafe extern "C" fn finalize(request: *mut ngx_http_request_t, rc: ngx_int_t) {
    // SAFETY: nginx passes the living request whose upstream has this as its last call.
    unsafe {
        let Some(passage) = Passage::find((*request).main) else { return };
        if let Some(finalize) = passage.own.at_backend.get().and_then(|at| at.answered.get()) {
            finalize(request, rc);
        }
        guarded((), || {
            if let Some(worker) = Worker::here() {
                worker.judge(passage, of(request));
            }
        });
    }
}

/// Whether the backend has answered for all that nginx sees at a glance. A request that no backend was
/// asked for counts as answered.
///
/// # Safety
///
/// As [`of`].
#[inline]
pub unsafe fn is_answered(request: *const ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise: the states are what nginx's upstream module has put there.
    unsafe {
        let Some(states) = (*request).upstream_states.as_ref() else { return true };
        let connection = &*(*request).connection;
        let once = states.nelts == 1;
        // One look at both bits.
        let left = connection.error() | connection.timedout();
        once && left == 0 && (*states.elts.cast::<ngx_http_upstream_state_t>()).header_time != NEVER
    }
}

/// Whether a backend was asked that has not answered, or not to the end: it may be at work still.
///
/// # Safety
///
/// As [`of`].
pub unsafe fn is_abandoned(request: *const ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let request = &*request;
        let states = states(request);
        let unanswered =
            |state: &ngx_http_upstream_state_t| state.bytes_sent > 0 && state.header_time == NEVER;
        let left = || {
            let client = request.connection.as_ref();
            client.is_some_and(|client| client.error() != 0 || client.timedout() != 0)
        };
        let begun = states.last().is_some_and(|state| state.header_time != NEVER);
        let upstream = request.upstream.as_ref();
        states.iter().any(unanswered)
            || (begun && left() && upstream.is_some_and(|upstream| !is_complete(upstream)))
    }
}

/// What the answer does not show: an error that a page was put in front of, as `error_page` does it
/// with a status of its own, or an end in the middle of the body.
///
/// # Safety
///
/// As [`of`].
unsafe fn failure_behind(request: &ngx_http_request_t) -> Option<u32> {
    // SAFETY: the caller's promise: what belongs to the upstream is in the request's pool.
    unsafe {
        let left = request.connection.as_ref().is_some_and(|client| client.error() != 0);
        let broken = || request.upstream.as_ref().is_some_and(|upstream| broke_off(upstream));
        failure_of_backend(request).or_else(|| (!left && broken()).then_some(BAD_GATEWAY))
    }
}

/// The status of the last attempt to get an answer from the backend, if that is an error.
///
/// # Safety
///
/// As [`of`].
unsafe fn failure_of_backend(request: &ngx_http_request_t) -> Option<u32> {
    // SAFETY: the caller's promise.
    let status = u32::try_from(unsafe { states(request) }.last()?.status).ok();
    status.filter(|status| *status >= 500)
}

/// The attempts to get an answer from a backend.
///
/// # Safety
///
/// As [`of`].
pub unsafe fn states(request: &ngx_http_request_t) -> &[ngx_http_upstream_state_t] {
    // SAFETY: the caller's promise: they are what nginx's upstream module has put there, in the
    // request's pool.
    unsafe { request.upstream_states.as_ref().map_or(&[], |states| states.as_slice()) }
}

/// Whether all of the answer has come, as far as it shows.
///
/// # Safety
///
/// The upstream is that of a request whose pool is still there.
unsafe fn is_complete(upstream: &ngx_http_upstream_t) -> bool {
    if upstream.buffering() == 0 {
        return upstream.length == 0;
    }
    // SAFETY: the caller's promise.
    let pipe = unsafe { upstream.pipe.as_ref() };
    pipe.is_none_or(|pipe| pipe.upstream_done() != 0 || pipe.upstream_eof() != 0)
}

/// # Safety
///
/// As [`is_complete`].
unsafe fn broke_off(upstream: &ngx_http_upstream_t) -> bool {
    if upstream.buffering() == 0 {
        // What is missing; -1 where the end of the connection ends the body.
        return upstream.length > 0;
    }
    // SAFETY: the caller's promise.
    unsafe { upstream.pipe.as_ref() }.is_some_and(|pipe| {
        let early_end = pipe.upstream_eof() != 0 && pipe.upstream_done() == 0 && pipe.length != -1;
        pipe.upstream_error() != 0 || (early_end && pipe.downstream_error() == 0)
    })
}
