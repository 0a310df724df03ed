//! The module's own place in nginx: its index, a request's context, what a request's pool ends.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use nginx_sys::{ngx_http_request_t, ngx_module_t};

unsafe extern "C" {
    /// What `module.rs` shows to nginx, by its symbol: nothing up there has to be named.
    static ngx_http_intermission_module: ngx_module_t;
}

#[inline]
pub fn module() -> &'static ngx_module_t {
    let module = &raw const ngx_http_intermission_module;
    // SAFETY: nginx writes the indexes when it loads the module, before anything else is called.
    unsafe { &*module }
}

/// Where nginx keeps the module's context of a request.
///
/// # Safety
///
/// `request` is a living request.
#[inline]
pub unsafe fn context(request: *mut ngx_http_request_t) -> *mut *mut c_void {
    // SAFETY: each request has a context for every module.
    unsafe { (*request).ctx.add(module().ctx_index) }
}

/// What a pool's cleanup calls when a request ends.
pub type Cleanup = unsafe extern "C" fn(*mut c_void);

/// What stands in a request's pool for `cleanup` to end, the latest of its kind.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn remembered(
    request: *const ngx_http_request_t,
    cleanup: Cleanup,
) -> Option<NonNull<c_void>> {
    // SAFETY: the caller's promise; the list of the pool's cleanups is nginx's own.
    unsafe {
        let mut next = (*(*request).pool).cleanup;
        while let Some(found) = next.as_ref() {
            if found.handler.is_some_and(|handler| ptr::fn_addr_eq(handler, cleanup)) {
                return NonNull::new(found.data);
            }
            next = found.next;
        }
        None
    }
}
