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
use crate::nginx::ffi::request::{Finalize, Finish, Output, Request, Sender};
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
    if living.is_main() {
        let held = Passage::known(living).filter(|passage| passage.was_held());
        if let (Some(passage), Some(worker)) = (held, Worker::here()) {
            // SAFETY: nginx passes the group of the request's servers, which the configuration has.
            let group = unsafe { Group::new(group) };
            // There is somebody who waited until they are back.
            groups::forgive(group, worker.state_change_of(passage));
        }
    }
    // SAFETY: what this stands in for is given what this was given.
    let rc = unsafe { init(request, group) };
    let is_on = || LocConf::of(living).is_some_and(|conf| conf.auto == Some(true));
    if rc == NGX_OK as ngx_int_t && living.is_main() && is_on() {
        see_off(living);
    }
    rc
}

/// A main request that went through is about to be sent to a backend.
fn see_off(request: Request<'_>) {
    let Some(passage) = Passage::find(request).filter(|passage| passage.is_through()) else {
        return;
    };
    let Some(at) = passage.at_backend() else { return };
    at.finalize.set(request.finish_with::<End>());
    // SAFETY: a passage is there for as long as its request is.
    at.output.set(unsafe { request.send_through(passage) });
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
    fn former(request: Request<'_>) -> Option<Finalize> {
        Passage::find(request)?.own.at_backend()?.finalize.get()
    }

    fn finish(request: Request<'_>, rc: ngx_int_t) {
        let at = Passage::find(request).and_then(|passage| passage.own.at_backend());
        if let Some(at) = at.filter(|_| rc == 502 || rc == 504) {
            take_back::consider(request, at, rc);
        }
    }
}
