//! A request's body: the gate stands behind it.
//!
//! Where nginx is going to read a body to its end before it asks the backend, the gate reads it
//! first, and decides then: so a client that is slow to send, or stops, takes no place at the backend
//! and is in nobody's way. A body that nginx has already, as it came with the header, costs nothing.

use super::hold;
use crate::nginx::conf::{LocConf, ReadBody};
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::{headers, upstreams};
use crate::nginx::host::{Passage, Progress};
use nginx_sys::{
    NGX_DONE, NGX_HTTP_PUT, NGX_HTTP_SPECIAL_RESPONSE, ngx_del_timer, ngx_http_block_reading,
    ngx_http_finalize_request, ngx_http_read_client_request_body, ngx_http_request_body_t,
    ngx_http_request_t, ngx_int_t, ngx_pcalloc,
};

/// What came of asking for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is there.
    Come,
    /// It comes; [`hold::body_has_come`] is called then.
    Later,
    /// It cannot be read; the request is to end with this status.
    Failed(ngx_int_t),
}

/// Whether a request has a body, or may have one.
///
/// # Safety
///
/// `request` is a living request.
#[inline(always)]
pub unsafe fn may_be_there(request: *const ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let headers = &(*request).headers_in;
        headers.content_length_n > 0 || headers.chunked() != 0 || is_open_stream(request)
    }
}

/// Whether there is a body, nobody has asked for it, and not all of it came with the header.
///
/// # Safety
///
/// As [`may_be_there`].
pub unsafe fn is_missing(request: *const ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe { is_unread(request) && !came_with_header(request) }
}

/// Whether there is a body that nobody has asked for.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn is_unread(request: *const ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        may_be_there(request) && (*request).request_body.is_null() && !is_conversation(request)
    }
}

/// Whether the body has to be there before a request can go through the gate of its place: nginx is
/// going to read it before it asks the backend.
///
/// # Safety
///
/// `request` is a living request, in one of the phases, `conf` that of its location.
pub unsafe fn comes_first(request: *const ngx_http_request_t, conf: &LocConf) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        conf.read_body() != ReadBody::Off && is_missing(request) && upstreams::buffer_body(request)
    }
}

/// # Safety
///
/// `request` is a living request.
unsafe fn came_with_header(request: *const ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise; a request of HTTP/1 has the buffer of its header.
    unsafe {
        let Some(buffer) = (*request).header_in.as_ref() else { return false };
        let there = buffer.last.offset_from(buffer.pos);
        let length = (*request).headers_in.content_length_n;
        !is_stream(request) && length > 0 && i64::try_from(there).is_ok_and(|there| there >= length)
    }
}

/// Whether the body may be one side of a conversation (gRPC): its client may wait for the backend to
/// speak before it ends, so nobody waits for that here. That the client has left is seen without, on
/// the connection that carries the stream.
///
/// # Safety
///
/// `request` is a living request.
unsafe fn is_conversation(request: *const ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    let kind = unsafe { headers::value((*request).headers_in.content_type) };
    // SAFETY: as above.
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
        && unsafe { is_open_stream(request) }
}

/// Whether a request came as a stream of HTTP/2 or 3.
///
/// # Safety
///
/// `request` is a living request.
#[inline(always)]
unsafe fn is_stream(request: *const ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(ngx_feature = "http_v2")]
        if !(*request).stream.is_null() {
            return true;
        }
        #[cfg(ngx_feature = "http_v3")]
        if !(*(*request).connection).quic.is_null() {
            return true;
        }
        let _ = request;
    }
    false
}

/// Whether a stream of HTTP/2 or 3 may still bring a body of unknown length.
///
/// # Safety
///
/// `request` is a living request.
#[inline(always)]
unsafe fn is_open_stream(request: *const ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise; a request of HTTP/2 has a stream.
    unsafe {
        #[cfg(ngx_feature = "http_v2")]
        if let Some(stream) = (*request).stream.as_ref() {
            return stream.in_closed() == 0;
        }
        #[cfg(ngx_feature = "http_v3")]
        if !(*(*request).connection).quic.is_null() {
            return (*request).headers_in.content_length_n != 0;
        }
        let _ = request;
    }
    false
}

/// Reads the body through nginx's own buffering, as its `mirror` does.
///
/// # Safety
///
/// The passage is that of a living request whose body nobody has asked for.
pub unsafe fn ask(passage: &Passage) -> Asked {
    let request = passage.request();
    passage.debug("reads the body");
    // SAFETY: the caller's promise.
    unsafe {
        passage.own.body.set(Progress::Asked);
        keep_for_dav(&mut *request);
        let rc = ngx_http_read_client_request_body(request, Some(on_body));
        if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            passage.own.body.set(Progress::Reading);
            return Asked::Failed(rc);
        }
        // nginx has counted the request once more.
        ngx_http_finalize_request(request, NGX_DONE as ngx_int_t);
        if passage.own.body.get() == Progress::Come {
            return Asked::Come;
        }
        passage.own.body.set(Progress::Reading);
        Asked::Later
    }
}

/// nginx's WebDAV wants the body of a PUT in a file, and asks for that in the same way before it
/// reads it itself. What has a handler of its own (`proxy_pass` and the like) is not for WebDAV.
fn keep_for_dav(request: &mut ngx_http_request_t) {
    if request.method == NGX_HTTP_PUT as usize && request.content_handler.is_none() {
        request.set_request_body_in_file_only(1);
        request.set_request_body_in_persistent_file(1);
        request.set_request_body_in_clean_file(1);
        request.set_request_body_file_group_access(1);
    }
}

/// Called by nginx when it has the whole body.
unsafe extern "C" fn on_body(request: *mut ngx_http_request_t) {
    // SAFETY: nginx passes the living request that `ask` was called for.
    guarded((), || unsafe {
        let Some(passage) = Passage::find(request) else { return };
        if passage.own.body.replace(Progress::Come) == Progress::Reading {
            hold::body_has_come(passage);
        }
    });
}

/// Makes sure that a body which was begun to be read, and is not whole, goes nowhere: a backend would
/// take what comes next on its connection for the rest of it. For nginx the request has no body from
/// now on, and its connection ends behind the answer.
///
/// # Safety
///
/// The passage is that of a living request.
pub unsafe fn drop_unfinished(passage: &Passage) {
    if !matches!(passage.own.body.get(), Progress::Asked | Progress::Reading) {
        return;
    }
    let request = passage.request();
    passage.debug("drops what it has of the body");
    // SAFETY: the caller's promise. What nginx's body filters have of the old body stays in the
    // request's pool, where nobody looks for it; nginx accepts that a request has an empty one.
    unsafe {
        passage.own.body.set(Progress::Come);
        let size = size_of::<ngx_http_request_body_t>();
        let empty = ngx_pcalloc((*request).pool, size).cast::<ngx_http_request_body_t>();
        (*request).request_body = empty;
        (*request).headers_in.content_length_n = -1;
        (*request).headers_in.content_length = core::ptr::null_mut();
        (*request).headers_in.set_chunked(0);
        (*request).read_event_handler = Some(ngx_http_block_reading);
        (*request).set_keepalive(0);
        (*request).set_lingering_close(1);
        #[cfg(ngx_feature = "http_v2")]
        if let Some(stream) = (*request).stream.as_mut() {
            stream.set_skip_data(1);
        }
        let read = (*(*request).connection).read;
        if (*read).timer_set() != 0 {
            ngx_del_timer(read);
        }
    }
}
