//! The directives: how their values are read, and what is said of bad ones.

use core::ffi::{c_char, c_void};
use core::mem::offset_of;
use core::ptr;
use core::time::Duration;
use std::path::PathBuf;

use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_FLAG, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12,
    NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_MAIN_CONF_OFFSET,
    NGX_HTTP_SRV_CONF, NGX_LOG_EMERG, NGX_OK, ngx_command_t, ngx_conf_full_name, ngx_conf_t,
    ngx_http_compile_complex_value, ngx_http_compile_complex_value_t, ngx_http_complex_value_t,
    ngx_http_request_t, ngx_http_set_predicate_slot, ngx_int_t, ngx_parse_size, ngx_pcalloc,
    ngx_shared_memory_add, ngx_str_t, ngx_uint_t,
};
use ngx::core::NGX_CONF_ERROR;
use ngx::http::{HttpModuleLocationConf, NgxHttpCoreModule};
use ngx::ngx_string;

use super::agent::Agent;
use super::boundary::guarded;
use super::conf::{AppName, Control, LocConf, MainConf, ReadBody, TimeoutAction};
use super::module::module;
use super::store::{Store, path_of};
use super::{control, headers, zone};
use crate::control::args::shown;
use crate::control::values;
use crate::gate::policy::{MAX_COUNT, Policy};
use crate::shm::MAX_NAME;

const PLACES: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

/// A directive as it stands in the configuration.
struct Directive<'a> {
    cf: *mut ngx_conf_t,
    values: Vec<&'a [u8]>,
}

type Setter = fn(&Directive<'_>, &mut LocConf) -> Result<(), String>;

impl Directive<'_> {
    fn value(&self) -> &[u8] {
        self.values.first().copied().unwrap_or_default()
    }

    /// Takes a value for a setting that may be given once.
    fn once<T>(setting: &mut Option<T>, value: T) -> Result<(), String> {
        match setting.replace(value) {
            Some(_) => Err("is duplicate".to_owned()),
            None => Ok(()),
        }
    }

    fn time(&self, least: Duration, expected: &str) -> Result<Duration, String> {
        let time = values::time(self.value());
        time.filter(|time| *time >= least && *time <= values::DAY)
            .ok_or_else(|| format!("expected {expected}"))
    }
}

/// Reads a directive and reports what is wrong with it, with its name and value.
fn read(cf: *mut ngx_conf_t, name: &str, conf: *mut c_void, setter: Setter) -> *mut c_char {
    guarded(NGX_CONF_ERROR.cast(), || {
        // SAFETY: nginx passes its configuration in the making, whose arguments are strings, and
        // a configuration that `create_loc` made.
        let (directive, conf) = unsafe { (directive(cf), &mut *conf.cast::<LocConf>()) };
        let Err(problem) = setter(&directive, conf) else { return ptr::null_mut() };
        complain(cf, name, &directive, &problem);
        NGX_CONF_ERROR.cast()
    })
}

fn complain(cf: *mut ngx_conf_t, name: &str, directive: &Directive<'_>, problem: &str) {
    let given = directive.values.iter().map(|value| shown(value)).collect::<Vec<_>>().join(" ");
    if problem == "is duplicate" {
        ngx::ngx_conf_log_error!(NGX_LOG_EMERG, cf, "\"{name}\" directive is duplicate");
    } else {
        ngx::ngx_conf_log_error!(
            NGX_LOG_EMERG,
            cf,
            "invalid value \"{given}\" in \"{name}\": {problem}"
        );
    }
}

/// # Safety
///
/// `cf` is nginx's, while it reads a directive.
unsafe fn directive<'a>(cf: *mut ngx_conf_t) -> Directive<'a> {
    // SAFETY: the caller's promise.
    let arguments = unsafe { (*(*cf).args).as_slice::<ngx_str_t>() };
    let values = arguments.iter().skip(1).map(|value| {
        // SAFETY: nginx's own strings.
        unsafe { core::slice::from_raw_parts(value.data, value.len) }
    });
    Directive { cf, values: values.collect() }
}

