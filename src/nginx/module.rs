//! What nginx finds when it loads the file: two modules, and where they want to stand.

use core::ffi::{c_char, c_void};
use core::ptr;

use crate::nginx::conf::{MainConf, coverage};
use crate::nginx::ffi::bells;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::identity::module;
use crate::nginx::request::{backend, entrance, filter, variables};
use crate::nginx::setup::directives::COMMANDS;
use crate::nginx::setup::{merge, zone};
use crate::nginx::{conf, process};
use nginx_sys::{
    NGX_ERROR, NGX_HTTP_MODULE, NGX_LOG_EMERG, NGX_OK, NGX_RS_MODULE_SIGNATURE, nginx_version,
    ngx_array_push, ngx_conf_t, ngx_cycle_t, ngx_http_handler_pt, ngx_http_module_t,
    ngx_http_phases, ngx_http_phases_NGX_HTTP_ACCESS_PHASE,
    ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE, ngx_int_t, ngx_module_t, ngx_uint_t,
};
use ngx::http::{HttpModuleConfExt, HttpModuleMainConf, NgxHttpCoreModule};

/// The gate.
#[unsafe(no_mangle)]
static mut ngx_http_intermission_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const CONTEXT).cast_mut().cast::<c_void>(),
    commands: (&raw const COMMANDS).cast_mut().cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(init_module),
    init_process: Some(process::init_process),
    exit_process: Some(process::exit_process),
    exit_master: Some(exit_master),
    ..BLANK
};

/// Sees the headers of responses: by itself, as filters are called in another order than handlers.
#[unsafe(no_mangle)]
static mut ngx_http_intermission_filter_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const FILTER_CONTEXT).cast_mut().cast::<c_void>(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    ..BLANK
};

const BLANK: ngx_module_t = ngx_module_t {
    version: nginx_version as ngx_uint_t,
    signature: NGX_RS_MODULE_SIGNATURE.as_ptr(),
    ..ngx_module_t::default()
};

static CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(variables::add),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(conf::create_main),
    create_loc_conf: Some(conf::create_loc),
    merge_loc_conf: Some(merge::merge_loc),
    ..NO_HOOKS
};

static FILTER_CONTEXT: ngx_http_module_t =
    ngx_http_module_t { postconfiguration: Some(filter::install), ..NO_HOOKS };

const NO_HOOKS: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: None,
    postconfiguration: None,
    create_main_conf: None,
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: None,
    merge_loc_conf: None,
};

/// A list of C strings or modules, ended by a null, as nginx reads it.
#[repr(transparent)]
pub struct List<T, const N: usize>([*const T; N]);

// SAFETY: nobody writes to them.
unsafe impl<T, const N: usize> Sync for List<T, N> {}

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ngx_modules: List<ngx_module_t, 3> = List([
    &raw const ngx_http_intermission_module,
    &raw const ngx_http_intermission_filter_module,
    ptr::null(),
]);

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ngx_module_names: List<c_char, 3> = List([
    c"ngx_http_intermission_module".as_ptr(),
    c"ngx_http_intermission_filter_module".as_ptr(),
    ptr::null(),
]);

/// Handlers of a phase are called in the reverse order of their modules: the gate comes after the
/// access rules when it stands before them here. The filter is not named, so it goes to the end,
/// and is the first that is called.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ngx_module_order: List<c_char, 5> = List([
    c"ngx_http_intermission_module".as_ptr(),
    c"ngx_http_auth_request_module".as_ptr(),
    c"ngx_http_auth_basic_module".as_ptr(),
    c"ngx_http_access_module".as_ptr(),
    ptr::null(),
]);

unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guarded(NGX_ERROR as ngx_int_t, || {
        // SAFETY: nginx has read its configuration, which is valid.
        match unsafe { MainConf::of(cf).and_then(|main| set_up(cf, main)) } {
            Some(()) => NGX_OK as ngx_int_t,
            None => NGX_ERROR as ngx_int_t,
        }
    })
}

/// # Safety
///
/// `cf` is nginx's, at the end of the `http` block.
unsafe fn set_up(cf: *mut ngx_conf_t, main: &mut MainConf) -> Option<()> {
    // SAFETY: the caller's promise.
    unsafe {
        if main.needs_zone && main.zone.is_null() {
            zone::add_zone(cf, main, zone::DEFAULT_SIZE)?;
        }
        if main.zone.is_null() {
            return keep_pause(cf);
        }
        if main.needs_backends {
            backend::install(cf, main)?;
        }
        if main.needs_precontent {
            let phase = ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE;
            add_handler(cf, phase, Some(entrance::precontent))?;
        }
        add_handler(cf, ngx_http_phases_NGX_HTTP_ACCESS_PHASE, Some(entrance::access))
    }
}

/// Refuses a configuration without a gate while an app is paused: what is held would be forgotten.
///
/// # Safety
///
/// As [`set_up`].
unsafe fn keep_pause(cf: *mut ngx_conf_t) -> Option<()> {
    // SAFETY: the caller's promise.
    if unsafe { zone::is_running_paused() } {
        ngx::ngx_conf_log_error!(
            NGX_LOG_EMERG,
            cf,
            "the configuration uses \"intermission\" no more, but an app is not open; disable it \
             before, so that what is held can go"
        );
        return None;
    }
    Some(())
}

/// # Safety
///
/// As [`set_up`].
unsafe fn add_handler(
    cf: *mut ngx_conf_t,
    phase: ngx_http_phases,
    handler: ngx_http_handler_pt,
) -> Option<()> {
    // SAFETY: nginx makes an array of handlers for each phase before it calls us.
    unsafe {
        let core = NgxHttpCoreModule::main_conf_mut(&*cf)?;
        let handlers = &mut core.phases.get_mut(phase as usize)?.handlers;
        let place = ngx_array_push(handlers).cast::<ngx_http_handler_pt>();
        if place.is_null() {
            return None;
        }
        place.write(handler);
    }
    Some(())
}

/// Called in the master whenever a configuration has been taken up, before its workers are forked.
unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guarded(NGX_ERROR as ngx_int_t, || {
        // SAFETY: nginx passes the new cycle.
        let zone = unsafe { process::zone_of(&*cycle) };
        // SAFETY: as above.
        let main = unsafe { (*cycle).http_main_conf_unchecked::<MainConf>(module()) };
        // SAFETY: the module's main configuration is a MainConf.
        let covered = main.map(|main| unsafe { main.as_ref() }.coverage.clone());
        coverage::take_up(covered.unwrap_or_default());
        if let Some(zone) = zone {
            bells::make();
            process::begin_cycle(&zone);
        }
        NGX_OK as ngx_int_t
    })
}

unsafe extern "C" fn exit_master(_: *mut ngx_cycle_t) {
    guarded((), coverage::forget);
}
