//! A request's body: the gate stands behind it.
//!
//! Where nginx is going to read a body to its end before it asks the backend, the gate reads it
//! first, and decides then: so a client that is slow to send, or stops, takes no place at the backend
//! and is in nobody's way. A body that nginx has already, as it came with the header, costs nothing.

use nginx_sys::ngx_int_t;

use crate::nginx::conf::{LocConf, ReadBody};
use crate::nginx::ffi::request::{Request, Then, Turn};
use crate::nginx::ffi::upstreams;
use crate::nginx::host::{Passage, Progress};

/// What came of asking for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is there.
    Come,
    /// It comes; [`Comes`] is told then.
    Later,
    /// It cannot be read; the request is to end with this status.
    Failed(ngx_int_t),
}

/// What is to be done when a body has come that was waited for.
pub trait Comes {
    fn has_come(passage: &Passage) -> Then;
}

/// nginx has the whole body.
struct Whole<C>(C);

impl<C: Comes> Turn for Whole<C> {
    fn turn(request: Request<'_>) -> Then {
        let Some(passage) = Passage::find(request) else { return Then::Wait };
        match passage.own.body.replace(Progress::Come) {
            Progress::Reading => C::has_come(passage),
            _ => Then::Wait,
        }
    }
}

/// Whether the body has to be there before a request can go through the gate of its place: nginx is
/// going to read it before it asks the backend. `conf` is that of its location.
pub fn comes_first(request: Request<'_>, conf: &LocConf) -> bool {
    conf.read_body() != ReadBody::Off && request.misses_body() && upstreams::buffer_body(request)
}

/// Reads the body, which nobody has asked for.
pub fn ask<C: Comes>(passage: &Passage) -> Asked {
    passage.debug("reads the body");
    passage.own.body.set(Progress::Asked);
    // SAFETY: what comes while it is asked for lets the request wait.
    let asked = unsafe { passage.request().read_body::<Whole<C>>() };
    match (asked, passage.own.body.get()) {
        (Ok(()), Progress::Come) => Asked::Come,
        (asked, _) => {
            passage.own.body.set(Progress::Reading);
            asked.map_or_else(Asked::Failed, |()| Asked::Later)
        }
    }
}

/// Makes sure that a body which was begun to be read, and is not whole, goes nowhere: a backend would
/// take what comes next on its connection for the rest of it.
pub fn drop_unfinished(passage: &Passage) {
    if !matches!(passage.own.body.get(), Progress::Asked | Progress::Reading) {
        return;
    }
    passage.debug("drops what it has of the body");
    passage.own.body.set(Progress::Come);
    passage.request().drop_body();
}
