//! nginx's strings.

use core::slice;

use nginx_sys::{ngx_str_t, ngx_table_elt_t};

/// The bytes of one of nginx's strings.
///
/// # Safety
///
/// The string's data is valid for its length as long as the result is used.
pub unsafe fn bytes<'a>(string: &ngx_str_t) -> &'a [u8] {
    if string.len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(string.data, string.len) }
}

/// The value of a header, if the request has it.
///
/// # Safety
///
/// `header` is null or a header of a living request.
pub unsafe fn value<'a>(header: *const ngx_table_elt_t) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    unsafe { header.as_ref().map(|header| bytes(&header.value)) }
}
