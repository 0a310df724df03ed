//! Where nginx comes in with a request: that it lives is promised here, and for no longer than a call.

use core::mem::transmute;

use nginx_sys::{
    ngx_http_core_run_phases, ngx_http_finalize_request, ngx_http_request_t, ngx_int_t,
};

use super::Request;
use crate::nginx::ffi::boundary::guarded;

/// What nginx asks about a request: as a phase, a filter, or the handler of a location.
pub trait Handler {
    fn handle(request: Request<'_>) -> ngx_int_t;
}

/// What is called with a request.
pub type Takes<R> = extern "C" fn(Request<'_>) -> R;

/// The same, as nginx has it.
pub type Raw<R> = unsafe extern "C" fn(*mut ngx_http_request_t) -> R;

pub const fn raw<R>(takes: Takes<R>) -> Raw<R> {
    // SAFETY: a request is passed as the pointer that it is, and nginx keeps it until it has been told what
    // becomes of it.
    unsafe { transmute::<Takes<R>, Raw<R>>(takes) }
}

/// Of what nginx has for requests at the place where it stands.
pub const fn takes<R>(raw: Raw<R>) -> Takes<R> {
    // SAFETY: as the other way round.
    unsafe { transmute::<Raw<R>, Takes<R>>(raw) }
}

pub extern "C" fn handler<H: Handler>(request: Request<'_>) -> ngx_int_t {
    H::handle(request)
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

pub extern "C" fn turn<T: Turn>(request: Request<'_>) {
    let then = guarded(Then::Wait, || T::turn(request));
    if then == Then::GoOn {
        request.block_reading();
        request.change(|it| it.write_event_handler = Some(ngx_http_core_run_phases));
    }
    // SAFETY: it lives up to here, and nobody looks at it behind this.
    unsafe {
        match then {
            Then::Wait => {}
            Then::GoOn => ngx_http_core_run_phases(request.as_ptr()),
            Then::End(status) => ngx_http_finalize_request(request.as_ptr(), status),
        }
    }
}
