//! Taking a request back that could not be sent to its backend: it is held where it is, behind its phases,
//! and the backend is asked anew when its turn comes.

use nginx_sys::{
    NGX_HTTP_GET, NGX_HTTP_HEAD, ngx_http_request_t, ngx_http_upstream_state_t,
    ngx_http_upstream_t, ngx_int_t, ngx_str_t,
};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::{hold, outcome};
use crate::nginx::conf::{LocConf, Probe, Replay};
use crate::nginx::ffi::{groups, headers};
use crate::nginx::host::{AtBackend, Passage, Taken, Worker, look_at_answers};
use crate::worker::Patience;

/// nginx is about to answer with this status, as its upstream module found no server, or lost it. If nothing
/// of the request was sent, or it may be asked again, it takes its place in the queue, and nginx goes as far
/// as [`park`].
///
/// # Safety
///
/// The request is a living main request, with what is known of it at its backend.
pub unsafe fn consider(request: &mut ngx_http_request_t, at: &AtBackend, rc: ngx_int_t) {
    // SAFETY: the caller's promise.
    unsafe {
        let (Some(passage), Some(conf)) = (Passage::find(request), LocConf::of(request)) else {
            return;
        };
        let is_unsent = is_unsent(request);
        let may_wait = is_unsent || may_be_repeated(request, at, conf, rc);
        let Some(worker) = Worker::here().filter(|_| may_wait) else { return };
        let probe = conf.auto_probe.clone().unwrap_or_default();
        let patience = Patience {
            longest: conf.auto_max_time(),
            probes: conf.auto_interval(),
            first_probes: probe == Probe::Request,
            looks: conf.interval(),
            policy: conf.policy(),
            max_held: conf.max_held.unwrap_or(0),
        };
        let status = u32::try_from(rc).unwrap_or_default();
        let taken = worker.take_back(passage, at.arrived, &patience, status, !is_unsent);
        let Some(until) = taken else { return };
        passage.debug(if is_unsent { "taken back" } else { "will be asked again" });
        at.replayed.set(at.replayed.get() || !is_unsent);
        look_at_answers();
        let error_page = request.error_page();
        at.taken.set(Some(Taken { until, err_status: request.err_status, error_page }));
        // No page of the error is asked for.
        request.set_error_page(1);
        if let Some(upstream) = request.upstream.as_mut() {
            upstream.set_cacheable(0);
        }
        if let Some(entry) = passage.entry() {
            let tried = outcome::states(request).iter().filter_map(|state| state.peer.as_ref());
            // Those that nginx did not ask, as they failed before, may be back first.
            let group = request.upstream.as_ref().and_then(|upstream| upstream.upstream.as_ref());
            let others = group.map(|group| groups::servers_of(group)).unwrap_or_default();
            let names =
                tried.map(|name| headers::bytes(name)).chain(others.iter().map(Vec::as_slice));
            let names = names.filter(|_| probe != Probe::Request);
            let path = match &probe {
                Probe::Path(path) if speaks_http(request) => path,
                _ => &[][..],
            };
            worker.host.probes.learn(entry.app(), worker.outage(entry.app()), names, path);
            worker.knows_backend(entry.app());
        }
    }
}

/// Whether a request is asked again that broke off on its way: one that changes nothing, and of whose
/// answer nothing has come.
///
/// # Safety
///
/// The request is a living one that has an upstream.
unsafe fn may_be_repeated(
    request: &ngx_http_request_t,
    at: &AtBackend,
    conf: &LocConf,
    rc: ngx_int_t,
) -> bool {
    let changes_nothing = [NGX_HTTP_GET, NGX_HTTP_HEAD].contains(&(request.method as u32));
    let has_body = request.headers_in.content_length_n > 0 || request.headers_in.chunked() != 0;
    // SAFETY: the caller's promise.
    unsafe {
        let nothing_came =
            || outcome::states(request).iter().all(|state| state.bytes_received == 0);
        conf.auto_replay == Some(Replay::Get)
            && rc == 502
            && changes_nothing
            && !has_body
            && !at.replayed.get()
            && nothing_came()
            && is_at_its_end(request)
    }
}

