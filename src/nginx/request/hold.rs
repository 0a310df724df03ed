//! Holding a request, and letting it go on.
//!
//! As nginx's `limit_req` does it: a held request has a handler that watches for its client to
//! leave, and a timer for the longest that it may be held. It goes on when its batch runs it.

use core::time::Duration;

use nginx_sys::{
    NGX_AGAIN, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_OK,
    ngx_add_timer, ngx_del_timer, ngx_event_t, ngx_handle_read_event, ngx_handle_write_event,
    ngx_http_block_reading, ngx_http_core_run_phases, ngx_http_finalize_request,
    ngx_http_request_empty_handler, ngx_http_request_t, ngx_http_test_reading, ngx_int_t,
    ngx_post_event, ngx_posted_events,
};

use super::body::{self, Asked};
use crate::gate::State;
use crate::gate::time::{Moment, micros};
use crate::nginx::conf::app::app_name;
use crate::nginx::conf::{LocConf, ReadBody, TimeoutAction};
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::client::{has_stopped_listening, is_gone};
use crate::nginx::ffi::{clock, headers};
use crate::nginx::host::{Passage, Worker};
use crate::worker::{Ending, Going, Host, Stage, Step};

const FAILED: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// Suspends a request that stands in its app's queue; returns what the phase shall return.
///
/// # Safety
///
/// The passage is that of a living request, in a phase.
pub unsafe fn suspend(passage: &Passage, conf: &LocConf) -> ngx_int_t {
    let request = passage.request();
    passage.debug("held");
    // Who comes back has been held for some of that time.
    let left = || conf.max_time().saturating_sub(passage.waited(clock::now()).unwrap_or_default());
    let down_until = Worker::here()
        .filter(|_| conf.auto == Some(true))
        .and_then(|worker| worker.held_until(passage, conf.auto_max_time()));
    let longest = down_until.map_or_else(left, |until| until.since(clock::now()));
    // SAFETY: the caller's promise; a request has a connection with its events.
    unsafe {
        add_timer(request, longest);
        if conf.read_body() == ReadBody::Held && body::is_unread(request) {
            match body::ask(passage) {
                Asked::Come => {}
                Asked::Failed(status) => return status,
                Asked::Later => {
                    // nginx has put a handler there that does nothing.
                    (*request).write_event_handler = Some(on_write);
                    return NGX_AGAIN as ngx_int_t;
                }
            }
        }
        if !watch(request) {
            stop_watching(request);
            return FAILED;
        }
    }
    NGX_AGAIN as ngx_int_t
}

/// Suspends a request that was taken back, and stands in its app's queue, at most until then.
///
/// # Safety
///
/// The passage is that of a living request.
pub unsafe fn suspend_until(passage: &Passage, until: Moment) {
    let request = passage.request();
    passage.debug("held");
    // SAFETY: the caller's promise; who cannot be watched is let go when its time is up.
    unsafe {
        add_timer(request, until.since(clock::now()));
        watch(request);
    }
}

/// # Safety
///
/// `request` is a living request.
unsafe fn add_timer(request: *mut ngx_http_request_t, longest: Duration) {
    let millis = usize::try_from(micros(longest).div_ceil(1000)).unwrap_or(usize::MAX / 4);
    // SAFETY: the caller's promise; a request has a connection with its events.
    unsafe { ngx_add_timer((*(*request).connection).write, millis.max(1)) };
}

/// Waits for the client to leave, and for the request's turn.
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

/// # Safety
///
/// `request` is a living request.
unsafe fn stop_watching(request: *mut ngx_http_request_t) {
    // SAFETY: the caller's promise.
    unsafe {
        stop_timer(request);
        (*request).read_event_handler = Some(ngx_http_block_reading);
        (*request).write_event_handler = Some(ngx_http_request_empty_handler);
    }
}

/// Ends a request that was suspended. It may not be over with that: nginx may ask a backend for the page
/// of its status, and would take a client that leaves meanwhile for one of whom it knows nothing else.
///
/// # Safety
///
/// `request` is a living request.
unsafe fn end(request: *mut ngx_http_request_t, status: ngx_int_t) {
    // SAFETY: the caller's promise.
    unsafe {
        stop_watching(request);
        ngx_http_finalize_request(request, status);
    }
}

