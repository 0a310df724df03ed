//! Holding a request, and letting it go on.
//!
//! As nginx's `limit_req` does it: a held request has a handler that watches for its client to
//! leave, and a timer for the longest that it may be held. It goes on when its batch runs it.

use core::time::Duration;

use nginx_sys::{
    NGX_AGAIN, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_int_t,
};

use super::body::{self, Asked, Comes};
use crate::gate::State;
use crate::gate::time::Moment;
use crate::nginx::conf::app::app_name;
use crate::nginx::conf::{LocConf, ReadBody, TimeoutAction};
use crate::nginx::ffi::clock;
use crate::nginx::ffi::request::{Request, Then, Turn};
use crate::nginx::host::{Passage, Worker};
use crate::worker::{Ending, Going, Host, Stage, Step};

const FAILED: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// Suspends a request that stands in its app's queue; returns what the phase shall return.
pub fn suspend(passage: &Passage, conf: &LocConf) -> ngx_int_t {
    let request = passage.request();
    passage.debug("held");
    set_timer(request, longest(passage, conf));
    if conf.read_body() == ReadBody::Held && request.has_unread_body() {
        match ask_for_body(passage) {
            Asked::Come => {}
            Asked::Failed(status) => return status,
            Asked::Later => {
                // nginx has put a handler there that does nothing.
                request.on_write::<Held>();
                return NGX_AGAIN as ngx_int_t;
            }
        }
    }
    if !watch(request) {
        stop_watching(request);
        return FAILED;
    }
    NGX_AGAIN as ngx_int_t
}

/// For how long a request is held at most. Who comes back has been held for some of that time.
fn longest(passage: &Passage, conf: &LocConf) -> Duration {
    let left = || conf.max_time().saturating_sub(passage.waited(clock::now()).unwrap_or_default());
    let down_until = Worker::here()
        .filter(|_| conf.auto == Some(true))
        .and_then(|worker| worker.held_until(passage, conf.auto_max_time()));
    down_until.map_or_else(left, |until| until.since(clock::now()))
}

/// Suspends a request that was taken back, and stands in its app's queue, at most until then. Who cannot
/// be watched is let go when its time is up.
pub fn suspend_until(passage: &Passage, until: Moment) {
    let request = passage.request();
    passage.debug("held");
    set_timer(request, until.since(clock::now()));
    watch(request);
}

fn set_timer(request: Request<'_>, longest: Duration) {
    request.connection().write().set_timer(longest.max(Duration::from_millis(1)));
}

/// Waits for the client to leave, and for the request's turn.
fn watch(request: Request<'_>) -> bool {
    let client = request.connection();
    request.watch_client();
    request.on_write::<Held>();
    if client.read().is_ready() {
        client.read().post();
        return true;
    }
    client.watch_reading()
}

fn stop_watching(request: Request<'_>) {
    stop_timer(request);
    request.block_reading();
    request.ignore_writing();
}

/// Ends a request that was suspended. It may not be over with that: nginx may ask a backend for the page
/// of its status, and would take a client that leaves meanwhile for one of whom it knows nothing else.
fn end(request: Request<'_>, status: ngx_int_t) -> Then {
    stop_watching(request);
    Then::End(status)
}

/// Told when it is the request's turn, when its time is up, and for nothing.
struct Held;

impl Turn for Held {
    fn turn(request: Request<'_>) -> Then {
        let Some(passage) = Passage::find(request) else { return Then::Wait };
        let late = request.connection().write().take_timeout();
        match (passage.stage(), passage.own.step.take()) {
            (Stage::Held, _) if late => time_out(passage),
            (Stage::Going(_), Some(Step::Prepare)) => prepare(passage),
            (Stage::Going(_), Some(Step::Go)) => go(passage),
            (Stage::Leaving(status), Some(Step::Go)) => refuse(passage, status),
            _ => wait_on(request),
        }
    }
}

