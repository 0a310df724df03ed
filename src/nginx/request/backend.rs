//! A request at its backend: what nginx's upstream module calls, where `intermission_auto` is on.

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_http_request_t, ngx_http_upstream_init_peer_pt,
    ngx_http_upstream_srv_conf_t, ngx_int_t,
};
use ngx::http::{HttpModuleMainConf, NgxHttpUpstreamModule};

use super::take_back;
use crate::nginx::conf::{LocConf, MainConf};
use crate::nginx::ffi::configuring::Configuring;
use crate::nginx::ffi::groups::{self, Group};
use crate::nginx::ffi::request::{Finish, Output, Request, Sender};
use crate::nginx::host::{Passage, Worker};

const FAILED: ngx_int_t = NGX_ERROR as ngx_int_t;

/// Takes the place of what nginx calls when it begins to look for a server of a group, at the end of the
/// `http` block.
pub fn install(cf: &mut Configuring<'_>) -> Option<()> {
    // SAFETY: nginx's upstream module has an array of pointers to the groups that it has set up.
    let groups = unsafe {
        let known = NgxHttpUpstreamModule::main_conf(&*cf.as_ptr())?;
        known.upstreams.as_slice::<*mut ngx_http_upstream_srv_conf_t>()
    };
    let main = MainConf::of(cf)?;
    for group in groups {
        // SAFETY: a group stays as long as the configuration, and nobody else looks at it now.
        let init = unsafe { (**group).peer.init.replace(init_peer) };
        main.groups.push((group.addr(), init));
    }
    main.groups.sort_unstable_by_key(|(group, _)| *group);
    Some(())
}

/// What this group had there before.
fn init_of(
    request: Request<'_>,
    group: *const ngx_http_upstream_srv_conf_t,
) -> ngx_http_upstream_init_peer_pt {
    let groups = &MainConf::behind(request)?.groups;
    let at = groups.binary_search_by_key(&group.addr(), |(group, _)| *group).ok()?;
    groups.get(at)?.1
}

unsafe extern "C" fn init_peer(
    request: *mut ngx_http_request_t,
    group: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: nginx passes a request that has an upstream, and keeps it until it has an answer.
    let living = unsafe { Request::new(request) };
    let Some(init) = init_of(living, group) else { return FAILED };
    let passage = if living.is_main() { Passage::find(living) } else { None };
    if let Some(passage) = passage.filter(|passage| passage.was_held()) {
        // SAFETY: nginx passes the group of the request's servers, which the configuration has.
        forgive(unsafe { Group::new(group) }, passage);
    }
    // SAFETY: what this stands in for is given what this was given.
    let rc = unsafe { init(request, group) };
    if let Some(passage) =
        passage.filter(|passage| rc == NGX_OK as ngx_int_t && passage.is_through())
    {
        if LocConf::of(living).is_some_and(|conf| conf.auto == Some(true)) {
            see_off(living, passage);
        }
    }
    rc
}

/// There is somebody who waited until the servers of a group are back.
#[cold]
fn forgive(group: Group<'_>, passage: &Passage) {
    if let Some(worker) = Worker::here() {
        groups::forgive(group, worker.state_change_of(passage));
    }
}

/// A main request that went through is about to be sent to a backend.
#[inline]
fn see_off(request: Request<'_>, passage: &Passage) {
    passage.own.arrive();
    request.finish_with::<End>();
    if passage.canary().is_some() {
        watch_sending(request, passage);
    }
}

/// It shows whether the backend is there that something of the request is sent to it.
#[cold]
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
