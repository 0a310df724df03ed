//! How the settings of a location follow from those around it, and what cannot stand together.

use core::ffi::{c_char, c_void};
use core::ptr;

use nginx_sys::{NGX_HTTP_SATISFY_ANY, NGX_LOG_EMERG, ngx_conf_t};
use ngx::core::NGX_CONF_ERROR;
use ngx::http::{HttpModuleLocationConf, NgxHttpCoreModule};

use super::directives;
use crate::nginx::conf::app::AppName;
use crate::nginx::conf::{LocConf, MainConf, NO_NUMBER, Probe, Standing, coverage};
use crate::nginx::ffi::boundary::guarded;

pub unsafe extern "C" fn merge_loc(
    cf: *mut ngx_conf_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_char {
    guarded(NGX_CONF_ERROR.cast(), || {
        // SAFETY: both are what `create_loc` made, and they are never the same.
        let (outer, inner) = unsafe { (&*outer.cast::<LocConf>(), &mut *inner.cast::<LocConf>()) };
        if inner.control.is_some() && inner.enabled == Some(true) {
            ngx::ngx_conf_log_error!(
                NGX_LOG_EMERG,
                cf,
                "\"intermission on\" cannot stand beside \"intermission_control\": the control \
                 location is never under the gate; remove one of them"
            );
            return NGX_CONF_ERROR.cast();
        }
        // SAFETY: nginx merges the configuration of a location while it is the current one.
        if inner.control.is_some() && !unsafe { directives::has_control_handler(cf) } {
            ngx::ngx_conf_log_error!(
                NGX_LOG_EMERG,
                cf,
                "\"intermission_control\" cannot stand beside another content handler \
                 (proxy_pass, say): give it a location of its own"
            );
            return NGX_CONF_ERROR.cast();
        }
        if inner.control.is_none() {
            // SAFETY: as above.
            inner.control = outer.control.filter(|_| unsafe { directives::stays_control(cf) });
        }
        inner.inherit(outer);
        if asks_too_often(inner) {
            ngx::ngx_conf_log_error!(
                NGX_LOG_EMERG,
                cf,
                "\"intermission_auto_probe request\" may send one request at most {MOST_TRIES} times, as \
                 each takes some more memory; lengthen \"intermission_auto_interval\" or shorten \
                 \"intermission_auto_max_time\""
            );
            return NGX_CONF_ERROR.cast();
        }
        inner.number = match inner.app.unwrap_or(AppName::Fixed(0)) {
            AppName::Fixed(number) => number,
            AppName::Evaluated(_) => NO_NUMBER,
        };
        inner.standing = match (inner.enabled, inner.control) {
            // SAFETY: as above.
            (Some(true), None) if unsafe { satisfies_any(cf) } => Standing::Precontent,
            (Some(true), None) => Standing::Access,
            _ => Standing::Nowhere,
        };
        // SAFETY: as above.
        if let Some(main) = unsafe { MainConf::of(cf) } {
            main.needs_precontent |= inner.standing == Standing::Precontent;
            if inner.standing != Standing::Nowhere {
                main.needs_backends |= inner.auto == Some(true);
                let app = main.name_of(inner.app.unwrap_or(AppName::Fixed(0))).to_vec();
                // SAFETY: as above.
                main.coverage.push(unsafe { coverage::place(cf, &app) });
            }
        }
        ptr::null_mut()
    })
}

/// How often one request may be sent to see whether its backend is there. Each time takes up to 9 KB of its
/// memory, which is given back when it is over.
const MOST_TRIES: u128 = 1000;

fn asks_too_often(conf: &LocConf) -> bool {
    conf.auto == Some(true)
        && conf.auto_probe == Some(Probe::Request)
        && conf.auto_max_time().as_millis() > MOST_TRIES * conf.auto_interval().as_millis()
}

/// # Safety
///
/// `cf` is nginx's, while it merges a location.
unsafe fn satisfies_any(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: the caller's promise; nginx merges its core module's configuration first.
    let core = unsafe { NgxHttpCoreModule::location_conf(&*cf) };
    core.is_some_and(|core| core.satisfy == NGX_HTTP_SATISFY_ANY as usize)
}
