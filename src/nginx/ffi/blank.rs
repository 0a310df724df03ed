//! nginx's structures that begin as zeroes.

use core::mem;

/// # Safety
///
/// All of its bytes may be zero.
pub unsafe trait Blank: Sized {
    fn blank() -> Self {
        // SAFETY: that is what the trait promises.
        unsafe { mem::zeroed() }
    }
}

macro_rules! blank {
    ($($structure:ty),* $(,)?) => {
        $(
            // SAFETY: numbers, pointers, functions or none, and structures of these.
            unsafe impl Blank for $structure {}
        )*
    };
}

#[cfg(ngx_feature = "pcre")]
blank!(nginx_sys::ngx_regex_compile_t);

blank!(
    nginx_sys::ngx_buf_t,
    nginx_sys::ngx_connection_t,
    nginx_sys::ngx_event_t,
    nginx_sys::ngx_http_compile_complex_value_t,
    nginx_sys::ngx_http_complex_value_t,
    nginx_sys::ngx_http_request_body_t,
    nginx_sys::ngx_log_t,
    nginx_sys::ngx_peer_connection_t,
    nginx_sys::ngx_table_elt_t,
    nginx_sys::ngx_tm_t,
    nginx_sys::ngx_url_t,
);
