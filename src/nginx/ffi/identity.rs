//! The module's own place in nginx: its indexes.

use nginx_sys::ngx_module_t;

unsafe extern "C" {
    /// What `module.rs` shows to nginx, by its symbol: nothing up there has to be named.
    /// nginx writes the indexes when it loads the module, before anything else is called.
    safe static ngx_http_intermission_module: ngx_module_t;
}

#[inline]
pub fn module() -> &'static ngx_module_t {
    &ngx_http_intermission_module
}
