//! `$intermission_status`, `$intermission_wait_time` and `$intermission_app`.

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_conf_t, ngx_http_add_variable,
    ngx_http_get_variable_pt, ngx_http_request_t, ngx_http_variable_value_t, ngx_int_t,
    ngx_pnalloc, ngx_str_t,
};
use ngx::ngx_string;

use crate::nginx::conf::app::app_name;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::clock;
use crate::nginx::host::Passage;

pub unsafe extern "C" fn add(cf: *mut ngx_conf_t) -> ngx_int_t {
    guarded(NGX_ERROR as ngx_int_t, || {
        let variables: [(ngx_str_t, ngx_http_get_variable_pt); 3] = [
            (ngx_string!("intermission_status"), Some(status)),
            (ngx_string!("intermission_wait_time"), Some(wait_time)),
            (ngx_string!("intermission_app"), Some(app)),
        ];
        for (mut name, getter) in variables {
            // SAFETY: nginx is about to read its `http` block; the names are static.
            unsafe {
                let flags = NGX_HTTP_VAR_NOCACHEABLE as usize;
                let Some(variable) = ngx_http_add_variable(cf, &mut name, flags).as_mut() else {
                    return NGX_ERROR as ngx_int_t;
                };
                variable.get_handler = getter;
            }
        }
        NGX_OK as ngx_int_t
    })
}

unsafe extern "C" fn status(
    request: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a living request and a value to fill in.
    unsafe { evaluate(request, value, |passage| Some(passage?.logged_status().name().into())) }
}

unsafe extern "C" fn wait_time(
    request: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: as above.
    unsafe {
        evaluate(request, value, |passage| {
            let waited = passage?.waited(clock::now())?;
            Some(format!("{}.{:03}", waited.as_secs(), waited.subsec_millis()).into())
        })
    }
}

unsafe extern "C" fn app(
    request: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: as above.
    unsafe { evaluate(request, value, |_| app_name((*request).main)) }
}

/// Fills in a variable; `-` where there is nothing to say.
///
/// # Safety
///
/// `request` is a living request, `value` one of its variables.
unsafe fn evaluate(
    request: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    text: impl FnOnce(Option<&Passage>) -> Option<Vec<u8>>,
) -> ngx_int_t {
    guarded(NGX_ERROR as ngx_int_t, || {
        // SAFETY: the caller's promise; the text is copied into the request's pool.
        unsafe {
            let text = text(Passage::find((*request).main)).unwrap_or_else(|| b"-".to_vec());
            let data = ngx_pnalloc((*request).pool, text.len().max(1)).cast::<u8>();
            let Ok(length) = u32::try_from(text.len()) else { return NGX_ERROR as ngx_int_t };
            if data.is_null() {
                return NGX_ERROR as ngx_int_t;
            }
            data.copy_from_nonoverlapping(text.as_ptr(), text.len());
            (*value).data = data;
            (*value).set_len(length);
            (*value).set_valid(1);
            (*value).set_no_cacheable(0);
            (*value).set_not_found(0);
        }
        NGX_OK as ngx_int_t
    })
}
