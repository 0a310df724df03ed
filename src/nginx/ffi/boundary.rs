//! Where nginx calls in: no panic may cross into C.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nginx_sys::NGX_LOG_ALERT;

/// Runs what nginx asked for. A panic, which would be a defect of the module, becomes a line in the
/// error log and the `fallback`.
#[inline]
pub fn guarded<T>(fallback: T, action: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|_| {
        ngx::ngx_log_error!(
            NGX_LOG_ALERT,
            ngx::log::ngx_cycle_log().as_ptr(),
            "intermission: a defect of the module was caught; see its message on standard error"
        );
        fallback
    })
}
