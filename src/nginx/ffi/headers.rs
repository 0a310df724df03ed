//! Strings and headers of nginx's requests.

use core::slice;

use nginx_sys::{ngx_http_request_t, ngx_list_push, ngx_pnalloc, ngx_str_t, ngx_table_elt_t};

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

/// The value of the first header of this name, in any case.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn find<'a>(request: *mut ngx_http_request_t, name: &str) -> Option<&'a [u8]> {
    // SAFETY: nginx's list of the headers it has read.
    unsafe {
        let mut part = &raw const (*request).headers_in.headers.part;
        while let Some(headers) = part.as_ref() {
            let first = headers.elts.cast::<ngx_table_elt_t>();
            for index in 0..headers.nelts {
                let header = first.add(index);
                if bytes(&(*header).key).eq_ignore_ascii_case(name.as_bytes()) {
                    return value(header);
                }
            }
            part = headers.next;
        }
    }
    None
}

/// The host that the request is for, with its port if the client named one. HTTP/3 has it in
/// `:authority`, of which nginx makes no header as it does for HTTP/2.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn host<'a>(request: *mut ngx_http_request_t) -> Option<&'a [u8]> {
    // SAFETY: the ends are those of one string, or null; they are the main request's, and what they
    // lead to (in HTTP/1.x, a part of the request line) stays in its buffers until it is over.
    unsafe {
        if let Some(host) = value((*request).headers_in.host) {
            return Some(host);
        }
        let main = &*(*request).main;
        if main.host_start.is_null() || main.host_end.is_null() {
            return None;
        }
        let len = usize::try_from(main.host_end.offset_from(main.host_start)).ok()?;
        Some(bytes(&ngx_str_t { len, data: main.host_start }))
    }
}

/// Adds a header to the response. `None` if there is no memory.
///
/// # Safety
///
/// `request` is a living request whose header has not been sent.
pub unsafe fn add(
    request: *mut ngx_http_request_t,
    name: &'static str,
    value: &[u8],
) -> Option<()> {
    // SAFETY: the value is copied into the request's pool; zeroes are right for what is not set.
    unsafe {
        let data = ngx_pnalloc((*request).pool, value.len().max(1)).cast::<u8>();
        let header = ngx_list_push(&mut (*request).headers_out.headers).cast::<ngx_table_elt_t>();
        if data.is_null() || header.is_null() {
            return None;
        }
        data.copy_from_nonoverlapping(value.as_ptr(), value.len());
        header.write(core::mem::zeroed());
        (*header).hash = 1;
        (*header).key = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
        (*header).value = ngx_str_t { len: value.len(), data };
    }
    Some(())
}
