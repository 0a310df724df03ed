//! What nginx finds when it loads the file: two modules, and where they want to stand.

use core::ffi::{c_char, c_void};
use core::ptr;

use nginx_sys::{
    NGX_HTTP_MODULE, NGX_LOG_EMERG, NGX_RS_MODULE_SIGNATURE, nginx_version, ngx_cycle_t,
    ngx_http_module_t, ngx_http_phases_NGX_HTTP_ACCESS_PHASE,
    ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE, ngx_module_t, ngx_uint_t,
};

use crate::nginx::conf::{LocConf, MainConf, coverage};
use crate::nginx::ffi::bells;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::configuring::{Configure, Configuring, configure, create, merge, raw_of};
use crate::nginx::ffi::cycle::{Begin, Cycle, begin};
use crate::nginx::process;
use crate::nginx::request::{backend, entrance, filter, variables};
use crate::nginx::setup::directives::COMMANDS;
use crate::nginx::setup::zone;

/// The gate.
#[unsafe(no_mangle)]
static mut ngx_http_intermission_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const CONTEXT).cast_mut().cast::<c_void>(),
    commands: (&raw const COMMANDS).cast_mut().cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(begin::<TakeUp>),
    init_process: Some(begin::<process::Init>),
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
    preconfiguration: Some(raw_of(configure::<variables::Add>)),
    postconfiguration: Some(raw_of(configure::<SetUp>)),
    create_main_conf: Some(raw_of(create::<MainConf>)),
    create_loc_conf: Some(raw_of(create::<LocConf>)),
    merge_loc_conf: Some(merge::<LocConf>),
    ..NO_HOOKS
};

static FILTER_CONTEXT: ngx_http_module_t =
    ngx_http_module_t { postconfiguration: Some(raw_of(configure::<filter::Install>)), ..NO_HOOKS };

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

/// Sets the gate up for what the configuration says.
struct SetUp;

impl Configure for SetUp {
    fn configure(cf: &mut Configuring<'_>) -> Option<()> {
        let main = MainConf::of(cf)?;
        let (has_zone, needs_zone) = (main.has_memory(), main.needs_zone);
        let needs_precontent = main.needs_precontent;
        if !has_zone && !needs_zone {
            return keep_pause(cf);
        }
        if !has_zone {
            zone::add_zone(cf, zone::DEFAULT_SIZE)?;
        }
        let holding = MainConf::holding(cf);
        if !holding.is_empty() {
            backend::install(cf, &holding)?;
        }
        if needs_precontent {
            let phase = ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE;
            cf.add_handler::<entrance::Precontent>(phase)?;
        }
        cf.add_handler::<entrance::Access>(ngx_http_phases_NGX_HTTP_ACCESS_PHASE)
    }
}

/// Refuses a configuration without a gate while an app is paused: what is held would be forgotten.
fn keep_pause(cf: &Configuring<'_>) -> Option<()> {
    if zone::is_running_paused() {
        ngx::ngx_conf_log_error!(
            NGX_LOG_EMERG,
            cf.as_ptr(),
            "the configuration uses \"intermission\" no more, but an app is not open; disable it \
             before, so that what is held can go"
        );
        return None;
    }
    Some(())
}

/// In the master, whenever a configuration has been taken up, before its workers are forked.
struct TakeUp;

impl Begin for TakeUp {
    fn begin(cycle: Cycle<'_>) -> Option<()> {
        let covered = MainConf::of_cycle(cycle).map(|main| main.coverage.clone());
        coverage::take_up(covered.unwrap_or_default());
        if let Some(zone) = process::zone_of(cycle) {
            bells::make();
            process::begin_cycle(&zone);
        }
        Some(())
    }
}

unsafe extern "C" fn exit_master(_: *mut ngx_cycle_t) {
    guarded((), coverage::forget);
}