/// Called by nginx when it is the request's turn, when its time is up, and for nothing.
unsafe extern "C" fn on_write(request: *mut ngx_http_request_t) {
    // SAFETY: nginx passes a living request, which has a passage, as this is its handler.
    guarded((), || unsafe {
        let Some(passage) = Passage::find(request) else { return };
        let write = (*(*request).connection).write;
        let late = (*write).timedout() != 0;
        (*write).set_timedout(0);
        match (passage.stage(), passage.own.step.take()) {
            (Stage::Held, _) if late => time_out(passage),
            (Stage::Going(_), Some(Step::Prepare)) => prepare(passage),
            (Stage::Going(_), Some(Step::Go)) => go(passage),
            (Stage::Leaving(status), Some(Step::Go)) => refuse(passage, status),
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
            end(request, NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
        } else if ngx_handle_write_event(write, 0) != NGX_OK as ngx_int_t {
            end(request, FAILED);
        }
    }
}

/// Ends the hold of a request that was held for as long as it may be. If it is to go on to the
/// backend, it does so when its body is there.
///
/// # Safety
///
/// The passage is that of a living request that is held.
unsafe fn time_out(passage: &Passage) {
    let Some(worker) = Worker::here() else { return };
    // SAFETY: the caller's promise.
    unsafe {
        let conf = LocConf::of(passage.request());
        if let Some(more) = conf.and_then(|conf| time_left(worker, passage, conf)) {
            return add_timer(passage.request(), more);
        }
        passage.debug("held for as long as it may be");
        let of_outage = passage.is_parked() || worker.state_for(passage) == Some(State::Down);
        worker.time_out(passage);
        match conf.map(LocConf::timeout_action).filter(|_| !of_outage) {
            Some(TimeoutAction::Status(status)) => refuse(passage, status),
            _ if worker.host.is_being_read(passage) => passage.read_first(),
            _ if passage.is_parked() => go_on(worker, passage),
            _ => run_phases(passage),
        }
    }
}

/// A request that was taken back has been held for as long as it may be: it goes on whatever comes of it.
///
/// # Safety
///
/// The passage is that of a living request that was taken back.
unsafe fn go_on(worker: &Worker, passage: &Passage) {
    // SAFETY: the caller's promise.
    unsafe {
        let request = passage.request();
        let name = app_name(request).unwrap_or_default();
        if let Some(conf) = LocConf::of(request) {
            worker.let_through(passage, &conf.place(&name), Ending::TimedOut);
        }
        run_phases(passage);
    }
}

/// What is left of the time of a request that waited for its backend, when an operator has paused its app
/// meanwhile.
fn time_left(worker: &Worker, passage: &Passage, conf: &LocConf) -> Option<Duration> {
    let waited = passage.waited(clock::now()).unwrap_or_default();
    let left = conf.max_time().saturating_sub(waited);
    let paused = conf.auto == Some(true) && worker.state_for(passage) == Some(State::Paused);
    (paused && left > Duration::ZERO).then_some(left)
}

/// # Safety
///
/// The passage is that of a living request that was held.
unsafe fn refuse(passage: &Passage, status: u16) {
    let request = passage.request();
    passage.refuse(status, passage.why_let_go(), clock::now());
    passage.debug("refused");
    // SAFETY: the caller's promise.
    unsafe {
        body::drop_unfinished(passage);
        passage.unpark();
        if let Some(conf) = LocConf::of(request).filter(|_| status == 503) {
            add_retry_after(passage, conf);
        }
        end(request, status as ngx_int_t);
    }
}

/// Tells a client that is refused when to come back, if that is known.
///
/// # Safety
///
/// The passage is that of a living request whose header has not been sent.
pub unsafe fn add_retry_after(passage: &Passage, conf: &LocConf) {
    let called_for = match (passage.why_let_go(), passage.entry(), Worker::here()) {
        (Ending::Maintenance, Some(entry), Some(worker)) => worker.retry_after(entry.app()),
        _ => None,
    };
    if let Some(seconds) = called_for.or(conf.retry_after) {
        // SAFETY: the caller's promise. Without memory the response goes out without the header.
        unsafe { headers::add(passage.request(), "Retry-After", seconds.to_string().as_bytes()) };
    }
}

/// Asks for the body of a request that was let go, if that has to be there when it goes on.
///
/// # Safety
///
/// The passage is that of a living request that was let go.
unsafe fn prepare(passage: &Passage) {
    let request = passage.request();
    // SAFETY: the caller's promise.
    unsafe {
        stop_timer(request);
        let reads = LocConf::of(request).is_some_and(|conf| conf.read_body() != ReadBody::Off);
        if reads && body::is_unread(request) {
            match body::ask(passage) {
                Asked::Failed(status) => end(request, status),
                // nginx may have put a handler there that does nothing.
                Asked::Later | Asked::Come => (*request).write_event_handler = Some(on_write),
            }
        }
    }
}

/// Sends a request that was let go on its way, with its body and only if its client is still there.
///
/// # Safety
///
/// As [`prepare`]; its batch is there.
unsafe fn go(passage: &Passage) {
    let request = passage.request();
    let Some(worker) = Worker::here() else { return };
    // SAFETY: the caller's promise.
    unsafe {
        match worker.send_off(passage, || is_gone((*request).connection)) {
            Going::Waits => passage.debug("waits for its body"),
            Going::Gone => {
                passage.debug("let go, but its client has gone");
                end(request, NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
            }
            Going::On => {
                passage.debug("goes on");
                run_phases(passage);
            }
        }
    }
}

/// The body of a request has come that nobody could decide about without it, or that is held.
///
/// # Safety
///
/// The passage is that of a living request.
pub unsafe fn body_has_come(passage: &Passage) {
    let request = passage.request();
    // SAFETY: the caller's promise.
    unsafe {
        match passage.stage() {
            Stage::Reading => {
                passage.has_come();
                run_phases(passage);
            }
            Stage::Held if !watch(request) => end(request, FAILED),
            Stage::Held => {}
            _ => (*request).write_event_handler = Some(on_write),
        }
    }
}

/// Lets a request go on in its phases, where it comes to the gate again.
///
/// # Safety
///
/// The passage is that of a living request that was suspended by the gate.
unsafe fn run_phases(passage: &Passage) {
    let request = passage.request();
    // SAFETY: the caller's promise.
    unsafe {
        passage.unpark();
        stop_timer(request);
        (*request).read_event_handler = Some(ngx_http_block_reading);
        (*request).write_event_handler = Some(ngx_http_core_run_phases);
        ngx_http_core_run_phases(request);
    }
}

/// # Safety
///
/// `request` is a living request.
pub unsafe fn stop_timer(request: *mut ngx_http_request_t) {
    // SAFETY: the caller's promise.
    unsafe {
        let write = (*(*request).connection).write;
        if (*write).timer_set() != 0 {
            ngx_del_timer(write);
        }
        (*write).set_timedout(0);
    }
}
