//! A request at its backend: what nginx's upstream module calls, where `intermission_auto` is on.

use core::ffi::c_void;

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_chain_t, ngx_conf_t, ngx_http_request_t, ngx_http_upstream_init_peer_pt,
    ngx_http_upstream_srv_conf_t, ngx_int_t,
};
use ngx::http::{HttpModuleConfExt, HttpModuleMainConf, NgxHttpUpstreamModule};

use super::take_back;
use crate::nginx::conf::{LocConf, MainConf};
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::groups;
use crate::nginx::ffi::identity::module;
use crate::nginx::host::{Passage, Worker};

const FAILED: ngx_int_t = NGX_ERROR as ngx_int_t;

/// Takes the place of what nginx calls when it begins to look for a server of a group.
///
/// # Safety
///
/// `cf` is nginx's, at the end of the `http` block.
pub unsafe fn install(cf: *mut ngx_conf_t, main: &mut MainConf) -> Option<()> {
    // SAFETY: the caller's promise; the array is of pointers to what nginx has set up.
    unsafe {
        let known = NgxHttpUpstreamModule::main_conf_mut(&*cf)?;
        let groups = known.upstreams.as_slice::<*mut ngx_http_upstream_srv_conf_t>();
        for group in groups {
            let init = (**group).peer.init.replace(init_peer);
            main.groups.push((group.addr(), init));
        }
        main.groups.sort_unstable_by_key(|(group, _)| *group);
    }
    Some(())
}

/// What this group had there before.
///
/// # Safety
///
/// `request` is a living request.
unsafe fn init_of(
    request: *mut ngx_http_request_t,
    group: *const ngx_http_upstream_srv_conf_t,
) -> ngx_http_upstream_init_peer_pt {
    // SAFETY: the caller's promise; the module's main configuration is a MainConf.
    let main = unsafe { (*request).http_main_conf_unchecked::<MainConf>(module())?.as_ref() };
    let at = main.groups.binary_search_by_key(&group.addr(), |(group, _)| *group).ok()?;
    main.groups.get(at)?.1
}

unsafe extern "C" fn init_peer(
    request: *mut ngx_http_request_t,
    group: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: nginx passes a living request that has an upstream, and the group of its servers.
    unsafe {
        let Some(init) = init_of(request, group) else { return FAILED };
        if request == (*request).main {
            let held = Passage::known(request).filter(|passage| passage.was_held());
            if let (Some(passage), Some(worker)) = (held, Worker::here()) {
                // There is somebody who waited until they are back.
                groups::forgive(&*group, worker.state_change_of(passage));
            }
        }
        let rc = init(request, group);
        let is_on = || LocConf::of(request).is_some_and(|conf| conf.auto == Some(true));
        if rc == NGX_OK as ngx_int_t && request == (*request).main && is_on() {
            see_off(request);
        }
        rc
    }
}

/// A request that went through is about to be sent to a backend.
///
/// # Safety
///
/// `request` is a living main request that has an upstream.
unsafe fn see_off(request: *mut ngx_http_request_t) {
    // SAFETY: the caller's promise.
    unsafe {
        let passage = Passage::find(request).filter(|passage| passage.is_through());
        let Some(passage) = passage else { return };
        let Some(at) = passage.at_backend() else { return };
        let upstream = &mut *(*request).upstream;
        at.finalize.set(upstream.finalize_request.replace(finalize));
        let output = &mut upstream.output;
        at.output.set((output.output_filter.replace(send), output.filter_ctx));
        output.filter_ctx = core::ptr::from_ref(passage).cast_mut().cast();
    }
}

/// nginx sends something to a backend.
unsafe extern "C" fn send(passage: *mut c_void, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: nginx passes what `see_off` has put there, which lives as long as the request does.
    unsafe {
        let passage = &*passage.cast::<Passage>();
        let Some(at) = passage.own.at_backend.get() else { return FAILED };
        if let Some(worker) = Worker::here() {
            guarded((), || worker.reaches_backend(passage));
        }
        let (filter, context) = at.output.get();
        filter.map_or(FAILED, |filter| filter(context, chain))
    }
}

/// nginx is through with a backend.
unsafe extern "C" fn finalize(request: *mut ngx_http_request_t, rc: ngx_int_t) {
    // SAFETY: nginx passes the living request that `see_off` was called for.
    unsafe {
        let passage = Passage::find(request);
        let Some(at) = passage.and_then(|passage| passage.own.at_backend.get()) else { return };
        if let Some(finalize) = at.finalize.get() {
            finalize(request, rc);
        }
        if rc == 502 || rc == 504 {
            guarded((), || take_back::consider(&mut *request, at, rc));
        }
    }
}
