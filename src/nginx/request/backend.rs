//! A request at its backend: what nginx's upstream module calls, where `intermission_auto` is on.

use nginx_sys::ngx_int_t;

use super::take_back;
use crate::nginx::conf::LocConf;
use crate::nginx::ffi::configuring::Configuring;
use crate::nginx::ffi::groups::{self, Group};
use crate::nginx::ffi::location::Location;
use crate::nginx::ffi::passing::{Ready, ready_with};
use crate::nginx::ffi::request::{Finish, Output, Request, Search, Sender, search_with};
use crate::nginx::host::{Passage, Worker};

/// At the end of the `http` block: nothing else is left to be set up for its groups.
pub fn install(cf: &Configuring<'_>, holding: &[Location<'_>]) -> Option<()> {
    ready_with::<Begin>(cf, holding);
    cf.groups()?.iter().for_each(|group| search_with::<Begin>(*group));
    Some(())
}

/// nginx begins to look for a server.
struct Begin;

impl Search for Begin {
    /// That of who went through an open gate, whatever becomes of it.
    #[inline(always)]
    fn begin(request: Request<'_>) -> bool {
        let just_passed = |it: &&Passage| !it.was_held() && it.just_passed().is_some();
        // Only a main request has a passage.
        let Some(passage) = Passage::known(request).filter(just_passed) else { return false };
        if !may_wait(request) {
            return true;
        }
        let is_seen_off = request.finish_shortly_with::<End>();
        if is_seen_off {
            passage.own.arrive();
        }
        is_seen_off
    }

    fn begin_slowly(request: Request<'_>, group: Group<'_>) {
        let Some(passage) = Passage::find(request).filter(|_| request.is_main()) else { return };
        if let Some(worker) = Worker::here().filter(|_| passage.was_held()) {
            // There is somebody who waited until the servers of the group are back.
            groups::forgive(group, worker.state_change_of(passage));
        }
        see_off(request, passage);
    }
}

impl Ready for Begin {
    fn wants(request: Request<'_>) -> bool {
        request.is_main() && Passage::find(request).is_some()
    }

    fn is_ready(request: Request<'_>) {
        if let Some(passage) = Passage::find(request) {
            see_off(request, passage);
        }
    }
}

/// Makes sure that it shows what becomes of a request at its backend.
fn see_off(request: Request<'_>, passage: &Passage) {
    if passage.is_through() && may_wait(request) {
        passage.own.arrive();
        if request.finish_with::<End>() && passage.canary().is_some() {
            watch_sending(request, passage);
        }
    }
}

/// Whether a request may come back from a backend that is not there, and wait for it.
#[inline(always)]
fn may_wait(request: Request<'_>) -> bool {
    LocConf::of(request).is_some_and(|conf| conf.auto == Some(true))
}

/// It shows whether the backend is there that something of the request is sent to it.
fn watch_sending(request: Request<'_>, passage: &Passage) {
    if let Some(at) = passage.at_backend() {
        // SAFETY: a passage is there for as long as its request is.
        at.output.set(unsafe { request.send_through(passage) });
    }
}

/// nginx sends something to a backend.
impl Sender for Passage {
    fn former(&self) -> Option<Output> {
        self.own.at_backend()?.output.get()
    }

    fn sends(&self) {
        if let Some(worker) = Worker::here() {
            worker.reaches_backend(self);
        }
    }
}

/// nginx is through with a backend.
struct End;

impl Finish for End {
    #[inline]
    fn wants(rc: ngx_int_t) -> bool {
        rc == 502 || rc == 504
    }

    fn finish(request: Request<'_>, rc: ngx_int_t) {
        if let Some(passage) = Passage::find(request) {
            take_back::consider(request, passage, rc);
        }
    }
}
