//! Where nginx comes in with a request: that it lives is promised here, and for no longer than a call.

use nginx_sys::{
    ngx_http_core_run_phases, ngx_http_finalize_request, ngx_http_request_t, ngx_int_t,
};

use super::Request;
use crate::nginx::ffi::boundary::guarded;

/// What nginx asks about a request: as a phase, a filter, or the handler of a location.
pub trait Handler {
    fn handle(request: Request<'_>) -> ngx_int_t;
}

pub unsafe extern "C" fn handler<H: Handler>(request: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a request, which it keeps until it is told what becomes of it.
    H::handle(unsafe { Request::new(request) })
}

/// What nginx tells a request that waits. What becomes of the request then is done when nobody looks at
/// it any more, as it may be its end.
pub trait Turn {
    fn turn(request: Request<'_>) -> Then;
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It waits on.
    Wait,
    /// It goes on in its phases.
    GoOn,
    /// It ends with this status.
    End(ngx_int_t),
}

pub unsafe extern "C" fn turn<T: Turn>(request: *mut ngx_http_request_t) {
    // SAFETY: nginx passes a request, which it keeps until that is over.
    let living = unsafe { Request::new(request) };
    let then = guarded(Then::Wait, || T::turn(living));
    if then == Then::GoOn {
        living.block_reading();
        living.change(|it| it.write_event_handler = Some(ngx_http_core_run_phases));
    }
    // SAFETY: it lives up to here, and nobody looks at it behind this.
    unsafe {
        match then {
            Then::Wait => {}
            Then::GoOn => ngx_http_core_run_phases(request),
            Then::End(status) => ngx_http_finalize_request(request, status),
        }
    }
}
