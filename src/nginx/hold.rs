//! Holding a request, and letting it go on.
//!
//! As nginx's `limit_req` does it: a held request has a handler that watches for its client to
//! leave, and a timer for the longest that it may be held. It is resumed through its connection's
//! write event, posted by whoever lets it go.

use nginx_sys::{
    NGX_AGAIN, NGX_DECLINED, NGX_DONE, NGX_HTTP_CLIENT_CLOSED_REQUEST,
    NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_PUT, NGX_HTTP_SPECIAL_RESPONSE, NGX_OK, ngx_add_timer,
    ngx_connection_t, ngx_del_timer, ngx_event_t, ngx_handle_read_event, ngx_handle_write_event,
    ngx_http_block_reading, ngx_http_core_run_phases, ngx_http_finalize_request,
    ngx_http_read_client_request_body, ngx_http_request_t, ngx_http_test_reading, ngx_int_t,
    ngx_post_event, ngx_posted_events,
};

use super::boundary::guarded;
use super::conf::{LocConf, ReadBody, TimeoutAction};
use super::passage::{Ending, Passage, Stage};
use super::worker::Worker;
use super::{clock, headers};

const FAILED: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// Suspends a request that stands in its app's queue; returns what the phase shall return.
///
/// # Safety
///
/// The passage is that of a living request, in a phase.
pub unsafe fn suspend(passage: &Passage, conf: &LocConf) -> ngx_int_t {
    let request = passage.request();
    passage.debug("held");
    // SAFETY: the caller's promise; a request has a connection with its events.
    unsafe {
        let connection = (*request).connection;
        let longest = usize::try_from(conf.max_time().as_millis()).unwrap_or(usize::MAX / 4);
        ngx_add_timer((*connection).write, longest);
        if conf.read_body() == ReadBody::Held && has_unread_body(request) {
            return read_body(passage);
        }
        if !watch(request) {
            return FAILED;
        }
    }
    NGX_AGAIN as ngx_int_t
}

/// Waits for the client to leave, and for the write event.
///
/// # Safety
///
/// `request` is a living request that is held.
unsafe fn watch(request: *mut ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let read = (*(*request).connection).read;
        (*request).read_event_handler = Some(ngx_http_test_reading);
        (*request).write_event_handler = Some(on_write);
        if (*read).ready() != 0 {
            ngx_post_event(read, &raw mut ngx_posted_events);
            return true;
        }
        ngx_handle_read_event(read, 0) == NGX_OK as ngx_int_t
    }
}

/// Called by nginx when the request was let go, when its time is up, and for nothing.
unsafe extern "C" fn on_write(request: *mut ngx_http_request_t) {
    // SAFETY: nginx passes a living request, which has a passage, as this is its handler.
    guarded((), || unsafe {
        let Some(passage) = Passage::find(request) else { return };
        let write = (*(*request).connection).write;
        if (*write).timedout() != 0 {
            (*write).set_timedout(0);
            if passage.stage() == Stage::Held {
                time_out(passage);
            }
        }
        match passage.stage() {
            Stage::LetGo => go_on(passage),
            Stage::Refused(status) => refuse(passage, status),
            _ => wait_on(passage, write),
        }
    });
}

