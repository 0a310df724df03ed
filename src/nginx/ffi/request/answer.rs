//! The answer to a request.

use core::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_buf_t, ngx_chain_t, ngx_http_discarded_request_body_handler,
    ngx_http_output_filter, ngx_int_t, ngx_str_t,
};

use super::Request;
use crate::nginx::ffi::blank::Blank;
use crate::nginx::ffi::functions::{ngx_http_discard_request_body, ngx_http_send_header};
use crate::nginx::ffi::text::Text;

/// What nginx changes of a request that it is about to answer with an error.
#[derive(Clone, Copy)]
pub struct ErrorShown {
    status: usize,
    page: u32,
}

impl Request<'_> {
    /// The status that the client gets, as far as it is known; 0 before.
    pub fn status(self) -> usize {
        self.see(|it| if it.err_status == 0 { it.headers_out.status } else { it.err_status })
    }

    /// The status of an error that nginx shows a page for; 0 without one.
    pub fn error_status(self) -> usize {
        self.see(|it| it.err_status)
    }

    /// The status in the header that is about to be sent.
    #[inline(always)]
    pub fn header_status(self) -> usize {
        self.see(|it| it.headers_out.status)
    }

    /// nginx asks for no page of the error that it is about to show.
    pub fn hide_error(self) -> ErrorShown {
        self.change(|it| {
            let shown = ErrorShown { status: it.err_status, page: it.error_page() };
            it.set_error_page(1);
            shown
        })
    }

    /// Undoes [`Request::hide_error`], and what nginx has noted of the error since.
    pub fn forget_error(self, before: ErrorShown) {
        self.change(|it| {
            it.err_status = before.status;
            it.set_error_page(before.page);
        });
    }

    /// Nothing of an answer stands any more in the header to come.
    pub fn forget_answer(self) {
        self.change(|it| {
            let answer = &mut it.headers_out;
            let nothing = ngx_str_t::default();
            answer.status = 0;
            answer.status_line = nothing;
            answer.content_type = nothing;
            answer.content_type_len = 0;
            answer.content_length_n = -1;
        });
    }

    /// Whether its answer has no body.
    pub fn is_header_only(self) -> bool {
        self.see(|it| it.header_only() != 0)
    }

    pub fn set_header_only(self, header_only: bool) {
        self.change(|it| it.set_header_only(u32::from(header_only)));
    }

    pub fn close_afterwards(self) {
        self.change(|it| it.set_keepalive(0));
    }

    /// Its body is not wanted. An error is the status that it is to end with.
    pub fn discard_body(self) -> Result<(), ngx_int_t> {
        match ngx_http_discard_request_body(self) {
            rc if rc == NGX_OK as ngx_int_t => Ok(()),
            rc => Err(rc),
        }
    }

    /// Whether a body is on its way that is not wanted. Asked by what reads it: freenginx sets `discard_body` also where
    /// nothing is to come.
    pub fn discards_body(self) -> bool {
        let discards: unsafe extern "C" fn(_) = ngx_http_discarded_request_body_handler;
        self.see(|it| it.read_event_handler).is_some_and(|reads| ptr::fn_addr_eq(reads, discards))
    }

    /// Sends an answer; the headers that it has besides have been added. Returns what a handler shall
    /// return, or the request end with; `None` if there is no memory.
    pub fn send(self, status: u16, content_type: &'static str, body: &[u8]) -> Option<ngx_int_t> {
        let length = i64::try_from(body.len()).ok()?;
        self.change(|it| {
            it.headers_out.status = usize::from(status);
            it.headers_out.content_type = Text::of(content_type.as_bytes()).raw();
            it.headers_out.content_type_len = content_type.len();
            it.headers_out.content_length_n = length;
        });
        let rc = ngx_http_send_header(self);
        let sent = rc != NGX_ERROR as ngx_int_t && rc <= NGX_OK as ngx_int_t;
        if !sent || self.is_header_only() {
            return Some(rc);
        }
        let mut chain = ngx_chain_t { buf: self.buffer(body)?, next: ptr::null_mut() };
        // SAFETY: what nginx keeps of the chain it copies, but for the buffer, which is in the
        // request's pool.
        Some(unsafe { ngx_http_output_filter(self.as_ptr(), &mut chain) })
    }

    /// All of an answer's body.
    fn buffer(self, body: &[u8]) -> Option<*mut ngx_buf_t> {
        let text = self.pool().copy(body)?.raw();
        let mut buffer = ngx_buf_t::blank();
        buffer.pos = text.data;
        buffer.last = text.data.wrapping_add(text.len);
        buffer.set_memory(u32::from(!body.is_empty()));
        buffer.set_last_buf(u32::from(self.is_main()));
        buffer.set_last_in_chain(1);
        self.pool().put(buffer).map(ptr::from_mut)
    }
}
