//! How a request ended, as a canary is judged by: what the backend did, whatever was made of that.

use nginx_sys::{ngx_http_request_t, ngx_http_upstream_state_t, ngx_http_upstream_t};

use crate::gate::trial::Outcome;

const BAD_GATEWAY: u32 = 502;

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
        0 | 499 => Outcome::Void,
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
    // SAFETY: the caller's promise: the states are in the request's pool.
    let states = unsafe { request.upstream_states.as_ref() };
    let last = states.and_then(|states| {
        // SAFETY: they are what nginx's upstream module has put there.
        unsafe { states.as_slice::<ngx_http_upstream_state_t>() }.last()
    });
    let status = last.and_then(|state| u32::try_from(state.status).ok());
    status.filter(|status| *status >= 500)
}

/// # Safety
///
/// The upstream is that of a request whose pool is still there.
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
