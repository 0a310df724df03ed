//! Directives of a location, and of what is around it.

use core::ffi::{c_char, c_void};
use core::ptr;
use core::time::Duration;

use nginx_sys::{
    NGX_OK, ngx_command_t, ngx_conf_t, ngx_http_compile_complex_value,
    ngx_http_compile_complex_value_t, ngx_http_complex_value_t, ngx_http_request_t, ngx_int_t,
    ngx_pcalloc, ngx_str_t,
};
use ngx::http::{HttpModuleLocationConf, NgxHttpCoreModule};

use crate::control::values;
use crate::gate::policy::{MAX_COUNT, Policy};
use crate::nginx::conf::agent::Agent;
use crate::nginx::conf::app::AppName;
use crate::nginx::conf::{Control, MainConf, Probe, ReadBody, Replay, TimeoutAction};
use crate::nginx::control;
use crate::shm::MAX_NAME;

use super::{Directive, read};

macro_rules! setter {
    ($function:ident, $name:literal, $setter:expr) => {
        pub unsafe extern "C" fn $function(
            cf: *mut ngx_conf_t,
            _: *mut ngx_command_t,
            conf: *mut c_void,
        ) -> *mut c_char {
            read(cf, $name, conf, $setter)
        }
    };
}

setter!(set_enabled, "intermission", |directive, conf| {
    let enabled = directive.flag()?;
    need_zone(directive.cf);
    Directive::once(&mut conf.enabled, enabled)
});

setter!(set_app_name, "intermission_app_name", |directive, conf| {
    // SAFETY: nginx is reading a directive.
    let app = unsafe { app_name(directive.cf, directive.value())? };
    Directive::once(&mut conf.app, app)
});

setter!(set_max_time, "intermission_max_time", |directive, conf| {
    let expected = "a time above 0 and at most 1d, such as 300s";
    let time = directive.time(Duration::from_millis(1), expected)?;
    Directive::once(&mut conf.max_time, time)
});

setter!(set_timeout_action, "intermission_timeout_action", |directive, conf| {
    let status = values::number(directive.value()).filter(|code| (400..=599).contains(code));
    let action = match (directive.value(), status.and_then(|code| u16::try_from(code).ok())) {
        (b"pass", _) => TimeoutAction::Pass,
        (_, Some(code)) if code != 444 && code != 499 => TimeoutAction::Status(code),
        _ => {
            return Err(
                "expected \"pass\" or a status from 400 to 599, but not 444 or 499, which \
                        would drop the client without an answer"
                    .to_owned(),
            );
        }
    };
    Directive::once(&mut conf.timeout_action, action)
});

setter!(set_health_check_path, "intermission_health_check_path", |directive, conf| {
    if directive.values.iter().any(|path| !path.starts_with(b"/")) {
        return Err("expected paths that begin with \"/\", such as /up".to_owned());
    }
    let paths = directive.values.iter().map(|path| path.to_vec()).collect();
    Directive::once(&mut conf.health_check_paths, paths)
});

setter!(set_agent, "intermission_privileged_user_agent", |directive, conf| {
    // SAFETY: nginx is reading a directive.
    let parse = |pattern: &&[u8]| unsafe { Agent::parse(directive.cf, pattern) };
    let agents = directive.values.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    conf.agents.get_or_insert_default().extend(agents);
    Ok(())
});

setter!(set_max_held, "intermission_max_held", |directive, conf| {
    let number = values::number(directive.value()).and_then(|number| u32::try_from(number).ok());
    let number = number.ok_or_else(|| "expected a number of requests, 0 for no cap".to_owned())?;
    Directive::once(&mut conf.max_held, number)
});

setter!(set_retry_after, "intermission_retry_after", |directive, conf| {
    let time = directive.time(Duration::from_secs(1), "a time from 1s to 1d, such as 30s")?;
    Directive::once(&mut conf.retry_after, time.as_secs())
});

setter!(set_read_body, "intermission_read_body", |directive, conf| {
    let when = match directive.value() {
        b"release" => ReadBody::Release,
        b"held" => ReadBody::Held,
        b"off" => ReadBody::Off,
        _ => return Err("expected \"release\", \"held\" or \"off\"".to_owned()),
    };
    Directive::once(&mut conf.read_body, when)
});

setter!(set_interval, "intermission_interval", |directive, conf| {
    Directive::once(&mut conf.interval, directive.interval()?)
});

setter!(set_auto, "intermission_auto", |directive, conf| {
    Directive::once(&mut conf.auto, directive.flag()?)
});

setter!(set_auto_max_time, "intermission_auto_max_time", |directive, conf| {
    let expected = "a time above 0 and at most 1d, such as 30s";
    let time = directive.time(Duration::from_millis(1), expected)?;
    Directive::once(&mut conf.auto_max_time, time)
});

setter!(set_auto_interval, "intermission_auto_interval", |directive, conf| {
    Directive::once(&mut conf.auto_interval, directive.interval()?)
});

setter!(set_auto_probe, "intermission_auto_probe", |directive, conf| {
    let is_plain = |path: &[u8]| path.iter().all(u8::is_ascii_graphic);
    let probe = match directive.value() {
        b"connect" => Probe::Connect,
        b"request" => Probe::Request,
        path if path.starts_with(b"/") && is_plain(path) => Probe::Path(path.to_vec()),
        _ => {
            return Err("expected \"connect\", \"request\" or a path of plain characters that \
                        begins with \"/\", such as /up"
                .to_owned());
        }
    };
    Directive::once(&mut conf.auto_probe, probe)
});