fn wait_on(request: Request<'_>) -> Then {
    let client = request.connection();
    if client.has_stopped_listening() {
        return end(request, NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
    }
    if client.watch_writing() { Then::Wait } else { end(request, FAILED) }
}

/// Ends the hold of a request that was held for as long as it may be. If it is to go on to the
/// backend, it does so when its body is there.
fn time_out(passage: &Passage) -> Then {
    let Some(worker) = Worker::here() else { return Then::Wait };
    let conf = LocConf::of(passage.request());
    if let Some(more) = conf.and_then(|conf| time_left(worker, passage, conf)) {
        set_timer(passage.request(), more);
        return Then::Wait;
    }
    passage.debug("held for as long as it may be");
    let of_outage = passage.is_parked() || worker.state_for(passage) == Some(State::Down);
    worker.time_out(passage);
    match conf.map(LocConf::timeout_action).filter(|_| !of_outage) {
        Some(TimeoutAction::Status(status)) => return refuse(passage, status),
        _ if worker.host.is_being_read(passage) => {
            passage.read_first();
            return Then::Wait;
        }
        _ if passage.is_parked() => let_through(worker, passage),
        _ => {}
    }
    go_on(passage)
}

/// A request that was taken back has been held for as long as it may be: it goes on whatever comes of it.
fn let_through(worker: &Worker, passage: &Passage) {
    let request = passage.request();
    let name = app_name(request).unwrap_or_default();
    if let Some(conf) = LocConf::of(request) {
        worker.let_through(passage, &conf.place(&name), Ending::TimedOut);
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

fn refuse(passage: &Passage, status: u16) -> Then {
    let request = passage.request();
    passage.refuse(status, passage.why_let_go(), clock::now());
    passage.debug("refused");
    body::drop_unfinished(passage);
    passage.unpark();
    if let Some(conf) = LocConf::of(request).filter(|_| status == 503) {
        add_retry_after(passage, conf);
    }
    end(request, status as ngx_int_t)
}

/// Tells a client that is refused when to come back, if that is known.
pub fn add_retry_after(passage: &Passage, conf: &LocConf) {
    let called_for = match (passage.why_let_go(), passage.entry(), Worker::here()) {
        (Ending::Maintenance, Some(entry), Some(worker)) => worker.retry_after(entry.app()),
        _ => None,
    };
    if let Some(seconds) = called_for.or(conf.retry_after) {
        // Without memory the response goes out without the header.
        let _ = passage.request().add_header("Retry-After", seconds.to_string().as_bytes());
    }
}

/// Asks for the body of a request that was let go, if that has to be there when it goes on.
fn prepare(passage: &Passage) -> Then {
    let request = passage.request();
    stop_timer(request);
    let reads = LocConf::of(request).is_some_and(|conf| conf.read_body() != ReadBody::Off);
    if reads && request.has_unread_body() {
        if let Asked::Failed(status) = ask_for_body(passage) {
            return end(request, status);
        }
        // nginx may have put a handler there that does nothing.
        request.on_write::<Held>();
    }
    Then::Wait
}

/// Sends a request that was let go on its way, with its body and only if its client is still there.
fn go(passage: &Passage) -> Then {
    let request = passage.request();
    let Some(worker) = Worker::here() else { return Then::Wait };
    match worker.send_off(passage, || request.connection().is_gone()) {
        Going::Waits => {
            passage.debug("waits for its body");
            Then::Wait
        }
        Going::Gone => {
            passage.debug("let go, but its client has gone");
            end(request, NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t)
        }
        Going::On => {
            passage.debug("goes on");
            go_on(passage)
        }
    }
}

/// Reads the body of a request that nobody can decide about without it, or that is held.
pub fn ask_for_body(passage: &Passage) -> Asked {
    body::ask::<Body>(passage)
}

/// The body of such a request.
struct Body;

impl Comes for Body {
    fn has_come(passage: &Passage) -> Then {
        let request = passage.request();
        match passage.stage() {
            Stage::Reading => {
                passage.has_come();
                return go_on(passage);
            }
            Stage::Held if !watch(request) => return end(request, FAILED),
            Stage::Held => {}
            _ => request.on_write::<Held>(),
        }
        Then::Wait
    }
}

/// Lets a request that was suspended by the gate go on in its phases, where it comes to the gate again.
fn go_on(passage: &Passage) -> Then {
    passage.unpark();
    stop_timer(passage.request());
    Then::GoOn
}

pub fn stop_timer(request: Request<'_>) {
    let write = request.connection().write();
    write.stop_timer();
    write.take_timeout();
}
