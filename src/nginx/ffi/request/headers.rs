//! The headers of a request and of its answer.

use core::slice;

use nginx_sys::{ngx_list_push, ngx_table_elt_t};

use super::Request;
use crate::nginx::ffi::blank::Blank;
use crate::nginx::ffi::living::{List, reaches};
use crate::nginx::ffi::text::{Header, Text};

reaches!(Request<'r> {
    /// In the request's pool, as all headers that nginx knows; null if it is not there.
    fn user_agent_header() -> Option<Header<'r>> = headers_in.user_agent;

    /// In the request's pool, or null.
    fn content_type_header() -> Option<Header<'r>> = headers_in.content_type;

    /// In the request's pool.
    fn headers() -> List<'r, ngx_table_elt_t> = headers_in.headers;

    /// In the request's pool, or null.
    fn host_header() -> Option<Header<'r>> = headers_in.host;
});

impl<'r> Request<'r> {
    pub fn user_agent(self) -> Option<&'r [u8]> {
        self.user_agent_header().map(Header::value)
    }

    pub fn content_type(self) -> Option<&'r [u8]> {
        self.content_type_header().map(Header::value)
    }

    /// The value of the first header of this name, in any case.
    pub fn header(self, name: &str) -> Option<&'r [u8]> {
        let is_asked = |it: &Header<'_>| it.name().eq_ignore_ascii_case(name.as_bytes());
        self.headers().find(is_asked).map(Header::value)
    }

    /// The host that the request is for, with its port if the client named one. HTTP/3 has it in
    /// `:authority`, of which nginx makes no header as it does for HTTP/2.
    pub fn host(self) -> Option<&'r [u8]> {
        if let Some(host) = self.host_header() {
            return Some(host.value());
        }
        let (start, end) = self.main().see(|it| (it.host_start, it.host_end));
        if start.is_null() || end.is_null() {
            return None;
        }
        // SAFETY: the ends are those of one string; they are the main request's, and what they lead
        // to (in HTTP/1.x, a part of the request line) stays in its buffers until it is over.
        unsafe {
            let len = usize::try_from(end.offset_from(start)).ok()?;
            Some(slice::from_raw_parts(start, len))
        }
    }

    /// Adds a header to the answer, unless that has been sent. `None` if there is no memory.
    pub fn add_header(self, name: &'static str, value: &[u8]) -> Option<()> {
        let header = ngx_table_elt_t {
            hash: 1,
            key: Text::of(name.as_bytes()).raw(),
            value: self.pool().copy(value)?.raw(),
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