setter!(set_auto_replay, "intermission_auto_replay", |directive, conf| {
    let replay = match directive.value() {
        b"none" => Replay::None,
        b"get" => Replay::Get,
        _ => return Err("expected \"none\" or \"get\"".to_owned()),
    };
    Directive::once(&mut conf.auto_replay, replay)
});

setter!(set_release_rate, "intermission_release_rate", |directive, conf| {
    let rate = values::rate(directive.value());
    let rate = rate.ok_or_else(|| "expected a rate from 1r/s to 1000000r/s".to_owned())?;
    let burst = match directive.values.get(1) {
        None => 0,
        Some(given) => given
            .strip_prefix(b"burst=")
            .and_then(count)
            .ok_or_else(|| format!("expected \"burst=\" with {COUNT_EXPECTED}"))?,
    };
    values::check_burst(&Policy { rate, burst, ..Policy::default() })
        .map_err(|problem| format!("burst {problem}"))?;
    Directive::once(&mut conf.rate, (rate, burst))
});

setter!(set_release_concurrency, "intermission_release_concurrency", |directive, conf| {
    let number = match directive.value() {
        b"0" => Some(0),
        number => count(number),
    };
    let number = number.ok_or_else(|| format!("expected {COUNT_EXPECTED}, or 0 for no limit"))?;
    Directive::once(&mut conf.concurrency, number)
});

setter!(set_release_timeout, "intermission_release_timeout", |directive, conf| {
    let expected = "a time above 0 and at most 1d, such as 60s";
    let time = directive.time(Duration::from_millis(1), expected)?;
    Directive::once(&mut conf.release_timeout, time)
});

const COUNT_EXPECTED: &str = "a number from 1 to 1000000";

fn count(value: &[u8]) -> Option<u32> {
    let count = u32::try_from(values::number(value)?).ok()?;
    (1..=MAX_COUNT).contains(&count).then_some(count)
}

setter!(set_control, "intermission_control", |directive, conf| {
    let control = match directive.value() {
        b"" | b"local" => Control::Local,
        b"any" => Control::Any,
        _ => return Err("expected \"local\" or \"any\"".to_owned()),
    };
    Directive::once(&mut conf.control, control)?;
    need_zone(directive.cf);
    // SAFETY: nginx is reading a directive of a location.
    unsafe { handle_location(directive.cf) }
});

/// Makes the control handler that of the location at hand. What another directive puts in its
/// place, before or after, is found when the location is complete.
///
/// # Safety
///
/// `cf` is nginx's, while it reads a directive of a location.
unsafe fn handle_location(cf: *mut ngx_conf_t) -> Result<(), String> {
    // SAFETY: the caller's promise.
    let core = unsafe { NgxHttpCoreModule::location_conf_mut(&*cf) };
    let core = core.ok_or_else(|| "expected a location".to_owned())?;
    if core.handler.is_some() {
        return Err("the location has another content handler (proxy_pass, say) already".to_owned());
    }
    core.handler = Some(control::handler);
    Ok(())
}

/// Whether the location at hand still has the control handler.
///
/// # Safety
///
/// `cf` is nginx's, while it merges a location.
pub unsafe fn has_control_handler(cf: *mut ngx_conf_t) -> bool {
    let ours: Handler = control::handler;
    // SAFETY: the caller's promise.
    let core = unsafe { NgxHttpCoreModule::location_conf(&*cf) };
    core.and_then(|core| core.handler).is_some_and(|handler| ptr::fn_addr_eq(handler, ours))
}

/// Makes the nameless locations that nginx makes of `if` and `limit_except` in a control location part
/// of it, unless something else answers there. Whether it did.
///
/// # Safety
///
/// As [`has_control_handler`].
pub unsafe fn stays_control(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: the caller's promise.
    let core = unsafe { NgxHttpCoreModule::location_conf_mut(&*cf) };
    let core = core.filter(|core| core.noname() != 0 && core.handler.is_none());
    core.map(|core| core.handler = Some(control::handler)).is_some()
}

type Handler = unsafe extern "C" fn(*mut ngx_http_request_t) -> ngx_int_t;

/// # Safety
///
/// `cf` is nginx's, while it reads a directive.
unsafe fn app_name(cf: *mut ngx_conf_t, name: &[u8]) -> Result<AppName, String> {
    if name.len() > MAX_NAME {
        return Err(format!("expected at most {MAX_NAME} bytes"));
    }
    let mut source = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
    // SAFETY: the value is allocated from the configuration's pool, as nginx does it, and compiled
    // before it is looked at.
    unsafe {
        let main = MainConf::of(cf).ok_or_else(|| "no http block".to_owned())?;
        let value = ngx_pcalloc((*cf).pool, size_of::<ngx_http_complex_value_t>());
        let value = value.cast::<ngx_http_complex_value_t>();
        let mut compile: ngx_http_compile_complex_value_t = core::mem::zeroed();
        compile.cf = cf;
        compile.value = &mut source;
        compile.complex_value = value;
        if value.is_null() || ngx_http_compile_complex_value(&mut compile) != NGX_OK as isize {
            return Err("expected a name, which may contain variables".to_owned());
        }
        if (*value).lengths.is_null() {
            let name = if name.is_empty() { b"default" } else { name };
            return Ok(AppName::Fixed(main.intern(name)));
        }
        Ok(AppName::Evaluated(value))
    }
}

fn need_zone(cf: *mut ngx_conf_t) {
    // SAFETY: nginx is reading a directive.
    if let Some(main) = unsafe { MainConf::of(cf) } {
        main.needs_zone = true;
    }
}
