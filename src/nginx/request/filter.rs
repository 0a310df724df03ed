//! A header filter: sees the answer to a request begin, and a connection become something else.

use core::cell::Cell;

use super::{outcome, take_back};
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::configuring::{Configure, Configuring};
use crate::nginx::ffi::globals::{HeaderFilter, ngx_http_top_header_filter};
use crate::nginx::ffi::local::Local;
use crate::nginx::ffi::request::Request;
use crate::nginx::host::{Passage, Worker, looks_at_answers};
use nginx_sys::{NGX_DONE, NGX_HTTP_SWITCHING_PROTOCOLS, NGX_OK, ngx_int_t};

/// The filter behind this one.
static NEXT: Local<Cell<HeaderFilter>> = Local::new(Cell::new(None));

/// While nginx sets up the chain of its filters.
pub struct Install;

impl Configure for Install {
    fn configure(_: &mut Configuring<'_>) -> Option<()> {
        NEXT.get().set(ngx_http_top_header_filter.get().replace(Some(filter)));
        Some(())
    }
}

extern "C" fn filter(request: Request<'_>) -> ngx_int_t {
    if is_upgrade(request) || looks_at_answers() {
        return filter_slowly(request);
    }
    pass_on(request)
}

// It is C's, so that the compiler knows that it does not unwind, and need not be ready for that.
#[cold]
#[inline(never)]
extern "C" fn filter_slowly(request: Request<'_>) -> ngx_int_t {
    if guarded(false, || take_back::park(request)) {
        return NGX_DONE as ngx_int_t;
    }
    guarded((), || match is_upgrade(request) {
        true => upgrade(request),
        false => answer(request),
    });
    pass_on(request)
}

#[inline(always)]
fn is_upgrade(request: Request<'_>) -> bool {
    request.header_status() == NGX_HTTP_SWITCHING_PROTOCOLS as usize
}

#[inline(always)]
fn pass_on(request: Request<'_>) -> ngx_int_t {
    match NEXT.get().get() {
        Some(next) => next(request),
        None => NGX_OK as ngx_int_t,
    }
}

fn upgrade(request: Request<'_>) {
    if let (Some(passage), Some(worker)) = (Passage::find(request.main()), Worker::here()) {
        worker.upgrade(passage);
    }
}

/// The answer to a request of a canary begins, or to another one's meanwhile. Only a main request has a
/// passage.
fn answer(request: Request<'_>) {
    if let Some(passage) = Passage::known(request).filter(|passage| passage.canary().is_some()) {
        outcome::judge_by_answer(passage);
    }
}
