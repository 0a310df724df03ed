//! What a request says about its body.

use core::ptr;

use nginx_sys::{
    NGX_DONE, NGX_HTTP_PUT, NGX_HTTP_SPECIAL_RESPONSE, ngx_http_block_reading,
    ngx_http_finalize_request, ngx_http_read_client_request_body, ngx_http_request_body_t,
    ngx_http_request_t, ngx_int_t,
};

use super::{Request, Turn, raw, turn};
use crate::nginx::ffi::blank::Blank;
use crate::nginx::ffi::living::{Living, reaches};

reaches!(Request<'r> {
    /// That of HTTP/1, as long as the request.
    fn header_buffer() -> Option<Living<'r, nginx_sys::ngx_buf_t>> = header_in;
});

#[cfg(ngx_feature = "http_v2")]
reaches!(Request<'r> {
    /// A request of HTTP/2 has its stream as long as it is there, and others have none.
    fn stream() -> Option<Living<'r, nginx_sys::ngx_http_v2_stream_t>> = stream;
});

impl Request<'_> {
    /// Whether it has a body, or may have one.
    #[inline(always)]
    pub fn may_have_body(self) -> bool {
        self.see(|it| it.headers_in.content_length_n > 0 || it.headers_in.chunked() != 0)
            || self.is_open_stream()
    }

    /// Whether there is a body, nobody has asked for it, and not all of it came with the header.
    pub fn misses_body(self) -> bool {
        self.has_unread_body() && !self.body_came_with_header()
    }

    /// Whether there is a body that nobody has asked for.
    pub fn has_unread_body(self) -> bool {
        self.may_have_body() && self.see(|it| it.request_body.is_null()) && !self.is_conversation()
    }

    fn body_came_with_header(self) -> bool {
        let length = self.see(|it| it.headers_in.content_length_n);
        let Some(buffer) = self.header_buffer() else { return false };
        let there = buffer.see(|it| it.last.addr() - it.pos.addr());
        !self.is_stream() && length > 0 && i64::try_from(there).is_ok_and(|there| there >= length)
    }

    /// Whether the body may be one side of a conversation (gRPC): its client may wait for the backend
    /// to speak before it ends, so nobody waits for that here. That the client has left is seen
    /// without, on the connection that carries the stream.
    fn is_conversation(self) -> bool {
        let is_grpc = |kind: &[u8]| kind.starts_with(b"application/grpc");
        self.content_type().is_some_and(is_grpc) && self.is_open_stream()
    }

    /// Whether it came as a stream of HTTP/2 or 3.
    #[inline(always)]
    fn is_stream(self) -> bool {
        #[cfg(ngx_feature = "http_v2")]
        if self.stream().is_some() {
            return true;
        }
        self.connection().is_quic()
    }

    /// Whether a stream of HTTP/2 or 3 may still bring a body of unknown length.
    #[inline(always)]
    fn is_open_stream(self) -> bool {
        #[cfg(ngx_feature = "http_v2")]
        if let Some(stream) = self.stream() {
            return stream.see(|it| it.in_closed() == 0);
        }
        self.connection().is_quic() && self.see(|it| it.headers_in.content_length_n != 0)
    }

    /// Asks for the body that nobody has asked for yet, through nginx's own buffering as its `mirror`
    /// does, and calls `T` when all of it is there, which may be at once; or says which status the
    /// request is to end with.
    ///
    /// # Safety
    ///
    /// `T` lets the request wait as long as this has not returned.
    pub unsafe fn read_body<T: Turn>(self) -> Result<(), ngx_int_t> {
        self.keep_body_for_dav();
        // SAFETY: nginx counts the request once more if the body can be read, so that it is not over
        // when it is counted once less here; and the caller's promise.
        unsafe {
            let rc = ngx_http_read_client_request_body(self.as_ptr(), Some(raw(turn::<T>)));
            if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
                return Err(rc);
            }
            ngx_http_finalize_request(self.as_ptr(), NGX_DONE as ngx_int_t);
        }
        Ok(())
    }

    /// nginx's WebDAV wants the body of a PUT in a file, and asks for that in the same way before it
    /// reads it itself. What has a handler of its own (`proxy_pass` and the like) is not for WebDAV.
    fn keep_body_for_dav(self) {
        self.change(|it| {
            if it.method == NGX_HTTP_PUT as usize && it.content_handler.is_none() {
                it.set_request_body_in_file_only(1);
                it.set_request_body_in_persistent_file(1);
                it.set_request_body_in_clean_file(1);
                it.set_request_body_file_group_access(1);
            }
        });
    }

    /// From now on it has no body for nginx, and its connection ends behind the answer. What nginx's
    /// body filters have of the old body stays in the pool, where nobody looks for it.
    pub fn drop_body(self) {
        let empty = self.pool().put(ngx_http_request_body_t::blank());
        let empty = empty.map_or(ptr::null_mut(), ptr::from_mut);
        self.change(|it| {
            it.request_body = empty;
            forget_length(it);
            it.read_event_handler = Some(ngx_http_block_reading);
            it.set_keepalive(0);
            it.set_lingering_close(1);
        });
        #[cfg(ngx_feature = "http_v2")]
        if let Some(stream) = self.stream() {
            stream.change(|it| it.set_skip_data(1));
        }
        self.connection().read().stop_timer();
    }
}

fn forget_length(request: &mut ngx_http_request_t) {
    request.headers_in.content_length_n = -1;
    request.headers_in.content_length = ptr::null_mut();
    request.headers_in.set_chunked(0);
}
