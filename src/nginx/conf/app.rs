//! Which app a location belongs to, and its name.

use nginx_sys::{
    NGX_OK, ngx_http_complex_value, ngx_http_complex_value_t, ngx_http_request_t, ngx_int_t,
    ngx_str_t,
};
use ngx::http::HttpModuleConfExt;

use super::{LocConf, MainConf};
use crate::nginx::ffi::headers;
use crate::nginx::ffi::identity::module;

/// The app of a location.
#[derive(Clone, Copy)]
pub enum AppName {
    /// A name that stands in the configuration: its place in [`MainConf::names`].
    Fixed(usize),
    Evaluated(*mut ngx_http_complex_value_t),
}

/// The name of the app that a request's location belongs to.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn app_name(request: *mut ngx_http_request_t) -> Option<Vec<u8>> {
    // SAFETY: the caller's promise; the names and values are those of its configuration.
    let name = unsafe {
        match LocConf::of(request)?.app.unwrap_or(AppName::Fixed(0)) {
            AppName::Fixed(index) => {
                let main = (*request).http_main_conf_unchecked::<MainConf>(module())?;
                main.as_ref().names.get(index)?.clone()
            }
            AppName::Evaluated(value) => {
                let mut name = ngx_str_t::default();
                if ngx_http_complex_value(request, value, &mut name) != NGX_OK as ngx_int_t {
                    return None;
                }
                headers::bytes(&name).to_vec()
            }
        }
    };
    Some(if name.is_empty() { b"default".to_vec() } else { name })
}