/// Whether the server is asked in the way that a probe can ask it.
///
/// # Safety
///
/// The request is a living one that has an upstream.
unsafe fn speaks_http(request: &ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise; the name is nginx's own.
    unsafe {
        let upstream = request.upstream.as_ref();
        upstream.is_some_and(|upstream| headers::bytes(&upstream.schema) == b"http://")
    }
}

/// Whether nobody has been answered, and no other server is left to be asked.
///
/// # Safety
///
/// The request is a living one that has an upstream.
unsafe fn is_at_its_end(request: &ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let client = request.connection.as_ref();
        let Some(upstream) = request.upstream.as_ref() else { return false };
        let is_there = client.is_some_and(|client| client.error() == 0);
        is_there && upstream.header_sent() == 0 && is_last_server(request, upstream)
    }
}

/// Whether no other server is left, as far as one was asked.
///
/// # Safety
///
/// The request is a living one, and the upstream its own.
unsafe fn is_last_server(request: &ngx_http_request_t, upstream: &ngx_http_upstream_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        // Where there is no server left, nginx names the group.
        let group = upstream.upstream.as_ref();
        let is_group = |peer| group.is_some_and(|group| groups::is_named(group, peer));
        let is_server = |peer: *const ngx_str_t| !peer.is_null() && !is_group(peer);
        let last = outcome::states(request).last();
        let tried = last.is_some_and(|state| is_server(state.peer));
        upstream.peer.tries == 0 || !tried
    }
}

/// Whether nothing of a request can have been sent to any server, so that it may be sent again, and no
/// other server is left for it.
///
/// # Safety
///
/// The request is a living one that has an upstream.
unsafe fn is_unsent(request: &ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(upstream) = request.upstream.as_ref() else { return false };
        let states = outcome::states(request);
        let silent =
            |state: &ngx_http_upstream_state_t| state.bytes_sent == 0 && state.bytes_received == 0;
        // A connection that is there has sent nothing, unless in TLS, which nginx does not count.
        let connection = upstream.peer.connection.as_ref();
        let clean = connection.is_none_or(|connection| {
            connection.sent == 0 && connection.ssl.is_null() && upstream.request_sent() == 0
        });
        is_at_its_end(request)
            && request.request_body_no_buffering() == 0
            && states.iter().all(silent)
            && clean
            && !states.iter().any(|state| is_forbidden(state.peer.as_ref()))
    }
}

/// Whether a server is a socket that nginx may not connect to: that does not pass by itself.
///
/// # Safety
///
/// The name is one of nginx's own.
unsafe fn is_forbidden(name: Option<&ngx_str_t>) -> bool {
    // SAFETY: the caller's promise.
    let name = name.map_or(&[][..], |name| unsafe { headers::bytes(name) });
    let Some(path) = name.strip_prefix(b"unix:") else { return false };
    matches!(access(path, Access::WRITE_OK), Err(Errno::ACCESS | Errno::PERM))
}

/// nginx sends the header of an answer. If that is one of a request that was taken back, it is none: the
/// request is suspended, as if nobody had asked the backend.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn park(request: *mut ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(passage) = Passage::known(request) else { return false };
        let Some(at) = passage.own.at_backend.get() else { return false };
        let Some(taken) = at.taken.take() else { return false };
        let request = &mut *request;
        request.err_status = taken.err_status;
        request.set_error_page(taken.error_page);
        forget_answer(request);
        at.parked.set(Some(request.header_only() != 0));
        // nginx sends no body, and leaves the request to whoever has counted it.
        request.set_header_only(1);
        (*request.main).set_count((*request.main).count() + 1);
        hold::suspend_until(passage, taken.until);
        true
    }
}

fn forget_answer(request: &mut ngx_http_request_t) {
    let answer = &mut request.headers_out;
    let nothing = ngx_str_t::default();
    answer.status = 0;
    answer.status_line = nothing;
    answer.content_type = nothing;
    answer.content_type_len = 0;
    answer.content_type_lowcase = core::ptr::null_mut();
    answer.content_length_n = -1;
}