macro_rules! setter {
    ($function:ident, $name:literal, $setter:expr) => {
        unsafe extern "C" fn $function(
            cf: *mut ngx_conf_t,
            _: *mut ngx_command_t,
            conf: *mut c_void,
        ) -> *mut c_char {
            read(cf, $name, conf, $setter)
        }
    };
}

setter!(set_enabled, "intermission", |directive, conf| {
    let enabled = match directive.value() {
        b"on" => true,
        b"off" => false,
        _ => return Err("expected \"on\" or \"off\"".to_owned()),
    };
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
    let expected = "a time from 10ms to 1d, such as 250ms";
    let time = directive.time(Duration::from_millis(10), expected)?;
    Directive::once(&mut conf.interval, time)
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

unsafe extern "C" fn set_state_file(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    guarded(NGX_CONF_ERROR.cast(), || {
        // SAFETY: nginx passes its configuration in the making, and a main configuration of ours.
        let (directive, main) = unsafe { (directive(cf), &mut *conf.cast::<MainConf>()) };
        // SAFETY: as above.
        let set = unsafe { full_path(cf, directive.value()) }
            .and_then(|path| Directive::once(&mut main.store, Store::new(path)));
        let Err(problem) = set else { return ptr::null_mut() };
        complain(cf, "intermission_state_file", &directive, &problem);
        NGX_CONF_ERROR.cast()
    })
}

/// # Safety
///
/// `cf` is nginx's, while it reads a directive.
unsafe fn full_path(cf: *mut ngx_conf_t, path: &[u8]) -> Result<PathBuf, String> {
    let mut name = ngx_str_t { len: path.len(), data: path.as_ptr().cast_mut() };
    // SAFETY: the caller's promise; nginx puts the full name into its pool.
    unsafe {
        let full = ngx_conf_full_name((*cf).cycle, &mut name, 0) == NGX_OK as ngx_int_t;
        if path.is_empty() || !full {
            return Err("expected the path of a file".to_owned());
        }
        let path = path_of(headers::bytes(&name));
        match path.parent().is_some_and(|directory| directory.is_dir()) && !path.is_dir() {
            true => Ok(path),
            false => Err("expected the path of a file in a directory that exists".to_owned()),
        }
    }
}

unsafe extern "C" fn set_zone(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    guarded(NGX_CONF_ERROR.cast(), || {
        // SAFETY: nginx passes its configuration in the making, and a main configuration of ours.
        let (directive, main) = unsafe { (directive(cf), &mut *conf.cast::<MainConf>()) };
        // SAFETY: as above.
        let Err(problem) = (unsafe { zone_of_size(cf, main, directive.value()) }) else {
            return ptr::null_mut();
        };
        complain(cf, "intermission_zone", &directive, &problem);
        NGX_CONF_ERROR.cast()
    })
}

/// # Safety
///
/// `cf` is nginx's, while it reads a directive.
unsafe fn zone_of_size(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    size: &[u8],
) -> Result<(), String> {
    const LEAST: usize = 64 * 1024;
    if !main.zone.is_null() {
        return Err("is duplicate".to_owned());
    }
    let mut text = ngx_str_t { len: size.len(), data: size.as_ptr().cast_mut() };
    // SAFETY: the string is valid for its length.
    let size = usize::try_from(unsafe { ngx_parse_size(&mut text) }).ok();
    let size = size.filter(|size| *size >= LEAST && *size <= isize::MAX as usize / 2);
    let size = size.ok_or_else(|| "expected a size of at least 64k, such as 1m".to_owned())?;
    // SAFETY: the caller's promise.
    unsafe { add_zone(cf, main, size) }.ok_or_else(|| "it cannot be added".to_owned())
}

/// # Safety
///
/// `cf` is nginx's, while it reads its configuration.
pub unsafe fn add_zone(cf: *mut ngx_conf_t, main: &mut MainConf, size: usize) -> Option<()> {
    let mut name = ngx_str_t { len: zone::NAME.len(), data: zone::NAME.as_ptr().cast_mut() };
    let tag = ptr::from_ref(module()).cast_mut().cast();
    // SAFETY: the caller's promise; the name lives as long as the module.
    unsafe {
        let added = ngx_shared_memory_add(cf, &mut name, size, tag).as_mut()?;
        added.init = Some(zone::init);
        added.data = ptr::from_mut(main).cast();
        main.zone = added;
    }
    Some(())
}

const fn command(
    name: ngx_str_t,
    places: u32,
    arguments: u32,
    set: unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char,
) -> ngx_command_t {
    ngx_command_t {
        name,
        type_: (places | arguments) as ngx_uint_t,
        set: Some(set),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    }
}

const COUNT: usize = 17;

/// nginx takes commands that it could write to, though it does not.
#[repr(transparent)]
pub struct Commands(pub [ngx_command_t; COUNT + 1]);

// SAFETY: nobody writes to them.
unsafe impl Sync for Commands {}

pub static COMMANDS: Commands = Commands([
    command(ngx_string!("intermission"), PLACES, NGX_CONF_FLAG, set_enabled),
    ngx_command_t {
        conf: NGX_HTTP_MAIN_CONF_OFFSET,
        ..command(ngx_string!("intermission_zone"), NGX_HTTP_MAIN_CONF, NGX_CONF_TAKE1, set_zone)
    },
    ngx_command_t {
        conf: NGX_HTTP_MAIN_CONF_OFFSET,
        ..command(
            ngx_string!("intermission_state_file"),
            NGX_HTTP_MAIN_CONF,
            NGX_CONF_TAKE1,
            set_state_file,
        )
    },
    command(ngx_string!("intermission_app_name"), PLACES, NGX_CONF_TAKE1, set_app_name),
    command(ngx_string!("intermission_max_time"), PLACES, NGX_CONF_TAKE1, set_max_time),
    command(ngx_string!("intermission_timeout_action"), PLACES, NGX_CONF_TAKE1, set_timeout_action),
    command(
        ngx_string!("intermission_health_check_path"),
        PLACES,
        NGX_CONF_1MORE,
        set_health_check_path,
    ),
    command(ngx_string!("intermission_privileged_user_agent"), PLACES, NGX_CONF_1MORE, set_agent),
    ngx_command_t {
        offset: offset_of!(LocConf, bypass),
        ..command(
            ngx_string!("intermission_bypass"),
            PLACES,
            NGX_CONF_1MORE,
            ngx_http_set_predicate_slot,
        )
    },
    command(ngx_string!("intermission_max_held"), PLACES, NGX_CONF_TAKE1, set_max_held),
    command(ngx_string!("intermission_retry_after"), PLACES, NGX_CONF_TAKE1, set_retry_after),
    command(ngx_string!("intermission_read_body"), PLACES, NGX_CONF_TAKE1, set_read_body),
    command(ngx_string!("intermission_interval"), PLACES, NGX_CONF_TAKE1, set_interval),
    command(ngx_string!("intermission_release_rate"), PLACES, NGX_CONF_TAKE12, set_release_rate),
    command(
        ngx_string!("intermission_release_concurrency"),
        PLACES,
        NGX_CONF_TAKE1,
        set_release_concurrency,
    ),
    command(
        ngx_string!("intermission_release_timeout"),
        PLACES,
        NGX_CONF_TAKE1,
        set_release_timeout,
    ),
    command(
        ngx_string!("intermission_control"),
        NGX_HTTP_LOC_CONF,
        NGX_CONF_NOARGS | NGX_CONF_TAKE1,
        set_control,
    ),
    ngx_command_t::empty(),
]);
