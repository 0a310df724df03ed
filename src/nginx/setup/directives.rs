//! The directives: the table that nginx reads, and what is said of bad values.

mod location;
mod main;

use core::ffi::{c_char, c_void};
use core::mem::offset_of;
use core::ptr;
use core::time::Duration;

use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_FLAG, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12,
    NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_MAIN_CONF_OFFSET,
    NGX_HTTP_SRV_CONF, NGX_LOG_EMERG, ngx_command_t, ngx_conf_t, ngx_http_set_predicate_slot,
    ngx_str_t, ngx_uint_t,
};
use ngx::core::NGX_CONF_ERROR;
use ngx::ngx_string;

use crate::control::args::shown;
use crate::control::values;
use crate::nginx::conf::LocConf;
use crate::nginx::ffi::boundary::guarded;

pub use location::{has_control_handler, stays_control};

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

    fn flag(&self) -> Result<bool, String> {
        match self.value() {
            b"on" => Ok(true),
            b"off" => Ok(false),
            _ => Err("expected \"on\" or \"off\"".to_owned()),
        }
    }

    /// How often something is looked at.
    fn interval(&self) -> Result<Duration, String> {
        self.time(Duration::from_millis(10), "a time from 10ms to 1d, such as 250ms")
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

const COUNT: usize = 22;

/// nginx takes commands that it could write to, though it does not.
#[repr(transparent)]
pub struct Commands(pub [ngx_command_t; COUNT + 1]);

// SAFETY: nobody writes to them.
unsafe impl Sync for Commands {}

pub static COMMANDS: Commands = Commands([
    command(ngx_string!("intermission"), PLACES, NGX_CONF_FLAG, location::set_enabled),
    ngx_command_t {
        conf: NGX_HTTP_MAIN_CONF_OFFSET,
        ..command(
            ngx_string!("intermission_zone"),
            NGX_HTTP_MAIN_CONF,
            NGX_CONF_TAKE1,
            main::set_zone,
        )
    },
    ngx_command_t {
        conf: NGX_HTTP_MAIN_CONF_OFFSET,
        ..command(
            ngx_string!("intermission_state_file"),
            NGX_HTTP_MAIN_CONF,
            NGX_CONF_TAKE1,
            main::set_state_file,
        )
    },
    command(ngx_string!("intermission_app_name"), PLACES, NGX_CONF_TAKE1, location::set_app_name),
    command(ngx_string!("intermission_max_time"), PLACES, NGX_CONF_TAKE1, location::set_max_time),
    command(
        ngx_string!("intermission_timeout_action"),
        PLACES,
        NGX_CONF_TAKE1,
        location::set_timeout_action,
    ),
    command(
        ngx_string!("intermission_health_check_path"),
        PLACES,
        NGX_CONF_1MORE,
        location::set_health_check_path,
    ),
    command(
        ngx_string!("intermission_privileged_user_agent"),
        PLACES,
        NGX_CONF_1MORE,
        location::set_agent,
    ),
    ngx_command_t {
        offset: offset_of!(LocConf, bypass),
        ..command(
            ngx_string!("intermission_bypass"),
            PLACES,
            NGX_CONF_1MORE,
            ngx_http_set_predicate_slot,
        )
    },
    command(ngx_string!("intermission_max_held"), PLACES, NGX_CONF_TAKE1, location::set_max_held),
    command(
        ngx_string!("intermission_retry_after"),
        PLACES,
        NGX_CONF_TAKE1,
        location::set_retry_after,
    ),
    command(ngx_string!("intermission_read_body"), PLACES, NGX_CONF_TAKE1, location::set_read_body),
    command(ngx_string!("intermission_interval"), PLACES, NGX_CONF_TAKE1, location::set_interval),
    command(
        ngx_string!("intermission_release_rate"),
        PLACES,
        NGX_CONF_TAKE12,
        location::set_release_rate,
    ),
    command(
        ngx_string!("intermission_release_concurrency"),
        PLACES,
        NGX_CONF_TAKE1,
        location::set_release_concurrency,
    ),
    command(
        ngx_string!("intermission_release_timeout"),
        PLACES,
        NGX_CONF_TAKE1,
        location::set_release_timeout,
    ),
    command(ngx_string!("intermission_auto"), PLACES, NGX_CONF_FLAG, location::set_auto),
    command(
        ngx_string!("intermission_auto_max_time"),
        PLACES,
        NGX_CONF_TAKE1,
        location::set_auto_max_time,
    ),
    command(
        ngx_string!("intermission_auto_interval"),
        PLACES,
        NGX_CONF_TAKE1,
        location::set_auto_interval,
    ),
    command(
        ngx_string!("intermission_auto_probe"),
        PLACES,
        NGX_CONF_TAKE1,
        location::set_auto_probe,
    ),
    command(
        ngx_string!("intermission_auto_replay"),
        PLACES,
        NGX_CONF_TAKE1,
        location::set_auto_replay,
    ),
    command(
        ngx_string!("intermission_control"),
        NGX_HTTP_LOC_CONF,
        NGX_CONF_NOARGS | NGX_CONF_TAKE1,
        location::set_control,
    ),
    ngx_command_t::empty(),
]);