/// # Safety
///
/// The passage is that of a living request that is held, `write` its connection's event.
unsafe fn wait_on(passage: &Passage, write: *mut ngx_event_t) {
    let request = passage.request();
    // SAFETY: the caller's promise.
    unsafe {
        if has_stopped_listening((*request).connection) {
            ngx_http_finalize_request(request, NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
        } else if ngx_handle_write_event(write, 0) != NGX_OK as ngx_int_t {
            ngx_http_finalize_request(request, FAILED);
        }
    }
}

/// Ends the hold of a request that was held for as long as it may be.
///
/// # Safety
///
/// The passage is that of a living request that is held.
unsafe fn time_out(passage: &Passage) {
    let Some(worker) = Worker::here() else { return };
    passage.debug("held for as long as it may be");
    // SAFETY: the caller's promise.
    let conf = unsafe { LocConf::of(passage.request()) };
    worker.withdraw(passage, |totals| totals.timed_out += 1);
    match conf.map(LocConf::timeout_action) {
        Some(TimeoutAction::Status(status)) => {
            passage.refuse(status, Ending::TimedOut, clock::now());
        }
        Some(TimeoutAction::Pass) | None => passage.let_go(Ending::TimedOut, 0, clock::now()),
    }
}

/// # Safety
///
/// The passage is that of a living request that was held.
unsafe fn refuse(passage: &Passage, status: u16) {
    let request = passage.request();
    passage.debug("refused");
    // SAFETY: the caller's promise.
    unsafe {
        stop_timer(request);
        if let Some(conf) = LocConf::of(request).filter(|_| status == 503) {
            add_retry_after(passage, conf);
        }
        ngx_http_finalize_request(request, status as ngx_int_t);
    }
}

/// What becomes of a request that comes to the gate again before it went on: its body could not be
/// read, and nginx asks for the page of that error. One that was let go may have the page, as it is
/// in flight; one that is held is refused, so that nothing goes to the backend for it.
///
/// # Safety
///
/// The passage is that of a living request, in a phase.
#[cold]
pub unsafe fn fail(passage: &Passage) -> ngx_int_t {
    // SAFETY: the caller's promise.
    guarded(FAILED, || unsafe {
        stop_timer(passage.request());
        if passage.stage() == Stage::LetGo {
            return NGX_DECLINED as ngx_int_t;
        }
        if let Some(worker) = Worker::here() {
            worker.withdraw(passage, |totals| totals.aborted += 1);
        }
        let status = match u16::try_from((*passage.request()).err_status) {
            Ok(status @ 400..=599) => status,
            _ => NGX_HTTP_INTERNAL_SERVER_ERROR as u16,
        };
        passage.refuse(status, Ending::Aborted, clock::now());
        status as ngx_int_t
    })
}

/// Tells a client that is refused when to come back, if that is known.
///
/// # Safety
///
/// The passage is that of a living request whose header has not been sent.
pub unsafe fn add_retry_after(passage: &Passage, conf: &LocConf) {
    let called_for = match (passage.ending(), passage.entry(), Worker::here()) {
        (Ending::Maintenance, Some(entry), Some(worker)) => worker.retry_after(entry.app()),
        _ => None,
    };
    if let Some(seconds) = called_for.or(conf.retry_after) {
        // SAFETY: the caller's promise. Without memory the response goes out without the header.
        unsafe { headers::add(passage.request(), "Retry-After", seconds.to_string().as_bytes()) };
    }
}

/// Sends a request that was let go on its way, with its body and only if its client is still there.
///
/// # Safety
///
/// The passage is that of a living request that was let go.
unsafe fn go_on(passage: &Passage) {
    let request = passage.request();
    // SAFETY: the caller's promise.
    unsafe {
        if passage.reading.get() {
            return;
        }
        stop_timer(request);
        let reads = LocConf::of(request).is_some_and(|conf| conf.read_body() != ReadBody::Off);
        if passage.detour.replace(false) && !(reads && gets_body_later(passage)) {
            ngx_post_event((*(*request).connection).write, &raw mut ngx_posted_events);
        } else if reads && has_unread_body(request) {
            let rc = read_body(passage);
            if rc != NGX_DONE as ngx_int_t {
                ngx_http_finalize_request(request, rc);
            }
        } else {
            run_phases(passage);
        }
    }
}

/// # Safety
///
/// As [`go_on`]; the body has been read, or need not be.
unsafe fn run_phases(passage: &Passage) {
    let request = passage.request();
    // SAFETY: the caller's promise.
    unsafe {
        if is_gone((*request).connection) {
            passage.debug("let go, but its client has gone");
            ngx_http_finalize_request(request, NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
            return;
        }
        if let (Ending::Released, Some(worker), Some(entry)) =
            (passage.let_go_as(), Worker::here(), passage.entry())
        {
            worker.count(entry.app(), |totals| totals.released += 1);
        }
        passage.set_through();
        passage.debug("goes on");
        (*request).read_event_handler = Some(ngx_http_block_reading);
        (*request).write_event_handler = Some(ngx_http_core_run_phases);
        ngx_http_core_run_phases(request);
    }
}

/// Reads the body through nginx's own buffering, as its `mirror` does.
///
/// # Safety
///
/// The passage is that of a living request whose body nobody has asked for.
unsafe fn read_body(passage: &Passage) -> ngx_int_t {
    let request = passage.request();
    passage.debug("reads the body");
    // SAFETY: the caller's promise.
    unsafe {
        passage.reading.set(true);
        keep_for_dav(&mut *request);
        let rc = ngx_http_read_client_request_body(request, Some(on_body));
        if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return rc;
        }
        if passage.reading.get() {
            // nginx has put a handler there that does nothing.
            (*request).write_event_handler = Some(on_write);
        }
        ngx_http_finalize_request(request, NGX_DONE as ngx_int_t);
        NGX_DONE as ngx_int_t
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
    // SAFETY: nginx passes the living request that `read_body` was called for.
    guarded((), || unsafe {
        let Some(passage) = Passage::find(request) else { return };
        passage.reading.set(false);
        match passage.stage() {
            Stage::Held if !watch(request) => ngx_http_finalize_request(request, FAILED),
            Stage::Held => {}
            Stage::LetGo => {
                stop_timer(request);
                run_phases(passage);
            }
            _ => (*request).write_event_handler = Some(on_write),
        }
    });
}

/// Whether nginx gives the body only after what is posted already, though it has it: it does so
/// with streams of HTTP/2. What goes together with such a request takes the same detour, so that
/// their order stays.
///
/// # Safety
///
/// The passage is that of a living request.
pub unsafe fn gets_body_later(passage: &Passage) -> bool {
    #[cfg(ngx_feature = "http_v2")]
    // SAFETY: the caller's promise.
    unsafe {
        let request = passage.request();
        !(*request).stream.is_null() && has_unread_body(request)
    }
    #[cfg(not(ngx_feature = "http_v2"))]
    {
        let _ = passage;
        false
    }
}

/// # Safety
///
/// `request` is a living request.
unsafe fn has_unread_body(request: *const ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let headers = &(*request).headers_in;
        let has_body = headers.content_length_n > 0 || headers.chunked() != 0;
        (has_body || is_open_stream(request))
            && (*request).request_body.is_null()
            && !is_conversation(request)
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

/// Whether a stream of HTTP/2 or 3 may still bring a body of unknown length.
///
/// # Safety
///
/// `request` is a living request.
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

/// # Safety
///
/// `request` is a living request.
unsafe fn stop_timer(request: *mut ngx_http_request_t) {
    // SAFETY: the caller's promise.
    unsafe {
        let write = (*(*request).connection).write;
        if (*write).timer_set() != 0 {
            ngx_del_timer(write);
        }
        (*write).set_timedout(0);
    }
}

/// Whether the client is seen to have left. nginx's own flags say what the last look at the
/// sockets brought; the socket itself says what came since.
///
/// # Safety
///
/// `connection` is that of a living request.
unsafe fn is_gone(connection: *mut ngx_connection_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let read = &*(*connection).read;
        if (*connection).error() != 0 || has_stopped_listening(connection) {
            return true;
        }
        #[cfg(ngx_feature = "http_v3")]
        if !(*connection).quic.is_null() {
            return read.error() != 0;
        }
        read.eof() != 0 || read.pending_eof() != 0 || has_hung_up((*connection).fd)
    }
}

/// In HTTP/3 a client that gives a request up says so by refusing the response.
///
/// # Safety
///
/// `connection` is that of a living request.
unsafe fn has_stopped_listening(connection: *mut ngx_connection_t) -> bool {
    #[cfg(ngx_feature = "http_v3")]
    // SAFETY: the caller's promise.
    unsafe {
        !(*connection).quic.is_null() && (*(*connection).write).error() != 0
    }
    #[cfg(not(ngx_feature = "http_v3"))]
    {
        let _ = connection;
        false
    }
}

/// Whether the other side of a socket has closed it, even behind data that nobody has read.
fn has_hung_up(fd: i32) -> bool {
    let hung_up = libc::POLLHUP | libc::POLLERR | libc::POLLRDHUP;
    let mut poll = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one pollfd, and no waiting.
    unsafe { libc::poll(&mut poll, 1, 0) == 1 && poll.revents & hung_up != 0 }
}
