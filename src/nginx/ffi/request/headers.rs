//! The headers of a request and of its answer.

use nginx_sys::{ngx_list_push, ngx_str_t, ngx_table_elt_t};

use super::Request;
use crate::nginx::ffi::blank::Blank;
use crate::nginx::ffi::headers::{bytes, value};
use crate::nginx::ffi::living::reaches;

reaches!(Request<'r> {
    /// In the request's pool, as all headers that nginx knows; null if it is not there.
    pub fn user_agent() -> Option<&'r [u8]> = headers_in.user_agent;

    /// In the request's pool, or null.
    pub fn content_type() -> Option<&'r [u8]> = headers_in.content_type;

    /// In the request's pool, or null.
    fn host_header() -> Option<&'r [u8]> = headers_in.host;
});

impl<'r> Request<'r> {
    /// The value of the first header of this name, in any case.
    pub fn header(self, name: &str) -> Option<&'r [u8]> {
        let mut part = self.see(|it| it.headers_in.headers.part);
        loop {
            // SAFETY: nginx's list of the headers it has read, in the request's pool.
            let found = unsafe {
                let first = part.elts.cast::<ngx_table_elt_t>();
                let mut headers = (0..part.nelts).map(|index| first.add(index));
                let is_asked = |it: &*mut ngx_table_elt_t| {
                    bytes(&(**it).key).eq_ignore_ascii_case(name.as_bytes())
                };
                headers.find(is_asked).and_then(|header| value(header))
            };
            if found.is_some() || part.next.is_null() {
                return found;
            }
            // SAFETY: the next part of that list.
            part = unsafe { *part.next };
        }
    }

    /// The host that the request is for, with its port if the client named one. HTTP/3 has it in
    /// `:authority`, of which nginx makes no header as it does for HTTP/2.
    pub fn host(self) -> Option<&'r [u8]> {
        if let Some(host) = self.host_header() {
            return Some(host);
        }
        let (start, end) = self.main().see(|it| (it.host_start, it.host_end));
        if start.is_null() || end.is_null() {
            return None;
        }
        // SAFETY: the ends are those of one string; they are the main request's, and what they lead
        // to (in HTTP/1.x, a part of the request line) stays in its buffers until it is over.
        unsafe {
            let len = usize::try_from(end.offset_from(start)).ok()?;
            Some(bytes(&ngx_str_t { len, data: start }))
        }
    }

    /// Adds a header to the answer, unless that has been sent. `None` if there is no memory.
    pub fn add_header(self, name: &'static str, value: &[u8]) -> Option<()> {
        let header = ngx_table_elt_t {
            hash: 1,
            key: ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() },
            value: self.pool().copy(value)?,
            ..ngx_table_elt_t::blank()
        };
        // SAFETY: the list is that of the answer's headers, in the request's pool, which gives room
        // for one more or null.
        unsafe {
            let headers = &raw mut (*self.as_ptr()).headers_out.headers;
            let place = ngx_list_push(headers).cast::<ngx_table_elt_t>().as_mut()?;
            *place = header;
        }
        Some(())
    }
}
